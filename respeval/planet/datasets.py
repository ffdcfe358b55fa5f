"""The planet's files as xarray datasets: forcing, initial conditions, and a record to learn from."""

from __future__ import annotations

import cftime
import numpy as np
import torch
import xarray as xr

from respeval.emulator.noise import CounterNoise
from respeval.fields.grid import FloatArray, Grid
from respeval.files.netcdf import global_attributes
from respeval.planet.climate import FORCING, PROGNOSTIC, SURFACE, VARIABLES
from respeval.planet.emulator import CALENDAR, PlanetEmulator
from respeval.planet.geography import Geography
from respeval.planet.insolation import DAYS_PER_YEAR, daily_insolation
from respeval.planet.sea import present_sst
from respeval.run_folder.layout import output_attributes

START = (2001, 1, 1)
COMPRESSED = {"zlib": True, "complevel": 1, "dtype": "float32"}
RECORD_SPINUP_DAYS = 60


def make_forcing(
    grid: Grid, num_years: int, start: tuple[int, int, int] = START, seed: int = 0
) -> xr.Dataset:
    """Daily forcing (time, lat, lon) of `num_years` years and the day after, float32.

    Variables: ocean_fraction, land_fraction (1), DSWRFtoa (W/m**2), surface_temperature (K), which
    holds the SST; over land it goes on with the ocean's formula, without NaN, and nothing reads it.
    """
    return _forcing_on(grid, _times(num_years * DAYS_PER_YEAR + 1, start), seed)


def _forcing_on(grid: Grid, times: np.ndarray, seed: int) -> xr.Dataset:
    num_days = len(times)
    first_day = times[0].dayofyr - 1
    day = (first_day + np.arange(num_days)) % DAYS_PER_YEAR
    geography = Geography.on(grid)
    shape = (num_days, *grid.shape)
    insolation = daily_insolation(grid.latitude, day)[:, :, None]
    fields = {
        "ocean_fraction": np.broadcast_to(geography.ocean_fraction, shape),
        "land_fraction": np.broadcast_to(geography.land_fraction, shape),
        "DSWRFtoa": np.broadcast_to(insolation, shape),
        SURFACE: present_sst(grid, num_days, first_day, seed),
    }
    return _dataset(grid, times, fields, "forcing of the bundled planet")


def make_initial_conditions(
    forcing: xr.Dataset, num_samples: int = 4, days_apart: int = 0, seed: int = 0
) -> xr.Dataset:
    """States (sample, lat, lon) with time(sample): equilibrium plus different weather, float32.

    Sample i starts `i * days_apart` days into the forcing.
    """
    planet = PlanetEmulator(_grid(forcing))
    starts = np.arange(num_samples) * days_apart
    surface, insolation = (
        torch.as_tensor(forcing[name].values[starts], dtype=torch.float64)
        for name in (SURFACE, "DSWRFtoa")
    )
    settled = planet.climate.settled(surface, insolation)[:, : len(PROGNOSTIC)]
    streams = [(sample, 0) for sample in range(num_samples)]
    normal = CounterNoise(seed, streams, step=0).normal(*planet.weather.noise_shape)
    weather = planet.climate.weather_amplitude * planet.weather.stationary(normal)
    state = settled + torch.cat([weather, torch.zeros_like(weather[:, :1])], dim=1)
    dataset = _dataset(
        planet.spec.grid,
        forcing["time"].values[starts],
        {name: state[:, i].numpy() for i, name in enumerate(PROGNOSTIC)},
        "initial conditions of the bundled planet",
    )
    times = dataset["time"].variable
    dataset = dataset.drop_vars("time").rename_dims(time="sample")
    return dataset.assign_coords(time=("sample", times.values, times.attrs, times.encoding))


def make_record(
    grid: Grid, num_days: int, start: tuple[int, int, int] = START, seed: int = 0
) -> xr.Dataset:
    """Consecutive daily states (time, lat, lon) of the present climate, every variable, float32.

    `surface_temperature` is the state's: the SST over ocean and the land's own over land.
    """
    planet = PlanetEmulator(grid)
    total = num_days + RECORD_SPINUP_DAYS
    forcing = _forcing_on(grid, _times(total, start, -RECORD_SPINUP_DAYS), seed)
    stacked = np.stack([forcing[name].values for name in (*FORCING, SURFACE)], axis=1)
    days = torch.as_tensor(stacked)[:, None]
    state = planet.climate.settled(days[0, :, 3].double(), days[0, :, 2].double())
    outputs = [state[0]]
    for day in range(total - 1):
        noise = CounterNoise(seed, [(0, 0)], step=day)
        state = planet.step(state[:, : len(PROGNOSTIC)], days[day], days[day + 1], noise)
        outputs.append(state[0])
    record = torch.stack(outputs[RECORD_SPINUP_DAYS:]).numpy()
    fields = {v.name: record[:, i] for i, v in enumerate(planet.spec.outputs)}
    fields |= {name: forcing[name].values[RECORD_SPINUP_DAYS:] for name in FORCING}
    times = forcing["time"].values[RECORD_SPINUP_DAYS:]
    return _dataset(grid, times, fields, "daily states of the bundled planet")


def _times(num_days: int, start: tuple[int, int, int], first_day: int = 0) -> np.ndarray:
    """Consecutive dates [day] from `first_day` days after `start`."""
    first = cftime.datetime(*start, calendar=CALENDAR)
    units = f"days since {first.strftime('%Y-%m-%d')}"
    return np.asarray(cftime.num2date(first_day + np.arange(num_days), units, calendar=CALENDAR))


def _grid(dataset: xr.Dataset) -> Grid:
    return Grid.from_coordinates(dataset["lat"].values, dataset["lon"].values)


def _dataset(
    grid: Grid, times: np.ndarray, fields: dict[str, FloatArray], title: str
) -> xr.Dataset:
    """Fields [time, lat, lon] with coordinates and CF attributes, stored compressed as float32."""
    variables = {}
    for name, values in fields.items():
        attributes = output_attributes(VARIABLES[name])
        dims = ("time", "lat", "lon")
        variables[name] = (dims, values.astype(np.float32), attributes, dict(COMPRESSED))
    first = times[0].strftime("%Y-%m-%d")
    encoding = {"units": f"days since {first}", "calendar": CALENDAR, "dtype": "float64"}
    coordinates = horizontal_coordinates(grid) | {
        "time": ("time", times, {"standard_name": "time", "axis": "T"}, encoding)
    }
    return xr.Dataset(variables, coordinates, global_attributes(title, {}))


def horizontal_coordinates(grid: Grid) -> dict[str, tuple[str, FloatArray, dict[str, str]]]:
    """Coordinates `lat` and `lon` with their CF attributes."""
    return {
        "lat": (
            "lat",
            grid.latitude,
            {"units": "degrees_north", "standard_name": "latitude", "axis": "Y"},
        ),
        "lon": (
            "lon",
            grid.longitude,
            {"units": "degrees_east", "standard_name": "longitude", "axis": "X"},
        ),
    }
