"""The tables of a run's diagnostics."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import xarray as xr

from respeval.diagnostics import catalog
from respeval.diagnostics.numbers import (
    Number,
    band_limits,
    decimals_of,
    is_profile,
    main_rows,
    numbers_of,
    place_in_words,
    with_limits,
)
from respeval.presentation.console.truth import SignedError, error_note
from respeval.presentation.report.parts import Cell, Table, error_cell, interval_cells, sentence

_NOTE = "Sort by a column with its heading. Noise: standard deviation that other weather alone would give."


def main_table(diagnostics: xr.Dataset, truth: xr.Dataset | None) -> Table:
    """The numbers to know first: a row for each, and columns for every perturbation."""
    labels = [str(label) for label in diagnostics["perturbation"].values]
    limits = band_limits(diagnostics)
    headings = ["quantity", "where"]
    for label in labels:
        headings += [label, "95 % interval", *(["truth", "error"] if truth is not None else [])]
    rows: list[list[Cell]] = []
    what = ""
    for name, row in main_rows().items():
        what = row.label or what
        if name not in diagnostics:
            continue
        numbers = list(with_truth(diagnostics, name, truth))
        for place in dict.fromkeys(number.where for number, _ in numbers):
            where = with_limits(place, limits) if place else row.where
            cells = [Cell.of_text(what), Cell.of_text(where, place or row.where)]
            for number, true in numbers:
                if number.where == place:
                    cells += interval_cells(number.value, number.low, number.high)
                    cells += _truth_cells(number, true) if truth is not None else []
            rows.append(cells)
    return Table("Main numbers", headings, rows, _truth_note(truth), num_labels=2)


def _truth_cells(number: Number, truth: float) -> list[Cell]:
    error = SignedError.of(truth, number.value, number.low, number.high)
    decimals = decimals_of(number.value, number.low, number.high)
    return [Cell.of_number(truth, decimals), error_cell(error)]


def _truth_note(truth: xr.Dataset | None) -> str:
    return "" if truth is None else sentence(error_note("truth"))


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
    has_truth, limits = truth is not None, band_limits(diagnostics)
    headings = ["diagnostic", "where", "perturbation", "value", "95 % interval"]
    headings += ["noise", *(["truth", "error"] if has_truth else []), "units"]
    rows = []
    for name in names:
        if is_profile(diagnostics[name]):
            continue
        told = diagnostics[name].attrs
        for number, true in with_truth(diagnostics, name, truth):
            where = with_limits(place_in_words(number.where), limits)
            rows.append(
                [
                    Cell.of_text(plain(name), name, str(told.get("long_name", ""))),
                    Cell.of_text(where, number.where),
                    Cell.of_text(number.label),
                    *interval_cells(number.value, number.low, number.high),
                    Cell.of_number(number.noise),
                    *(_truth_cells(number, true) if has_truth else []),
                    Cell.of_text(str(told.get("units", "1"))),
                ]
            )
    note = " ".join(filter(None, (_NOTE, _truth_note(truth))))
    return Table(caption, headings, rows, note, num_labels=2, folded=True)


def plain(name: str) -> str:
    """A diagnostic's name as words."""
    return name.replace("_", " ")


def with_truth(
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
