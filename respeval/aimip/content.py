"""What is wrong within one file of a submission: attributes, coordinates, months and numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import netCDF4
import numpy as np

from respeval.aimip.findings import Findings, attribute
from respeval.aimip.numbers import check_numbers
from respeval.aimip.request import (
    COARSEST_KM,
    EVALUATED_HPA,
    GLOBAL_ATTRIBUTES,
    MEMBER,
    TABLE,
    Place,
    YearMonth,
    compact,
    months_between,
    next_month,
)
from respeval.errors import pass_on
from respeval.fields.calendar import DAY_S, decode_seconds, to_date
from respeval.fields.grid import FloatArray
from respeval.fields.standard_names import CMIP, CmipVariable

#: Bounds of time may be off by this: float32 days since 1850 are.
_SLACK_S = 1800

_DEGREE_KM = 111.2


def examine(path: Path, place: Place) -> Findings:
    """Everything that is wrong with a file that stands at this place of a submission."""
    found = Findings()
    try:
        with netCDF4.Dataset(path) as opened:
            opened.set_auto_maskandscale(False)
            _check_global(opened, place, found)
            if place.variable not in opened.variables:
                found.lacks.append(f"it has no variable {place.variable}")
                return found
            cmip, variable = CMIP[place.variable], opened.variables[place.variable]
            _check_variable(variable, cmip, found)
            _check_time(opened, place, found)
            _check_plane(opened, found)
            if _has_dimensions(opened, variable, cmip, found) and variable.dtype.kind == "f":
                check_numbers(opened, variable, cmip, found)
    except (OSError, RuntimeError) as error:
        pass_on(error)
        found.lacks.append(f"it can't be read ({str(error).splitlines()[0]})")
    return found


def _check_global(opened: Any, place: Place, found: Findings) -> None:
    missing = [name for name in GLOBAL_ATTRIBUTES if attribute(opened, name) in (None, "")]
    if missing:
        found.lacks.append(f"global attributes are missing: {', '.join(missing)}")
    member = MEMBER.fullmatch(place.member)
    assert member is not None
    kinds = ("realization_index", "initialization_index", "physics_index", "forcing_index")
    expected: dict[str, Any] = {
        "variable_id": place.variable,
        "source_id": place.model,
        "institution_id": place.institute,
        "experiment_id": place.experiment,
        "variant_label": place.member,
        "grid_label": place.grid,
        "table_id": TABLE,
        "frequency": "mon",
        "realm": "atmos",
        **dict(zip(kinds, member.groups(), strict=True)),
    }
    for name, value in expected.items():
        got = attribute(opened, name)
        if got is not None and str(got) != str(value):
            found.lacks.append(
                f"global attribute {name} is {got!r}, the file's name says {value!r}"
            )
    identifier = attribute(opened, "tracking_id")
    found.tracking_id = None if identifier is None else str(identifier)


def _check_variable(variable: Any, cmip: CmipVariable, found: Findings) -> None:
    if variable.dtype != np.float32:
        found.lacks.append(f"{cmip.name} is {variable.dtype}; AIMIP asks for single precision")
    expected = {
        "standard_name": cmip.standard_name,
        "units": cmip.units,
        "positive": cmip.positive,
    }
    for name, value in expected.items():
        got = attribute(variable, name)
        if value is not None and got != value:
            found.lacks.append(f"{cmip.name} has {name} {got!r}, CMIP's is {value!r}")
    if not attribute(variable, "long_name"):
        found.lacks.append(f"{cmip.name} has no long_name")
    methods = str(attribute(variable, "cell_methods") or "none")
    if "time: mean" not in methods:
        found.lacks.append(f"{cmip.name} has cell_methods {methods!r}, no mean over time")


def _has_dimensions(opened: Any, variable: Any, cmip: CmipVariable, found: Findings) -> bool:
    """Whether a variable has the dimensions that it should have; then those off the plane are checked."""
    dims = variable.dimensions
    at_one_level = cmip.name == "zg" and "plev" in opened.variables and dims.count("plev") == 0
    num_levels = 1 if cmip.on_levels and not at_one_level else 0
    if dims[:1] != ("time",) or dims[-2:] != ("lat", "lon") or len(dims) != 3 + num_levels:
        wanted = "(time, plev, lat, lon)" if num_levels else "(time, lat, lon)"
        found.lacks.append(f"{cmip.name} has dimensions ({', '.join(dims)}), expected {wanted}")
        return False
    if cmip.height_m is not None:
        _check_height(opened, cmip.height_m, found)
    if cmip.on_levels:
        _check_levels(opened, "plev" if at_one_level else dims[1], cmip, found)
    return True


def _check_height(opened: Any, height_m: float, found: Findings) -> None:
    height = opened.variables.get("height")
    if height is None or height.size != 1 or attribute(height, "units") != "m":
        found.lacks.append(f"it has no scalar coordinate height of {height_m:g} m")
    elif abs(float(height[...]) - height_m) > 0.5 * height_m:
        found.lacks.append(f"its height is {float(height[...]):g} m, expected {height_m:g} m")


def _check_levels(opened: Any, name: str, cmip: CmipVariable, found: Findings) -> None:
    levels = opened.variables.get(name)
    if levels is None or not levels.size:
        found.lacks.append(f"it has no coordinate {name}")
        return
    if name != "plev":
        found.notes.append(
            f"{cmip.name} is on model layers, which AIMIP takes; its evaluation interpolates to "
            f"{', '.join(map(str, EVALUATED_HPA))} hPa, and at few layers that costs accuracy"
        )
        return
    expected = {"units": "Pa", "standard_name": "air_pressure", "positive": "down", "axis": "Z"}
    for key, value in expected.items():
        got = attribute(levels, key)
        if got != value:
            found.lacks.append(f"plev has {key} {got!r}, expected {value!r}")
    pressure_hPa = np.atleast_1d(np.asarray(levels[...], np.float64)) / 100.0
    if pressure_hPa.max() < 20.0 and attribute(levels, "units") == "Pa":
        found.lacks.append("plev looks like hPa, its units say Pa")
        return
    wanted = (500,) if cmip.name == "zg" else EVALUATED_HPA
    missing = [p for p in wanted if np.abs(pressure_hPa - p).min() > 0.01]
    if cmip.name == "zg" and missing:
        found.lacks.append("zg has no level of 500 hPa")
    elif missing:
        found.notes.append(
            f"{cmip.name} has no level of {', '.join(map(str, missing))} hPa, where AIMIP evaluates"
        )


def _check_time(opened: Any, place: Place, found: Findings) -> None:
    time = opened.variables.get("time")
    bounds = opened.variables.get(str(attribute(time, "bounds"))) if time is not None else None
    if time is None or bounds is None or bounds.shape != (time.size, 2):
        found.lacks.append("it has no time with bounds")
        return
    if not time.size:
        found.lacks.append("it has no months")
        return
    units, calendar = attribute(time, "units"), attribute(time, "calendar")
    if calendar is None:
        found.lacks.append("time has no calendar")
    try:
        edges = np.asarray(bounds[:], np.float64)
        starts, ends = (
            _months(edges[:, i], str(units), str(calendar or "standard")) for i in (0, 1)
        )
    except ValueError as error:
        found.lacks.append(f"its times can't be read ({error})")
        return
    middle = np.asarray(time[:], np.float64)
    if not ((edges[:, 0] <= middle) & (middle <= edges[:, 1])).all():
        found.lacks.append("a time lies outside its bounds")
    for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
        if start is None or end != next_month(start):
            found.lacks.append(f"the bounds of time {row + 1} are not the starts of two months")
            return
        found.months.append(start)
    _check_months(place, found)


def _check_months(place: Place, found: Findings) -> None:
    expected = list(months_between(place.first, place.last))
    missing = [compact(month) for month in expected if month not in set(found.months)]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        found.lacks.append(f"month {missing[0]}{more} is missing, its name says otherwise")
    if found.months != sorted(set(found.months)):
        found.lacks.append("its months are not in order, or one comes twice")
    elif set(found.months) - set(expected):
        found.lacks.append(
            f"it holds {compact(found.months[0])} to {compact(found.months[-1])}, its name says "
            "otherwise"
        )


def _months(values: FloatArray, units: str, calendar: str) -> list[YearMonth | None]:
    """The month that starts at each time; None where none does."""
    seconds = decode_seconds(values, units, calendar)
    days = np.rint(seconds / DAY_S)
    is_day = np.abs(seconds - days * DAY_S) <= _SLACK_S
    dates = [to_date(int(day) * DAY_S, calendar) for day in days]
    return [
        (date.year, date.month) if whole and date.day == 1 else None
        for date, whole in zip(dates, is_day, strict=True)
    ]


def _check_plane(opened: Any, found: Findings) -> None:
    for name, full, units in (
        ("lat", "latitude", "degrees_north"),
        ("lon", "longitude", "degrees_east"),
    ):
        axis = opened.variables.get(name)
        if axis is None or axis.ndim != 1:
            found.lacks.append(f"it has no coordinate {name} of one dimension")
            return
        for key, value in (("standard_name", full), ("units", units)):
            got = attribute(axis, key)
            if got != value:
                found.lacks.append(f"{name} has {key} {got!r}, expected {value!r}")
        if str(attribute(axis, "bounds")) not in opened.variables:
            found.lacks.append(f"{name} has no bounds")
        values = np.asarray(axis[:], np.float64)
        if not np.isfinite(values).all() or not (np.diff(values) > 0).all():
            found.lacks.append(f"{name} does not rise, as CMIP stores it")
    latitude = np.asarray(opened.variables["lat"][:], np.float64)
    if latitude.size > 1:
        spacing_km = float(np.abs(np.diff(latitude)).max() * _DEGREE_KM)
        if spacing_km > COARSEST_KM:
            found.notes.append(
                f"cells are {spacing_km:.0f} km wide, AIMIP asks for {COARSEST_KM:.0f} km at most"
            )
