"""Consecutive states, as a training reads them."""

from __future__ import annotations

import numpy as np
import xarray as xr

from respeval.fields.grid import Grid
from tests.support.studies import GRID, forcing

STATES = ("air_temperature_0", "air_temperature_1", "rain")


def training(grid: Grid = GRID, num_times: int = 41) -> xr.Dataset:
    """Consecutive states and the forcing of the small checkpoint, with correlated random weather."""
    record = forcing(grid, num_times)
    draw = np.random.default_rng(0).normal(size=(len(STATES), num_times, *grid.shape)).cumsum(-1)
    for name, values in zip(STATES, draw, strict=True):
        scale, mean = (1e-5, 3e-5) if name == "rain" else (5.0, 280.0)
        units = {"units": "kg m-2 s-1" if name == "rain" else "K"}
        record[name] = (("time", "lat", "lon"), mean + scale * values, units)
    return record
