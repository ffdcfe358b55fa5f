"""How often the intervals of runs that end by `--until` cover the truth, over many simulated runs.

The runs are those of benchmarks/coverage.py, one after the other year.

    make bench BENCH=stopping
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from benchmarks.coverage import BATCH, SETTINGS
from benchmarks.frame import Benchmark, Options, Outcome, Table
from respeval.diagnostics import (
    RATIOS_KNOWN,
    diagnose_reference,
    main_diagnostics,
    relative_half_width,
)
from respeval.fields.grid import Grid
from respeval.plan.goal import FEWEST_UNITS, FEWEST_YEARS
from respeval.planet.climate import ROLES
from respeval.planet.replicas import Replicas, YearlyWeather

#: Heading -> samples, and a slow anomaly's standard deviation (K) and lag-1 correlation.
CASES = {
    "1": (1, (0.0, 0.0)),
    "4": (4, (0.0, 0.0)),
    "1 slow": (1, (0.3, 0.6)),
    "4 slow": (4, (0.3, 0.6)),
}

#: The longest run, years.
LONGEST = 20

FRACTIONS = (0.05, 0.03, 0.02)


def intervals_by_year(
    replicas: Replicas, num_runs: int, num_samples: int, slow: tuple[float, float]
) -> tuple[xr.Dataset, xr.Dataset]:
    """Of the ratios after each year, in the first band: half-width relative to the value, and whether
    the interval covers the truth, (run, year)."""
    truth = diagnose_reference(replicas.truth, SETTINGS).isel(perturbation=0, band=0)
    generator = np.random.default_rng(0)
    read = [ROLES.near_surface_temperature, ROLES.upper_level, "count", "area", "time_bnds"]
    widths, covered = [], []
    for _ in range(num_runs // BATCH):
        zonal = replicas.draw(generator, BATCH, num_samples, slow)[read]
        ends = [zonal.isel(time=slice(0, year)) for year in range(1, LONGEST + 1)]
        by_year = [main_diagnostics(part, SETTINGS, RATIOS_KNOWN) for part in ends]
        found = xr.concat(by_year, "year").isel(perturbation=0, band=0)
        own = {n: found[n].copy(data=relative_half_width(found, n)) for n in RATIOS_KNOWN}
        widths.append(xr.Dataset(own))
        inside = {
            n: (found[f"{n}_low"] <= truth[n]) & (truth[n] <= found[f"{n}_high"])
            for n in RATIOS_KNOWN
        }
        covered.append(xr.Dataset(inside))
    return xr.concat(widths, "run"), xr.concat(covered, "run")


def stopped(
    widths: xr.DataArray, covered: xr.DataArray, num_samples: int, fraction: float, fewest: bool
) -> tuple[float, float, float]:
    """Mean length in years, and the % of runs that reach the fraction and whose interval covers.

    widths, covered: (run, year). fewest: whether no run ends before `respeval run` lets it.
    """
    years = xr.DataArray(np.arange(1, LONGEST + 1), dims="year")
    allowed = years * num_samples >= 2
    if fewest:
        allowed = (years >= FEWEST_YEARS) & (years * num_samples >= FEWEST_UNITS)
    reached = (widths <= fraction) & allowed
    end = (reached | (years == LONGEST)).argmax("year")
    shares = (100.0 * float(x.isel(year=end).mean()) for x in (reached, covered))
    return (float(end.mean()) + 1.0, *shares)  # type: ignore[return-value]


def run(options: Options) -> Outcome:
    num_runs = BATCH if options.quick else 1000
    weather = YearlyWeather.on(Grid.legendre_gauss(12, 24))
    rows, numbers = [], {}
    for heading, (num_samples, slow) in CASES.items():
        replicas = Replicas(weather, LONGEST)
        widths, covered = intervals_by_year(replicas, num_runs, num_samples, slow)
        for name in RATIOS_KNOWN:
            width, inside = widths[name], covered[name]
            whole = 100.0 * float(inside.isel(year=-1).mean())
            for fraction in FRACTIONS:
                own = stopped(width, inside, num_samples, fraction, True)
                free = stopped(width, inside, num_samples, fraction, False)
                cells = (f"{a:.1f} ({b:.1f})" for a, b in zip(own, free, strict=True))
                rows.append((f"{name}, {heading}", f"{fraction:g}", *cells, f"{whole:.1f}"))
                numbers[f"{name}/{heading}/{fraction:g}"] = {
                    "own": own,
                    "free": free,
                    "whole": whole,
                }
    title = f"{num_runs} runs of up to {LONGEST} years; in brackets: let go from two units on"
    header = ("ratio, samples", "until", "years", "reached, %", "covered, %", "at full length, %")
    return Outcome([Table(title, header, rows)], (), (), numbers)


BENCHMARK = Benchmark(
    "Coverage of runs that end by --until",
    "The same runs, each ending in the first year in which a ratio is known to the fraction, as `respeval "
    "run --until` does, or after 20 years. [uncertainty.md](uncertainty.md) says why it never ends sooner "
    "than after 5 years and 10 units.",
    run,
)
