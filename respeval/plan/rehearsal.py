"""What the first steps tell before a run begins: what its precision does to the response, and whether
compiling pays.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

import torch

from respeval.distributed.comm import Comm
from respeval.emulator.contract import Precision
from respeval.errors import InputError, StoppedError, first_line
from respeval.files.publish import finite_or_none
from respeval.plan.execution import Execution, make_rollout
from respeval.plan.plan import Plan
from respeval.rollout.members import Member, deal_members
from respeval.rollout.steps import Rollout

#: The response is compared over a day, and over no fewer steps than these.
DAY_S, FEWEST_STEPS = 86_400, 4

#: Steps that are timed, after one that is not.
NUM_TIMED = 3

#: How far a compiled step may be from an eager one: RMS over an output's spread, and over its
#: largest value. bfloat16 rounds to 1/256.
MOST_CHANGED, ROUNDING = 0.02, 1e-5


@dataclass(frozen=True)
class ResponseError:
    """The response to one perturbation in a run's precision beside float32's, over the first steps.

    largest: of all outputs, RMS over the globe of the difference over RMS of float32's response; None
        where it is not finite, or nothing responds yet. output: which one that is.
    near_surface_K, near_surface_float32_K: the global mean's response; None without such an output.
    """

    output: str | None
    largest: float | None
    near_surface_K: float | None
    near_surface_float32_K: float | None


def measure_precision(plan: Plan, comm: Comm, execution: Execution) -> dict[str, Any] | None:
    """How the response of the first steps in the case's precision differs from that in float32.

    Every process calls it; the root steps, the others wait. Returns what the manifest keeps of it:
    `precision`, `num_steps`, `num_samples`, and `response` with a `ResponseError` for each
    perturbation; None where the precision is float32. Raises SharedInputError where the emulator's
    network can't compute so.
    """
    if plan.case.precision == "float32":
        return None
    return comm.on_root(lambda: _compare(plan, comm, execution))


def _compare(plan: Plan, comm: Comm, execution: Execution) -> dict[str, Any]:
    spec, precision = plan.emulator.spec, plan.case.precision
    num_steps = min(max(FEWEST_STEPS, math.ceil(DAY_S / spec.timestep_s)), plan.num_steps)
    members = _samples_of_root(plan, comm)
    one = replace(execution, samples_per_batch=1, compile=False)
    exact = _response(plan, comm, one, "float32", members, num_steps)
    try:
        given = _response(plan, comm, one, precision, members, num_steps)
    except (InputError, StoppedError):
        raise
    except Exception as error:  # whatever a network's author did not foresee
        raise InputError(
            f"the network can't compute in {precision} ({first_line(error)[:300]}); leave precision out"
        ) from None
    return {
        "precision": precision,
        "num_steps": num_steps,
        "num_samples": len(members) // len(plan.case.groups),
        "response": {label: asdict(error) for label, error in _errors(plan, exact, given)},
    }


def _samples_of_root(plan: Plan, comm: Comm) -> list[Member]:
    """The root's members, and those of other groups that belong to their pairs."""
    num_groups = len(plan.case.groups)
    dealt = deal_members(plan.num_samples, num_groups, comm.num_processes)[0]
    samples = sorted({member.sample for member in dealt})
    return [Member(sample, group) for sample in samples for group in range(num_groups)]


def _response(
    plan: Plan,
    comm: Comm,
    execution: Execution,
    precision: Precision,
    members: list[Member],
    num_steps: int,
) -> torch.Tensor:
    """Mean response of these steps and samples, [perturbation, output, lat, lon], float64."""
    rollout = make_rollout(plan, members, execution, comm)
    few = replace(rollout, num_steps=num_steps, precision=precision)
    total = torch.zeros((), dtype=torch.float64, device=comm.device)
    with torch.inference_mode():
        for step in few.steps():
            total = total + step.outputs.double()
    by_sample = total.unflatten(0, (-1, len(plan.case.groups)))
    means = by_sample.mean(0) / num_steps
    response: torch.Tensor = means[1:] - means[:1]
    return response.cpu()


def _errors(
    plan: Plan, exact: torch.Tensor, given: torch.Tensor
) -> Iterator[tuple[str, ResponseError]]:
    """exact, given: responses [perturbation, output, lat, lon] in float32 and in the precision."""
    outputs = [variable.name for variable in plan.emulator.spec.outputs]
    weights = torch.from_numpy(plan.layout.area_weight)
    size, error = (
        ((weights * field.square()).sum((-2, -1)).sqrt()) for field in (exact, given - exact)
    )
    # No response in both is no error.
    relative = torch.where((size == 0) & (error == 0), -1.0, error / size)
    mean = [(weights * field).sum((-2, -1)) for field in (given, exact)]
    name = plan.roles.near_surface_temperature
    for row, label in enumerate(plan.case.perturbations):
        at = int(relative[row].argmax())
        largest = float(relative[row, at])
        near = [None, None] if name is None else [m[row, outputs.index(name)].item() for m in mean]
        known = largest >= 0 or math.isnan(largest)
        yield (
            label,
            ResponseError(
                outputs[at] if known else None,
                largest if 0 <= largest < math.inf else None,
                *(finite_or_none(number) for number in near),
            ),
        )


@dataclass(frozen=True)
class Compiling:
    """What torch.compile took and won: seconds, of the slowest process."""

    compile_s: float
    step_s: float
    eager_step_s: float

    @property
    def steps_to_pay(self) -> float:
        """Steps after which the time of compiling is won back; infinite where a step is no faster."""
        won = self.eager_step_s - self.step_s
        return self.compile_s / won if won > 0 else math.inf


def measure_compiling(plan: Plan, comm: Comm, execution: Execution) -> Compiling:
    """Compile this process's network and time a few steps without and with it.

    Every process calls it; what they compiled here serves the run. Raises SharedInputError where a
    network can't be compiled, or computes something else then.
    """
    found = comm.together(lambda: _compile(plan, comm, execution))
    return Compiling(*comm.largest(found))


def _compile(plan: Plan, comm: Comm, execution: Execution) -> tuple[float, float, float]:
    dealt = deal_members(plan.num_samples, len(plan.case.groups), comm.num_processes)
    members = dealt[comm.rank]
    if not members:
        return 0.0, 0.0, 0.0
    rollout = make_rollout(plan, members, execution, comm)
    few = replace(rollout, num_steps=min(1 + NUM_TIMED, plan.num_steps))
    eager, exact = time_steps(replace(few, compile=False))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch remarks on what it leaves as it was
            fast, given = time_steps(few)
    except (InputError, StoppedError):
        raise
    except Exception as error:  # torch's compiler ends in any error
        raise InputError(
            f"the network can't be compiled ({first_line(error)[:300]}); leave --compile out"
        ) from None
    _check_same(plan, exact, given)
    step_s, eager_step_s = (median(spent[1:] or spent) for spent in (fast, eager))
    return max(0.0, fast[0] - eager[0]), step_s, eager_step_s


def time_steps(rollout: Rollout) -> tuple[list[float], torch.Tensor]:
    """Seconds of every step, and the first step's outputs."""
    spent: list[float] = []
    begun = time.perf_counter()
    with torch.inference_mode():
        for step in rollout.steps():
            if rollout.device.type == "cuda":
                torch.cuda.synchronize(rollout.device)
            spent.append(time.perf_counter() - begun)
            if step.number == 0:
                outputs = step.outputs
            begun = time.perf_counter()
    return spent, outputs


def _check_same(plan: Plan, exact: torch.Tensor, given: torch.Tensor) -> None:
    """Hold a compiled step against an eager one, both [member, output, lat, lon].

    Where torch compiles a part wrongly, such as noise that is drawn by member, it does not say so.
    """
    axes = (0, 2, 3)
    error = (given - exact).double().square().mean(axes).sqrt()
    spread = exact.double().std(axes)
    allowed = MOST_CHANGED * spread + ROUNDING * exact.double().abs().amax(axes)
    wrong = (error > allowed).nonzero().flatten().tolist()
    if wrong:
        name = plan.emulator.spec.outputs[wrong[0]].name
        raise InputError(
            f"the compiled network computes something else ({name} differs by "
            f"{float(error[wrong[0]]):.3g}, its spread is {float(spread[wrong[0]]):.3g}); leave "
            "--compile out"
        )
