"""Warming of land and ocean by season, and its annual cycle."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

import cftime
import numpy as np
import xarray as xr

from respeval.diagnostics.formulas.diagnostic import SEASONAL_DIMS
from respeval.diagnostics.formulas.regions import DiagnosticSettings
from respeval.diagnostics.formulas.registry import known_diagnostics
from respeval.diagnostics.scalars import scalars_with_statistics
from respeval.diagnostics.statistics.uncertainty import Units
from respeval.diagnostics.zonal import zonal_totals

#: How the samples' dates are written.
_DATE = "%Y-%m-%d %H:%M:%S"

SEASONS: Mapping[str, tuple[int, ...]] = {
    "DJF": (12, 1, 2),
    "MAM": (3, 4, 5),
    "JJA": (6, 7, 8),
    "SON": (9, 10, 11),
}


def seasonal(zonal: xr.Dataset, settings: DiagnosticSettings) -> xr.Dataset:
    """`NAME_by_season` (perturbation, season, band) and `NAME_by_month` (perturbation, month, band)
    of those that are told so, with their statistics; nothing where the run's segments don't allow it.

    A mean over a season weighs every step alike. The unit is a season of a year of the run, so that
    the DJF of a run that starts in January is its own January, February and December. Each sample has
    the dates that it began with: a segment belongs to the month in which its middle lies.

    zonal: as in zonal.nc.
    """
    name = settings.roles.near_surface_temperature
    if name not in zonal or why_no_seasons(zonal) is not None:
        return xr.Dataset()
    read = zonal[[name, "count", "area", "time_bnds"]]
    months = xr.DataArray(np.arange(1, 13), dims="month", attrs={"units": "1"})
    in_month = months_of_samples(zonal) == months.drop_attrs()
    by_month = zonal_totals(read.assign(count=zonal["count"] * in_month))
    by_month = by_month.assign_coords(month=months.assign_attrs(long_name="month of the year"))
    by_season = xr.concat(
        [by_month.sel(month=list(m)).sum("month", skipna=False) for m in SEASONS.values()],
        dim=xr.Variable("season", list(SEASONS), {"long_name": "season, by its months"}),
    )
    found = xr.Dataset()
    for totals, dim in zip((by_season, by_month), SEASONAL_DIMS, strict=True):
        names = _names_by(dim)
        units = Units.of(totals["count"])
        part, _ = scalars_with_statistics(totals, read, units, settings, names)
        for value in part.data_vars.values():
            value.attrs["long_name"] += f" by {dim}"
        found.update(part.transpose("perturbation", dim, ...))
    return found


def months_of_samples(zonal: xr.Dataset) -> xr.DataArray:
    """The month of the year in which the middle of every segment lies, by each sample's own dates,
    (sample, time).

    zonal: as in zonal.nc, whose times are the first sample's; `start_date` (sample), texts, where the
        samples start on different dates.
    """
    time, delays = zonal["time"].variable.values, starts_after_first(zonal)
    if time.dtype.kind == "M":
        delays = [np.timedelta64(delay) for delay in delays]
    months = [xr.DataArray(time + delay, dims="time").dt.month.values for delay in delays]
    return xr.DataArray(np.stack(months), dims=("sample", "time"))


def starts_after_first(zonal: xr.Dataset) -> list[Any]:
    """How much later than the first sample each one began, in the run's calendar, as timedelta."""
    if "start_date" not in zonal.variables:
        return [datetime.timedelta(0)] * zonal.sizes["sample"]
    first = zonal["time_bnds"].values.ravel()[0]
    calendar = "standard" if isinstance(first, np.datetime64) else first.calendar
    units = "seconds since 1900-01-01"
    seconds = [
        cftime.date2num(cftime.datetime.strptime(str(text), _DATE, calendar), units, calendar)
        for text in zonal["start_date"].values
    ]
    return [datetime.timedelta(seconds=int(each - seconds[0])) for each in seconds]


def _names_by(dim: str) -> dict[str, str]:
    """Names of the diagnostics that are told by season -> what they are called by season, or by month."""
    return {name: each.by(dim).name for name, each in known_diagnostics().items() if each.by_season}


def why_no_seasons(zonal: xr.Dataset) -> str | None:
    """Why a run can't be told by season, or None where it can: every segment must lie in a month."""
    bounds = zonal["time_bnds"].transpose("time", "bnds")
    last = bounds.isel(bnds=1).values
    second = np.timedelta64(1, "s") if last.dtype.kind == "M" else datetime.timedelta(seconds=1)
    first, last_moment = bounds.isel(bnds=0), bounds.isel(bnds=1).copy(data=last - second)
    within = (first.dt.month == last_moment.dt.month) & (first.dt.year == last_moment.dt.year)
    if bool(within.all()):
        return None
    return "its segments don't lie within calendar months (segment: month gives such)"


def seasons_left_out(zonal: xr.Dataset, settings: DiagnosticSettings) -> dict[str, str]:
    """The diagnostics by season and by month that a run doesn't have: name -> reason."""
    reason = why_no_seasons(zonal)
    if settings.roles.near_surface_temperature not in zonal:
        reason = "there is no near-surface temperature"
    names = [name for dim in SEASONAL_DIMS for name in _names_by(dim).values()]
    return {} if reason is None else dict.fromkeys(names, reason)
