"""Per kelvin, budgets, hemispheres, amplitudes and trends: truths that can be written down.

The world of these tests has a few numbers by cell, and outputs that are those numbers in both
climates; every expected value is the area-weighted sum of the cells, written out.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from respeval.case.case import RoleNames
from respeval.diagnostics import (
    NAMED_IN_ROLES,
    Ratio,
    diagnose,
    diagnose_reference,
    known_diagnostics,
    left_out,
    summary,
)
from respeval.diagnostics.formulas.quantities import QUANTITIES
from respeval.diagnostics.formulas.registry import OWN
from tests.support import ROOT
from tests.support.means import GRID, months
from tests.support.world import AREA, BOX, LAND, LATITUDE, OCEAN, SETTINGS, WORLD, mean, world


@pytest.fixture(scope="module")
def found() -> xr.Dataset:
    """All diagnostics of the whole world, warmed by 4."""
    return diagnose(world(), SETTINGS).isel(perturbation=0)


#: Cells between 40 degrees south and north.
LOW = np.abs(LATITUDE) < 40

GLOBAL_K = 4.0 * mean(WORLD["T"][1])


def expected_numbers() -> dict[str, float]:
    """What the diagnostics of the world are; fluxes in W m-2 per unit of SST change."""
    warmth = WORLD["T"][1]
    longwave, shortwave = -(1.9 + 0.1 * mean(LAND)), 0.3
    rain = 100 * 4 * mean(WORLD["PRATEsfc"][1]) / mean(WORLD["PRATEsfc"][0])
    surface_change = 5.5 - 5.0 - 0.1 + 2.0 - 0.5
    surface_base = 24 - 185 + 398 - 340 + 85 + 17
    return {
        "box_land_warming": 4 * mean(warmth, BOX),
        "box_ocean_warming": 4 * mean(1.0 + 0.01 * LATITUDE, BOX),
        "box_land_ocean_warming_ratio": mean(warmth, BOX) / mean(1.0 + 0.01 * LATITUDE, BOX),
        "global_land_ocean_warming_ratio": mean(warmth, LAND) / mean(warmth, OCEAN),
        "low_latitude_land_ocean_warming_ratio": mean(warmth, LAND * LOW)
        / mean(warmth, OCEAN * LOW),
        "polar_warming": 4 * mean(warmth, np.abs(LATITUDE) >= 60),
        "arctic_amplification": 4 * mean(warmth, LATITUDE >= 60) / GLOBAL_K,
        "antarctic_amplification": 4 * mean(warmth, LATITUDE <= -60) / GLOBAL_K,
        "polar_amplification": 4 * mean(warmth, np.abs(LATITUDE) >= 60) / GLOBAL_K,
        "precipitation_change": rain,
        "precipitation_change_per_K": rain / GLOBAL_K,
        "water_path_change_per_K": 100 * 4 * 1.7 / 25.0 / GLOBAL_K,
        "toa_net_flux_change": 4 * (longwave + shortwave),
        "cess_feedback": 4 * (longwave + shortwave) / GLOBAL_K,
        "cess_feedback_longwave": 4 * longwave / GLOBAL_K,
        "cess_feedback_shortwave": 4 * shortwave / GLOBAL_K,
        "cess_feedback_clear_sky": 4 * (0.2 - 2.2) / GLOBAL_K,
        "cess_feedback_cloud": 4 * (longwave + shortwave + 2.0) / GLOBAL_K,
        "energy_budget_residual": 4 * (longwave + shortwave + surface_change),
        "water_budget_residual": 86_400 * 4 * (2.0 / 2.5e6 - mean(WORLD["PRATEsfc"][1])),
        "baseline_toa_net_flux": 340.0 - 99.0 - 240.0,
        "baseline_energy_budget_residual": 340.0 - 99.0 - 240.0 + surface_base,
        "baseline_water_budget_residual": 86_400 * (85.0 / 2.5e6 - mean(WORLD["PRATEsfc"][0])),
    }


@pytest.mark.parametrize("name", expected_numbers())
def test_a_number_is_its_formula(found: xr.Dataset, name: str) -> None:
    np.testing.assert_allclose(found[name], expected_numbers()[name], rtol=1e-9, atol=1e-9)


def test_humidity_changes_over_land_and_ocean(found: xr.Dataset) -> None:
    base, change = WORLD["Q2m"]
    expected = [400 * mean(change, s) / mean(base, s) for s in (True, LAND, OCEAN)]
    np.testing.assert_allclose(found["humidity_change"], expected, rtol=1e-9)
    assert found["region"].values.tolist() == ["global", "land", "ocean"]
    expected = [-2.0 * mean(LAND), -2.0, 0.0]
    np.testing.assert_allclose(found["relative_humidity_change"], expected, rtol=1e-9, atol=1e-12)


def test_hemispheres_are_told_apart(found: xr.Dataset) -> None:
    warmth = 4 * WORLD["T"][1]
    northern = LATITUDE >= 0
    low = np.abs(LATITUDE) < 40
    for i, half in enumerate((northern, ~northern)):
        for j, band in enumerate((low, ~low)):
            land, ocean = (mean(warmth, half & band & s) for s in (LAND, OCEAN))
            got = found.isel(hemisphere=i, band=j)
            np.testing.assert_allclose(got["land_warming_by_hemisphere"], land, rtol=1e-9)
            np.testing.assert_allclose(
                got["land_ocean_warming_ratio_by_hemisphere"], land / ocean, rtol=1e-9
            )
    assert found["hemisphere"].values.tolist() == ["northern", "southern"]
    north, south = found["land_warming_by_hemisphere"].isel(band=0).values
    assert abs(north - south) > 1


def test_everything_has_units_a_name_and_statistics(found: xr.Dataset) -> None:
    assert set(known_diagnostics()) - set(found.data_vars) == {"linearity"}
    for name in found.data_vars:
        assert found[name].attrs["units"], name
        assert found[name].attrs["long_name"], name
    assert found["cess_feedback_stderr"].attrs["units"] == "W m-2 K-1"
    assert "perturbation" not in found["baseline_toa_net_flux_low"].dims


def test_ratios_are_their_parts() -> None:
    core = diagnose_inputs(world((4.0, 2.0)))
    settings = dataclasses.replace(SETTINGS, amplitudes_K={"p4K": 4.0, "p2K": 2.0})
    ratios = [each for each in OWN.values() if isinstance(each.values, Ratio)]
    assert len(ratios) == 17
    for each in ratios:
        quotient = each.values.numerator(core, settings) / each.values.denominator(core, settings)
        got = each(core, settings)
        xr.testing.assert_allclose(got.drop_attrs(), quotient.drop_attrs())
        assert "cell_methods" not in got.attrs


def diagnose_inputs(zonal: xr.Dataset) -> xr.Dataset:
    """The zonal response of one-sample means with the baseline beside it, written out."""
    names = [name for name in zonal.data_vars if name not in ("count", "area", "time_bnds")]
    means = zonal[names].isel(sample=0, time=0, drop=True)
    baseline = means.sel(group="baseline", drop=True)
    response = (means.drop_sel(group="baseline") - baseline).rename(group="perturbation")
    named = {f"{name}@baseline": baseline[name] for name in names}
    return response.assign(named).assign(area=zonal["area"])


def test_without_the_sun_among_the_outputs_it_is_taken_to_be_unchanged() -> None:
    zonal = world(names=("T", "ULWRFtoa", "USWRFtoa"))
    result = diagnose(zonal, SETTINGS)
    expected = expected_numbers()["cess_feedback"]
    np.testing.assert_allclose(result["cess_feedback"], expected, rtol=1e-9)
    reasons = left_out(["T", "ULWRFtoa", "USWRFtoa"], SETTINGS)
    assert "toa downward shortwave (known names: DSWRFtoa" in reasons["baseline_toa_net_flux"]
    assert "cess_feedback" not in reasons
    assert "roles.toa_upward_shortwave_clear_sky can name it" in reasons["cess_feedback_clear_sky"]
    assert "water path" in reasons["water_path_change_per_K"]
    assert set(known_diagnostics()) - set(result.data_vars) == set(reasons)


def test_net_fluxes_that_the_emulator_derives_are_taken() -> None:
    zonal = world(names=("T", "ULWRFtoa", "USWRFtoa"))
    top = zonal["ULWRFtoa"].rename("net_energy_flux_toa_into_atmosphere")
    result = diagnose(zonal.assign({str(top.name): 2.0 * top}), SETTINGS)
    expected = 2 * 4 * (1.9 + 0.1 * mean(LAND))
    np.testing.assert_allclose(result["toa_net_flux_change"], expected, rtol=1e-9)


def test_a_role_names_what_is_not_known_by_its_name() -> None:
    zonal = world(names=("T", "PRATEsfc")).rename(PRATEsfc="rain")
    assert "precipitation_change" not in diagnose(zonal, SETTINGS)
    settings = dataclasses.replace(SETTINGS, output_names={"precipitation": "rain"})
    expected = expected_numbers()["precipitation_change_per_K"]
    found = diagnose(zonal, settings)["precipitation_change_per_K"]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    missing = dataclasses.replace(SETTINGS, output_names={"precipitation": "snow"})
    assert "'snow', which is not among" in left_out(["T"], missing)["precipitation_change"]
    assert set(NAMED_IN_ROLES) <= set(RoleNames.model_fields)


def test_the_lowest_level_of_humidity_is_the_one_with_the_largest_number() -> None:
    zonal = world(names=("T", "Q2m"))
    near = zonal["Q2m"]
    levels = {
        f"specific_total_water_{k}": near * (1.0 if k == 10 else 3.0 + k) ** k for k in (9, 10)
    }
    zonal = zonal.drop_vars("Q2m").assign(levels)
    found = diagnose(zonal, SETTINGS)["humidity_change"]
    assert "specific_total_water_10" in found.attrs["comment"]


def test_other_units_than_a_budget_is_made_of_leave_it_out() -> None:
    zonal = world()
    zonal["PRATEsfc"].attrs["units"] = "mm/day"
    result = diagnose(zonal, SETTINGS)
    assert "water_budget_residual" not in result
    assert "precipitation_change_per_K" in result  # a percentage has no units


def test_nothing_changed_has_no_change_per_kelvin() -> None:
    result = diagnose(world((0.0,)), SETTINGS)
    for name in ("polar_amplification", "precipitation_change_per_K", "cess_feedback"):
        assert result[name].isnull().all(), name
    np.testing.assert_array_equal(result["toa_net_flux_change"], 0.0)


def test_a_missing_value_is_not_averaged_away() -> None:
    zonal = world(names=("T", "PRATEsfc"))
    zonal["PRATEsfc"][0, 0, 0, 0, 5] = np.nan  # the baseline's
    result = diagnose(zonal, SETTINGS)
    assert result["precipitation_change"].isnull().all()
    assert result["polar_warming"].notnull().all()


def test_linearity_compares_each_amplitude_with_the_smallest() -> None:
    zonal = world((2.0, 4.0, 0.0))
    zonal["T"][2] += 1.0  # p4K responds by one kelvin more everywhere
    labels = ["p2K", "p4K", "pattern"]
    zonal = zonal.assign_coords(group=["baseline", *labels])
    settings = dataclasses.replace(SETTINGS, amplitudes_K={"p4K": 4.0, "p2K": 2.0})
    result = diagnose(zonal, settings)["linearity"]
    warmth = WORLD["T"][1]
    for quantity, cells in (("global_warming", True), ("land_warming", LAND)):
        small, large = 2 * mean(warmth, cells), 4 * mean(warmth, cells) + 1.0
        got = result.sel(quantity=quantity)
        np.testing.assert_allclose(got.sel(perturbation="p4K"), large / small / 2, rtol=1e-9)
        assert got.sel(perturbation=["p2K", "pattern"]).isnull().all()
    rain = result.sel(quantity="precipitation", perturbation="p4K")
    np.testing.assert_allclose(rain, 1.0, rtol=1e-9)
    assert "linearity" not in diagnose(zonal, SETTINGS)
    equal = dataclasses.replace(SETTINGS, amplitudes_K={"p4K": 4.0, "p2K": 4.0})
    assert "two amplitudes" in left_out(list(WORLD), equal)["linearity"]


def test_linearity_has_fiellers_interval() -> None:
    rng = np.random.default_rng(0)
    warming = rng.standard_normal((6, 1)).repeat(12, axis=1)
    settings = dataclasses.replace(SETTINGS, amplitudes_K={"p4K": 4.0, "p2K": 2.0})
    zonal, of_small = world((2.0, 4.0), ("T",), warming), 0.5 * rng.standard_normal(6)
    zonal["T"][1] += of_small[:, None, None, None]
    result = diagnose(zonal, settings)
    got = result.sel(perturbation="p4K", quantity="global_warming")
    small = mean(WORLD["T"][1]) + of_small / 2
    large = mean(WORLD["T"][1]) + warming[:, 0] / 4
    for end in ("low", "high"):
        tested = stats.ttest_1samp(large - float(got[f"linearity_{end}"]) * small, 0.0)
        assert tested.pvalue == pytest.approx(0.05)


def test_the_truth_of_maps_has_the_same_numbers(found: xr.Dataset) -> None:
    plane = ("lat", "lon")
    maps = xr.Dataset(
        {
            "land_mask": (plane, LAND.astype(float)),
            "ocean_mask": (plane, OCEAN.astype(float)),
            "area_weight": (plane, AREA),
        },
        {"lat": GRID.latitude, "lon": GRID.longitude, "perturbation": ["p4K"]},
    )
    for name, (base, change) in WORLD.items():
        whole = np.ones(GRID.shape)
        maps[name] = (("perturbation", *plane), 4.0 * change * whole[None])
        maps[f"{name}_baseline"] = (plane, base * whole)
    known = diagnose_reference(maps, SETTINGS).isel(perturbation=0)
    for name in known_diagnostics():
        if name != "linearity" and not name.startswith("box_"):  # maps have no boxes
            np.testing.assert_allclose(known[name], found[name], rtol=1e-8, atol=1e-10)
    bare = maps.drop_vars([f"{name}_baseline" for name in WORLD])
    without = diagnose_reference(bare, SETTINGS)
    assert "cess_feedback" in without
    assert not {"precipitation_change_per_K", "baseline_toa_net_flux"} & set(without)


def test_the_page_tells_of_every_diagnostic_and_every_known_name() -> None:
    page = (ROOT / "docs" / "diagnostics.md").read_text(encoding="utf-8")
    named = {*OWN, *NAMED_IN_ROLES}
    named.update(name for quantity in QUANTITIES.values() for name in quantity.names)
    assert {name for name in named if f"`{name}`" not in page} == set()


def test_a_baselines_number_has_the_baselines_interval() -> None:
    rng = np.random.default_rng(1)
    years = rng.standard_normal(5)
    zonal = world((4.0,), ("T", "ULWRFtoa", "USWRFtoa", "DSWRFtoa"), np.zeros((5, 12)))
    zonal["DSWRFtoa"] = zonal["DSWRFtoa"] + xr.DataArray(years, dims="sample")
    result = diagnose(zonal, SETTINGS)
    low, high = stats.t.interval(0.95, 4, 1.0 + years.mean(), stats.sem(years))
    np.testing.assert_allclose(result["baseline_toa_net_flux_low"], low, rtol=1e-9)
    np.testing.assert_allclose(result["baseline_toa_net_flux_high"], high, rtol=1e-9)
    np.testing.assert_allclose(result["toa_net_flux_change_stderr"], 0.0, atol=1e-9)


def test_the_drift_is_the_line_through_the_years() -> None:
    rng = np.random.default_rng(5)
    years = np.array([0.5 * n + 0.2 * (-1) ** n for n in range(9)]) + 0.1 * rng.standard_normal(9)
    zonal = world((4.0,), ("T",), np.zeros((1, 108)))
    rise = xr.DataArray(np.repeat(years, 12), dims="time")
    zonal["T"] = zonal["T"] + rise * xr.DataArray([1.0, 1.5], dims="group")
    result = diagnose(zonal, SETTINGS)
    decades = (np.arange(9) + 0.5) * 365 / 3652.425
    fitted = stats.linregress(decades, years)
    residual = years - fitted.intercept - fitted.slope * decades
    r = np.mean(residual[1:] * residual[:-1]) / np.mean(residual**2)
    assert r + (1 + 3 * r) / 9 < 0  # else the textbook's error would be widened
    reach = stats.t.ppf(0.975, 7) * fitted.stderr
    of_baseline = result.sel(region="land")
    np.testing.assert_allclose(of_baseline["baseline_drift"], fitted.slope, rtol=1e-9)
    np.testing.assert_allclose(of_baseline["baseline_drift_stderr"], fitted.stderr, rtol=1e-9)
    np.testing.assert_allclose(of_baseline["baseline_drift_high"], fitted.slope + reach, rtol=1e-9)
    np.testing.assert_allclose(result["response_drift"], 0.5 * fitted.slope, rtol=1e-9)
    flat = summary(result)
    assert flat["baseline/drift/ocean"] == pytest.approx(fitted.slope)
    assert flat["p4K/response_drift/global"] == pytest.approx(0.5 * fitted.slope)
    assert result["baseline_drift"].attrs["units"] == "K (10 year)-1"


def test_a_part_of_a_year_does_not_bend_the_line() -> None:
    """Eight months more than two years: their season is no drift."""
    season = np.cos(2 * np.pi * np.arange(32) / 12)
    zonal = world((4.0,), ("T",), np.zeros((2, 32)))
    assert zonal["time"].equals(months(32)["time"])
    zonal["T"] = zonal["T"] + xr.DataArray(season, dims="time")
    drift = diagnose(zonal, SETTINGS)["baseline_drift"]
    np.testing.assert_allclose(drift, 0.0, atol=1e-9)


def test_a_run_of_one_year_has_no_drift() -> None:
    result = diagnose(world((4.0,), ("T",), np.zeros((2, 12))), SETTINGS)
    assert result["baseline_drift"].isnull().all()
    assert result["response_drift_low"].isnull().all()


def test_the_summary_joins_the_places_of_several_dimensions(found: xr.Dataset) -> None:
    of_responses = [n for n in found if not str(n).startswith("baseline_")]
    flat = summary(found.assign(found[of_responses].expand_dims("perturbation")))
    assert flat["p4K/land_ocean_warming_ratio_by_hemisphere/southern/low"] is not None
    assert flat["p4K/cess_feedback"] == pytest.approx(expected_numbers()["cess_feedback"])
    assert flat["baseline/toa_net_flux"] == pytest.approx(1.0)
    assert "p4K/humidity_change_stderr/land" in flat
    assert not any("baseline_" in key for key in flat)


def test_every_output_is_told_per_kelvin_of_global_warming(found: xr.Dataset) -> None:
    expected = {
        "ULWRFtoa": ([4 * mean(WORLD["ULWRFtoa"][1], s) / GLOBAL_K for s in (True, LAND, OCEAN)]),
        "T": [4 * mean(WORLD["T"][1], s) / GLOBAL_K for s in (True, LAND, OCEAN)],
    }
    for name, numbers in expected.items():
        assert found[f"{name}_per_K"].dims == ("surface",)
        np.testing.assert_allclose(found[f"{name}_per_K"], numbers, rtol=1e-9)
    assert found["T_per_K"].attrs["units"] == "1"
    assert found["ULWRFtoa_per_K"].attrs["units"] == "W/m**2 K-1"
    assert {f"{name}_per_K" for name in WORLD} <= set(found.data_vars)


def test_numbers_per_kelvin_have_fiellers_interval_and_keys_of_their_own() -> None:
    """The globe's water path per kelvin is a ratio that the registry has as well, but for its scale
    and the baseline's mean; polar amplification shares its denominator."""
    years = np.random.default_rng(5).normal(0.0, 0.4, (1, 72))
    result = diagnose(world(warming=np.repeat(years[:, ::12], 12, axis=1)), SETTINGS)
    numbers = summary(result)
    flux = numbers["p4K/cess_feedback_longwave"]
    assert numbers["p4K/global_mean_per_K/ULWRFtoa"] == pytest.approx(-flux)  # type: ignore[operator]
    for own, other in (("low", "high"), ("high", "low"), ("stderr", "stderr"), ("noise", "noise")):
        got = numbers[f"p4K/global_mean_per_K_{own}/ULWRFtoa"]
        known = numbers[f"p4K/cess_feedback_longwave_{other}"]
        assert abs(got) == pytest.approx(abs(known)), own  # type: ignore[arg-type]
        assert abs(known) > 0 or own == "noise"  # type: ignore[arg-type]
    assert numbers["p4K/global_mean_per_K_low/T"] == pytest.approx(1.0)
    assert numbers["p4K/land_mean_per_K/T"] > 1.0  # type: ignore[operator]


def test_without_the_near_surface_temperature_nothing_is_told_per_kelvin() -> None:
    result = diagnose(world(names=("ULWRFtoa",)), SETTINGS)
    assert not any(str(name).endswith("_per_K") for name in result.data_vars)
