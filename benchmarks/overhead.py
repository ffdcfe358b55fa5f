"""What a run adds to the emulator's own step."""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.clock import Clock
from benchmarks.frame import Benchmark, Goal, Options, Outcome, Table, alternate, spread
from benchmarks.studies import Size, native_plan, native_study
from respeval.checkpoints.native import NativeEmulator
from respeval.checkpoints.normalized import NormalizedEmulator
from respeval.distributed.comm import Comm
from respeval.emulator.noise import CounterNoise
from respeval.fields.forcing import Forcing
from respeval.plan.execution import Execution, make_rollout
from respeval.plan.plan import Plan
from respeval.plan.resume import open_output
from respeval.rollout.guard import RangeGuard
from respeval.rollout.members import Member
from respeval.rollout.steps import Rollout
from respeval.rollout.sums import GroupSums, MemberSums
from respeval.run_folder.folder import RunFolder
from respeval.runner import Reporter, execute

NETWORK, STEP = "the network", "normalization, prescribed SST"

#: Label -> class, functions of it; what they call under another label counts there.
PARTS = {
    NETWORK: (NativeEmulator, ("_run_network",)),
    STEP: (NormalizedEmulator, ("step",)),
    "perturb": (Rollout, ("_member_forcing", "_initial_state")),
    "accumulate": (MemberSums, ("add",)),
    "range guard": (RangeGuard, ("check", "faults")),
    "reduce": (GroupSums, ("encode", "pack", "unpack", "means")),
    "write segments": (RunFolder, ("publish_segment",)),
    "write restarts, manifest": (RunFolder, ("publish_part", "commit", "begin")),
}
WAIT, REST = "wait for forcing", "the rest"

OPERATORS = ("operator", "calls", "% of the time")


def sizes(options: Options) -> dict[str, Size]:
    """A month of 124 steps, and short segments; a small network at 1°, where steps take seconds."""
    if options.quick:
        return {"16 x 32, short": Size((16, 32), 16, 2, 20, "10 steps")}
    return {
        "45 x 90, a month": Size((45, 90), 128, 6, 124, "month"),
        "45 x 90, short": Size((45, 90), 128, 6, 60, "20 steps"),
        "180 x 360, short": Size((180, 360), 64, 2, 20, "10 steps"),
    }


@contextlib.contextmanager
def instrumented(clock: Clock) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for label, (owner, names) in PARTS.items():
            stack.enter_context(clock.around(label, owner, *names))
        stack.enter_context(clock.around_items(WAIT, Forcing, "windows"))
        yield


def run_seconds(plan: Plan, checkpoint: Path, folder: Path) -> dict[str, float]:
    """Seconds of a run by part, without loading before it and the analysis after it."""
    clock = Clock()
    output = open_output(plan, checkpoint, folder, Comm())
    output.open()
    with instrumented(clock), clock.section(REST):
        execute(plan, output, Comm(), Execution(), Reporter())
    output.close()
    return dict(clock.seconds)


def bare_seconds(plan: Plan, num_steps: int) -> float:
    """The same emulator's steps on tensors that are in memory, and nothing else."""
    members = [Member(0, group) for group in range(len(plan.case.groups))]
    device = Comm().device
    with torch.inference_mode():
        rollout = make_rollout(plan, members, Execution(), Comm())
        window = plan.forcing.read(0, 1, [0], rollout.dtype)
        patterns = torch.from_numpy(plan.patterns).to(rollout.dtype)
        rows = torch.zeros(len(members), dtype=torch.int64)
        forcing = rollout._member_forcing(window, rows, patterns)
        state = rollout._initial_state(window, rows, patterns)
        noise = CounterNoise(0, [(0, 0)] * len(members), 0, device)
        num_prognostic = len(plan.emulator.spec.prognostic)
        begun = time.perf_counter()
        for _ in range(num_steps):
            outputs = plan.emulator.step(state, forcing, forcing, noise)
            state = outputs[:, :num_prognostic]
        return time.perf_counter() - begun


def measure(size: Size, rounds: int) -> tuple[list[dict[str, float]], list[float]]:
    """Parts of every run, and the ratio of its time to that of a bare loop beside it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint, numbers = native_study(folder, size), iter(range(rounds))
        plan = native_plan(folder, size)
        bare_seconds(plan, 1)  # what only the first step pays
        pairs = alternate(
            rounds,
            lambda: run_seconds(plan, checkpoint, folder / f"out{next(numbers)}"),
            lambda: bare_seconds(plan, size.num_steps),
        )
    return [run for run, _ in pairs], [sum(run.values()) / bare for run, bare in pairs]


def shares(run: dict[str, float]) -> dict[str, float]:
    """Each part's time, % of the time in the emulator's step."""
    inside = run[NETWORK] + run[STEP]
    return {label: 100.0 * seconds / inside for label, seconds in run.items()}


def profile(size: Size, num_steps: int) -> Table:
    """The operators of torch that take most of a run's time, by torch.profiler."""
    few = replace(size, num_steps=num_steps, segment=f"{num_steps} steps")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint = native_study(folder, few)
        plan = native_plan(folder, few)
        activities = [torch.profiler.ProfilerActivity.CPU]
        with torch.profiler.profile(activities=activities) as found:
            run_seconds(plan, checkpoint, folder / "out")
    return Table(f"Operators of a run: {few}", OPERATORS, most_of(found))


def most_of(profile: torch.profiler.profile) -> list[tuple[str, str, str]]:
    """Rows of a table with the heading `OPERATORS`."""
    averages = sorted(profile.key_averages(), key=lambda entry: -entry.self_cpu_time_total)
    total = sum(entry.self_cpu_time_total for entry in averages)
    return [
        (entry.key, str(entry.count), f"{100 * entry.self_cpu_time_total / total:.1f}")
        for entry in averages[:10]
    ]


def run(options: Options) -> Outcome:
    columns, goals, numbers = {}, [], {}
    studied = sizes(options)
    rounds = 1 if options.quick else max(1, options.rounds - 1)  # timers vary little
    for heading, size in studied.items():
        runs, ratios = measure(size, rounds)
        parts = [shares(run) for run in runs]
        labels = [*PARTS, WAIT, REST]
        column = {label: spread([part.get(label, 0.0) for part in parts]) for label in labels}
        outside = [sum(part.values()) - 100.0 for part in parts]
        column["outside the step"] = spread(outside)
        column["run / bare loop"] = spread(ratios)
        columns[heading] = column
        numbers[heading] = {"size": str(size), "seconds": runs, "run / bare loop": ratios}
        if size.shape == (45, 90):
            what = f"{heading}: time outside the emulator's step"
            goals.append(Goal(what, statistics.median(outside), 3.0, unit="%"))
    rows = [(label, *(column[label] for column in columns.values())) for label in column]
    table = Table("Parts of a run, % of the time in the emulator's step", ("part", *columns), rows)
    first = next(iter(studied.values()))
    described = tuple(f"{heading}: {size}." for heading, size in studied.items())
    return Outcome([table, profile(first, 4 if options.quick else 10)], goals, described, numbers)


BENCHMARK = Benchmark(
    "Overhead: a run against a bare loop",
    "An untrained SFNO with ACE2's 40 outputs and 5 forcings steps a baseline and +4 K at 6 hours; forcing "
    "is read from netCDF, segments and restart files are written. Timers in the process tell where "
    "the time goes; parts that other threads do meanwhile show as waiting alone. The bare loop is the same "
    "emulator's `step` on tensors in memory, in the same process, alternating with the runs; the ratio of "
    "whole times is noisier than the timers. Loading before and diagnostics after are left out: they "
    "don't grow with the steps (the diagnostics are in start-up, below).",
    run,
)
