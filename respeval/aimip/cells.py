"""A grid as CMIP stores and names it."""

from __future__ import annotations

import numpy as np

from respeval.fields.grid import FloatArray, Grid

_EARTH_RADIUS_KM = 6371.0

#: CMIP6's classes of resolution: from this mean width of the cells on, km -> what it is called.
_RESOLUTIONS = (
    (3600.0, "5000 km"),
    (1600.0, "2500 km"),
    (720.0, "1000 km"),
    (360.0, "500 km"),
    (160.0, "250 km"),
    (72.0, "100 km"),
    (36.0, "50 km"),
    (16.0, "25 km"),
    (0.0, "10 km"),
)


class Cells:
    """A grid as CMIP stores it: latitudes from south to north, longitudes from 0 to 360."""

    def __init__(self, grid: Grid) -> None:
        longitude = grid.longitude % 360.0
        self._flip = grid.north_to_south
        self._turn = -int(longitude.argmin())
        step = -1 if self._flip else 1
        self.latitude = grid.latitude[::step]
        self.latitude_bounds = grid.latitude_bounds()[::step, ::step]
        self.longitude = np.roll(longitude, self._turn)
        half = 180.0 / grid.num_lon
        self.longitude_bounds = np.stack([self.longitude - half, self.longitude + half], axis=1)
        self.description = (
            f"{grid.kind} grid of {grid.num_lat} latitudes x {grid.num_lon} longitudes"
        )

    def stored(self, fields: FloatArray) -> FloatArray:
        """Fields [..., lat, lon] of the grid in the stored order."""
        turned: FloatArray = np.roll(fields, self._turn, axis=-1)
        return turned[..., ::-1, :] if self._flip else turned

    def width_km(self) -> float:
        """Mean over the globe of the cells' longest distance between corners, as CMIP6 defines it."""
        south, north = np.radians(self.latitude_bounds).T
        span = np.radians(360.0 / self.longitude.size)
        cosine = np.sin(south) * np.sin(north) + np.cos(south) * np.cos(north) * np.cos(span)
        diagonal = np.arccos(np.clip(cosine, -1.0, 1.0))
        area = np.sin(north) - np.sin(south)
        return float(_EARTH_RADIUS_KM * (area * diagonal).sum() / area.sum())

    def nominal_resolution(self) -> str:
        width = self.width_km()
        return next(name for least, name in _RESOLUTIONS if width >= least)
