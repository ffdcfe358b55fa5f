"""Many checkpoints in one command: the folder of each, and what became of it."""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from respeval.errors import InputError
from respeval.files.publish import make_folder, write_json
from respeval.run_folder.names import MANIFEST

RECORD = "sweep.json"


class Status(StrEnum):
    """What became of a checkpoint in a sweep."""

    NOT_REACHED = "not reached"
    RUNNING = "running"
    STOPPED = "stopped"
    FINISHED = "finished"
    ALREADY_FINISHED = "already finished"
    FAILED = "failed"


#: There is nothing to do for these before the command is given again.
_ENDED = (Status.FINISHED, Status.ALREADY_FINISHED, Status.FAILED)


@dataclass(frozen=True)
class Entry:
    """A checkpoint, its run's folder, and what became of it."""

    checkpoint: Path
    folder: Path
    status: Status = Status.NOT_REACHED
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """What sweep.json says of it."""
        return {
            "checkpoint": str(self.checkpoint.absolute()),
            "folder": self.folder.name,
            "status": self.status.value,
            "reason": self.reason,
        }


def find_checkpoints(arguments: Sequence[Path]) -> list[Path]:
    """The files that the arguments name; a glob, which a shell did not expand, stands for its matches.

    Raises InputError where a glob matches nothing or a file is given twice.
    """
    found: list[Path] = []
    for argument in arguments:
        if argument.exists() or not glob.has_magic(str(argument)):
            found.append(argument)
            continue
        matches = sorted(glob.glob(str(argument), recursive=True))
        if not matches:
            raise InputError(f"{argument} matches no checkpoint file")
        found.extend(map(Path, matches))
    first: dict[Path, Path] = {}
    for path in found:
        same = first.setdefault(path.resolve(), path)
        if same is not path:
            also = "twice" if same == path else f"twice, as {same} too"
            raise InputError(f"the checkpoint {path} is given {also}; give every file once")
    return found


def folder_names(paths: Sequence[Path]) -> list[str]:
    """A folder's name for every file: its stem, or where stems clash `PARENT_STEM`, and so on upwards.

    The names depend on which files are given, never on their order. No two are equal, on file systems
    that ignore case either.
    """
    parts = [(*path.resolve().parts[1:-1], path.stem) for path in paths]
    lengths = [1] * len(paths)
    while True:
        names = ["_".join(p[-n:]) for p, n in zip(parts, lengths, strict=True)]
        times = Counter([RECORD, *(name.casefold() for name in names)])
        clashing = [i for i, name in enumerate(names) if times[name.casefold()] > 1]
        if not clashing:
            return names
        for i in clashing:
            if lengths[i] < len(parts[i]):
                lengths[i] += 1
            else:  # a.pt beside a.pt2
                digest = hashlib.sha256(str(paths[i].resolve()).encode()).hexdigest()
                parts[i] = (*parts[i][:-1], f"{paths[i].name}_{digest[:8]}")
                lengths[i] = 1


class Sweep:
    """The checkpoints of one command in order, and sweep.json, which says what became of each.

    An earlier command's checkpoints stay in the file.
    """

    def __init__(self, folder: Path, checkpoints: Sequence[Path]) -> None:
        self.folder = folder
        self.entries = [
            Entry(checkpoint, folder / name)
            for checkpoint, name in zip(checkpoints, folder_names(checkpoints), strict=True)
        ]
        self._earlier: list[dict[str, Any]] = []

    @property
    def num_left(self) -> int:
        """How many checkpoints have not ended."""
        return sum(entry.status not in _ENDED for entry in self.entries)

    def check(self) -> None:
        """Raise InputError where the folder may not hold a sweep."""
        if (self.folder / MANIFEST).exists():
            raise InputError(
                f"{self.folder} holds the run of one checkpoint; choose another folder with -o"
            )

    def begin(self) -> None:
        """Make the folder and write the file. Raises InputError where that can't be or must not."""
        self.check()
        make_folder(self.folder)
        own = {entry.folder.name for entry in self.entries}
        self._earlier = [e for e in read_entries(self.folder) if e["folder"] not in own]
        self.write()

    def tell(self, number: int, status: Status, reason: str | None = None) -> None:
        """Note what became of a checkpoint."""
        self.entries[number] = replace(self.entries[number], status=status, reason=reason)

    def write(self) -> None:
        """Write sweep.json. Raises InputError where it can't be written."""
        entries = [*self._earlier, *(entry.to_json() for entry in self.entries)]
        write_json(self.folder / RECORD, {"format": "respeval-sweep/1", "checkpoints": entries})


def holds_sweep(folder: Path) -> bool:
    """Whether a folder holds the runs of many checkpoints."""
    return (folder / RECORD).is_file()


def short_names(paths: Sequence[Path]) -> tuple[list[str], Path]:
    """The paths below the folder that all of them lie in, and that folder as the user wrote it."""
    own = paths[0].parent
    if all(path.is_relative_to(own) for path in paths):
        return [str(path.relative_to(own)) for path in paths], own
    parent = Path(os.path.commonpath([path.parent.absolute() for path in paths]))
    return [str(path.absolute().relative_to(parent)) for path in paths], parent


def read_entries(folder: Path) -> list[dict[str, Any]]:
    """What sweep.json says of every checkpoint, in order; nothing where there is no such file.

    Raises InputError where it can't be read.
    """
    path = folder / RECORD
    if not path.exists():
        return []
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["checkpoints"]
        if any(not isinstance(entry["folder"], str) for entry in entries):
            raise TypeError
        return [dict(entry) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"{path} can't be read; remove it, the runs beside it stay") from None
