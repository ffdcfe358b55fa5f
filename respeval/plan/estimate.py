"""What a run would take, without running it: memory, time and disk space, from a few measured steps."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import torch
import xarray as xr

from respeval.distributed.comm import Comm
from respeval.emulator.computing import num_parameters
from respeval.emulator.splitting import most_parts
from respeval.fields.calendar import to_seconds
from respeval.files.netcdf import netcdf_size
from respeval.plan.batch_size import with_batch_size
from respeval.plan.execution import (
    Execution,
    check_execution,
    localize_emulator,
    make_rollout,
)
from respeval.plan.goal import goal_of, has_ended
from respeval.plan.memory import free_memory, measure_peak, memory_held
from respeval.plan.plan import Plan
from respeval.plan.rehearsal import measure_compiling
from respeval.plan.resume import go_on, open_output
from respeval.rollout.members import deal_members
from respeval.rollout.steps import Rollout, Step
from respeval.rollout.sums import GroupSums, MemberSums
from respeval.run_folder.joining import results_of
from respeval.run_folder.restart import Snapshot, record_on

#: Steps that are timed, after one that is not.
NUM_MEASURED = 5

#: No more steps are timed after this long.
MAX_MEASURING_S = 20.0


@dataclass(frozen=True)
class Disk:
    """Bytes that the rest of a run writes.

    segments: of all segments that are left; restart: one set of restart files; means: group_means.nc
    and zonal.nc of the whole run. Diagnostics and figures are left out: they don't grow with it.
    """

    segments: int = 0
    restart: int = 0
    means: int = 0

    @property
    def needed(self) -> int:
        """Room that there must be: two sets of restart files for a moment, or one and the means."""
        return self.segments + self.restart + max(self.restart, self.means)


@dataclass(frozen=True)
class Estimate:
    """What a run is and would take.

    problem: why it can't run; nothing below is known then. done_step: how many of `num_steps` are
    done. num_parameters: real numbers, None where the emulator does not tell. seconds_per_step: of the
    slowest process, reading included. memory: bytes of the process that needs most, see
    `measure_peak`. held, free: bytes of it that were in use before the steps, and that there were
    beside them. parts: of fields, in latitude and longitude, and the most that there can be, None where
    they can't be split. disk: None where nothing is left. warnings: what its plan, and the first steps,
    warn of.
    """

    checkpoint: Path
    folder: Path
    problem: str | None = None
    finished: bool = False
    num_parameters: int | None = None
    file_bytes: int = 0
    num_groups: int = 0
    num_samples: int = 0
    done_step: int = 0
    num_steps: int = 0
    seconds_per_step: float = 0.0
    memory: int = 0
    held: int = 0
    free: int = 0
    parts: tuple[int, int] = (1, 1)
    most_parts: tuple[int, int] | None = None
    disk: Disk | None = None
    warnings: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Time of the steps that are left."""
        return (self.num_steps - self.done_step) * self.seconds_per_step


def look_ahead(
    plan: Plan,
    checkpoint: Path,
    folder: Path,
    comm: Comm,
    execution: Execution,
    extend: bool = False,
) -> Estimate:
    """What is left of a plan in a folder, and what it takes. Every process calls it; writes nothing.

    Raises SharedInputError where the folder does not take this run, or its forcing can't be read.
    """
    comm.together(lambda: check_execution(plan, checkpoint, execution, comm))
    output = comm.together(lambda: open_output(plan, checkpoint, folder, comm))
    progress = comm.on_root(lambda: output.peek(extend))
    ended = has_ended(progress, goal_of(plan, output), comm)
    known = Estimate(
        checkpoint,
        folder,
        None,
        ended,
        num_parameters(plan.emulator),
        sum(p.stat().st_size for p in (checkpoint, *getattr(plan.emulator, "companions", ()))),
        len(plan.case.groups),
        plan.num_samples,
        progress.step,
        plan.num_steps,
    )
    if ended:
        return replace(known, warnings=plan.warnings)
    left = comm.together(lambda: go_on(plan, folder, progress, comm))
    localize_emulator(plan, comm)
    execution, _ = with_batch_size(plan, comm, execution, progress.measured)
    if execution.compile:
        measure_compiling(plan, comm, execution)
    held, free = memory_held(comm.device), free_memory(comm.device)

    def measured_peak() -> tuple[int, tuple[float, Disk]]:
        return measure_peak(comm.device, lambda: _measure(plan, left, comm, execution))

    peak, (per_step, disk) = measured_peak() if comm.mesh.is_split else comm.together(measured_peak)
    slowest, *memory = comm.largest([per_step, peak, held, -free])
    most, held, free = int(memory[0]), int(memory[1]), -int(memory[2])
    disk, mesh = comm.from_root(disk), comm.mesh
    measured = replace(
        known,
        seconds_per_step=slowest,
        memory=most,
        held=held,
        free=free,
        parts=(mesh.height, mesh.width),
        most_parts=most_parts(plan.emulator),
        disk=disk,
    )
    return replace(measured, warnings=plan.warnings)


def _measure(plan: Plan, left: Plan, comm: Comm, execution: Execution) -> tuple[float, Disk]:
    """Seconds per step of this process's members, and what the rest of the run writes."""
    dealt = deal_members(plan.num_samples, len(plan.case.groups), comm.num_data)
    members = dealt[comm.data_rank]
    grid = plan.emulator.spec.grid
    tiles = comm.mesh.tiles(grid.shape, grid.north_to_south)
    tile = tiles[comm.mesh.place]
    shape = (len(members), len(plan.emulator.spec.outputs), *tile.size)
    sums = MemberSums(shape, comm.device)

    def step() -> tuple[float, Step | None]:
        if not members:
            return 0.0, None
        rollout = make_rollout(plan, members, execution, comm)
        reading, windows = _read_windows(rollout)
        stepping, last = _time_steps(rollout, sums)
        del windows
        return max(stepping, reading), last  # the next window is read while one is stepped

    with torch.inference_mode():
        per_step, last = comm.together_stepping(step)
        if not (comm.is_root or comm.mesh.is_split):
            return per_step, Disk()
        case, masks = plan.case, torch.from_numpy(plan.layout.surface_masks()).to(comm.device)
        totals = GroupSums.encode(
            sums, members, len(case.groups), plan.num_samples, masks, case.save_members, tile=tile
        )
        if comm.mesh.is_split:
            totals = totals.at_root(comm, tiles)
        return per_step, _disk(plan, left, totals.means(), last) if comm.is_root else Disk()


def _read_windows(rollout: Rollout) -> tuple[float, list[torch.Tensor]]:
    """Seconds per step of reading a window, and as much of it as a run holds: the next one too."""
    length = min(rollout.window_length, rollout.num_steps)
    samples = sorted({member.sample for member in rollout.members})
    begun = time.perf_counter()
    window = rollout.comm.together_here(
        lambda: rollout.forcing.read(0, length, samples, rollout.dtype)
    )
    spent = time.perf_counter() - begun
    fields = rollout.tile.of(window.fields).to(rollout.device).contiguous()
    held = [fields] if length == rollout.num_steps else [fields, fields.clone()]
    return spent / length, held


def _time_steps(rollout: Rollout, sums: MemberSums) -> tuple[float, Step]:
    """Median seconds of a few steps after the first one, and the last step's outputs."""
    few = replace(rollout, num_steps=min(1 + NUM_MEASURED, rollout.num_steps))
    spent: list[float] = []
    begun = first = time.perf_counter()
    for step in few.steps():
        sums.add(step.outputs)
        if rollout.device.type == "cuda":
            torch.cuda.synchronize(rollout.device)
        now = time.perf_counter()
        spent.append(now - begun)
        begun = now
        # Those that share fields stop after the same step.
        if len(spent) > 1 and rollout.comm.largest_here(now - first) > MAX_MEASURING_S:
            break
    return median(spent[1:] or spent), step


def _disk(plan: Plan, left: Plan, means: GroupSums, last: Step | None) -> Disk:
    """From a segment that is made of the few steps' means, in memory; on the root, which has members."""
    assert last is not None
    spec, case, layout = plan.emulator.spec, plan.case, plan.layout
    origin_s = to_seconds(plan.forcing.starts[0])
    segment = layout.segment_dataset(plan.segments[0], origin_s, means)
    state = Snapshot(last.number + 1, last.outputs[:, : len(spec.prognostic)], last.conserved)
    whole = record_on(state.record(), spec.grid.shape)
    record = sum(array.num_bytes for array in whole.values())
    num_means = sum(not segment.spinup for segment in plan.segments)
    return Disk(
        netcdf_size(segment) * len(left.segments),
        record * plan.num_samples * len(case.groups),
        sum(_size_with_times(part, num_means) for part, *_ in results_of(segment).values()),
    )


def _size_with_times(dataset: xr.Dataset, num_times: int) -> int:
    """Bytes of a file of one time when it has more of them."""
    one = netcdf_size(dataset)
    if num_times == 1:
        return one
    several = xr.concat([dataset] * 3, "time", data_vars="minimal")
    return one + (netcdf_size(several) - one) * (num_times - 1) // 2
