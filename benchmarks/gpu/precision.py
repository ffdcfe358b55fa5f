"""TF32 and bfloat16: their speed, and their errors."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from benchmarks.frame import Outcome, Table
from benchmarks.gpu.part import Part
from benchmarks.gpu.setting import Setting
from benchmarks.studies import Size
from respeval.errors import first_line
from respeval.rollout.steps import Rollout

#: Steps whose outputs are compared, and that are timed after them.
NUM_COMPARED = 8

HEADER = (
    *("numbers", "ms a step", "of float32", "first step, s"),
    *("outputs differ", "response differs"),
)


@dataclass(frozen=True)
class Found:
    """step_s, first_s: seconds. outputs: after the compared steps; response: its sum over them."""

    step_s: float
    first_s: float
    outputs: torch.Tensor
    response: torch.Tensor


def measured(setting: Setting, rollout: Rollout) -> Found:
    total = None
    with torch.inference_mode():
        steps = rollout.steps()
        begun = time.perf_counter()
        num_compared = 3 if setting.quick else NUM_COMPARED
        for number in range(num_compared):
            outputs = next(steps).outputs
            if number == 0:
                setting.wait()
                first_s = time.perf_counter() - begun
            total = outputs.double() + (0.0 if total is None else total)
        left = rollout.num_steps - num_compared
        step_s = setting.per_call(lambda: next(steps), span_s=1.0, most=left)
        steps.close()
    assert total is not None
    return Found(step_s, first_s, outputs, total[1:] - total[:1])


def errors(found: Found, exact: Found) -> tuple[float, float]:
    """Largest difference of the outputs over the output's spread; RMS of the response's over its own RMS.

    Each of the output for which it is largest, of those that respond.
    """
    axes = (0, 2, 3)
    outputs = (found.outputs - exact.outputs).double().abs().amax(axes)
    spread = exact.outputs.double().std(axes)
    off = (found.response - exact.response).square().mean(axes).sqrt()
    size = exact.response.square().mean(axes).sqrt()
    moving, responding = spread > 0, size > 0
    return (
        float((outputs[moving] / spread[moving]).max()),
        float((off[responding] / size[responding]).max()),
    )


def compare(setting: Setting, variants: Mapping[str, Mapping[str, Any]]) -> Iterator[Outcome]:
    """A table for each size: a step in float32, and in each variant: a name, and fields of a rollout."""
    tables, numbers = dict[str, list[tuple[str, ...]]](), dict[str, Any]()
    for heading, size in setting.sizes.items():
        title = f"{heading}: a step of two members"
        for name, row, found in rows_of(setting, size, variants):
            tables.setdefault(title, []).append((name, *row))
            numbers[f"{heading}, {name}"] = found
            shown = [Table(title, HEADER, rows) for title, rows in tables.items()]
            yield Outcome(shown, (), (), numbers)


def rows_of(
    setting: Setting, size: Size, variants: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, tuple[str, ...], dict[str, Any]]]:
    """Name of each variant, its row, and its numbers; first of float32."""
    rollout = setting.rollout(setting.plan(size))
    exact = measured(setting, rollout)
    for name, changes in {"float32": {}, **variants}.items():
        try:
            found = measured(setting, replace(rollout, **changes)) if changes else exact
        except Exception as error:  # a compiler ends in any error, and is the result then
            reason = first_line(error)[:80]
            yield name, (f"can't: {reason}", *[""] * 4), {"failed": reason}
            continue
        outputs, response = errors(found, exact)
        times = (f"{1e3 * found.step_s:.2f}", f"{found.step_s / exact.step_s:.2f}")
        row = (*times, f"{found.first_s:.1f}", f"{outputs:.1e}", f"{response:.1e}")
        seconds = {"step_s": found.step_s, "first_s": found.first_s}
        yield name, row, {**seconds, "outputs_differ": outputs, "response_differs": response}


def run(setting: Setting) -> Iterator[Outcome]:
    yield from compare(setting, {p: {"precision": p} for p in ("tf32", "bfloat16")})


PART = Part(
    "TF32 and bfloat16",
    "Steps of a run in each of them. Outputs differ: after eight steps, the largest difference of any "
    "output, relative to its spread. Response differs: RMS over the globe of what changes in the eight "
    "steps' mean response to +4 K, relative to float32's, of the output for which it is largest.",
    60.0,
    run,
)
