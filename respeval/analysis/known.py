"""Responses that are held against each other: a run's own, another run's, or those of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from respeval.diagnostics import BASELINE, response_maps
from respeval.diagnostics.maps import CELL_VARIABLES
from respeval.errors import InputError
from respeval.fields.grid import Grid
from respeval.fields.notices import Notices
from respeval.fields.records import as_numbers, in_order_of, open_record, read_whole
from respeval.fields.regrid import Conservative
from respeval.files.netcdf import open_saved
from respeval.run_folder.names import GROUP_MEANS, MANIFEST

#: Segments of group means that are in memory at once.
CHUNKS = {"time": 12}

PLANE = ("lat", "lon")
_DIMS = ("perturbation", *PLANE)


@dataclass(frozen=True, eq=False)
class KnownResponse:
    """A response on a grid.

    maps: outputs (perturbation, lat, lon) or, of any perturbation, (lat, lon); `NAME_stderr` where it
    is known, else it is taken to have no error. means: group_means.nc of a run, which the errors of
    regions are from.
    """

    where: str
    grid: Grid
    maps: xr.Dataset
    means: xr.Dataset | None = None

    def outputs(self) -> list[str]:
        """Names of what can be compared."""
        return [
            str(name)
            for name, variable in self.maps.data_vars.items()
            if set(variable.dims) in ({*PLANE}, {"perturbation", *PLANE})
            and variable.dtype.kind in "fiu"
        ]

    def only(self, names: Sequence[str]) -> KnownResponse:
        """The same with these outputs and their errors alone."""
        kept = [n for name in names for n in (name, f"{name}_stderr") if n in self.maps]
        others = [c for c in self.maps.coords if c not in (*PLANE, "perturbation")]
        maps = read_whole(self.where, self.maps[kept].drop_vars(others))
        means = self.means
        if means is not None:
            means = means[[*names, "count", "time_bnds", *CELL_VARIABLES]]
        return KnownResponse(self.where, self.grid, maps, means)

    def times(self, factors: Mapping[str, float]) -> KnownResponse:
        """The same in other units: outputs, their errors and the means they are from, multiplied."""

        def scaled(dataset: xr.Dataset) -> xr.Dataset:
            every = {
                n: f for name, f in factors.items() for n, f in ((name, f), (f"{name}_stderr", f))
            }
            changed = {n: dataset[n] * f for n, f in every.items() if f != 1.0 and n in dataset}
            return dataset.assign(changed)

        means = None if self.means is None else scaled(self.means)
        return KnownResponse(self.where, self.grid, scaled(self.maps), means)

    def response(self, name: str, labels: Sequence[str]) -> xr.DataArray:
        """An output, or its error, for these perturbations: (perturbation, lat, lon), float64."""
        values = self.maps[name]
        if "perturbation" in values.dims:
            values = values.assign_coords(
                perturbation=[str(p) for p in values["perturbation"].values]
            )
            values = values.sel(perturbation=list(labels))
        else:
            values = values.expand_dims(perturbation=list(labels))
        values = values.transpose("perturbation", *PLANE)
        return values.copy(data=as_numbers(self.where, values))

    def on(self, target: Grid) -> KnownResponse:
        """On another grid. The errors are those of the regridded means where those are at hand; else
        neighbouring cells are taken to err alike."""
        regrid = Conservative(self.grid, target)
        if self.means is None:
            maps = self.maps.map(regrid)
            return KnownResponse(self.where, target, maps)
        plain = [n for n, v in self.means.data_vars.items() if set(v.dims) >= set(PLANE)]
        means = self.means.drop_vars([*plain, *PLANE]).assign(
            {str(name): regrid(self.means[name]) for name in plain}
        )
        for mask in ("land_mask", "ocean_mask"):
            means[mask] = (means[mask] > 0.5).astype(np.int8)
        means["area_weight"] = (PLANE, target.area_weights())
        return KnownResponse(self.where, target, response_maps(means), means)


def open_reference(
    location: str, grid: Grid, notices: Notices | None = None, *, with_numbers: bool = True
) -> KnownResponse:
    """The reference, its cells in the order of `grid` where they are the same.

    notices: what is noticed in its files is told there. with_numbers: else a run's responses stay
    unknown, which take a while; all that they are called is told.
    """
    path = Path(location)
    if (path / MANIFEST).is_file():
        means = open_saved(path / GROUP_MEANS, CHUNKS)
        maps = response_maps(means) if with_numbers else _names_of_run(means)
        known = KnownResponse(location, _grid_of(maps, location), maps, means)
    else:
        record = open_record(location, notices, dated=False)
        single = [dim for dim, size in record.sizes.items() if size == 1 and dim not in _DIMS]
        maps = record.squeeze(single, drop=True)
        maps = maps.drop_dims([dim for dim in maps.dims if dim not in _DIMS])
        known = KnownResponse(location, _grid_of(maps, location), maps)
    return known_in_order(known, grid)


def _names_of_run(means: xr.Dataset) -> xr.Dataset:
    """A run's outputs and perturbations as in its responses; what the numbers are is not told."""
    first = means.isel(time=0, drop=True)
    kept = [name for name, value in first.data_vars.items() if {"group", *PLANE} == set(value.dims)]
    labels = [label for label in means["group"].values if label != BASELINE]
    for name in kept:  # of the means; a response is a difference
        first[name].attrs.pop("units_metadata", None)
    return first[kept].sel(group=labels).rename(group="perturbation")


def _grid_of(maps: xr.Dataset, location: str) -> Grid:
    try:
        return Grid.from_coordinates(maps["lat"].values, maps["lon"].values)
    except (KeyError, ValueError) as error:
        raise InputError(f"{location} is on no global grid ({error})") from None


def known_in_order(known: KnownResponse, grid: Grid) -> KnownResponse:
    """The same cells in another order: turned around in latitude, rolled in longitude."""
    if known.grid.shape != grid.shape:
        return known
    if grid.difference_from(known.grid.latitude, known.grid.longitude) is not None:
        return known
    means = None if known.means is None else in_order_of(known.means, grid)
    return KnownResponse(known.where, grid, in_order_of(known.maps, grid), means)
