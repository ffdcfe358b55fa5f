"""Several files as one record: on one grid, in one calendar, each variable's times one after the other.

Variables may be spread over files, and times too. The first file says the coordinates and the units;
what differs from it within the tolerance is taken as the same, what can be converted is converted,
and a file that doesn't fit is named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import xarray as xr

from respeval.errors import InputError, first_line
from respeval.fields.calendar import in_calendar, to_date
from respeval.fields.grid import COORDINATE_TOLERANCE, FloatArray, IndexArray
from respeval.fields.units import DIFFERING, in_units_of
from respeval.files.netcdf import NETCDF_LOCK

#: Attribute of a record: variable -> why not all of its times are there.
PARTIAL = "partial"

#: Relative difference of what is the same but for float32.
_SAME = 1e-6

#: Attribute of a record: the `Source` of each file that has times.
SOURCES = "sources"


class Source(NamedTuple):
    """What a file holds along time, and from when to when, seconds."""

    where: str
    names: frozenset[str]
    first: int
    last: int


def source_of(record: xr.Dataset, name: str, seconds: int, location: str) -> str:
    """The file that a variable's value of a time is from; the location where it is all of one."""
    for source in record.attrs.get(SOURCES, ()):
        if name in source.names and source.first <= seconds <= source.last:
            return str(source.where)
    return location


class Part(NamedTuple):
    """A file's record, and what the file is called in messages."""

    where: str
    record: xr.Dataset


def combined(parts: Sequence[Part], location: str) -> xr.Dataset:
    """The record of several files. Raises InputError where two of them don't fit together."""
    parts = _in_one_calendar(_on_one_grid(parts), location)
    along = _axis(parts)
    if along is None:
        return _with_steady(xr.Dataset(attrs=parts[0].record.attrs), parts, None)
    if along == "time":
        parts = _with_times(parts)
    joined, partial = _joined(parts, along, location)
    record = _with_steady(joined, parts, along)
    sources = tuple(_sources(parts)) if along == "time" else ()
    return record.assign_attrs({**parts[0].record.attrs, PARTIAL: partial, SOURCES: sources})


def _sources(parts: Sequence[Part]) -> Iterator[Source]:
    for where, record in parts:
        times = record["time"].values if "time" in record.dims else np.zeros(0, np.int64)
        if times.size:
            names = (str(name) for name, v in record.data_vars.items() if "time" in v.dims)
            yield Source(where, frozenset(names), int(times[0]), int(times[-1]))


def _on_one_grid(parts: Sequence[Part]) -> list[Part]:
    """All with the first one's coordinates, turned and rolled into its order."""
    first = parts[0]
    found = [first]
    for part in parts[1:]:
        record = part.record
        for name, period in (("lat", None), ("lon", 360.0)):
            wanted, own = first.record[name].values, record[name].values
            if len(own) != len(wanted):
                raise InputError(
                    f"{part.where} is on another grid than {first.where}: {len(own)} instead of "
                    f"{len(wanted)} values of {name}"
                )
            order = _order(wanted, own, period)
            off = own[order] - wanted
            if period is not None:
                off = (off + period / 2) % period - period / 2
            if not np.abs(off).max(initial=0.0) < 10 * COORDINATE_TOLERANCE:
                raise InputError(
                    f"{part.where} is on another grid than {first.where}: {name} differs by up to "
                    f"{np.abs(off).max():.3g} degrees"
                )
            if (order != np.arange(len(order))).any():
                record = record.isel({name: order})
            record = record.assign_coords({name: first.record[name]})
        found.append(Part(part.where, record))
    return found


def _order(wanted: FloatArray, own: FloatArray, period: float | None) -> IndexArray:
    """Places in `own` in the order of `wanted`: turned around, or rolled where it has a period."""
    count = np.arange(len(own))
    if period is not None:
        away = (own - wanted[0] + period / 2) % period - period / 2
        return np.roll(count, -int(np.abs(away).argmin()))
    return count[::-1] if (own[0] > own[-1]) != (wanted[0] > wanted[-1]) else count


def _in_one_calendar(parts: Sequence[Part], location: str) -> list[Part]:
    """All in the first dated one's calendar; standard and proleptic ones agree from 1582 on."""
    dated = [part for part in parts if "time" in part.record.variables]
    if not dated:
        return list(parts)
    calendar = dated[0].record.attrs["calendar"]
    found = []
    for part in parts:
        record = part.record
        if "time" in record.variables and record.attrs["calendar"] != calendar:
            time = record["time"]
            seconds = in_calendar(time.values, record.attrs["calendar"], calendar)
            if seconds is None:
                both = sorted({part.record.attrs["calendar"] for part in dated})
                raise InputError(
                    f"{location}: the files differ in calendar ({', '.join(both)}); {part.where} "
                    f"is the first that is not {calendar}"
                )
            record = record.assign_coords(time=(time.dims, seconds))
        found.append(Part(part.where, record.assign_attrs(calendar=calendar)))
    return found


def _axis(parts: Sequence[Part]) -> str | None:
    """The dimension that files follow each other in: that of their times; None where none has any."""
    times = [part.record["time"] for part in parts if "time" in part.record.variables]
    dims = [str(time.dims[0]) for time in times if time.ndim == 1]
    if not dims:
        return "time" if times and len(times) == len(parts) else None
    return "time" if "time" in dims else dims[0]


def _with_times(parts: Sequence[Part]) -> list[Part]:
    """A part of one time gets the axis of its time where others have its variables along theirs, or
    none has an axis; else, of masks say, a single time says nothing."""
    along = {n for p in parts for n, v in p.record.data_vars.items() if "time" in v.dims}
    found = []
    for where, record in parts:
        if "time" in record.variables and "time" not in record.dims:
            if not along or along & set(record.data_vars):
                record = record.drop_vars("time").expand_dims(time=[int(record["time"])])
            else:
                record = record.drop_vars("time")
        found.append(Part(where, record))
    return found


def _joined(parts: Sequence[Part], along: str, location: str) -> tuple[xr.Dataset, dict[str, str]]:
    """The variables that lie along an axis, and why some of them had to be left out."""
    parts = [part for part in parts if part.record.sizes.get(along, 0)] or list(parts)
    if along == "time":
        parts = sorted((p for p in parts if along in p.record.dims), key=_first_time)
    by_holders: dict[tuple[int, ...], list[str]] = {}
    names = dict.fromkeys(
        str(n) for p in parts for n, v in p.record.data_vars.items() if along in v.dims
    )
    for name in names:
        holders = tuple(i for i, p in enumerate(parts) if _holds(p, name, along))
        by_holders.setdefault(holders, []).append(name)
    groups = []
    for holders, held in by_holders.items():
        chosen = [parts[i] for i in holders]
        if along == "time":
            _check_apart(chosen, location)
        groups.append((_concatenated(chosen, held, along, location), held))
    if along != "time":
        return _merged([group for group, _ in groups], location), {}
    return _of_one_axis(groups, parts, location)


def _holds(part: Part, name: str, along: str) -> bool:
    return name in part.record.data_vars and along in part.record[name].dims


def _first_time(part: Part) -> int:
    return int(part.record["time"].values[0]) if part.record.sizes["time"] else 0


def _check_apart(parts: Sequence[Part], location: str) -> None:
    """Raise InputError where two files have the same times."""
    for before, after in pairwise(parts):
        last, first = before.record["time"].values[-1], after.record["time"].values[0]
        if first <= last:
            calendar = before.record.attrs["calendar"]
            raise InputError(
                f"{location}: {before.where} and {after.where} overlap: the first reaches to "
                f"{to_date(last, calendar)}, the second begins at {to_date(first, calendar)}; leave one "
                "out, or cut it"
            )


def _concatenated(
    parts: Sequence[Part], names: Sequence[str], along: str, location: str
) -> xr.Dataset:
    """These variables of all parts, each in the units of the first part that says its own."""
    chosen = [part.record[list(names)] for part in parts]
    for name in names:
        alike = in_units_of(
            [(part.where, record[name]) for part, record in zip(parts, chosen, strict=True)]
        )
        chosen = [record.assign({name: field}) for record, field in zip(chosen, alike, strict=True)]
    if len(chosen) == 1:
        return chosen[0]
    try:
        return xr.concat(
            chosen,
            along,
            data_vars="minimal",
            coords="minimal",
            compat="override",
            join="override",
            combine_attrs="override",
        )
    except ValueError as error:
        raise InputError(
            f"{location}: the files can't be joined, from {parts[0].where} on ({first_line(error)})"
        ) from None


def _of_one_axis(
    groups: Sequence[tuple[xr.Dataset, list[str]]], parts: Sequence[Part], location: str
) -> tuple[xr.Dataset, dict[str, str]]:
    """The variables that have all times; of the others, which file lacks them.

    The times are those of most variables, of axes that no other one contains.
    """
    axes = [frozenset(group["time"].values.tolist()) for group, _ in groups]
    votes: Counter[frozenset[int]] = Counter()
    for axis, (_, names) in zip(axes, groups, strict=True):
        if not any(axis < other for other in axes):
            votes[axis] += len(names)
    chosen = votes.most_common(1)[0][0]
    whole = [group for (group, _), axis in zip(groups, axes, strict=True) if axis == chosen]
    partial: dict[str, str] = {}
    for (_, names), axis in zip(groups, axes, strict=True):
        if axis != chosen:
            partial |= {name: _why_partial(name, chosen, parts) for name in names}
    return _merged(whole, location), partial


def _why_partial(name: str, times: frozenset[int], parts: Sequence[Part]) -> str:
    """The file that lacks a variable at times where others have theirs."""
    have = {t for p in parts if _holds(p, name, "time") for t in p.record["time"].values.tolist()}
    lacking = times - have
    for part in parts:
        if lacking.intersection(part.record["time"].values.tolist()):
            others = next(p.where for p in parts if _holds(p, name, "time"))
            return f"{part.where} has no {name!r}, which {others} has"
    where = next(p.where for p in parts if _holds(p, name, "time"))
    return f"{where} has {name!r} at other times than the other variables' files"


def _merged(datasets: Sequence[xr.Dataset], location: str) -> xr.Dataset:
    try:
        return xr.merge(datasets, compat="override", join="exact", combine_attrs="override")
    except ValueError as error:
        raise InputError(f"{location}: the files can't be joined ({first_line(error)})") from None


def _with_steady(record: xr.Dataset, parts: Sequence[Part], along: str | None) -> xr.Dataset:
    """With what does not lie along the axis, from the first file that has it; what others have there is
    to be the same."""
    lacking: dict[str, list[tuple[str, xr.DataArray]]] = {}
    for where, own in parts:
        for name, variable in own.variables.items():
            if name not in record.variables and along not in variable.dims:
                lacking.setdefault(str(name), []).append((where, own[name]))
    coordinates = {str(n) for p in parts for n in p.record.coords}
    found = {
        name: fields[0][1] if name in coordinates else _same_in_all(fields)
        for name, fields in lacking.items()
    }
    return record.assign_coords(
        {n: field.variable for n, field in found.items() if n in coordinates}
    ).assign({n: field.variable for n, field in found.items() if n not in coordinates})


def _same_in_all(fields: Sequence[tuple[str, xr.DataArray]]) -> xr.DataArray:
    """The first file's field, which says of the first file whose values differ, see `units.DIFFERING`."""
    first, *others = in_units_of(fields)
    if not others or first.dtype.kind not in "fiub":
        return first
    with NETCDF_LOCK:
        values = first.compute(scheduler="synchronous").values
    for (where, _), other in zip(fields[1:], others, strict=True):
        with NETCDF_LOCK:
            theirs = other.compute(scheduler="synchronous").values
        alike = values.shape == theirs.shape and np.allclose(
            values, theirs, rtol=_SAME, atol=0, equal_nan=True
        )
        if not alike:
            told = f"{where}: {first.name} is another field than in {fields[0][0]}, and has no time"
            differing = (*first.attrs.get(DIFFERING, ()), (told, True))
            return first.assign_attrs({DIFFERING: differing})
    return first
