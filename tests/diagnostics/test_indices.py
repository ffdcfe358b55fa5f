"""Box means, Niño 3.4 and the tripole index against plain loops, and maps against lines fitted one by one."""

from __future__ import annotations

import math
from itertools import pairwise

import cftime
import numpy as np
import pytest
import xarray as xr

from respeval.diagnostics import (
    DiagnosticSettings,
    LeftOut,
    indices_of,
    regression_maps,
    why_no_regressions,
)
from respeval.diagnostics.indices import BUILT_IN_BOXES, months_of
from respeval.diagnostics.numbers import indices_summary
from respeval.diagnostics.statistics.lowpass import low_pass
from respeval.errors import InputError
from respeval.fields.grid import Grid
from tests.support import means as support

NORTH_FIRST = Grid(np.linspace(87.5, -87.5, 36), np.arange(0.0, 360.0, 5.0))
SOUTH_FIRST = Grid(np.linspace(-87.5, 87.5, 36), np.arange(-180.0, 180.0, 5.0))
FROM_GREENWICH = Grid(np.linspace(87.5, -87.5, 36), np.arange(2.5, 360.0, 5.0))

#: Niño 3.4's neighbour across the date line, and one across 0.
BOXES = {"nino4": (-5.0, 5.0, 160.0, -150.0), "guinea": (-10.0, 10.0, -15.0, 20.0)}
SETTINGS = DiagnosticSettings(surface_temperature="skin", sst_boxes=BOXES)


def masks(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Land and ocean, islands in every box; some cells are neither."""
    lon, lat = np.meshgrid(grid.longitude % 360.0, grid.latitude)
    land = ((lon > 20) & (lon < 130)) | ((lon - 200) ** 2 + lat**2 < 60) | ((lon - 5) ** 2 < 9)
    return land, ~land & (np.abs(lat) < 70)


def run_of(
    grid: Grid = NORTH_FIRST,
    num_months: int = 36,
    seed: int = 0,
    groups: tuple[str, ...] = ("baseline", "p4K"),
    first: tuple[int, int] = (2001, 1),
) -> xr.Dataset:
    """group_means.nc of one sample with an SST of noise and a season, warmer by 4 K in the second climate,
    which is drawn by the place on the globe, and so the same on every grid."""
    rng = np.random.default_rng(seed)
    drawn = rng.standard_normal((num_months, 9))
    lon, lat = np.radians(np.meshgrid(grid.longitude, grid.latitude))
    waves = np.stack(
        [np.cos(lat) ** (k % 3 + 1) * np.cos((k % 4) * lon + k) * np.cos(k * lat) for k in range(9)]
    )
    slow = np.einsum("tk,kij->tij", drawn, waves)
    season = 5.0 * np.cos(2.0 * np.pi * np.arange(num_months) / 12.0)[:, None, None] * np.sin(lat)
    skin = 290.0 + 10.0 * np.cos(lat) + season + slow
    members = {
        "skin": np.stack([skin + 4.0 * i for i in range(len(groups))])[:, None],
        "air": np.stack(
            [(0.5 + 0.1 * i) * skin + rng.standard_normal(skin.shape) for i in range(len(groups))]
        )[:, None],
    }
    found, _ = support.saved_means(
        members,
        grid=grid,
        masks=masks(grid),
        groups=groups,
        times=support.months(num_months, first),
    )
    return found


def box_mean_by_loops(means: xr.Dataset, box: tuple[float, ...], group: str, time: int) -> float:
    """Over ocean cells whose centres are in the box, every cell asked for itself."""
    south, north, west, east = box
    total = weight = 0.0
    field = means["skin"].sel(group=group).isel(time=time)
    for i, lat in enumerate(means["lat"].values):
        for j, lon in enumerate(means["lon"].values):
            east_of_west = math.fmod(lon - west + 720.0, 360.0)
            inside = south <= lat < north and east_of_west < math.fmod(east - west + 720.0, 360.0)
            if inside and means["ocean_mask"].values[i, j] == 1:
                area = float(means["area_weight"][i, j])
                total, weight = total + area * float(field[i, j]), weight + area
    return total / weight


@pytest.mark.parametrize("grid", [NORTH_FIRST, SOUTH_FIRST, FROM_GREENWICH])
def test_box_means_are_those_of_plain_loops(grid: Grid) -> None:
    means = run_of(grid, 24)
    found = indices_of(means, SETTINGS).series
    assert found is not None
    assert found["box"].values.tolist() == [*BUILT_IN_BOXES, *BOXES]
    for name, box in {**BUILT_IN_BOXES, **BOXES}.items():
        for group, time in (("baseline", 0), ("p4K", 13)):
            expected = box_mean_by_loops(means, box, group, time)
            got = found["sst"].sel(box=name, group=group).isel(time=time).item()
            assert got == pytest.approx(expected, rel=1e-13), (name, group)
    assert found["box_east"].sel(box="nino4").item() == -150.0


def test_some_times_at_once_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    means = run_of()
    whole = indices_of(means, SETTINGS).series
    monkeypatch.setattr("respeval.diagnostics.indices._BYTES_AT_ONCE", 8 * 2 * 36 * 72 * 5)
    xr.testing.assert_identical(indices_of(means, SETTINGS).series, whole)


def test_a_month_without_a_mean_is_told() -> None:
    means = run_of(num_months=24)
    means["skin"][1, 20] = np.nan
    found = indices_of(means, SETTINGS)
    assert found.series is None
    assert found.left_out["nino34"] == "skin is missing in some months of the means over samples"


def test_the_boxes_are_those_of_the_papers() -> None:
    """As they are written: 170° W to 120° W, 140° E to 145° W, 170° E to 90° W, 150° E to 160° W."""
    edges = [(-170, -120), (140, -145), (170, -90), (150, -160)]
    for (west, east), box in zip(edges, BUILT_IN_BOXES.values(), strict=True):
        assert box[2:] == (west % 360, east % 360)
    latitudes = [box[:2] for box in BUILT_IN_BOXES.values()]
    assert latitudes == [(-5, 5), (25, 45), (-10, 10), (-50, -15)]


def test_grids_that_are_turned_have_the_same_indices() -> None:
    """The same cells from south to north and from 180° W on."""
    means = run_of(NORTH_FIRST, 24)
    turned = means.isel(lat=slice(None, None, -1)).roll(lon=36, roll_coords=True)
    turned = turned.assign_coords(lon=(turned["lon"] + 180.0) % 360.0 - 180.0)
    one, other = (indices_of(each, SETTINGS).series for each in (means, turned))
    assert one is not None
    assert other is not None
    for name in ("sst", "nino34", "tpi"):
        np.testing.assert_allclose(one[name], other[name], rtol=0, atol=1e-11)


def test_the_indices_are_anomalies_of_each_group_alone() -> None:
    means = run_of()
    found = indices_of(means, SETTINGS)
    assert list(found.left_out) == ["tpi_filtered"]
    assert found.left_out["tpi_filtered"].startswith("the run has 3.0 years of whole months")
    series = found.series
    assert series is not None
    assert series["nino34"].dims == ("group", "time")
    month = np.arange(36) % 12
    boxes = {}
    for box in BUILT_IN_BOXES:
        sst = series["sst"].sel(box=box).values
        mean = np.stack([sst[:, month == m].mean(axis=1) for m in range(12)], axis=1)
        boxes[box] = sst - mean[:, month]
    assert series["nino34"].values == pytest.approx(boxes["nino34"], abs=1e-11)
    tripole = boxes["tpi_2"] - 0.5 * (boxes["tpi_1"] + boxes["tpi_3"])
    assert series["tpi"].values == pytest.approx(tripole, abs=1e-11)
    # The warming is not El Niño's.
    assert series["nino34"][1].values == pytest.approx(series["nino34"][0].values, abs=1e-11)
    std = np.sqrt((boxes["nino34"] ** 2).mean(axis=1))
    assert series["nino34_std"].values == pytest.approx(std, rel=1e-12)
    told = indices_summary(series)
    assert told["p4K/nino34_std"] == series["nino34_std"][1]
    assert set(told) == {
        f"{group}/{name}"
        for group in ("baseline", "p4K")
        for name in ("nino34_std", "nino34_period", "tpi_std")
    }


def test_a_long_run_has_the_filtered_index() -> None:
    found = indices_of(run_of(num_months=26 * 12), SETTINGS)
    assert found.left_out == {}
    assert found.series is not None
    filtered = found.series["tpi_filtered"]
    assert "order 5, ripple 0.1 dB" in filtered.attrs["comment"]
    for group in range(2):
        np.testing.assert_array_equal(filtered[group], low_pass(found.series["tpi"][group].values))
    assert "Not filtered" not in found.series["tpi"].attrs["comment"]


def cut(means: xr.Dataset, days: list[int]) -> xr.Dataset:
    """The same months with the first and the last cut short by so many days."""
    bounds = means["time_bnds"].values.copy()
    bounds[0, 0] += np.timedelta64(days[0], "D").astype(object)
    bounds[-1, 1] -= np.timedelta64(days[1], "D").astype(object)
    return means.assign(time_bnds=(("time", "bnds"), bounds))


def test_parts_of_months_do_not_count() -> None:
    means = run_of(num_months=26, first=(2001, 6))
    whole = indices_of(means, SETTINGS).series
    found = indices_of(cut(means, [3, 0]), SETTINGS).series
    assert whole is not None
    assert found is not None
    assert (whole.sizes["time"], found.sizes["time"]) == (26, 25)
    np.testing.assert_array_equal(found["sst"], whole["sst"][:, 1:])
    np.testing.assert_array_equal(found["time_bnds"], whole["time_bnds"][1:])
    months = months_of(cut(means, [3, 5]))
    assert months.number.tolist() == [7, 8, 9, 10, 11, 12, *range(1, 13), *range(1, 7)]
    assert months.parts[0] == slice(1, 2)


def test_a_month_in_two_parts_is_whole() -> None:
    """Ten days and the rest of a month, weighed by their steps."""
    means = run_of(num_months=24)
    whole = indices_of(means, SETTINGS).series
    bounds, at = means["time_bnds"].values, 5
    middle = bounds[at, 0] + np.timedelta64(10, "D").astype(object)
    edges = [bounds[0, 0], *(b for a, b in bounds[:at]), middle, *(b for a, b in bounds[at:])]
    split = means.isel(time=[*range(at + 1), *range(at, 24)])
    split = split.assign_coords(time=[a + (b - a) / 2 for a, b in pairwise(edges)])
    split["time_bnds"] = (("time", "bnds"), np.array(list(pairwise(edges))))
    count = np.full((2, 25), 30.0)
    count[:, at], count[:, at + 1] = 10.0, 20.0
    split["count"] = (("group", "time"), count)
    values = split["skin"].values
    values[:, at] += 2.0
    values[:, at + 1] -= 1.0  # the mean of the month is what it was
    found = indices_of(split, SETTINGS).series
    assert whole is not None
    assert found is not None
    np.testing.assert_allclose(found["sst"], whole["sst"], rtol=1e-14)
    np.testing.assert_array_equal(found["time_bnds"], whole["time_bnds"])
    one, other = (regression_maps(m, indices_of(m, SETTINGS)) for m in (means, split))
    np.testing.assert_allclose(one["air_pvalue"], other["air_pvalue"], rtol=1e-9)


def years(num_years: int) -> xr.Dataset:
    edges = [cftime.DatetimeNoLeap(2001 + k, 1, 1) for k in range(num_years + 1)]
    middle = [a + (b - a) / 2 for a, b in pairwise(edges)]
    bounds = np.array([edges[:-1], edges[1:]]).T
    return xr.Dataset({"time_bnds": (("time", "bnds"), bounds)}, coords={"time": middle})


def test_why_there_are_no_indices() -> None:
    means = run_of(num_months=24)

    def why(run: xr.Dataset, settings: DiagnosticSettings = SETTINGS) -> str:
        found = indices_of(run, settings)
        assert found.series is None
        assert set(found.left_out) == {"nino34", "tpi", "tpi_filtered", *settings.sst_boxes}
        [told] = set(found.left_out.values())
        assert why_no_regressions(found) == told
        with pytest.raises(LeftOut, match=r"^.+$"):
            regression_maps(run, found)
        return told

    assert "has 23 whole months" in why(means.isel(time=slice(0, 23)))
    yearly = means.isel(time=slice(0, 3)).drop_vars("time_bnds").assign_coords(years(3).coords)
    assert "don't lie within calendar months" in why(yearly.assign(years(3)))
    forced = DiagnosticSettings(surface_temperature="sst_of_forcing")
    assert "sst_of_forcing is only a forcing of the emulator" in why(means, forced)
    assert "none of the outputs is known" in why(means, DiagnosticSettings())
    named = means.copy()
    named["skin"].attrs = {**means["skin"].attrs, "standard_name": "surface_temperature"}
    assert indices_of(named, DiagnosticSettings()).series is not None


def test_boxes_without_ocean() -> None:
    means = run_of(num_months=24)
    inland = DiagnosticSettings(
        surface_temperature="skin", sst_boxes={"siberia": (50, 60, 80, 110)}
    )
    with pytest.raises(InputError, match=r"sst_boxes.siberia holds no ocean cell of the grid \(36"):
        indices_of(means, inland)
    lat, lon = means["lat"], means["lon"]
    dry = means["ocean_mask"].where(~((np.abs(lat) < 5) & (lon >= 190) & (lon < 240)), 0)
    found = indices_of(means.assign(ocean_mask=dry), SETTINGS)
    assert found.left_out["nino34"] == "its box has no ocean cell of the grid"
    assert found.series is not None
    assert "nino34" not in found.series
    assert "tpi" in found.series
    assert why_no_regressions(found) == "its box has no ocean cell of the grid"
    dry = means["ocean_mask"].where(lat < 20, 0)
    found = indices_of(means.assign(ocean_mask=dry), SETTINGS)
    assert set(found.left_out) == {"tpi", "tpi_filtered"}


def test_a_forcing_without_el_nino_has_no_maps() -> None:
    means = run_of(num_months=24)
    means["skin"][:] = means["skin"].isel(time=np.arange(24) % 12).values
    found = indices_of(means, SETTINGS)
    assert found.series is not None
    assert found.series["nino34"].values == pytest.approx(0.0, abs=1e-11)
    assert math.isnan(found.series["nino34_period"][0])
    assert "the forcing has no El Nino" in str(why_no_regressions(found))


def test_the_maps_are_lines_fitted_cell_by_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    means = run_of()
    indices = indices_of(means, SETTINGS)
    assert indices.series is not None
    found = regression_maps(means, indices)
    index, month = indices.series["nino34"].values, np.arange(36) % 12

    def anomalies(name: str, group: int, i: int, j: int) -> np.ndarray:
        own = means[name].values[group, :, i, j]
        return own - np.array([own[month == m].mean() for m in range(12)])[month]

    for i, j in ((0, 0), (17, 44), (30, 71)):
        fits = []
        for group in range(2):
            x = anomalies("air", group, i, j)
            slope = np.polyfit(index[group], x, 1)[0]
            assert found["air"].values[group, i, j] == pytest.approx(slope, rel=1e-9)
            fits.append(slope)
        change = found["air_change"].values[0, i, j]
        assert change == pytest.approx(fits[1] - fits[0], rel=1e-7)
        low, high = (found[f"air_change_{end}"].values[0, i, j] for end in ("low", "high"))
        assert low + high == pytest.approx(2.0 * change, rel=1e-9)
    assert found["air"].attrs["units"] == "1"
    assert found["air"].attrs["ancillary_variables"] == "air_stderr air_pvalue air_significant"
    # A warming that is the same every month changes no slope, and is no test.
    assert found["skin_change"].values == pytest.approx(0.0, abs=1e-11)
    assert found["skin_change_pvalue"].isnull().all()
    assert not found["skin_change_significant"].any()
    # Some latitudes at a time give the same.
    monkeypatch.setattr("respeval.diagnostics.teleconnections._BYTES_AT_ONCE", 8 * 36 * 2 * 72 * 5)
    parts = regression_maps(means, indices)
    xr.testing.assert_identical(parts, found)


def test_a_run_of_the_baseline_alone_has_its_slopes() -> None:
    means = run_of(groups=("baseline",))
    found = regression_maps(means, indices_of(means, SETTINGS))
    assert "perturbation" not in found.dims
    assert found["air"].dims == ("group", "lat", "lon")


def test_indices_that_differ_are_compared_as_independent() -> None:
    """Where the perturbed climate has another El Niño, its slope is its own."""
    means = run_of()
    other = run_of(seed=1)
    for name in ("skin", "air"):
        means[name][1] = other[name][1].values
    indices = indices_of(means, SETTINGS)
    assert indices.series is not None
    assert np.abs(np.diff(indices.series["nino34"], axis=0)).max() > 0.1
    found = regression_maps(means, indices)
    slopes, errors = found["air"].values, found["air_stderr"].values
    assert found["air_change"].values[0] == pytest.approx(slopes[1] - slopes[0], abs=1e-12)
    reach = 0.5 * (found["air_change_high"] - found["air_change_low"]).values[0]
    t = reach / np.hypot(*errors)
    assert ((t > 1.96) & (t < 2.4)).all()


def test_an_output_that_does_not_vary_is_no_test() -> None:
    means = run_of()
    still = means["air"].copy()
    still[:, :, :10] = 273.15
    means = means.assign(air=still)
    found = regression_maps(means, indices_of(means, SETTINGS))
    assert found["air_pvalue"][:, :10].isnull().all()
    assert not found["air_significant"][:, :10].any()
    assert found["air_pvalue"][:, 10:].notnull().all()
    assert found["air"].values[:, :10] == pytest.approx(0.0, abs=1e-12)
