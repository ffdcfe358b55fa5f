"""A model of ACE2's size on a CPU: memory of all that respeval does with it, and the time of a step."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.frame import Benchmark, Goal, Options, Outcome, Table, spread
from benchmarks.processes import environment, timed, watched
from benchmarks.studies import Size, native_study, run_command, write_training

#: Members of a paired run, and steps of which the first is not counted.
NUM_MEMBERS, NUM_STEPS = 2, 3


@dataclass(frozen=True)
class Study:
    """A checkpoint with its data, the interpreter that reads it, and what it is in a table."""

    name: str
    checkpoint: Path
    python: Path
    size: Size


def full_size(options: Options) -> Size:
    shape, embed_dim, num_layers = ((16, 32), 8, 2) if options.quick else ((180, 360), 384, 8)
    return Size(shape, embed_dim, num_layers, NUM_STEPS, f"{NUM_STEPS} steps")


def smaller(options: Options) -> list[Size]:
    if options.quick:
        return []
    return [Size((45, 90), 128, 6, 10, "10 steps"), Size((180, 360), 64, 4, 4, "4 steps")]


def studies(folder: Path, options: Options) -> list[Study]:
    """Untrained networks of full size: native, and ACE where fme is."""
    size, own = full_size(options), Path(sys.executable)
    found = [Study("native", native_study(folder / "native", size), own, size)]
    if options.ace_python.exists():
        ace = folder / "ace"
        timed(
            [str(options.ace_python), "-m", "benchmarks.ace_study", str(ace), as_json(size)],
            environment(),
        )
        found.append(Study("ACE", ace / "ckpt.tar", options.ace_python, size))
    for study in found:
        write_training(study.checkpoint.parent, size)
    return found


def as_json(size: Size) -> str:
    return json.dumps(asdict(size))


def memory_of(study: Study, folder: Path) -> dict[str, float]:
    """Peaks of whole processes, bytes."""
    python, checkpoint = [str(study.python)], str(study.checkpoint)
    data = str(study.checkpoint.parent / "training.nc")
    probe = ["gradient-probe", checkpoint, f"--data={data}", "--batches=1", "--batch-size=1"]
    probe += ["--arm=none", "--arm=per_sample", f"--output={folder / 'probe'}", "--threads=1"]
    commands = {
        "inspect": ["inspect", checkpoint],
        "paired run": run_command(study.checkpoint, study.size, folder / "run"),
        "probe, one pair, two arms": probe,
    }
    found: dict[str, float] = {"file": study.checkpoint.stat().st_size}
    _, loaded = watched("bare_loop", checkpoint, "1", "1", "--as-in-runs", python=python)
    found["loading"] = loaded["loaded_bytes"]
    for what, arguments in commands.items():
        usage, told = watched("watched_run", *arguments, python=python)
        found[what], found[f"{what}, s"] = told["peak_bytes"], usage.seconds
        if told["stepping_s"] is not None:
            found["step, s"] = told["stepping_s"] / study.size.num_steps / NUM_MEMBERS
    return found


def stepped(study: Study, threads: int, *options: str) -> dict[str, Any]:
    """Seconds of a member's step, the peak, and the page faults of one step."""
    arguments = (str(study.checkpoint), "1", str(study.size.num_steps), f"--threads={threads}")
    _, told = watched("bare_loop", *arguments, *options, python=[str(study.python)])
    return {**told, "seconds": statistics.median(told["step_s"][1:])}


def memory_table(found: dict[str, dict[str, float]]) -> Table:
    rows = [
        (what, *(f"{numbers[what] / 1e9:.2f}" for numbers in found.values()))
        for what in next(iter(found.values()))
        if not what.endswith(", s")
    ]
    return Table("Peak of memory of whole processes, GB", ("what", *found), rows)


#: How a member's step is taken: heading -> options of `bare_loop`.
WAYS: dict[str, tuple[str, ...]] = {
    "as the system has it": (),
    "as in runs": ("--as-in-runs",),
    "and --fast-transforms": ("--as-in-runs", "--fast-transforms"),
}
PLAIN, IN_RUNS, FAST = WAYS

#: Runs by way, in rounds.
Rounds = list[dict[str, dict[str, Any]]]


def all_ways(study: Study, threads: int, rounds: int) -> Rounds:
    return [
        {way: stepped(study, threads, *options) for way, options in WAYS.items()}
        for _ in range(rounds)
    ]


def ratio(rounds: Rounds, way: str) -> float:
    """Of a step's time to that of a step in memory as the system has it."""
    return statistics.median(r[way]["seconds"] / r[PLAIN]["seconds"] for r in rounds)


def steps_table(measured: dict[tuple[str, int], Rounds]) -> Table:
    rows = []
    for (name, threads), rounds in measured.items():
        cells = []
        for way in WAYS:
            cells.append(spread([r[way]["seconds"] for r in rounds]))
            if way != PLAIN:
                cells.append(f"{ratio(rounds, way):.2f}")
        rows.append((f"{name}, {threads} thread{'s' if threads > 1 else ''}", *cells))
    header = ("step of one member", f"{PLAIN}, s", f"{IN_RUNS}, s", "ratio", f"{FAST}, s", "ratio")
    return Table("Seconds of a step, by how memory is taken", header, rows)


def memory_of_steps_table(measured: dict[tuple[str, int], Rounds]) -> Table:
    rows = []
    for (name, threads), rounds in measured.items():
        cells = [
            f"{statistics.median(r[way]['peak_bytes'] for r in rounds) / 1e9:.2f}" for way in WAYS
        ]
        cells += [
            f"{statistics.median(r[way]['page_faults'] for r in rounds):,.0f}" for way in WAYS
        ]
        rows.append((f"{name}, {threads} thread{'s' if threads > 1 else ''}", *cells))
    header = ("GB, then page faults of a step", "as it has it", "in runs", "and fast")
    return Table("Peaks and page faults of these", (*header, *header[1:]), rows)


def run(options: Options) -> Outcome:
    rounds = 1 if options.quick or not options.long else options.rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        full = studies(folder, options)
        memory = {study.name: memory_of(study, folder / f"out_{study.name}") for study in full}
        labelled = {f"{study.name}, full size": study for study in full}
        for number, size in enumerate(smaller(options)):
            checkpoint = native_study(folder / f"small{number}", size)
            shape = f"native, {size.shape[0]} x {size.shape[1]}, embed {size.embed_dim}"
            labelled[shape] = Study(shape, checkpoint, full[0].python, size)
        measured = {
            (label, threads): all_ways(study, threads, rounds)
            for label, study in labelled.items()
            for threads in (1, 2)
        }
    goals = []
    for study in full:
        peaks, what = memory[study.name], f"{study.name}, full size"
        goals += [
            Goal(f"{what}: inspect", peaks["inspect"] / 1e9, 0.5, unit="GB"),
            Goal(f"{what}: loading, of the weights", peaks["loading"] / peaks["file"], 1.3),
            Goal(f"{what}: paired run", peaks["paired run"] / 2**30, 12.0, unit="GiB"),
            Goal(
                f"{what}: probe of one pair, two arms",
                peaks["probe, one pair, two arms"] / 2**30,
                12.0,
                unit="GiB",
            ),
            Goal(f"{what}: step, {IN_RUNS}", ratio(measured[what, 1], IN_RUNS), 0.72),
            Goal(f"{what}: step, {FAST}", ratio(measured[what, 1], FAST), 0.60),
        ]
    numbers = {
        "memory": memory,
        "steps": {f"{name}, {threads}": pairs for (name, threads), pairs in measured.items()},
    }
    return Outcome(
        [memory_table(memory), steps_table(measured), memory_of_steps_table(measured)],
        goals,
        numbers=numbers,
    )


BENCHMARK = Benchmark(
    "A model of ACE2's size on a CPU",
    "An untrained SFNO of 180 x 360, embed 384, 8 layers, native and as fme's, on one thread: peaks of whole "
    "processes, libraries included. The steps are those of the emulator alone on tensors in memory, with "
    "the C library's allocator as the system has it (as fme runs) and as respeval's runs take memory (huge "
    "pages, and what is freed is kept), one after the other in processes of their own.",
    run,
)
