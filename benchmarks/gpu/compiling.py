"""torch.compile: what it takes and wins, and its errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.frame import Outcome
from benchmarks.gpu.part import Part
from benchmarks.gpu.precision import compare
from benchmarks.gpu.setting import Setting


def run(setting: Setting) -> Iterator[Outcome]:
    compiled: dict[str, dict[str, Any]] = {
        "float32, compiled": {"compile": True},
        "bfloat16, compiled": {"precision": "bfloat16", "compile": True},
    }
    if setting.quick:  # on a CPU each of them takes a C++ compiler half a minute
        del compiled["bfloat16, compiled"]
    yield from compare(setting, compiled)


PART = Part(
    "torch.compile",
    "The same with `--compile`, where nothing is compiled yet: the first step of a row does it.",
    120.0,
    run,
)
