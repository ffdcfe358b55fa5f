"""A diagnostic's numbers by place, and the digits that are shown, against rounding by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr

from respeval.diagnostics import summary
from respeval.diagnostics.numbers import (
    Number,
    by_place,
    decimals_of,
    is_profile,
    key_of,
    main_rows,
    numbers_of,
    parts_of_key,
    places,
    places_of,
    rounded,
    short_name,
    usual_diagnostics,
    with_error,
    with_interval,
)


def some() -> xr.Dataset:
    """A diagnostic by hemisphere and band, its error on turned axes, and one of the baseline."""
    dims = ("perturbation", "hemisphere", "band")
    values = np.arange(8.0).reshape(2, 2, 2)
    found = xr.Dataset(
        {
            "mine": (dims, values, {"ancillary_variables": "mine_stderr"}),
            "mine_stderr": (dims[::-1], 0.5 * values.T),
            "baseline_heat": ((), 7.0),
            "circles": (("perturbation", "lat"), np.zeros((2, 3))),
        },
        {"perturbation": ["p2K", "p4K"], "hemisphere": ["north", "south"], "band": ["low", "high"]},
    )
    found["mine"][1, 0, 1] = math.nan
    return found


def test_numbers_are_told_place_by_place() -> None:
    found = some()
    where = ["north, low", "north, high", "south, low", "south, high"]
    assert places_of(found["mine"]) == where
    assert places(found["mine"])[2] == {"hemisphere": "south", "band": "low"}
    assert places_of(found["baseline_heat"]) == [""]
    numbers = numbers_of(found, "mine")
    assert [(n.label, n.where) for n in numbers] == [(p, w) for p in ("p2K", "p4K") for w in where]
    assert (numbers[6].value, numbers[6].stderr) == (6.0, 3.0)
    assert math.isnan(numbers[6].low)
    assert math.isnan(numbers[6].noise)
    [heat] = numbers_of(found, "baseline_heat")
    assert isinstance(heat, Number)
    assert (heat.label, heat.where, heat.value) == ("baseline", "", 7.0)
    one = found.sel(perturbation="p4K")
    assert [n.value for n in numbers_of(one, "mine")][2:] == [6.0, 7.0]


def test_numbers_of_many_runs_have_their_places_last() -> None:
    runs = xr.concat([some(), some() + 10.0], "run")
    assert by_place(runs, "mine").shape == (2, 2, 4)
    assert by_place(runs, "mine")[1, 0].tolist() == [10.0, 11.0, 12.0, 13.0]
    assert by_place(runs, "mine", "_stderr")[1, 1].tolist() == [12.0, 12.5, 13.0, 13.5]
    assert np.isnan(by_place(runs, "mine", "_difference")).all()
    assert by_place(runs, "baseline_heat").tolist() == [[7.0], [17.0]]


def test_the_summary_has_a_key_for_every_number_but_those_of_profiles() -> None:
    flat = summary(some())
    assert flat["p4K/mine/south/low"] == 6.0
    assert flat["p4K/mine/north/high"] is None
    assert flat["p4K/mine_stderr/low/south"] == 3.0  # in the order of its own axes
    assert flat["baseline/heat"] == 7.0
    assert is_profile(some()["circles"])
    assert not any("circles" in key for key in flat)
    key = key_of("p4K", "mine", ["south", "low"])
    assert (key, parts_of_key(key)) == ("p4K/mine/south/low", ("p4K", "mine", ["south", "low"]))
    assert parts_of_key("quarantined") == ("quarantined", "", [])


def test_the_rows_of_a_run_are_those_that_diagnostics_declare() -> None:
    rows = main_rows()
    assert list(rows)[:3] == ["land_warming", "ocean_warming", "land_ocean_warming_ratio"]
    assert len(rows) == 12
    assert [name for name, row in rows.items() if not row.ends] == [
        "arctic_amplification",
        "precipitation_change_per_K",
        "water_path_change_per_K",
    ]
    assert short_name("cess_feedback") == "Cess, W/m²/K"
    assert short_name("antarctic_amplification") == short_name("linearity") == ""
    assert usual_diagnostics(["linearity", *rows])[0] == "land_ocean_warming_ratio"
    assert usual_diagnostics(["linearity", "cess_feedback"]) == ["cess_feedback"]
    assert usual_diagnostics(["T_mean"]) == ["T_mean"]


@pytest.mark.parametrize(
    ("value", "low", "high", "decimals"),
    [
        (1.4416, 1.437, 1.446, 3),  # half an interval of 0.0045
        (1.4416, 1.4, 1.48, 2),
        (5.75, 5.73, 5.77, 3),  # of 0.02: 2 is followed by a second digit
        (12.3, 0.0, 60.0, 0),
        (1234.5, 1000.0, 1500.0, 0),
        (3.2e-8, 2.8e-8, 3.6e-8, 9),
        (2.5, 2.5, 2.5, 2),  # no width: three digits of the number
        (0.0123, math.nan, math.nan, 4),
        (1234.5, math.nan, math.nan, 0),
        (1.5, -math.inf, math.inf, 2),
        (0.0, math.nan, math.nan, 2),
        (math.nan, math.nan, math.nan, 2),
    ],
)
def test_digits_are_those_that_the_interval_leaves(
    value: float, low: float, high: float, decimals: int
) -> None:
    assert decimals_of(value, low, high) == decimals


def test_numbers_are_rounded_and_zero_has_no_sign() -> None:
    assert rounded(1.4416, 3) == "1.442"
    assert rounded(-0.0004, 2) == "0.00"
    assert rounded(1234.5678, 0) == "1235"
    assert rounded(3.21e-8, 10) == "3.21e-08"
    assert rounded(1.5, 9) == "1.500000"
    assert rounded(math.nan, 2) == "-"
    assert (rounded(math.inf, 2), rounded(-math.inf, 2)) == ("∞", "-∞")


@pytest.mark.parametrize(
    ("numbers", "shown"),
    [
        ((1.43827, 1.35, 1.53), "1.44 [1.35, 1.53]"),
        ((0.57432, 0.57431, 0.57433), "0.574320 [0.574310, 0.574330]"),
        ((-0.0049, -0.3, 0.3), "0.0 [-0.3, 0.3]"),
        ((3.2e-7, 3.1e-7, 3.3e-7), "3.20e-07 [3.10e-07, 3.30e-07]"),
        ((123456.0, 120000.0, 127000.0), "123456 [120000, 127000]"),
        ((1.37, -math.inf, math.inf), "1.37 [unbounded]"),
        ((1.37, math.nan, math.nan), "1.37"),
        ((math.nan, 1.0, 2.0), "-"),
    ],
)
def test_an_interval_leaves_its_digits(numbers: tuple[float, float, float], shown: str) -> None:
    assert with_interval(*numbers) == shown


def test_no_more_decimals_than_the_truth_has() -> None:
    assert with_interval(0.57432, 0.57431, 0.57433, most=3) == "0.574 [0.574, 0.574]"


@pytest.mark.parametrize(
    ("value", "stderr", "shown"),
    [
        (1.43827, 0.09, "1.44 ± 0.09"),
        (1.43827, 0.021, "1.438 ± 0.021"),
        (0.57432, 0.0004, "0.5743 ± 0.0004"),
        (1.43827, 3.0e-8, "1.438270 ± 3.00e-08"),
        (123.4, 12.0, "123 ± 12"),
        (0.57432, 0.0, "0.574 ± 0"),
        (0.57432, math.nan, "0.574"),
        (math.nan, 0.1, "-"),
    ],
)
def test_an_error_leaves_its_digits(value: float, stderr: float, shown: str) -> None:
    assert with_error(value, stderr) == shown
