"""How often the 95 % intervals cover the truth, over many simulated runs of the bundled planet.

The planet's response is known in closed form, and its weather is a linear process, so that thousands
of runs can be drawn exactly (respeval/planet/replicas.py). Each goes through the diagnostics of
every run. With N runs the share itself is uncertain by 0.22/sqrt(N).

    make bench BENCH=coverage
"""

from __future__ import annotations

import itertools

import numpy as np
import xarray as xr
from scipy.special import stdtrit

from benchmarks.frame import Benchmark, Options, Outcome, Table
from respeval.diagnostics import DiagnosticSettings, diagnose, diagnose_reference, known_diagnostics
from respeval.fields.grid import Grid
from respeval.planet.climate import ROLES
from respeval.planet.replicas import Replicas, YearlyWeather

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
        for name in known_diagnostics():
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


def run(options: Options) -> Outcome:
    num_runs = BATCH if options.quick else 2000
    grid = Grid.legendre_gauss(12, 24)
    weather = YearlyWeather.on(grid)
    columns = {}
    for heading, (num_samples, num_years, slow) in CASES.items():
        replicas = Replicas(weather, num_years, own_sst=heading.endswith("own SST"))
        columns[heading] = coverage(replicas, num_runs, num_samples, slow)
    first = next(iter(columns.values()))
    rows, numbers = [], {}
    for row in map(str, first["row"].values):
        found = {
            heading: [float(c[kind].sel(row=row)) for kind in ("with_r", "without_r")]
            for heading, c in columns.items()
        }
        rows.append((row, *(f"{own:.1f} ({plain:.1f})" for own, plain in found.values())))
        numbers[row] = found
    title = f"Covered, % of {num_runs} runs; in brackets: years taken as independent"
    return Outcome([Table(title, ("samples x years", *columns), rows)], (), (), numbers)


BENCHMARK = Benchmark(
    "Coverage of the 95 % intervals",
    "Runs of the bundled planet, whose response is known in closed form and whose weather is a linear "
    "process, so that thousands can be drawn exactly (`respeval/planet/replicas.py`); each goes through the "
    "diagnostics of every run. With N runs a share is itself uncertain by 0.22/sqrt(N). "
    "[uncertainty.md](uncertainty.md) says what the columns are.",
    run,
)
