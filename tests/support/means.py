"""Saved means of small worlds, as a run writes them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import cftime
import numpy as np
import xarray as xr

from respeval.diagnostics import DiagnosticSettings
from respeval.fields.grid import Grid
from respeval.fields.variables import Roles


def run_of(num_times: int, num_samples: int = 2, blown_up: int | None = None) -> xr.Dataset:
    """zonal.nc of a noisy response to two perturbations, monthly; the last sample counts no more from
    the segment `blown_up` on."""
    rng = np.random.default_rng(3)
    land, _ = continents(GRID)
    change = np.where(land, 1.5, 1.0) * np.array([0.0, 2.0, 4.0]).reshape(3, 1, 1, 1, 1)
    noise = rng.normal(0.0, 0.3, (3, num_samples, num_times, 1, 1))
    local = np.where(land, rng.normal(0.0, 0.3, (3, num_samples, num_times, 1, 1)), 0.0)
    count = rng.integers(1, 9, (3, num_samples, num_times)).astype(float)
    if blown_up is not None:
        count[:, -1, blown_up:] = 0.0
    low = 288.0 + change + noise + local
    top = 1.2 * low - 70.0 + rng.normal(0.0, 0.3, noise.shape)
    _, zonal = saved_means(two_levels(low, top), count, groups=("baseline", "p2K", "p4K"))
    return zonal


ROLES = Roles("t_low", ("t_top", "t_low"), "t_low", "t_top")
SETTINGS = DiagnosticSettings(ROLES, levels_hPa=(200.0, 980.0))
GRID = Grid.legendre_gauss(12, 24)


def continents(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Land and ocean masks with land in every latitude but the southernmost, and polar sea ice."""
    longitude, latitude = np.meshgrid(grid.longitude, grid.latitude)
    land = (longitude < 100) & (latitude > -60)
    sea_ice = ~land & (latitude > 75)
    return land, ~land & ~sea_ice


def months(num_months: int, first: tuple[int, int] = (2001, 1)) -> xr.Dataset:
    """`time` and `time_bnds` of consecutive months of a noleap calendar."""
    start = first[0] * 12 + first[1] - 1
    edges = [
        cftime.DatetimeNoLeap((start + k) // 12, (start + k) % 12 + 1, 1)
        for k in range(num_months + 1)
    ]
    middle = [a + (b - a) / 2 for a, b in pairwise(edges)]
    bounds = np.array([edges[:-1], edges[1:]]).T
    return xr.Dataset({"time_bnds": (("time", "bnds"), bounds)}, coords={"time": middle})


def saved_means(
    members: Mapping[str, np.ndarray],
    count: np.ndarray | None = None,
    grid: Grid = GRID,
    masks: tuple[np.ndarray, np.ndarray] | None = None,
    groups: tuple[str, ...] = ("baseline", "p4K"),
    times: xr.Dataset | None = None,
) -> tuple[xr.Dataset, xr.Dataset]:
    """group_means.nc and zonal.nc of members' segment means [group, sample, time, lat, lon].

    count: [group, sample, time], steps in each; default 120 everywhere.
    """
    shape = next(iter(members.values())).shape
    if count is None:
        count = np.full(shape[:3], 120.0)
    land, ocean = continents(grid) if masks is None else masks
    area = grid.area_weights()
    coords = {"group": list(groups), "lat": grid.latitude, "lon": grid.longitude}
    times = months(shape[2]) if times is None else times
    group_means = xr.Dataset(coords=coords).merge(times)
    zonal = xr.Dataset(coords={**coords, "surface": ["all", "land", "ocean"]}).merge(times)
    zonal = zonal.drop_vars("lon")
    group_means["count"] = (("group", "time"), count.sum(1))
    zonal["count"] = (("group", "sample", "time"), count)
    for name, field in (
        ("ocean_mask", ocean.astype("int8")),
        ("land_mask", land.astype("int8")),
        ("area_weight", area),
        ("mean_ocean_fraction", 1.0 - land),
    ):
        group_means[name] = (("lat", "lon"), field)
    surfaces = [np.ones(grid.shape, bool), land, ocean]
    zonal["area"] = (("surface", "lat"), np.stack([(area * s).sum(1) for s in surfaces]))
    attributes = {"units": "K", "long_name": "air temperature"}
    with np.errstate(invalid="ignore"):
        for name, x in members.items():
            steps = count[..., None, None]
            total = np.where(steps > 0, steps * x, 0.0).sum(1)
            mean = total / count.sum(1)[..., None, None]
            group_means[name] = (("group", "time", "lat", "lon"), mean, attributes)
            circles = np.stack([(x * s).sum(-1) / s.sum(-1) for s in surfaces], axis=3)
            circles = np.where(steps > 0, circles, np.nan)
            dims = ("group", "sample", "time", "surface", "lat")
            zonal[name] = (dims, circles, attributes)
    return group_means, zonal


def weather(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def two_levels(low: np.ndarray, top: np.ndarray | None = None) -> dict[str, np.ndarray]:
    return {"t_low": low, "t_top": low - 70.0 if top is None else top}
