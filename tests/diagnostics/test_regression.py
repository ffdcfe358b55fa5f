"""Regression on an index and the low-pass filter, against numpy's own and what is known of them."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from respeval.diagnostics.statistics.lowpass import CUTOFF_MONTHS, low_pass, period_years
from respeval.diagnostics.statistics.regression import (
    difference_of,
    difference_of_unpaired,
    lag_one,
    monthly_anomalies,
    regress,
)
from respeval.diagnostics.statistics.sampling import discoveries

MONTHS = 120
MONTH = np.arange(MONTHS) % 12 + 1
RNG = np.random.default_rng(5)


def red(shape: tuple[int, ...], memory: float, seed: int) -> np.ndarray:
    """A stationary process AR(1) of unit variance along the first axis."""
    kicks = np.random.default_rng(seed).standard_normal(shape)
    found = np.empty(shape)
    found[0] = kicks[0]
    for t in range(1, shape[0]):
        found[t] = memory * found[t - 1] + np.sqrt(1.0 - memory**2) * kicks[t]
    return found


def el_nino(seed: int = 0) -> np.ndarray:
    return monthly_anomalies(red((MONTHS,), 0.9, seed), MONTH)


def test_anomalies_have_no_annual_cycle_and_nothing_else_is_lost() -> None:
    slow = RNG.standard_normal((MONTHS, 3))
    cycle = 10.0 * np.cos(2.0 * np.pi * MONTH / 12.0)[:, None]
    found = monthly_anomalies(slow + cycle + 280.0, MONTH)
    assert found == pytest.approx(monthly_anomalies(slow, MONTH), abs=1e-12)
    for number in range(1, 13):
        assert found[number == MONTH].mean(axis=0) == pytest.approx(0.0, abs=1e-13)
    partial = monthly_anomalies(slow[:26], MONTH[:26])  # January and February are there three times
    assert partial[[0, 12, 24], 0] == pytest.approx(
        slow[[0, 12, 24], 0] - slow[[0, 12, 24], 0].mean(), abs=1e-13
    )


def test_the_slope_is_that_of_polyfit_with_a_mean_of_each_month() -> None:
    index, cells = el_nino(), RNG.standard_normal((MONTHS, 2, 3)) + 0.7 * el_nino()[:, None, None]
    found = regress(monthly_anomalies(cells, MONTH), index, MONTH)
    for i in range(2):
        for j in range(3):
            anomalies = monthly_anomalies(cells[:, i, j], MONTH)
            assert found.slope[i, j] == pytest.approx(np.polyfit(index, anomalies, 1)[0], rel=1e-12)
            design = np.column_stack([index, *(m == MONTH for m in range(1, 13))]).astype(float)
            assert np.linalg.lstsq(design, cells[:, i, j], rcond=None)[0][0] == pytest.approx(
                found.slope[i, j], rel=1e-10
            )


def test_without_memory_the_error_is_the_textbooks() -> None:
    """Of least squares with thirteen coefficients."""
    index, cells = el_nino(), RNG.standard_normal((MONTHS, 200))
    found = regress(monthly_anomalies(cells, MONTH), index, MONTH)
    design = np.column_stack([index, *(m == MONTH for m in range(1, 13))]).astype(float)
    inverse = np.linalg.inv(design.T @ design)[0, 0]
    expected = np.sqrt(inverse * (found.residual**2).sum(axis=0) / (MONTHS - 13))
    without = lag_one(found.residual) <= 0.0
    assert 50 < without.sum() < 150
    assert found.stderr[without] == pytest.approx(expected[without], rel=1e-12)
    assert found.freedom[without] == pytest.approx(MONTHS - 13)
    assert (found.stderr[~without] > expected[~without]).all()


@pytest.mark.parametrize("memory", [0.0, 0.9])
def test_without_a_relation_five_of_a_hundred_tests_find_one(memory: float) -> None:
    """And a tenth of the maps have a cell that is called significant; as if no cell were like another,
    that would be more than a quarter of them."""
    land = np.arange(40) < 15
    tests, maps, alone = [], [], []
    for seed in range(40):
        weather = monthly_anomalies(red((MONTHS, 10, 40), memory, 100 + seed), MONTH)
        index = el_nino(seed)
        own = regress(weather, index, MONTH)
        found = regress(weather, index, MONTH, np.broadcast_to(land, (10, 40)))
        assert (found.stderr >= own.stderr).all()
        tests.append((found.pvalue < 0.05).mean())
        for each, told in ((own, alone), (found, maps)):
            told.append(discoveries(xr.Variable(("map", "cell"), each.pvalue.reshape(1, -1))).any())
    assert 0.035 < np.mean(tests) < 0.055
    assert np.mean(maps) <= 0.15
    if memory:
        assert np.mean(alone) > 0.25


def test_a_circle_lends_its_memory_to_cells_of_its_kind_alone() -> None:
    """Land without memory, ocean with one, but for one cell of it."""
    land = np.zeros((2, 60), bool)
    land[:, :30] = True
    values = np.where(land, red((MONTHS, 2, 60), 0.0, 3), red((MONTHS, 2, 60), 0.8, 4))
    values[:, 0, 45] = red((MONTHS,), 0.0, 11)
    index = el_nino()
    found = regress(monthly_anomalies(values, MONTH), index, MONTH, land)
    memory = lag_one(found.residual)
    assert abs(memory[0, 45]) < 0.25
    beside = memory[0, 30:].mean()
    shared = beside * lag_one(index)
    expected = (MONTHS - 12) * (1.0 - shared) / (1.0 + shared) - 1.0
    assert found.freedom[0, 45] == pytest.approx(expected, rel=1e-12)
    assert found.freedom[:, :30].min() > 2.0 * expected


def test_the_interval_holds_the_slope_in_nineteen_of_twenty_cells() -> None:
    hits = []
    for seed in range(20):
        index = el_nino(seed)
        cells = 0.4 * index[:, None] + 0.8 * red((MONTHS, 200), 0.5, 300 + seed)
        found = regress(monthly_anomalies(cells, MONTH), index, MONTH)
        hits.append((np.abs(found.slope - 0.4) <= found.reach).mean())
    assert 0.935 < np.mean(hits) < 0.97


def test_what_climates_share_cancels_in_the_change() -> None:
    """Paired weather: the change is known far better than each slope; unpaired: as the sum says."""
    index, weather = el_nino(), red((MONTHS, 50), 0.3, 7)
    own = 0.05 * RNG.standard_normal((MONTHS, 50))
    one, other = (
        regress(monthly_anomalies(b * index[:, None] + weather + extra, MONTH), index, MONTH)
        for b, extra in ((0.4, 0.0), (0.5, own))
    )
    change = difference_of(one, other, index, MONTH)
    direct = regress(
        monthly_anomalies(0.1 * index[:, None] + own, MONTH), index, MONTH
    )  # of the difference itself
    assert change.slope == pytest.approx(direct.slope, abs=1e-12)
    assert change.stderr == pytest.approx(direct.stderr, rel=1e-9)
    assert (change.stderr < 0.1 * one.stderr).all()
    assert 0.85 <= (np.abs(change.slope - 0.1) <= change.reach).mean() <= 1.0
    apart = difference_of_unpaired(one, other)
    assert apart.stderr == pytest.approx(np.hypot(one.stderr, other.stderr), rel=1e-12)
    assert (apart.freedom >= np.minimum(one.freedom, other.freedom) - 1e-9).all()
    assert (apart.freedom <= one.freedom + other.freedom + 1e-9).all()


def test_what_does_not_vary_has_a_slope_of_nothing() -> None:
    found = regress(np.zeros((MONTHS, 2)), el_nino(), MONTH)
    assert found.slope.tolist() == found.stderr.tolist() == [0.0, 0.0]
    assert found.pvalue.tolist() == [1.0, 1.0]


def test_the_filter_passes_what_is_slow_and_keeps_out_what_is_fast() -> None:
    """In the middle of a long series, where no end is near: against the gain of the analog filter,
    1 / (1 + ε² T(13 years/period)²), for which the step of a month is next to nothing."""
    time, middle = np.arange(100 * CUTOFF_MONTHS, dtype=np.float64), slice(7000, 8000)
    square = 10.0**0.01 - 1.0  # ε² of a ripple of 0.1 dB
    for period in (100.0, 40.0, 20.0, 13.0, 10.0, 6.5, 3.0):
        wave = np.cos(2.0 * np.pi * time / (12.0 * period))
        found = low_pass(wave)[middle]
        ratio = CUTOFF_MONTHS / (12.0 * period)
        chebyshev = 16.0 * ratio**5 - 20.0 * ratio**3 + 5.0 * ratio  # of order 5
        gain = 1.0 / (1.0 + square * chebyshev**2)
        assert found == pytest.approx(gain * wave[middle], abs=2e-3), period
    assert np.abs(low_pass(np.cos(2.0 * np.pi * time / 12.0))[middle]).max() < 1e-9


def test_the_filter_leaves_a_constant_and_keeps_the_ends_near_the_series() -> None:
    assert low_pass(np.full(312, 2.5)) == pytest.approx(2.5, abs=1e-9)
    noise = monthly_anomalies(RNG.standard_normal((480, 20)), np.arange(480) % 12 + 1)
    found = low_pass(noise)
    assert np.abs(found).max() < 0.6
    both = np.stack([noise[:, 0], 2.0 * noise[:, 0]], axis=1)
    assert low_pass(both)[:, 1] == pytest.approx(2.0 * found[:, 0], abs=1e-12)
    with pytest.raises(ValueError, match="311 months are too few"):
        low_pass(np.zeros(311))


@pytest.mark.parametrize("years", [1.8, 2.5, 3.7])
def test_the_period_of_a_wave_is_found(years: float) -> None:
    wave = np.sin(2.0 * np.pi * np.arange(240) / (12.0 * years) + 1.0)
    noisy = wave + 0.5 * np.random.default_rng(0).standard_normal(240)
    assert period_years(noisy) == pytest.approx(years, rel=0.04)


def test_a_period_that_is_not_there_three_times_is_not_told() -> None:
    wave = np.sin(2.0 * np.pi * np.arange(120) / 60.0)
    assert np.isnan(period_years(wave))
    assert np.isnan(period_years(np.zeros(120)))
    assert np.isnan(period_years(np.full(120, np.nan)))
