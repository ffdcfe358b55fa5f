"""The tables of many runs beside each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import xarray as xr

from respeval.analysis.compared_reference import REFERENCE_NAME, REFERENCE_SUFFIX
from respeval.diagnostics.numbers import (
    band_limits,
    by_place,
    decimals_of,
    places_of,
    rounded,
    short_name,
    with_limits,
)
from respeval.presentation.console.compare import SIGNIFICANT
from respeval.presentation.console.truth import SignedError, error_note
from respeval.presentation.report.numbers import plain
from respeval.presentation.report.parts import Cell, Table, error_cell, sentence

_NOTE = "[95 % interval]; *: differs from the first run at 5 %, each number tested alone."


def comparison_tables(comparison: xr.Dataset, names: Sequence[str]) -> list[Table]:
    """Of every perturbation a row for each run, with the numbers of these diagnostics.

    comparison: as of `compare_runs`, or comparison.nc. Where it has a reference, that stands above all
    runs, and every run's signed error below its number.
    """
    return [
        _table(comparison.sel(perturbation=label), str(label), names)
        for label in comparison["perturbation"].values
    ]


def _table(chosen: xr.Dataset, label: str, names: Sequence[str]) -> Table:
    limits = band_limits(chosen)
    has_epoch = "epoch" in chosen.coords
    headings = ["run", *(["epoch"] if has_epoch else [])]
    rows = [[Cell.of_text(str(run))] for run in chosen["run"].values]
    reference = str(chosen.attrs.get(REFERENCE_NAME, ""))
    top = [Cell.of_text(reference), *([Cell.of_text("")] if has_epoch else [])]
    if has_epoch:
        for row, epoch in zip(rows, chosen["epoch"].values, strict=True):
            row.append(Cell.of_number(float(epoch), 0))
    is_known = False
    for name in names:
        what = short_name(name) or plain(name)
        columns = zip(*(by_place(chosen, name, end) for end in ("", "_low", "_high")), strict=True)
        numbers = np.stack([np.stack(column) for column in columns])
        pvalues = by_place(chosen, name, "_difference_pvalue")
        known = by_place(chosen.isel(run=0), name, REFERENCE_SUFFIX)
        is_known |= bool(np.isfinite(known).any())
        for i, place in enumerate(places_of(chosen[name])):
            headings.append(", ".join(filter(None, (what, with_limits(place, limits)))))
            cells = [
                _cell(own[:, i].tolist(), float(p), float(known[i]))
                for own, p in zip(numbers, pvalues[:, i], strict=True)
            ]
            top.append(Cell.of_number(float(known[i]), _digits(numbers[:, :, i])))
            for row, cell in zip(rows, cells, strict=True):
                row.append(cell)
    note = _NOTE + (" " + sentence(error_note(reference)) if is_known else "")
    return Table(f"Response to {label}", headings, rows, note, top if is_known else ())


def _digits(numbers: np.ndarray) -> int:
    """Decimal places of the best known number of a column. numbers: [run, (value, low, high)]."""
    digits = [decimals_of(*map(float, own)) for own in numbers if math.isfinite(own[0])]
    return max(digits, default=2)


def _cell(number: Sequence[float], p: float, known: float) -> Cell:
    """A number, and below it its interval and its error. number: (value, low, high)."""
    value, low, high = number
    decimals = decimals_of(value, low, high)
    more = []
    if not math.isnan(low):
        more.append(f"[{rounded(low, decimals)}, {rounded(high, decimals)}]")
    cell = Cell.of_number(value, decimals, rounded(value, decimals) + "*" * (p < SIGNIFICANT))
    if math.isnan(known):
        return replace(cell, more=tuple(more))
    error = error_cell(SignedError.of(known, value, low, high))
    return replace(cell, more=(*more, error.text), size=error.size)
