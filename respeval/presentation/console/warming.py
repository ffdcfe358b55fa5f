"""The tables of the response."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from respeval.diagnostics import STATISTICS
from respeval.diagnostics.numbers import (
    Number,
    band_limits,
    is_profile,
    main_rows,
    numbers_of,
    rounded,
    with_error,
    with_interval,
    with_limits,
)
from respeval.presentation.console.parts import FURTHER, in_parts, natural_width
from respeval.presentation.console.terminal import PLAIN_WIDTH

if TYPE_CHECKING:
    import xarray as xr

#: Of the names of quantities, left out where there is no room.
_WARMING = " warming"


def _shown(number: Number, wide: bool) -> str:
    """As a table with or without room for intervals shows it."""
    if wide:
        return with_error(number.value, number.stderr)
    return with_interval(number.value, number.low, number.high)


def _spread(wide: bool) -> str:
    return "± standard error" if wide else "[95 % interval]"


def _small(value: float) -> str:
    """A spread that may be next to nothing."""
    return rounded(value, 2) if value >= 0.005 else "<0.01"


def _that_fit(
    columns: Mapping[str, xr.Dataset],
    table_of: Callable[[Mapping[str, xr.Dataset], bool], Table],
    width: int,
) -> list[Table]:
    """The table with intervals; with standard errors where they have no room; else that in parts."""
    for wide in (False, True):
        whole = table_of(columns, wide)
        if natural_width(whole) <= width:
            return [whole]

    def part(headings: Sequence[str], further: bool) -> Table:
        table = table_of({heading: columns[heading] for heading in headings}, True)
        if further and table.title:
            table.title = f"{table.title}{FURTHER}"
        return table

    return in_parts(list(columns), part, width)


def main_numbers(column: xr.Dataset) -> Iterator[tuple[str, str, Number, bool]]:
    """(what, where, number, ends a section) of one column of a table."""
    for name, row in main_rows().items():
        if name not in column:
            continue
        numbers = numbers_of(column, name)
        for i, number in enumerate(numbers):
            last = i == len(numbers) - 1 and row.ends
            yield row.label if i == 0 else "", number.where or row.where, number, last


def warming_tables(
    columns: Mapping[str, xr.Dataset], title: str, width: int = PLAIN_WIDTH
) -> list[Table]:
    """Land, ocean and their ratio by band, the tropical ocean's vertical ratio, and the column.

    columns: heading -> diagnostics of one perturbation, all of one run. The last column is the
    noise floor, the largest of the perturbations. width: characters, for intervals if they fit; in
    several tables where not even standard errors do.
    """
    first = next(iter(columns.values()), None)
    limits = {} if first is None else band_limits(first)
    with_limits_of_bands = _warming_table(columns, title, False, limits)
    if natural_width(with_limits_of_bands) <= width:
        return [with_limits_of_bands]
    for wide in (False, True):
        table = _warming_table(columns, title, wide, {})
        if natural_width(table) <= width:
            tables = [table]
            break
    else:
        tables = _that_fit(
            columns,
            lambda some, wide: _warming_table(some, title, wide, {}, is_short=True),
            width,
        )
    if limits:
        told = ", ".join(f"{band} {edges}" for band, edges in limits.items())
        tables[-1].caption = f"{tables[-1].caption}\n{told}"
    return tables


def _warming_table(
    columns: Mapping[str, xr.Dataset],
    title: str,
    wide: bool,
    limits: Mapping[str, str],
    *,
    is_short: bool = False,
) -> Table:
    """limits: of bands, which stand beside their names. is_short: "land, K" is a warming."""
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.caption = (
        f"{_spread(wide)}; noise: standard deviation that other weather alone would give"
    )
    table.add_column("warming" if is_short else "quantity", overflow="fold")
    table.add_column("where", overflow="fold")
    for heading in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("noise", justify="right", no_wrap=True)
    for rows in zip(*(main_numbers(column) for column in columns.values()), strict=True):
        quantity, place, _, last = rows[0]
        numbers = [number for _, _, number, _ in rows]
        shown = [_shown(number, wide) for number in numbers]
        known = [number.noise for number in numbers if not math.isnan(number.noise)]
        noise = _small(max(known)) if known else "-"
        called = quantity.replace(_WARMING, "") if is_short else quantity
        table.add_row(called, with_limits(place, limits), *shown, noise, end_section=last)
    return table


def names_of_means(diagnostics: xr.Dataset) -> list[str]:
    """The means of the outputs' responses over the surfaces."""
    return [
        str(name)
        for name, values in diagnostics.data_vars.items()
        if str(name).endswith("_mean") and set(values.dims) <= {"perturbation", "surface"}
    ]


def means_tables(
    columns: Mapping[str, xr.Dataset], title: str, width: int = PLAIN_WIDTH
) -> list[Table]:
    """The mean response of every output, of a run that has none of the rows of `warming_tables`.

    columns, width: as for that.
    """
    names = names_of_means(next(iter(columns.values())))
    return _that_fit(columns, lambda some, wide: _full_table(some, names, wide, title), width)


def full_tables(
    columns: Mapping[str, xr.Dataset], names: Iterable[str], width: int = PLAIN_WIDTH
) -> list[Table]:
    """Every number of these diagnostics; profiles by latitude and month are in the files.

    columns, width: as for `warming_tables`. names: of diagnostics, those that there are. What has no
    perturbation, such as the drift of the baseline, is a table of its own.
    """
    listed = list(names)
    of_baseline = [name for name in listed if name.startswith("baseline_")]
    first = dict(zip(["baseline"], columns.values(), strict=False))
    of_responses = [name for name in listed if name not in of_baseline]
    return [
        *_that_fit(columns, lambda some, wide: _full_table(some, of_responses, wide), width),
        *_that_fit(first, lambda some, wide: _full_table(some, of_baseline, wide), width),
    ]


def _full_table(
    columns: Mapping[str, xr.Dataset], names: Iterable[str], wide: bool, title: str | None = None
) -> Table:
    table = Table(box=None, caption=_spread(wide), caption_justify="left")
    table.title, table.title_justify = title, "left"
    table.add_column("diagnostic", overflow="fold")
    for heading in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for name in names:
        found = [column for column in columns.values() if name in column]
        if not found or is_profile(found[0][name]):
            continue
        units = found[0][name].attrs.get("units", "1")
        by_place = zip(*(numbers_of(column, name) for column in found), strict=True)
        shown = {row[0].where: [_shown(number, wide) for number in row] for row in by_place}
        table.add_row(f"{name}, {units}", *shown.pop("", []))
        for place, texts in shown.items():
            table.add_row(f"    {place}", *texts)
    return table


def perturbation_columns(
    diagnostics: xr.Dataset, *, everything: bool = True
) -> dict[str, xr.Dataset]:
    """The columns of a run's table: perturbation -> its diagnostics.

    everything: else only those that `warming_tables` shows, a hundredth of them, or `means_tables`.
    """
    if not everything:
        shown = set(main_rows())
        if shown.isdisjoint(map(str, diagnostics.data_vars)):
            shown = set(names_of_means(diagnostics))
        shown |= {f"{name}_{statistic}" for name in shown for statistic in STATISTICS}
        diagnostics = diagnostics[[name for name in diagnostics.data_vars if name in shown]]
    return {
        str(label): diagnostics.sel(perturbation=label)
        for label in diagnostics["perturbation"].values
    }
