"""Warming by season and month against the same diagnostics of a run that has nothing but that month."""

from __future__ import annotations

import dataclasses
import datetime
import re

import cftime
import numpy as np
import pytest
import xarray as xr

from respeval.diagnostics import STATISTICS, catalog, diagnose, seasons_left_out, summary
from respeval.diagnostics.seasons import months_of_samples
from respeval.fields.variables import Roles
from tests.support.means import GRID, SETTINGS, continents, saved_means, two_levels

ONE_BAND = dataclasses.replace(SETTINGS, bands={"all": (0.0, 50.0)})
MONTH = np.arange(36) % 12 + 1


@pytest.fixture(scope="module")
def zonal() -> xr.Dataset:
    """Three years, three samples: warming by month's number over ocean, more over land."""
    rng = np.random.default_rng(0)
    land, _ = continents(GRID)
    change = MONTH[:, None, None] * np.where(land, 1.5, 1.0) + rng.standard_normal((3, 36, 1, 1))
    own = rng.standard_normal((3, 36, 1, 1))
    count = rng.integers(1, 5, (2, 3, 36)).astype(float)
    return saved_means(two_levels(288.0 + np.stack([own + 0 * change, own + change])), count)[1]


@pytest.fixture(scope="module")
def found(zonal: xr.Dataset) -> xr.Dataset:
    return diagnose(zonal, ONE_BAND)


@pytest.mark.parametrize(
    ("name", "month"), [("land_warming", 3), ("land_ocean_warming_ratio", 5), ("ocean_warming", 12)]
)
def test_a_month_is_what_a_run_of_that_month_alone_gives(
    zonal: xr.Dataset, found: xr.Dataset, name: str, month: int
) -> None:
    alone = diagnose(zonal.isel(time=np.flatnonzero(month == MONTH)), ONE_BAND)
    for suffix in ("", *(f"_{statistic}" for statistic in STATISTICS)):
        got = found[f"{name}_by_month{suffix}"].sel(month=month)
        np.testing.assert_allclose(got, alone[f"{name}{suffix}"], rtol=1e-9, atol=1e-12)
        assert np.isfinite(got).all(), suffix


def test_a_season_weighs_every_step_alike(zonal: xr.Dataset, found: xr.Dataset) -> None:
    for season, months in {"DJF": (12, 1, 2), "JJA": (6, 7, 8)}.items():
        at = np.flatnonzero(np.isin(MONTH, months))
        alone = zonal.isel(time=at)
        circles = alone["t_low"].sel(surface="ocean")
        weight = alone["area"].sel(surface="ocean").where(abs(alone["lat"]) < 50, 0.0)
        by_time = (circles * weight).where(weight > 0, 0.0).sum("lat") / weight.sum()
        means = (by_time * alone["count"]).sum(("sample", "time"))
        means = means / alone["count"].sum(("sample", "time"))
        expected = means.sel(group="p4K") - means.sel(group="baseline")
        got = found["ocean_warming_by_season"].sel(season=season, band="all")
        np.testing.assert_allclose(got, expected, rtol=1e-9)
    assert found["season"].values.tolist() == ["DJF", "MAM", "JJA", "SON"]
    assert found["ocean_warming_by_season"].dims == ("perturbation", "season", "band")
    assert "by season" in found["ocean_warming_by_season_low"].attrs["long_name"]


def test_the_seasons_are_in_the_summary_and_the_months_are_not(found: xr.Dataset) -> None:
    flat = summary(found)
    expected = found["land_warming_by_season"].sel(season="SON", band="all").item()
    assert flat["p4K/land_warming_by_season/SON/all"] == expected
    assert not any("by_month" in key for key in flat)


def test_a_month_that_the_run_has_not_is_nan(zonal: xr.Dataset) -> None:
    result = diagnose(zonal.isel(time=slice(0, 4)), ONE_BAND)
    months = result["land_warming_by_month"].squeeze()
    assert months.notnull().values.tolist() == [True] * 4 + [False] * 8
    assert result["land_warming_by_season"].sel(season="SON").isnull().all()
    assert result["land_warming_by_season_stderr"].sel(season="DJF").notnull().all()


def test_samples_that_start_on_different_dates_have_seasons_of_their_own(
    zonal: xr.Dataset, found: xr.Dataset
) -> None:
    """The same years, of which the second sample begins in April and the third in October: what is a
    month's mean stays that month's, as if all began in January."""
    starts = ["2001-01-01 00:00:00", "2001-04-01 00:00:00", "2000-10-01 00:00:00"]
    moved = zonal.copy(deep=True)
    for sample, months in ((1, 3), (2, -3)):
        for name in ("t_low", "t_top", "count"):
            own = np.roll(zonal[name].values[:, sample], -months, axis=1)
            moved[name].values[:, sample] = own
    dates = ("sample", starts, {"long_name": "date of the initial condition"})
    result = diagnose(moved.assign(start_date=dates), ONE_BAND)
    for name in ("land_warming", "ocean_warming", "land_ocean_warming_ratio"):
        for dim in ("season", "month"):
            got, expected = (run[f"{name}_by_{dim}"] for run in (result, found))
            np.testing.assert_allclose(got, expected, rtol=1e-9)
    wrong = diagnose(moved, ONE_BAND)["land_warming_by_season"]
    assert abs(wrong - found["land_warming_by_season"]).max() > 0.5


@pytest.mark.parametrize("decoded", ["cftime", "numpy"])
def test_a_segment_belongs_to_the_month_of_its_own_middle(decoded: str) -> None:
    days = [(2001, 1, 1), (2001, 2, 1), (2001, 3, 1), (2001, 4, 1)]
    if decoded == "cftime":
        edges = np.array([cftime.DatetimeNoLeap(*day) for day in days])
    else:
        edges = np.array([np.datetime64(datetime.date(*day), "ns") for day in days])
    middle = edges[:-1] + (edges[1:] - edges[:-1]) / 2
    bounds = ("time", "bnds"), np.stack([edges[:-1], edges[1:]], axis=1)
    times = xr.Dataset({"time_bnds": bounds}, {"time": middle, "sample": [0, 1, 2]})
    assert months_of_samples(times).values.tolist() == [[1, 2, 3]] * 3
    starts = ["2001-01-01 00:00:00", "2001-01-10 00:00:00", "2000-12-10 06:00:00"]
    own = months_of_samples(times.assign(start_date=("sample", starts)))
    assert own.values.tolist() == [[1, 2, 3], [1, 2, 3], [12, 1, 2]]


def test_segments_that_cross_a_month_have_no_seasons(zonal: xr.Dataset) -> None:
    moved = zonal.copy()
    moved["time_bnds"] = moved["time_bnds"] + np.timedelta64(1, "D").astype(object)
    assert "land_warming_by_season" not in diagnose(moved, ONE_BAND)
    reasons = seasons_left_out(moved, ONE_BAND)
    assert "don't lie within calendar months" in reasons["land_warming_by_month"]
    assert seasons_left_out(zonal, ONE_BAND) == {}
    nameless = dataclasses.replace(ONE_BAND, roles=Roles(), levels_hPa=())
    assert (
        "no near-surface temperature" in seasons_left_out(zonal, nameless)["land_warming_by_season"]
    )
    assert not [name for name in diagnose(zonal, nameless) if re.search("by_(season|month)", name)]


def test_the_section_is_every_levels_circle_means(found: xr.Dataset) -> None:
    section = found["zonal_mean_warming"]
    assert section.dims == ("perturbation", "level", "lat")
    assert section["pressure"].values.tolist() == [200.0, 980.0]
    for level, name in enumerate(("t_top", "t_low")):
        for suffix in ("", "_stderr", "_high", "_noise"):
            circles = found[f"{name}_zonal_mean{suffix}"].sel(surface="all")
            got = found[f"zonal_mean_warming{suffix}"].isel(level=level)
            np.testing.assert_allclose(got, circles, rtol=1e-9)


def test_the_catalog_tells_of_them() -> None:
    entries = {entry.name: entry for entry in catalog()}
    assert entries["land_ocean_warming_ratio_by_season"].dims == "perturbation, season, band"
    assert entries["land_warming_by_month"].units == "K"
