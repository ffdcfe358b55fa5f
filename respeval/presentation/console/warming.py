"""The tables of the response."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from respeval.diagnostics.numbers import QUANTITIES, decimals_of, holds, rounded

if TYPE_CHECKING:
    import xarray as xr


#: The statistics that tables show.
_STATISTICS = ("stderr", "low", "high", "noise")


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

    def to_the_point(self) -> str:
        """The number [its interval] with the digits that the interval leaves, at most three decimals."""
        decimals = min(3, decimals_of(self.value, self.low, self.high))
        value, low, high = (rounded(x, decimals) for x in (self.value, self.low, self.high))
        return value if math.isnan(self.low) else f"{value} [{low}, {high}]"

    def shown(self, wide: bool) -> str:
        """As a table with or without room for intervals shows it."""
        return self.with_error() if wide else self.with_interval()


def _spread(wide: bool) -> str:
    return "± standard error" if wide else "[95 % interval]"


def _small(value: float) -> str:
    """A spread that may be next to nothing."""
    return _rounded(value) if value >= 0.005 else "<0.01"


def _rounded(value: float) -> str:
    # Adding zero takes the sign off a rounded -0.00.
    return f"{round(value, 2) + 0.0:.2f}"


#: More columns than this have no room for intervals on a terminal of 100 characters.
_MOST_INTERVALS = 2


def _rows(column: xr.Dataset) -> Iterator[tuple[str, str, _Cell, bool]]:
    """(what, where, number, ends a section) of one column of a table."""
    for quantity, name, where, ends in QUANTITIES:
        if name not in column:
            continue
        cells = _cells(column, name)
        for i, (place, cell) in enumerate(cells.items()):
            last = i == len(cells) - 1 and ends
            yield quantity if i == 0 else "", place or where, cell, last


def _cells(column: xr.Dataset, name: str) -> dict[str, _Cell]:
    """A diagnostic's numbers by place, the places of several dimensions being joined."""
    value = column[name]
    places = itertools.product(*(value[dim].values for dim in value.dims))
    numbers = {"value": value.values.ravel()}
    for statistic in _STATISTICS:
        if f"{name}_{statistic}" in column:
            numbers[statistic] = column[f"{name}_{statistic}"].values.ravel()
    return {
        ", ".join(map(str, place)): _Cell(**{key: float(n[i]) for key, n in numbers.items()})
        for i, place in enumerate(places)
    }


def warming_table(columns: Mapping[str, xr.Dataset], title: str) -> Table:
    """Land, ocean and their ratio by band, the tropical ocean's vertical ratio, and the column.

    columns: heading -> diagnostics of one perturbation, all of one run. The last column is the
    noise floor, the largest of the perturbations.
    """
    wide = len(columns) > _MOST_INTERVALS
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.caption = (
        f"{_spread(wide)}; noise: standard deviation that other weather alone would give"
    )
    table.add_column("warming")
    table.add_column("where")
    for heading in columns:
        table.add_column(heading, justify="right")
    table.add_column("noise", justify="right")
    for rows in zip(*(_rows(column) for column in columns.values()), strict=True):
        quantity, place, _, last = rows[0]
        cells = [cell for _, _, cell, _ in rows]
        shown = [cell.shown(wide) for cell in cells]
        known = [cell.noise for cell in cells if not math.isnan(cell.noise)]
        noise = _small(max(known)) if known else "-"
        table.add_row(quantity, place, *shown, noise, end_section=last)
    return table


def full_tables(columns: Mapping[str, xr.Dataset], names: Iterable[str]) -> list[Table]:
    """Every number of these diagnostics; profiles by latitude and month are in the files.

    columns: as for `warming_table`. names: of diagnostics, those that there are. What has no
    perturbation, such as the drift of the baseline, is a table of its own.
    """
    listed = list(names)
    of_baseline = [name for name in listed if name.startswith("baseline_")]
    first = dict(zip(["baseline"], columns.values(), strict=False))
    return [
        _full_table(columns, [name for name in listed if name not in of_baseline]),
        _full_table(first, of_baseline),
    ]


def _full_table(columns: Mapping[str, xr.Dataset], names: Iterable[str]) -> Table:
    wide = len(columns) > _MOST_INTERVALS
    table = Table(box=None, caption=_spread(wide), caption_justify="left")
    table.add_column("diagnostic")
    for heading in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for name in names:
        found = [column for column in columns.values() if name in column]
        if not found or {"lat", "month"} & set(found[0][name].dims):
            continue
        units = found[0][name].attrs.get("units", "1")
        by_column = [_cells(column, name) for column in found]
        shown = {p: [cells[p].shown(wide) for cells in by_column] for p in by_column[0]}
        table.add_row(f"{name}, {units}", *shown.pop("", []))
        for place, numbers in shown.items():
            table.add_row(f"    {place}", *numbers)
    return table


def truth_table(truth: xr.Dataset, columns: Mapping[str, xr.Dataset], label: str) -> Table:
    """One perturbation's diagnostics of several runs with their intervals, beside the truth.

    truth: diagnostics without intervals; columns: name of the run -> its diagnostics.
    """
    table = Table(
        title=f"Response to {label}: emulators beside the truth",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=0,
    )
    table.caption = (
        "[95 % interval]; in: does it hold the truth? "
        "If not, the emulator errs by more than its weather"
    )
    table.caption_justify = "left"
    table.add_column("warming")
    table.add_column("where")
    table.add_column("truth", justify="right")
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
        table.add_column("in")
    for true, *rows in zip(_rows(truth), *(_rows(c) for c in columns.values()), strict=True):
        quantity, place, exact, last = true
        shown = []
        for _, _, cell, _ in rows:
            shown += [cell.to_the_point(), holds(exact.value, cell.low, cell.high)]
        table.add_row(quantity, place, rounded(exact.value, 3), *shown, end_section=last)
    return table


def perturbation_columns(
    diagnostics: xr.Dataset, *, everything: bool = True
) -> dict[str, xr.Dataset]:
    """The columns of a run's table: perturbation -> its diagnostics.

    everything: else only those that `warming_table` shows, a hundredth of them.
    """
    if not everything:
        shown = {name for _, name, _, _ in QUANTITIES}
        shown |= {f"{name}_{statistic}" for name in shown for statistic in _STATISTICS}
        diagnostics = diagnostics[[name for name in diagnostics.data_vars if name in shown]]
    return {
        str(label): diagnostics.sel(perturbation=label)
        for label in diagnostics["perturbation"].values
    }
