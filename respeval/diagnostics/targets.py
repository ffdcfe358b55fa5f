"""How well a diagnostic shall be known: `NAME[/PLACE]:FRACTION`, and whether it is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from respeval.diagnostics.formulas.regions import DiagnosticSettings, LeftOut
from respeval.diagnostics.formulas.registry import known_diagnostics
from respeval.diagnostics.numbers import key_of, places
from respeval.diagnostics.statistics.precision import relative_half_width, years_left
from respeval.errors import InputError
from respeval.files.settings import nearest_names

_EXPECTED = "expected NAME[/PLACE]:FRACTION, e.g. land_ocean_warming_ratio/tropics:0.05"


@dataclass(frozen=True)
class Target:
    """A diagnostic, and the half-width that its interval shall have as a share of its value.

    places: those that the diagnostic is told by, such as a band; where none is named, all of them.
    perturbation: the one that is meant; None for all of them.
    """

    name: str
    places: tuple[str, ...]
    fraction: float
    perturbation: str | None = None

    @classmethod
    def parse(cls, text: str) -> Target:
        """`[LABEL/]NAME[/PLACE…]:FRACTION`. Raises ValueError for anything else."""
        where, separator, fraction = text.rpartition(":")
        try:
            number = float(fraction)
        except ValueError:
            number = math.nan
        parts = where.split("/")
        if not separator or not all(parts):
            raise ValueError(f"{text!r} names no diagnostic ({_EXPECTED})")
        if not 0.0 < number < 1.0:
            raise ValueError(f"{text!r}: the fraction must lie between 0 and 1 ({_EXPECTED})")
        known = known_diagnostics()
        label = None if parts[0] in known else parts.pop(0)
        if not parts or parts[0] not in known:
            near = (nearest_names(part, known) for part in where.split("/"))
            nearest = next(filter(None, near), "")
            hint = f"; did you mean {nearest}?" if nearest else f" ({_EXPECTED})"
            raise ValueError(
                f"{text!r} names no diagnostic of the response as a whole, as respeval diagnose "
                f"--list has them{hint}"
            )
        return cls(parts[0], tuple(parts[1:]), number, label)

    def __str__(self) -> str:
        return "/".join([*([self.perturbation] if self.perturbation else []), self.place])

    @property
    def place(self) -> str:
        """The diagnostic and its places, without the perturbation."""
        return "/".join([self.name, *self.places])

    def check(self, empty: xr.Dataset, settings: DiagnosticSettings) -> None:
        """Raise InputError where a run has no such number.

        empty: a zonal response of the run's outputs and perturbations (see `empty_response`).
        """
        try:
            values = known_diagnostics()[self.name](empty, settings)
        except LeftOut as reason:
            raise InputError(
                f"until: there is no {self.name} in this run, because {reason}"
            ) from None
        if "lat" in values.dims:
            raise InputError(f"until: {self.name} is a profile by latitude; name a single number")
        if "perturbation" not in values.dims:
            raise InputError(f"until: {self.name} has no perturbation; name a response")
        labels = [str(label) for label in values["perturbation"].values]
        if self.perturbation not in (None, *labels):
            raise InputError(
                f"until: {self} names {self.perturbation!r}, which is no perturbation of this run "
                f"({', '.join(labels)})"
            )
        known = list(_by_place(values.isel(perturbation=0)))
        if not any(place[: len(self.places)] == self.places for place in known):
            shown = ", ".join("/".join(place) for place in known) or "none"
            raise InputError(
                f"until: {self.place} names a place that {self.name} is not told by (it has: {shown})"
            )

    def numbers(self, values: xr.DataArray) -> dict[str, float]:
        """`LABEL/NAME/PLACE` -> number, for all that the target means.

        values: something about every number of the diagnostic, (perturbation, …).
        """
        found = {}
        for label in map(str, values["perturbation"].values):
            own = values.sel(perturbation=label, drop=True)
            if self.perturbation in (None, label):
                for place, number in _by_place(own).items():
                    if place[: len(self.places)] == self.places:
                        found[key_of(label, self.name, place)] = number
        return found

    def widths(self, diagnostics: xr.Dataset) -> dict[str, float]:
        """`LABEL/NAME/PLACE` -> half-width of the interval as a share of the value; NaN where it is
        not bounded."""
        width = relative_half_width(diagnostics, self.name)
        return self.numbers(diagnostics[self.name].copy(data=width))

    def years_left(self, diagnostics: xr.Dataset, length_years: float) -> dict[str, float]:
        """`LABEL/NAME/PLACE` -> further years until the target is reached, NaN where unknown."""
        left = years_left(diagnostics, self.name, self.fraction, length_years)
        return self.numbers(diagnostics[self.name].copy(data=left))

    def is_reached(self, diagnostics: xr.Dataset) -> bool:
        """Whether all that the target means is known so well."""
        return all(width <= self.fraction for width in self.widths(diagnostics).values())


def parse_targets(texts: Iterable[str]) -> tuple[Target, ...]:
    """Raises ValueError where one is none."""
    return tuple(map(Target.parse, texts))


def check_targets(
    targets: Sequence[Target],
    empty: xr.Dataset,
    settings: DiagnosticSettings,
) -> None:
    """Raise InputError where a run has no number that one of the targets is about."""
    for target in targets:
        target.check(empty, settings)


def _by_place(values: xr.DataArray) -> Mapping[tuple[str, ...], float]:
    """Names of the places of every number, and the number."""
    numbers = np.ravel(values.values)
    return {
        tuple(map(str, place.values())): float(number)
        for place, number in zip(places(values), numbers, strict=True)
    }
