"""Drives a run: steps it, and reduces and publishes its segments in the order of the commit."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

import respeval
from respeval.accumulate import GroupSums, MemberSums, deal_members
from respeval.calendar import to_seconds
from respeval.checkpoints import checkpoint_digest
from respeval.comm import Comm
from respeval.emulator import EmulatorSpec
from respeval.errors import BlowUpError, InputError
from respeval.plan import Plan
from respeval.rollout import RangeGuard, Rollout
from respeval.run_folder import NoOutput, RunFolder, RunOutput
from respeval.segments import Segment

#: Grids with fewer cells than this run faster on one thread than on several.
SMALL_GRID_CELLS = 64 * 128

#: Steps between two readings of the guard on a GPU, where reading makes the host wait.
GUARD_INTERVAL = 32


@dataclass(frozen=True)
class Execution:
    """How a run is computed; nothing here changes its results beyond rounding.

    window_length: steps of forcing read at once, None for about 64 MiB.
    samples_per_batch: samples stepped at once with all their groups; None for one on a CPU, where
        a small batch is fastest, and for all on a GPU.
    """

    window_length: int | None = None
    samples_per_batch: int | None = None


class Reporter(Protocol):
    """What a run tells while it runs; on the root process alone."""

    def planned(self, plan: Plan) -> None: ...

    def stepped(self, step: int) -> None: ...

    def published(self, segment: Segment, means: GroupSums) -> None: ...


def header_of(plan: Plan, checkpoint: Path) -> dict[str, Any]:
    """What the manifest says of a run from its start."""
    packages = ("torch", "torch-harmonics", "xarray", "netCDF4", "numpy")
    return {
        "format": "respeval-run/1",
        "case_digest": plan.case.digest(),
        "checkpoint": str(checkpoint.resolve()),
        "checkpoint_sha256": checkpoint_digest(checkpoint, plan.emulator),
        "checkpoint_description": dict(plan.emulator.spec.description),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "respeval": respeval.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in packages},
        },
        "groups": list(plan.case.groups),
        "num_samples": plan.num_samples,
        "num_steps": plan.num_steps,
        "timestep_s": plan.emulator.spec.timestep_s,
        "calendar": plan.forcing.calendar,
        "roles": {
            "near_surface_temperature": plan.roles.near_surface_temperature,
            "column_temperature": list(plan.roles.column_temperature),
            "surface_level": plan.roles.surface_level,
            "upper_level": plan.roles.upper_level,
        },
        "levels_hPa": list(plan.emulator.spec.levels_hPa),
        "sst_change": {
            change.label: {
                "mean_K": _finite(change.mean_K),
                "coast_K": _finite(change.coast_K),
                "area_share": change.area_share,
            }
            for change in plan.changes
        },
        "inputs_out_of_range": list(plan.warnings),
    }


def _finite(number: float) -> float | None:
    return number if np.isfinite(number) else None


def open_output(plan: Plan, checkpoint: Path, folder: Path, comm: Comm) -> RunOutput:
    """Where this process's results go: the folder on the root, nowhere elsewhere."""
    if not comm.is_root:
        return NoOutput()
    header = header_of(plan, checkpoint)
    provenance = {
        "checkpoint": checkpoint.name,
        "checkpoint_sha256": header["checkpoint_sha256"],
        "case_digest": header["case_digest"],
        "history": f"{header['created']} respeval run",
    }
    layout = replace(plan.layout, provenance=provenance)
    return RunFolder(folder, header, layout, to_seconds(plan.forcing.starts[0]))


def default_threads(spec: EmulatorSpec, comm: Comm) -> int | None:
    """Threads of this process, None for torch's own choice.

    One under torchrun and on small grids, where threads wait for each other more than they work.
    """
    small = spec.grid.num_lat * spec.grid.num_lon < SMALL_GRID_CELLS
    return 1 if comm.num_processes > 1 or small else None


def execute(
    plan: Plan, output: RunOutput, comm: Comm, execution: Execution, reporter: Reporter
) -> None:
    """Run all segments and publish each one. Every process calls it.

    Raises BlowUpError where the state leaves the range of physical values; what was published stays.
    """
    output.begin(plan.case.to_yaml())
    reporter.planned(plan)
    case, num_groups = plan.case, len(plan.case.groups)
    members = deal_members(plan.num_samples, num_groups, comm.num_processes)[comm.rank]
    samples_per_batch = execution.samples_per_batch or (
        1 if comm.device.type == "cpu" else plan.num_samples
    )
    rollout = Rollout(
        plan.emulator.to(comm.device),
        plan.forcing,
        plan.initial,
        plan.patterns,
        members,
        plan.num_steps,
        case.ocean_fraction_cutoff,
        case.initial_condition_scope,
        case.seed,
        case.paired_noise,
        samples_per_batch * num_groups,
        execution.window_length or plan.forcing.window_length(),
        comm.device,
    )
    spec = plan.emulator.spec
    masks = torch.from_numpy(plan.layout.surface_masks()).to(comm.device)
    sums = MemberSums((len(members), len(spec.outputs), *spec.grid.shape), comm.device)
    guard = RangeGuard(spec, members, comm.device)
    interval = 1 if comm.device.type == "cpu" else GUARD_INTERVAL
    steps = rollout.steps()
    try:
        with torch.inference_mode():
            for segment in plan.segments:
                for step in range(segment.first_step, segment.stop_step):
                    if members:
                        _, outputs = next(steps)
                        sums.add(outputs)
                        guard.check(outputs, step)
                        if step % interval == 0 or step + 1 == segment.stop_step:
                            guard.raise_if_bad(case.groups, plan.forcing.starts)
                    reporter.stepped(step + 1)
                totals = GroupSums.encode(
                    sums, members, num_groups, plan.num_samples, masks, case.save_members
                )
                means = totals.unpack(comm.sum_to_root(totals.pack())).means()
                output.publish_segment(segment, means)
                reporter.published(segment, means)
                sums.reset()
    except (BlowUpError, InputError, KeyboardInterrupt) as error:
        output.fail(str(error) or "interrupted")
        raise
    finally:
        steps.close()
