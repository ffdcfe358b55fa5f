"""What the first steps tell before a run begins: what its precision and its fast transforms do to the
response, and whether these and compiling pay.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any, NamedTuple

import torch

from respeval.distributed.comm import Comm
from respeval.emulator.transforms import fast_transforms
from respeval.errors import InputError, LostProcessError, first_line, pass_on
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

    Every process calls it; the root steps, and those that share its fields, the others wait. Returns
    what the manifest keeps of it: `precision`, `num_steps`, `num_samples`, and `response` with a
    `ResponseError` for each perturbation; None where the precision is float32. Raises SharedInputError
    where the emulator's network can't compute so.
    """
    if plan.case.precision == "float32":
        return None
    return comm.on_first(lambda: _compare(plan, comm, execution))


def _compare(plan: Plan, comm: Comm, execution: Execution) -> dict[str, Any]:
    precision, members = plan.case.precision, _samples_of_root(plan, comm)
    few = _first_day(plan, comm, execution, members)
    exact = time_steps(replace(few, precision="float32"))
    try:
        given = time_steps(few)
    except (InputError, LostProcessError):
        raise
    except Exception as error:  # whatever a network's author did not foresee
        pass_on(error)
        raise InputError(
            f"the network can't compute in {precision} ({first_line(error)[:300]}); leave precision out"
        ) from None
    return {
        "precision": precision,
        "num_steps": few.num_steps,
        "num_samples": len(members) // len(plan.case.groups),
        "response": _errors(plan, comm, exact.mean, given.mean),
    }


def measure_fast_transforms(plan: Plan, comm: Comm, execution: Execution) -> dict[str, Any]:
    """What fast transforms win, and how the response of the first steps differs from that without.

    Every process calls it; the root steps one sample, the others wait. Returns what the manifest keeps
    of it: `num_fast` of `num_convolutions`, `num_steps`, `step_s`, `usual_step_s`, and `response`
    with `output` and `largest` of a `ResponseError` for each perturbation. Raises SharedInputError
    where no convolution has a fast form.
    """
    return comm.on_root(lambda: _try_fast(plan, comm, execution))


def _try_fast(plan: Plan, comm: Comm, execution: Execution) -> dict[str, Any]:
    members = [Member(0, group) for group in range(len(plan.case.groups))]
    few = _first_day(plan, comm, execution, members)
    with fast_transforms(few.emulator) as (num_fast, num_convolutions):
        pass
    usual, fast = time_steps(replace(few, fast_transforms=False)), time_steps(few)
    return {
        "num_fast": num_fast,
        "num_convolutions": num_convolutions,
        "num_steps": few.num_steps,
        "step_s": fast.usual_s,
        "usual_step_s": usual.usual_s,
        "response": {
            label: {name: error[name] for name in ("output", "largest")}
            for label, error in _errors(plan, comm, usual.mean, fast.mean).items()
        },
    }


def _first_day(plan: Plan, comm: Comm, execution: Execution, members: list[Member]) -> Rollout:
    """The rollout of these members, a sample at a time, over a day or the fewest steps."""
    day = math.ceil(DAY_S / plan.emulator.spec.timestep_s)
    one = replace(execution, samples_per_batch=1, compile=False)
    rollout = make_rollout(plan, members, one, comm)
    return replace(rollout, num_steps=min(max(FEWEST_STEPS, day), plan.num_steps))


def _samples_of_root(plan: Plan, comm: Comm) -> list[Member]:
    """The root's members, and those of other groups that belong to their pairs."""
    num_groups = len(plan.case.groups)
    dealt = deal_members(plan.num_samples, num_groups, comm.num_data)[0]
    samples = sorted({member.sample for member in dealt})
    return [Member(sample, group) for sample in samples for group in range(num_groups)]


def _errors(
    plan: Plan, comm: Comm, exact: torch.Tensor, given: torch.Tensor
) -> dict[str, dict[str, Any]]:
    """Label -> its `ResponseError`; exact, given: means [member, output, lat, lon], samples of all
    groups, in this process's block of the grid."""
    num_groups = len(plan.case.groups)
    means = (mean.unflatten(0, (-1, num_groups)).mean(0) for mean in (exact, given))
    responses = [mean[1:] - mean[:1] for mean in means]
    return {label: asdict(error) for label, error in _errors_of_responses(plan, comm, *responses)}


def _errors_of_responses(
    plan: Plan, comm: Comm, exact: torch.Tensor, given: torch.Tensor
) -> Iterator[tuple[str, ResponseError]]:
    """exact, given: responses [perturbation, output, lat, lon] in float32 and as the run computes."""
    outputs = [variable.name for variable in plan.emulator.spec.outputs]
    grid = plan.emulator.spec.grid
    tile = comm.mesh.tile(grid.shape, grid.north_to_south)
    weights = tile.of(torch.from_numpy(plan.layout.area_weight))

    def global_mean(field: torch.Tensor) -> torch.Tensor:
        part = (weights * field).sum((-2, -1)).to(comm.device)
        return comm.mesh.total(part).cpu()

    size, error = (global_mean(field.square()).sqrt() for field in (exact, given - exact))
    # No response in both is no error.
    relative = torch.where((size == 0) & (error == 0), -1.0, error / size)
    mean = [global_mean(field) for field in (given, exact)]
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
    dealt = deal_members(plan.num_samples, len(plan.case.groups), comm.num_data)
    members = dealt[comm.data_rank]
    if not members:
        return 0.0, 0.0, 0.0
    rollout = make_rollout(plan, members, execution, comm)
    few = replace(rollout, num_steps=min(1 + NUM_TIMED, plan.num_steps))
    eager = time_steps(replace(few, compile=False))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch remarks on what it leaves as it was
            fast = time_steps(few)
    except InputError:
        raise
    except Exception as error:  # torch's compiler ends in any error
        pass_on(error)
        raise InputError(
            f"the network can't be compiled ({first_line(error)[:300]}); leave --compile out"
        ) from None
    _check_same(plan, eager.first, fast.first)
    compile_s = max(0.0, fast.seconds[0] - eager.seconds[0])
    return compile_s, fast.usual_s, eager.usual_s


class TimedSteps(NamedTuple):
    """seconds: of every step. first: the first step's outputs [member, output, lat, lon]; mean: over
    all steps, float64, on the CPU.
    """

    seconds: list[float]
    first: torch.Tensor
    mean: torch.Tensor

    @property
    def usual_s(self) -> float:
        """Median seconds of the steps after the first one."""
        return median(self.seconds[1:] or self.seconds)


def time_steps(rollout: Rollout) -> TimedSteps:
    """Take all steps of a rollout."""
    spent: list[float] = []
    total = torch.zeros((), dtype=torch.float64)
    begun = time.perf_counter()
    with torch.inference_mode():
        for step in rollout.steps():
            if rollout.device.type == "cuda":
                torch.cuda.synchronize(rollout.device)
            spent.append(time.perf_counter() - begun)
            if step.number == 0:
                first = step.outputs
            total = total + step.outputs.cpu().double()
            begun = time.perf_counter()
    return TimedSteps(spent, first, total / len(spent))


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
