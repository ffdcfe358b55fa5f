"""Initial conditions: states with their dates, and the choice among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cftime
import numpy as np
from numpy.typing import NDArray

from respeval.errors import InputError
from respeval.fields.calendar import Seconds, parse_date, to_date, to_seconds
from respeval.fields.grid import Grid
from respeval.fields.locations import is_remote, stored_at
from respeval.fields.notices import Notices
from respeval.fields.records import (
    OpenedRecords,
    as_numbers,
    lacks,
    on_grid,
    read_whole,
)
from respeval.fields.units import Wanted, fit, kind_of
from respeval.fields.variables import Variable
from respeval.files.limits import check_read


@dataclass(frozen=True)
class InitialConditions:
    """State [condition, prognostic, lat, lon], float64, physical units, and its dates."""

    state: NDArray[np.float64]
    dates: tuple[cftime.datetime, ...]


def read_initial_conditions(
    location: str,
    variables: Sequence[Variable],
    grid: Grid,
    start: Sequence[str] = (),
    opened: OpenedRecords | None = None,
    notices: Notices | None = None,
) -> InitialConditions:
    """The initial conditions in a file, or those whose dates `start` names.

    The file holds (sample, lat, lon) with time(sample), or (time, lat, lon). Raises InputError where
    it lacks a variable, is on another grid, has NaN, or has no such date.
    """
    notices = Notices() if notices is None else notices
    record = on_grid((opened or OpenedRecords()).open(location, notices), grid, location)
    if "time" not in record.variables:
        raise InputError(f"{location} has no time: an initial condition needs time(sample)")
    sample = record["time"].dims[0] if record["time"].dims else None
    if sample is None:
        record = record.expand_dims("sample").assign_coords(time=("sample", [int(record["time"])]))
        sample = "sample"
    calendar = record.attrs["calendar"]
    seconds = record["time"].values
    if not seconds.size:
        raise InputError(f"{location} holds no initial condition: it has 0 samples")
    chosen = choose_starts(location, seconds, start, calendar)
    files = [Path(source) for source in stored_at(location) if not is_remote(source)]
    num_bytes = len(chosen) * len(variables) * grid.num_lat * grid.num_lon * 8
    if files:  # what lies far away is not measured
        check_read(location, f"a state of {len(chosen):,} samples", num_bytes, files)
    fields = []
    for variable in variables:
        name = variable.name
        if name not in record:
            raise lacks(location, name, record, None)
        wanted = Wanted(variable.units, kind_of(name, variable.units))
        fitted = fit(location, name, record[name].attrs, wanted, notices)
        if set(record[name].dims) != {sample, "lat", "lon"}:
            raise InputError(
                f"{location}: {name} has dimensions {record[name].dims}, expected (sample, lat, lon)"
            )
        field = record[name].isel({sample: chosen}).transpose(sample, "lat", "lon")
        fields.append(fitted(as_numbers(location, read_whole(location, field))))
        if not np.isfinite(fields[-1]).all():
            raise InputError(
                f"{location}: {name} has missing values; the emulator reads every cell"
            )
    dates = tuple(to_date(seconds[i], calendar) for i in chosen)
    return InitialConditions(np.stack(fields, axis=1), dates)


def choose_starts(
    location: str, seconds: Seconds, start: Sequence[str], calendar: str
) -> list[int]:
    """Which of these dates `start` names; all where it names none.

    Raises InputError where one is not there, or is named twice.
    """
    if not start:
        return list(range(len(seconds)))
    chosen: list[int] = []
    for text in start:
        found = np.flatnonzero(seconds == to_seconds(parse_date(text, calendar)))
        if not found.size:
            has = ", ".join(str(to_date(s, calendar)) for s in seconds[:5])
            more = ", …" if len(seconds) > 5 else ""
            raise InputError(f"{location} has no initial condition at {text} (it has: {has}{more})")
        if int(found[0]) in chosen:
            raise InputError(f"start names {text} twice; samples must differ")
        chosen.extend(int(i) for i in found)
    return chosen
