"""Circles of latitude that no main diagnostic tells apart, as one: the same means from fewer numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from respeval.diagnostics.per_kelvin import POLAR_LAT_MIN
from respeval.diagnostics.regions import DiagnosticSettings
from respeval.fields.grid import in_band


@dataclass(frozen=True, eq=False)
class MergedCircles:
    """Zones that lie in the same bands, tropics and polar caps, and how circles make them.

    area: (surface, lat), of the zones; `lat` is the latitude of a circle in each. shares: (surface,
    zone, lat), of the circles in the area of each zone; 0 where it has no cell.
    """

    area: xr.DataArray
    shares: xr.DataArray

    @classmethod
    def of(cls, area: xr.DataArray, settings: DiagnosticSettings) -> MergedCircles:
        """area: (surface, lat), of the circles."""
        latitude = area["lat"].values
        regions = [*settings.bands.values(), (0.0, settings.tropical_lat_max)]
        belongs = [in_band(latitude, low, high) for low, high in regions]
        belongs += [latitude >= POLAR_LAT_MIN, latitude <= -POLAR_LAT_MIN]
        _, first, zone = np.unique(
            np.array(belongs), axis=1, return_index=True, return_inverse=True
        )
        inside = np.arange(first.size)[:, None] == np.ravel(zone)
        parts = xr.DataArray(inside, dims=("zone", "lat")) * area.drop_vars("lat")
        whole = parts.sum("lat")
        shares = parts / whole.where(whole > 0, 1.0)
        merged = whole.rename(zone="lat").assign_coords(lat=latitude[first])
        return cls(merged.transpose("surface", "lat"), shares)

    def merge(self, values: xr.DataArray) -> xr.DataArray:
        """Means over circles (…, surface, lat) to means over zones, same dimensions."""
        known = values.drop_vars("lat").where((self.shares > 0).any("zone"), 0.0)
        merged = xr.dot(known, self.shares, dim="lat").rename(zone="lat")
        zones: xr.DataArray = merged.assign_coords(lat=self.area["lat"]).where(self.area > 0)
        return zones
