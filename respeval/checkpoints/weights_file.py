"""The zip archives that torch.save writes, checked before torch opens them.

torch's own safe loader runs no code, but it unpacks what is compressed, makes whatever size of array
a pickle names, and follows a pickle that refers to itself for ever. Here a file is held against what
torch.save writes of tensors in dictionaries: members stored as they are, and a pickle of few
operations and fewer names.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from pathlib import Path

from respeval.errors import InputError

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
    check_members(path)
    try:
        with _opened(path) as opened:
            pickles = [name for name in opened.namelist() if name.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise ValueError
            _check_pickle(opened.read(pickles[0]), path)
    except InputError:
        raise
    except Exception:  # pickletools and zipfile raise whatever they like for a broken file
        raise _no_checkpoint(path) from None


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except Exception:  # a broken directory ends in any error
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
        f"{path} needs code to load ({name}); respeval opens only plain weights, write it again with "
        "respeval.checkpoints.native.save_checkpoint"
    )
