"""Samples that are one count as one, wherever a number says how sure it is."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from respeval.diagnostics import (
    RATIOS_KNOWN,
    STATISTICS,
    diagnose,
    differences,
    num_units,
    relative_half_width,
    replicate,
    running,
    years_left,
)
from respeval.diagnostics.statistics.copies import alike_samples
from respeval.diagnostics.zonal import zonal_totals
from tests.support.means import SETTINGS, run_of

OUTPUTS = ["t_low", "t_top"]


def copies_of(zonal: xr.Dataset, num_samples: int, spread_K: float = 0.0) -> xr.Dataset:
    """Samples that have run as the first one did, but for so much."""
    found = zonal.isel(sample=[0] * num_samples)
    apart = np.random.default_rng(1).normal(0.0, spread_K, found["count"].shape)
    for name in OUTPUTS:
        found[name] = found[name] + found["count"].copy(data=apart)
    return found


def assert_same_numbers(found: xr.Dataset, expected: xr.Dataset, rtol: float) -> None:
    names = [name for name in expected.data_vars if expected[name].dtype.kind == "f"]
    assert {f"{RATIOS_KNOWN[0]}_{statistic}" for statistic in STATISTICS} <= set(names)
    for name in names:
        np.testing.assert_allclose(
            found[name], expected[name], rtol=rtol, atol=1e-9, err_msg=str(name)
        )


@pytest.mark.parametrize("num_times", [12, 24, 60, 65])
def test_copies_are_one_sample_in_every_number(num_times: int) -> None:
    """Values, errors, intervals, effective numbers, noise floors, trends and seasons."""
    one = run_of(num_times, 1)
    four = copies_of(one, 4)
    assert_same_numbers(diagnose(four, SETTINGS), diagnose(one, SETTINGS), 1e-9)
    assert num_units(four) == num_units(one)


def test_samples_that_differ_by_float32s_rounding_are_one() -> None:
    """The demo's differ by 3e-6 K."""
    one = run_of(60, 1)
    almost = copies_of(one, 4, 3e-6)
    assert zonal_totals(almost).sizes["sample"] == 1
    found, expected = (diagnose(zonal, SETTINGS) for zonal in (almost, one))
    for name in RATIOS_KNOWN:
        got, wanted = (relative_half_width(x, name) for x in (found, expected))
        np.testing.assert_allclose(got, wanted, rtol=1e-4)


def test_samples_that_have_all_but_run_together_are_known_no_better_than_one() -> None:
    """Apart by a hundredth of what years differ by, which is no rounding: their correlation says so."""
    one = run_of(120, 1)
    four = copies_of(one, 4, 1e-3)
    assert zonal_totals(four).sizes["sample"] == 4
    found, expected = (diagnose(zonal, SETTINGS) for zonal in (four, one))
    for name in ("land_warming", "ocean_warming", *RATIOS_KNOWN):
        for statistic in ("stderr", "num_effective"):
            got, wanted = (x[f"{name}_{statistic}"] for x in (found, expected))
            np.testing.assert_allclose(got, wanted, rtol=0.03, err_msg=f"{name}_{statistic}")
        got, wanted = (relative_half_width(x, name) for x in (found, expected))
        np.testing.assert_allclose(got, wanted, rtol=0.03)
        left, expected_left = (years_left(x, name, 1e-3, 10.0).values for x in (found, expected))
        np.testing.assert_allclose(left, expected_left, rtol=0.05)


def test_only_samples_that_are_alike_in_all_are_one() -> None:
    zonal = run_of(24, 5)
    for name in OUTPUTS:
        zonal[name].values[:, 3] = zonal[name].values[:, 0]
        zonal[name].values[:, 2] = zonal[name].values[:, 1]
    zonal["count"].values[:] = 4.0
    assert sets_of(zonal) == [[0, 3], [1, 2], [4]]
    one_output = zonal.copy(deep=True)
    one_output["t_top"].values[:, 3] += 1e-3
    assert sets_of(one_output) == [[0], [1, 2], [3], [4]]
    one_year = zonal.copy(deep=True)
    one_year["t_low"].values[2, 3, 12:] += 1e-3
    assert sets_of(one_year) == [[0], [1, 2], [3], [4]]
    shorter = zonal.copy(deep=True)
    shorter["count"].values[:, 3, 12:] = 0.0
    assert sets_of(shorter) == [[0], [1, 2], [3], [4]]
    missing = zonal.copy(deep=True)
    missing["t_low"].values[0, 2, :12] = np.nan
    assert sets_of(missing) == [[0, 3], [1], [2], [4]]


def sets_of(zonal: xr.Dataset) -> list[list[int]]:
    """Of totals by segment."""
    count = zonal["count"]
    totals = zonal[OUTPUTS].where(count > 0, 0.0) * count
    return alike_samples(totals.assign(count=count).rename(time="year"))


def test_a_shorter_run_of_samples_that_are_one_is_known_as_one_is() -> None:
    one = run_of(60, 1)
    four = copies_of(one, 4)
    found, expected = (running(x, diagnose(x, SETTINGS), SETTINGS) for x in (four, one))
    for name in expected.data_vars:
        if expected[name].dtype.kind == "f":
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-9, err_msg=str(name))


def test_the_difference_of_two_runs_of_copies_is_that_of_single_samples() -> None:
    one, other = run_of(60, 1), run_of(60, 1)
    other["t_low"] = other["t_low"] + np.random.default_rng(4).normal(0.2, 0.1, (3, 1, 60, 1, 1))
    expected, found = (
        differences(
            *(replicate(run, SETTINGS) for run in (first, second)), {"p2K": True, "p4K": True}
        )
        for first, second in ((one, other), (copies_of(one, 4), copies_of(other, 4)))
    )
    assert found["paired"].all()
    for name in expected.data_vars:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-9, err_msg=str(name))


def test_runs_of_which_one_has_run_together_are_not_paired() -> None:
    first, other = run_of(60, 4), copies_of(run_of(60, 1), 4)
    runs = [replicate(run, SETTINGS) for run in (first, other)]
    found = differences(*runs, {"p2K": True, "p4K": True})
    assert not found["paired"].any()
    below = [run.diagnostics["land_warming_stderr"] ** 2 for run in runs]
    np.testing.assert_allclose(found["land_warming_difference_stderr"] ** 2, sum(below), rtol=1e-9)
