"""Forcing records and initial conditions from netCDF files or zarr, checked, read window by window."""

from __future__ import annotations

import glob
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cftime
import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from respeval.calendar import (
    Seconds,
    canonical_calendar,
    decode_seconds,
    parse_date,
    to_date,
    to_seconds,
)
from respeval.errors import InputError
from respeval.grid import FloatArray, Grid

#: Held around every read and write of netCDF: the library is not safe to enter from two threads.
NETCDF_LOCK = threading.Lock()

#: Masks are the mean over at most this many times of the period.
MAX_MASK_TIMES = 400

_WINDOW_BYTES = 64 * 2**20
_LATITUDE_NAMES = ("lat", "latitude", "grid_yt", "y")
_LONGITUDE_NAMES = ("lon", "longitude", "grid_xt", "x")


def open_record(location: str) -> xr.Dataset:
    """Open netCDF files, a glob or a zarr store lazily, dimensions named (time, lat, lon).

    The coordinate `time`, where there is one, is in whole seconds (see `calendar`), its CF calendar
    in the attribute `calendar` of the result. Raises InputError where nothing can be opened.
    """
    path = Path(location)
    try:
        if path.is_dir() or path.suffix == ".zarr":
            if not path.exists():
                raise InputError(f"{location}: no such file or zarr store")
            opened = xr.open_zarr(location, decode_times=False, consolidated=None)
            return _standard_names(opened, location)
        files = sorted(glob.glob(location)) if glob.has_magic(location) else [location]
        if not files or not all(Path(file).is_file() for file in files):
            raise InputError(f"{location}: no such file")
        return _open_files(files, location)
    except InputError:
        raise
    except Exception as error:  # the backends raise whatever they like for a broken file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{location} can't be read as netCDF or zarr ({reason})") from None


def _open_files(files: list[str], location: str) -> xr.Dataset:
    with NETCDF_LOCK:
        parts = [
            _standard_names(xr.open_dataset(f, decode_times=False, chunks={"time": 32}), f)
            if _has_time(f)
            else _standard_names(xr.open_dataset(f, decode_times=False, chunks={}), f)
            for f in files
        ]
    calendars = {part.attrs["calendar"] for part in parts if "time" in part.dims}
    if len(calendars) > 1:
        raise InputError(
            f"{location}: the files differ in calendar ({', '.join(sorted(calendars))})"
        )
    if len(parts) == 1:
        return parts[0]
    merged = xr.combine_by_coords(
        parts,
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="exact",
        combine_attrs="override",
    )
    assert isinstance(merged, xr.Dataset)
    return merged.assign_attrs(calendar=next(iter(calendars), "standard"))


def _has_time(file: str) -> bool:
    with xr.open_dataset(file, decode_times=False) as opened:
        return "time" in opened.dims


def _standard_names(opened: xr.Dataset, location: str) -> xr.Dataset:
    rename = {}
    for wanted, names in (("lat", _LATITUDE_NAMES), ("lon", _LONGITUDE_NAMES)):
        present = [name for name in names if name in opened.dims]
        if not present:
            raise InputError(
                f"{location} has no {wanted} dimension (it has: {', '.join(map(str, opened.dims))})"
            )
        if present[0] != wanted:
            rename[present[0]] = wanted
    record = opened.rename(rename)
    for name in ("lat", "lon"):
        if name not in record.coords:
            raise InputError(f"{location} has no coordinate variable {name}(degrees)")
    if "time" not in record.variables:
        return record.assign_attrs(calendar="standard")
    time = record["time"]
    calendar = canonical_calendar(str(time.attrs.get("calendar", "standard")))
    if "units" not in time.attrs:
        raise InputError(f"{location}: time has no units (expected e.g. 'hours since 2000-01-01')")
    seconds = decode_seconds(time.values, str(time.attrs["units"]), calendar)
    return record.assign_coords(time=(time.dims, seconds)).assign_attrs(calendar=calendar)


def _checked_orientation(record: xr.Dataset, grid: Grid, location: str) -> xr.Dataset:
    """The record on the emulator's grid, turned around where its latitudes run the other way."""
    latitude, longitude = record["lat"].values, record["lon"].values
    difference = grid.difference_from(latitude, longitude)
    if difference is not None:
        raise InputError(f"{location} is on another grid than the emulator's {grid}: {difference}")
    if (latitude[0] > latitude[-1]) != grid.north_to_south:
        record = record.isel(lat=slice(None, None, -1))
    return record


def _lacks(location: str, name: str, record: xr.Dataset, role: str | None) -> InputError:
    has = ", ".join(str(v) for v in record.data_vars) or "no variables"
    hint = f"; name it with roles.{role} in the case file" if role else ""
    return InputError(f"{location} has no {name!r} (it has: {has}){hint}")


@dataclass(frozen=True)
class InitialConditions:
    """State [condition, prognostic, lat, lon], float64, physical units, and its dates."""

    state: NDArray[np.float64]
    dates: tuple[cftime.datetime, ...]


def read_initial_conditions(
    location: str, names: Sequence[str], grid: Grid, start: Sequence[str] = ()
) -> InitialConditions:
    """The initial conditions in a file, or those whose dates `start` names.

    The file holds (sample, lat, lon) with time(sample), or (time, lat, lon). Raises InputError where
    it lacks a variable, is on another grid, has NaN, or has no such date.
    """
    record = _checked_orientation(open_record(location), grid, location)
    if "time" not in record.variables:
        raise InputError(f"{location} has no time: an initial condition needs time(sample)")
    sample = record["time"].dims[0] if record["time"].dims else None
    if sample is None:
        record = record.expand_dims("sample").assign_coords(time=("sample", [int(record["time"])]))
        sample = "sample"
    calendar = record.attrs["calendar"]
    seconds = record["time"].values
    chosen = _choose(location, seconds, start, calendar)
    fields = []
    for name in names:
        if name not in record:
            raise _lacks(location, name, record, None)
        if set(record[name].dims) != {sample, "lat", "lon"}:
            raise InputError(
                f"{location}: {name} has dimensions {record[name].dims}, expected (sample, lat, lon)"
            )
        with NETCDF_LOCK:
            field = record[name].isel({sample: chosen}).transpose(sample, "lat", "lon")
            fields.append(np.asarray(field.load(scheduler="synchronous").values, np.float64))
        if not np.isfinite(fields[-1]).all():
            raise InputError(
                f"{location}: {name} has missing values; the emulator reads every cell"
            )
    dates = tuple(to_date(seconds[i], calendar) for i in chosen)
    return InitialConditions(np.stack(fields, axis=1), dates)


def _choose(location: str, seconds: Seconds, start: Sequence[str], calendar: str) -> list[int]:
    if not start:
        return list(range(len(seconds)))
    chosen: list[int] = []
    for text in start:
        found = np.flatnonzero(seconds == to_seconds(parse_date(text, calendar)))
        if not found.size:
            has = ", ".join(str(to_date(s, calendar)) for s in seconds[:5])
            more = ", …" if len(seconds) > 5 else ""
            raise InputError(f"{location} has no initial condition at {text} (it has: {has}{more})")
        chosen.extend(int(i) for i in found)
    return chosen


@dataclass(frozen=True)
class Window:
    """Forcing of a few steps, each distinct time once.

    fields: [time, name, lat, lon]; first_step: the first step's number in the run.
    index: [sample, num_steps + 1], the row of `fields` at each step's start, and the last one's end.
    """

    fields: torch.Tensor
    index: NDArray[np.int64]
    first_step: int

    @property
    def num_steps(self) -> int:
        return int(self.index.shape[1]) - 1


class Forcing:
    """The forcing of a run: names, times and grid checked at once, values when they are read.

    names: variables to read, in order; aliases: name -> its name in the files, where it differs.
    starts: the date of each sample's initial condition; the record must hold every time from it to
        `num_steps` steps later. repeat_year: the record is one year that is used again and again.
    ocean_only: the variable that may be missing where `ocean_fraction` is at or below the cutoff.
    """

    def __init__(
        self,
        location: str,
        names: Sequence[str],
        grid: Grid,
        timestep_s: int,
        starts: Sequence[cftime.datetime],
        num_steps: int,
        *,
        aliases: Mapping[str, str],
        roles: Mapping[str, str],
        repeat_year: bool = False,
        ocean_only: str | None = None,
        ocean_fraction: str | None = None,
        ocean_cutoff: float = 0.5,
    ) -> None:
        self._location, self.names, self._grid = location, tuple(names), grid
        self._ocean_only, self._ocean_fraction = ocean_only, ocean_fraction
        self._ocean_cutoff = ocean_cutoff
        self._aliases = aliases
        self._record = _checked_orientation(open_record(location), grid, location)
        for name in names:
            self._check_variable(name, roles.get(name))
        if "time" not in self._record.dims:
            raise InputError(f"{location} has no time dimension")
        self.calendar = str(self._record.attrs["calendar"])
        self._times: Seconds = self._record["time"].values
        self._check_times(timestep_s)
        self.starts = tuple(_in_calendar(date, self.calendar) for date in starts)
        self._index = self._locate(timestep_s, num_steps, repeat_year)

    def _check_variable(self, name: str, role: str | None) -> None:
        file_name = self._aliases.get(name, name)
        if file_name not in self._record:
            raise _lacks(self._location, file_name, self._record, role)
        dims = set(self._record[file_name].dims)
        if dims not in ({"time", "lat", "lon"}, {"lat", "lon"}):
            raise InputError(
                f"{self._location}: {file_name} has dimensions {self._record[file_name].dims}, "
                "expected (time, lat, lon) or (lat, lon)"
            )

    def _check_times(self, timestep_s: int) -> None:
        steps = np.diff(self._times)
        if not (steps > 0).all():
            at = to_date(self._times[int(np.argmax(steps <= 0))], self.calendar)
            raise InputError(f"{self._location}: time does not rise after {at}")
        usual = int(np.median(steps)) if steps.size else timestep_s
        if usual != timestep_s:
            raise InputError(
                f"{self._location} has another time step than the emulator: {_hours(usual)} "
                f"instead of {_hours(timestep_s)}"
            )
        gaps = np.flatnonzero(steps != timestep_s)
        if gaps.size:
            before, after = self._times[gaps[0]], self._times[gaps[0] + 1]
            raise InputError(
                f"{self._location} has a gap: no times between {to_date(before, self.calendar)} and "
                f"{to_date(after, self.calendar)}, expected one every {_hours(timestep_s)}"
            )

    def _locate(self, timestep_s: int, num_steps: int, repeat_year: bool) -> NDArray[np.int64]:
        """Row of the record for every (sample, step), [sample, num_steps + 1]."""
        begin = np.array([to_seconds(date) for date in self.starts], dtype=np.int64)
        needed = begin[:, None] + timestep_s * np.arange(num_steps + 1, dtype=np.int64)
        if repeat_year:
            needed = self._into_year(needed, timestep_s)
        first, last = int(self._times[0]), int(self._times[-1])
        covers = f"{to_date(first, self.calendar)} to {to_date(last, self.calendar)}"
        if needed.min() < first or needed.max() > last:
            wanted = (
                f"{to_date(needed.min(), self.calendar)} to {to_date(needed.max(), self.calendar)}"
            )
            raise InputError(
                f"{self._location} is too short: the run reads {wanted} (each step needs its start and "
                f"its end), the record has {covers}; shorten the run, extend the forcing, or use "
                "repeat: year"
            )
        offset = needed - first
        if (offset % timestep_s).any():
            raise InputError(
                f"{self._location} ({covers}, every {_hours(timestep_s)}) has no value at "
                f"{self.starts[int(np.argmax((offset % timestep_s).any(axis=1)))]}"
            )
        return offset // timestep_s

    def _into_year(self, needed: Seconds, timestep_s: int) -> Seconds:
        """The same dates within the record's one year; 29 February becomes the 28th."""
        start = to_date(self._times[0], self.calendar)
        year_end = to_seconds(start.replace(year=start.year + 1))
        if self._times[-1] < year_end - timestep_s:
            raise InputError(f"{self._location} covers less than the year that repeat: year needs")
        unique, inverse = np.unique(needed, return_inverse=True)
        mapped = np.empty_like(unique)
        for i, seconds in enumerate(unique):
            date = to_date(seconds, self.calendar)
            for year in (start.year, start.year + 1):
                mapped[i] = to_seconds(_with_year(date, year))
                if self._times[0] <= mapped[i] < year_end:
                    break
        return mapped[inverse].reshape(needed.shape)

    def read(
        self, first_step: int, num_steps: int, samples: Sequence[int], dtype: torch.dtype
    ) -> Window:
        """The forcing of these steps for these samples. Raises InputError at a missing value."""
        needed = self._index[list(samples), first_step : first_step + num_steps + 1]
        rows, index = np.unique(needed, return_inverse=True)
        fields = self._load(rows, self.names)
        self._check_missing(fields, rows)
        tensor = torch.from_numpy(np.stack(fields, axis=1)).to(dtype)
        return Window(tensor, index.reshape(needed.shape).astype(np.int64), first_step)

    def _load(self, rows: NDArray[np.int64], names: Sequence[str]) -> list[NDArray[Any]]:
        contiguous = rows[-1] - rows[0] + 1 == rows.size
        chosen: Any = slice(int(rows[0]), int(rows[-1]) + 1) if contiguous else rows
        files = [self._aliases.get(name, name) for name in names]
        with NETCDF_LOCK:
            loaded = self._record[files].isel(time=chosen, missing_dims="ignore")
            loaded = loaded.load(scheduler="synchronous")
        shape = (rows.size, *self._grid.shape)
        fields = []
        for name in files:
            field = loaded[name]
            if "time" in field.dims:
                fields.append(field.transpose("time", "lat", "lon").values)
            else:
                fields.append(np.broadcast_to(field.transpose("lat", "lon").values, shape))
        return fields

    def _check_missing(self, fields: list[NDArray[Any]], rows: NDArray[np.int64]) -> None:
        for name, field in zip(self.names, fields, strict=True):
            missing = ~np.isfinite(field)
            if name == self._ocean_only and self._ocean_fraction is not None:
                fraction = fields[self.names.index(self._ocean_fraction)]
                missing &= fraction > self._ocean_cutoff
            if missing.any():
                row, lat, lon = (int(axis[0]) for axis in np.nonzero(missing))
                where = "over ocean " if name == self._ocean_only else ""
                raise InputError(
                    f"{self._location}: {name} is missing {where}at "
                    f"{to_date(self._times[rows[row]], self.calendar)}, latitude "
                    f"{self._grid.latitude[lat]:.2f}, longitude {self._grid.longitude[lon]:.2f}, "
                    "where the emulator reads it"
                )

    def mean_fraction(self, name: str) -> FloatArray | None:
        """Mean of a fraction over at most 400 evenly spaced times of the period, [lat, lon].

        None where the record has no such variable.
        """
        if self._aliases.get(name, name) not in self._record:
            return None
        rows = np.unique(self._index)
        picked = np.unique(
            np.linspace(0, rows.size - 1, min(rows.size, MAX_MASK_TIMES)).astype(int)
        )
        total = np.zeros(self._grid.shape)
        for part in np.array_split(rows[picked], -(-picked.size // 50)):
            total += self._load(part, [name])[0].astype(np.float64).sum(axis=0)
        return total / picked.size

    def window_length(self) -> int:
        """Steps per window that keep its fields near 64 MiB."""
        per_time = 4 * len(self.names) * self._grid.num_lat * self._grid.num_lon
        return int(np.clip(_WINDOW_BYTES // per_time, 1, 512))

    def windows(
        self,
        first_step: int,
        stop_step: int,
        samples: Sequence[int],
        length: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> Iterator[Window]:
        """Windows of at most `length` steps; the next one is read while one is in use."""

        def read(first: int) -> Window:
            window = self.read(first, min(length, stop_step - first), samples, dtype)
            fields = window.fields.pin_memory() if device.type == "cuda" else window.fields
            return Window(fields.to(device, non_blocking=True), window.index, first)

        with ThreadPoolExecutor(1, thread_name_prefix="forcing") as pool:
            ahead = pool.submit(read, first_step) if first_step < stop_step else None
            while ahead is not None:
                window = ahead.result()
                following = window.first_step + window.num_steps
                ahead = pool.submit(read, following) if following < stop_step else None
                yield window


def read_pattern(location: str, variable: str, grid: Grid) -> FloatArray:
    """A pattern of SST change, [lat, lon], K; NaN where the file has none.

    Raises InputError where the file lacks the variable or is on another grid.
    """
    record = _checked_orientation(open_record(location), grid, location)
    if variable not in record:
        raise _lacks(location, variable, record, None)
    field = record[variable].squeeze()
    if set(field.dims) != {"lat", "lon"}:
        raise InputError(f"{location}: {variable} has dimensions {field.dims}, expected (lat, lon)")
    with NETCDF_LOCK:
        loaded = field.transpose("lat", "lon").load(scheduler="synchronous")
    return np.asarray(loaded.values, dtype=np.float64)


def _in_calendar(date: cftime.datetime, calendar: str) -> cftime.datetime:
    return cftime.datetime(
        date.year, date.month, date.day, date.hour, date.minute, date.second, calendar=calendar
    )


def _with_year(date: cftime.datetime, year: int) -> cftime.datetime:
    try:
        return date.replace(year=year)
    except ValueError:
        return date.replace(year=year, day=28)


def _hours(seconds: int) -> str:
    return f"{seconds / 3600:g} h"
