"""Older segments as one file a year, so that a run's folder holds a bounded number of files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from respeval.layout import concatenate_segments
from respeval.manifest import parts_of_name, segment_numbers
from respeval.output import SEGMENTS

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
