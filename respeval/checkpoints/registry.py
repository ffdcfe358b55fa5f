"""Which reader opens a checkpoint: respeval's own, and those that installed packages bring.

A package brings one through the entry-point group `respeval.checkpoints`: the entry point's name is
the format's name, its value a `Reader`. Nothing of it is imported before a checkpoint is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from respeval.emulator.contract import Emulator
from respeval.errors import InputError
from respeval.interpreter import load_entry, offered

GROUP = "respeval.checkpoints"

#: The reader option that names a format; every other one is the reader's own.
FORMAT_OPTION = "format"

Read = Callable[[Path, Mapping[str, Any], bool], Emulator]


@dataclass(frozen=True)
class Reader:
    """Opens the checkpoint files of one format.

    endings: of file names, lower case, such as (".pt",); the longest that fits a file's name wins.
    read: (path, options, trust) -> the emulator, on the CPU, in evaluation mode. Raises InputError in
        one line that names the file. options: what the user gave for the reader, unchecked. trust:
        whether code that the file holds may run; without it none ever does.
    summary: what such files are, in a few words for messages.
    read_shapes: as `read`, of an emulator whose weights have shapes alone (on torch's meta device, say),
        which takes next to no memory; None where it can't be had, and `read` is used.
    """

    endings: tuple[str, ...]
    read: Read
    summary: str
    read_shapes: Read | None = None

    def __post_init__(self) -> None:
        if not self.endings or not all(ending and ending.islower() for ending in self.endings):
            raise ValueError(
                f"endings of file names in lower case are expected, got {self.endings}"
            )


def _read_native(
    path: Path, options: Mapping[str, Any], trust: bool, with_weights: bool = True
) -> Emulator:
    from respeval.checkpoints.native import read_native

    return read_native(path, options, trust, with_weights)


def _read_ace(
    path: Path, options: Mapping[str, Any], trust: bool, with_weights: bool = True
) -> Emulator:
    from respeval.checkpoints.ace.reader import read_ace

    return read_ace(path, options, trust, with_weights)


def _read_exported(
    path: Path, options: Mapping[str, Any], trust: bool, with_weights: bool = True
) -> Emulator:
    from respeval.checkpoints.exported.reader import read_exported

    return read_exported(path, options, trust, with_weights)


#: Name of a format -> respeval's own reader of it. What a reader needs is imported when it reads.
BUILT_IN: dict[str, Reader] = {
    "native": Reader(
        (".pt",), _read_native, "respeval's own", partial(_read_native, with_weights=False)
    ),
    "torch-export": Reader(
        (".pt2",),
        _read_exported,
        "a program of torch.export with its manifest",
        partial(_read_exported, with_weights=False),
    ),
    "ace": Reader(
        (".tar",), _read_ace, "ACE, written by fme", partial(_read_ace, with_weights=False)
    ),
}


def choose_reader(path: Path, asked: object = None) -> tuple[str, Reader]:
    """Name and reader of a file's format; `asked` names the format, else the file's name tells it.

    Raises InputError where there is no such reader, where two fit equally well, or where a package's
    entry point that is needed can't be loaded.
    """
    brought = offered(GROUP, "checkpoint reader", BUILT_IN)
    if asked is not None:
        return _choose_by_name(path, asked, brought)
    readers, broken = dict(BUILT_IN), list[str]()
    for name, entry in brought.items():
        try:
            readers[name] = load_entry(entry, "reader", Reader)
        except InputError as error:
            broken.append(str(error))
    fitting = {
        name: max(len(ending) for ending in reader.endings if path.name.lower().endswith(ending))
        for name, reader in readers.items()
        if path.name.lower().endswith(reader.endings)
    }
    best = [name for name, length in fitting.items() if length == max(fitting.values())]
    if len(best) > 1:
        raise InputError(
            f"{path} fits the formats {' and '.join(best)}: say which with --reader format=NAME, or "
            "reader: {format: NAME} in the case file"
        )
    if not best:
        ending = f"{path.suffix} files" if path.suffix else "a name without ending"
        reasons = "".join(f"; {reason}" for reason in broken)
        raise InputError(
            f"{path}: no reader for {ending} (formats: {_listed(readers)}); --reader format=NAME "
            f"chooses one whatever the name{reasons}"
        )
    return best[0], readers[best[0]]


def _choose_by_name(
    path: Path, asked: object, brought: Mapping[str, EntryPoint]
) -> tuple[str, Reader]:
    if isinstance(asked, str) and asked in BUILT_IN:
        return str(asked), BUILT_IN[str(asked)]
    if isinstance(asked, str) and asked in brought:
        return str(asked), load_entry(brought[str(asked)], "reader", Reader)
    known = ", ".join([*BUILT_IN, *brought])
    raise InputError(f"{path}: no reader of format {asked!r:.60} (formats: {known})")


def _listed(readers: Mapping[str, Reader]) -> str:
    return ", ".join(
        f"{name} ({', '.join(reader.endings)}: {reader.summary})"
        for name, reader in readers.items()
    )
