"""Conservative regridding between global latitude-longitude grids, through the library iris."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from respeval.errors import InputError
from respeval.fields.grid import FloatArray, Grid

#: A cell is missing where more than this share of it is missing in the source.
MOST_MISSING = 0.5


class Conservative:
    """Means of a field over the cells of another grid: Σ overlap·x / Σ overlap, areas on the sphere.

    Cells end half-way between their centres and at the poles, as `Grid.latitude_bounds` has it, so
    that means over the globe with those cells' areas stay the same.
    Raises InputError where iris is not installed.
    """

    def __init__(self, source: Grid, target: Grid) -> None:
        try:
            from iris.analysis import AreaWeighted
        except ImportError:
            raise InputError(
                f"the grids differ ({source} and {target}) and regridding needs iris; install it: "
                "pip install 'respeval[regrid]'"
            ) from None
        self._source, self._target = source, target
        scheme = AreaWeighted(mdtol=MOST_MISSING)
        self._regridder: Any = scheme.regridder(_cube(source), _cube(target))

    def __call__(self, field: xr.DataArray) -> xr.DataArray:
        """A field (…, lat, lon), which may be lazy, on the target's grid; NaN is missing."""
        plane = ["lat", "lon"]
        sizes = {"lat": self._target.num_lat, "lon": self._target.num_lon}
        regridded: xr.DataArray = xr.apply_ufunc(
            self._regrid,
            field.astype(np.float64),
            input_core_dims=[plane],
            output_core_dims=[plane],
            exclude_dims=set(plane),
            dask="parallelized",
            dask_gufunc_kwargs={"output_sizes": sizes},
            output_dtypes=[np.float64],
            keep_attrs=True,
        )
        return regridded.assign_coords(lat=self._target.latitude, lon=self._target.longitude)

    def _regrid(self, values: FloatArray) -> FloatArray:
        """[…, lat, lon] of the source to the same of the target."""
        stacked = np.ma.masked_invalid(values.reshape(-1, *self._source.shape))
        found = np.ma.filled(self._regridder(_cube(self._source, stacked)).data, np.nan)
        return np.asarray(found.reshape(*values.shape[:-2], *self._target.shape))


def _cube(grid: Grid, values: Any = None) -> Any:
    """A field […, lat, lon] as iris has it; without values, the grid alone."""
    from iris.coords import DimCoord
    from iris.cube import Cube

    axes = (
        ("latitude", grid.latitude, grid.latitude_bounds(), False),
        ("longitude", grid.longitude, grid.longitude_bounds(), True),
    )
    coords = [
        DimCoord(centres, name, units="degrees", bounds=bounds, circular=around)
        for name, centres, bounds, around in axes
    ]
    values = np.zeros(grid.shape) if values is None else values
    return Cube(
        values, dim_coords_and_dims=[(c, values.ndim - 2 + i) for i, c in enumerate(coords)]
    )
