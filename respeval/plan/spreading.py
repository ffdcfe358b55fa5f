"""How a run is spread over its processes: members first, which exchange nothing as they step, and their
fields where a member does not fit the device, or where processes are left over.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from respeval.distributed.comm import Comm
from respeval.emulator.splitting import most_parts
from respeval.errors import is_out_of_memory
from respeval.plan.estimate import Estimate
from respeval.plan.execution import Execution, make_rollout
from respeval.plan.memory import free_memory, measure_peak, memory_held
from respeval.plan.plan import Plan
from respeval.rollout.members import Member

#: Steps of one member that are taken to see what it needs.
NUM_TRIED = 2

#: Of the memory that is free, what a member may take: others, and the sums, need theirs.
_SHARE = 0.8

#: No more are looked at where a run does not fit.
MOST_PARTS = 64


@dataclass(frozen=True)
class Spreading:
    """Parts of fields in latitude and longitude, and why so many."""

    height: int
    width: int
    why: str

    def __str__(self) -> str:
        whole = self.height * self.width == 1
        chosen = "fields stay whole" if whole else f"fields split {self.height}x{self.width}"
        return f"--spatial auto: {chosen}: {self.why}"


@dataclass(frozen=True)
class Need:
    """Bytes that one member takes beside what is there already, None where they are not there; and the
    bytes that are free."""

    member: int | None
    free: int

    @property
    def fits(self) -> bool:
        return self.member is not None and self.member <= _SHARE * self.free


def spread(
    num_members: int, num_processes: int, most: tuple[int, int] | None, need: Need
) -> Spreading:
    """How to use so many processes for so many members.

    most: parts in latitude and in longitude, None where fields can't be split. Where members are fewer
    than processes, fields are split as long as every group of processes still has a member.
    """
    counts = f"{num_members} member{'s' if num_members > 1 else ''} on {num_processes} process"
    counts += "es" if num_processes > 1 else ""
    spare = num_processes // num_members
    sizes = [size for size in range(1, num_processes + 1) if num_processes % size == 0]
    shapes = {size: found for size in sizes if (found := _shapes(size, most))}
    if not need.fits:
        lacking = f"one needs {_told(need.member)}, {_told(need.free)} are free"
        wide = [shape for size, found in shapes.items() if size > 1 for shape in found]
        if not wide:
            why = (
                "they can't be split"
                if most is None
                else "there are too few processes to split them"
            )
            return Spreading(1, 1, f"{lacking}, but {why}")
        enough = [shape for shape in wide if _fits(need, shape)] or shapes[max(shapes)][:1]
        using = [shape for shape in enough if shape[0] * shape[1] <= spare]
        return Spreading(*max(using or enough[:1], key=math.prod), lacking)
    size = max(size for size in shapes if size <= max(1, spare))
    if size == 1:
        why = counts if spare <= 1 else f"{counts}, but they can't be split"
        return Spreading(1, 1, why)
    return Spreading(*shapes[size][0], f"{counts} leave {num_processes - num_members} over")


def _fits(need: Need, shape: tuple[int, int]) -> bool:
    """Whether a part of a member fits; where what it needs is not known, any part might."""
    return need.member is None or need.member * _share_left(shape) <= _SHARE * need.free


def smallest_layout(estimate: Estimate) -> tuple[tuple[int, int], int] | None:
    """The fewest parts that a run's fields must be split into to fit, and about what a process takes then;
    None where no number of them does. What was there before the steps is taken to be the same."""
    now, room = estimate.parts, estimate.held + estimate.free
    if estimate.memory <= _SHARE * room:
        return now, estimate.memory
    for size in range(now[0] * now[1] + 1, MOST_PARTS + 1):
        for shape in _shapes(size, estimate.most_parts):
            share = _share_left(shape) / _share_left(now)
            needed = int(estimate.held + (estimate.memory - estimate.held) * share)
            if needed <= _SHARE * room:
                return shape, needed
    return None


def _share_left(shape: tuple[int, int]) -> float:
    """About the share of a whole step's memory that a process needs where fields are split.

    Partial sums of an inverse transform, a third of it, are of all latitudes on every process; see
    docs/gpus.md.
    """
    height, width = shape
    return (1.0 if height == 1 else (1.0 + 1.0 / height) / 3.0) / width


def _shapes(size: int, most: tuple[int, int] | None) -> list[tuple[int, int]]:
    """The ways to have so many parts, those with more of them in latitude first: filters are shared out
    by these, and transforms send half as often."""
    if size == 1:
        return [(1, 1)]
    if most is None:
        return []
    heights = range(min(size, most[0]), 0, -1)
    return [(h, size // h) for h in heights if size % h == 0 and size // h <= most[1]]


def _told(num_bytes: int | None) -> str:
    return "more memory" if num_bytes is None else f"{num_bytes / 2**30:.2g} GiB"


def choose_spreading(plan: Plan, comm: Comm, execution: Execution) -> Spreading:
    """What `--spatial auto` chooses, the same on every process; all call it, with whole fields."""
    num_members = plan.num_samples * len(plan.case.groups)
    most = most_parts(plan.emulator)
    if execution.compile or execution.fast_transforms or plan.case.precision == "bfloat16":
        most = None  # which are for whole fields
    if comm.num_processes == 1 or most is None:
        return spread(num_members, comm.num_processes, most, Need(0, 1))
    need = comm.on_root(lambda: _measure(plan, comm, execution))
    return spread(num_members, comm.num_processes, most, need)


def _measure(plan: Plan, comm: Comm, execution: Execution) -> Need:
    """What the first member takes in a few steps."""
    free = free_memory(comm.device)
    before = memory_held(comm.device)
    one = replace(execution, samples_per_batch=1, compile=False, fast_transforms=False)

    def step() -> None:
        rollout = make_rollout(plan, [Member(0, 0)], one, comm)
        with torch.inference_mode():
            for _ in replace(rollout, num_steps=min(NUM_TRIED, plan.num_steps)).steps():
                pass

    try:
        peak, _ = measure_peak(comm.device, step)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return Need(None, free)
    finally:
        if comm.device.type == "cuda":
            with torch.inference_mode(False):
                plan.emulator.to(torch.device("cpu"))  # where it is split, if it is
            torch.cuda.empty_cache()
    return Need(max(0, peak - before), free)
