"""States, forcing and noise for one step of a small emulator; forcing from the studies' files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cftime
import torch
import xarray as xr

from respeval.emulator.noise import CounterNoise
from respeval.fields.calendar import Duration
from respeval.fields.forcing import Forcing
from respeval.fields.grid import Grid
from respeval.fields.variables import Variable
from tests.support.studies import GRID

NAMES = ("ocean_fraction", "sunlight", "skin")


def inputs(num_members: int = 3, grid: Grid = GRID) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    state = 280 + 5 * torch.randn(num_members, 3, *grid.shape, generator=generator)
    forcing = torch.rand(2, num_members, 3, *grid.shape, generator=generator)
    forcing[:, :, 2] += 290.0
    return state, forcing[0], forcing[1]


def noise(*samples: int, step: int = 0) -> CounterNoise:
    return CounterNoise(7, [(sample, 0) for sample in samples], step)


def start_dates(*days: int) -> list[cftime.datetime]:
    return [cftime.datetime(2001, 1, 1 + day, calendar="noleap") for day in days]


def open_forcing(location: Path | str, num_steps: int = 20, **changes: Any) -> Forcing:
    options: dict[str, Any] = {
        "starts": start_dates(0),
        "grid": GRID,
        "timestep_s": 86_400,
        "aliases": {},
        "units": {"skin": "K", "ocean_fraction": "1"},
        "roles": {"ocean_fraction": "ocean_fraction", "skin": "surface_temperature"},
        "ocean_only": "skin",
        "ocean_fraction": "ocean_fraction",
    }
    names = changes.pop("names", NAMES)
    length = Duration(num_steps, "step")
    return Forcing(str(location), names, duration=length, **{**options, **changes})


def write(folder: Path, dataset: xr.Dataset) -> Path:
    path = folder / "forcing.nc"
    dataset.to_netcdf(path)
    return path


def kelvin(*names: str) -> list[Variable]:
    return [Variable(name, "K", name) for name in names]
