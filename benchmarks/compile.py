"""What torch.compile takes and wins: a network's steps as they are and compiled.

python -m benchmarks.compile REPORT CHECKPOINT SIZE-as-JSON ROUNDS CACHE
"""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
import tempfile
import time
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.frame import Benchmark, Options, Outcome, Table, alternate, spread
from benchmarks.processes import timed, watched
from benchmarks.studies import Size, native_study, options_of
from respeval.case.file import load_case
from respeval.distributed.comm import Comm
from respeval.plan.execution import Execution, make_rollout
from respeval.plan.plan import Plan, prepare
from respeval.rollout.members import Member

#: Steps of a block, of which the first is not timed; the difference is taken at its end.
NUM_STEPS = 10

NATIVE, ACE = "native", "ACE"


def studies(options: Options) -> dict[str, tuple[str, Size]]:
    """Heading -> reader and size; the sizes of the benchmarks of overhead and of today's way."""
    if options.quick:
        return {"native 16 x 32": (NATIVE, Size((16, 32), 16, 2, NUM_STEPS, "all"))}
    return {
        "native 45 x 90": (NATIVE, Size((45, 90), 128, 6, NUM_STEPS, "all")),
        "native 180 x 360": (NATIVE, Size((180, 360), 64, 2, NUM_STEPS, "all")),
        "ACE 45 x 90": (ACE, Size((45, 90), 64, 2, NUM_STEPS, "all")),
    }


def write_study(folder: Path, reader: str, size: Size, options: Options) -> tuple[str, Path]:
    """The interpreter that steps a study's checkpoint, and the checkpoint."""
    if reader == NATIVE:
        return sys.executable, native_study(folder, size)
    python = str(options.ace_python)
    timed([python, "-m", "benchmarks.ace_study", str(folder), json.dumps(asdict(size))])
    return python, folder / "ckpt.tar"


def measured(reader: str, size: Size, options: Options) -> dict[str, Any]:
    """What a process of its own measures, which finds nothing compiled already."""
    with tempfile.TemporaryDirectory() as name:
        python, checkpoint = write_study(Path(name) / "study", reader, size, options)
        rounds = 1 if options.quick else options.rounds
        arguments = str(checkpoint), json.dumps(asdict(size)), str(rounds), f"{name}/cache"
        return watched("compile", *arguments, python=(python,))[1]


def row(heading: str, found: dict[str, Any]) -> tuple[str, ...]:
    ratios = [fast / eager for eager, fast in found["step_s"]]
    won = statistics.median(eager - fast for eager, fast in found["step_s"])
    pays = f"{math.ceil(found['compile_s'] / won):,}" if won > 0 else "never"
    return (
        heading,
        f"{found['compile_s']:.0f}",
        spread([1e3 * eager for eager, _ in found["step_s"]], ".0f"),
        spread(ratios),
        pays,
        f"{found['difference']:.1e}",
    )


def run(options: Options) -> Outcome:
    rows, numbers, notes = [], {}, []
    for heading, (reader, size) in studies(options).items():
        if reader == ACE and not options.ace_python.exists():
            notes.append(f"{heading} was left out: there is no environment with fme.")
            continue
        found = measured(reader, size, options)
        rows.append(row(heading, found))
        numbers[heading] = {"size": str(size), **found}
    header = (
        "network",
        "compiled in, s",
        "eager step, ms",
        "compiled / eager",
        "pays after, steps",
    )
    table = Table(
        "torch.compile on this CPU", (*header, f"difference after {NUM_STEPS} steps"), rows
    )
    return Outcome([table], (), notes, numbers)


def block(plan: Plan, execution: Execution) -> tuple[float, list[float], torch.Tensor]:
    """Seconds of the first step and of the others, and the last step's outputs."""
    members = [Member(0, group) for group in range(len(plan.case.groups))]
    rollout = make_rollout(plan, members, execution, Comm())
    spent, begun = [], time.perf_counter()
    for step in rollout.steps():
        spent.append(time.perf_counter() - begun)
        outputs, begun = step.outputs, time.perf_counter()
    return spent[0], spent[1:], outputs


def largest_difference(given: torch.Tensor, exact: torch.Tensor) -> float:
    """Of any output, relative to its spread; both [member, output, lat, lon]."""
    axes = (0, 2, 3)
    return float(((given - exact).abs().amax(axes) / exact.std(axes)).max())


def study_plan(checkpoint: Path, described: str) -> Plan:
    """The plan of a study's run; described: its size, as JSON."""
    content = json.loads(described)
    size = Size(**{**content, "shape": tuple(content["shape"])})
    case = options_of(checkpoint.parent, size, start=size.start_dates())
    return prepare(checkpoint, load_case(None, case))


def main() -> None:
    report, checkpoint, described, rounds, cache = sys.argv[1:]
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # torch remarks on complex numbers
    plan = study_plan(Path(checkpoint), described)
    eager, compiled = Execution(), Execution(compile=True)
    with torch.inference_mode():
        block(plan, eager)  # what only a process's first step pays
        eager_s, _, exact = block(plan, eager)
        first_s, _, given = block(plan, compiled)
        pairs = alternate(
            int(rounds),
            lambda: statistics.median(block(plan, eager)[1]),
            lambda: statistics.median(block(plan, compiled)[1]),
        )
    found = {
        "compile_s": first_s - eager_s,
        "step_s": pairs,
        "difference": largest_difference(given, exact),
    }
    Path(report).write_text(json.dumps(found))


if __name__ == "__main__":
    main()


BENCHMARK = Benchmark(
    "torch.compile: what `--compile` takes and wins",
    "A baseline and +4 K of untrained networks, native (torch-harmonics) and ACE's (fme), stepped as they "
    "are and compiled by torch.compile for this batch size; blocks of ten steps alternate in a process that "
    "finds nothing compiled. Compiling is what the first compiled step takes longer than the first eager "
    "one; the difference is the largest of any output, relative to that output's spread.",
    run,
)
