"""Simulated time as whole seconds in a CF calendar, and the durations that users write."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import cftime
import numpy as np
from numpy.typing import NDArray

from respeval.errors import InputError

UNITS = "seconds since 0001-01-01"
DAY_S = 86_400
MAX_SECONDS = 366 * DAY_S * 100_000
Seconds = NDArray[np.int64]

_ALIASES = {"gregorian": "standard", "365_day": "noleap", "366_day": "all_leap"}
_UNIT_S = {"microsecond": 1e-6, "millisecond": 1e-3, "second": 1, "sec": 1, "s": 1, "minute": 60}
_UNIT_S |= {"min": 60, "hour": 3600, "hr": 3600, "h": 3600, "day": DAY_S, "d": DAY_S}


def canonical_calendar(name: str) -> str:
    """One name per CF calendar. Raises InputError for a name that CF does not know."""
    lowered = name.lower()
    canonical = _ALIASES.get(lowered, lowered)
    known = ["standard", "proleptic_gregorian", "noleap", "all_leap", "360_day", "julian"]
    if canonical not in known:
        raise InputError(f"unknown calendar {name!r} (CF knows: {', '.join(known)})")
    return canonical


def decode_seconds(values: NDArray[Any], units: str, calendar: str) -> Seconds:
    """CF time values to whole seconds since 0001-01-01 of the same calendar, same shape.

    Raises InputError where units are not `UNIT since DATE` or a value is no finite number.
    """
    found = re.fullmatch(r"\s*(\w+?)s?\s+since\s+(.+)", units)
    scale = _UNIT_S.get(found.group(1).lower()) if found else None
    if found is None or scale is None:
        raise InputError(
            f"time units {units!r} can't be read (expected e.g. 'hours since 2000-01-01')"
        )
    try:
        start = cftime.num2date(0, f"seconds since {found.group(2)}", calendar)
    except ValueError as error:
        raise InputError(f"time units {units!r} can't be read ({error})") from None
    numbers = np.asarray(values, dtype=np.float64)
    if not np.isfinite(numbers).all():
        raise InputError("time has missing values")
    if numbers.size and np.abs(numbers * scale).max() > MAX_SECONDS:
        raise InputError(f"time reaches further than the year {MAX_SECONDS // (366 * DAY_S):,}")
    return np.rint(numbers * scale).astype(np.int64) + to_seconds(start)


def in_calendar(seconds: Seconds, given: str, wanted: str) -> Seconds | None:
    """The same dates counted in another calendar; None where the two do not agree on them.

    `standard` and `proleptic_gregorian` agree from 15 October 1582 on.
    """
    if given == wanted or not seconds.size:
        return seconds
    if {given, wanted} != {"standard", "proleptic_gregorian"}:
        return None
    first = {c: to_seconds(cftime.datetime(1582, 10, 15, calendar=c)) for c in (given, wanted)}
    if seconds.min() < first[given]:
        return None
    return seconds - first[given] + first[wanted]


def same_date(date: cftime.datetime, calendar: str) -> cftime.datetime:
    """A date of an initial condition in the forcing's calendar. Raises InputError where it has none."""
    parts = (date.year, date.month, date.day, date.hour, date.minute, date.second)
    try:
        return cftime.datetime(*parts, calendar=calendar)
    except ValueError:
        raise InputError(
            f"the initial condition's date {date} does not exist in the forcing's calendar ({calendar})"
        ) from None


def to_seconds(date: cftime.datetime) -> int:
    """A date as seconds since 0001-01-01 of its own calendar."""
    return int(cftime.date2num(date, UNITS, calendar=date.calendar))


def to_date(seconds: int, calendar: str) -> cftime.datetime:
    """The inverse of `to_seconds`."""
    return cftime.num2date(int(seconds), UNITS, calendar=calendar)


def parse_date(text: str, calendar: str) -> cftime.datetime:
    """`2001-01-01`, `2001-01-01 06:00` or `2001-01-01T06:00:00`. Raises InputError otherwise."""
    found = re.fullmatch(
        r"\s*(\d{1,4})-(\d{1,2})-(\d{1,2})(?:[ T](\d{1,2}):(\d{2})(?::(\d{2}))?)?\s*", text
    )
    try:
        if found is None:
            raise ValueError
        parts = [int(part or 0) for part in found.groups()]
        return cftime.datetime(*parts, calendar=calendar)
    except ValueError:
        raise InputError(
            f"{text!r} is no date of the {calendar} calendar (expected e.g. 2001-01-31 or "
            "'2001-01-31 06:00')"
        ) from None


def add_months(date: cftime.datetime, months: int) -> cftime.datetime:
    """The same day and hour `months` later; the month's last day where it is shorter.

    >>> print(add_months(cftime.datetime(2000, 1, 31, calendar="standard"), 1))
    2000-02-29 00:00:00
    >>> print(add_months(cftime.datetime(2000, 1, 31, calendar="noleap"), 1))
    2000-02-28 00:00:00
    """
    year, month = divmod(date.year * 12 + date.month - 1 + months, 12)
    for day in range(date.day, date.day - 4, -1):
        try:
            return date.replace(year=year, month=month + 1, day=day)
        except ValueError:
            continue
    raise AssertionError(f"no day {date.day} near the end of month {month + 1}")


def in_year(seconds: Seconds, year: int, calendar: str) -> Seconds:
    """The same dates and times of day in another year; its 28 February for a 29th that it lacks."""
    first, last = (to_date(s, calendar).year for s in (seconds.min(), seconds.max()))
    months = _month_starts(first, last, calendar)
    row = np.searchsorted(months, seconds, side="right") - 1
    month, there = row % 12, _month_starts(year, year, calendar)
    moved: Seconds = there[month] + (seconds - months[row])
    return np.where(moved < there[month + 1], moved, moved - DAY_S)


def _month_starts(first_year: int, last_year: int, calendar: str) -> Seconds:
    """The first second of every month of these years, and of the next year."""
    years = range(first_year, last_year + 1)
    begins = [(year, month) for year in years for month in range(1, 13)] + [(last_year + 1, 1)]
    dates = (cftime.datetime(year, month, 1, calendar=calendar) for year, month in begins)
    return np.array([to_seconds(date) for date in dates])


@dataclass(frozen=True)
class Duration:
    """A length of simulated time: `10 years`, `3 months`, `90 days` or `400 steps`.

    >>> start = cftime.datetime(2000, 1, 1, calendar="standard")
    >>> Duration.parse("1 year").steps_from(start, timestep_s=6 * 3600)  # of 366 days
    1464
    >>> print(Duration.parse("2  months"))
    2 months
    """

    count: int
    unit: str

    @classmethod
    def parse(cls, text: str) -> Duration:
        """Raises ValueError for anything else."""
        found = re.fullmatch(r"\s*(\d+)\s+(year|month|day|step)s?\s*", text)
        if found is None:
            raise ValueError(
                f"{text!r} is no duration (expected e.g. '1 year', '3 months', '90 days', '400 steps')"
            )
        return cls(int(found.group(1)), found.group(2))

    def __str__(self) -> str:
        return f"{self.count} {self.unit}{'' if self.count == 1 else 's'}"

    def steps_from(self, start: cftime.datetime, timestep_s: int) -> int:
        """Whole time steps in this duration from `start` on.

        Raises InputError where the time step does not divide it.
        """
        if self.unit == "step":
            return self.count
        if self.unit == "day":
            length = self.count * DAY_S
        else:
            months = self.count * (12 if self.unit == "year" else 1)
            if months > MAX_SECONDS // (28 * DAY_S):
                raise InputError(f"{self} is longer than any calendar reaches")
            length = to_seconds(add_months(start, months)) - to_seconds(start)
        if length % timestep_s:
            raise InputError(
                f"{self} from {start} on is no whole number of {timestep_s} s time steps"
            )
        return length // timestep_s


def far_date(seconds: int, calendar: str) -> str:
    """A date that may lie beyond what calendars can say."""
    return str(to_date(seconds, calendar)) if seconds < MAX_SECONDS else "far beyond any record"


def hours_of(seconds: int) -> str:
    """`6 h`."""
    return f"{seconds / 3600:g} h"
