"""How well a run knows its ratios, and how much longer it would have to be."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table

from respeval.diagnostics import KNOWN_TO, RATIOS_KNOWN, YEARS, places_of, relative_half_width
from respeval.diagnostics.numbers import by_place, main_rows
from respeval.presentation.console.parts import FURTHER, in_parts

if TYPE_CHECKING:
    import xarray as xr

_CAPTION = "in brackets: known now, half of the 95 % interval relative to the value"


def precision_tables(running: xr.Dataset, width: int) -> list[Table]:
    """Half-width of the ratios' intervals at the end of a run, and the years until it is 5 %.

    running: as in running.nc; nothing of one without ratios. width: characters, for as many perturbations
    as fit into a table.
    """
    if not any(name in running for name in RATIOS_KNOWN):
        return []
    labels = [str(label) for label in running["perturbation"].values]
    return in_parts(
        labels,
        lambda some, further: precision_table(running.sel(perturbation=some), further),
        width,
    )


def precision_table(running: xr.Dataset, further: bool = False) -> Table:
    """One such table. further: whether it goes on with what stands in another one."""
    last = running.isel(time=-1)
    title = f"Years until known to ± {100 * KNOWN_TO:g} %{FURTHER if further else ''}"
    table = Table(title=title, title_justify="left")
    labels = [str(label) for label in last["perturbation"].values]
    table.caption = _CAPTION
    table.caption_justify = "left"
    for heading in ("ratio", "where"):
        table.add_column(heading, no_wrap=True)
    for label in labels:
        table.add_column(label, justify="right", no_wrap=True)
    too_short = False
    for name in RATIOS_KNOWN:
        if name not in last:
            continue
        row, places = main_rows()[name], places_of(last[name])
        widths = by_place(last.assign({name: relative_half_width(last, name)}), name)
        years = by_place(last, name, f"_{YEARS}")
        for i, place in enumerate(places):
            cells = map(_cell, widths[:, i], years[:, i])
            too_short |= bool((np.isnan(years[:, i]) & ~np.isnan(widths[:, i])).any())
            ends = i == len(places) - 1
            table.add_row("" if i else row.label, place or row.where, *cells, end_section=ends)
    if too_short:
        table.caption = f"{_CAPTION}; how long it takes is told from two whole years on"
    return table


def _cell(width: float, years: float) -> str:
    """`reached (1.2 %)`, `12 more (7.3 %)`, `unknown (7.3 %)`, or `unknown`."""
    if math.isnan(width):
        return "unknown"
    known = f"({100 * width:.1f} %)"
    if math.isnan(years):
        return f"unknown {known}"
    return f"{math.ceil(years)} more {known}" if years > 0 else f"reached {known}"
