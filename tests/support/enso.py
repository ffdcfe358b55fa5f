"""Runs whose SST has an El Niño of known pattern and period, and the planet's answer to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
import yaml

from respeval.fields.grid import Grid
from respeval.planet.climate import Climate
from respeval.planet.datasets import make_forcing
from respeval.planet.sea import anomaly_patterns, seasonal_sst
from tests.support import studies

#: Its equator and 30 degrees north and south are circles of cells, so that every box has some.
GRID = Grid(np.linspace(90.0, -90.0, 13), np.arange(0.0, 360.0, 15.0), "equiangular")

PERIOD_YEARS = 1.6
AMPLITUDE = 1.5

_STEP_DAYS, _DAYS_PER_YEAR = 10, 360

SURFACE = "surface_temperature"


def amplitude(years: np.ndarray) -> np.ndarray:
    """Of the mode, after so many years."""
    return AMPLITUDE * np.sin(2.0 * np.pi * years / PERIOD_YEARS + 0.4)


def mode(grid: Grid) -> np.ndarray:
    """Its pattern, [lat, lon], K."""
    return np.asarray(anomaly_patterns(grid)[0])


def write_study(
    folder: Path,
    num_years: int,
    *,
    repeated: bool = False,
    forced_only: bool = False,
    days: tuple[int, ...] = (0, 0),
    **case: Any,
) -> Path:
    """A small random checkpoint with steps of ten days, its files and its case; returns the checkpoint.

    The ocean has every longitude from 90 degrees east on. repeated: the SST is the same in every year.
    forced_only: the SST is an input of the network and no output. days: when the samples start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    day = np.arange(0, num_years * _DAYS_PER_YEAR + 1, _STEP_DAYS, dtype=np.float64)
    years = day / _DAYS_PER_YEAR
    latitude = np.radians(GRID.latitude)[:, None]
    season = np.cos(2.0 * np.pi * years)[:, None, None] * np.sin(latitude)
    slow = np.zeros_like(years) if repeated else amplitude(years)
    sst = 275.0 + 25.0 * np.cos(latitude) + 4.0 * season + slow[:, None, None] * mode(GRID)
    ocean = np.broadcast_to(np.where(GRID.longitude >= 90.0, 1.0, 0.0), GRID.shape)
    dims = ("time", "lat", "lon")
    whole = (len(day), *GRID.shape)
    xr.Dataset(
        {
            SURFACE: (dims, np.broadcast_to(sst, whole), {"units": "K"}),
            "sunlight": (dims, np.broadcast_to(300.0 + 80.0 * season, whole), {"units": "W m-2"}),
            "ocean_fraction": (("lat", "lon"), ocean, {"units": "1"}),
            "land_fraction": (("lat", "lon"), 1.0 - ocean, {"units": "1"}),
        },
        {
            "time": ("time", day, {"units": "days since 2001-01-01", "calendar": "360_day"}),
            "lat": ("lat", GRID.latitude, {"units": "degrees_north"}),
            "lon": ("lon", GRID.longitude, {"units": "degrees_east"}),
        },
    ).to_netcdf(folder / "forcing.nc")
    initial = studies.initial(GRID, days=days).rename(skin=SURFACE)
    initial["time"].attrs["calendar"] = "360_day"
    initial.to_netcdf(folder / "initial.nc")
    content: dict[str, Any] = {
        "forcing": "forcing.nc",
        "initial_condition": "initial.nc",
        "years": num_years,
        "perturbations": {"p4K": {"type": "uniform", "amplitude_K": 4.0}},
    }
    (folder / "case.yaml").write_text(yaml.safe_dump({**content, **case}))
    norm = {"mean": 280.0, "scale": 10.0, "residual_scale": 1.0}
    usual = studies.manifest().normalization
    changes: dict[str, Any] = {
        "timestep_s": _STEP_DAYS * studies.DAY_S,
        "calendar": "360_day",
        "prognostic": [
            studies.variable(n) for n in ("air_temperature_0", "air_temperature_1", SURFACE)
        ],
        "surface_temperature": SURFACE,
        "normalization": {SURFACE: norm, **{n: v for n, v in usual.items() if n != "skin"}},
    }
    if forced_only:
        changes["forcing"] = [*studies.manifest().forcing, changes["prognostic"].pop()]
    return studies.checkpoint(folder / "tiny.pt", grid=GRID, **changes)


def planet_forcing(grid: Grid, num_years: int) -> xr.Dataset:
    """The planet's daily forcing with the mode as its only anomaly."""
    forcing = make_forcing(grid, num_years)
    day = np.arange(forcing.sizes["time"], dtype=np.float64)
    sst = seasonal_sst(grid, day % 365) + amplitude(day / 365.0)[:, None, None] * mode(grid)
    forcing[SURFACE][:] = sst.astype(np.float32)
    return forcing


def settled_months(grid: Grid, forcing: xr.Dataset, change_K: float) -> np.ndarray:
    """Monthly means [month, output, lat, lon] of the planet's equilibrium, which has no weather."""
    climate, means = Climate(grid), []
    used = forcing.isel(time=slice(0, -1))
    month = used["time"].dt.year.values * 12 + used["time"].dt.month.values
    sst, sunlight = (
        torch.as_tensor(used[name].values.astype(np.float64)) for name in (SURFACE, "DSWRFtoa")
    )
    for number in np.unique(month):
        own = month == number
        settled = climate.settled(sst[own] + change_K, sunlight[own])
        means.append(settled.mean(dim=0).numpy())
    return np.stack(means)
