"""Four starts of two climates: how many of them the network steps fastest at once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from benchmarks.frame import Outcome, Table
from benchmarks.gpu.part import Part
from benchmarks.gpu.setting import SAMPLES, Setting
from benchmarks.studies import Size
from respeval.plan.memory import measure_peak
from respeval.rollout.steps import Rollout


def step_seconds(setting: Setting, rollout: Rollout) -> float:
    """Median of its steps."""
    with torch.inference_mode():
        steps = rollout.steps()
        spent = setting.per_call(lambda: next(steps), most=rollout.num_steps)
        steps.close()
    return spent


def run(setting: Setting) -> Iterator[Outcome]:
    rows, numbers = [], dict[str, Any]()
    for heading, size in setting.sizes.items():
        for at_once, found in measure(setting, size):
            members = SAMPLES * 2
            each = f"{1e3 * found['step_s'] / members:.3f}"
            rows.append((heading, f"{at_once}", each, f"{found['peak_bytes'] / 2**20:,.0f}"))
            numbers[f"{heading}, {at_once}"] = found
            header = ("grid", "starts at once", "ms a member and step", "memory, MiB")
            title = f"{SAMPLES} starts of a baseline and +4 K"
            yield Outcome([Table(title, header, rows)], (), (), numbers)


def measure(setting: Setting, size: Size) -> Iterator[tuple[int, dict[str, float]]]:
    """Starts at once, with seconds of a step of all members, and most bytes on the device."""
    plan = setting.plan(size, SAMPLES)
    for at_once in (1, 2, 4):
        step = partial(step_seconds, setting, setting.rollout(plan, at_once))
        peak, spent = measure_peak(setting.device, step)
        yield at_once, {"step_s": spent, "peak_bytes": peak}


PART = Part(
    "Four starts, two climates",
    "A run's steps with 1, 2 and 4 starts stepped at once (`--samples-per-batch`; on a GPU the default is "
    "all), both climates of each. Memory is the most that torch had allocated on the device.",
    60.0,
    run,
)
