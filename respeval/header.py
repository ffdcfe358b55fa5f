"""What the manifest says of a run from its start: the case, what it reads, and with what."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import respeval
from respeval.checkpoints import checkpoint_digest
from respeval.plan import Plan


def header_of(plan: Plan, checkpoint: Path) -> dict[str, Any]:
    """What the manifest says of a run from its start."""
    hybrid = plan.emulator.spec.hybrid_levels
    packages = ("torch", "torch-harmonics", "xarray", "netCDF4", "numpy")
    return {
        "format": "respeval-run/2",
        "case_digest": plan.case.digest(),
        "case": plan.case.model_dump(mode="json"),
        "checkpoint": str(checkpoint.resolve()),
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
        "start_dates": [date.strftime("%Y-%m-%d %H:%M:%S") for date in plan.forcing.starts],
        "calendar": plan.forcing.calendar,
        "roles": {
            "near_surface_temperature": plan.roles.near_surface_temperature,
            "column_temperature": list(plan.roles.column_temperature),
            "surface_level": plan.roles.surface_level,
            "upper_level": plan.roles.upper_level,
        },
        "levels_hPa": list(plan.emulator.spec.levels_hPa),
        "hybrid_levels": hybrid and asdict(hybrid),
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


def _array_sha256(array: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
