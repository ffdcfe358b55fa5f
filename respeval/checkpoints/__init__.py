"""Readers: each turns a checkpoint file into an `Emulator`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from respeval.checkpoints.in_memory import PROTOCOL, Checkpoint, InMemory
from respeval.checkpoints.registry import FORMAT_OPTION, Reader, choose_reader
from respeval.emulator.contract import Emulator
from respeval.errors import InputError, enough_memory

__all__ = ["Checkpoint", "InMemory", "Reader", "checkpoint_digest", "open_checkpoint"]


def open_checkpoint(
    path: Checkpoint, options: Mapping[str, Any], trust: bool = False, with_weights: bool = True
) -> Emulator:
    """The emulator in a checkpoint, on the CPU, in evaluation mode; one in memory as it is.

    options: of the reader (`reader` in the case file); `format` among them names the reader, which
    otherwise the file's name tells. trust: whether code that the file holds may run. with_weights: False
    for shapes alone, where the reader can. Raises InputError where there is no such file, no reader for
    it, or where the reader refuses it.
    """
    if isinstance(path, InMemory):
        if options:
            named = ", ".join(options)
            raise InputError(
                f"{path} needs no reader, so it takes no options of one (got: {named})"
            )
        return path.emulator
    if path.is_dir():
        raise InputError(f"{path} is a folder, expected a checkpoint file")
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint file")
    name, reader = choose_reader(path, options.get(FORMAT_OPTION))
    own = {key: value for key, value in options.items() if key != FORMAT_OPTION}
    read = reader.read if with_weights else reader.read_shapes or reader.read
    size = path.stat().st_size / 2**30
    with enough_memory(
        f"to load {path}", f"the file has {size:.1f} GiB; free some, or go to a larger machine"
    ):
        emulator = read(path, own, trust)
    lacking = [attribute for attribute in PROTOCOL if not hasattr(emulator, attribute)]
    if lacking:
        raise InputError(
            f"{path}: the {name!r} reader gave {type(emulator).__name__}, which is no emulator: it "
            f"has no {', '.join(lacking)}"
        )
    return emulator


def checkpoint_digest(path: Checkpoint, emulator: Emulator) -> str:
    """SHA-256 of a checkpoint's file, with the files beside it that belong to it one after the other; of
    an emulator in memory see `InMemory.digest`."""
    if isinstance(path, InMemory):
        return path.digest()
    digest = hashlib.sha256()
    for part in (path, *getattr(emulator, "companions", ())):
        with part.open("rb") as opened:
            while block := opened.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
