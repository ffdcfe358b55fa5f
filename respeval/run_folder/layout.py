"""What the files of a run look like inside: dimensions, coordinates, masks and attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from respeval.errors import InputError
from respeval.fields.calendar import DAY_S, to_date
from respeval.fields.grid import SURFACES, BoolArray, FloatArray, Grid
from respeval.fields.records import read_whole
from respeval.fields.standard_names import standard_name, temperature_metadata
from respeval.fields.variables import Variable
from respeval.files.netcdf import global_attributes, open_saved
from respeval.rollout.forced import ForcedFlux
from respeval.rollout.segments import Segment
from respeval.rollout.sums import GroupSums, circle_means
from respeval.run_folder.names import MEMBER_SUFFIX, ZONAL_SUFFIX


def grid_coordinates(grid: Grid) -> dict[str, Any]:
    """Latitude and longitude with their bounds, as CF coordinate variables."""
    return {
        "lat": (
            "lat",
            grid.latitude,
            {
                "standard_name": "latitude",
                "long_name": "latitude",
                "units": "degrees_north",
                "axis": "Y",
                "bounds": "lat_bnds",
            },
        ),
        "lon": (
            "lon",
            grid.longitude,
            {
                "standard_name": "longitude",
                "long_name": "longitude",
                "units": "degrees_east",
                "axis": "X",
                "bounds": "lon_bnds",
            },
        ),
        "lat_bnds": (("lat", "bnds"), grid.latitude_bounds()),
        "lon_bnds": (("lon", "bnds"), grid.longitude_bounds()),
    }


def _time_coordinates(segment: Segment, origin_s: int, calendar: str) -> dict[str, Any]:
    units = f"days since {to_date(origin_s, calendar).strftime('%Y-%m-%d %H:%M:%S')}"
    bounds = np.array([[segment.start_s - origin_s, segment.end_s - origin_s]]) / DAY_S
    attributes = {
        "standard_name": "time",
        "long_name": "time",
        "units": units,
        "calendar": calendar,
        "axis": "T",
        "bounds": "time_bnds",
    }
    return {
        "time": ("time", bounds.mean(axis=1), attributes),
        "time_bnds": (("time", "bnds"), bounds),
    }


@dataclass(frozen=True)
class Layout:
    """What every file of a run says of its cells, groups and samples.

    ocean_mask, land_mask: [lat, lon]; area_weight: [lat, lon], sums to 1.
    ocean_fraction: [lat, lon], mean over the run's forcing. starts: start date of each sample.
    boxes: name -> cells [lat, lon] whose land is a surface of its own. fluxes: forcing that the segments
    hold circle means of.
    """

    grid: Grid
    outputs: tuple[Variable, ...]
    groups: tuple[str, ...]
    starts: tuple[Any, ...]
    calendar: str
    ocean_fraction: FloatArray
    ocean_mask: BoolArray
    land_mask: BoolArray
    area_weight: FloatArray
    provenance: dict[str, str] = field(default_factory=dict)
    boxes: Mapping[str, BoolArray] = field(default_factory=dict)
    fluxes: tuple[ForcedFlux, ...] = ()

    def surface_masks(self) -> BoolArray:
        """Cells of each surface, [surface, lat, lon]."""
        land = [cells & self.land_mask for cells in self.boxes.values()]
        return np.stack([np.ones(self.grid.shape, bool), self.land_mask, self.ocean_mask, *land])

    def circle_areas(self) -> FloatArray:
        """Share of the globe's area in each surface's cells of each circle, [surface, lat]."""
        area: FloatArray = np.where(self.surface_masks(), self.area_weight, 0.0).sum(-1)
        return area

    def with_masks_of(self, path: Path) -> Layout:
        """The same with the masks of a segment's file: a run that goes on keeps its masks, and has the
        fluxes that it had, which an earlier respeval did not keep."""
        with open_saved(path) as segment:
            lacking = [output.name for output in self.outputs if output.name not in segment]
            if lacking:
                raise InputError(f"{path} is no segment of this run: it has no {lacking[0]!r}")
            names = ("mean_ocean_fraction", "ocean_mask", "land_mask")
            for name in names:
                field = segment.get(name)
                if (
                    field is None
                    or field.shape != self.grid.shape
                    or field.dtype.kind not in "fiub"
                ):
                    raise InputError(f"{path} is no segment of this run: it has no field {name!r}")
            fraction, ocean, land = (read_whole(str(path), segment[name]).values for name in names)
            fluxes = [f for f in self.fluxes if f.variable.name + ZONAL_SUFFIX in segment]
            return replace(
                self,
                ocean_fraction=fraction,
                ocean_mask=ocean == 1,
                land_mask=land == 1,
                fluxes=tuple(fluxes),
            )

    def _fields(self) -> dict[str, Any]:
        flags = {"flag_values": np.array([0, 1], np.int8), "units": "1"}
        plane = ("lat", "lon")
        return {
            "area_weight": (
                plane,
                self.area_weight,
                {"long_name": "share of the area of the globe", "units": "1"},
            ),
            "mean_ocean_fraction": (
                plane,
                self.ocean_fraction,
                {
                    "long_name": "ocean fraction, mean over the forcing of the run",
                    "units": "1",
                    "cell_methods": "time: mean",
                },
            ),
            "ocean_mask": (
                plane,
                self.ocean_mask.astype(np.int8),
                {"long_name": "ocean cells", "flag_meanings": "other ocean", **flags},
            ),
            "land_mask": (
                plane,
                self.land_mask.astype(np.int8),
                {"long_name": "land cells", "flag_meanings": "other land", **flags},
            ),
        }

    def _samples(self) -> dict[str, Any]:
        dates = [date.strftime("%Y-%m-%d %H:%M:%S") for date in self.starts]
        return {
            "sample": ("sample", np.arange(len(dates)), {"long_name": "sample", "units": "1"}),
            "start_date": ("sample", dates, {"long_name": "date of the initial condition"}),
        }

    def segment_dataset(
        self,
        segment: Segment,
        origin_s: int,
        means: GroupSums,
        forced: FloatArray | None = None,
    ) -> xr.Dataset:
        """Everything of one segment: group means, circle means, and member means if they are kept.

        forced: means of `fluxes`, [sample, flux, lat, lon], where there are any.
        Time comes first in the group means, which is the one order in which CDO reads them.
        """
        area = self.circle_areas()
        zonal = np.where(area[:, None, :] > 0, means.zonal.cpu().numpy(), np.nan)
        field = means.field.cpu().numpy()
        members = None if means.member is None else means.member.cpu().numpy()
        variables: dict[str, Any] = {**self._fields(), **_counts(means)}
        variables["area"] = (
            ("surface", "lat"),
            area,
            {"long_name": "share of the area of the globe in the cells of a circle", "units": "1"},
        )
        for i, output in enumerate(self.outputs):
            attributes = output_attributes(output)
            variables[output.name] = (
                ("time", "group", "lat", "lon"),
                field[None, :, i],
                {**attributes, "cell_methods": "time: mean"},
            )
            variables[output.name + ZONAL_SUFFIX] = (
                ("group", "sample", "time", "surface", "lat"),
                zonal[:, :, None, :, i],
                {**attributes, "cell_methods": "time: longitude: mean"},
            )
            if members is not None:
                variables[output.name + MEMBER_SUFFIX] = (
                    ("group", "sample", "time", "lat", "lon"),
                    members[:, :, None, i],
                    {**attributes, "cell_methods": "time: mean"},
                )
        if forced is not None:
            variables |= self._circles_of(forced, area)
        coordinates = {
            **grid_coordinates(self.grid),
            **_time_coordinates(segment, origin_s, self.calendar),
            **self._samples(),
            "group": ("group", list(self.groups), {"long_name": "experiment"}),
            "surface": (
                "surface",
                [*SURFACES, *self.boxes],
                {"long_name": "cells of a latitude circle"},
            ),
        }
        bounds = {name: coordinates.pop(name) for name in list(coordinates) if "_bnds" in name}
        attributes = global_attributes("means of a segment of a paired rollout", self.provenance)
        return xr.Dataset({**variables, **bounds}, coordinates, attributes)

    def _circles_of(self, forced: FloatArray, area: FloatArray) -> dict[str, Any]:
        """Means of `fluxes` over the cells of each circle: they have no group."""
        masks = torch.from_numpy(self.surface_masks())
        fields = torch.from_numpy(forced)
        circles = torch.stack([circle_means(fields, mask) for mask in masks], dim=2).numpy()
        known = np.where(area > 0, circles, np.nan)
        return {
            flux.variable.name + ZONAL_SUFFIX: (
                ("sample", "time", "surface", "lat"),
                known[:, i, None],
                {
                    **output_attributes(flux.variable),
                    "comment": flux.comment,
                    "cell_methods": "time: longitude: mean",
                },
            )
            for i, flux in enumerate(self.fluxes)
        }


def output_attributes(output: Variable) -> dict[str, str]:
    """Attributes of an output, with its standard name where there is one."""
    named = standard_name(output.name, output.units)
    described = {"units": output.units or "1", "long_name": output.long_name}
    described |= temperature_metadata(output.units, "on_scale")
    return {"standard_name": named, **described} if named else described


def _counts(means: GroupSums) -> dict[str, Any]:
    attributes = {"long_name": "steps in the mean", "units": "1"}
    field, zonal = means.field_count.cpu().numpy(), means.zonal_count.cpu().numpy()
    return {
        "count": (("time", "group"), field[None], attributes),
        "count" + ZONAL_SUFFIX: (("group", "sample", "time"), zonal[:, :, None], attributes),
    }
