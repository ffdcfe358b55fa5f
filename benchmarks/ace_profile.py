"""Where the time of an ACE checkpoint's steps goes.

python -m benchmarks.ace_profile REPORT STUDY SIZE-as-JSON

Run by the interpreter of an environment with fme, on what ace_study.py wrote for this size.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from benchmarks.clock import Clock
from benchmarks.overhead import NETWORK, most_of
from benchmarks.studies import Size, options_of
from respeval.case.file import load_case
from respeval.distributed.comm import Comm
from respeval.plan.execution import Execution, make_rollout
from respeval.plan.plan import Plan, prepare
from respeval.rollout.members import deal_members

#: Samples that are stepped at once, each with its climates.
BATCHES = (1, 2, 4)
ROUNDS = 3

AROUND, REST = "fme around it", "perturbed forcing"


def step_seconds(plan: Plan, samples_per_batch: int) -> dict[str, float]:
    """Seconds of the plan's steps by part, without the first one's."""
    members = deal_members(plan.num_samples, len(plan.case.groups), 1)[0]
    clock, execution = Clock(), Execution(samples_per_batch=samples_per_batch)
    rollout = make_rollout(plan, members, execution, Comm())
    network, emulator = type(rollout.emulator.network), type(rollout.emulator)
    with torch.inference_mode():
        steps = rollout.steps()
        next(steps)
        with (
            clock.around(NETWORK, network, "forward"),
            clock.around(AROUND, emulator, "step"),
            clock.section(REST),
        ):
            for _ in steps:
                pass
    return dict(clock.seconds)


def main() -> None:
    report, study, described = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    size = Size(**{**described, "shape": tuple(described["shape"])})
    torch.set_num_threads(1)
    plan = prepare(study / "ckpt.tar", load_case(None, options_of(study, size)))
    found: dict[int, list[dict[str, float]]] = {batch: [] for batch in BATCHES}
    for _ in range(ROUNDS):
        for batch, runs in found.items():
            runs.append(step_seconds(plan, batch))
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        step_seconds(plan, 1)
    report.write_text(json.dumps({"seconds": found, "operators": most_of(profile)}))


if __name__ == "__main__":
    main()
