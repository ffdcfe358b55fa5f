"""The float64 sums on the device: what they cost, and what float32 would."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.aggregation import NUM_OUTPUTS, MaskedSums
from benchmarks.frame import Goal, Outcome, Table
from benchmarks.gpu.part import Part
from benchmarks.gpu.setting import Setting
from benchmarks.studies import Size
from respeval.rollout.sums import MemberSums

#: Members of the masks' way: `benchmarks.aggregation.MEMBERS`.
NUM_MEMBERS = 8

#: What a run may add to a step on a CPU, %, of which the sums are a part.
LIMIT = 3.0


def alone(setting: Setting, size: Size) -> dict[str, float]:
    """Seconds of adding a step in each way."""
    outputs = torch.randn(NUM_MEMBERS, NUM_OUTPUTS, *size.shape, device=setting.device) + 288.0
    fields = {f"variable_{i}": outputs[:, i].contiguous() for i in range(NUM_OUTPUTS)}
    sums = MemberSums(outputs.shape, setting.device)
    masked = MaskedSums(list(fields), size.shape, setting.device)
    single = torch.zeros_like(outputs)
    return {
        "float64": setting.per_call(lambda: sums.add(outputs)),
        "float32": setting.per_call(lambda: single.add_(outputs)),
        "masks": setting.per_call(lambda: masked.add(fields)),
    }


def beside_a_step(setting: Setting, size: Size) -> tuple[float, float]:
    """Seconds of a step of two members, and of adding its outputs."""
    plan = setting.plan(size)
    totals = MemberSums((len(plan.case.groups), NUM_OUTPUTS, *size.shape), setting.device)
    with torch.inference_mode():
        steps = setting.rollout(plan).steps()
        last = next(steps).outputs
        step_s = setting.per_call(lambda: next(steps), most=plan.num_steps - 1)
        add_s = setting.per_call(lambda: totals.add(last))
        steps.close()
    return step_s, add_s


def run(setting: Setting) -> Iterator[Outcome]:
    rows, goals, numbers = [], list[Goal](), dict[str, Any]()
    for heading, size in setting.sizes.items():
        spent = alone(setting, size)
        # Read and written: float32 outputs, float64 totals.
        moved = NUM_MEMBERS * NUM_OUTPUTS * size.shape[0] * size.shape[1] * (4 + 8 + 8)
        pace = f"{moved / spent['float64'] / 1e9:,.0f}"
        rows.append((heading, *(f"{1e3 * seconds:.3f}" for seconds in spent.values()), pace))
        numbers[heading] = {"seconds": spent}
    header = ("grid", "float64, ms", "float32, ms", "masks by group, ms", "float64, GB/s")
    sums = Table(f"A step of {NUM_MEMBERS} members, {NUM_OUTPUTS} outputs", header, rows)
    yield Outcome([sums], (), (), numbers)
    of_steps = []
    for heading, size in setting.sizes.items():
        step_s, add_s = beside_a_step(setting, size)
        share = 100.0 * add_s / step_s
        of_steps.append((heading, f"{1e3 * step_s:.2f}", f"{1e3 * add_s:.3f}", f"{share:.2f}"))
        numbers[heading] |= {"step_s": step_s, "add_s": add_s}
        goals.append(Goal(f"{heading}: sums, of a step", share, LIMIT, unit="%"))
        columns = ("grid", "step, ms", "sums, ms", "%")
        steps = Table("A step of two members and its sums", columns, of_steps)
        yield Outcome([sums, steps], list(goals), (), numbers)


PART = Part(
    "Aggregation: the sums alone",
    "`MemberSums` on the device, float64, beside float32 totals and beside a dictionary of fields with a "
    "boolean mask of members for each group; then the sums of a step of two members beside the step itself.",
    60.0,
    run,
)
