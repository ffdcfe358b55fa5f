"""How long it takes until something happens."""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.big_run import write_finished_run
from benchmarks.frame import Benchmark, Goal, Options, Outcome, Table, alternate, spread
from benchmarks.processes import environment, timed, watched
from benchmarks.studies import Size, native_study, run_command
from respeval.run_folder.manifest import verify_folder


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


@dataclass(frozen=True)
class Diagnosis:
    """One `respeval diagnose` on a finished run; verifying_s: of its checksums alone, before it."""

    seconds: float
    processor_s: float
    verifying_s: float
    peak_MiB: float
    parts_s: dict[str, float]


def diagnoses(options: Options) -> tuple[float, list[Diagnosis]]:
    """GiB of a finished run's netCDF files, and what `respeval diagnose` takes for it every time."""
    shape, num_months = ((16, 32), 13) if options.quick else ((180, 360), 120)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        write_finished_run(folder, shape, num_months)
        os.sync()  # or the disk is still at work on what was just written
        found = [_diagnose(folder) for _ in range(options.rounds)]
        held = sum(file.stat().st_size for file in folder.rglob("*.nc"))
    return held / 2**30, found


def _diagnose(folder: Path) -> Diagnosis:
    begun = time.perf_counter()
    verify_folder(folder)
    verifying = time.perf_counter() - begun
    usage, found = watched("watched_run", "diagnose", str(folder))
    peak = found["peak_bytes"] / 2**20
    return Diagnosis(usage.seconds, usage.processor_s, verifying, peak, found["parts_s"])


def parts(found: list[Diagnosis]) -> Table:
    """Where the time of `respeval diagnose` goes."""
    rows = [(part, [each.parts_s[part] for each in found]) for part in found[0].parts_s]
    others = [each.seconds - sum(each.parts_s.values()) for each in found]
    rows.append(("imports, and all else", others))
    return Table(
        "Parts of respeval diagnose",
        ("part", "s"),
        [(part, spread(seconds, ".1f")) for part, seconds in rows],
    )


def run(options: Options) -> Outcome:
    helps = [
        timed([sys.executable, "-m", "respeval", "--help"]).seconds
        for _ in range(2 * options.rounds)
    ]
    pairs, of_ace = first_steps(options), first_steps_of_ace(options)
    files_GiB, found = diagnoses(options)
    seconds = [each.seconds for each in found]
    rows = [
        ("respeval --help", spread(helps)),
        ("respeval run, native: first step", spread([ours for ours, _ in pairs])),
        ("  the same emulator in a bare loop", spread([bare for _, bare in pairs])),
        *([("respeval run, ACE: first step", spread(of_ace))] if of_ace else []),
        ("respeval diagnose, ten years of months", spread(seconds, ".1f")),
        ("  checksums alone, on all cores", spread([each.verifying_s for each in found], ".1f")),
    ]
    peak_GiB = max(each.peak_MiB for each in found) / 1024
    goals = [
        Goal("respeval --help", statistics.median(helps), 0.5, unit="s"),
        Goal("respeval diagnose", statistics.median(seconds), 10.0, unit="s"),
        Goal("respeval diagnose: peak of memory", peak_GiB, 1.0, unit="GiB"),
    ]
    notes = (
        f"The diagnosed run has 40 outputs of two climates in {files_GiB:.1f} GiB of "
        "segments and means; all of it is held against the manifest's checksums.",
    )
    numbers = {
        "help_s": helps,
        "native_s": pairs,
        "ace_s": of_ace,
        "diagnose": [asdict(each) for each in found],
    }
    return Outcome([Table("Seconds", ("what", "s"), rows), parts(found)], goals, notes, numbers)


BENCHMARK = Benchmark(
    "Start-up",
    "Seconds from the start of a process: until a help page is there, until the first step is in the sums "
    "(native and ACE checkpoint, 45 x 90, embed 64, 4 layers), and of `respeval diagnose` on a finished run "
    "of ten years at 180 x 360, with its figures.",
    run,
)
