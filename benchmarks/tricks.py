"""What each trick for speed gains: commands with it and without it.

python -m benchmarks.tricks TRICK ARGUMENTS...      `respeval ARGUMENTS` without this trick
"""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.frame import Benchmark, Options, Outcome, Table, alternate, spread
from benchmarks.processes import environment, timed


def _collect_often() -> None:
    from respeval import interpreter

    interpreter.collect_garbage_rarely = lambda: None


def _load_the_compiler() -> None:
    from respeval import interpreter

    interpreter.lazily_compiled = contextlib.nullcontext


def _define_and_write_by_turns() -> None:
    from respeval.files import netcdf

    def fill(opened: Any, dataset: Any) -> None:
        netcdf._encoded(dataset).dump_to_store(
            netcdf.xr.backends.NetCDF4DataStore(opened), unlimited_dims=netcdf._unlimited(dataset)
        )

    netcdf._fill = fill


def _hash_in_threads() -> None:
    from respeval.files import checksums

    checksums._MANY_BYTES = sys.maxsize


#: Trick -> the command that shows it, and what takes it out.
TRICKS: dict[str, tuple[str, Callable[[], None]]] = {
    "garbage collected rarely": ("run", _collect_often),
    "torch's compiler loaded late": ("run", _load_the_compiler),
    "files defined before they are written": ("diagnose", _define_and_write_by_turns),
    "checksums in processes": ("diagnose", _hash_in_threads),
}


def _command(trick: str, arguments: list[str]) -> float:
    """Seconds of a whole process; trick: the one that is taken out, or none."""
    return timed(
        [sys.executable, "-m", "benchmarks.tricks", trick, *arguments], environment()
    ).seconds


def run(options: Options) -> Outcome:
    # Here, because a process without a trick is not to load what it is about.
    from benchmarks.big_run import write_finished_run
    from benchmarks.studies import Size, native_study, run_command

    size = Size((16, 32) if options.quick else (45, 90), 64, 4, 4, "2 steps")
    shape, num_months = ((16, 32), 13) if options.quick else ((180, 360), 36)
    rows, numbers = [], {}
    with tempfile.TemporaryDirectory() as name:
        finished, outs = Path(name) / "finished", iter(range(1000))
        checkpoint = native_study(Path(name), size)
        write_finished_run(finished, shape, num_months)
        os.sync()

        def measured(trick: str, kind: str) -> float:
            out = Path(name) / f"out{next(outs)}"
            stepping = run_command(checkpoint, size, out)
            return _command(trick, ["diagnose", str(finished)] if kind == "diagnose" else stepping)

        for trick, (kind, _) in TRICKS.items():
            pairs = alternate(
                options.rounds, partial(measured, "none", kind), partial(measured, trick, kind)
            )
            numbers[trick] = pairs
            ratios = [with_it / without for with_it, without in pairs]
            rows.append(
                (
                    trick,
                    f"respeval {kind}",
                    spread([with_it for with_it, _ in pairs]),
                    spread([without for _, without in pairs]),
                    f"{statistics.median(ratios):.2f}",
                )
            )
    header = ("trick", "command", "with, s", "without, s", "ratio")
    return Outcome([Table("Whole processes", header, rows)], numbers=numbers)


BENCHMARK = Benchmark(
    "Tricks for speed",
    "Whole processes with a trick and without it: a run of two steps of a native checkpoint (45 x 90, embed "
    "64, 4 layers) and `respeval diagnose` on a finished run of three years at 180 x 360.",
    run,
)


def main() -> None:
    trick, *arguments = sys.argv[1:]
    if trick != "none":
        TRICKS[trick][1]()
    from respeval.cli import command
    from respeval.commands.exits import end

    end(command(arguments))


if __name__ == "__main__":
    main()
