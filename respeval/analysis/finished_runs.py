"""The finished runs that a user names, and what their manifests say for a comparison."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from respeval.errors import InputError, in_one_line
from respeval.run_folder.identity import other_definitions, other_samples
from respeval.run_folder.manifest import read_left_out, read_manifest
from respeval.run_folder.names import MANIFEST
from respeval.run_folder.sweep import holds_sweep, read_entries, short_names

#: How the reader of ACE checkpoints tells of the training.
_EPOCHS = re.compile(r"(\d+) epochs")


@dataclass(frozen=True)
class Run:
    """A finished run.

    epoch: of training, where the checkpoint says it. unpaired: why its samples are not those of the
    first run, None where they are. remarks: what the diagnostics have differently defined. left_out: the
    perturbations that blew up in every sample.
    """

    folder: Path
    name: str
    checkpoint: str
    epoch: int | None = None
    unpaired: str | None = None
    remarks: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def find_runs(arguments: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """The finished runs of these folders in order, and in one line each why others are left out.

    arguments: folders of runs, of sweeps (their runs in order), or globs that a shell did not
        expand. A run that is named twice counts once, where it comes first.
    Raises InputError where none is left.
    """
    manifests: dict[Path, Mapping[str, Any]] = {}
    skipped: list[str] = []
    for folder, status in _folders(arguments):
        try:
            manifests[Path(os.path.abspath(folder))] = _finished(folder, status)
        except InputError as reason:
            skipped.append(str(reason))
    if not manifests:
        raise InputError("; ".join(skipped[:3]) + (" …" if len(skipped) > 3 else ""))
    names, _ = short_names(list(manifests))
    first = next(iter(manifests.values()))
    runs = [
        _describe(folder, name, first, manifest)
        for name, (folder, manifest) in zip(names, manifests.items(), strict=True)
    ]
    return runs, skipped


def _folders(arguments: Sequence[Path]) -> Iterator[tuple[Path, str | None]]:
    """The folders that are named, each with what a sweep says of it."""
    for argument in arguments:
        found = [argument]
        if not argument.exists() and glob.has_magic(str(argument)):
            found = [Path(match) for match in sorted(glob.glob(str(argument), recursive=True))]
            found = [path for path in found if path.is_dir()]
            if not found:
                raise InputError(f"{argument} matches no folder")
        for folder in found:
            if holds_sweep(folder):
                for entry in read_entries(folder):
                    yield folder / entry["folder"], str(entry.get("status"))
            else:
                yield folder, None


def _finished(folder: Path, status: str | None) -> Mapping[str, Any]:
    """The manifest of a finished run. Raises InputError where it is none."""
    if status is not None and not (folder / MANIFEST).is_file():
        raise InputError(f"{folder} is no finished run: {status}")
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    if not (folder / MANIFEST).is_file() and any(folder.glob(f"*/{MANIFEST}")):
        raise InputError(
            f"{folder} is no folder of a run, but holds some: name {folder / '*'} for all of them"
        )
    manifest = read_manifest(folder)
    if manifest.get("status") != "finished":
        raise InputError(f"{folder} is no finished run: {manifest.get('status', 'of no status')}")
    return manifest


def _describe(
    folder: Path, name: str, first: Mapping[str, Any], manifest: Mapping[str, Any]
) -> Run:
    other = other_samples(first, manifest)
    description = manifest.get("checkpoint_description")
    trained = description.get("trained", "") if isinstance(description, Mapping) else ""
    epochs = _EPOCHS.match(str(trained))
    return Run(
        folder,
        name,
        str(manifest.get("checkpoint", "")),
        int(epochs.group(1)) if epochs else None,
        in_one_line(other) if other else None,
        tuple(other_definitions(first, manifest)),
        tuple(fault["group"] for fault in read_left_out(folder, manifest)),
    )
