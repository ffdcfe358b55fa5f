"""The zip archives that torch.save writes, checked before torch opens them.

torch's own safe loader runs no code, but it unpacks what is compressed, makes whatever size of array
a pickle names, and follows a pickle that refers to itself for ever. Here a file is held against what
torch.save writes of tensors in dictionaries: members stored as they are, and a pickle of few
operations and fewer names.
"""

from __future__ import annotations

import contextlib
import pickletools
import re
import zipfile
from collections.abc import Collection
from pathlib import Path

from respeval.errors import InputError, pass_on

#: What the pickle of tensors in dictionaries is made of.
_OPERATIONS_LIST = (
    "PROTO STOP MARK GLOBAL REDUCE BUILD BINPERSID BINPUT LONG_BINPUT BINGET LONG_BINGET "
    "EMPTY_DICT SETITEM SETITEMS EMPTY_LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 "
    "TUPLE3 NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE"
)
_OPERATIONS = frozenset(_OPERATIONS_LIST.split())

#: Names of functions and classes in it.
_PLAIN_NAMES = re.compile(
    r"collections OrderedDict|torch \w+Storage|torch\._utils _rebuild_(tensor_v2|parameter)"
)
_TENSORS = re.compile(r"torch\._utils _rebuild_\w+")

#: The newest protocol of pickle that torch's safe loader reads; torch.save writes 2 by itself.
_PROTOCOL = 3

#: What files begin with that are no archives: a pickle; the number by which torch before 1.6 marked its
#: own, in the first of several pickles; and what git leaves in the place of a large file.
_PICKLE = b"\x80"
_OLD_TORCH = b"l\xfc\x9cF\xf9 j\xa8P\x19"
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"

#: What to do with a network that respeval has no architecture of, or that needs its code.
HOW_TO_EXPORT = (
    "write the network with torch.export.save, or its weights with respeval.checkpoints.native."
    "save_checkpoint (docs/readers.md shows both)"
)


def check_members(path: Path) -> None:
    """Raise InputError where an archive of torch.save is compressed or larger than its file."""
    with _opened(path) as opened:
        members = opened.infolist()
    names = [info.filename for info in members]
    if any(info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 for info in members):
        raise InputError(
            f"{path} is compressed inside, which torch.save never does; write it again with torch.save"
        )
    if len(set(names)) < len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise InputError(f"{path} has two members named {twice}; write it again with torch.save")
    if sum(info.file_size for info in members) > path.stat().st_size:
        raise InputError(f"{path}: its members are said to be larger than the file")


def check_plain(path: Path) -> None:
    """Raise InputError where a file holds anything but tensors, texts and numbers in dictionaries."""
    check_protocol(path)
    if not zipfile.is_zipfile(path):
        raise _no_archive(path)
    check_members(path)
    try:
        with _opened(path) as opened:
            _check_kind(opened.namelist(), path)
            pickles = [name for name in opened.namelist() if name.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise ValueError
            _check_pickle(opened.read(pickles[0]), path)
    except InputError:
        raise
    except Exception as error:  # pickletools and zipfile raise whatever they like for a broken file
        pass_on(error)
        raise _no_checkpoint(path) from None


def check_protocol(path: Path) -> None:
    """Raise InputError where an archive is a whole one that torch's safe loader can't read."""
    if not zipfile.is_zipfile(path):
        return
    with _opened(path) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        begin = b""
        with contextlib.suppress(Exception):  # what is broken is told by whoever reads it whole
            begin = archive.open(pickles[0]).read(2)
    if begin[:1] == _PICKLE and begin[1:] > bytes([_PROTOCOL]):
        raise InputError(
            f"{path} is written in pickle protocol {begin[1]}, which torch reads only where it may run the "
            "file's code; write it again with torch.save, leaving out pickle_protocol"
        )


def _no_archive(path: Path) -> InputError:
    """What is wrong with a file that is no archive at all."""
    try:
        with path.open("rb") as opened:
            begin = opened.read(128)
    except OSError as error:
        return InputError(f"{path} can't be read ({error.strerror})")
    if begin.startswith(_LFS_POINTER):
        return InputError(
            f"{path} is no checkpoint: it is Git LFS's pointer to one; fetch the file with git lfs pull"
        )
    if begin.startswith(_PICKLE) and _OLD_TORCH in begin:
        return InputError(
            f"{path} is in torch's format from before version 1.6; write it again with "
            "torch.save(torch.load(FILE, weights_only=True), FILE)"
        )
    if begin.startswith(_PICKLE):
        return InputError(
            f"{path} is no checkpoint: it is a bare pickle, which can run code when it is read; "
            f"{HOW_TO_EXPORT}"
        )
    return _no_checkpoint(path)


def _check_kind(members: Collection[str], path: Path) -> None:
    """Raise InputError where an archive is one of torch's others."""
    if any(name.endswith(("/models/model.json", "/archive_format")) for name in members):
        raise InputError(
            f"{path} holds a program of torch.export; name it {path.with_suffix('.pt2').name}, with its "
            "manifest beside it, or give --reader format=torch-export"
        )
    if any(name.endswith("/constants.pkl") for name in members):
        raise InputError(f"{path} holds a TorchScript program (torch.jit.save); {HOW_TO_EXPORT}")


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except Exception as error:  # a broken directory ends in any error
        pass_on(error)
        raise _no_checkpoint(path) from None


def _no_checkpoint(path: Path) -> InputError:
    return InputError(
        f"{path} is no checkpoint: it can't be read as saved weights; if it was copied, compare its "
        "size with the original's"
    )


def _check_pickle(content: bytes, path: Path) -> None:
    """Hold a pickle against what is plain. Raises ValueError where it is none."""
    before, tuples = "", set[object]()
    for operation, argument, _ in pickletools.genops(content):
        name = operation.name
        if name not in _OPERATIONS:
            raise ValueError
        if name == "GLOBAL" and not _PLAIN_NAMES.fullmatch(str(argument)):
            raise _refused_name(str(argument), path)
        if name in ("BINPUT", "LONG_BINPUT"):
            (tuples.add if before.startswith("TUPLE") else tuples.discard)(argument)
        # Tuples that hold the same tuple twice, some thirty levels deep, take for ever to compare.
        if name in ("BINGET", "LONG_BINGET") and argument in tuples:
            raise ValueError
        before = name


def _refused_name(argument: str, path: Path) -> InputError:
    name = argument.replace(" ", ".")
    if _TENSORS.fullmatch(argument):
        return InputError(
            f"{path} holds a tensor of a kind that is no plain weight ({name}); save dense tensors"
        )
    return InputError(
        f"{path} needs code to load ({name}), as a network that was saved whole does, and respeval opens "
        f"only plain weights: {HOW_TO_EXPORT}"
    )
