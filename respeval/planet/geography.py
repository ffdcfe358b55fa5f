"""Continents on any grid, and the fixed maps that the planet's climate is built on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from respeval.emulator.contract import OCEAN_CUTOFF
from respeval.fields.grid import BoolArray, FloatArray, Grid

LAND_MASK_FILE = Path(__file__).with_name("land_mask.npz")
MASK_SHAPE = (360, 720)

#: Deserts as bumps: latitude, longitude of the centre, half-widths in latitude and longitude, degrees.
DESERTS = (
    (23.0, 12.0, 10.0, 28.0),
    (25.0, 50.0, 10.0, 18.0),
    (40.0, 80.0, 8.0, 30.0),
    (32.0, 248.0, 8.0, 12.0),
    (-25.0, 132.0, 9.0, 18.0),
    (-24.0, 20.0, 8.0, 10.0),
    (-24.0, 291.0, 10.0, 6.0),
)


def mask_centres() -> tuple[FloatArray, FloatArray]:
    """Latitudes, north to south, and longitudes of the stored mask's cell centres, degrees."""
    num_lat, num_lon = MASK_SHAPE
    latitude = 90.0 - (np.arange(num_lat) + 0.5) * 180.0 / num_lat
    return latitude, (np.arange(num_lon) + 0.5) * 360.0 / num_lon


def read_land_mask(path: Path = LAND_MASK_FILE) -> BoolArray:
    """The stored mask [360 lat, 720 lon], true on land, north to south, from 0 to 360 east."""
    with np.load(path) as stored:
        shape = tuple(int(size) for size in stored["shape"])
        bits = np.unpackbits(stored["packed"], count=shape[0] * shape[1])
    return bits.reshape(shape).astype(bool)


def land_fraction_on(grid: Grid) -> FloatArray:
    """Share of each cell's area that is land, [lat, lon], from the stored half-degree mask."""
    mask = read_land_mask().astype(np.float64)
    rows = _overlap(
        np.sin(np.radians(grid.latitude_bounds())), _edges(MASK_SHAPE[0], latitude=True)
    )
    west_east = grid.longitude_bounds()
    columns = np.zeros((grid.num_lon, MASK_SHAPE[1]))
    for turn in (-360.0, 0.0, 360.0):
        columns += _overlap(west_east + turn, _edges(MASK_SHAPE[1], latitude=False))
    rows /= rows.sum(axis=1, keepdims=True)
    columns /= columns.sum(axis=1, keepdims=True)
    return np.clip(rows @ mask @ columns.T, 0.0, 1.0)


def _edges(num: int, latitude: bool) -> FloatArray:
    """Bounds [num, 2] of the stored mask's cells: sin(latitude) or degrees east."""
    if latitude:
        edges = np.sin(np.radians(np.linspace(90.0, -90.0, num + 1)))
    else:
        edges = np.linspace(0.0, 360.0, num + 1)
    return np.stack([edges[:-1], edges[1:]], axis=1)


def _overlap(cells: FloatArray, pieces: FloatArray) -> FloatArray:
    """Length of the common part of every cell and every piece, [cell, piece]; bounds in any order."""
    low, high = np.sort(cells, axis=1).T
    piece_low, piece_high = np.sort(pieces, axis=1).T
    common = np.minimum(high[:, None], piece_high) - np.maximum(low[:, None], piece_low)
    return np.asarray(np.maximum(common, 0.0))


@dataclass(frozen=True, eq=False)
class Geography:
    """Fixed maps [lat, lon] of the planet.

    ocean_fraction, land_fraction: shares of the cell's area, adding up to 1.
    ocean: cells whose surface temperature is prescribed, ocean fraction > 0.5.
    aridity: 0 to 1, one in the heart of a desert.
    humidity_ratio: specific humidity over land, divided by that over the ocean nearby.
    land_offset_K: how much warmer land is than the ocean nearby in the annual mean.
    storminess: amplitude of the weather, about 0.5 in the tropics and 1.5 in the storm tracks.
    precipitation: reference precipitation, kg/m**2/s.
    albedo: reference planetary albedo.
    """

    ocean_fraction: FloatArray
    land_fraction: FloatArray
    ocean: BoolArray
    aridity: FloatArray
    humidity_ratio: FloatArray
    land_offset_K: FloatArray
    storminess: FloatArray
    precipitation: FloatArray
    albedo: FloatArray

    @classmethod
    def on(cls, grid: Grid) -> Geography:
        """The maps on this grid."""
        latitude = np.broadcast_to(grid.latitude[:, None], grid.shape)
        longitude = np.broadcast_to(grid.longitude[None, :], grid.shape)
        land = land_fraction_on(grid)
        aridity = np.zeros(grid.shape)
        for center_lat, center_lon, half_lat, half_lon in DESERTS:
            across = (longitude - center_lon + 180.0) % 360.0 - 180.0
            distance = ((latitude - center_lat) / half_lat) ** 2 + (across / half_lon) ** 2
            aridity = np.maximum(aridity, np.exp(-distance))
        poleward = np.abs(latitude)
        tracks = np.exp(-(((poleward - 45.0) / 14.0) ** 2))
        basin = 1.0 + 0.25 * np.cos(np.radians(2.0 * (longitude - 170.0)))
        rain = 6.0 * _bell(latitude - 5.0, 9.0) + 3.0 * _bell(poleward - 45.0, 13.0) + 0.4
        day_s = 86400.0
        return cls(
            ocean_fraction=1.0 - land,
            land_fraction=land,
            ocean=(1.0 - land) > OCEAN_CUTOFF,
            aridity=aridity,
            humidity_ratio=0.84 - 0.24 * aridity,
            land_offset_K=2.0 + 4.0 * aridity - 45.0 * (poleward / 90.0) ** 4,
            storminess=0.5 + tracks * basin,
            precipitation=rain * (1.0 - 0.85 * aridity * land) / day_s,
            albedo=0.24 + 0.3 * np.sin(np.radians(latitude)) ** 2 + 0.08 * aridity * land,
        )


def _bell(distance: FloatArray, width: float) -> FloatArray:
    return np.exp(-0.5 * (distance / width) ** 2)
