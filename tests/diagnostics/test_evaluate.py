"""The diagnostics against analytic truths; `saved_means` builds the files of a run that never was."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import xarray as xr

from respeval.diagnostics import (
    DiagnosticSettings,
    catalog,
    diagnose,
    diagnose_reference,
    global_mean_series,
    known_diagnostics,
    known_trends,
    left_out,
    ratio,
    response_maps,
    summary,
    zonal_response,
    zonal_response_of_maps,
)
from respeval.diagnostics.statistics.totals import statistics_named_in
from respeval.fields.grid import Grid
from respeval.fields.variables import Roles
from tests.support.means import GRID, ROLES, SETTINGS, continents, saved_means, two_levels, weather

#: Those that a run has without being asked; land boxes are asked for.
EVERY = {name for name in (*known_diagnostics(), *known_trends()) if not name.startswith("box_")}
SCALARS = (
    "tropical_ocean_surface_warming",
    "tropical_ocean_upper_warming",
    "vertical_warming_ratio_tropical_ocean",
)


def warmed(warming: np.ndarray | float, num_samples: int = 1, num_times: int = 24) -> np.ndarray:
    """[2, sample, time, lat, lon]: 288 K with weather that both groups share, and a warming."""
    shared = 288.0 + weather((1, num_samples, num_times, *GRID.shape))
    return np.concatenate([shared, shared + warming])


def numbers(dataset: xr.Dataset) -> dict[str, np.ndarray]:
    return {str(name): value.values for name, value in dataset.data_vars.items()}


def test_a_uniform_warming_is_that_warming_everywhere() -> None:
    group_means, zonal = saved_means(two_levels(warmed(4.0)))
    result = diagnose(zonal, SETTINGS)
    for name in ("land_warming", "ocean_warming", "column_warming", *SCALARS[:2]):
        np.testing.assert_allclose(result[name], 4.0, rtol=1e-12)
    for name in ("land_ocean_warming_ratio", SCALARS[2]):
        np.testing.assert_allclose(result[name], 1.0, rtol=1e-12)
    for name in ("t_low_mean", "t_top_mean"):
        np.testing.assert_allclose(result[name], 4.0, rtol=1e-12)
    np.testing.assert_allclose(response_maps(group_means)["t_low"], 4.0, rtol=1e-12)


def test_land_that_warms_more_gives_the_ratio() -> None:
    land, _ = continents(GRID)
    _, zonal = saved_means(two_levels(warmed(np.where(land, 1.5, 1.0) * 3.0)))
    result = diagnose(zonal, SETTINGS)
    np.testing.assert_allclose(result["land_warming"], 4.5, rtol=1e-12)
    np.testing.assert_allclose(result["ocean_warming"], 3.0, rtol=1e-12)
    np.testing.assert_allclose(result["land_ocean_warming_ratio"], 1.5, rtol=1e-12)
    weights = GRID.area_weights()
    expected = [
        3.0 + 1.5 * (weights * land).sum(),
        4.5,
        3.0,
    ]
    np.testing.assert_allclose(result["t_low_mean"].isel(perturbation=0), expected, rtol=1e-12)
    assert list(result["surface"].values) == ["all", "land", "ocean"]


def test_bands_and_the_tropics_hold_the_cells_by_their_centre() -> None:
    latitude = GRID.latitude[:, None] + 0 * GRID.longitude
    by_latitude = np.abs(latitude) / 10.0
    _, zonal = saved_means(two_levels(warmed(by_latitude), warmed(2 * by_latitude) - 70.0))
    edge = float(GRID.latitude[4])  # a cell centre: in the band that begins there, not the other
    settings = DiagnosticSettings(ROLES, {"low": (0.0, edge), "high": (edge, 50.0)}, edge)
    result = diagnose(zonal, settings)
    _, ocean = continents(GRID)
    area = GRID.area_weights() * ocean
    for band, inside in (
        ("low", np.abs(latitude) < edge),
        ("high", (np.abs(latitude) >= edge) & (np.abs(latitude) < 50)),
    ):
        expected = (area * by_latitude * inside).sum() / (area * inside).sum()
        np.testing.assert_allclose(result["ocean_warming"].sel(band=band), expected, rtol=1e-11)
    np.testing.assert_allclose(
        result["tropical_ocean_surface_warming"],
        result["ocean_warming"].sel(band="low"),
        rtol=1e-12,
    )
    np.testing.assert_allclose(result["vertical_warming_ratio_tropical_ocean"], 2.0, rtol=1e-11)
    assert result["band_low"].values.tolist() == [0.0, edge]
    assert result["band_high"].values.tolist() == [edge, 50.0]


def test_segments_and_samples_weigh_by_their_counts() -> None:
    field = np.ones(GRID.shape)
    x = np.zeros((2, 2, 3, *GRID.shape))
    count = np.array([[[1, 2, 3], [4, 0, 6]], [[5, 1, 0], [2, 2, 9]]], dtype=float)
    values = weather((2, 2, 3))
    x[:] = 280.0 + values[..., None, None] * field
    x[count == 0] = np.nan
    group_means, zonal = saved_means({"t": x}, count)
    mean = (np.where(count > 0, values, 0) * count).sum((1, 2)) / count.sum((1, 2))
    expected = mean[1] - mean[0]
    np.testing.assert_allclose(response_maps(group_means)["t"], expected, rtol=1e-10)
    core = zonal_response(zonal)["t"].sel(surface="all")
    np.testing.assert_allclose(core, expected, rtol=1e-10)
    series = global_mean_series(zonal, "t")
    with np.errstate(invalid="ignore"):
        by_time = (np.where(count > 0, values, 0) * count).sum(1) / count.sum(1)
    np.testing.assert_allclose(series, 280.0 + by_time, rtol=1e-12)


def test_maps_and_zonal_means_tell_the_same_response() -> None:
    shape = (3, 2, 30, *GRID.shape)
    count = np.random.default_rng(1).integers(0, 5, shape[:3]).astype(float)
    members = two_levels(288.0 + weather(shape, 2), 218.0 + weather(shape, 3))
    group_means, zonal = saved_means(members, count, groups=("baseline", "p2K", "p4K"))
    from_zonal = zonal_response(zonal)
    from_maps = zonal_response_of_maps(response_maps(group_means))
    for name in ("t_low", "t_top", "area"):
        np.testing.assert_allclose(
            from_maps[name].transpose(*from_zonal[name].dims), from_zonal[name], atol=1e-11
        )
    of_run, of_maps = (
        diagnose(zonal, SETTINGS),
        diagnose_reference(response_maps(group_means), SETTINGS),
    )
    in_time = {
        *known_trends(),
        *(each.name for each in catalog() if re.search("_by_(season|month)$", each.name)),
    }
    assert {str(name) for name in of_maps.data_vars} | in_time == {
        str(name) for name in of_run.data_vars if name not in statistics_named_in(of_run)
    }
    for name in of_maps.data_vars:
        assert of_maps[name].dims == of_run[name].dims
        assert of_maps[name].attrs["units"] == of_run[name].attrs["units"]
        np.testing.assert_allclose(of_maps[name], of_run[name], rtol=1e-8, atol=1e-10)


def test_circles_without_the_surface_do_not_leak() -> None:
    _, zonal = saved_means(two_levels(warmed(4.0)))
    assert zonal["t_low"].sel(surface="land").isel(lat=-1).isnull().all()  # NaN in the file
    result = diagnose(zonal, SETTINGS)
    assert result["t_low_zonal_mean"].sel(surface="land").isel(lat=-1).isnull().all()
    assert result["t_low_mean"].notnull().all()


def test_an_unexpected_nan_is_not_averaged_away() -> None:
    _, zonal = saved_means(two_levels(warmed(4.0)))
    zonal["t_low"][1, 0, 3, 2, 6] = np.nan  # ocean in the tropics, count > 0
    result = diagnose(zonal, SETTINGS)
    assert result["ocean_warming"].sel(band="tropics").isnull().all()
    assert result["land_warming"].sel(band="tropics").notnull().all()


def test_grids_may_run_either_way() -> None:
    latitude = np.linspace(-87.5, 87.5, 36)
    longitude = np.arange(72) * 5.0
    warming = weather((36, 72))
    results = []
    for step in (1, -1):
        grid = Grid(latitude[::step], longitude)
        x = 288.0 + np.zeros((2, 1, 2, 36, 72))
        x[1] += warming[::step]
        group_means, zonal = saved_means(two_levels(x), grid=grid)
        results.append((diagnose(zonal, SETTINGS), response_maps(group_means)))
    (rising, rising_maps), (falling, falling_maps) = results
    for name in (*SCALARS, "land_warming", "land_ocean_warming_ratio", "t_low_mean"):
        np.testing.assert_allclose(rising[name], falling[name], rtol=1e-10)
    np.testing.assert_array_equal(rising_maps["t_low"], falling_maps["t_low"][:, ::-1])


def test_no_land_gives_nan_and_no_ocean_too() -> None:
    none, everywhere = np.zeros(GRID.shape, bool), np.ones(GRID.shape, bool)
    _, zonal = saved_means(two_levels(warmed(4.0)), masks=(none, everywhere))
    result = diagnose(zonal, SETTINGS)
    assert result["land_warming"].isnull().all()
    assert result["land_ocean_warming_ratio"].isnull().all()
    np.testing.assert_allclose(result["ocean_warming"], 4.0)
    assert result["t_low_mean"].sel(surface="land").isnull().all()
    _, zonal = saved_means(two_levels(warmed(4.0)), masks=(everywhere, none))
    result = diagnose(zonal, SETTINGS)
    assert result["tropical_ocean_surface_warming"].isnull().all()
    np.testing.assert_allclose(result["land_warming"], 4.0)


def test_no_response_has_no_ratio() -> None:
    _, zonal = saved_means(two_levels(warmed(0.0)))
    result = diagnose(zonal, SETTINGS)
    np.testing.assert_array_equal(result["land_warming"], 0.0)
    assert result["land_ocean_warming_ratio"].isnull().all()
    assert result["vertical_warming_ratio_tropical_ocean"].isnull().all()
    assert result["land_ocean_warming_ratio_stderr"].isnull().all()


def test_a_ratio_to_almost_nothing_is_nan() -> None:
    land, _ = continents(GRID)
    _, zonal = saved_means(two_levels(warmed(np.where(land, 1.0, 0.0))))
    assert diagnose(zonal, SETTINGS)["land_ocean_warming_ratio"].isnull().all()  # not infinite
    denominator = xr.DataArray([0.5e-12, -0.5e-12, 2e-12, -2e-12])
    np.testing.assert_allclose(ratio(0.0 * denominator + 1e-12, denominator)[2:], [0.5, -0.5])
    assert ratio(denominator, denominator)[:2].isnull().all()


def test_a_micro_kelvin_survives() -> None:
    group_means, zonal = saved_means(two_levels(warmed(1e-6, num_samples=2, num_times=120)))
    result = diagnose(zonal, SETTINGS)
    np.testing.assert_allclose(result["ocean_warming"], 1e-6, rtol=1e-6)
    np.testing.assert_allclose(result["land_ocean_warming_ratio"], 1.0, rtol=1e-6)
    np.testing.assert_allclose(response_maps(group_means)["t_low"], 1e-6, rtol=1e-6)


def test_a_missing_role_leaves_its_diagnostics_out() -> None:
    _, zonal = saved_means(two_levels(warmed(4.0)))
    settings = DiagnosticSettings(Roles("t_low", (), "t_low", "t_none"))
    result = diagnose(zonal, settings)
    reasons = left_out(["t_low", "t_top"], settings)
    assert EVERY - set(result.data_vars) == set(reasons)
    further = set(left_out(["t_low", "t_top"], SETTINGS))
    assert set(reasons) - further == {
        *SCALARS[1:],
        "column_warming",
        "zonal_mean_warming",
    }
    assert "'t_none'" in reasons["tropical_ocean_upper_warming"]
    assert "column_temperature" in reasons["column_warming"]
    assert not {name for name in left_out(["t_low", "t_top"], SETTINGS) if "warming" in name}
    assert set(left_out([], SETTINGS)) == EVERY
    bare = diagnose(zonal, DiagnosticSettings())
    assert "t_low_mean" in bare
    assert not EVERY & set(bare.data_vars)


def test_the_column_names_its_levels() -> None:
    top = warmed(7.0) - 70.0
    _, zonal = saved_means(two_levels(warmed(4.0), top))
    column = diagnose(zonal, SETTINGS)["column_warming"]
    np.testing.assert_allclose(column, [[7.0, 4.0]], rtol=1e-12)
    assert column.dims == ("perturbation", "level")
    assert column["level"].values.tolist() == ["t_top", "t_low"]
    assert column["pressure"].values.tolist() == [200.0, 980.0]
    assert "pressure" not in diagnose(zonal, DiagnosticSettings(ROLES)).coords


def test_the_summary_has_the_keys_of_the_contract() -> None:
    land, ocean = continents(GRID)
    masks = (land & (np.abs(GRID.latitude)[:, None] > 15), ocean)
    groups = ("baseline", "p2K", "p4K")
    x = np.concatenate([warmed(2.0), warmed(4.0)[1:]])
    _, zonal = saved_means(two_levels(x), masks=masks, groups=groups)
    flat = summary(diagnose(zonal, SETTINGS))
    scalar_keys = {f"{label}/{name}" for label in groups[1:] for name in SCALARS}
    assert scalar_keys <= set(flat)
    assert flat["p4K/ocean_warming/tropics"] == pytest.approx(4.0)
    assert flat["p2K/land_ocean_warming_ratio/subtropics"] == pytest.approx(1.0)
    assert flat["p4K/land_warming/tropics"] is None
    assert flat["p4K/column_warming/t_top"] == pytest.approx(4.0)
    assert flat["p2K/global_mean/t_low"] == pytest.approx(2.0)
    assert flat["p2K/land_mean/t_top"] == pytest.approx(2.0)
    assert flat["p2K/ocean_mean_stderr/t_low"] == pytest.approx(0.0, abs=1e-9)
    assert "p4K/land_warming_stderr/midlatitudes" in flat
    assert not any("zonal" in key for key in flat)
    assert json.loads(json.dumps(flat, allow_nan=False)) == flat


def test_every_number_says_its_units_and_name() -> None:
    group_means, zonal = saved_means(two_levels(warmed(4.0)))
    maps = response_maps(group_means)
    said = {entry.name: entry.units for entry in catalog()} | {
        "t_low_per_K": "1",
        "t_top_per_K": "1",
    }
    for dataset in (diagnose(zonal, SETTINGS), maps[["t_low", "t_low_stderr"]]):
        belongs = statistics_named_in(dataset)
        for name, value in dataset.data_vars.items():
            units = said.get(belongs.get(str(name), str(name)), "K")
            pure = str(name).endswith("_num_effective")
            assert value.attrs["units"] == ("1" if pure else units), name
            assert value.attrs["long_name"], name
    assert maps["t_low"].attrs["cell_methods"] == "time: mean"
    assert maps["t_low"].dims == ("perturbation", "lat", "lon")
    assert {"ocean_mask", "land_mask", "area_weight", "mean_ocean_fraction"} <= set(maps)


def test_files_pass_through_netcdf(tmp_path) -> None:
    groups = ("baseline", "p4K")
    group_means, zonal = saved_means(two_levels(warmed(4.0)), groups=groups)
    expected = diagnose(zonal, SETTINGS)
    group_means.to_netcdf(tmp_path / "group_means.nc")
    zonal.to_netcdf(tmp_path / "zonal.nc")
    expected.to_netcdf(tmp_path / "diagnostics.nc")
    with xr.open_dataset(tmp_path / "zonal.nc", chunks={"time": 5}) as lazy:
        xr.testing.assert_allclose(diagnose(lazy, SETTINGS), expected)
    with xr.open_dataset(tmp_path / "diagnostics.nc") as saved:
        assert summary(saved.load()) == summary(expected)
    with xr.open_dataset(tmp_path / "group_means.nc", chunks={"time": 7}) as lazy:
        xr.testing.assert_allclose(response_maps(lazy), response_maps(group_means))


def test_arguments_are_not_changed() -> None:
    group_means, zonal = saved_means(two_levels(warmed(4.0)))
    before = group_means.copy(deep=True), zonal.copy(deep=True)
    response_maps(group_means)
    diagnose(zonal, SETTINGS)
    xr.testing.assert_identical(group_means, before[0])
    xr.testing.assert_identical(zonal, before[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bands": {}}, "at least one"),
        ({"bands": {"odd": (30.0, 15.0)}}, "'odd'"),
        ({"bands": {"far": (30.0, 95.0)}}, "'far'"),
        ({"tropical_lat_max": 0.0}, "tropical_lat_max"),
        ({"levels_hPa": (1.0,)}, "1 pressures for 2 levels"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change, message) -> None:
    with pytest.raises(ValueError, match=message):
        DiagnosticSettings(ROLES, **change)


def test_files_that_lack_something_are_refused() -> None:
    group_means, zonal = saved_means(two_levels(warmed(4.0)))
    with pytest.raises(ValueError, match=r"zonal\.nc has no 'area'"):
        diagnose(zonal.drop_vars("area"), SETTINGS)
    with pytest.raises(ValueError, match=r"group_means\.nc has no 'land_mask'"):
        response_maps(group_means.drop_vars("land_mask"))
    with pytest.raises(ValueError, match="no group 'baseline'"):
        diagnose(zonal.isel(group=slice(1, None)), SETTINGS)
    with pytest.raises(ValueError, match="spin-up"):
        diagnose(zonal.isel(time=slice(0, 0)), SETTINGS)
    with pytest.raises(ValueError, match="order of time"):
        diagnose(zonal.isel(time=slice(None, None, -1)), SETTINGS)


def test_a_run_of_the_baseline_alone_has_no_perturbation() -> None:
    group_means, zonal = saved_means(two_levels(warmed(4.0)[:1]), groups=("baseline",))
    assert summary(diagnose(zonal, SETTINGS)) == {}
    assert response_maps(group_means).sizes["perturbation"] == 0
