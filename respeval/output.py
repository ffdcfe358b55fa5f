"""Files of a run: CF netCDF that appears whole or not at all, the manifest, the run's folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import xarray as xr

from respeval.accumulate import SURFACES, GroupSums
from respeval.calendar import DAY_S, to_date
from respeval.emulator import Variable
from respeval.errors import InputError
from respeval.grid import BoolArray, FloatArray, Grid
from respeval.records import NETCDF_LOCK
from respeval.segments import Segment

MANIFEST = "manifest.json"
CASE = "case.yaml"
GROUP_MEANS = "group_means.nc"
ZONAL = "zonal.nc"
RESPONSE = "response.nc"
DIAGNOSTICS_FILE = "diagnostics.nc"
SUMMARY = "summary.json"
FIGURES = "figures"
SEGMENTS = "segments"

_ZONAL_SUFFIX = "_zonal"
_MEMBER_SUFFIX = "_members"


def publish(path: Path, write: Any) -> None:
    """Call `write(temporary path)` in the same folder, flush it to the disk, and rename it to `path`.

    Raises InputError in one line where the folder can't be written or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.partial")
    try:
        write(temporary)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"{path} can't be written ({error.strerror or error})") from None


def write_netcdf(dataset: xr.Dataset, path: Path) -> None:
    """Write a dataset as netCDF-4, atomically; see `publish`. Coordinates and bounds get no fill."""
    dataset = dataset.copy()
    for name, variable in dataset.variables.items():
        if variable.dtype.kind in "fO" and (name in dataset.coords or str(name).endswith("_bnds")):
            variable.encoding = {**variable.encoding, "_FillValue": None}
    unlimited = ["time"] if "time" in dataset.dims else []

    def write(temporary: Path) -> None:
        with NETCDF_LOCK:
            dataset.to_netcdf(temporary, engine="netcdf4", unlimited_dims=unlimited)

    publish(path, write)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically; see `publish`."""
    publish(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically; see `publish`."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def open_saved(path: Path, chunks: Mapping[str, int] | None = None) -> xr.Dataset:
    """A file that respeval wrote, its times as cftime dates. Raises InputError where it is none."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; is {path.parent} the folder of a finished run?")
    try:
        return xr.open_dataset(
            path,
            engine="netcdf4",
            chunks=dict(chunks) if chunks is not None else None,
            decode_times=xr.coders.CFDatetimeCoder(use_cftime=True),
        )
    except (OSError, ValueError) as error:
        raise InputError(f"{path} can't be read ({str(error).splitlines()[0]})") from None


def global_attributes(title: str, provenance: Mapping[str, str]) -> dict[str, str]:
    """Attributes of every file: convention, title, and where the numbers come from."""
    import respeval

    return {
        "Conventions": "CF-1.11",
        "title": title,
        "source": f"respeval {respeval.__version__}",
        **provenance,
    }


def describe_file(dataset: xr.Dataset, source: xr.Dataset, title: str) -> None:
    """Give a dataset that was derived from `source` its coordinates' attributes and provenance."""
    dataset.attrs = {**source.attrs, "title": title}
    for name in ("lat", "lon"):
        if name in dataset.coords and name in source.coords:
            dataset[name].attrs = dict(source[name].attrs)
            dataset[f"{name}_bnds"] = source[f"{name}_bnds"].drop_vars(name, errors="ignore")


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

    def surface_masks(self) -> BoolArray:
        """Cells of each surface, [surface, lat, lon]."""
        return np.stack([np.ones(self.grid.shape, bool), self.land_mask, self.ocean_mask])

    def circle_areas(self) -> FloatArray:
        """Share of the globe's area in each surface's cells of each circle, [surface, lat]."""
        area: FloatArray = np.where(self.surface_masks(), self.area_weight, 0.0).sum(-1)
        return area

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

    def segment_dataset(self, segment: Segment, origin_s: int, means: GroupSums) -> xr.Dataset:
        """Everything of one segment: group means, circle means, and member means if they are kept."""
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
            attributes = {"units": output.units, "long_name": output.long_name}
            variables[output.name] = (
                ("group", "time", "lat", "lon"),
                field[:, None, i],
                {**attributes, "cell_methods": "time: mean"},
            )
            variables[output.name + _ZONAL_SUFFIX] = (
                ("group", "sample", "time", "surface", "lat"),
                zonal[:, :, None, :, i],
                {**attributes, "cell_methods": "time: lon: mean"},
            )
            if members is not None:
                variables[output.name + _MEMBER_SUFFIX] = (
                    ("group", "sample", "time", "lat", "lon"),
                    members[:, :, None, i],
                    {**attributes, "cell_methods": "time: mean"},
                )
        coordinates = {
            **grid_coordinates(self.grid),
            **_time_coordinates(segment, origin_s, self.calendar),
            **self._samples(),
            "group": ("group", list(self.groups), {"long_name": "experiment"}),
            "surface": ("surface", list(SURFACES), {"long_name": "cells of a latitude circle"}),
        }
        bounds = {name: coordinates.pop(name) for name in list(coordinates) if "_bnds" in name}
        attributes = global_attributes("means of a segment of a paired rollout", self.provenance)
        return xr.Dataset({**variables, **bounds}, coordinates, attributes)


def _counts(means: GroupSums) -> dict[str, Any]:
    attributes = {"long_name": "steps in the mean", "units": "1"}
    field, zonal = means.field_count.cpu().numpy(), means.zonal_count.cpu().numpy()
    return {
        "count": (("group", "time"), field[:, None], attributes),
        "count" + _ZONAL_SUFFIX: (("group", "sample", "time"), zonal[:, :, None], attributes),
    }


def join_segments(paths: Sequence[Path], folder: Path, provenance: Mapping[str, str]) -> None:
    """Write group_means.nc and zonal.nc from the segments' files, one segment in memory at a time."""
    with xr.open_mfdataset(
        [str(path) for path in paths],
        combine="nested",
        concat_dim="time",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="override",
        combine_attrs="override",
        decode_times=False,
        chunks={},
    ) as joined:
        names = [str(name) for name in joined.data_vars if not str(name).endswith(_MEMBER_SUFFIX)]
        zonal = [name for name in names if name.endswith(_ZONAL_SUFFIX)]
        group = [name for name in names if name not in zonal and name != "area"]
        means = joined[group].drop_vars(["surface", "sample", "start_date"], errors="ignore")
        circles = joined[[*zonal, "area", "time_bnds", "lat_bnds"]].drop_vars(
            "lon", errors="ignore"
        )
        circles = circles.rename({name: name.removesuffix(_ZONAL_SUFFIX) for name in zonal})
        for dataset, name, title in (
            (means, GROUP_MEANS, "group means of a paired rollout"),
            (circles, ZONAL, "means over the latitude circles of a paired rollout"),
        ):
            dataset.attrs = global_attributes(title, provenance)
            for variable in dataset.variables.values():
                variable.encoding.clear()
            write_netcdf(dataset, folder / name)


class RunOutput(Protocol):
    """Where a run's results go; only the root's goes anywhere."""

    def is_finished(self) -> bool: ...

    def begin(self, case_text: str) -> None: ...

    def publish_segment(self, segment: Segment, means: GroupSums) -> None: ...

    def join(self) -> None: ...

    def finish(self) -> None: ...

    def fail(self, reason: str) -> None: ...


class NoOutput:
    """The output of every process but the root."""

    def is_finished(self) -> bool:
        return False

    def begin(self, case_text: str) -> None:
        pass

    def publish_segment(self, segment: Segment, means: GroupSums) -> None:
        pass

    def join(self) -> None:
        pass

    def finish(self) -> None:
        pass

    def fail(self, reason: str) -> None:
        pass


@dataclass
class RunFolder:
    """The folder of a run on the root process; the manifest is the truth about it.

    `header` holds what makes a run this run: digest of the case, checkpoint, forcing, versions.
    """

    path: Path
    header: dict[str, Any]
    layout: Layout
    origin_s: int
    segments: list[dict[str, Any]] = field(default_factory=list)

    #: Entries of the header that must agree for a folder to hold the same run.
    IDENTITY = ("case_digest", "checkpoint_sha256")

    def is_finished(self) -> bool:
        """Whether the folder holds this very run, done; False where it is free for it.

        Makes the folder. Raises InputError where it holds something else or can't be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            present = {entry.name for entry in self.path.iterdir()}
        except OSError as error:
            raise InputError(f"{self.path} can't be made ({error.strerror})") from None
        if not present:
            return False
        if MANIFEST not in present:
            raise InputError(
                f"{self.path} is not empty and holds no respeval run; choose another folder with -o"
            )
        manifest = read_manifest(self.path)
        for key in self.IDENTITY:
            if manifest.get(key) != self.header[key]:
                raise InputError(
                    f"{self.path} holds another run (its {key.replace('_', ' ')} differs); choose "
                    "another folder with -o"
                )
        if manifest.get("status") != "finished":
            raise InputError(
                f"{self.path} holds an unfinished run of this case; choose another folder with -o "
                "or remove it"
            )
        return True

    def begin(self, case_text: str) -> None:
        """Write the resolved case and the first manifest."""
        try:
            (self.path / SEGMENTS).mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.path} can't be written ({error.strerror})") from None
        write_text(self.path / CASE, case_text)
        self._write_manifest("running")

    def publish_segment(self, segment: Segment, means: GroupSums) -> None:
        """Write a segment's file, then say so in the manifest."""
        name = f"{SEGMENTS}/{segment.file_name(self.layout.calendar)}"
        dataset = self.layout.segment_dataset(segment, self.origin_s, means)
        write_netcdf(dataset, self.path / name)
        self.segments.append(
            {
                "file": name,
                "first_step": segment.first_step,
                "stop_step": segment.stop_step,
                "spinup": segment.spinup,
            }
        )
        self._write_manifest("running")

    def finish(self) -> None:
        """Say that the run is complete."""
        self._write_manifest("finished")

    def fail(self, reason: str) -> None:
        """Say why the run ended early."""
        self._write_manifest("failed", reason)

    def join(self) -> None:
        """Write group_means.nc and zonal.nc from the segments that are not spin-up."""
        files = [self.path / entry["file"] for entry in self.segments if not entry["spinup"]]
        join_segments(files, self.path, self.layout.provenance)

    def _write_manifest(self, status: str, reason: str | None = None) -> None:
        content = {**self.header, "status": status, "segments": self.segments}
        if reason is not None:
            content["reason"] = reason
        write_json(self.path / MANIFEST, content)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run's folder. Raises InputError where there is none."""
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{folder} is no folder of a run: it has no {MANIFEST}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} can't be read ({error})") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} is no manifest: expected a JSON object")
    return content
