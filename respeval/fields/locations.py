"""What lies at a location: netCDF files and zarr stores, on this machine or where fsspec reaches."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from respeval.errors import InputError, first_line
from respeval.files.text import check_regular

#: Files that tell a zarr store from another folder.
_ZARR_FILES = ("zarr.json", ".zmetadata", ".zgroup")
_ENDINGS = (".nc", ".nc4")
_REMOTE = re.compile(r"([a-z][a-z0-9+.-]*)://", re.I)
#: What fsspec needs beside itself, where it is not installed with it.
_PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "abfs": "adlfs",
    "az": "adlfs",
}


def is_remote(location: str) -> bool:
    """Whether a location is a URL, `s3://bucket/forcing.zarr`, instead of a path."""
    return _REMOTE.match(location) is not None


def is_store(source: str) -> bool:
    """Whether one of `stored_at` is a zarr store; else it is a netCDF file."""
    if is_remote(source):
        return not source.lower().endswith(_ENDINGS)
    return source.rstrip("/").endswith(".zarr") or Path(source).is_dir()


def stored_at(location: str) -> list[str]:
    """The netCDF files and zarr stores of a file, a glob (with `**`), a folder, a store or a URL of these.

    A folder stands for all that lie right in it, as fme reads its data. Raises InputError where there
    is none.
    """
    if is_remote(location):
        return _stored_far_away(location)
    location = os.path.expanduser(location)
    path = Path(location)
    if path.is_dir():
        if _has_store_files(path):
            return [location]
        held = sorted(str(entry) for entry in path.iterdir() if _is_data(entry))
        if not held:
            raise InputError(
                f"{location} holds no netCDF files (*.nc, *.nc4) and no zarr stores, and is no zarr store"
            )
        for name in held:
            if not Path(name).is_dir():
                check_regular(Path(name), "netCDF file")
        return held
    found = [location] if path.exists() else sorted(glob.glob(location, recursive=True))
    found = _without_insides([name for name in found if not _is_plain_folder(Path(name))])
    for name in found:
        if not Path(name).is_dir():
            check_regular(Path(name), "netCDF file")
    if not found:
        raise InputError(f"{location}: no such file or zarr store")
    return found


def sizes_at(location: str) -> dict[str, int | None]:
    """Names of the files behind a location and their sizes in bytes; None for a zarr store."""
    found = stored_at(location)
    names = [source.rstrip("/").rpartition("/")[2] for source in found]
    if len(set(names)) < len(names):  # of several folders
        shared = os.path.commonpath([os.path.dirname(source) for source in found])
        names = [os.path.relpath(source, shared) for source in found]
    return {name: _size_of(source) for name, source in zip(names, found, strict=True)}


def _size_of(source: str) -> int | None:
    if is_store(source):
        return None
    if is_remote(source):
        system, path = _file_system(source)
        try:
            return int(system.size(path))
        except Exception as error:  # as many kinds as there are file systems
            raise _unreachable(source, error) from None
    return Path(source).stat().st_size


def here(source: str) -> str:
    """The path of a netCDF file; one that is far away is copied to this machine first.

    Raises InputError where it can't be had.
    """
    if not is_remote(source):
        return source
    import fsspec

    try:
        return str(fsspec.open_local(f"simplecache::{source}"))
    except Exception as error:  # as many kinds as there are file systems
        raise _unreachable(source, error) from None


def _has_store_files(folder: Path) -> bool:
    return any((folder / name).exists() for name in _ZARR_FILES)


def _is_data(entry: Path) -> bool:
    """Whether an entry of a folder is one of the files or stores that the folder stands for."""
    if entry.suffix in _ENDINGS and not entry.is_dir():
        return True  # what is no file in truth, a pipe say, is told when it is looked at
    return entry.is_dir() and _has_store_files(entry)


def _is_plain_folder(path: Path) -> bool:
    return path.is_dir() and not _has_store_files(path) and path.suffix != ".zarr"


def _without_insides(found: Sequence[str]) -> list[str]:
    """These without what lies within a store that is among them."""
    stores = {name.rstrip("/") for name in found if Path(name).is_dir()}
    return [
        name for name in found if not any(str(parent) in stores for parent in Path(name).parents)
    ]


def _stored_far_away(location: str) -> list[str]:
    try:
        system, path = _file_system(location)
        found = sorted(system.glob(path)) if glob.has_magic(path) else [path]
        sources = [entry for name in found for entry in _stored_in(system, name)]
    except InputError:
        raise
    except Exception as error:  # as many kinds as there are file systems
        raise _unreachable(location, error) from None
    if not sources:
        raise InputError(f"{location}: no such file or zarr store")
    return sources


def _stored_in(system: Any, name: str) -> list[str]:
    if not system.exists(name):
        return []
    if not system.isdir(name) or any(system.exists(f"{name}/{part}") for part in _ZARR_FILES):
        return [system.unstrip_protocol(name)]
    held = sorted(str(entry).rstrip("/") for entry in system.ls(name, detail=False))
    return [system.unstrip_protocol(e) for e in held if e.endswith((*_ENDINGS, ".zarr"))]


def _file_system(location: str) -> tuple[Any, str]:
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(location)
    except ImportError:
        kind = location.partition("://")[0]
        package = _PACKAGES.get(kind.lower(), f"fsspec's package for {kind}")
        raise InputError(
            f"{location} can't be read without {package}; install it (pip install {package}), or copy "
            "the data to this machine"
        ) from None
    except ValueError as error:
        raise _unreachable(location, error) from None
    return system, str(path)


def _unreachable(location: str, error: Exception) -> InputError:
    return InputError(f"{location} can't be reached ({first_line(error)})")
