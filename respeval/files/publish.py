"""Files that appear whole or not at all, and the folders that they are in."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
import socket
import zlib
from collections.abc import Callable, Iterable, Mapping
from errno import EDQUOT, EFBIG, EIO, ENOSPC
from pathlib import Path
from typing import Any

from respeval.errors import InputError, first_line, pass_on

_PARTIAL = ".partial"

#: Names of files have at most so many bytes on all file systems that matter.
_LONGEST_NAME = 255


def is_partial(name: str) -> bool:
    """Whether a file's name is one under which `publish` writes: what a killed run leaves."""
    return name.startswith(".") and name.endswith(_PARTIAL)


def is_abandoned(name: str) -> bool:
    """Whether a file's name is one of those, and no other process of this host is writing it now."""
    host, _, pid = name.removesuffix(_PARTIAL).rpartition(".")[2].rpartition("-")
    if not is_partial(name) or host != _host() or not pid.isdecimal():
        return is_partial(name)
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return int(pid) == os.getpid()


def _host() -> str:
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def _partial(path: Path) -> Path:
    """Where this process alone writes what is to become `path`."""
    end = f".{_host()}-{os.getpid()}{_PARTIAL}"
    begin = f".{path.name}".encode()[: _LONGEST_NAME - len(end)].decode(errors="ignore")
    return path.with_name(f"{begin}{end}")


def publish(path: Path, write: Callable[[Path], object], within: Path | None = None) -> str:
    """Call `write(temporary path)` in the same folder, flush it to the disk, and rename it to `path`.

    Two processes may publish one file at once: each writes its own, and the last one's stays. within:
    another folder of the same file system to write in. Returns the SHA-256 of what was written. Raises
    InputError in one line where the folder can't be written or the disk is full.
    """
    temporary = _partial(path if within is None else within / path.name)
    try:
        temporary.unlink(missing_ok=True)  # a link there would be written through
        write(temporary)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
            digest = hashlib.file_digest(written, "sha256").hexdigest()
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return digest
    except (OSError, RuntimeError) as error:  # netCDF tells a full disk by a RuntimeError
        pass_on(error)
        raise InputError(f"{path} can't be written ({_reason(error, path)})") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _reason(error: OSError | RuntimeError, path: Path) -> str:
    """Why a file can't be written, and what to do; netCDF's own errors say little."""
    reason = getattr(error, "strerror", None) or first_line(error)
    if not path.parent.is_dir():
        return f"{reason}; the folder is gone"
    if isinstance(error, OSError) and error.errno not in (ENOSPC, EDQUOT, EFBIG, EIO):
        return reason
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(path.parent).free
        reason = f"{reason}; {free / 2**20:.1f} MiB are free there"
    return f"{reason}; make room, or check the quota, and give the same command again"


def make_folder(path: Path) -> None:
    """Make a folder, unless it is there. Raises InputError where it can't be made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path} can't be made ({error.strerror})") from None


def make_inner_folder(path: Path) -> None:
    """Make a folder within a run's folder, where nothing else stands in its place.

    Raises InputError where a link does: the run's files, and what it removes, stay within its folder.
    """
    if path.is_symlink():
        raise InputError(
            f"{path} is a link to another folder, a run writes within its own; remove it, or choose "
            "another folder with -o"
        )
    make_folder(path)


def remove_files(paths: Iterable[Path]) -> None:
    """Remove files that count no more; what can't be removed stays."""
    for path in list(paths):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> str:
    """Write a file atomically; see `publish`."""
    return publish(path, lambda temporary: temporary.write_bytes(content))


def write_text(path: Path, text: str) -> str:
    """Write a text file atomically; see `publish`."""
    return write_bytes(path, text.encode())


def finite_or_none(number: float | None) -> float | None:
    """The number, or None where it is not finite: JSON has no NaN."""
    return float(number) if number is not None and math.isfinite(number) else None


def write_json(path: Path, content: Mapping[str, Any]) -> str:
    """Write a JSON file atomically; see `publish`."""
    return write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
