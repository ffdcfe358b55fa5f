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
from respeval.diagnostics import DiagnosticSettings, diagnose, diagnose_reference
from respeval.diagnostics.numbers import main_rows
from respeval.fields.grid import Grid
from respeval.planet.climate import ROLES
from respeval.planet.replicas import Replicas, YearlyWeather

#: A slow anomaly's standard deviation (K) and lag-1 correlation, and none.
SLOW, QUICK = (0.3, 0.6), (0.0, 0.0)

#: Table -> heading -> samples, years, a slow anomaly, and what the samples have of their variance in
#: common. At 0.9999 they have run together but for little, at 1 they are copies.
CASES = {
    "independent samples": {
        "4x1": (4, 1, QUICK, 0.0),
        "1x5": (1, 5, QUICK, 0.0),
        "4x5": (4, 5, QUICK, 0.0),
        "1x10": (1, 10, QUICK, 0.0),
        "4x10": (4, 10, QUICK, 0.0),
        "4x10 own SST": (4, 10, QUICK, 0.0),
        "4x10 slow": (4, 10, SLOW, 0.0),
        "1x20 slow": (1, 20, SLOW, 0.0),
        "1x10 slow": (1, 10, SLOW, 0.0),
    },
    "samples that share": {
        "4x2": (4, 2, QUICK, 0.0),
        "4x2 half": (4, 2, QUICK, 0.5),
        "4x2 as one": (4, 2, QUICK, 0.9999),
        "4x3 half": (4, 3, QUICK, 0.5),
        "4x5 quarter": (4, 5, QUICK, 0.25),
        "4x5 half": (4, 5, QUICK, 0.5),
        "4x5 as one": (4, 5, QUICK, 0.9999),
        "4x5 copies": (4, 5, QUICK, 1.0),
        "4x10 half": (4, 10, QUICK, 0.5),
        "4x10 as one": (4, 10, QUICK, 0.9999),
    },
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
    replicas: Replicas,
    num_runs: int,
    num_samples: int,
    slow: tuple[float, float],
    shared: float,
) -> xr.Dataset:
    """Share of runs, %, whose interval covers the truth: `own`, and `independent` were it made as if all
    units were that, (row)."""
    truth = diagnose_reference(replicas.truth, SETTINGS).isel(perturbation=0)
    quantile = float(stdtrit(num_samples * replicas.num_years - 1.0, 0.975))
    generator = np.random.default_rng(0)
    batches = []
    for _ in range(num_runs // BATCH):
        zonal = replicas.draw(generator, BATCH, num_samples, slow, shared)
        found = diagnose(zonal, SETTINGS).isel(perturbation=0)
        units = diagnose(_years_as_samples(zonal), SETTINGS).isel(perturbation=0)
        own, independent = {}, {}
        for name in main_rows():
            if name not in found or name not in truth:
                continue
            low, high = found[f"{name}_low"], found[f"{name}_high"]
            own[name] = (low <= truth[name]) & (truth[name] <= high)
            # Copies count as one there too, which this takes back.
            share = (units[f"{name}_num_effective"] - 1) / (num_samples * replicas.num_years - 1)
            reach = quantile * units[f"{name}_stderr"] * share**0.5
            independent[name] = abs(units[name] - truth[name]) <= reach
        stacked = {
            key: xr.concat(
                list(rows(xr.Dataset(x)).values()), "row", coords="minimal", compat="override"
            )
            for key, x in (("own", own), ("independent", independent))
        }
        batches.append(xr.Dataset(stacked).assign_coords(row=list(rows(xr.Dataset(own)))))
    return 100.0 * xr.concat(batches, "run").mean("run")


def _years_as_samples(zonal: xr.Dataset) -> xr.Dataset:
    """The same units, each the one year of a sample of its own."""
    first = zonal[["area", "time_bnds"]].isel(time=slice(0, 1))
    of_samples = zonal.drop_vars([*first.data_vars, "time"]).rename(sample="of", time="year")
    flat = of_samples.stack(sample=("of", "year"), create_index=False)
    return flat.expand_dims(time=first["time"], axis=-1).merge(first)


def run(options: Options) -> Outcome:
    num_runs = BATCH if options.quick else 2000
    weather = YearlyWeather.on(Grid.legendre_gauss(12, 24))
    tables, numbers = [], {}
    for what, cases in CASES.items():
        columns = {}
        for heading, (num_samples, num_years, slow, shared) in cases.items():
            replicas = Replicas(weather, num_years, own_sst=heading.endswith("own SST"))
            columns[heading] = coverage(replicas, num_runs, num_samples, slow, shared)
        shown = []
        for row in map(str, next(iter(columns.values()))["row"].values):
            found = {
                heading: [float(c[kind].sel(row=row)) for kind in ("own", "independent")]
                for heading, c in columns.items()
            }
            shown.append((row, *(f"{own:.1f} ({plain:.1f})" for own, plain in found.values())))
            numbers.setdefault(row, {}).update(found)
        title = (
            f"{what}: covered, % of {num_runs} runs; in brackets: all units taken as independent"
        )
        tables.append(Table(title, ("samples x years", *columns), shown))
    return Outcome(tables, (), (), numbers)


BENCHMARK = Benchmark(
    "Coverage of the 95 % intervals",
    "Runs of the bundled planet, whose response is known in closed form and whose weather is a linear "
    "process, so that thousands can be drawn exactly (`respeval/planet/replicas.py`); each goes through the "
    "diagnostics of every run. With N runs a share is itself uncertain by 0.22/sqrt(N). "
    "[uncertainty.md](uncertainty.md) says what the columns are.",
    run,
)
