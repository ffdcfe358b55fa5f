"""Calendar segments, durations and dates in every CF calendar."""

from __future__ import annotations

import cftime
import numpy as np
import pytest

from respeval.errors import InputError
from respeval.fields.calendar import (
    Duration,
    add_months,
    decode_seconds,
    in_year,
    parse_date,
    to_date,
    to_seconds,
)
from respeval.rollout.segments import parse_segment, plan_segments

CALENDARS = ["standard", "proleptic_gregorian", "noleap", "all_leap", "360_day", "julian"]


@pytest.mark.parametrize("calendar", CALENDARS)
def test_monthly_segments_end_with_the_months_of_the_calendar(calendar: str) -> None:
    start = cftime.datetime(2000, 1, 1, calendar=calendar)
    num_steps = Duration.parse("1 year").steps_from(start, 21_600)
    segments = plan_segments(start, 21_600, num_steps, "month", 0)
    days = [(s.stop_step - s.first_step) / 4 for s in segments]
    february = {"noleap": 28, "360_day": 30}.get(calendar, 29)
    usual = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    assert days == ([30] * 12 if calendar == "360_day" else usual)
    for segment in segments:
        assert to_date(segment.start_s, calendar).day == 1


def test_a_start_within_a_month_and_a_time_step_that_does_not_divide_it() -> None:
    start = cftime.datetime(2001, 1, 30, 12, calendar="noleap")
    segments = plan_segments(start, 5 * 86_400, 10, "month", 0)
    assert [(s.first_step, s.stop_step) for s in segments] == [(0, 1), (1, 6), (6, 10)]


def test_steps_are_covered_once_and_the_spinup_ends_a_segment() -> None:
    start = cftime.datetime(2001, 1, 1, calendar="noleap")
    segments = plan_segments(start, 86_400, 100, "30 steps", 45)
    assert [(s.first_step, s.stop_step, s.spinup) for s in segments] == [
        (0, 30, True),
        (30, 45, True),
        (45, 60, False),
        (60, 90, False),
        (90, 100, False),
    ]
    assert [s.number for s in segments] == [1, 2, 3, 4, 5]
    assert segments[0].file_name("noleap") == "00001_2001-01-01.nc"


def test_yearly_and_whole_segments() -> None:
    start = cftime.datetime(2001, 7, 1, calendar="noleap")
    yearly = plan_segments(start, 86_400, 730, "year", 0)
    assert [s.stop_step for s in yearly] == [184, 549, 730]
    assert len(plan_segments(start, 86_400, 730, "all", 0)) == 1


@pytest.mark.parametrize("text", ["week", "0 steps", "-3 steps", "", "month "])
def test_other_segments_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected month, year, all or"):
        parse_segment(text)


@pytest.mark.parametrize("calendar", CALENDARS)
def test_seconds_and_dates_are_inverse(calendar: str) -> None:
    for text in ("0850-03-01", "1999-12-30 18:00", "2001-02-28T06:30:15"):
        date = parse_date(text, calendar)
        assert to_date(to_seconds(date), calendar) == date


def test_cf_times_become_seconds() -> None:
    got = decode_seconds(np.array([0, 0.25, 1.5]), "days since 2001-01-01 06:00", "noleap")
    start = to_seconds(cftime.datetime(2001, 1, 1, 6, calendar="noleap"))
    assert (got - start).tolist() == [0, 21_600, 129_600]
    hours = decode_seconds(np.array([24]), "hours since 2001-01-01", "noleap")
    assert hours[0] - start == 64_800


@pytest.mark.parametrize(
    ("values", "units", "message"),
    [
        ([0], "fortnights since 2001-01-01", "can't be read"),
        ([0], "days", "can't be read"),
        ([np.nan], "days since 2001-01-01", "missing values"),
    ],
)
def test_times_that_can_not_be_read(values: list[float], units: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        decode_seconds(np.array(values), units, "standard")


def test_durations() -> None:
    start = cftime.datetime(2000, 1, 1, calendar="standard")
    assert Duration.parse("1 year").steps_from(start, 86_400) == 366
    assert Duration.parse("3 months").steps_from(start, 21_600) == 4 * 91
    assert Duration.parse("10 days").steps_from(start, 3600) == 240
    assert Duration.parse("7 steps").steps_from(start, 3600) == 7
    assert str(Duration.parse("1 year")) == "1 year"
    with pytest.raises(InputError, match="no whole number"):
        Duration.parse("1 day").steps_from(start, 50_000)
    with pytest.raises(ValueError, match="is no duration"):
        Duration.parse("a year")


def test_adding_months_stays_in_the_month() -> None:
    date = cftime.datetime(2001, 1, 31, calendar="noleap")
    assert add_months(date, 1) == cftime.datetime(2001, 2, 28, calendar="noleap")
    assert add_months(date, 11) == cftime.datetime(2001, 12, 31, calendar="noleap")
    assert add_months(date, -1) == cftime.datetime(2000, 12, 31, calendar="noleap")


@pytest.mark.parametrize("calendar", ["noleap", "standard", "all_leap", "360_day", "julian"])
@pytest.mark.parametrize("year", [1999, 2000])
def test_dates_of_many_years_are_found_in_one(calendar: str, year: int) -> None:
    """Every half day of nine years, against cftime's own dates, one by one."""
    begin = to_seconds(cftime.datetime(1995, 3, 1, 6, calendar=calendar))
    seconds = begin + 43_200 * np.arange(2 * 365 * 9, dtype=np.int64).reshape(2, -1)
    expected = []
    for date in (to_date(s, calendar) for s in seconds.ravel()):
        try:
            there = date.replace(year=year)
        except ValueError:
            there = date.replace(year=year, day=28)
        expected.append(to_seconds(there))
    assert in_year(seconds, year, calendar).ravel().tolist() == expected
