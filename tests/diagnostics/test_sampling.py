"""The statistics of units against libraries, brute force and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from respeval.diagnostics import catalog, known_diagnostics, response_maps
from respeval.diagnostics.statistics.sampling import (
    covariance,
    discoveries,
    effective,
    effective_number,
    fieller,
    p_value,
    t_quantile,
    together,
    year_correlation,
)
from respeval.planet.weather import Weather
from tests.support.means import GRID, continents, saved_means

UNITS = ("sample", "year")


def series(
    correlation: float, num_series: int, num_samples: int, num_years: int, seed: int = 0
) -> np.ndarray:
    """Stationary AR(1) of unit variance, [series, sample, year]."""
    x = np.random.default_rng(seed).standard_normal((num_series, num_samples, num_years))
    for year in range(1, num_years):
        x[..., year] *= np.sqrt(1 - correlation**2)
        x[..., year] += correlation * x[..., year - 1]
    return x


def everywhere(num_samples: int, num_years: int) -> xr.Variable:
    return xr.Variable(UNITS, np.ones((num_samples, num_years), dtype=bool))


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.6])
def test_the_effective_number_is_that_of_the_correlation_matrix(correlation: float) -> None:
    occupied = everywhere(3, 7)
    occupied.values[1, 4:] = False
    occupied.values[2, 2] = False  # a gap: the years beside it are two apart
    sample, year = np.nonzero(occupied.values)
    apart = np.abs(year[:, None] - year)
    matrix = np.where(sample[:, None] == sample, correlation**apart, 0.0)
    found = effective_number(xr.Variable((), correlation), occupied)
    assert float(found) == pytest.approx(len(year) ** 2 / matrix.sum())


def test_long_samples_come_to_the_usual_formula() -> None:
    found = effective_number(xr.Variable((), 0.5), everywhere(1, 600))
    assert float(found) == pytest.approx(600 * (1 - 0.5) / (1 + 0.5), rel=5e-3)


def test_the_effective_number_stays_between_two_and_the_number_of_units() -> None:
    r = xr.Variable("x", [-0.9, 0.0, np.nan, 5.0])
    np.testing.assert_allclose(effective_number(r, everywhere(1, 5)), [5, 5, 5, 2])
    assert effective_number(r, everywhere(1, 1)).isnull().all()
    np.testing.assert_allclose(effective_number(r, everywhere(4, 1)), 4)


@pytest.mark.parametrize("correlation", [0.0, 0.4])
@pytest.mark.parametrize(("num_samples", "num_years"), [(1, 40), (4, 10)])
def test_the_correlation_is_right_on_average(
    correlation: float, num_samples: int, num_years: int
) -> None:
    x = series(correlation, 20000, num_samples, num_years)
    pull = xr.Variable(("run", *UNITS), x - x.mean((1, 2), keepdims=True))
    found = year_correlation(pull, everywhere(num_samples, num_years))
    raw = (pull.values[..., 1:] * pull.values[..., :-1]).mean((1, 2)) / x.var((1, 2))
    assert abs(float(found.mean()) - correlation) < 0.01
    assert abs(raw.mean() - correlation) > 0.02  # without the correction it is not


def intervals_cover(x: np.ndarray) -> float:
    """Share of series [series, sample, year] of mean 0 whose 95 % interval holds it."""
    mean = xr.Variable("run", x.mean((1, 2)))
    occupied = everywhere(*x.shape[1:])
    pull = xr.Variable(("run", *UNITS), x - x.mean((1, 2), keepdims=True))
    known = effective(pull, occupied)
    stderr = covariance(pull, pull, occupied, known.number) ** 0.5
    return float((abs(mean) <= t_quantile(known.freedom) * stderr).mean())


@pytest.mark.parametrize(
    ("num_samples", "num_years", "correlation"),
    [(4, 1, 0.0), (1, 2, 0.0), (8, 5, 0.0), (1, 10, 0.0), (4, 10, 0.3), (4, 10, 0.6), (10, 2, 0.6)],
)
def test_intervals_cover_the_truth_nineteen_times_in_twenty(
    num_samples: int, num_years: int, correlation: float
) -> None:
    assert 0.93 < intervals_cover(series(correlation, 10000, num_samples, num_years)) < 0.97


def shared_series(shared: float, num_runs: int, num_samples: int, num_years: int) -> np.ndarray:
    """Series [run, sample, year] of which samples have this share of their variance in common."""
    rng = np.random.default_rng(5)
    common = rng.standard_normal((num_runs, 1, num_years))
    own = rng.standard_normal((num_runs, num_samples, num_years))
    return np.asarray(np.sqrt(shared) * common + np.sqrt(1.0 - shared) * own)


@pytest.mark.parametrize("shared", [0.0, 0.25, 0.5, 0.75, 0.9999, 1.0])
@pytest.mark.parametrize(
    ("num_samples", "num_years", "lowest"),
    [(4, 2, 0.865), (4, 3, 0.91), (4, 5, 0.93), (2, 10, 0.93)],
)
def test_intervals_cover_whatever_samples_have_in_common(
    shared: float, num_samples: int, num_years: int, lowest: float
) -> None:
    """From independent to collapsed. Both correlations widen an interval and never narrow it, so that
    independent samples of a few years are covered more often than is said; and two or three years tell
    little of what samples share, so that with a half of it they are covered less often."""
    x = shared_series(shared, 10000, num_samples, num_years)
    assert lowest < intervals_cover(x) < 0.983


def test_the_common_share_is_that_of_an_analysis_of_variance() -> None:
    x = shared_series(0.4, 6, 3, 7)
    found = together(
        xr.Variable(("run", *UNITS), x - x.mean((1, 2), keepdims=True)), everywhere(3, 7)
    )
    for run, one in enumerate(x):
        tested = stats.f_oneway(*one.T)
        between = 3 * one.mean(0).var(ddof=1)
        within = one.var(0, ddof=1).mean()
        expected = (between - within) / (between + 2 * within)
        np.testing.assert_allclose(found.correlation[run], expected, rtol=1e-9)
        np.testing.assert_allclose(found.p_value[run], tested.pvalue, rtol=1e-9)


def test_samples_that_share_all_count_as_one() -> None:
    """The standard error is that of the years' means, with as many degrees of freedom."""
    x = np.random.default_rng(6).standard_normal(9).repeat(4).reshape(9, 4).T[None]
    pull = xr.Variable(("run", *UNITS), x - x.mean())
    occupied = everywhere(4, 9)
    nothing = xr.Variable("run", [0.0])
    known = together(pull, occupied)
    number = effective_number(nothing, occupied, known.correlation)
    np.testing.assert_allclose(known.correlation, 1.0, rtol=1e-9)
    np.testing.assert_allclose(number, 9.0, rtol=1e-9)
    error = covariance(pull, pull, occupied, number) ** 0.5
    np.testing.assert_allclose(error, stats.sem(x[0, 0]), rtol=1e-9)


def test_fiellers_ends_are_the_roots_of_the_t_test() -> None:
    rng = np.random.default_rng(2)
    above = rng.normal(3.0, 1.0, 8)
    below = 0.5 * above + rng.normal(0.0, 0.4, 8)
    matrix = np.cov(above, below) / 8
    parts = tuple(xr.Variable((), value) for value in (matrix[0, 0], matrix[1, 1], matrix[0, 1]))
    quantile = xr.Variable((), stats.t.ppf(0.975, 7))
    means = (xr.Variable((), x.mean()) for x in (above, below))
    low, high = (float(end) for end in fieller(*means, parts, quantile))
    ratios = np.linspace(low - 1.0, high + 1.0, 4001)
    p = stats.ttest_1samp(above - ratios[:, None] * below, 0.0, axis=1).pvalue
    inside = ratios[p > 0.05]
    np.testing.assert_allclose(
        [inside.min(), inside.max()], [low, high], atol=ratios[1] - ratios[0]
    )


def test_false_discoveries_are_controlled_as_the_definition_says() -> None:
    rng = np.random.default_rng(3)
    p = np.where(rng.random((4, 5, 9)) < 0.3, rng.random((4, 5, 9)) ** 6, rng.random((4, 5, 9)))
    p[2, 1, 1] = np.nan
    p[3] = 0.5 + 0.5 * p[3]
    found = discoveries(xr.Variable(("perturbation", "lat", "lon"), p)).values
    for one, significant in zip(p, found, strict=True):
        known = one[np.isfinite(one)]
        limit = max((x for x in known if x <= 0.1 * (known <= x).sum() / known.size), default=-1.0)
        np.testing.assert_array_equal(significant, one <= limit)
        np.testing.assert_array_equal(
            significant[np.isfinite(one)], stats.false_discovery_control(known) <= 0.1
        )
    assert 0 < found[:3].sum() < found[:3].size
    assert not found[3].any()


def test_no_change_and_no_spread_is_not_significant() -> None:
    zero, one = xr.Variable("x", [0.0, 1.0, 1.0]), xr.Variable("x", [0.0, 0.0, np.nan])
    found = p_value(zero, one, xr.Variable("x", [5.0, 5.0, np.nan]))
    np.testing.assert_array_equal(found, [1.0, 0.0, np.nan])


@pytest.fixture(scope="module")
def no_response() -> xr.Dataset:
    """Response maps of forty outputs whose groups differ by the planet's weather alone."""
    import torch

    planet = Weather(GRID)
    draws = (20, 2, 1, 8)  # two outputs of each: group, sample, year
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(math.prod(draws), *planet.noise_shape, generator=generator)
    fields = planet.stationary(normal).numpy()[:, [0, 7]].reshape(*draws, 2, *GRID.shape)
    fields = np.moveaxis(fields, 4, 1).reshape(40, *draws[1:], *GRID.shape)
    members = {f"v{i}": field for i, field in enumerate(fields.repeat(12, axis=3))}
    return response_maps(saved_means(members)[0])


def test_p_values_are_uniform_where_nothing_responds(no_response: xr.Dataset) -> None:
    p = np.stack([no_response[f"v{i}_pvalue"].values[0] for i in range(40)])
    # Cells that are far apart, so that they are as good as independent.
    far = p[:, 2::4, ::8].ravel()
    assert stats.kstest(far, "uniform").pvalue > 0.01
    assert 0.035 < (p < 0.05).mean() < 0.055


def test_cells_where_nothing_varies_are_no_tests() -> None:
    """Prescribed SST that warms in a patch: over ocean there is nothing to test, and the land's cells
    are those that are found among the land's tests alone."""
    rng = np.random.default_rng(9)
    land, ocean = continents(GRID)
    rounding = rng.normal(0.0, 1e-5, (2, 1, 60, *GRID.shape))
    x = 288.0 + rounding + np.where(land, rng.normal(0.0, 1.0, (2, 1, 60, *GRID.shape)), 0.0)
    patch = ocean & (GRID.latitude[:, None] > 60)
    x[1] += np.where(patch, 4.0, np.where(land, rng.choice([0.0, 1.2], GRID.shape), 0.0))
    maps = response_maps(saved_means({"ts": x})[0])
    p_values, found = (maps[f"ts_{name}"].values[0] for name in ("pvalue", "significant"))
    expected = stats.false_discovery_control(p_values[land]) <= 0.1
    among_all = stats.false_discovery_control(p_values.ravel()).reshape(GRID.shape)[land] <= 0.1
    np.testing.assert_array_equal(found[land], expected)
    assert 10 < expected.sum() < land.sum()
    assert (among_all != expected).any()
    assert (found[patch] == 1).all()
    assert (found[ocean & ~patch] == 0).all()


def test_where_nothing_responds_next_to_nothing_is_significant(no_response: xr.Dataset) -> None:
    maps = [no_response[f"v{i}_significant"].values.any() for i in range(40)]
    assert sum(maps) <= 6  # 10 % of the maps, 4, would be expected if cells were independent


def test_the_noise_of_a_map_is_that_of_two_baselines(no_response: xr.Dataset) -> None:
    found = [no_response[f"v{i}_noise"].attrs["global_rms"] for i in range(40)]
    weights = GRID.area_weights()
    differences = [(no_response[f"v{i}"].values[0] ** 2 * weights).sum() ** 0.5 for i in range(40)]
    assert np.mean(found) == pytest.approx(np.mean(differences), rel=0.1)


ALLOWED_UNITS = ("K", "1", "%", "% K-1", "W m-2", "W m-2 K-1", "mm day-1", "the output's")


def test_every_diagnostic_says_what_it_is_and_where_it_is_from() -> None:
    entries = {entry.name: entry for entry in catalog()}
    assert set(known_diagnostics()) < set(entries)
    for name in known_diagnostics():
        assert entries[name].source, name
        assert entries[name].formula, name
        assert entries[name].units in ALLOWED_UNITS, name
    assert entries["land_ocean_warming_ratio"].dims == "perturbation, band"
    assert entries["column_warming"].dims == "perturbation, level"
