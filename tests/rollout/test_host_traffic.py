"""A step on another device touches nothing of the host, which would have to wait for it.

The meta device stands in for a GPU: its tensors have no numbers, so that whatever reads one fails,
and every operator's arguments say where they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from respeval.case.file import load_case
from respeval.distributed.comm import Comm
from respeval.plan.execution import Execution, make_rollout
from respeval.plan.plan import Plan, prepare
from respeval.rollout.guard import RangeGuard
from respeval.rollout.members import Member, deal_members
from respeval.rollout.sums import MemberSums
from tests.support.studies import export_native, write_study

META = torch.device("meta")


class FromHost(TorchDispatchMode):
    """The operators that were given a tensor of the host."""

    def __init__(self) -> None:
        super().__init__()
        self.operators: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        with self:  # operators that are made of others count by those
            made_of_others = func.decompose(*args, **(kwargs or {}))
        if made_of_others is not NotImplemented:
            return made_of_others
        given = tree_leaves((args, kwargs or {}))
        if any(isinstance(leaf, torch.Tensor) and leaf.device != META for leaf in given):
            self.operators.append(str(func))
        return func(*args, **(kwargs or {}))


def plan_of(checkpoint: Path) -> Plan:
    case = {
        "forcing": str(checkpoint.parent / "forcing.nc"),
        "initial_condition": str(checkpoint.parent / "initial.nc"),
        "steps": 12,
        "perturbations": {"p4K": {"type": "uniform", "amplitude_K": 4.0}},
    }
    return prepare(checkpoint, load_case(None, case))


def planned(kind: str, folder: Path) -> tuple[Plan, list[Member]]:
    """A run of a native or an exported network, and all of its members."""
    checkpoint = write_study(folder)
    if kind == "exported":
        checkpoint = export_native(checkpoint, folder / "tiny.pt2")
    plan = plan_of(checkpoint)
    return plan, deal_members(plan.num_samples, len(plan.case.groups), 1)[0]


@pytest.mark.parametrize("kind", ["native", "exported"])
def test_nothing_of_the_host_takes_part_in_a_step_within_a_window(
    kind: str, tmp_path: Path
) -> None:
    plan, members = planned(kind, tmp_path)
    shape = (len(members), len(plan.emulator.spec.outputs), *plan.emulator.spec.grid.shape)
    sums, guard = MemberSums(shape, META), RangeGuard(plan.emulator.spec, members, META)
    seen: dict[int, list[str]] = {}
    with torch.inference_mode():
        rollout = make_rollout(plan, members, Execution(window_length=5), Comm(device=META))
        steps = rollout.steps()
        while True:
            with FromHost() as watching:
                step = next(steps, None)
                if step is None:
                    break
                sums.add(step.outputs)
                guard.check(step.outputs, step.number)
            seen[step.number] = watching.operators
    begin_a_window = {0, 5, 10}
    assert all(seen[number] for number in begin_a_window)  # the mode does see them
    assert {number: found for number, found in seen.items() if found}.keys() == begin_a_window


@pytest.mark.parametrize("kind", ["native", "exported"])
def test_weights_that_a_run_moves_are_good_for_gradients_afterwards(
    kind: str, tmp_path: Path
) -> None:
    plan, members = planned(kind, tmp_path)
    with torch.inference_mode():  # as in a run
        emulator: Any = make_rollout(plan, members, Execution(), Comm(device=META)).emulator
    moved = list(emulator.parameters())
    assert moved
    assert all(weight.device == META and not weight.is_inference() for weight in moved)
