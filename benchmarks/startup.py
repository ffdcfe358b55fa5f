"""How long it takes until something happens."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.big_run import write_finished_run
from benchmarks.frame import Benchmark, Goal, Options, Outcome, Table, alternate, spread
from benchmarks.processes import environment, timed, watched
from benchmarks.studies import Size, native_study, run_command
from respeval.manifest import verify_folder


def first_steps(options: Options) -> list[tuple[float, float]]:
    """Seconds to the first step of a run and of a bare loop, in every round."""
    size = Size((16, 32) if options.quick else (45, 90), 64, 4, 4, "2 steps")
    with tempfile.TemporaryDirectory() as name:
        checkpoint, numbers = native_study(Path(name), size), iter(range(options.rounds))
        return alternate(
            options.rounds,
            lambda: _first_step_of_run(checkpoint, size, Path(name) / f"out{next(numbers)}"),
            lambda: float(watched("bare_loop", str(checkpoint), "2", "1")[1]["first_step_s"]),
        )


def _first_step_of_run(
    checkpoint: Path, size: Size, folder: Path, python: str = sys.executable
) -> float:
    command = run_command(checkpoint, size, folder)
    return float(watched("watched_run", *command, python=(python,))[1]["first_step_s"])


def first_steps_of_ace(options: Options) -> list[float]:
    """The same of an ACE checkpoint; empty where there is no environment with fme."""
    if not options.ace_python.exists():
        return []
    size = Size((16, 32) if options.quick else (45, 90), 64, 4, 4, "2 steps")
    python = str(options.ace_python)
    with tempfile.TemporaryDirectory() as name:
        study = Path(name) / "study"
        written = [str(study), json.dumps(asdict(size))]
        timed([python, "-m", "benchmarks.ace_study", *written], environment())
        return [
            _first_step_of_run(study / "ckpt.tar", size, Path(name) / f"out{number}", python)
            for number in range(options.rounds)
        ]


def diagnosis(options: Options) -> dict[str, Any]:
    """Seconds, their parts and peak memory of `respeval diagnose` on a finished run."""
    shape, num_months = ((16, 32), 13) if options.quick else ((180, 360), 120)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        write_finished_run(folder, shape, num_months)
        begun = time.perf_counter()
        verify_folder(folder)
        verifying = time.perf_counter() - begun
        usage, found = watched("watched_run", "diagnose", str(folder))
        held = sum(file.stat().st_size for file in folder.rglob("*.nc"))
    return {
        "seconds": usage.seconds,
        "processor_s": usage.processor_s,
        "verifying_s": verifying,
        "peak_MiB": found["peak_bytes"] / 2**20,
        "files_GiB": held / 2**30,
        "parts_s": found["parts_s"],
    }


def run(options: Options) -> Outcome:
    helps = [
        timed([sys.executable, "-m", "respeval", "--help"]).seconds
        for _ in range(2 * options.rounds)
    ]
    pairs, of_ace, diagnosed = first_steps(options), first_steps_of_ace(options), diagnosis(options)
    rows = [
        ("respeval --help", spread(helps)),
        ("respeval run, native: first step", spread([ours for ours, _ in pairs])),
        ("  the same emulator in a bare loop", spread([bare for _, bare in pairs])),
        *([("respeval run, ACE: first step", spread(of_ace))] if of_ace else []),
        ("respeval diagnose, ten years of months", f"{diagnosed['seconds']:.1f}"),
        ("  checksums alone, on all cores", f"{diagnosed['verifying_s']:.1f}"),
    ]
    parts = diagnosed["parts_s"]
    others = diagnosed["seconds"] - sum(parts.values())
    of_diagnose = [*parts.items(), ("imports, and all else", others)]
    goals = [
        Goal("respeval --help", statistics.median(helps), 0.5, unit="s"),
        Goal("respeval diagnose", diagnosed["seconds"], 10.0, unit="s"),
        Goal("respeval diagnose: peak of memory", diagnosed["peak_MiB"] / 1024, 1.0, unit="GiB"),
    ]
    notes = (
        f"The diagnosed run has 40 outputs of two climates in {diagnosed['files_GiB']:.1f} GiB of "
        "segments and means; all of it is held against the manifest's checksums.",
    )
    numbers = {"help_s": helps, "native_s": pairs, "ace_s": of_ace, "diagnose": diagnosed}
    tables = [
        Table("Seconds", ("what", "s"), rows),
        Table(
            "Parts of respeval diagnose",
            ("part", "s"),
            [(part, f"{spent:.1f}") for part, spent in of_diagnose],
        ),
    ]
    return Outcome(tables, goals, notes, numbers)


BENCHMARK = Benchmark(
    "Start-up",
    "Seconds from the start of a process: until a help page is there, until the first step is in the sums "
    "(native and ACE checkpoint, 45 x 90, embed 64, 4 layers), and of `respeval diagnose` on a finished run "
    "of ten years at 180 x 360, with its figures.",
    run,
)
