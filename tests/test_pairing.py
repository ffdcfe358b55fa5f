"""The benchmark of an answer's cost: what it cuts from runs, and where two runs by hand would end."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from benchmarks.pairing import (
    NAME,
    by_hand,
    by_year,
    correlation_of_the_pair,
    split,
    spread_of_a_year,
    stops,
    stops_by_hand,
    strangers,
    tropical_means,
)
from respeval.diagnostics import main_diagnostics
from tests.support.means import GRID as MEANS_GRID
from tests.support.means import SETTINGS, continents, saved_means, two_levels, weather

LAND, OCEAN = 6.0, 4.0


def yearly(spread_K: float, num_runs: int, num_samples: int, num_years: int) -> xr.DataArray:
    """Yearly means of two climates without anything in common, as `tropical_means` gives them."""
    noise = spread_K * weather((num_runs, 2, num_samples, num_years, 2))
    noise[:, 1] += [LAND, OCEAN]
    dims = ("run", "group", "sample", "year", "surface")
    return xr.DataArray(noise, {"surface": ["land", "ocean"]}, dims)


def zonal_of(num_samples: int, num_years: int) -> xr.Dataset:
    """zonal.nc of a response over land of 6 K and over ocean of 4 K in noise of each circle's own."""
    shape = (2, num_samples, 12 * num_years)
    change = np.where(continents(MEANS_GRID)[0], LAND, OCEAN) * np.array([0.0, 1.0]).reshape(
        2, 1, 1, 1, 1
    )
    low = 288.0 + change + weather((*shape, *MEANS_GRID.shape))
    steps = np.tile(60.0 + np.arange(12) % 7, num_years)
    return saved_means(two_levels(low), np.broadcast_to(steps, shape))[1]


def test_an_interval_by_hand_is_the_root_of_its_definition() -> None:
    means = yearly(0.5, num_runs=4, num_samples=2, num_years=3)
    ratio, width = by_hand(means)
    for run in range(4):
        units = means.values[run].reshape(2, 6, 2)
        land, ocean = units[1].mean(axis=0) - units[0].mean(axis=0)
        (of_land, common), (_, of_ocean) = sum(np.cov(units[i].T) / 6 for i in range(2))
        t2 = stats.t.ppf(0.975, 10) ** 2
        ends = np.roots(
            [ocean**2 - t2 * of_ocean, -2 * (land * ocean - t2 * common), land**2 - t2 * of_land]
        )
        assert ratio.values[run] == pytest.approx(land / ocean)
        assert width.values[run] == pytest.approx(np.ptp(ends) / 2 / (land / ocean))


def test_the_interval_by_hand_holds_the_truth_as_often_as_it_says() -> None:
    ratio, width = by_hand(yearly(1.0, num_runs=4000, num_samples=1, num_years=6))
    # It is lopsided by less than the tolerance where the ocean's warming is well known.
    covered = abs(ratio - LAND / OCEAN) <= width * abs(ratio)
    assert float(covered.mean()) == pytest.approx(0.95, abs=0.015)


def test_two_runs_by_hand_end_in_the_first_year_that_will_do() -> None:
    means = yearly(0.3, num_runs=30, num_samples=1, num_years=12)
    found = stops_by_hand(means, 0.1)
    for run in range(30):
        widths = [
            float(by_hand(means.isel(run=[run], year=slice(0, year)))[1][0])
            for year in range(2, 13)
        ]
        first = next(year for year, width in zip(range(2, 13), widths, strict=True) if width <= 0.1)
        assert found.units[run] == first
        part = means.isel(run=run, year=slice(0, first)).mean(("sample", "year")).values
        land, ocean = part[1] - part[0]
        assert found.ratio[run] == pytest.approx(land / ocean)
    assert len(set(found.units)) > 2


def test_where_no_year_will_do_the_spread_tells_how_many_would() -> None:
    means = yearly(1.0, num_runs=200, num_samples=2, num_years=10)
    found = stops_by_hand(means, 0.01)
    assert np.isnan(found.ratio).all()
    # To first order: 1.96 sqrt(2 (1 + 1.5**2)) / 4 / sqrt(n) is 1 % of 1.5.
    expected = (1.96 * np.sqrt(2 * (1 + 1.5**2)) / 4 / 0.015) ** 2
    assert np.median(found.units) == pytest.approx(expected, rel=0.05)


def test_runs_cut_from_one_have_the_numbers_of_their_own() -> None:
    zonal = zonal_of(num_samples=4, num_years=3)
    for num_samples in (1, 2):
        found = by_year(split(zonal, num_samples), SETTINGS)
        for run, first in enumerate(range(0, 4, num_samples)):
            own = zonal.isel(sample=slice(first, first + num_samples), time=slice(0, 24))
            expected = main_diagnostics(own, SETTINGS, [NAME]).isel(perturbation=0, band=0)
            for name in (NAME, f"{NAME}_low", f"{NAME}_high"):
                assert float(found[name].isel(run=run, year=1)) == float(expected[name]), name


def test_strangers_are_the_neighbours() -> None:
    zonal = zonal_of(num_samples=3, num_years=1)
    unlike = strangers(zonal)
    for name in ("t_low", "t_top"):
        values, before = unlike[name].values, zonal[name].values
        np.testing.assert_array_equal(values[0], before[0])
        np.testing.assert_array_equal(values[1], before[1][[2, 0, 1]])
    xr.testing.assert_equal(unlike["count"], zonal["count"])


def test_means_by_year_make_the_ratio_that_respeval_gives() -> None:
    zonal = zonal_of(num_samples=2, num_years=2)
    means = tropical_means(zonal, SETTINGS).mean(("sample", "year"))
    land, ocean = (means.isel(group=1) - means.isel(group=0)).values
    found = main_diagnostics(zonal, SETTINGS, [NAME]).isel(perturbation=0, band=0)
    assert land / ocean == pytest.approx(float(found[NAME]), rel=1e-12)


def test_paired_runs_end_in_the_first_year_that_will_do_or_as_estimated() -> None:
    found = by_year(split(zonal_of(num_samples=8, num_years=4), 2), SETTINGS)
    reach = (found[f"{NAME}_high"] - found[f"{NAME}_low"]) / 2 / abs(found[NAME])
    fraction = float(reach.isel(year=2).median())
    ended = stops(found, 2, fraction)
    for run, widths in enumerate(reach.transpose("run", "year").values):
        within = np.flatnonzero(widths <= fraction)
        if len(within):
            assert ended.units[run] == 2 * (within[0] + 1)
            assert ended.ratio[run] == float(found[NAME].isel(run=run, year=within[0]))
        else:
            assert ended.units[run] > 8
            assert np.isnan(ended.ratio[run])
    assert np.isnan(stops(found, 2, 1e-4).ratio).all()


def test_what_pairs_share_is_seen_in_spread_and_correlation() -> None:
    own = yearly(0.2, num_runs=1, num_samples=400, num_years=5).isel(run=0)
    shared = own.copy(data=own.values[:1] + np.array([[0.0, 0.0], [LAND, OCEAN]])[:, None, None])
    assert float(abs(correlation_of_the_pair(own)).max()) < 0.2
    np.testing.assert_allclose(correlation_of_the_pair(shared), 1.0)
    # (land - 1.5 ocean) / 4 of differences of two, relative to 1.5.
    expected = 0.2 * np.sqrt(2 * (1 + 1.5**2)) / 4 / 1.5
    assert spread_of_a_year(own) == pytest.approx(expected, rel=0.05)
    assert spread_of_a_year(shared) == pytest.approx(0.0, abs=1e-12)
