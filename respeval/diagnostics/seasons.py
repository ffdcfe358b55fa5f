"""Warming of land and ocean by season, and its annual cycle."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

import numpy as np
import xarray as xr

from respeval.diagnostics.formulas.regions import DiagnosticSettings
from respeval.diagnostics.scalars import scalars_with_statistics
from respeval.diagnostics.statistics.uncertainty import Units
from respeval.diagnostics.zonal import zonal_totals

SEASONS: Mapping[str, tuple[int, ...]] = {
    "DJF": (12, 1, 2),
    "MAM": (3, 4, 5),
    "JJA": (6, 7, 8),
    "SON": (9, 10, 11),
}

#: The diagnostics that are told by season and by month.
SEASONAL = ("land_warming", "ocean_warming", "land_ocean_warming_ratio")


def seasonal(zonal: xr.Dataset, settings: DiagnosticSettings) -> xr.Dataset:
    """`NAME_by_season` (perturbation, season, band) and `NAME_by_month` (perturbation, month, band)
    of `SEASONAL`, with their statistics; nothing where the run's segments don't allow it.

    A mean over a season weighs every step alike. The unit is a season of a year of the run, so that
    the DJF of a run that starts in January is its own January, February and December.

    zonal: as in zonal.nc.
    """
    name = settings.roles.near_surface_temperature
    if name not in zonal or why_no_seasons(zonal) is not None:
        return xr.Dataset()
    read = zonal[[name, "count", "area", "time_bnds"]]
    months = xr.DataArray(np.arange(1, 13), dims="month", attrs={"units": "1"})
    in_month = zonal["time"].dt.month.drop_vars("time") == months.drop_attrs()
    by_month = zonal_totals(read.assign(count=zonal["count"] * in_month))
    by_month = by_month.assign_coords(month=months.assign_attrs(long_name="month of the year"))
    by_season = xr.concat(
        [by_month.sel(month=list(m)).sum("month", skipna=False) for m in SEASONS.values()],
        dim=xr.Variable("season", list(SEASONS), {"long_name": "season, by its months"}),
    )
    found = xr.Dataset()
    for totals, dim in ((by_season, "season"), (by_month, "month")):
        names = {name: seasonal_name(name, dim) for name in SEASONAL}
        units = Units.of(totals["count"])
        part, _ = scalars_with_statistics(totals, read, units, settings, names)
        for value in part.data_vars.values():
            value.attrs["long_name"] += f" by {dim}"
        found.update(part.transpose("perturbation", dim, ...))
    return found


def seasonal_name(name: str, dim: str) -> str:
    """What a diagnostic by season or by month is called."""
    return f"{name}_by_{dim}"


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
    """Those of `SEASONAL` by season and by month that a run doesn't have: name -> reason."""
    reason = why_no_seasons(zonal)
    if settings.roles.near_surface_temperature not in zonal:
        reason = "there is no near-surface temperature"
    names = [seasonal_name(name, dim) for dim in ("season", "month") for name in SEASONAL]
    return {} if reason is None else dict.fromkeys(names, reason)
