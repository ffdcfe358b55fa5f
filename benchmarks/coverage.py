"""How often the 95 % intervals cover the truth, over many simulated runs of the bundled planet.

The planet's response is known in closed form, and its weather is a linear process, so that thousands
of runs can be drawn exactly (respeval/planet/replicas.py). Each goes through the diagnostics of
every run. With N runs the share itself is uncertain by 0.22/sqrt(N).

    python benchmarks/coverage.py --runs 2000

With --until each run ends in the first year in which a ratio is known to this fraction, as `respeval
run --until` does, or after 20 years; and in brackets, had it been let go from two units on.

    python benchmarks/coverage.py --runs 1000 --until 0.05 0.03 0.02 0.01
"""

from __future__ import annotations

import argparse
import itertools

import numpy as np
import torch
import xarray as xr
from scipy.special import stdtrit

from respeval.diagnostics import (
    DIAGNOSTICS,
    RATIOS_KNOWN,
    DiagnosticSettings,
    diagnose,
    diagnose_reference,
    main_diagnostics,
    relative_half_width,
)
from respeval.grid import Grid
from respeval.planet.climate import ROLES
from respeval.planet.replicas import Replicas, YearlyWeather
from respeval.until import FEWEST_UNITS, FEWEST_YEARS

#: Heading -> samples, years, and a slow anomaly's standard deviation (K) and lag-1 correlation.
CASES = {
    "4x1": (4, 1, (0.0, 0.0)),
    "1x5": (1, 5, (0.0, 0.0)),
    "4x5": (4, 5, (0.0, 0.0)),
    "1x10": (1, 10, (0.0, 0.0)),
    "4x10": (4, 10, (0.0, 0.0)),
    "4x10 own SST": (4, 10, (0.0, 0.0)),
    "4x10 slow": (4, 10, (0.3, 0.6)),
    "1x20 slow": (1, 20, (0.3, 0.6)),
    "1x10 slow": (1, 10, (0.3, 0.6)),
}
#: The cases of --until: samples and the slow anomaly. The longest run, years.
UNTIL_CASES = {"1": (1, (0.0, 0.0)), "4": (4, (0.0, 0.0)), "1 slow": (1, (0.3, 0.6))}
UNTIL_CASES["4 slow"] = (4, (0.3, 0.6))
LONGEST = 20
BATCH = 200
SETTINGS = DiagnosticSettings(ROLES)


def rows(values: xr.Dataset) -> dict[str, xr.DataArray]:
    """Label of a number -> where it lies in every run; [run]."""
    found = {}
    for name in map(str, values.data_vars):
        dims = [dim for dim in values[name].dims if dim != "run"]
        for place in itertools.product(*(values[dim].values for dim in dims)):
            at = dict(zip(dims, place, strict=True))
            found["/".join([name, *map(str, place)])] = values[name].sel(at, drop=True)
    return found


def coverage(
    replicas: Replicas, num_runs: int, num_samples: int, slow: tuple[float, float]
) -> xr.Dataset:
    """Share of runs, %, whose interval covers the truth: `with_r` and `without_r`, (row)."""
    truth = diagnose_reference(replicas.truth, SETTINGS).isel(perturbation=0)
    quantile = float(stdtrit(num_samples * replicas.num_years - 1.0, 0.975))
    generator = np.random.default_rng(0)
    batches = []
    for _ in range(num_runs // BATCH):
        zonal = replicas.draw(generator, BATCH, num_samples, slow)
        found = diagnose(zonal, SETTINGS).isel(perturbation=0)
        with_r, without_r = {}, {}
        for name in DIAGNOSTICS:
            if name not in truth or "lat" in truth[name].dims:
                continue
            low, high = found[f"{name}_low"], found[f"{name}_high"]
            with_r[name] = (low <= truth[name]) & (truth[name] <= high)
            # What the standard error would be if all units were independent.
            share = (found[f"{name}_num_effective"] - 1) / (num_samples * replicas.num_years - 1)
            reach = quantile * found[f"{name}_stderr"] * share**0.5
            without_r[name] = abs(found[name] - truth[name]) <= reach
        stacked = {
            key: xr.concat(
                list(rows(xr.Dataset(x)).values()), "row", coords="minimal", compat="override"
            )
            for key, x in (("with_r", with_r), ("without_r", without_r))
        }
        batches.append(xr.Dataset(stacked).assign_coords(row=list(rows(xr.Dataset(with_r)))))
    return 100.0 * xr.concat(batches, "run").mean("run")


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


def show_stopped(weather: YearlyWeather, num_runs: int, fractions: list[float]) -> None:
    """The table of --until."""
    print(
        f"{num_runs} runs of up to {LONGEST} years that end when a ratio is known to the fraction;"
    )
    print("mean length, % that reach it, % covered; in brackets: let go from two units on")
    for heading, (num_samples, slow) in UNTIL_CASES.items():
        replicas = Replicas(weather, LONGEST)
        widths, covered = intervals_by_year(replicas, num_runs, num_samples, slow)
        for name in RATIOS_KNOWN:
            width, inside = widths[name], covered[name]
            whole = 100.0 * float(inside.isel(year=-1).mean())
            print(f"samples: {heading}; {name}; after {LONGEST} years {whole:.1f}")
            for fraction in fractions:
                own = stopped(width, inside, num_samples, fraction, True)
                free = stopped(width, inside, num_samples, fraction, False)
                cells = (f"{a:.1f} ({b:.1f})" for a, b in zip(own, free, strict=True))
                print(f"  {fraction:5g}" + "".join(cell.rjust(16) for cell in cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000, help=f"a multiple of {BATCH}")
    parser.add_argument("--latitudes", type=int, default=12, help="of the grid")
    parser.add_argument(
        "--until",
        type=float,
        nargs="+",
        metavar="FRACTION",
        help="end runs that know a ratio so well",
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    grid = Grid.legendre_gauss(options.latitudes, 2 * options.latitudes)
    weather = YearlyWeather.on(grid)
    if options.until:
        show_stopped(weather, options.runs, options.until)
        return
    columns = {}
    for heading, (num_samples, num_years, slow) in CASES.items():
        replicas = Replicas(weather, num_years, own_sst=heading.endswith("own SST"))
        columns[heading] = coverage(replicas, options.runs, num_samples, slow)
    print(f"covered, % of {options.runs} runs; in brackets: years taken as independent")
    print("samples x years".ljust(42) + "".join(heading.rjust(14) for heading in columns))
    first = next(iter(columns.values()))
    for row in first["row"].values:
        cells = (
            f"{float(c['with_r'].sel(row=row)):.1f} ({float(c['without_r'].sel(row=row)):.1f})"
            for c in columns.values()
        )
        print(str(row).ljust(42) + "".join(cell.rjust(14) for cell in cells))


if __name__ == "__main__":
    main()
