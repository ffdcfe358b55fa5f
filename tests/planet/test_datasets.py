"""The planet's files: what is in them, that they survive a disk, and what the truth is made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from respeval.fields.grid import Grid
from respeval.planet.climate import FLUXES, FORCING, PROGNOSTIC, SURFACE, VARIABLES
from respeval.planet.datasets import make_forcing, make_initial_conditions, make_record
from respeval.planet.emulator import PlanetEmulator
from respeval.planet.truth import true_response

GRID = Grid.legendre_gauss(8, 16)


@pytest.fixture(scope="module")
def forcing() -> xr.Dataset:
    return make_forcing(GRID, 2)


def read(dataset: xr.Dataset, path: Path) -> xr.Dataset:
    dataset.to_netcdf(path)
    with xr.open_dataset(path, decode_times=xr.coders.CFDatetimeCoder(use_cftime=True)) as found:
        return found.load()


def test_forcing_survives_the_disk_with_its_calendar_and_units(
    forcing: xr.Dataset, tmp_path: Path
) -> None:
    found = read(forcing, tmp_path / "forcing.nc")
    assert set(found.data_vars) == {*FORCING, SURFACE}
    assert found.sizes["time"] == 2 * 365 + 1
    last = found["time"].values[-1]
    assert (last.calendar, last.year, last.month, last.day) == ("noleap", 2003, 1, 1)
    for name in found.data_vars:
        assert found[name].attrs["units"] == VARIABLES[str(name)].units
        np.testing.assert_array_equal(found[name], forcing[name])
    assert not any(bool(found[name].isnull().any()) for name in found.data_vars)
    assert Grid.from_coordinates(found["lat"].values, found["lon"].values).kind == GRID.kind


def test_fractions_add_up_and_the_sea_has_seasons_and_anomalies(forcing: xr.Dataset) -> None:
    total = forcing["ocean_fraction"] + forcing["land_fraction"]
    np.testing.assert_allclose(total, 1.0, atol=1e-6)
    sst = forcing[SURFACE]
    north = sst.sel(lat=45.0, method="nearest").mean("lon")
    assert float(north.sel(time="2001-09").mean() - north.sel(time="2001-03").mean()) > 5.0
    years = sst.isel(time=slice(0, 730)).groupby("time.year").mean()
    assert 0.1 < float(np.abs(years.diff("year")).mean()) < 2.0


def test_forcing_of_another_seed_has_another_sea_and_the_same_sun(forcing: xr.Dataset) -> None:
    other = make_forcing(GRID, 2, seed=1)
    assert float(np.abs(other[SURFACE] - forcing[SURFACE]).max()) > 0.5
    np.testing.assert_array_equal(other["DSWRFtoa"], forcing["DSWRFtoa"])


def test_initial_conditions_have_the_sea_of_their_date_and_different_weather(
    forcing: xr.Dataset, tmp_path: Path
) -> None:
    initial = read(
        make_initial_conditions(forcing, num_samples=3, days_apart=10), tmp_path / "initial.nc"
    )
    assert set(initial.data_vars) == set(PROGNOSTIC)
    assert initial[PROGNOSTIC[0]].dims == ("sample", "lat", "lon")
    assert initial["time"].dims == ("sample",)
    assert initial["time"].values[2] == forcing["time"].values[20]
    ocean = forcing["ocean_fraction"].values[0] > 0.5
    np.testing.assert_allclose(
        initial[SURFACE].values[:, ocean], forcing[SURFACE].values[[0, 10, 20]][:, ocean]
    )
    same_day = make_initial_conditions(forcing, num_samples=2)["air_temperature_4"]
    assert 0.5 < float((same_day[0] - same_day[1]).std()) < 5.0


def test_record_is_the_planet_day_by_day() -> None:
    """Each day follows from the one before up to that day's noise, whose variance is the design's."""
    record = make_record(GRID, 40, start=(2001, 6, 1))
    assert set(record.data_vars) == {*PROGNOSTIC, *FLUXES, *FORCING}
    first = record["time"].values[0]
    assert (first.month, first.day, record.sizes["time"]) == (6, 1, 40)
    planet = PlanetEmulator(GRID)
    state = torch.as_tensor(np.stack([record[n].values for n in PROGNOSTIC], axis=1)).double()
    names = planet.spec.required_forcing
    forcing = torch.as_tensor(np.stack([record[n].values for n in names], axis=1)).double()
    expected = planet.advance(state[:-1], forcing[:-1], forcing[1:], 0.0)
    ocean = planet.climate.ocean
    land_error = (expected[:, 9] - state[1:, 9])[:, ~ocean]
    assert land_error.abs().max() < 1e-4
    noise = (state[1:, :9] - expected[:, :9]) / planet.climate.weather_amplitude
    assert 0.05 < noise.square().mean() < 0.9
    assert noise.mean().abs() < 0.02


def test_truth_applies_a_change_strictly_over_ocean_and_takes_functions(
    forcing: xr.Dataset,
) -> None:
    year = forcing.isel(time=slice(0, 366))
    ocean = year["ocean_fraction"].values[0] > 0.5
    uniform = np.full(GRID.shape, 4.0)
    truth = true_response(
        year,
        {
            "field": uniform,
            "ocean": np.where(ocean, 4.0, 0.0),
            "function": lambda sst: sst + 4.0,
            "none": np.zeros(GRID.shape),
        },
    )
    for name in (*PROGNOSTIC, *FLUXES):
        values = truth[name].values
        np.testing.assert_array_equal(values[0], values[1])
        np.testing.assert_array_equal(values[0], values[2])
        assert (values[3] == 0.0).all()
    np.testing.assert_allclose(truth[SURFACE].values[0][ocean], 4.0, atol=1e-9)
    assert (truth[SURFACE].values[0][~ocean] > 4.0).mean() > 0.8
    assert truth["ocean_mask"].values.astype(bool).tolist() == ocean.tolist()
    assert list(truth["perturbation"].values) == ["field", "ocean", "function", "none"]


def test_truth_leaves_out_the_last_time(forcing: xr.Dataset) -> None:
    """The last time of a forcing begins no step, so its SST has no say in a response."""
    year = forcing.isel(time=slice(0, 31)).copy(deep=True)
    change = {"p4K": np.full(GRID.shape, 4.0)}
    before = true_response(year, change)["air_temperature_7"].values
    year[SURFACE][-1] += 10.0
    np.testing.assert_array_equal(true_response(year, change)["air_temperature_7"].values, before)
    year[SURFACE][-2] += 10.0
    assert np.abs(true_response(year, change)["air_temperature_7"].values - before).max() > 0.0
