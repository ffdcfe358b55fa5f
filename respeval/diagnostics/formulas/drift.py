"""Trends through the years of a run: of the baseline, and of the response."""

from __future__ import annotations

import numpy as np
import xarray as xr

from respeval.diagnostics.formulas.diagnostic import Diagnostic
from respeval.diagnostics.formulas.humidity import REGIONS, by_region
from respeval.diagnostics.formulas.regions import DiagnosticSettings, near_surface, region_mean
from respeval.diagnostics.statistics.sampling import effective, t_quantile
from respeval.diagnostics.statistics.totals import year_blocks
from respeval.diagnostics.statistics.uncertainty import with_statistics
from respeval.fields.perturbation import BASELINE

#: A block of segments that is shorter than this share of the first is no whole year.
WHOLE_YEAR = 0.95

_DAYS_PER_DECADE = 3652.425

#: Kelvins per decade; UDUNITS has no decade.
_UNITS = "K (10 year)-1"

_SANTER_2008 = "Santer et al. 2008, Int. J. Climatol. 28, 1703-1722"


def _of_baseline(yearly: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    return _temperature(yearly, settings).sel(group=BASELINE, drop=True)


def _of_response(yearly: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    values = _temperature(yearly, settings)
    difference = values.drop_sel(group=BASELINE) - values.sel(group=BASELINE, drop=True)
    return difference.rename(group="perturbation")


baseline_drift = Diagnostic(
    name="baseline_drift",
    what="Trend of the baseline's near-surface temperature",
    units=_UNITS,
    dims="region",
    formula="Slope of the least-squares line through the means of whole years of all samples, over the "
    "globe, land and ocean. What the forcing itself does is in it.",
    source=_SANTER_2008,
    values=_of_baseline,
    long_name="trend of near-surface temperature in the baseline",
    cell_methods="area: mean",
    is_trend=True,
)

response_drift = Diagnostic(
    name="response_drift",
    what="Trend of the near-surface response",
    units=_UNITS,
    dims="perturbation, region",
    formula="As `baseline_drift`, of the paired difference, in which the forcing's own trend cancels. A "
    "response that has settled has none.",
    source=_SANTER_2008,
    values=_of_response,
    long_name="trend of the response of near-surface temperature",
    cell_methods="area: mean",
    is_trend=True,
)


def yearly_means(totals: xr.Dataset, zonal: xr.Dataset) -> xr.Dataset:
    """Means of every whole year, (group, sample, year, surface, lat), with `area` and `decades`.

    totals: as `zonal_totals` gives them, of the outputs of interest. decades: (year), from the run's
    start to the middle of the year.
    """
    edges = zonal["time_bnds"].transpose("time", "bnds").values
    blocks = year_blocks(zonal)
    begin = _days(edges[[block.start for block in blocks], 0], edges[0, 0])
    end = _days(edges[[block.stop - 1 for block in blocks], 1], edges[0, 0])
    whole = (end - begin) >= WHOLE_YEAR * (end[0] - begin[0])
    count = totals["count"]
    means = totals.drop_vars("count") / count.where(count > 0)
    decades = xr.DataArray((begin + end) / 2.0 / _DAYS_PER_DECADE, dims="year")
    found = means.assign(area=zonal["area"].compute(), decades=decades)
    return found.isel(year=np.flatnonzero(whole))


def trend(values: xr.DataArray, decades: xr.DataArray) -> dict[str, xr.Variable]:
    """Slope of the line through yearly means and its uncertainty: value, `stderr`, `low`, `high` and
    `num_effective`.

    s_b² = Σ e² / (n_eff − 2) / Σ (t − t̄)²: e the residuals, n_eff their effective number; the interval
    has Student's t with one degree of freedom less than a mean's. NaN where n_eff is not more than 2.

    values: (…, sample, year), NaN where there is no such year. decades: (year).
    """
    x = values.variable
    known = x.notnull()
    time = decades.variable
    dims = ["sample", "year"]
    number = known.sum(dims)
    number = number.where(number > 0)
    centred = (time - (time * known).sum(dims) / number).where(known, 0.0)
    squares = (centred**2).sum(dims)
    squares = squares.where(squares > 0)
    mean = x.where(known, 0.0).sum(dims) / number
    slope = (centred * x.where(known, 0.0)).sum(dims) / squares
    residual = (x - mean - slope * centred).where(known, 0.0)
    units = effective(residual, known)
    left = (units.number - 2.0).where(units.number > 2.0)
    freedom = (units.freedom - 1.0).where(left.notnull() & (units.freedom > 1.0))
    stderr = ((residual**2).sum(dims) / left / squares) ** 0.5
    reach = t_quantile(freedom) * stderr
    return {
        "": slope,
        "stderr": stderr,
        "low": slope - reach,
        "high": slope + reach,
        "num_effective": units.freedom + 1.0,
    }


def with_trend(name: str, values: xr.DataArray, decades: xr.DataArray) -> dict[str, xr.Variable]:
    """The trend of yearly values, whose attributes are the trend's, and its statistics, as they stand in
    diagnostics.nc."""
    found = trend(values, decades)
    slope = found.pop("")
    dims = [dim for dim in values.dims if dim not in ("sample", "year")]
    slope.attrs = dict(values.attrs)
    return with_statistics(name, slope.transpose(*dims), found)


def _temperature(yearly: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Means of near-surface temperature over each region, (…, region)."""
    name = near_surface(yearly, settings)
    return by_region([region_mean(yearly, name, surface) for surface in REGIONS.values()])


def _days(times: np.ndarray, start: object) -> np.ndarray:
    """Days from `start` to each of these times, cftime or datetime64."""
    differences = times - start
    if differences.dtype.kind == "m":
        return np.asarray(differences / np.timedelta64(1, "D"), np.float64)
    return np.array([each.total_seconds() / 86_400.0 for each in differences], np.float64)
