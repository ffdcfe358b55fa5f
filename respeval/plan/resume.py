"""Where a run goes on: what its folder must say of it, and the state it had come to."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import respeval
from respeval.checkpoints import Checkpoint, checkpoint_digest
from respeval.checkpoints.in_memory import location_of
from respeval.distributed.comm import Comm
from respeval.emulator.noise import METHOD
from respeval.fields.calendar import to_seconds
from respeval.files.publish import finite_or_none
from respeval.plan.plan import Plan
from respeval.rollout.forced import ForcedMeans
from respeval.rollout.members import deal_members
from respeval.rollout.segments import remaining_segments
from respeval.run_folder.folder import RunFolder
from respeval.run_folder.output import Progress, RunOutput
from respeval.run_folder.restart import Snapshot


def header_of(plan: Plan, checkpoint: Checkpoint) -> dict[str, Any]:
    """What the manifest says of a run from its start."""
    hybrid = plan.emulator.spec.hybrid_levels
    packages = ("torch", "torch-harmonics", "xarray", "netCDF4", "numpy")
    return {
        "format": "respeval-run/2",
        "case_digest": plan.case.digest(),
        "case": plan.case.model_dump(mode="json"),
        "checkpoint": location_of(checkpoint),
        "checkpoint_sha256": checkpoint_digest(checkpoint, plan.emulator),
        "checkpoint_description": dict(plan.emulator.spec.description),
        "initial_condition_sha256": _array_sha256(plan.initial),
        "patterns_sha256": _array_sha256(plan.patterns),
        **(
            {"land_boxes_sha256": _array_sha256(np.stack(list(plan.layout.boxes.values())))}
            if plan.layout.boxes
            else {}
        ),
        "forcing": plan.forcing.identity(),
        **({"noise": METHOD} if plan.emulator.spec.num_noise_channels else {}),
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
        "grid": str(plan.emulator.spec.grid),
        "prognostic": [variable.name for variable in plan.emulator.spec.prognostic],
        "units": {variable.name: variable.units for variable in plan.emulator.spec.prognostic},
        "start_dates": [date.strftime("%Y-%m-%d %H:%M:%S") for date in plan.forcing.starts],
        "calendar": plan.forcing.calendar,
        "roles": asdict(plan.roles),
        "surface_temperature": plan.emulator.spec.surface_temperature,
        "levels_hPa": list(plan.emulator.spec.levels_hPa),
        "hybrid_levels": hybrid and asdict(hybrid),
        "sst_change": {
            change.label: {
                "mean_K": finite_or_none(change.mean_K),
                "coast_K": finite_or_none(change.coast_K),
                "area_share": change.area_share,
            }
            for change in plan.changes
        },
    }


def _array_sha256(array: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def go_on(plan: Plan, folder: Path, progress: Progress, comm: Comm) -> Plan:
    """What is left of a plan whose run has come so far in this folder.

    Raises InputError where its forcing is not what the run read: on the root, which knows what it did.
    """
    if comm.is_root:
        plan.forcing.go_on_with(progress.read)
    if progress.first_file is None:
        return plan
    segments = remaining_segments(
        plan.segments, plan.emulator.spec.timestep_s, progress.num_segments, progress.done_step
    )
    layout = plan.layout.with_masks_of(folder / progress.first_file)
    return replace(plan, segments=tuple(segments), layout=layout)


def open_output(plan: Plan, checkpoint: Checkpoint, folder: Path, comm: Comm) -> RunOutput:
    """Where this process's results go: the folder on the root, nowhere elsewhere."""
    if not comm.is_root:
        return RunOutput()
    header = header_of(plan, checkpoint)
    provenance = {
        "checkpoint": checkpoint.name,
        "checkpoint_sha256": header["checkpoint_sha256"],
        "case_digest": header["case_digest"],
        "precision": plan.precision,
        "history": f"{header['created']} respeval run",
    }
    layout = replace(plan.layout, provenance=provenance)
    forced = ForcedMeans(plan.forcing, layout.fluxes, plan.segments) if layout.fluxes else None
    return RunFolder(folder, header, layout, to_seconds(plan.forcing.starts[0]), forced)


def read_snapshot(plan: Plan, folder: Path, progress: Progress, comm: Comm) -> Snapshot | None:
    """This process's block of its members as the folder's restart files have them; None where the run begins.

    Raises InputError where the files are missing, damaged or of another shape.
    """
    if progress.restart is None:
        return None
    spec = plan.emulator.spec
    dealt = deal_members(plan.num_samples, len(plan.case.groups), comm.num_data)
    first = sum(map(len, dealt[: comm.data_rank]))
    shapes = {
        "state": (len(spec.prognostic), *spec.grid.shape),
        "totals": (len(spec.outputs), *spec.grid.shape),
    }
    stop = first + len(dealt[comm.data_rank])
    tile = comm.mesh.tile(spec.grid.shape, spec.grid.north_to_south)
    return progress.restart.read(folder, first, stop, shapes).of_tile(tile)
