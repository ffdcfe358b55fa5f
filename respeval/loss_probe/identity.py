"""What makes a probe this probe, how the one in a folder differs from it, and whose the folder is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import xarray as xr

from respeval.checkpoints import checkpoint_digest
from respeval.emulator.noise import METHOD
from respeval.errors import InputError, in_one_line
from respeval.files.lock import LOCKS
from respeval.files.netcdf import open_saved
from respeval.loss_probe.files import PROFILE
from respeval.loss_probe.plan import ProbePlan

#: Attribute of gradient_profile.nc -> what differs where it does.
_TOLD = {
    "checkpoint_sha256": "contents of the checkpoint",
    "data_sha256": "files of the data",
    "data": "data",
    "reader": "--reader",
    "batches": "batches",
    "ensemble": "ensemble",
    "noise": "noise",
    "loss_terms": "loss",
    "loss_variable_weights": "weights of the loss",
}

#: Those that an earlier respeval did not write, and a digest, which is not shown in full.
_LATER, _DIGESTS = ("data_sha256", "reader"), ("checkpoint_sha256", "data_sha256")

_OTHERWISE = "choose another folder with -o, or remove this one"


def identity_of(plan: ProbePlan) -> dict[str, str]:
    """Attributes of gradient_profile.nc that another probe has differently, arms and layers apart.

    data_sha256: of the names, sizes and times of the data's files, wherever they lie.
    """
    settings, weights = plan.settings, plan.settings.weights
    is_random = plan.emulator.spec.num_noise_channels > 0 or plan.ensemble.input_noise > 0
    files = json.dumps(plan.pairs.identity(), sort_keys=True)
    options = ", ".join(f"{key}={value}" for key, value in sorted(plan.reader.items()))
    return {
        "checkpoint_sha256": checkpoint_digest(plan.checkpoint, plan.emulator),
        "data": plan.location,
        "data_sha256": hashlib.sha256(files.encode()).hexdigest(),
        "reader": options or "none",
        "batches": f"{settings.num_batches} of {settings.batch_size}, drawn with seed {settings.seed}",
        "ensemble": f"{plan.ensemble.num_members} members, input noise {plan.ensemble.input_noise:g}",
        **({"noise": METHOD} if is_random else {}),
        "loss_terms": str(weights),
        **({"loss_variable_weights": _listed(weights.variables)} if weights.variables else {}),
    }


def check_folder(folder: Path, plan: ProbePlan) -> None:
    """Raises InputError where a folder holds anything but results of this very probe."""
    present = {entry.name for entry in folder.iterdir()} - set(LOCKS)
    if present and PROFILE not in present:
        raise InputError(
            f"{folder} is not empty and holds no gradient probe; choose another folder with -o"
        )
    if not present:
        return
    try:
        with open_saved(folder / PROFILE) as found:
            changed = list(_differences(found, plan))
    except InputError as error:
        raise InputError(f"{error}; {_OTHERWISE}") from None
    if changed:
        raise InputError(f"{folder} holds another probe: {in_one_line(changed)}; {_OTHERWISE}")


def _differences(found: xr.Dataset, plan: ProbePlan) -> Iterator[str]:
    """How the probe of a gradient_profile.nc differs from the one that is planned: `key old -> new`."""
    identity = identity_of(plan)
    for key, told in _TOLD.items():
        if (key in _LATER and key not in found.attrs) or (
            key == "data" and _LATER[0] in found.attrs
        ):
            continue
        old, new = (str(attributes.get(key, "none")) for attributes in (found.attrs, identity))
        if old != new:
            yield told if key in _DIGESTS else f"{told} {old} -> {new}"
    arms, layers = [str(arm) for arm in plan.settings.arms], [each.name for each in plan.filters]
    for told, dimension, names in (("arms", "arm", arms), ("filters", "layer", layers)):
        before = [str(name) for name in found[dimension].values] if dimension in found else []
        if before != names:
            yield f"{told} {_some(before)} -> {_some(names)}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _listed(weights: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {weight:g}" for name, weight in weights.items())
