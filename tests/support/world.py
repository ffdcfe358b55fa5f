"""A world of every output that the diagnostics know, whose answers can be written down."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from respeval.diagnostics import DiagnosticSettings
from respeval.fields.variables import Roles
from tests.support.means import GRID, continents, saved_means

AREA = GRID.area_weights()
LATITUDE = GRID.latitude[:, None] + 0.0 * GRID.longitude
LAND, OCEAN = continents(GRID)
BOX = LAND & (LATITUDE > 10.0) & (LATITUDE < 60.0)
SETTINGS = DiagnosticSettings(
    Roles("T", ("T",), "T", "T"), {"low": (0.0, 40.0), "high": (40.0, 90.0)}
)

#: Output -> baseline, and its change per unit of SST change; ACE's names and signs.
WORLD: Mapping[str, tuple[np.ndarray | float, np.ndarray | float]] = {
    "T": (288.0, np.where(LAND, 1.6, 1.0) * (1.0 + 0.01 * LATITUDE)),
    "PRATEsfc": (3e-5 * (1.0 + 0.5 * OCEAN), 1e-6 + 1e-8 * LATITUDE),
    "total_water_path": (25.0, 1.7),
    "ULWRFtoa": (240.0, 1.9 + 0.1 * LAND),
    "USWRFtoa": (99.0, -0.3),
    "DSWRFtoa": (340.0, 0.0),
    "CSULFtoa": (262.0, 2.2),
    "CSUSFtoa": (52.0, -0.2),
    "DSWRFsfc": (185.0, 0.1),
    "USWRFsfc": (24.0, 0.0),
    "DLWRFsfc": (340.0, 5.0),
    "ULWRFsfc": (398.0, 5.5),
    "LHTFLsfc": (85.0, 2.0),
    "SHTFLsfc": (17.0, -0.5),
    "Q2m": (0.01 * (1.0 - 0.4 * LAND), 7e-4 * (1.0 - 0.6 * LAND)),
    "RH2m": (75.0 + 0.0 * LATITUDE, -0.5 * LAND),
}
UNITS = {
    "T": "K",
    "PRATEsfc": "kg/m**2/s",
    "total_water_path": "kg/m**2",
    "Q2m": "kg/kg",
    "RH2m": "%",
}


def mean(field: np.ndarray | float, cells: np.ndarray | bool = True) -> float:
    """Area-weighted mean over these cells."""
    weights = AREA * cells
    return float((field * weights).sum() / weights.sum())


def world(
    amplitudes: tuple[float, ...] = (4.0,),
    names: tuple[str, ...] = tuple(WORLD),
    warming: np.ndarray | None = None,
) -> xr.Dataset:
    """zonal.nc of a baseline and of climates in which every output changes by amplitude × change.

    warming: a further change of T in the last climate, [sample, time].
    """
    num_samples, num_times = (1, 2) if warming is None else warming.shape
    ones = np.ones((num_samples, num_times, *GRID.shape))
    members = {}
    for name in names:
        base, change = WORLD[name]
        members[name] = np.stack([ones * (base + a * change) for a in (0.0, *amplitudes)])
    if warming is not None:
        members["T"][-1] += warming[..., None, None]
    groups = ("baseline", *(f"p{a:g}K" for a in amplitudes))
    _, zonal = saved_means(members, groups=groups)
    zonal = with_box(zonal, members)
    for name in names:
        zonal[name].attrs["units"] = UNITS.get(name, "W/m**2")
    return zonal


def with_box(zonal: xr.Dataset, members: Mapping[str, np.ndarray]) -> xr.Dataset:
    """The same with the land of `BOX` as one more surface."""
    box = zonal.sel(surface=["land"]).assign_coords(surface=["box"])
    box["area"][0] = (AREA * BOX).sum(1)
    for name, fields in members.items():
        with np.errstate(invalid="ignore"):
            box[name][..., 0, :] = (fields * BOX).sum(-1) / BOX.sum(-1)
    joined = xr.concat([zonal, box], "surface", data_vars="minimal")
    return joined.transpose("group", "sample", "time", "surface", "lat", ...)
