"""The forcing of a run: checked once against what the run needs, read window by window."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import cftime
import numpy as np
import torch
from numpy.typing import NDArray

from respeval.distributed.comm import Comm
from respeval.errors import InputError
from respeval.fields.calendar import (
    Duration,
    Seconds,
    far_date,
    hours_of,
    in_year,
    same_date,
    to_date,
    to_seconds,
)
from respeval.fields.combining import source_of
from respeval.fields.fingerprints import Fingerprints, fingerprint
from respeval.fields.fractions import is_above
from respeval.fields.grid import FloatArray, Grid
from respeval.fields.locations import sizes_at
from respeval.fields.notices import Notices
from respeval.fields.ranges import RangeCheck
from respeval.fields.records import OpenedRecords, lacks, on_grid, read_whole
from respeval.fields.units import Conversion, Kind, Wanted, fit, kind_of
from respeval.fields.variables import DerivedForcing

#: Masks are the mean over at most this many times of the period.
MAX_MASK_TIMES = 400

#: Most steps of all samples together, which a table of rows is made for.
MAX_SAMPLE_STEPS = 2**25

_WINDOW_BYTES = 64 * 2**20


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
        `duration` later. repeat_year: the record is one year that is used again and again.
    derived: those of `names` that are computed instead of read.
    ocean_only: the variable that may be missing where `ocean_fraction` is at or below the cutoff.
    opened: where the record may be open already. notices: what is noticed in it is told there.
    ranges: what all that is read is held against.
    """

    def __init__(
        self,
        location: str,
        names: Sequence[str],
        grid: Grid,
        timestep_s: int,
        starts: Sequence[cftime.datetime],
        duration: Duration,
        *,
        aliases: Mapping[str, str],
        roles: Mapping[str, str],
        units: Mapping[str, str],
        repeat_year: bool = False,
        derived: Sequence[DerivedForcing] = (),
        ocean_only: str | None = None,
        ocean_fraction: str | None = None,
        ocean_cutoff: float = 0.5,
        opened: OpenedRecords | None = None,
        notices: Notices | None = None,
        ranges: RangeCheck | None = None,
    ) -> None:
        self._location, self.names, self._grid = location, tuple(names), grid
        self._ocean_only, self._ocean_fraction = ocean_only, ocean_fraction
        self._ocean_cutoff = ocean_cutoff
        self._aliases = aliases
        self._derived = {entry.name: entry for entry in derived if entry.name in names}
        self._notices = Notices() if notices is None else notices
        self._ranges = ranges
        self._fingerprints = Fingerprints()
        record = (opened or OpenedRecords()).open(location, self._notices)
        self._record = on_grid(record, grid, location)
        self._fitted: dict[str, Conversion] = {}
        needed = [name for name in names if name not in self._derived]
        for name in [*needed, *(n for entry in self._derived.values() for n in entry.needs)]:
            self._check_variable(name, roles.get(name), units.get(name, ""))
        if "time" not in self._record.dims:
            raise InputError(f"{location} has no time dimension")
        self.calendar = str(self._record.attrs["calendar"])
        self._times: Seconds = self._record["time"].values
        if not self._times.size:
            raise InputError(f"{location} has 0 times")
        self._check_times(timestep_s)
        self.starts = tuple(same_date(date, self.calendar) for date in starts)
        self.num_steps = duration.steps_from(self.starts[0], timestep_s)
        self._index = self._locate(timestep_s, self.num_steps, repeat_year)

    def identity(self) -> dict[str, Any]:
        """What tells this forcing from another one: names, files and their sizes, times."""
        return {
            "variables": sorted(self._aliases.get(name, name) for name in self.names),
            "files": sizes_at(self._location),
            "first_time": str(to_date(self._times[0], self.calendar)),
            "last_time": str(to_date(self._times[-1], self.calendar)),
        }

    def _check_variable(self, name: str, role: str | None, units: str) -> None:
        file_name = self._aliases.get(name, name)
        if file_name not in self._record:
            raise lacks(self._location, file_name, self._record, role)
        dims = set(self._record[file_name].dims)
        if dims not in ({"time", "lat", "lon"}, {"lat", "lon"}, {"time"}):
            raise InputError(
                f"{self._location}: {file_name} has dimensions {self._record[file_name].dims}, "
                "expected (time, lat, lon), (lat, lon) or (time)"
            )
        if self._record[file_name].dtype.kind not in "fiub":
            raise InputError(f"{self._location}: {file_name} holds no numbers")
        self._fit(file_name, units)

    def _fit(self, file_name: str, units: str, kind: Kind | None = None) -> None:
        """Find out what makes a variable of the files what is wanted; `_read` does it."""
        attributes = self._record[file_name].attrs
        wanted = Wanted(units, kind or kind_of(file_name, units))
        self._fitted[file_name] = fit(self._location, file_name, attributes, wanted, self._notices)

    def _check_times(self, timestep_s: int) -> None:
        steps = np.diff(self._times)
        if not (steps > 0).all():
            at = to_date(self._times[int(np.argmax(steps <= 0))], self.calendar)
            raise InputError(f"{self._location}: time does not rise after {at}")
        usual = int(np.median(steps)) if steps.size else timestep_s
        if usual != timestep_s:
            raise InputError(
                f"{self._location} has another time step than the emulator: {hours_of(usual)} "
                f"instead of {hours_of(timestep_s)}"
            )
        gaps = np.flatnonzero(steps != timestep_s)
        if gaps.size:
            before, after = self._times[gaps[0]], self._times[gaps[0] + 1]
            raise InputError(
                f"{self._location} has a gap: no times between {to_date(before, self.calendar)} and "
                f"{to_date(after, self.calendar)}, expected one every {hours_of(timestep_s)}"
            )

    def _locate(self, timestep_s: int, num_steps: int, repeat_year: bool) -> NDArray[np.int64]:
        """Row of the record for every (sample, step), [sample, num_steps + 1]."""
        if len(self.starts) * num_steps > MAX_SAMPLE_STEPS:
            raise InputError(
                f"the run has {len(self.starts):,} samples of {num_steps:,} steps, at most "
                f"{MAX_SAMPLE_STEPS:,} steps can be planned; shorten the run"
            )
        begin = np.array([to_seconds(date) for date in self.starts], dtype=np.int64)
        first, last = int(self._times[0]), int(self._times[-1])
        covers = f"{to_date(first, self.calendar)} to {to_date(last, self.calendar)}"
        end = int(begin.max()) + timestep_s * num_steps
        if not repeat_year and (begin.min() < first or end > last):
            wanted = f"{to_date(begin.min(), self.calendar)} to {far_date(end, self.calendar)}"
            raise InputError(
                f"{self._location} is too short: the run reads {wanted} (each step needs its start and "
                f"its end), the record has {covers}; shorten the run, extend the forcing, or use "
                "repeat: year"
            )
        needed = begin[:, None] + timestep_s * np.arange(num_steps + 1, dtype=np.int64)
        if repeat_year:
            needed = self._into_year(needed, timestep_s)
        offset = needed - first
        if (offset % timestep_s).any():
            raise InputError(
                f"{self._location} ({covers}, every {hours_of(timestep_s)}) has no value at "
                f"{self.starts[int(np.argmax((offset % timestep_s).any(axis=1)))]}"
            )
        return offset // timestep_s

    def _into_year(self, needed: Seconds, timestep_s: int) -> Seconds:
        """The same dates within the record's one year; 29 February becomes the 28th."""
        start = to_date(self._times[0], self.calendar)
        year_end = to_seconds(start.replace(year=start.year + 1))
        if self._times[-1] < year_end - timestep_s:
            raise InputError(f"{self._location} covers less than the year that repeat: year needs")
        mapped = in_year(needed, start.year, self.calendar)
        before = mapped < self._times[0]
        if before.any():
            mapped[before] = in_year(needed[before], start.year + 1, self.calendar)
        return mapped

    def read(
        self, first_step: int, num_steps: int, samples: Sequence[int], dtype: torch.dtype
    ) -> Window:
        """The forcing of these steps for these samples. Raises InputError at a missing value."""
        needed = self._index[list(samples), first_step : first_step + num_steps + 1]
        rows, index = np.unique(needed, return_inverse=True)
        fields = self._load(rows, self.names)
        self._check_missing(fields, rows)
        self._check_ranges(fields, rows)
        if 0 in samples:
            self._take_fingerprints(fields, rows, first_step, num_steps)
        tensor = torch.from_numpy(np.stack(fields, axis=1)).to(dtype)
        return Window(tensor, index.reshape(needed.shape).astype(np.int64), first_step)

    def _load(self, rows: NDArray[np.int64], names: Sequence[str]) -> list[NDArray[Any]]:
        """Fields [time, lat, lon] of these rows of the record, read or computed."""
        needs = [n for name in names for n in self._needs(name)]
        read = dict(zip(needs, self._read(rows, needs), strict=True))
        dates: list[cftime.datetime] = []
        if any(name in self._derived for name in names):
            dates = [to_date(seconds, self.calendar) for seconds in self._times[rows]]
        return [
            self._derived[name].compute(dates, {n: read[n] for n in self._needs(name)})
            if name in self._derived
            else read[name]
            for name in names
        ]

    def _needs(self, name: str) -> tuple[str, ...]:
        return self._derived[name].needs if name in self._derived else (name,)

    def _read(self, rows: NDArray[np.int64], names: Sequence[str]) -> list[NDArray[Any]]:
        contiguous = rows[-1] - rows[0] + 1 == rows.size
        chosen: Any = slice(int(rows[0]), int(rows[-1]) + 1) if contiguous else rows
        files = [self._aliases.get(name, name) for name in names]
        picked = self._record[list(dict.fromkeys(files))].isel(time=chosen, missing_dims="ignore")
        loaded = read_whole(self._location, picked)
        shape = (rows.size, *self._grid.shape)
        fields = []
        for name in files:
            field = loaded[name]
            if field.dtype.kind not in "fiub":  # lists of numbers show when they are read
                raise InputError(f"{self._location}: {name} holds no numbers")
            fitted = self._fitted[name]
            if set(field.dims) == {"time"}:
                fields.append(np.broadcast_to(fitted(field.values)[:, None, None], shape))
            elif "time" in field.dims:
                fields.append(fitted(field.transpose("time", "lat", "lon").values))
            else:
                plane = fitted(field.transpose("lat", "lon").values)
                fields.append(np.broadcast_to(plane, shape))
        return fields

    def _check_missing(self, fields: list[NDArray[Any]], rows: NDArray[np.int64]) -> None:
        for name, field in zip(self.names, fields, strict=True):
            missing = ~np.isfinite(field)
            if name == self._ocean_only and self._ocean_fraction is not None:
                fraction = fields[self.names.index(self._ocean_fraction)]
                missing &= is_above(fraction, self._ocean_cutoff)
            if missing.any():
                row, lat, lon = (int(axis[0]) for axis in np.nonzero(missing))
                where = "over ocean " if name == self._ocean_only else ""
                raise InputError(
                    f"{self._source(name, rows[row])}: {name} is missing {where}at "
                    f"{to_date(self._times[rows[row]], self.calendar)}, latitude "
                    f"{self._grid.latitude[lat]:.2f}, longitude {self._grid.longitude[lon]:.2f}, "
                    "where the emulator reads it"
                )

    def _check_ranges(self, fields: list[NDArray[Any]], rows: NDArray[np.int64]) -> None:
        if self._ranges is None:
            return
        cells = None
        if self._ocean_only is not None and self._ocean_fraction is not None:
            fraction = fields[self.names.index(self._ocean_fraction)]
            cells = is_above(fraction, self._ocean_cutoff)

        def place(row: int) -> str:
            return f"at {to_date(self._times[rows[row]], self.calendar)}"

        for name, field in zip(self.names, fields, strict=True):
            seen = cells if name == self._ocean_only else None

            def source(row: int, name: str = name) -> str:
                return self._source(name, rows[row])

            self._ranges.check(self._location, name, field, place, seen, source)

    def _source(self, name: str, row: int) -> str:
        """The file that a variable's values of a row of the record are from."""
        file_name = self._aliases.get(name, name)
        return source_of(self._record, file_name, int(self._times[row]), self._location)

    def _take_fingerprints(
        self, fields: list[NDArray[Any]], rows: NDArray[np.int64], first_step: int, num_steps: int
    ) -> None:
        for step in range(first_step, first_step + num_steps):
            if self._fingerprints.wants(step):
                at = int(np.searchsorted(rows, self._index[0, step]))
                self._fingerprints.add(step, self._fingerprints_at(fields, at))

    def _fingerprints_at(self, fields: list[NDArray[Any]], row: int) -> dict[str, str]:
        named = zip(self.names, fields, strict=True)
        return {name: fingerprint(f[row]) for name, f in named if name not in self._derived}

    @property
    def fingerprints(self) -> dict[int, dict[str, str]]:
        """Step -> variable -> fingerprint of what the first sample reads there; of a few steps."""
        return self._fingerprints.kept

    def go_on_with(self, kept: Mapping[int, Mapping[str, str]]) -> None:
        """Go on from the fingerprints of the steps that are done.

        Raises InputError where the record holds something else there now.
        """
        for step in sorted(kept):
            row = self._index[0, step : step + 1]
            found = self._fingerprints_at(self._load(row, self.names), 0)
            changed = [name for name in found if kept[step].get(name, found[name]) != found[name]]
            if changed:
                date = to_date(self._times[row[0]], self.calendar)
                raise InputError(
                    f"{self._source(changed[0], row[0])}: {', '.join(changed)} at {date} is not what the run "
                    "read there "
                    "before; go on with the forcing that it began with, or start over with "
                    "--restart-fresh"
                )
        self._fingerprints = Fingerprints(kept)

    def mean_fraction(self, name: str) -> FloatArray | None:
        """Mean of a fraction over at most 400 evenly spaced times of the period, [lat, lon].

        None where the record has no such variable.
        """
        file_name = self._aliases.get(name, name)
        if file_name not in self._record:
            return None
        self._fit(file_name, "1", "fraction")
        rows = np.unique(self._index)
        spaced = np.linspace(0, rows.size - 1, min(rows.size, MAX_MASK_TIMES))
        picked = np.unique(spaced.astype(int))
        total = np.zeros(self._grid.shape)
        for part in np.array_split(rows[picked], -(-picked.size // 50)):
            total += self._load(part, [name])[0].astype(np.float64).sum(axis=0)
        return total / picked.size

    def rows(self, first_step: int, stop_step: int) -> NDArray[np.int64]:
        """Rows of the record at the start of each of these steps, [sample, step]."""
        return self._index[:, first_step:stop_step]

    def fields_at(self, rows: NDArray[np.int64], name: str) -> NDArray[Any]:
        """A variable in these rows of the record, which rise, [row, lat, lon]."""
        return self._load(rows, [name])[0]

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
        comm: Comm,
    ) -> Iterator[Window]:
        """Windows of at most `length` steps, read ahead and whole, so that what is told of them, and refused,
        is the same in every layout; with this process's block of their fields."""
        tile = comm.mesh.tile(self._grid.shape, self._grid.north_to_south)

        def read(first: int) -> Window:
            window = self.read(first, min(length, stop_step - first), samples, dtype)
            return replace(window, fields=sent(tile.of(window.fields).contiguous(), comm.device))

        with ThreadPoolExecutor(1, thread_name_prefix="forcing") as pool:
            ahead = pool.submit(read, first_step) if first_step < stop_step else None
            while ahead is not None:
                window = comm.together_here(ahead.result)
                following = window.first_step + window.num_steps
                ahead = pool.submit(read, following) if following < stop_step else None
                yield window


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the host on its way to a device, whose kernels wait for it; the host does not."""
    pinned = tensor.pin_memory() if device.type == "cuda" else tensor
    return pinned.to(device, non_blocking=True)
