"""Runs `respeval` again and again in forked children, each killed where it is told; for test_kill.py.

    python tests/support/killing.py FOLDER respeval-arguments…

reads one line per child: `after SECONDS` kills it that long after its start, `event N` just before
its Nth file operation within FOLDER, `never` lets it live. Answers with the exit code (-9 if killed),
the seconds that it lived, and the number of its file operations. Segments are merged in pairs as
soon as there are three.

A fork, because importing torch takes longer than the run; the kill is a real SIGKILL all the same.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any
from unittest.mock import MagicMock

import torch

import respeval.analysis.results
import respeval.api.one_run
import respeval.run_folder.joining
from respeval.cli import main


def count_operations(folder: str, kill_at: int, written: int) -> None:
    """Count opened, renamed, removed and made files in the folder; die before the given one."""
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event in ("open", "os.rename", "os.remove", "os.mkdir") and any(
            isinstance(a, str | os.PathLike) and str(os.fspath(a)).startswith(folder)
            for a in arguments[:2]
        ):
            count += 1
            if count == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            os.pwrite(written, f"{count:8d}".encode(), 0)

    sys.addaudithook(hook)


def run_child(folder: str, arguments: list[str], kill_at: int, written: int) -> None:
    """The child's whole life."""
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    respeval.analysis.results.Pictures = MagicMock()  # type: ignore[misc]
    respeval.run_folder.joining.KEPT_SINGLES = respeval.run_folder.joining.MOST_IN_A_FILE = 2
    torch.set_num_threads(1)
    sys.argv = ["respeval", *arguments]
    count_operations(folder, kill_at, written)
    try:
        main()
    except SystemExit as end:
        os._exit(int(end.code or 0))


def serve(folder: str, arguments: list[str]) -> None:
    for line in sys.stdin:
        how, _, amount = line.strip().partition(" ")
        written = os.memfd_create("count")
        begun = time.monotonic()
        child = os.fork()
        if child == 0:
            run_child(folder, arguments, int(amount) if how == "event" else 0, written)
        if how == "after":
            while time.monotonic() - begun < float(amount):
                time.sleep(0.001)
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        count = os.pread(written, 8, 0).decode().strip() or "0"
        os.close(written)
        code = os.waitstatus_to_exitcode(status)
        print(code, time.monotonic() - begun, count, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2:])
