"""What a diagnostic is: one declared object with its name, its words and its formula."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import xarray as xr

from respeval.diagnostics.formulas.regions import DiagnosticSettings, ratio
from respeval.diagnostics.statistics.uncertainty import STATISTICS
from respeval.errors import InputError

#: (zonal response, settings) -> (perturbation, …), with the dimensions of replicates if it has any.
Formula = Callable[[xr.Dataset, DiagnosticSettings], xr.DataArray]

#: Units of a diagnostic in those of the output that it reads: its values carry them.
THE_OUTPUTS = "the output's"

#: What a diagnostic that is told by season is told by.
SEASONAL_DIMS = ("season", "month")

_OF_GLOBE = "time: mean area: mean"


@dataclass(frozen=True, eq=False)
class Ratio:
    """Numerator over denominator, a ratio of means; its interval is Fieller's."""

    numerator: Formula
    denominator: Formula

    def __call__(self, response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
        above = self.numerator(response, settings)
        return ratio(above, self.denominator(response, settings)).assign_attrs(above.attrs)


@dataclass(frozen=True)
class Row:
    """A row of a run's own table: what it is called (like the one before where empty), where it is
    unless a dimension says so, and whether it ends a section."""

    label: str
    where: str = ""
    ends: bool = True


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """What a diagnostic is, in words: its name in diagnostics.nc, what it is, its units and dimensions,
    its formula and the paper that it is from."""

    name: str
    what: str
    units: str
    dims: str = "perturbation"
    formula: str
    source: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Diagnostic(Entry):
    """One diagnostic, of which this object is the only declaration.

    values: its formula, or a `Ratio`. Raises LeftOut where a run lacks what it needs. A `comment` among
        the values' attributes is kept, and so are units that are `THE_OUTPUTS`.
    long_name: in files; `what` in lower case where it is empty. cell_methods: in files; a ratio of
        means has none. comment: in files, instead of the values' own.
    reads: outputs that it reads beside those that have a role or hold a quantity of `QUANTITIES`.
    row: in a run's own table. is_trend: the slope of values (…, sample, year) of means of whole years,
        as `drift.yearly_means` gives them. by_season: told by season and by month too; it may then
        read the near-surface temperature alone. asked_for: a run has it only where its case asks for
        it, and nobody needs to hear why not.
    Raises ValueError where something is missing, or the name is none.
    """

    values: Formula
    long_name: str = ""
    cell_methods: str = _OF_GLOBE
    comment: str = ""
    reads: tuple[str, ...] = ()
    row: Row | None = None
    is_trend: bool = False
    by_season: bool = False
    asked_for: bool = False

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or self.name.endswith(tuple(f"_{s}" for s in STATISTICS)):
            raise ValueError(
                f"{self.name!r} names no diagnostic: letters, digits and _ are expected, and no end "
                f"of a statistic (_{', _'.join(STATISTICS)})"
            )
        missing = [key for key in ("what", "units", "formula", "source") if not getattr(self, key)]
        if missing:
            raise ValueError(f"the diagnostic {self.name} does not say its {missing[0]}")
        if ("perturbation" in self.dims) == self.name.startswith("baseline_"):
            raise ValueError(
                f"the diagnostic {self.name} has the dimensions ({self.dims}): perturbation is one "
                "unless it is of the baseline alone and called baseline_…"
            )

    def by(self, dim: str) -> Diagnostic:
        """What it is called and is by season, or by month."""
        return replace(
            self,
            name=f"{self.name}_by_{dim}",
            what=f"{self.what}, by {dim}",
            dims=self.dims.replace("perturbation", f"perturbation, {dim}"),
            formula=f"`{self.name}` of the steps in a {dim}; segments must lie within calendar months",
        )

    def __call__(self, response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
        """The values with what CF wants to know of them, and nothing of what they were made from.

        Raises LeftOut where they can't be had, InputError where they lack one of `dims`.
        """
        found = self.values(response, settings)
        lacking = [dim for dim in self.dims.split(", ") if dim and dim not in found.indexes]
        if lacking:
            raise InputError(f"the values of {self.name} have no coordinate {lacking[0]!r}")
        units, what = self.units, self.what
        told = {
            "units": found.attrs.get("units", "1") if units == THE_OUTPUTS else units,
            "long_name": self.long_name or what[0].lower() + what[1:],
            "cell_methods": "" if isinstance(self.values, Ratio) else self.cell_methods,
            "comment": self.comment or found.attrs.get("comment", ""),
        }
        described = found.copy(deep=False)
        described.attrs = {key: text for key, text in told.items() if text}
        return described
