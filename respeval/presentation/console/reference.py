"""The tables of a response beside its reference."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from rich.table import Table

from respeval.diagnostics import AGREEMENT
from respeval.diagnostics.agreement import REGIONS, compared_outputs
from respeval.diagnostics.numbers import with_error
from respeval.presentation.console.parts import FURTHER, in_parts
from respeval.presentation.console.terminal import PLAIN_WIDTH

if TYPE_CHECKING:
    import xarray as xr


#: Statistics that are shown as they are and without sampling noise.
_BOTH = ("rmse", "rmse_centred", "pattern_correlation")


#: Headings of the statistics.
_STATISTICS = ("bias", "RMSE", "centred RMSE", "correlation")


def agreement_tables(
    found: xr.Dataset, first: Sequence[str] | None, width: int = PLAIN_WIDTH
) -> Iterator[Table | str]:
    """A table for each perturbation of reference.nc, or a few that fit, and what they leave out.

    first: the outputs to show; None for all, and all where none of them was compared. width: characters.
    """
    names = compared_outputs(found)
    shown = [name for name in first or [] if name in names] or names
    for label in found["perturbation"].values:
        rows: list[Sequence[str]] = []
        for i, name in enumerate(shown):
            regions = REGIONS if first is None or i == 0 else REGIONS[:1]
            rows += _rows(found.sel(perturbation=label), name, regions)
        title = f"Response to {label} beside {found.attrs['reference']}"
        caption = (
            "[without sampling noise]; ±: standard error; ~: no more than sampling noise\n"
            f"compared on {found.attrs['compared_on']}"
        )
        table_of = partial(_table, title, caption, rows)
        yield from in_parts(range(len(_STATISTICS)), table_of, width)
    if len(names) > len(shown):
        yield f"{len(names) - len(shown)} more outputs: --all shows them, reference.nc has them"
    if found.attrs.get("not_shared"):
        yield f"not in the reference: {', '.join(found.attrs['not_shared'].split())}"


def _table(
    title: str,
    caption: str,
    rows: Sequence[Sequence[str]],
    statistics: Sequence[int],
    further: bool,
) -> Table:
    """These statistics of all rows."""
    table = Table(padding=(0, 0), pad_edge=False, title=title + (FURTHER if further else ""))
    table.title_justify = table.caption_justify = "left"
    table.caption = caption
    table.add_column("output, where", no_wrap=True)
    for i in statistics:
        table.add_column(_STATISTICS[i], justify="right", no_wrap=True)
    for what, *cells in rows:
        table.add_row(what, *(cells[i] for i in statistics if cells))
    return table


def _rows(column: xr.Dataset, name: str, regions: Sequence[str]) -> Iterator[Sequence[str]]:
    """An output's name, then a row with all statistics for every region."""
    yield (f"{name}, {column[f'{name}_bias'].attrs.get('units', '1')}",)
    for region in regions:
        own = column.sel(region=region)
        value = {statistic: float(own[f"{name}_{statistic}"]) for statistic in AGREEMENT}
        raw, free = (
            [value[f"{statistic}{suffix}"] for statistic in _BOTH] for suffix in ("", "_corrected")
        )
        shown = [f"{_number(a)} [{_number(b)}]" for a, b in zip(raw, free, strict=True)]
        shown[0] = ("~" if value["within_noise"] == 1 else "") + shown[0]
        yield f"    {region}", with_error(value["bias"], value["bias_stderr"]), *shown


def _number(value: float) -> str:
    """Three significant digits; a dash for what there is not."""
    return "-" if math.isnan(value) else f"{value:.3g}"
