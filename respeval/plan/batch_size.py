"""How many samples a network steps fastest at once, found by stepping them from the initial state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from respeval.distributed.comm import Comm
from respeval.errors import InputError, is_out_of_memory
from respeval.plan.execution import Execution, make_rollout
from respeval.plan.memory import free_memory, memory_held
from respeval.plan.plan import Plan
from respeval.plan.rehearsal import NUM_TIMED, time_steps
from respeval.rollout.members import Member, deal_members
from respeval.rollout.sums import MemberSums

#: The smallest batch that is no slower than the fastest by more than this is taken.
TIE = 0.02

#: No larger batch is tried after one that is slower than the fastest by more than this.
TOO_SLOW = 0.10

#: Where the manifest's `measured` keeps what was found.
KEPT = "samples_per_batch"


def with_batch_size(
    plan: Plan, comm: Comm, execution: Execution, measured: Mapping[str, Any]
) -> tuple[Execution, dict[str, Any] | None]:
    """The execution with a number in the place of `auto`, and what was measured for it, if anything.

    Every process calls it. A run that goes on without another number takes the one that it began
    with, so that its rounding stays the same. measured: of the run's manifest.
    """
    asked = execution.samples_per_batch
    if isinstance(asked, int):
        return execution, None
    if KEPT in measured:
        return replace(execution, samples_per_batch=_chosen(measured[KEPT])), None
    if asked is None:
        return execution, None
    found = comm.on_first(lambda: _measure(plan, comm, execution))
    return replace(execution, samples_per_batch=found["chosen"]), found


def _chosen(kept: Any) -> int:
    chosen = kept.get("chosen") if isinstance(kept, Mapping) else None
    if type(chosen) is not int or chosen < 1:
        raise InputError(
            "the run's manifest names no batch size that it began with; give --samples-per-batch"
        )
    return chosen


def candidates(num_samples: int) -> Iterator[int]:
    """1, 2, 4, … and the number of samples itself."""
    size = 1
    while size < num_samples:
        yield size
        size *= 2
    yield num_samples


def fastest(seconds: Mapping[int, float]) -> int:
    """The smallest batch among those that are as fast as the fastest."""
    limit = (1.0 + TIE) * min(seconds.values())
    return min(size for size, spent in seconds.items() if spent <= limit)


def _measure(plan: Plan, comm: Comm, execution: Execution) -> dict[str, Any]:
    """What the manifest keeps: `chosen`, and in `tried` for each size the seconds per member and step,
    None where it did not fit into memory, and the bytes that torch had allocated at most on a GPU.
    """
    dealt = deal_members(plan.num_samples, len(plan.case.groups), comm.num_data)[0]
    num_samples = -(-len(dealt) // len(plan.case.groups))
    tried: list[dict[str, Any]] = []
    seconds: dict[int, float] = {}
    for size in candidates(num_samples):
        if comm.mesh.is_split and _would_not_fit(tried, comm):
            break
        memory = None
        try:
            seconds[size], memory = _step(plan, comm, execution, size, dealt)
        except (RuntimeError, MemoryError) as error:
            if comm.mesh.is_split or not is_out_of_memory(error):
                raise  # those that share fields may wait for this process
        spent = seconds.get(size)
        tried.append({"size": size, "seconds": spent, "memory": memory})
        if spent is None or spent > (1.0 + TOO_SLOW) * min(seconds.values()):
            break
    if comm.device.type == "cuda":
        torch.cuda.empty_cache()  # what the largest batch took is free for the run
    if not seconds:
        raise InputError(
            "one sample's members don't fit into memory at once; run fewer perturbations at a time"
        )
    return {"chosen": fastest(seconds), "tried": tried}


def _would_not_fit(tried: Sequence[Mapping[str, Any]], comm: Comm) -> bool:
    """Whether a batch twice as large as the last one asks for more than a GPU has.

    Where fields are split a batch that does not fit ends all processes, instead of the search.
    """
    peaks = [each["memory"] for each in tried if each["memory"] is not None]
    if not peaks:
        return False
    most = memory_held(comm.device) + free_memory(comm.device)
    return comm.largest_here(float(2 * peaks[-1] > most)) > 0


def _step(
    plan: Plan, comm: Comm, execution: Execution, size: int, dealt: Sequence[Member]
) -> tuple[float, int | None]:
    """Seconds per member and step with batches of so many samples, and the peak of a GPU's memory, of
    the slowest of the processes that share fields and of the one that needs most.

    dealt: the root's members. A GPU holds all of them meanwhile, as in the run; a CPU steps one batch
    alone.
    """
    on_gpu = comm.device.type == "cuda"
    members = dealt if on_gpu else dealt[: size * len(plan.case.groups)]
    asked = replace(execution, samples_per_batch=size, compile=False)
    rollout = make_rollout(plan, members, asked, comm)
    few = replace(rollout, num_steps=min(1 + NUM_TIMED, plan.num_steps))
    if not on_gpu:
        return comm.largest_here(_seconds(time_steps(few).seconds)) / len(members), None
    torch.cuda.reset_peak_memory_stats(comm.device)
    shape = (len(members), len(plan.emulator.spec.outputs), *rollout.tile.size)
    sums = MemberSums(shape, comm.device)
    timed = time_steps(few)
    sums.add(timed.first)
    peak = comm.largest_here(torch.cuda.max_memory_allocated(comm.device))
    return comm.largest_here(_seconds(timed.seconds)) / len(members), int(peak)


def _seconds(spent: list[float]) -> float:
    """Of the fastest step after the first: whatever else a machine does makes steps slower only."""
    return min(spent[1:] or spent)
