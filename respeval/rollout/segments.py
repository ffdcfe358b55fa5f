"""How a run is cut into segments: the periods of one mean each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise

import cftime
import numpy as np

from respeval.errors import InputError
from respeval.fields.calendar import add_months, to_date, to_seconds

#: Each is a file: more than these are a mistake.
MAX_SEGMENTS = 200_000


@dataclass(frozen=True)
class Segment:
    """Steps first_step <= k < stop_step; step k leads from time k to time k + 1 of the run.

    start_s, end_s: bounds in the first sample's calendar, seconds (see `calendar`).
    """

    number: int
    first_step: int
    stop_step: int
    start_s: int
    end_s: int
    spinup: bool

    def file_name(self, calendar: str) -> str:
        """Sorts by time: `00012_2001-12-01.nc`."""
        date = to_date(self.start_s, calendar)
        return f"{self.number:05d}_{date.year:04d}-{date.month:02d}-{date.day:02d}.nc"


def parse_segment(text: str) -> str | int:
    """`month`, `year`, `all` or a number of steps (`30 steps`). Raises ValueError otherwise."""
    if text in ("month", "year", "all"):
        return text
    found = re.fullmatch(r"\s*([1-9]\d*)\s+steps?\s*", text)
    if found is None:
        raise ValueError(f"{text!r} is no segment (expected month, year, all or 'N steps')")
    return int(found.group(1))


def plan_segments(
    start: cftime.datetime, timestep_s: int, num_steps: int, segment: str, spinup_steps: int
) -> list[Segment]:
    """The segments of a run of `num_steps` from `start`, the first sample's date.

    Calendar segments end with the first sample's month or year; a step counts where it starts. The
    end of the spin-up (`spinup_steps` from the start) is always an edge.
    """
    kind = parse_segment(segment)
    edges = {0, num_steps}
    if 0 < spinup_steps < num_steps:
        edges.add(spinup_steps)
    if isinstance(kind, int):
        edges |= set(islice(range(0, num_steps, kind), MAX_SEGMENTS + 2))
    elif kind in ("month", "year"):
        edges |= _calendar_edges(start, timestep_s, num_steps, 1 if kind == "month" else 12)
    if len(edges) - 1 > MAX_SEGMENTS:
        raise InputError(
            f"segment: {segment} cuts the run into more than {MAX_SEGMENTS:,} segments; make them longer"
        )
    ordered = sorted(edges)
    begin = to_seconds(start)
    return [
        Segment(
            number,
            first,
            stop,
            begin + first * timestep_s,
            begin + stop * timestep_s,
            stop <= spinup_steps,
        )
        for number, (first, stop) in enumerate(pairwise(ordered), start=1)
    ]


def remaining_segments(
    planned: Sequence[Segment], timestep_s: int, num_done: int, done_step: int
) -> list[Segment]:
    """The segments of a plan after the first `num_done`, which end at `done_step`.

    That is an edge even where the plan has none: a run that is lengthened keeps what it published.
    """
    left = []
    for number, segment in enumerate(
        (s for s in planned if s.stop_step > done_step), start=num_done + 1
    ):
        first = max(segment.first_step, done_step)
        start_s = segment.start_s + (first - segment.first_step) * timestep_s
        left.append(replace(segment, number=number, first_step=first, start_s=start_s))
    return left


def _calendar_edges(
    start: cftime.datetime, timestep_s: int, num_steps: int, months: int
) -> set[int]:
    """The first step that starts in each later month (or year, for 12 months)."""
    edges: set[int] = set()
    first = cftime.datetime(
        start.year, start.month if months == 1 else 1, 1, calendar=start.calendar
    )
    begin = to_seconds(start)
    while True:
        first = add_months(first, months)
        step = int(np.ceil((to_seconds(first) - begin) / timestep_s))
        if step >= num_steps:
            return edges
        edges.add(step)
