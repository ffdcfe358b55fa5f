"""The main diagnostics of a run as they would stand had it ended earlier: how sure, and since when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import xarray as xr

from respeval.diagnostics.evaluate import read_by_diagnostics
from respeval.diagnostics.formulas.per_kelvin import POLAR_LAT_MIN
from respeval.diagnostics.formulas.regions import DiagnosticSettings
from respeval.diagnostics.formulas.registry import OWN
from respeval.diagnostics.numbers import RATIOS_KNOWN
from respeval.diagnostics.output_means import means_with_statistics
from respeval.diagnostics.scalars import scalars_with_statistics
from respeval.diagnostics.statistics.copies import alike_samples, merge_alike
from respeval.diagnostics.statistics.periods import length_years, with_periods
from respeval.diagnostics.statistics.precision import (
    FEWEST_YEARS_TO_KNOW,
    KNOWN_TO,
    YEARS,
    years_left,
)
from respeval.diagnostics.statistics.totals import (
    names_with_dims,
    statistics_named_in,
    year_blocks_until,
    year_ends,
    yearly_counts,
    yearly_totals,
)
from respeval.diagnostics.statistics.uncertainty import Units
from respeval.diagnostics.zonal import zonal_totals
from respeval.fields.grid import SURFACES, in_band

#: What is told against time, beside the near-surface temperature's means over the surfaces: respeval's
#: own of a run's table. Those of packages may be of regions that `MergedCircles` does not tell apart.
_MAIN = tuple(name for name, each in OWN.items() if each.row is not None)

#: At most so many points are told.
MOST_POINTS = 60

#: Statistics that are told of the whole run only.
_LEFT_OUT = ("_stderr", "_noise")

#: About how many bytes of totals are worked on at once.
_BYTES = 64 * 2**20


def running(zonal: xr.Dataset, diagnostics: xr.Dataset, settings: DiagnosticSettings) -> xr.Dataset:
    """Those of a run's main diagnostics that `diagnostics` has, from the segments up to each time.

    zonal: as in zonal.nc. diagnostics: those of the whole run (see `diagnose`), the last time's
        numbers.
    Returns values, their intervals and effective numbers, (perturbation, …, time). `time` is the end of
    what was taken, `time_bnds` its whole period; the numbers are those of a run that had ended then
    (see `stops_of`). Beside each of `RATIOS_KNOWN` stands NAME_years_to_5_percent, see `years_left`. Of a
    run that has none of them there are the times alone.
    """
    mean = f"{settings.roles.near_surface_temperature}_mean"
    names = [name for name in (*_MAIN, mean) if name in diagnostics]
    statistics = statistics_named_in(diagnostics)
    kept = [
        str(name)
        for name in diagnostics.data_vars
        if statistics.get(str(name), str(name)) in names and not str(name).endswith(_LEFT_OUT)
    ]
    if not kept:
        return with_periods(xr.Dataset(), zonal, [zonal.sizes["time"]])
    stops = stops_of(zonal)
    parts = [
        *_before_the_end(zonal, settings, names, stops[:-1]),
        diagnostics[kept].expand_dims("time"),
    ]
    found = xr.concat([part[kept] for part in parts], "time", coords="minimal", compat="override")
    found = found.drop_attrs(deep=False).transpose(..., "time", missing_dims="ignore")
    for name in kept:
        found[name].attrs = dict(diagnostics[name].attrs)
    for name in names:
        found[name].attrs["ancillary_variables"] = f"{name}_low {name}_high {name}_num_effective"
    found = with_periods(found, zonal, stops)
    for name in RATIOS_KNOWN:
        if name in found:
            length = length_years(zonal, stops)
            left = years_left(found, name, KNOWN_TO, length)
            found[f"{name}_{YEARS}"] = left.where(length >= FEWEST_YEARS_TO_KNOW)
    return found


def stops_of(zonal: xr.Dataset) -> list[int]:
    """How many segments each of the shorter runs has; the last has them all.

    To the end of every whole year, so that none mixes seasons; no more than `MOST_POINTS`, as evenly
    as they go.
    """
    stops = year_ends(zonal[["time_bnds"]].load())
    chosen = np.linspace(0, len(stops) - 1, min(len(stops), MOST_POINTS))
    return [stops[i] for i in np.unique(np.rint(chosen).astype(int)).tolist()]


def _before_the_end(
    zonal: xr.Dataset, settings: DiagnosticSettings, names: Sequence[str], stops: Sequence[int]
) -> Iterator[xr.Dataset]:
    """The diagnostics of the shorter runs, some of them at once, (…, time)."""
    if not stops:
        return
    outputs = names_with_dims(zonal, ("group", "sample", "time", "surface", "lat"))
    near_surface = settings.roles.near_surface_temperature
    read = read_by_diagnostics(outputs, settings)
    zones = MergedCircles.of(zonal["area"].compute(), settings)
    pieces, shares = _pieces(zonal, read, stops, zones)
    described = xr.Dataset({name: ((), 0.0, zonal[name].attrs) for name in read})
    described["area"] = zones.area
    bytes_each = pieces.nbytes // pieces.sizes["piece"] * shares.sizes["year"]
    num_at_once = max(1, _BYTES // max(1, bytes_each))
    named = {name: name for name in names if name in _MAIN}
    for first in range(0, len(stops), num_at_once):
        own = shares.isel(time=slice(first, first + num_at_once))
        totals = pieces.map(lambda x, own=own: xr.dot(x, own, dim="piece"))
        units = Units.of(totals["count"])
        found, _ = scalars_with_statistics(totals, described, units, settings, named)
        if near_surface in read:
            usual = totals.sel(surface=list(SURFACES))
            means, _ = means_with_statistics(usual, described, units, [near_surface], False, None)
            found.update(means)
        yield found


def _pieces(
    zonal: xr.Dataset, names: Sequence[str], stops: Sequence[int], zones: MergedCircles
) -> tuple[xr.Dataset, xr.DataArray]:
    """Totals of pieces of the run, (…, piece), and which of them make each year of each shorter run,
    1 or 0, (time, year, piece)."""
    times = zonal[["time_bnds"]].load()
    years = year_blocks_until(times, stops)
    edges = sorted({0}.union(*({block.stop for block in blocks} for blocks in years)))
    slices = [slice(a, b) for a, b in pairwise(edges)]
    count = zonal["count"].compute()
    totals = {
        name: zones.merge(yearly_totals(zonal[name], count, slices)).rename(year="piece")
        for name in names
    }
    counts = yearly_counts(count, slices).rename(year="piece")
    pieces = xr.Dataset({**totals, "count": counts})
    by_year = pieces.rename(piece="year")
    pieces = merge_alike(by_year, alike_samples(by_year)).rename(year="piece")
    shares = np.zeros((len(stops), max(map(len, years)), len(slices)))
    for i, blocks in enumerate(years):
        for j, block in enumerate(blocks):
            shares[i, j, edges.index(block.start) : edges.index(block.stop)] = 1.0
    return pieces, xr.DataArray(shares, dims=("time", "year", "piece"))


def main_diagnostics(
    zonal: xr.Dataset, settings: DiagnosticSettings, names: Sequence[str]
) -> xr.Dataset:
    """Those diagnostics of `diagnose` alone, with their statistics: a tenth of a second.

    zonal: as in zonal.nc. names: of `known_diagnostics`.
    """
    totals = zonal_totals(zonal)
    named = {name: name for name in names}
    units = Units.of(totals["count"])
    found, _ = scalars_with_statistics(totals, zonal, units, settings, named)
    return found


def num_units(zonal: xr.Dataset) -> tuple[int, int]:
    """How many years a run has, and how many (sample, year) units in the perturbation with the fewest.
    Samples that have become one count as one.

    zonal: as in zonal.nc, of the outputs to tell samples by.
    """
    count = zonal_totals(zonal)["count"]
    return count.sizes["year"], int(Units.of(count).pairs.sum(["sample", "year"]).min())


@dataclass(frozen=True, eq=False)
class MergedCircles:
    """Zones that lie in the same bands, tropics and polar caps, and how circles make them.

    area: (surface, lat), of the zones; `lat` is the latitude of a circle in each. shares: (surface,
    zone, lat), of the circles in the area of each zone; 0 where it has no cell.
    """

    area: xr.DataArray
    shares: xr.DataArray

    @classmethod
    def of(cls, area: xr.DataArray, settings: DiagnosticSettings) -> MergedCircles:
        """area: (surface, lat), of the circles."""
        latitude = area["lat"].values
        regions = [*settings.bands.values(), (0.0, settings.tropical_lat_max)]
        belongs = [in_band(latitude, low, high) for low, high in regions]
        belongs += [latitude >= POLAR_LAT_MIN, latitude <= -POLAR_LAT_MIN]
        _, first, zone = np.unique(
            np.array(belongs), axis=1, return_index=True, return_inverse=True
        )
        inside = np.arange(first.size)[:, None] == np.ravel(zone)
        parts = xr.DataArray(inside, dims=("zone", "lat")) * area.drop_vars("lat")
        whole = parts.sum("lat")
        shares = parts / whole.where(whole > 0, 1.0)
        merged = whole.rename(zone="lat").assign_coords(lat=latitude[first])
        return cls(merged.transpose("surface", "lat"), shares)

    def merge(self, values: xr.DataArray) -> xr.DataArray:
        """Means over circles (…, surface, lat) to means over zones, same dimensions."""
        known = values.drop_vars("lat").where((self.shares > 0).any("zone"), 0.0)
        merged = xr.dot(known, self.shares, dim="lat").rename(zone="lat")
        zones: xr.DataArray = merged.assign_coords(lat=self.area["lat"]).where(self.area > 0)
        return zones
