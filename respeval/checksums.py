"""Files held against their SHA-256 beside other work: bad ones are told before anything is written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from respeval.documents import check_regular
from respeval.errors import InputError
from respeval.identity import in_one_line

#: Files that are read at once; hashing keeps a core busy.
_MOST_READERS = 4

#: Bytes that are hashed at once: milliseconds, so that waiting for other Python code costs little.
_READ_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Checksums:
    """Names of files -> their SHA-256 as the manifest has them, and what to do where one differs."""

    of_files: Mapping[str, Any]
    advice: str


class Verification:
    """Files of a folder that are being read in the background.

    `wait_for` says when a file may be read, `finish` when all are known to be whole. Leaving the
    context by an error finishes too: what is damaged is told rather than what came of it.
    """

    def __init__(
        self,
        folder: Path,
        parts: Sequence[Checksums] = (),
        first: Sequence[str] = (),
        num_cores_kept: int = 0,
    ) -> None:
        """Begin. parts: in the order in which they are told. first: files to begin with.

        num_cores_kept: for other work until `finish`.
        """
        self._parts = parts
        expected = {name: part.of_files[name] for part in parts for name in part.of_files}
        begun = [name for name in first if name in expected]
        num_readers = min(_MOST_READERS, (os.cpu_count() or 1) - num_cores_kept)
        self._pool = ThreadPoolExecutor(max(1, num_readers))
        self._told = {
            name: self._pool.submit(_damage, folder / name, expected[name])
            for name in dict.fromkeys([*begun, *expected])
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if isinstance(error, Exception):
                self.finish()
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def wait_for(self, name: str) -> None:
        """Return when a file is known to be whole, or has no checksum.

        Raises InputError as `finish` does where it is damaged.
        """
        told = self._told.get(name)
        if told is not None and (told.exception() or told.result() is not None):
            self.finish()

    def finish(self) -> None:
        """Return when all files are known to be whole.

        Raises InputError that names those of the first part which are damaged or missing.
        """
        for part in self._parts:
            told = [self._told[name].result() for name in part.of_files]
            damaged = [problem for problem in told if problem is not None]
            if damaged:
                raise InputError(f"{in_one_line(damaged)}; {part.advice}")


def _damage(path: Path, checksum: Any) -> str | None:
    """What is wrong with a file that should have this SHA-256; None where nothing is."""
    try:
        if path.exists():
            check_regular(path, "file of a run")
        if _sha256(path) != checksum:
            return f"{path} is damaged (its checksum differs)"
    except OSError as error:
        return f"{path} can't be read ({error.strerror})"
    return None


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as opened:
        held = memoryview(bytearray(min(_READ_BYTES, os.fstat(opened.fileno()).st_size + 1)))
        while count := opened.readinto(held):
            digest.update(held[:count])
    return digest.hexdigest()
