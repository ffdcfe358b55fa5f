"""Differences between runs against closed forms, against known truths, and against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from respeval.diagnostics import (
    DiagnosticSettings,
    Replicated,
    diagnose_reference,
    differences,
    replicate,
)
from respeval.fields.grid import Grid
from respeval.fields.variables import Roles
from respeval.planet.climate import ROLES as PLANET_ROLES
from respeval.planet.replicas import Replicas, YearlyWeather
from tests.support.means import GRID, ROLES, SETTINGS, saved_means, two_levels

BAND = DiagnosticSettings(PLANET_ROLES, {"low": (0.0, 40.0)})
PAIRED, INDEPENDENT = {"p4K": True}, {"p4K": False}


def run_of(
    warming: np.ndarray, settings: DiagnosticSettings = SETTINGS, **more: object
) -> Replicated:
    """A run whose response is the same in every cell: K, [sample, year]."""
    months = np.repeat(warming, 12, axis=1)
    members = 288.0 + np.stack([0.0 * months, months])[..., None, None] * np.ones(GRID.shape)
    _, zonal = saved_means(two_levels(members), **more)  # type: ignore[arg-type]
    return replicate(zonal, settings)


def test_paired_it_is_the_textbooks_t_interval_of_the_units_differences() -> None:
    rng = np.random.default_rng(1)
    shared = 4.0 + rng.standard_normal((30, 1))  # one year each, so that none follow each other
    own = 0.5 + 0.1 * rng.standard_normal((30, 1))
    found = differences(run_of(shared), run_of(shared + own), PAIRED).isel(perturbation=0)
    assert bool(found["paired"])
    tested = stats.ttest_rel(shared + own, shared, axis=0)
    low, high = tested.confidence_interval()
    for name in ("land_warming", "column_warming", "t_low_mean"):
        np.testing.assert_allclose(found[f"{name}_difference"], own.mean(), rtol=1e-9)
        np.testing.assert_allclose(found[f"{name}_difference_low"], low[0], rtol=1e-9)
        np.testing.assert_allclose(found[f"{name}_difference_high"], high[0], rtol=1e-9)
        np.testing.assert_allclose(found[f"{name}_difference_pvalue"], tested.pvalue[0], rtol=1e-6)


def test_independent_it_is_welchs_whatever_the_numbers_of_samples() -> None:
    rng = np.random.default_rng(2)
    first, other = 4.0 + rng.standard_normal((9, 1)), 5.0 + 3.0 * rng.standard_normal((14, 1))
    for pairs in (INDEPENDENT, PAIRED):  # which units of another number can't be
        found = differences(run_of(first), run_of(other), pairs).isel(perturbation=0)
        assert not bool(found["paired"])
        tested = stats.ttest_ind(other, first, axis=0, equal_var=False)
        low, high = tested.confidence_interval()
        np.testing.assert_allclose(found["land_warming_difference_low"], low[0], rtol=1e-9)
        np.testing.assert_allclose(found["land_warming_difference_high"], high[0], rtol=1e-9)
        np.testing.assert_allclose(
            found["land_warming_difference_pvalue"], tested.pvalue[0], rtol=1e-6
        )


def test_shared_weather_leaves_a_paired_interval_far_narrower() -> None:
    rng = np.random.default_rng(3)
    shared = 4.0 + rng.standard_normal((4, 6))
    runs = run_of(shared), run_of(shared + 0.2 + 0.01 * rng.standard_normal((4, 6)))
    paired, independent = (differences(*runs, pairs) for pairs in (PAIRED, INDEPENDENT))
    for name in ("land_warming_difference", "t_top_mean_difference"):
        assert (paired[f"{name}_stderr"] < 0.05 * independent[f"{name}_stderr"]).all()
        assert (paired[f"{name}_pvalue"] < 1e-6).all()
        assert (independent[f"{name}_pvalue"] > 0.3).all()


def test_identical_runs_do_not_differ() -> None:
    run = run_of(4.0 + np.random.default_rng(4).standard_normal((2, 5)))
    for pairs in (PAIRED, INDEPENDENT):
        found = differences(run, run, pairs)
        names = [name.removesuffix("_pvalue") for name in map(str, found) if "_pvalue" in name]
        assert len(names) >= 9
        for name in names:
            np.testing.assert_array_equal(found[name], 0.0)
            np.testing.assert_array_equal(found[f"{name}_pvalue"], 1.0)
            if pairs == PAIRED:
                np.testing.assert_array_equal(found[f"{name}_stderr"], 0.0)


def test_a_sample_that_left_one_run_ends_the_pairing() -> None:
    warming = 4.0 + np.random.default_rng(5).standard_normal((3, 4))
    count = np.full((2, 3, 48), 120.0)
    count[:, 2, 24:] = 0.0
    found = differences(run_of(warming), run_of(warming, count=count), PAIRED)
    assert not found["paired"].any()
    assert (found["land_warming_difference_stderr"] > 0).all()


def test_a_ratio_without_bounds_has_a_difference_without_bounds() -> None:
    rng = np.random.default_rng(6)
    sure, unsure = 4.0 + 0.1 * rng.standard_normal((2, 5)), rng.standard_normal((2, 5))
    for first, other in ((sure, unsure), (unsure, sure)):
        found = differences(run_of(first), run_of(other), PAIRED)
        name = "land_ocean_warming_ratio_difference"
        assert np.isneginf(found[f"{name}_low"]).all()
        assert np.isposinf(found[f"{name}_high"]).all()
        assert found[f"{name}_pvalue"].isnull().all()
        assert np.isfinite(found["land_warming_difference_low"]).all()


def test_levels_and_outputs_that_one_run_lacks_are_missing() -> None:
    warming = 4.0 + np.random.default_rng(7).standard_normal((2, 3))
    lower = DiagnosticSettings(Roles("t_low", ("t_low",), "t_low"), levels_hPa=(980.0,))
    first, other = run_of(warming), run_of(warming + 1.0, lower)
    column = differences(first, other, PAIRED)["column_warming_difference"]
    assert column["level"].values.tolist() == list(ROLES.column_temperature)
    np.testing.assert_allclose(column.sel(level="t_low"), 1.0)
    assert column.sel(level="t_top").isnull().all()
    assert "vertical_warming_ratio_tropical_ocean_difference" not in differences(
        first, other, PAIRED
    )


@pytest.fixture(scope="module")
def weather() -> YearlyWeather:
    return YearlyWeather.on(Grid.legendre_gauss(4, 8))


@pytest.mark.parametrize("share", [0.8, 0.0])
@pytest.mark.parametrize(("num_samples", "num_years"), [(8, 1), (3, 5)])
def test_the_interval_covers_the_true_difference(
    weather: YearlyWeather, num_samples: int, num_years: int, share: float
) -> None:
    """Of runs of the planet and of one that warms by 0.5 K more, with this share of its weather.

    With years that follow each other the intervals are a little too wide, each run's own among
    them, because a correlation of years or of samples counts only where it widens them.
    """
    rng, num_runs, more_K = np.random.default_rng(8), 1000, 0.5
    replicas = Replicas(weather, num_years)
    first, own = (replicas.draw(rng, num_runs, num_samples) for _ in range(2))
    warmer = xr.DataArray([0.0, more_K], dims="group")
    other = own.copy()
    for name in PLANET_ROLES.column_temperature:
        mixed = share * first[name] + (1.0 - share) * own[name] + warmer
        other[name] = mixed.transpose(*own[name].dims)
    runs = (replicate(zonal, BAND, zonal_means=False) for zonal in (first, other))
    found = differences(*runs, {"change": share > 0}).isel(perturbation=0)
    assert bool(found["paired"]) == (share > 0)
    truth = diagnose_reference(replicas.truth, BAND).isel(perturbation=0)
    land, ocean = (float(truth[f"{name}_warming"].isel(band=0)) for name in ("land", "ocean"))
    expected = {
        "land_warming": more_K,
        "ocean_warming": more_K,
        "land_ocean_warming_ratio": (land + more_K) / (ocean + more_K) - land / ocean,
    }
    lowest, highest = (0.93, 0.97) if num_years == 1 else (0.94, 0.992)
    for name, difference in expected.items():
        low, high = (found[f"{name}_difference_{end}"] for end in ("low", "high"))
        inside = float(((low <= difference) & (difference <= high)).mean())
        assert lowest < inside < highest, (name, inside)
