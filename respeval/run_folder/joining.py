"""Segments joined: over a year into one file, over the run into its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from respeval.errors import InputError
from respeval.fields.records import read_whole
from respeval.files.netcdf import append_netcdf, global_attributes, open_saved
from respeval.run_folder.manifest import parts_of_name, segment_numbers
from respeval.run_folder.names import GROUP_MEANS, MEMBER_SUFFIX, SEGMENTS, ZONAL, ZONAL_SUFFIX


def read_circles(path: Path, names: Sequence[str]) -> xr.Dataset:
    """The circle means of these outputs in a segment's file, called as in zonal.nc.

    Raises InputError where it can't be read.
    """
    with open_saved(path) as segment:
        given = {f"{name}{ZONAL_SUFFIX}": name for name in (*names, "count")}
        lacking = [name for name in (*given, "area", "time_bnds") if name not in segment]
        if lacking:
            raise InputError(f"{path} is no segment of this run: it has no {lacking[0]!r}")
        return read_whole(str(path), segment[[*given, "area", "time_bnds"]]).rename(given)


def join_segments(
    paths: Sequence[Path],
    folder: Path,
    provenance: Mapping[str, str],
    kept: Sequence[bool] | None = None,
) -> dict[str, str]:
    """Write group_means.nc and zonal.nc from the segments' files, one time in memory at once.

    kept: whether each of the groups is in them; None for all.
    Returns their SHA-256. Raises InputError where a segment can't be read.
    """
    first = _first_time(paths[0])
    chosen = {}
    if kept is not None and not all(kept):
        chosen = {"group": np.flatnonzero(kept)}
        first = first.isel(chosen)
    checksums = {}
    for name, (dataset, title, names_in_segments) in results_of(first).items():
        dataset.attrs = global_attributes(title, provenance)
        checksums[name] = append_netcdf(dataset, paths, names_in_segments, folder / name, chosen)
    return checksums


def concatenate_segments(paths: Sequence[Path], path: Path) -> str:
    """Write one file of everything in these segments' files, one time in memory at once.

    Returns its SHA-256. Raises InputError where a segment can't be read.
    """
    return append_netcdf(_first_time(paths[0]), paths, {}, path)


def _first_time(path: Path) -> xr.Dataset:
    """The first time of a segment's file, ready to be written with others after it."""
    with open_saved(path, decode_times=False) as segment:
        lacking = [
            name for name in ("area", "time", "time_bnds", "lat_bnds") if name not in segment
        ]
        if lacking:
            raise InputError(f"{path} is no segment of a run: it has no {lacking[0]!r}")
        first = read_whole(str(path), segment.isel(time=slice(0, 1)))
    for variable in first.variables.values():
        variable.encoding.clear()
    first["time"].encoding["chunksizes"] = (512,)
    return first


def results_of(first: xr.Dataset) -> dict[str, tuple[xr.Dataset, str, dict[str, str]]]:
    """What a run's results take from its first segment: file -> content, title, and names in segments.

    The names are those that differ: name in the file -> name in the segments.
    """
    names = [str(name) for name in first.data_vars if not str(name).endswith(MEMBER_SUFFIX)]
    zonal = [name for name in names if name.endswith(ZONAL_SUFFIX)]
    group = [name for name in names if name not in zonal and name != "area"]
    means = first[group].drop_vars(["surface", "sample", "start_date"], errors="ignore")
    # The order that CF recommends, an axis of one's own before time; CDO reads the segments.
    means = means.transpose("group", "time", ..., missing_dims="ignore")
    circles = first[[*zonal, "area", "time_bnds", "lat_bnds"]].drop_vars("lon", errors="ignore")
    renamed = {name: name.removesuffix(ZONAL_SUFFIX) for name in zonal}
    return {
        GROUP_MEANS: (means, "group means of a paired rollout", {}),
        ZONAL: (
            circles.rename(renamed),
            "means over the latitude circles of a paired rollout",
            {new: old for old, new in renamed.items()},
        ),
    }


#: Files of single segments that a folder keeps: ten years of months.
KEPT_SINGLES = 120

#: Segments of a year that are merged before the year has ended, where it has that many.
MOST_IN_A_FILE = 400

Entry = Mapping[str, Any]


def to_merge(entries: Sequence[Entry]) -> slice | None:
    """Which of a manifest's segments to merge now: the oldest single ones that share a year.

    None while there are few, or their year goes on. A file holds spin-up or none of it.
    """
    if sum(map(_is_single, entries)) <= KEPT_SINGLES:
        return None
    begin = 0
    for (single, *_), group in groupby(entries, _kind):
        alike = len(list(group))
        count = min(alike, MOST_IN_A_FILE)
        complete = begin + alike < len(entries) or count == MOST_IN_A_FILE
        if single and count > 1 and complete:
            return slice(begin, begin + count)
        begin += alike
    return None


def merge_segments(folder: Path, entries: Sequence[Entry]) -> dict[str, Any]:
    """Write the segments of these entries as one file; returns the entry in their place.

    Raises InputError where one can't be read.
    """
    first, _ = segment_numbers(entries[0]["file"])
    _, last = segment_numbers(entries[-1]["file"])
    name = f"{SEGMENTS}/{first:05d}-{last:05d}_{_date(entries[0])}.nc"
    paths = [folder / entry["file"] for entry in entries]
    return {
        "file": name,
        "sha256": concatenate_segments(paths, folder / name),
        "first_step": entries[0]["first_step"],
        "stop_step": entries[-1]["stop_step"],
        "spinup": entries[0]["spinup"],
    }


def _is_single(entry: Entry) -> bool:
    first, last = segment_numbers(entry["file"])
    return first == last


def _date(entry: Entry) -> str:
    return parts_of_name(entry["file"])[3]


def _kind(entry: Entry) -> tuple[bool, str, bool]:
    return _is_single(entry), _date(entry).rsplit("-", 2)[0], entry["spinup"]
