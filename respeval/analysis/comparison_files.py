"""comparison.nc and comparison.csv."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from pathlib import Path

import xarray as xr

from respeval.analysis.compared_reference import REFERENCE_SUFFIX
from respeval.analysis.comparison import diagnostics_of
from respeval.diagnostics import DIFFERENCE, places_of
from respeval.diagnostics.numbers import by_place
from respeval.files.netcdf import write_netcdf
from respeval.files.publish import write_text

COMPARISON, TABLE = "comparison.nc", "comparison.csv"

#: Columns of the csv with numbers of a diagnostic -> what follows its name in the netCDF file.
_NUMBERS = {
    "value": "",
    "stderr": "_stderr",
    "low": "_low",
    "high": "_high",
    "difference": DIFFERENCE,
    "difference_stderr": f"{DIFFERENCE}_stderr",
    "difference_low": f"{DIFFERENCE}_low",
    "difference_high": f"{DIFFERENCE}_high",
    "p_value": f"{DIFFERENCE}_pvalue",
}

_HEADINGS = [
    *("run", "epoch", "perturbation", "diagnostic", "where", "units", *_NUMBERS),
    *("paired", "reference"),
]


def write_comparison(comparison: xr.Dataset, folder: Path) -> None:
    """Write comparison.nc and comparison.csv; raises InputError where they can't be written."""
    write_netcdf(comparison, folder / COMPARISON)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADINGS)
    writer.writerows(_rows(comparison))
    write_text(folder / TABLE, text.getvalue())


def _rows(comparison: xr.Dataset) -> Iterator[list[str]]:
    """One row for every run, perturbation, diagnostic and band, level or surface."""
    runs = [str(run) for run in comparison["run"].values]
    labels = [str(label) for label in comparison["perturbation"].values]
    kinds = comparison["paired"].values
    epochs = comparison["epoch"].values if "epoch" in comparison.coords else [math.nan] * len(runs)
    columns = {
        name: [by_place(comparison, name, suffix) for suffix in _NUMBERS.values()]
        for name in diagnostics_of(comparison)
    }
    first = comparison.isel(run=0)
    known = {name: by_place(first, name, REFERENCE_SUFFIX) for name in columns}
    for r, run in enumerate(runs):
        for p, label in enumerate(labels):
            how = ("no", "yes", "")[kinds[r, p]]
            for name, arrays in columns.items():
                units = str(comparison[name].attrs["units"])
                for i, place in enumerate(places_of(comparison[name])):
                    numbers = [_text(array[r, p, i]) for array in arrays]
                    head = [run, _text(epochs[r]), label, name, place, units]
                    yield [*head, *numbers, how, _text(known[name][p, i])]


def _text(number: float) -> str:
    """A number that reads back as it is; nothing where there is none."""
    return "" if math.isnan(number) else repr(float(number)).removesuffix(".0")
