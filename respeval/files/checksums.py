"""Files held against their SHA-256 beside other work: bad ones are told before anything is written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

from respeval.errors import InputError, in_one_line
from respeval.files.hashing import HashingProcess, sha256_of
from respeval.files.text import check_regular

#: Files that are read at once; hashing keeps a core busy.
_MOST_READERS = 4

#: From so many bytes on, starting processes that hash costs less than waiting for the interpreter.
_MANY_BYTES = 2**28


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
        num_readers = max(1, min(_MOST_READERS, (os.cpu_count() or 1) - num_cores_kept))
        many = sum(_size(folder / name) for name in expected) >= _MANY_BYTES
        self._hashing = _Hashing(num_readers if many else 0)
        self._pool = ThreadPoolExecutor(num_readers)
        self._told = {
            name: self._pool.submit(_damage, folder / name, expected[name], self._hashing.sha256_of)
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
            self._hashing.end()

    def wait_for(self, name: str) -> None:
        """Return when a file is known to be whole, or has no checksum.

        Raises InputError as `finish` does where it is damaged.
        """
        told = self._told.get(name)
        if told is not None and (told.exception() or told.result() is not None):
            self.finish()

    def is_told(self, name: str) -> bool:
        """Whether `wait_for` would return, or raise, at once."""
        told = self._told.get(name)
        return told is None or told.done()

    def finish(self) -> None:
        """Return when all files are known to be whole.

        Raises InputError that names those of the first part which are damaged or missing.
        """
        for part in self._parts:
            told = [self._told[name].result() for name in part.of_files]
            damaged = [problem for problem in told if problem is not None]
            if damaged:
                raise InputError(f"{in_one_line(damaged)}; {part.advice}")


class _Hashing:
    """Processes that hash, for as many threads; without any each thread hashes itself."""

    def __init__(self, num_processes: int) -> None:
        self._ended = False
        self._idle: SimpleQueue[HashingProcess] = SimpleQueue()
        self._all: list[HashingProcess] = []
        with contextlib.suppress(OSError):  # where no process can be started, threads will do
            for _ in range(num_processes):
                self._all.append(HashingProcess())
        for process in self._all:
            self._idle.put(process)

    def sha256_of(self, path: Path) -> str:
        if not self._all:
            return sha256_of(path)
        process = self._idle.get()
        try:
            return process.sha256_of(path)
        except ChildProcessError:
            if self._ended:
                raise
            return sha256_of(path)  # somebody has killed it
        finally:
            self._idle.put(process)

    def end(self) -> None:
        self._ended = True
        for process in self._all:
            process.end()


def _size(path: Path) -> int:
    """Bytes of a file, 0 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _damage(path: Path, checksum: Any, digest: Callable[[Path], str]) -> str | None:
    """What is wrong with a file that should have this SHA-256; None where nothing is."""
    try:
        if path.exists():
            check_regular(path, "file of a run")
        if digest(path) != checksum:
            return f"{path} is damaged (its checksum differs)"
    except OSError as error:
        return f"{path} can't be read ({error.strerror})"
    return None
