"""The most memory that a run holds, against a bare loop, and over a run ten times as long."""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks.frame import Benchmark, Goal, Options, Outcome, Table, alternate, spread
from benchmarks.processes import watched
from benchmarks.studies import Size, native_study, run_command

#: A window of forcing, of which a run holds two: the one in use, and the next.
WINDOW_MIB = 64.0


def sizes(options: Options) -> dict[str, Size]:
    if options.quick:
        return {"16 x 32": Size((16, 32), 8, 1, 8, "4 steps")}
    return {
        "45 x 90": Size((45, 90), 128, 6, 24, "12 steps"),
        "180 x 360": Size((180, 360), 64, 4, 12, "6 steps"),
    }


def run_MiB(checkpoint: Path, size: Size, folder: Path) -> float:
    """Peak of `respeval run` with its diagnostics and figures."""
    _, found = watched("watched_run", *run_command(checkpoint, size, folder))
    return float(found["peak_bytes"]) / 2**20


def bare_MiB(checkpoint: Path, num_steps: int) -> float:
    """Peak of the same two members' steps in memory."""
    _, found = watched("bare_loop", str(checkpoint), "2", str(num_steps))
    return float(found["peak_bytes"]) / 2**20


def against_bare(size: Size, rounds: int) -> list[tuple[float, float]]:
    with tempfile.TemporaryDirectory() as name:
        checkpoint, numbers = native_study(Path(name), size), iter(range(rounds))
        return alternate(
            rounds,
            lambda: run_MiB(checkpoint, size, Path(name) / f"out{next(numbers)}"),
            lambda: bare_MiB(checkpoint, 4),
        )


def by_length(options: Options) -> list[tuple[int, float]]:
    """Steps and peak, MiB, of runs of months that are longer and longer."""
    months = (1, 2) if options.quick else (2, 6, 20)
    longest = Size((8, 16) if options.quick else (45, 90), 8, 1, 124 * months[-1], "month")
    found = []
    with tempfile.TemporaryDirectory() as name:
        checkpoint = native_study(Path(name), longest)
        for count in months:
            size = replace(longest, num_steps=124 * count)
            peak = run_MiB(checkpoint, size, Path(name) / f"out{count}")
            found.append((size.num_steps, peak))
    return found


def run(options: Options) -> Outcome:
    rows, goals, numbers = [], [], {}
    for heading, size in sizes(options).items():
        pairs = against_bare(size, options.rounds)
        excess = [ours - 1.2 * bare for ours, bare in pairs]
        columns = (
            spread([bare for _, bare in pairs], ".0f"),
            spread([ours for ours, _ in pairs], ".0f"),
            spread([ours / bare for ours, bare in pairs]),
        )
        rows.append((str(size), *columns))
        numbers[heading] = pairs
        what = f"{heading}: peak beyond 1.2 times the bare loop's"
        goals.append(Goal(what, statistics.median(excess), WINDOW_MIB, unit="MiB"))
    lengths = by_length(options)
    numbers["by length"] = lengths
    steps, first, last = lengths[-1][0] // lengths[0][0], lengths[0][1], lengths[-1][1]
    goals.append(
        Goal(f"peak of a run {steps} times as long, over the short one's", last / first, 1.1)
    )
    against = Table("Peak of memory, MiB", ("what", "bare loop", "run", "ratio"), rows)
    grown = Table(
        "Peak of memory by length, months of 124 steps",
        ("steps", "MiB"),
        [(f"{count:,}", f"{peak:.0f}") for count, peak in lengths],
    )
    return Outcome([against, grown], goals, (), numbers)


BENCHMARK = Benchmark(
    "Memory",
    "Peaks of whole processes (`VmHWM`), Python and all libraries included: the bare loop has torch and the "
    "reader alone, the run also netCDF, xarray, dask and matplotlib, its diagnostics and its figures. "
    "A window of forcing is at most 64 MiB.",
    run,
)
