"""Standard errors against closed forms, and the years that they are built on."""

from __future__ import annotations

from itertools import pairwise

import cftime
import numpy as np
import pytest
import xarray as xr
from test_diagnostics import GRID, ROLES, SETTINGS, continents, months, saved_means, two_levels

from respeval.diagnostics import DiagnosticSettings, diagnose, response_maps
from respeval.diagnostics.jackknife import leave_one_out, occupied_units, standard_error
from respeval.diagnostics.totals import response_of_totals, year_blocks


def uniform(values: np.ndarray) -> np.ndarray:
    """[…] to [group…, lat, lon], the same in every cell."""
    return 288.0 + values[..., None, None] * np.ones(GRID.shape)


def test_the_error_of_a_mean_is_s_over_root_n() -> None:
    rng = np.random.default_rng(0)
    shared = 5.0 * rng.standard_normal((1, 3, 48))  # cancels in every pair
    own = rng.standard_normal((1, 3, 48))
    group_means, zonal = saved_means(
        two_levels(uniform(np.concatenate([shared, shared + 4.0 + own])))
    )
    by_unit = own[0].reshape(3, 4, 12).mean(-1).ravel()
    expected = by_unit.std(ddof=1) / np.sqrt(12)
    result = diagnose(zonal, SETTINGS)
    for name in ("land_warming", "ocean_warming", "column_warming", "t_low_mean"):
        np.testing.assert_allclose(result[f"{name}_stderr"], expected, rtol=1e-9)
    by_year = own[0].mean(0).reshape(4, 12).mean(-1)
    np.testing.assert_allclose(
        response_maps(group_means)["t_low_stderr"], by_year.std(ddof=1) / 2, rtol=1e-9
    )


def test_the_error_of_a_ratio_is_the_jackknife_written_out() -> None:
    rng = np.random.default_rng(1)
    land, _ = continents(GRID)
    change = np.where(land, 1.5, 1.0) * rng.normal(4.0, 1.0, (2, 24, 1, 1))
    change = change + np.where(land, rng.normal(0.0, 1.0, (2, 24, 1, 1)), 0.0)
    x = 288.0 + np.stack([0.0 * change, change])
    count = rng.integers(1, 9, (2, 2, 24)).astype(float)
    _, zonal = saved_means(two_levels(x), count)
    means = change[..., land].mean(-1), change[..., ~land].mean(-1)
    replicates = []
    for sample in range(2):
        for year in range(2):
            keep = count[1].copy()
            keep[sample, 12 * year : 12 * year + 12] = 0.0
            replicates.append((keep * means[0]).sum() / (keep * means[1]).sum())
    expected = np.sqrt(3.0 * np.var(replicates))
    settings = DiagnosticSettings(ROLES, {"all": (0.0, 70.0)})  # land is alike in all of it
    result = diagnose(zonal, settings)["land_ocean_warming_ratio_stderr"]
    np.testing.assert_allclose(result, expected, rtol=1e-9)


def test_the_error_is_as_large_as_the_spread_of_repeated_runs() -> None:
    own = np.random.default_rng(2).standard_normal((3000, 5, 2))  # [run, sample, year]
    count = xr.DataArray(np.full((2, 5, 2), 7.0), dims=("group", "sample", "year"))
    count = count.assign_coords(group=["baseline", "p4K"])
    x = xr.DataArray(np.stack([0 * own, own]), dims=("group", "run", "sample", "year"))
    replicates = response_of_totals(leave_one_out(xr.Dataset({"t": x * count, "count": count})))
    claimed = standard_error(replicates, occupied_units(count))["t"]
    assert float((claimed**2).mean()) == pytest.approx(own.mean((1, 2)).var(), rel=0.1)
    assert float((claimed**2).mean()) == pytest.approx(0.1, rel=0.1)


def test_fewer_than_two_units_have_no_error() -> None:
    own = np.random.default_rng(3).standard_normal((2, 1, 12))
    group_means, zonal = saved_means(two_levels(uniform(own)))
    result = diagnose(zonal, SETTINGS)
    assert result["land_warming"].notnull().all()
    for name in result.data_vars:
        if str(name).endswith("_stderr"):
            assert result[name].isnull().all(), name
    assert response_maps(group_means)["t_low_stderr"].isnull().all()


def test_a_unit_without_steps_is_no_unit() -> None:
    own = np.random.default_rng(4).standard_normal((2, 3, 24))
    count = np.full((2, 3, 24), 10.0)
    count[:, 2, 12:] = 0.0
    _, zonal = saved_means(two_levels(uniform(own)), count)
    difference = (own[1] - own[0]).reshape(3, 2, 12).mean(-1).ravel()[:5]
    result = diagnose(zonal, SETTINGS)
    np.testing.assert_allclose(
        result["ocean_warming_stderr"], difference.std(ddof=1) / np.sqrt(5), rtol=1e-9
    )


def test_one_perturbation_may_have_fewer_units_than_another() -> None:
    own = np.random.default_rng(5).standard_normal((3, 1, 36))
    count = np.full((3, 1, 36), 10.0)
    count[2, 0, 12:] = 0.0
    _, zonal = saved_means(two_levels(uniform(own)), count, groups=("baseline", "a", "b"))
    result = diagnose(zonal, SETTINGS)["ocean_warming_stderr"]
    assert result.sel(perturbation="b").isnull().all()  # without its one year it has no mean
    difference = (own[1, 0] - own[0, 0]).reshape(3, 12).mean(-1)
    np.testing.assert_allclose(
        result.sel(perturbation="a"), difference.std(ddof=1) / np.sqrt(3), rtol=1e-9
    )


def test_a_year_begins_where_the_run_begins() -> None:
    assert year_blocks(months(24, (2001, 7))) == [slice(0, 12), slice(12, 24)]
    assert year_blocks(months(25)) == [slice(0, 12), slice(12, 24), slice(24, 25)]
    assert year_blocks(months(1)) == [slice(0, 1)]


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
