"""Readers: each turns a checkpoint file into an `Emulator`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from respeval.checkpoints.native import load_checkpoint
from respeval.emulator import Emulator
from respeval.errors import InputError


def _read_native(path: Path, options: Mapping[str, Any]) -> Emulator:
    if options:
        raise InputError(
            f"{path}: the native reader has no options (got reader: {', '.join(options)})"
        )
    return load_checkpoint(path)


#: Ending of a file's name -> reader of such files.
READERS: dict[str, Callable[[Path, Mapping[str, Any]], Emulator]] = {".pt": _read_native}


def open_checkpoint(path: Path, options: Mapping[str, Any]) -> Emulator:
    """The emulator in a checkpoint, on the CPU, in evaluation mode.

    options: of the reader (`reader` in the case file). Raises InputError where there is no such
    file, no reader for it, or where the reader refuses it.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder, expected a checkpoint file")
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint file")
    reader = READERS.get(path.suffix)
    if reader is None:
        raise InputError(
            f"{path}: no reader for {path.suffix or 'a name without ending'} files (known: "
            f"{', '.join(READERS)})"
        )
    return reader(path, options)
