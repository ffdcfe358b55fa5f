"""The statistics of a run against closed forms, and the years that they are built on.

The `expected_` functions write out the formulas for one series of units, with matrices and loops.
"""

from __future__ import annotations

from itertools import pairwise

import cftime
import numpy as np
import pytest
import xarray as xr
from scipy import stats

from respeval.diagnostics import DiagnosticSettings, diagnose, response_maps, summary
from respeval.diagnostics.statistics.totals import (
    statistics_named_in,
    year_blocks,
    year_blocks_until,
)
from respeval.fields.variables import Roles
from tests.support.means import GRID, ROLES, SETTINGS, continents, months, saved_means, two_levels


def uniform(values: np.ndarray) -> np.ndarray:
    """[…] to [group…, lat, lon], the same in every cell."""
    return 288.0 + values[..., None, None] * np.ones(GRID.shape)


def in_common(pull: np.ndarray) -> tuple[float, float]:
    """Share of variance that samples have in common, and how likely it is where there is none."""
    num_samples, num_years = pull.shape
    if num_samples == 1 or num_years == 1:
        return 0.0, 1.0
    between = num_samples * pull.mean(0).var(ddof=1)
    within = pull.var(0, ddof=1).mean()
    shared = (between - within) / (between + (num_samples - 1) * within)
    return min(max(shared, 0.0), 1.0), float(stats.f_oneway(*pull.T).pvalue)


def correlation_of_years(pull: np.ndarray) -> float:
    num_samples, num_years = pull.shape
    pairs = [s[y] * s[y + 1] for s in pull for y in range(num_years - 1)]
    r = np.mean(pairs) / np.mean(pull**2) if pairs else 0.0
    number = pull.size / (1 + (num_samples - 1) * in_common(pull)[0])
    return float(min(max(r + (1 + 3 * r) / number, 0.0), 0.95))


def expected_number(pull: np.ndarray) -> float:
    """Effective number of units, from their deviations [sample, year]."""
    num_samples, num_years = pull.shape
    shared, years = in_common(pull)[0], np.arange(num_years)
    of_samples = shared + (1 - shared) * np.eye(num_samples)
    of_years = correlation_of_years(pull) ** np.abs(years[:, None] - years)
    return float(max(pull.size**2 / np.kron(of_samples, of_years).sum(), 2.0))


def expected_freedom(pull: np.ndarray) -> float:
    """Degrees of freedom: between those of years alone and those of all units."""
    years = np.arange(pull.shape[1])
    spread = (correlation_of_years(pull) ** np.abs(years[:, None] - years)).sum() / years.size
    of_years, of_units = (max(n / spread, 2.0) for n in (years.size, pull.size))
    return float(of_years + (of_units - of_years) * min(1.0, 2 * in_common(pull)[1]) - 1)


def expected_error(pull: np.ndarray) -> float:
    return float(np.sqrt((pull**2).mean() / (expected_number(pull) - 1)))


def test_without_correlation_between_years_it_is_the_textbooks_paired_t_interval() -> None:
    rng = np.random.default_rng(4)
    shared = 5.0 * rng.standard_normal((1, 3, 48))  # cancels in every pair
    own = rng.standard_normal((1, 3, 48))
    group_means, zonal = saved_means(
        two_levels(uniform(np.concatenate([shared, shared + 4.0 + own])))
    )
    by_unit = 4.0 + own[0].reshape(3, 4, 12).mean(-1)
    pull = by_unit - by_unit.mean()
    assert expected_number(pull) == 12  # these years happen to alternate, and samples to differ
    assert expected_freedom(pull) == 11
    stderr = stats.sem(by_unit.ravel())
    low, high = stats.t.interval(0.95, 11, by_unit.mean(), stderr)
    result = diagnose(zonal, SETTINGS)
    for name in ("land_warming", "ocean_warming", "column_warming", "t_low_mean"):
        np.testing.assert_allclose(result[f"{name}_stderr"], stderr, rtol=1e-9)
        np.testing.assert_allclose(result[f"{name}_low"], low, rtol=1e-9)
        np.testing.assert_allclose(result[f"{name}_high"], high, rtol=1e-9)
        np.testing.assert_allclose(result[f"{name}_num_effective"], 12)
    circles = result["t_low_zonal_mean_high"].sel(surface="all")
    np.testing.assert_allclose(circles, high, rtol=1e-9)
    by_year = by_unit.mean(0)
    tested = stats.ttest_1samp(by_year, 0.0)
    maps = response_maps(group_means)
    np.testing.assert_allclose(maps["t_low_stderr"], by_year.std(ddof=1) / 2, rtol=1e-9)
    np.testing.assert_allclose(maps["t_low_pvalue"], tested.pvalue, rtol=1e-7)


def test_years_that_follow_each_other_count_for_less() -> None:
    rng = np.random.default_rng(10)
    slow = rng.standard_normal((2, 6, 1)).repeat(2, axis=1).reshape(1, 2, 12, 1)  # pairs of years
    own = np.broadcast_to(slow + 0.7 * rng.standard_normal((1, 2, 12, 1)), (1, 2, 12, 12))
    own = own.reshape(1, 2, 144)
    group_means, zonal = saved_means(two_levels(uniform(np.concatenate([0 * own, own]))))
    by_unit = own[0, :, ::12]
    pull = by_unit - by_unit.mean()
    number, stderr = expected_number(pull), expected_error(pull)
    assert 4 < number < 16
    result = diagnose(zonal, SETTINGS)
    freedom = expected_freedom(pull)
    np.testing.assert_allclose(result["land_warming_num_effective"], freedom + 1, rtol=1e-9)
    np.testing.assert_allclose(result["land_warming_stderr"], stderr, rtol=1e-9)
    reach = stats.t.ppf(0.975, freedom) * stderr
    np.testing.assert_allclose(result["land_warming_high"], by_unit.mean() + reach, rtol=1e-7)
    by_year = by_unit.mean(0)
    pull = (by_year - by_year.mean())[None]
    number, stderr = expected_number(pull), expected_error(pull)
    maps = response_maps(group_means)
    np.testing.assert_allclose(maps["t_low_stderr"], stderr, rtol=1e-9)
    tail = 2 * stats.t.sf(abs(by_year.mean()) / stderr, number - 1)
    np.testing.assert_allclose(maps["t_low_pvalue"], tail, rtol=1e-7)


def test_the_error_of_a_ratio_is_the_jackknife_written_out() -> None:
    rng = np.random.default_rng(1)
    land, _ = continents(GRID)
    change = np.where(land, 1.5, 1.0) * rng.normal(4.0, 1.0, (2, 24, 1, 1))
    change = change + np.where(land, rng.normal(0.0, 1.0, (2, 24, 1, 1)), 0.0)
    x = 288.0 + np.stack([0.0 * change, change])
    count = rng.integers(1, 9, (2, 2, 24)).astype(float)
    _, zonal = saved_means(two_levels(x), count)
    means = change[..., land].mean(-1), change[..., ~land].mean(-1)
    replicates = np.empty((2, 2))
    for sample in range(2):
        for year in range(2):
            keep = count[1].copy()
            keep[sample, 12 * year : 12 * year + 12] = 0.0
            replicates[sample, year] = (keep * means[0]).sum() / (keep * means[1]).sum()
    expected = expected_error(3 * (replicates.mean() - replicates))
    settings = DiagnosticSettings(ROLES, {"all": (0.0, 70.0)})  # land is alike in all of it
    result = diagnose(zonal, settings)["land_ocean_warming_ratio_stderr"]
    np.testing.assert_allclose(result, expected, rtol=1e-9)


def land_and_ocean(land_change: np.ndarray, ocean_change: np.ndarray) -> xr.Dataset:
    """zonal.nc of a run of years in which land and ocean change by [sample, year]."""
    land, _ = continents(GRID)
    change = np.where(land, land_change[..., None, None], ocean_change[..., None, None])
    change = change.repeat(12, axis=1)
    return saved_means(two_levels(288.0 + np.stack([0.0 * change, change])))[1]


def test_a_ratios_ends_are_where_the_t_test_of_land_minus_ratio_times_ocean_turns() -> None:
    rng = np.random.default_rng(3)
    ocean = 3.0 + 1.2 * rng.standard_normal((6, 1))
    land = 1.5 * ocean + 0.5 * rng.standard_normal((6, 1))
    settings = DiagnosticSettings(ROLES, {"all": (0.0, 50.0)})
    result = diagnose(land_and_ocean(land, ocean), settings).isel(perturbation=0, band=0)
    low, ratio, high = (
        float(result[f"land_ocean_warming_ratio{end}"]) for end in ("_low", "", "_high")
    )
    assert low < ratio < high
    assert high - ratio > 1.2 * (ratio - low)  # an interval of ± a standard error would not be
    for end in (low, high):
        assert stats.ttest_1samp((land - end * ocean).ravel(), 0.0).pvalue == pytest.approx(0.05)


def test_a_ratio_to_a_warming_that_may_be_none_has_no_finite_interval() -> None:
    rng = np.random.default_rng(4)
    ocean = 0.1 + rng.standard_normal((5, 1))
    settings = DiagnosticSettings(ROLES, {"all": (0.0, 50.0)})
    result = diagnose(land_and_ocean(2.0 + ocean, ocean), settings).isel(perturbation=0, band=0)
    assert float(result["ocean_warming_low"]) < 0 < float(result["ocean_warming_high"])
    assert np.isfinite(result["land_ocean_warming_ratio"])
    assert float(result["land_ocean_warming_ratio_low"]) == -np.inf
    assert float(result["land_ocean_warming_ratio_high"]) == np.inf
    flat = summary(diagnose(land_and_ocean(2.0 + ocean, ocean), settings))
    assert flat["p4K/land_ocean_warming_ratio_high/all"] is None


def test_the_noise_floor_is_the_spread_of_the_baselines_samples() -> None:
    rng = np.random.default_rng(6)
    forced = 3.0 * rng.standard_normal((1, 1, 10, 1))  # the same in all samples: no noise
    weather = rng.standard_normal((1, 4, 10, 1))
    x = np.broadcast_to(forced + weather, (1, 4, 10, 12)).reshape(1, 4, 120)
    _, zonal = saved_means(two_levels(uniform(np.concatenate([x, x + 4.0]))))
    result = diagnose(zonal, SETTINGS)
    np.testing.assert_allclose(result["land_warming_stderr"], 0.0, atol=1e-9)  # paired
    within = (weather - weather.mean(1, keepdims=True))[0, ..., 0]
    r = np.mean(within[:, 1:] * within[:, :-1]) / np.mean(within**2)
    years = np.arange(10)
    number = 1600 / (4 * (max(r, 0.0) ** np.abs(years[:, None] - years)).sum())
    expected = np.sqrt(2 * (within**2).sum() / 30 / number)
    np.testing.assert_allclose(result["land_warming_noise"], expected, rtol=1e-9)
    np.testing.assert_allclose(result["t_low_mean_noise"], expected, rtol=1e-9)


def test_the_noise_floor_is_how_far_two_baselines_are_apart() -> None:
    rng = np.random.default_rng(7)
    years = rng.standard_normal((400, 2, 3, 8, 1, 1))  # run, group, sample, year
    _, zonal = saved_means({"t": uniform(np.zeros((2, 3, 96)))})
    runs = years.repeat(12, axis=3) * np.ones((1, 1, 1, 1, 3, GRID.num_lat))
    zonal["t"] = (("run", "group", "sample", "time", "surface", "lat"), runs)
    settings = DiagnosticSettings(Roles("t", ("t",)), {"all": (0.0, 50.0)})
    result = diagnose(zonal, settings).squeeze()
    difference = float(result["column_warming"].std("run"))
    assert difference == pytest.approx(np.sqrt(2 / 24), rel=0.1)
    floor = float(result["column_warming_noise"].median("run"))
    assert floor == pytest.approx(difference, rel=0.1)


def test_fewer_than_two_units_have_no_error() -> None:
    own = np.random.default_rng(3).standard_normal((2, 1, 12))
    group_means, zonal = saved_means(two_levels(uniform(own)))
    result = diagnose(zonal, SETTINGS)
    assert result["land_warming"].notnull().all()
    for name in result.data_vars:
        if name in statistics_named_in(result):
            assert result[name].isnull().all(), name
    maps = response_maps(group_means)
    for suffix in ("stderr", "pvalue", "noise"):
        assert maps[f"t_low_{suffix}"].isnull().all()
    assert not maps["t_low_significant"].any()


def test_a_unit_without_steps_is_no_unit() -> None:
    own = np.random.default_rng(4).standard_normal((2, 3, 24))
    count = np.full((2, 3, 24), 10.0)
    count[:, 2, 12:] = 0.0
    _, zonal = saved_means(two_levels(uniform(own)), count)
    difference = (own[1] - own[0]).reshape(3, 2, 12).mean(-1)
    difference = np.where([[True, True], [True, True], [True, False]], difference, np.nan)
    pull = difference - np.nanmean(difference)
    # Of five units three are in the first year and two in the second, 8/5 others beside each.
    common = (np.nansum(pull, axis=0) ** 2).sum() / np.nansum(pull**2)
    shared = (5 * common / (common + 5 - 5 / 2) - 1) / (8 / 5)
    shared = min(max(shared, 0), 1)
    r = np.mean(pull[:2, 0] * pull[:2, 1]) / np.nanmean(pull**2)
    r = r + (1 + 3 * r) / (25 / (5 + 8 * shared))
    r = min(max(r, 0), 0.95)
    number = max(25 / (5 + 4 * r + shared * (8 + 2 * (6 - 2) * r)), 2)
    assert number < 5
    expected = np.sqrt(np.nanmean(pull**2) / (number - 1))
    result = diagnose(zonal, SETTINGS)
    np.testing.assert_allclose(result["ocean_warming_stderr"], expected, rtol=1e-9)


def test_one_perturbation_may_have_fewer_units_than_another() -> None:
    own = np.random.default_rng(5).standard_normal((3, 1, 36))
    count = np.full((3, 1, 36), 10.0)
    count[2, 0, 12:] = 0.0
    _, zonal = saved_means(two_levels(uniform(own)), count, groups=("baseline", "a", "b"))
    result = diagnose(zonal, SETTINGS)["ocean_warming_stderr"]
    assert result.sel(perturbation="b").isnull().all()  # without its one year it has no mean
    difference = (own[1] - own[0]).reshape(1, 3, 12).mean(-1)
    expected = expected_error(difference - difference.mean())
    np.testing.assert_allclose(result.sel(perturbation="a"), expected, rtol=1e-9)


def test_a_year_begins_where_the_run_begins() -> None:
    assert year_blocks(months(24, (2001, 7))) == [slice(0, 12), slice(12, 24)]
    assert year_blocks(months(35)) == [slice(0, 12), slice(12, 24), slice(24, 35)]
    assert year_blocks(months(1)) == [slice(0, 1)]


def test_a_few_months_at_the_end_belong_to_the_year_before() -> None:
    assert year_blocks(months(25)) == [slice(0, 12), slice(12, 25)]
    assert year_blocks(months(16)) == [slice(0, 16)]
    assert year_blocks(months(34)) == [slice(0, 12), slice(12, 34)]


def test_years_until_some_segment_are_those_of_a_run_that_ended_there() -> None:
    times, stops = months(42, (2001, 7)), [1, 12, 15, 18, 24, 42]
    expected = [year_blocks(times.isel(time=slice(0, stop))) for stop in stops]
    assert year_blocks_until(times, stops) == expected


@pytest.mark.parametrize("calendar", ["standard", "noleap", "360_day", "julian"])
def test_years_follow_the_calendar(calendar: str) -> None:
    first = "2000-02-28" if calendar == "noleap" else "2000-02-29"
    edges = xr.date_range(first, periods=4 * 365, calendar=calendar, use_cftime=True)
    middle = edges[:-1] + (edges[1] - edges[0]) / 2
    bounds = np.array([edges[:-1], edges[1:]]).T
    times = xr.Dataset({"time_bnds": (("time", "bnds"), bounds)}, coords={"time": middle})
    if calendar == "standard":
        native = xr.date_range(first, periods=4 * 365)
        plain = xr.Dataset(
            {"time_bnds": (("time", "bnds"), np.array([native[:-1], native[1:]]).T)},
            coords={"time": native[:-1] + np.timedelta64(12, "h")},
        )
        assert year_blocks(plain) == year_blocks(times)
    lengths = [block.stop - block.start for block in year_blocks(times)]
    expected = {
        # Where 2001 has no 29 February, the first year runs to 1 March and is a day longer.
        "standard": [366, 365, 365],
        "julian": [366, 365, 365],
        "noleap": [365, 365, 365],
        "360_day": [360, 360, 360],
    }[calendar]
    assert lengths[:3] == expected


def test_a_segment_longer_than_a_year_is_a_block() -> None:
    edges = [cftime.Datetime360Day(2000 + 3 * k, 1, 1) for k in range(4)]
    middle = [a + (b - a) / 2 for a, b in pairwise(edges)]
    bounds = np.array([edges[:-1], edges[1:]]).T
    times = xr.Dataset({"time_bnds": (("time", "bnds"), bounds)}, coords={"time": middle})
    assert year_blocks(times) == [slice(0, 1), slice(1, 2), slice(2, 3)]
