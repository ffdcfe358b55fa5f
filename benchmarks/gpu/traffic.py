"""Copies between host and device and waits of the host within a segment, by torch.profiler."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from benchmarks.frame import Goal, Outcome, Table
from benchmarks.gpu.part import FailedError, Part
from benchmarks.gpu.setting import Setting
from respeval.plan.plan import Plan
from respeval.rollout.guard import GUARD_INTERVAL, RangeGuard
from respeval.rollout.members import deal_members
from respeval.rollout.sums import MemberSums

#: What the profiler calls them -> what the table does. Copies are counted as the device does them.
COPIES = {"Memcpy HtoD": "copies to the device", "Memcpy DtoH": "copies to the host"}
WAITS = (
    *("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize"),
    *("cudaMemcpy", "cuStreamSynchronize", "cuCtxSynchronize", "cuEventSynchronize"),
)
WAIT, LAUNCH = "waits of the host", "kernels"
ROWS = (*COPIES.values(), WAIT, LAUNCH)

#: Steps of the shorter and of the longer profile: neither reads the guard, and what the profiler itself
#: waits for, at its end, is in both. All of a loop's steps are one window, of which none is read ahead.
SHORT, LONG = 5, 25
MOST = 40


class Loop:
    """A run's steps, sums and guard, without its segments' ends."""

    def __init__(self, plan: Plan, setting: Setting, window: int | None = None) -> None:
        members = deal_members(plan.num_samples, len(plan.case.groups), 1)[0]
        rollout = setting.rollout(plan)
        if window is not None:
            rollout = replace(rollout, window_length=window, num_steps=min(MOST, plan.num_steps))
        spec, self._plan = plan.emulator.spec, plan
        shape = (len(members), len(spec.outputs), *spec.grid.shape)
        self._sums = MemberSums(shape, setting.device)
        self._guard = RangeGuard(spec, members, setting.device)
        self._steps = rollout.steps()

    def step(self, read_guard: bool = False) -> None:
        step = next(self._steps)
        self._sums.add(step.outputs)
        self._guard.check(step.outputs, step.number)
        if read_guard:
            self._guard.faults(self._plan.case.groups, self._plan.forcing.starts)

    def close(self) -> None:
        self._steps.close()


def counted(setting: Setting, loop: Loop, num_steps: int) -> Counter[str]:
    """What the profiler sees of so many steps."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if setting.device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profile:
        for _ in range(num_steps):
            loop.step()
        setting.wait()
    found: Counter[str] = Counter(dict.fromkeys(ROWS, 0))
    for entry in profile.key_averages():
        for begin, row in COPIES.items():
            found[row] += entry.count * entry.key.startswith(begin)
        found[WAIT] += entry.count * (entry.key in WAITS)
        found[LAUNCH] += entry.count * ("LaunchKernel" in entry.key)
    if setting.device.type == "cuda" and not found[LAUNCH]:
        raise FailedError("torch.profiler sees nothing of the device here")
    return found


def per_step(setting: Setting, plan: Plan, window: int | None = None) -> dict[str, float]:
    """Of a step, between two readings of the guard."""
    with torch.inference_mode():
        loop = Loop(plan, setting, window)
        loop.step()
        counted(setting, loop, 1)  # the profiler's own beginning
        short, long = (1, 3) if setting.quick else (SHORT, LONG)
        first, second = counted(setting, loop, short), counted(setting, loop, long)
        loop.close()
    return {row: (second[row] - first[row]) / (long - short) for row in ROWS}


def _step(loop: Loop, numbers: Iterator[int], interval: int) -> None:
    loop.step(read_guard=next(numbers) % interval == 0)


def guard_seconds(setting: Setting, plan: Plan, interval: int) -> float:
    """Of a step with its sums, the guard read after every so many steps."""
    with torch.inference_mode():
        loop, numbers = Loop(plan, setting), itertools.count()
        step = partial(_step, loop, numbers, interval)
        spent = setting.per_call(step, span_s=1.0, most=plan.num_steps)
        loop.close()
    return spent


def run(setting: Setting) -> Iterator[Outcome]:
    columns, guards, goals = dict[str, dict[str, float]](), [], list[Goal]()
    numbers: dict[str, Any] = {"per step": columns}
    for heading, size in setting.sizes.items():
        plan = setting.plan(size)
        columns[heading] = per_step(setting, plan, window=MOST)
        columns[f"{heading}, windows of one step"] = per_step(setting, plan, window=1)
        inside = sum(columns[heading][row] for row in (*COPIES.values(), WAIT))
        goals.append(Goal(f"{heading}: copies and waits of a step within a window", inside, 0.0))
        rows = [(row, *(f"{column[row]:.2f}" for column in columns.values())) for row in ROWS]
        traffic = Table("In a step, the guard unread", ("what", *columns), rows)
        yield Outcome([traffic], list(goals), (), numbers)
        pairs = setting.alternate(
            2,
            partial(guard_seconds, setting, plan, 1),
            partial(guard_seconds, setting, plan, GUARD_INTERVAL),
        )
        every, rarely = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
        shown = (f"{1e3 * every:.3f}", f"{1e3 * rarely:.3f}", f"{rarely / every:.3f}")
        guards.append((heading, *shown))
        numbers[f"guard, {heading}"] = pairs
        header = ("grid", "every step, ms", f"every {GUARD_INTERVAL} steps, ms", "ratio")
        guard = Table("A step and its sums, the guard read after", header, guards)
        yield Outcome([traffic, guard], list(goals), (), numbers)


PART = Part(
    "Copies and waits",
    "Between two readings of the guard, of which a run has one every 32 steps, the host is to wait for "
    "nothing. Counted by torch.profiler over 25 steps less 5, with windows of forcing that are longer than "
    "that, and with one for each step: what is more there belongs to a window, which another thread reads "
    "ahead and sends.",
    70.0,
    run,
)
