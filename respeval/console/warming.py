"""The tables of the response."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class _Cell:
    """A number of a table with its statistics; NaN is what there is not."""

    value: float
    stderr: float = math.nan
    low: float = math.nan
    high: float = math.nan
    noise: float = math.nan

    def __str__(self) -> str:
        return "-" if math.isnan(self.value) else _rounded(self.value)

    def with_error(self) -> str:
        """The number ± its standard error."""
        return str(self) if math.isnan(self.stderr) else f"{self} ± {_rounded(self.stderr)}"

    def with_interval(self) -> str:
        """The number [its interval]."""
        if math.isnan(self.value) or math.isnan(self.low):
            return str(self)
        if math.isinf(self.low):
            return f"{self} [unbounded]"
        return f"{self} [{_rounded(self.low)}, {_rounded(self.high)}]"


def _small(value: float) -> str:
    """A spread that may be next to nothing."""
    return _rounded(value) if value >= 0.005 else "<0.01"


def _rounded(value: float) -> str:
    # Adding zero takes the sign off a rounded -0.00.
    return f"{round(value, 2) + 0.0:.2f}"


#: Rows of the table: (what, diagnostic, dimension that gives several rows).
QUANTITIES = (
    ("land, K", "land_warming", "band"),
    ("ocean, K", "ocean_warming", "band"),
    ("land/ocean ratio", "land_ocean_warming_ratio", "band"),
    ("surface level, K", "tropical_ocean_surface_warming", None),
    ("upper level, K", "tropical_ocean_upper_warming", None),
    ("vertical ratio", "vertical_warming_ratio_tropical_ocean", None),
    ("column, global, K", "column_warming", "level"),
)

#: More columns than this have no room for intervals on a terminal of 100 characters.
_MOST_INTERVALS = 2


def _rows(column: xr.Dataset) -> Iterator[tuple[str, str, _Cell, bool]]:
    """(what, where, number, ends a section) of one column of a table."""
    for quantity, name, dim in QUANTITIES:
        if name not in column:
            continue
        places = ["tropical ocean"] if dim is None else [str(p) for p in column[dim].values]
        numbers = {"value": column[name].values.reshape(len(places))}
        for statistic in ("stderr", "low", "high", "noise"):
            if f"{name}_{statistic}" in column:
                numbers[statistic] = column[f"{name}_{statistic}"].values.reshape(len(places))
        for i, place in enumerate(places):
            cell = _Cell(**{key: float(values[i]) for key, values in numbers.items()})
            yield quantity if i == 0 else "", place, cell, i == len(places) - 1


def warming_table(columns: Mapping[str, xr.Dataset], title: str) -> Table:
    """Land, ocean and their ratio by band, the tropical ocean's vertical ratio, and the column.

    columns: heading -> diagnostics of one perturbation, all of one run. The last column is the
    noise floor, the largest of the perturbations.
    """
    wide = len(columns) > _MOST_INTERVALS
    table = Table(title=title, title_justify="left", caption_justify="left")
    spread = "± standard error" if wide else "[95 % interval]"
    table.caption = f"{spread}; noise: standard deviation that other weather alone would give"
    table.add_column("warming")
    table.add_column("where")
    for heading in columns:
        table.add_column(heading, justify="right")
    table.add_column("noise", justify="right")
    for rows in zip(*(_rows(column) for column in columns.values()), strict=True):
        quantity, place, _, last = rows[0]
        cells = [cell for _, _, cell, _ in rows]
        shown = [cell.with_error() if wide else cell.with_interval() for cell in cells]
        known = [cell.noise for cell in cells if not math.isnan(cell.noise)]
        noise = _small(max(known)) if known else "-"
        table.add_row(quantity, place, *shown, noise, end_section=last)
    return table


def truth_table(truth: xr.Dataset, columns: Mapping[str, xr.Dataset], label: str) -> Table:
    """One perturbation's diagnostics of several runs beside the truth, each with its error.

    truth: diagnostics without standard errors; columns: name of the run -> its diagnostics.
    """
    table = Table(title=f"Response to {label}: emulators beside the truth", title_justify="left")
    table.caption, table.caption_justify = "± standard error", "left"
    table.add_column("warming")
    table.add_column("where")
    table.add_column("truth", justify="right")
    for name in columns:
        table.add_column(name, justify="right")
        table.add_column("error", justify="right")
    for true, *rows in zip(_rows(truth), *(_rows(c) for c in columns.values()), strict=True):
        quantity, place, exact, last = true
        shown = []
        for _, _, cell, _ in rows:
            shown.append(cell.with_error())
            shown.append("-" if math.isnan(cell.value) else f"{cell.value - exact.value:+.2f}")
        table.add_row(quantity, place, str(exact), *shown, end_section=last)
    return table


def perturbation_columns(diagnostics: xr.Dataset) -> dict[str, xr.Dataset]:
    """The columns of a run's table: perturbation -> its diagnostics."""
    return {
        str(label): diagnostics.sel(perturbation=label)
        for label in diagnostics["perturbation"].values
    }
