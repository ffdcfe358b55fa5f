"""The tables of a run's diagnostics."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr

from respeval.diagnostics import BASELINE, catalog, places_of
from respeval.diagnostics.numbers import QUANTITIES, decimals_of, holds, rounded
from respeval.presentation.report.parts import Cell, Table, interval_cells

_PLACES = {"all": "global mean", "land": "land mean", "ocean": "ocean mean"}

_NOTE = "Sort by a column with its heading. Noise: standard deviation that other weather alone would give."


@dataclass(frozen=True)
class _Number:
    """One number of a diagnostic; what is not known is NaN. label: the perturbation, or baseline."""

    label: str
    name: str
    about: str
    where: str
    units: str
    value: float
    low: float
    high: float
    noise: float
    truth: float


def main_table(diagnostics: xr.Dataset, truth: xr.Dataset | None) -> Table:
    """The numbers to know first: a row for each, and columns for every perturbation."""
    labels = [str(label) for label in diagnostics["perturbation"].values]
    headings = ["quantity", "where"]
    for label in labels:
        headings += [label, "95 % interval", *(["truth", "in"] if truth is not None else [])]
    rows: list[list[Cell]] = []
    what = ""
    for short, name, where, _ in QUANTITIES:
        what = short or what
        if name not in diagnostics:
            continue
        numbers = list(_numbers(diagnostics, name, truth))
        for place in dict.fromkeys(number.where for number in numbers):
            row = [Cell.of_text(what), Cell.of_text(place or where)]
            for number in (n for n in numbers if n.where == place):
                row += _main_cells(number, with_truth=truth is not None)
            rows.append(row)
    return Table("Main numbers", headings, rows, _truth_note(truth))


def _main_cells(number: _Number, *, with_truth: bool) -> list[Cell]:
    cells = list(interval_cells(number.value, number.low, number.high))
    return cells + (_truth_cells(number) if with_truth else [])


def _truth_cells(number: _Number) -> list[Cell]:
    decimals = decimals_of(number.value, number.low, number.high)
    verdict = holds(number.truth, number.low, number.high)
    return [Cell.of_number(number.truth, decimals), Cell.of_text(verdict)]


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
    rows = [
        [
            Cell.of_text(number.label),
            Cell.of_text(_plain(number.name), number.name, number.about),
            Cell.of_text(_PLACES.get(number.where, number.where), number.where),
            *interval_cells(number.value, number.low, number.high),
            Cell.of_number(number.noise),
            *(_truth_cells(number) if with_truth else []),
            Cell.of_text(number.units),
        ]
        for name in names
        if not {"lat", "month"} & set(diagnostics[name].dims)
        for number in _numbers(diagnostics, name, truth)
    ]
    return Table(caption, headings, rows, " ".join(filter(None, (_NOTE, _truth_note(truth)))))


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _numbers(diagnostics: xr.Dataset, name: str, truth: xr.Dataset | None) -> Iterator[_Number]:
    """The numbers of a diagnostic that are known, perturbation by perturbation."""
    values = diagnostics[name]
    of_baseline = "perturbation" not in values.dims
    labels = [BASELINE] if of_baseline else [str(x) for x in values["perturbation"].values]
    places = places_of(values)
    shape = len(labels), len(places)
    about = str(values.attrs.get("long_name", ""))
    units = str(values.attrs.get("units", "1"))
    value, low, high, noise = (
        _flat(diagnostics, f"{name}{suffix}", shape) for suffix in ("", "_low", "_high", "_noise")
    )
    known = _matching(truth, name, values, shape)
    for i, label in enumerate(labels):
        for j, place in enumerate(places):
            numbers = (float(of[i, j]) for of in (value, low, high, noise, known))
            yield _Number(label, name, about, place, units, *numbers)


def _flat(dataset: xr.Dataset, name: str, shape: tuple[int, int]) -> np.ndarray:
    if name not in dataset:
        return np.full(shape, math.nan)
    return np.asarray(dataset[name].values, np.float64).reshape(shape)


def _matching(
    truth: xr.Dataset | None, name: str, values: xr.DataArray, shape: tuple[int, int]
) -> np.ndarray:
    """The truth at a diagnostic's places, NaN where it has none."""
    if truth is None or name not in truth:
        return np.full(shape, math.nan)
    at = {dim: values[dim].values for dim in values.dims}
    known = truth[name].reindex({str(dim): places for dim, places in at.items()})
    return np.asarray(known.transpose(*values.dims).values, np.float64).reshape(shape)


def comparison_tables(comparison: xr.Dataset, names: list[str]) -> list[Table]:
    """Of every perturbation a row for each run, with the numbers of these diagnostics.

    comparison: as of `compare_runs`, or comparison.nc.
    """
    short = {name: what for what, name, *_ in QUANTITIES if what}
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
            what = short.get(name, _plain(name))
            headings += [", ".join(filter(None, (what, place))) for place in places]
            for row, cells in zip(rows, _cells_of_runs(chosen, name, len(places)), strict=True):
                row += cells
        note = "[95 % interval]; *: differs from the first run at 5 %, each number tested alone."
        tables.append(Table(f"Response to {label}", headings, rows, note))
    return tables


def _cells_of_runs(chosen: xr.Dataset, name: str, num_places: int) -> Iterator[list[Cell]]:
    shape = chosen.sizes["run"], num_places
    value, low, high, p = (
        _flat(chosen, f"{name}{suffix}", shape)
        for suffix in ("", "_low", "_high", "_difference_pvalue")
    )
    for run in range(shape[0]):
        yield [
            _marked(*(float(of[run, i]) for of in (value, low, high, p))) for i in range(num_places)
        ]


def _marked(value: float, low: float, high: float, p: float) -> Cell:
    decimals = decimals_of(value, low, high)
    text = rounded(value, decimals)
    if not math.isnan(low):
        text += f" [{rounded(low, decimals)}, {rounded(high, decimals)}]"
    return Cell.of_number(value, decimals, text + ("*" if p < 0.05 else ""))
