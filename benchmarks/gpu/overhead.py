"""What a run adds to the emulator's own step, in time and in memory of the device."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.frame import Goal, Outcome, Table, spread
from benchmarks.gpu.part import Part
from benchmarks.gpu.setting import Setting, bare_steps
from benchmarks.studies import Size
from respeval.plan.execution import Execution
from respeval.plan.memory import measure_peak
from respeval.plan.plan import Plan
from respeval.plan.resume import open_output
from respeval.runner import Reporter, execute

ROUNDS = 2

#: As on a CPU: what a run may add in time, and how much memory beyond 1.2 times the bare loop's.
LIMIT, WINDOW_MIB = 1.03, 64.0


@dataclass(frozen=True)
class Found:
    """Seconds and most bytes on the device of every round's run and bare loop."""

    size: Size
    run_s: list[float]
    bare_s: list[float]
    run_bytes: int
    bare_bytes: int


def run_seconds(setting: Setting, plan: Plan, checkpoint: Path, folder: Path) -> float:
    """Of a run with its files, without loading before it and the analysis after it."""
    output = open_output(plan, checkpoint, folder, setting.comm)
    output.open()
    spent = setting.seconds(lambda: execute(plan, output, setting.comm, Execution(), Reporter()))
    output.close()
    return spent


def bare_seconds(setting: Setting, plan: Plan, num_steps: int) -> float:
    rollout = setting.rollout(plan)

    def steps() -> None:
        with torch.inference_mode():
            for _ in bare_steps(rollout, num_steps):
                pass

    return setting.seconds(steps)


def measure(setting: Setting, size: Size) -> Found:
    plan, checkpoint = setting.plan(size), setting.study(size) / "sfno.pt"
    folders = (setting.folder / f"run_{size.shape[0]}_{number}" for number in range(100))
    bare_seconds(setting, plan, 2)  # what only the first steps pay
    bare_bytes, _ = measure_peak(setting.device, lambda: bare_seconds(setting, plan, 4))
    run_bytes: list[int] = []

    def whole() -> float:
        peak, spent = measure_peak(
            setting.device, lambda: run_seconds(setting, plan, checkpoint, next(folders))
        )
        run_bytes.append(peak)
        return spent

    pairs = setting.alternate(ROUNDS, whole, lambda: bare_seconds(setting, plan, plan.num_steps))
    runs, bares = ([pair[i] for pair in pairs] for i in (0, 1))
    return Found(size, runs, bares, max(run_bytes), bare_bytes)


def run(setting: Setting) -> Iterator[Outcome]:
    times, memory, goals, notes = [], [], list[Goal](), list[str]()
    numbers: dict[str, Any] = {}
    for heading, size in setting.sizes.items():
        found = measure(setting, size)
        ratios = [ours / bare for ours, bare in zip(found.run_s, found.bare_s, strict=True)]
        each = (
            spread([1e3 * seconds / size.num_steps for seconds in spent])
            for spent in (found.bare_s, found.run_s)
        )
        times.append((heading, *each, spread(ratios, ".3f")))
        mebibytes = [count / 2**20 for count in (found.bare_bytes, found.run_bytes)]
        factor = f"{found.run_bytes / found.bare_bytes:.2f}"
        memory.append((heading, *(f"{count:,.0f}" for count in mebibytes), factor))
        goals.append(Goal(f"{heading}: run / bare loop", statistics.median(ratios), LIMIT))
        excess = mebibytes[1] - 1.2 * mebibytes[0]
        what = f"{heading}: memory beyond 1.2 times the bare loop's"
        goals.append(Goal(what, excess, WINDOW_MIB, unit="MiB"))
        notes.append(f"{heading}: {replace(size, num_samples=1)}.")
        numbers[heading] = asdict(found)
        header = ("grid", "bare loop, ms a step", "run, ms a step", "run / bare loop")
        tables = [
            Table("A baseline and +4 K, one start", header, times),
            Table("Most memory of the device, MiB", ("grid", "bare", "run", "ratio"), memory),
        ]
        yield Outcome(tables, list(goals), list(notes), numbers)


PART = Part(
    "Overhead: a run against a bare loop",
    "As the benchmark of this name on a CPU: forcing is read from netCDF, segments and restart files are "
    "written; the bare loop is the same emulator's `step` on tensors that are on the device. At 180 x 360 "
    "the network is of ACE2's size (embed 384, 8 layers), untrained. Memory is what torch had allocated on "
    "the device at most.",
    110.0,
    run,
)
