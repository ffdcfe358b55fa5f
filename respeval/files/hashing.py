"""SHA-256 of files, by a process of its own where much is to be read.

A thread that hashes waits for the interpreter after each piece, while other code in Python runs, and
its core is idle: with processes `respeval diagnose` takes 0.93 of the time. As a program this module
needs nothing but itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

#: Bytes that are hashed at once: they stay in a core's cache.
READ_BYTES = 2**20


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file. Raises OSError where it can't be read."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as opened:
        held = memoryview(bytearray(min(READ_BYTES, os.fstat(opened.fileno()).st_size + 1)))
        while count := opened.readinto(held):
            digest.update(held[:count])
    return digest.hexdigest()


class HashingProcess:
    """A process that hashes one file after the other; used by one thread at a time."""

    def __init__(self) -> None:
        """Start it. Raises OSError where that can't be done."""
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="ascii",
        )

    def sha256_of(self, path: Path) -> str:
        """As the function does. Raises ChildProcessError where the process has ended."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        try:
            stdin.write(f"{json.dumps(str(path.absolute()))}\n")
            stdin.flush()
            answer = stdout.readline()
        except (BrokenPipeError, ValueError):  # ValueError: `end` has closed the pipes
            answer = ""
        if not answer.endswith("\n"):
            raise ChildProcessError("the process that hashes files has ended")
        found = json.loads(answer)
        if isinstance(found, str):
            return found
        raise OSError(*found)

    def end(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()


def main() -> None:
    """Answer every path on a line of its own by its SHA-256, or by the number and text of an error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with the process that began it
    for line in sys.stdin:
        answer: str | tuple[int | None, str | None]
        try:
            answer = sha256_of(json.loads(line))
        except OSError as error:
            answer = error.errno, error.strerror
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
