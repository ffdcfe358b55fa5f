"""What fast transforms win: a network's steps as they are and with `--fast-transforms`.

python -m benchmarks.transforms REPORT CHECKPOINT SIZE-as-JSON ROUNDS
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.compile import ACE, NATIVE, block, largest_difference, study_plan, write_study
from benchmarks.frame import Benchmark, Goal, Options, Outcome, Table, alternate, spread
from benchmarks.processes import watched
from benchmarks.studies import Size
from respeval.emulator.transforms import fast_transforms
from respeval.plan.execution import Execution

#: A step without, over a step with them: what it must be at least.
GOAL = 1.2


def studies(options: Options) -> dict[str, tuple[str, Size]]:
    """Heading -> reader and size."""
    if options.quick:
        return {"native 16 x 32": (NATIVE, Size((16, 32), 16, 2, 3, "all"))}
    sizes = (
        Size((45, 90), 128, 6, 20, "all"),
        Size((180, 360), 64, 4, 5, "all"),
        Size((180, 360), 384, 8, 2, "all"),  # ACE2's own
    )
    return {
        f"{reader} {size.shape[0]} x {size.shape[1]}, embed {size.embed_dim}, {size.num_layers} layers": (
            reader,
            size,
        )
        for reader in (NATIVE, ACE)
        for size in sizes
    }


def measured(reader: str, size: Size, options: Options) -> dict[str, Any]:
    """What a process of its own measures."""
    with tempfile.TemporaryDirectory() as name:
        python, checkpoint = write_study(Path(name) / "study", reader, size, options)
        rounds = 1 if options.quick else options.rounds
        arguments = str(checkpoint), json.dumps(asdict(size)), str(rounds)
        return watched("transforms", *arguments, python=(python,))[1]


def run(options: Options) -> Outcome:
    rows, goals, numbers, notes = [], [], {}, []
    for heading, (reader, size) in studies(options).items():
        if reader == ACE and not options.ace_python.exists():
            notes.append(f"{heading} was left out: there is no environment with fme.")
            continue
        found = numbers[heading] = measured(reader, size, options)
        ratios = [usual / fast for usual, fast in found["step_s"]]
        rows.append(
            (
                heading,
                f"{found['num_fast']} of {found['num_convolutions']}",
                spread([1e3 * usual for usual, _ in found["step_s"]], ".0f"),
                spread([1e3 * fast for _, fast in found["step_s"]], ".0f"),
                spread(ratios),
                f"{found['difference']:.1e}",
            )
        )
        what = f"times faster, {heading}"
        goals.append(Goal(what, statistics.median(ratios), GOAL, at_least=True))
    header = ("network", "fast", "usual step, ms", "fast step, ms", "usual / fast", "difference")
    return Outcome([Table("Fast transforms on this CPU", header, rows)], goals, notes, numbers)


def main() -> None:
    report, checkpoint, described, rounds = sys.argv[1:]
    torch.set_num_threads(1)
    plan = study_plan(Path(checkpoint), described)
    usual, fast = Execution(), Execution(fast_transforms=True)
    with torch.inference_mode():
        with fast_transforms(plan.emulator) as (num_fast, num_convolutions):
            pass
        *_, exact = block(plan, usual)
        *_, given = block(plan, fast)
        pairs = alternate(
            int(rounds),
            lambda: statistics.median(block(plan, usual)[1]),
            lambda: statistics.median(block(plan, fast)[1]),
        )
    found = {
        "num_fast": num_fast,
        "num_convolutions": num_convolutions,
        "step_s": pairs,
        "difference": largest_difference(given, exact),
    }
    Path(report).write_text(json.dumps(found))


if __name__ == "__main__":
    main()


BENCHMARK = Benchmark(
    "Fast transforms: what `--fast-transforms` wins",
    "A baseline and +4 K of untrained networks, native (torch-harmonics) and ACE's (fme), stepped as they "
    "are and with fast transforms; blocks of a few steps alternate in one process, and a block's first step "
    "is not timed. Weights lie by degree in both, which alone makes the usual step a few percent faster "
    "than a network's that was never asked for fast transforms. The difference is the largest of any "
    "output after the last step, relative to that output's spread.",
    run,
)
