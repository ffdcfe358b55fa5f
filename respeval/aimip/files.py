"""A CMIP file of one variable of one member: its header, and its months one after the other."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cftime
import netCDF4
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from respeval.aimip.cells import Cells
from respeval.aimip.members import Month
from respeval.aimip.request import EXPERIMENTS, MEMBER, MISSING, Place
from respeval.aimip.sources import Axis, Target
from respeval.fields.grid import FloatArray
from respeval.files.netcdf import NETCDF_LOCK
from respeval.files.publish import publish


@dataclass(frozen=True)
class Origin:
    """Who made a submission, and of what: texts for the files' attributes."""

    institution: str
    further_info_url: str
    checkpoint_sha256: str


def write_members(
    root: Path,
    places: Sequence[Place],
    target: Target,
    cells: Cells,
    months: Iterator[tuple[Month, FloatArray]],
    origin: Origin,
    within: Path,
) -> None:
    """Write a variable's files of all members, each atomically, one month in memory at once.

    months: each with [member, output, lat, lon], members in the order of `places`. within: the folder
    that files are written in before they get their places.
    """
    first, fields = next(months)
    units = f"days since {first.start.year:04d}-01-01"
    headers = [
        _header(place, target, cells, (first, _stored(target, cells, field)), origin, units)
        for place, field in zip(places, fields, strict=True)
    ]

    def write(temporaries: Sequence[Path]) -> None:
        with NETCDF_LOCK, ExitStack() as stack:
            for header, path in zip(headers, temporaries, strict=True):
                header.to_netcdf(path, engine="netcdf4", unlimited_dims=["time"])
            files = [stack.enter_context(netCDF4.Dataset(path, "a")) for path in temporaries]
            for row, (month, later) in enumerate(months, start=1):
                bounds = _bounds(month, units)
                for opened, field in zip(files, later, strict=True):
                    opened.variables["time"][row] = bounds.mean()
                    opened.variables["time_bnds"][row] = bounds
                    opened.variables[target.cmip.name][row] = _stored(target, cells, field)

    _publish_together([root / place.path for place in places], write, within)


def _publish_together(
    paths: Sequence[Path],
    write: Callable[[Sequence[Path]], None],
    within: Path,
    temporaries: tuple[Path, ...] = (),
) -> None:
    """`publish` several files that are written side by side: none appears before all are written."""
    if not paths:
        write(temporaries)
        return
    first, rest = paths[0], paths[1:]
    publish(
        first,
        lambda temporary: _publish_together(rest, write, within, (*temporaries, temporary)),
        within,
    )


def _stored(target: Target, cells: Cells, field: FloatArray) -> NDArray[np.float32]:
    """A month as the file holds it, [level, lat, lon] or [lat, lon]; missing values are CMIP's."""
    values = cells.stored(target.convert(field)).astype(np.float32)
    values[np.isnan(values)] = np.float32(MISSING)
    return values if target.axis is not None else values[0]


def _bounds(month: Month, units: str) -> FloatArray:
    calendar = month.start.calendar
    return np.asarray(cftime.date2num([month.start, month.end], units, calendar), np.float64)


def _header(
    place: Place,
    target: Target,
    cells: Cells,
    first: tuple[Month, NDArray[np.float32]],
    origin: Origin,
    units: str,
) -> xr.Dataset:
    """The file with its first month."""
    month, field = first
    bounds = _bounds(month, units)
    level, coordinates = _level_coordinates(target.axis)
    coordinates |= _plane_coordinates(cells)
    coordinates["time"] = (
        "time",
        bounds.mean(keepdims=True),
        {
            "standard_name": "time",
            "long_name": "time",
            "axis": "T",
            "units": units,
            "calendar": month.start.calendar,
            "bounds": "time_bnds",
        },
    )
    if target.cmip.height_m is not None:
        coordinates["height"] = ((), target.cmip.height_m, _HEIGHT)
    dims = ("time", *level, "lat", "lon")
    variables = {
        place.variable: (dims, field[None], _attributes(target)),
        "time_bnds": (("time", "bnds"), bounds[None]),
        "lat_bnds": (("lat", "bnds"), cells.latitude_bounds),
        "lon_bnds": (("lon", "bnds"), cells.longitude_bounds),
    }
    dataset = xr.Dataset(variables, coordinates, _global_attributes(place, cells, origin))
    for name in dataset.variables:
        dataset[name].encoding["_FillValue"] = None
    dataset["time"].encoding["chunksizes"] = (512,)
    dataset["time_bnds"].encoding["chunksizes"] = (512, 2)
    dataset[place.variable].encoding = {
        "_FillValue": np.float32(MISSING),
        "missing_value": np.float32(MISSING),
        "chunksizes": (1, *field.shape),
        "zlib": True,
        "complevel": 1,
        "shuffle": True,
    }
    return dataset


_HEIGHT = {
    "standard_name": "height",
    "long_name": "height",
    "units": "m",
    "axis": "Z",
    "positive": "up",
}


def _plane_coordinates(cells: Cells) -> dict[str, Any]:
    def described(name: str, axis: str, direction: str) -> dict[str, str]:
        return {
            "standard_name": name,
            "long_name": name.capitalize(),
            "units": f"degrees_{direction}",
            "axis": axis,
            "bounds": f"{name[:3]}_bnds",
        }

    return {
        "lat": ("lat", cells.latitude, described("latitude", "Y", "north")),
        "lon": ("lon", cells.longitude, described("longitude", "X", "east")),
    }


def _level_coordinates(axis: Axis | None) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The vertical dimension, if there is one, and its coordinates."""
    if axis is None:
        return (), {}
    if axis.layer is None:
        assert axis.pressure_hPa is not None
        attributes = {
            "standard_name": "air_pressure",
            "long_name": "pressure",
            "units": "Pa",
            "axis": "Z",
            "positive": "down",
        }
        return ("plev",), {"plev": ("plev", 100.0 * axis.pressure_hPa, attributes)}
    attributes = {
        "standard_name": "model_level_number",
        "long_name": "number of the model layer, counted from the top",
        "units": "1",
        "axis": "Z",
        "positive": "down",
    }
    found: dict[str, Any] = {"lev": ("lev", np.array(axis.layer, np.float64), attributes)}
    if axis.pressure_hPa is not None:
        nominal = {"long_name": "nominal pressure of the model layer", "units": "Pa"}
        found["layer_pressure"] = ("lev", 100.0 * axis.pressure_hPa, nominal)
    return ("lev",), found


def _attributes(target: Target) -> dict[str, Any]:
    cmip = target.cmip
    found: dict[str, Any] = {
        "standard_name": cmip.standard_name,
        "long_name": cmip.long_name,
        "units": cmip.units,
        "cell_methods": cmip.cell_methods,
        "cell_measures": "area: areacella",
        "original_name": " ".join(target.outputs),
        "original_units": target.units,
    }
    if cmip.positive is not None:
        found["positive"] = cmip.positive
    if target.comment is not None:
        found["comment"] = target.comment
    return found


def _global_attributes(place: Place, cells: Cells, origin: Origin) -> dict[str, Any]:
    import respeval

    numbers = MEMBER.fullmatch(place.member)
    assert numbers is not None
    realization, initialization, physics, forcing = map(int, numbers.groups())
    created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    amplitude = EXPERIMENTS[place.experiment]
    change = f", SST raised by {amplitude:g} K over all ocean" if amplitude else ""
    return {
        "Conventions": "CF-1.7 CMIP-6.2",
        "activity_id": "AIMIP",
        "creation_date": created,
        "data_specs_version": "01.00.33",
        "experiment": f"AIMIP phase 1: prescribed historical SST and sea ice{change}",
        "experiment_id": place.experiment,
        "external_variables": "areacella",
        "forcing_index": np.int32(forcing),
        "frequency": "mon",
        "further_info_url": origin.further_info_url,
        "grid": cells.description,
        "grid_label": place.grid,
        "history": f"{created} monthly means of a rollout, written by respeval export aimip",
        "initialization_index": np.int32(initialization),
        "institution": origin.institution,
        "institution_id": place.institute,
        "license": (
            f"{origin.institution} gives this file under the Creative Commons Attribution 4.0 "
            "International license (https://creativecommons.org/licenses/by/4.0/)"
        ),
        "mip_era": "CMIP6",
        "nominal_resolution": cells.nominal_resolution(),
        "physics_index": np.int32(physics),
        "product": "model-output",
        "realization_index": np.int32(realization),
        "realm": "atmos",
        "source": (
            f"{place.model}: checkpoint with SHA-256 {origin.checkpoint_sha256}, run by respeval "
            f"{respeval.__version__}"
        ),
        "source_id": place.model,
        "source_type": "AGCM",
        "sub_experiment": "none",
        "sub_experiment_id": "none",
        "table_id": "Amon",
        "title": f"{place.model} output prepared for AIMIP phase 1",
        "tracking_id": str(uuid.uuid4()),
        "variable_id": place.variable,
        "variant_label": place.member,
    }
