"""The tables of a run's diagnostics."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import xarray as xr

from respeval.diagnostics import catalog
from respeval.diagnostics.numbers import (
    Number,
    by_place,
    decimals_of,
    holds,
    is_profile,
    main_rows,
    numbers_of,
    place_in_words,
    places_of,
    rounded,
    short_name,
)
from respeval.presentation.report.parts import Cell, Table, interval_cells

_NOTE = "Sort by a column with its heading. Noise: standard deviation that other weather alone would give."


def main_table(diagnostics: xr.Dataset, truth: xr.Dataset | None) -> Table:
    """The numbers to know first: a row for each, and columns for every perturbation."""
    labels = [str(label) for label in diagnostics["perturbation"].values]
    headings = ["quantity", "where"]
    for label in labels:
        headings += [label, "95 % interval", *(["truth", "in"] if truth is not None else [])]
    rows: list[list[Cell]] = []
    what = ""
    for name, row in main_rows().items():
        what = row.label or what
        if name not in diagnostics:
            continue
        numbers = list(_with_truth(diagnostics, name, truth))
        for place in dict.fromkeys(number.where for number, _ in numbers):
            cells = [Cell.of_text(what), Cell.of_text(place or row.where)]
            for number, true in numbers:
                if number.where == place:
                    cells += interval_cells(number.value, number.low, number.high)
                    cells += _truth_cells(number, true) if truth is not None else []
            rows.append(cells)
    return Table("Main numbers", headings, rows, _truth_note(truth))


def _truth_cells(number: Number, truth: float) -> list[Cell]:
    decimals = decimals_of(number.value, number.low, number.high)
    return [Cell.of_number(truth, decimals), Cell.of_text(holds(truth, number.low, number.high))]


def _truth_note(truth: xr.Dataset | None) -> str:
    return "" if truth is None else "In: whether the interval holds the truth."


def diagnostics_table(diagnostics: xr.Dataset, truth: xr.Dataset | None) -> Table:
    """Every number of every diagnostic but those by latitude and by month."""
    names = [entry.name for entry in catalog() if entry.name in diagnostics]
    return _long_table("All diagnostics", diagnostics, names, truth)


def outputs_table(diagnostics: xr.Dataset, truth: xr.Dataset | None) -> Table:
    """The mean response of every output over the globe, land and ocean, and per kelvin of warming."""
    names = [
        str(name) for name, values in diagnostics.data_vars.items() if _is_mean(str(name), values)
    ]
    return _long_table("Mean response of every output", diagnostics, names, truth)


def _is_mean(name: str, values: xr.DataArray) -> bool:
    return name.endswith(("_mean", "_per_K")) and set(values.dims) == {"perturbation", "surface"}


def _long_table(
    caption: str, diagnostics: xr.Dataset, names: list[str], truth: xr.Dataset | None
) -> Table:
    with_truth = truth is not None
    headings = ["perturbation", "diagnostic", "where", "value", "95 % interval"]
    headings += ["noise", *(["truth", "in"] if with_truth else []), "units"]
    rows = []
    for name in names:
        if is_profile(diagnostics[name]):
            continue
        told = diagnostics[name].attrs
        for number, true in _with_truth(diagnostics, name, truth):
            rows.append(
                [
                    Cell.of_text(number.label),
                    Cell.of_text(_plain(name), name, str(told.get("long_name", ""))),
                    Cell.of_text(place_in_words(number.where), number.where),
                    *interval_cells(number.value, number.low, number.high),
                    Cell.of_number(number.noise),
                    *(_truth_cells(number, true) if with_truth else []),
                    Cell.of_text(str(told.get("units", "1"))),
                ]
            )
    return Table(caption, headings, rows, " ".join(filter(None, (_NOTE, _truth_note(truth)))))


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _with_truth(
    diagnostics: xr.Dataset, name: str, truth: xr.Dataset | None
) -> Iterator[tuple[Number, float]]:
    """The numbers of a diagnostic, each with the truth; NaN where there is none."""
    numbers = numbers_of(diagnostics, name)
    known = [math.nan] * len(numbers)
    if truth is not None and name in truth:
        values = diagnostics[name]
        at = {str(dim): values[dim].values for dim in values.dims}
        matching = truth[name].reindex(at).transpose(*values.dims)
        known = np.asarray(matching.values, np.float64).ravel().tolist()
    yield from zip(numbers, known, strict=True)


def comparison_tables(comparison: xr.Dataset, names: list[str]) -> list[Table]:
    """Of every perturbation a row for each run, with the numbers of these diagnostics.

    comparison: as of `compare_runs`, or comparison.nc.
    """
    tables = []
    for label in comparison["perturbation"].values:
        chosen = comparison.sel(perturbation=label)
        headings = ["run", *(["epoch"] if "epoch" in chosen.coords else [])]
        rows = [[Cell.of_text(str(run))] for run in chosen["run"].values]
        if "epoch" in chosen.coords:
            for row, epoch in zip(rows, chosen["epoch"].values, strict=True):
                row.append(Cell.of_number(float(epoch), 0))
        for name in names:
            places = places_of(chosen[name])
            what = short_name(name) or _plain(name)
            headings += [", ".join(filter(None, (what, place))) for place in places]
            for row, cells in zip(rows, _cells_of_runs(chosen, name), strict=True):
                row += cells
        note = "[95 % interval]; *: differs from the first run at 5 %, each number tested alone."
        tables.append(Table(f"Response to {label}", headings, rows, note))
    return tables


def _cells_of_runs(chosen: xr.Dataset, name: str) -> Iterator[list[Cell]]:
    """The cells of each run; chosen: of one perturbation."""
    columns = (
        by_place(chosen, name, suffix).tolist()
        for suffix in ("", "_low", "_high", "_difference_pvalue")
    )
    for run in zip(*columns, strict=True):
        yield [_marked(*numbers) for numbers in zip(*run, strict=True)]


def _marked(value: float, low: float, high: float, p: float) -> Cell:
    decimals = decimals_of(value, low, high)
    text = rounded(value, decimals)
    if not math.isnan(low):
        text += f" [{rounded(low, decimals)}, {rounded(high, decimals)}]"
    return Cell.of_number(value, decimals, text + ("*" if p < 0.05 else ""))
