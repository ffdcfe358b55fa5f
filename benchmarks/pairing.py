"""How long it takes to know the tropical land/ocean warming ratio, from runs whose climates share much or
nothing.

A run's cost is in units: years of a sample, of both climates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.special import stdtrit

from respeval.diagnostics import (
    BASELINE,
    DiagnosticSettings,
    main_diagnostics,
    relative_half_width,
    years_left,
)
from respeval.diagnostics.statistics.sampling import CONFIDENCE, fieller
from respeval.fields.grid import in_band

NAME, BAND = "land_ocean_warming_ratio", "tropics"
MONTHS = 12

#: No series by hand is thought of that has more units than this.
_MOST_UNITS = 1e6


@dataclass(frozen=True)
class Stops:
    """Where runs end. units: of each, [run]. ratio: there; NaN where it was not run so far."""

    units: np.ndarray
    ratio: np.ndarray


def split(zonal: xr.Dataset, num_samples: int) -> xr.Dataset:
    """The samples of one run as runs of so many each: zonal.nc's outputs with a dimension `run`."""
    zonal = zonal.drop_vars("sample", errors="ignore")
    outputs = [name for name in zonal.data_vars if {"sample", "surface"} <= set(zonal[name].dims)]
    firsts = range(0, zonal.sizes["sample"] - num_samples + 1, num_samples)
    parts = [zonal[outputs].isel(sample=slice(i, i + num_samples)) for i in firsts]
    shared = zonal.drop_vars(outputs).isel(sample=slice(0, num_samples))
    return xr.concat(parts, "run").assign(shared.data_vars)


def strangers(zonal: xr.Dataset) -> xr.Dataset:
    """Each sample's baseline beside the perturbed climate of the next one, with which it has no initial
    condition in common, and no noise where that is not paired."""
    rolled = zonal.roll(sample=1)
    outputs = [name for name in zonal.data_vars if {"sample", "surface"} <= set(zonal[name].dims)]
    is_baseline = zonal["group"] == BASELINE
    return zonal.assign({name: zonal[name].where(is_baseline, rolled[name]) for name in outputs})


def tropical_means(zonal: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Near-surface temperature of tropical land and ocean by year, K, (…, group, sample, year, surface).

    zonal: as in zonal.nc, in whole years of monthly segments.
    """
    low, high = settings.bands[BAND]
    area = zonal["area"].sel(surface=["land", "ocean"])
    area = area.where(xr.DataArray(in_band(zonal["lat"].values, low, high), dims="lat"), 0.0)
    temperature = zonal[settings.roles.near_surface_temperature].sel(surface=["land", "ocean"])
    monthly = (temperature.fillna(0.0) * area).sum("lat") / area.sum("lat")
    year = xr.DataArray(np.arange(zonal.sizes["time"]) // MONTHS, dims="time", name="year")
    weighted = (monthly * zonal["count"]).groupby(year).sum("time")
    yearly = weighted / zonal["count"].groupby(year).sum("time")
    return yearly.transpose(..., "group", "sample", "year", "surface")


def by_year(runs: xr.Dataset, settings: DiagnosticSettings) -> xr.Dataset:
    """The ratio with respeval's own interval after each year, (year, run). runs: see `split`."""
    stops = range(MONTHS, runs.sizes["time"] + 1, MONTHS)
    ends = [
        main_diagnostics(runs.isel(time=slice(0, stop)), settings, [NAME])
        .isel(perturbation=0)
        .sel(band=BAND)
        for stop in stops
    ]
    return xr.concat(ends, "year")


def stops(found: xr.Dataset, num_samples: int, fraction: float) -> Stops:
    """Where the interval of each run comes within the fraction first.

    As measured, or where no year was enough, as `NAME_years_to_5_percent` is estimated. found: of
    `by_year`, in runs of `num_samples`.
    """
    ratio = found[NAME].transpose("year", "run")
    width = found[NAME].copy(data=relative_half_width(found, NAME)).transpose("year", "run")
    reached = (width <= fraction).values
    at, ever, num_years = reached.argmax(axis=0), reached.any(axis=0), len(reached)
    left = years_left(found.isel(year=-1), NAME, fraction, float(num_years)).values
    years = np.where(ever, 1.0 + at, num_years + left)
    values = np.take_along_axis(ratio.values, at[None], axis=0)[0]
    return Stops(num_samples * years, np.where(ever, values, np.nan))


def by_hand(
    means: xr.DataArray, num_units: xr.Variable | None = None
) -> tuple[xr.Variable, xr.Variable]:
    """The ratio from two runs whose errors are independent, and (high - low) / 2 / |ratio|, (run).

    Fieller's interval of the two differences of means: each run's covariance of land and ocean over n,
    added up, and Student's t of 2 (n - 1) degrees of freedom. Years count as independent.

    means: of `tropical_means`, (run, group, sample, year, surface), group the baseline and another.
    num_units: n, where it is not the number of these; the spread stays that of these.
    """
    units = means.variable.stack(unit=("sample", "year"))
    n = units.sizes["unit"]
    wanted = xr.Variable((), float(n)) if num_units is None else num_units
    mean = units.mean("unit")
    change = mean.isel(group=1) - mean.isel(group=0)
    land, ocean = change.isel(surface=0), change.isel(surface=1)
    away = units - mean
    of_land, of_ocean, common = (
        (away.isel(surface=i) * away.isel(surface=j)).sum(("unit", "group")) / ((n - 1) * wanted)
        for i, j in ((0, 0), (1, 1), (0, 1))
    )
    upper = 0.5 + 0.5 * CONFIDENCE
    t = wanted.copy(data=np.asarray(stdtrit(2.0 * (wanted.values - 1.0), upper)))
    low, high = fieller(land, ocean, (of_land, of_ocean, common), t)
    ratio = land / ocean
    return ratio, (high - low) / 2.0 / abs(ratio)


def stops_by_hand(means: xr.DataArray, fraction: float) -> Stops:
    """Where the interval of each two runs comes within the fraction first.

    As measured year by year, or where these are not enough, with the spread that they have.
    """
    num_samples, num_years = means.sizes["sample"], means.sizes["year"]
    first = 1 if num_samples > 1 else 2
    parts = [by_hand(means.isel(year=slice(0, y))) for y in range(first, num_years + 1)]
    ratio, width = (np.stack([part[i].values for part in parts]) for i in range(2))
    reached = width <= fraction
    at, ever = reached.argmax(axis=0), reached.any(axis=0)
    units = np.where(ever, num_samples * (first + at), _units_by_hand(means, fraction))
    values = np.take_along_axis(ratio, at[None], axis=0)[0]
    return Stops(units.astype(np.float64), np.where(ever, values, np.nan))


def _units_by_hand(means: xr.DataArray, fraction: float) -> np.ndarray:
    """The fewest units that will do with the spread of these, [run], by bisection."""
    low, high = np.full(means.sizes["run"], 1.0), np.full(means.sizes["run"], _MOST_UNITS)
    while (high - low > 1.0).any():
        middle = np.maximum(2.0, (low + high) // 2.0)
        enough = by_hand(means, xr.Variable("run", middle))[1].values <= fraction
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return high


def spread_of_a_year(means: xr.DataArray) -> float:
    """Standard deviation among samples of what a year says of the ratio, relative to it.

    It is that of (land - ratio * ocean) / ocean, each year's own mean taken out: to first order the
    error of a ratio of means of n independent years is this over sqrt(n).

    means: of `tropical_means` without `run`.
    """
    change = means.isel(group=1) - means.isel(group=0)
    land, ocean = change.sel(surface="land"), change.sel(surface="ocean")
    ratio = float(land.mean() / ocean.mean())
    error = (land - ratio * ocean) / ocean.mean()
    return float(error.var("sample", ddof=1).mean() ** 0.5) / abs(ratio)


def correlation_of_the_pair(means: xr.DataArray) -> xr.DataArray:
    """Of the two climates' means over the samples of a year, (year, surface). means: without `run`."""
    away = means - means.mean("sample")
    product = (away.isel(group=0) * away.isel(group=1)).sum("sample")
    squares = (away**2).sum("sample")
    return product / (squares.isel(group=0) * squares.isel(group=1)) ** 0.5
