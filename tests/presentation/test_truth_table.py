"""The demo's last table: numbers, intervals, the truth, and whether it is inside."""

from __future__ import annotations

import io
import math

import xarray as xr
from rich.console import Console

from respeval.diagnostics.numbers import holds
from respeval.presentation.console.truth import truth_table


def column(ratio: float, reach: float) -> xr.Dataset:
    """Diagnostics of one perturbation: a ratio in two bands, of which the second is not known."""
    values = xr.DataArray([ratio, math.nan], {"band": ["tropics", "poles"]}, "band")
    found = {"land_ocean_warming_ratio": values}
    if not math.isnan(reach):
        found["land_ocean_warming_ratio_low"] = values - reach
        found["land_ocean_warming_ratio_high"] = values + reach
    return xr.Dataset(found)


def test_the_truth_stands_beside_every_interval() -> None:
    runs = {"good": column(1.4416, 0.0045), "bad": column(1.0948, 0.0081)}
    table = truth_table(column(1.4452, math.nan), runs, "p4K")
    text = io.StringIO()
    Console(file=text, width=100).print(table)
    rows = [" ".join(line.split()) for line in text.getvalue().splitlines()]
    assert rows[0] == "Response to p4K: emulators beside the truth"
    assert "land/ocean ratio tropics 1.445 1.442 [1.437, 1.446] yes 1.095 [1.087, 1.103] no" in rows
    assert "poles - - - - -" in rows


def test_an_interval_holds_its_ends_and_an_unbounded_one_all() -> None:
    assert holds(1.0, 1.0, 2.0) == holds(2.0, 1.0, 2.0) == "yes"
    assert holds(2.1, 1.0, 2.0) == holds(0.9, 1.0, 2.0) == "no"
    assert holds(7.0, -math.inf, math.inf) == "yes"
    assert holds(1.0, math.nan, math.nan) == holds(math.nan, 0.0, 1.0) == "-"
