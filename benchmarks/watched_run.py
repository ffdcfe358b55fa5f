"""`respeval ARGUMENTS` in a process that reports its peak of memory, of a run also its first step, and of
both their parts.

python -m benchmarks.watched_run REPORT respeval-arguments…
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from benchmarks.clock import Clock
from benchmarks.processes import peak_bytes, since_begin


def main() -> None:
    report, *arguments = sys.argv[1:]
    found: dict[str, Any] = {"first_step_s": None, "stepping_s": None}
    clock = Clock()
    if arguments[0] == "run":
        _note_steps(found)
    from respeval.cli import command
    from respeval.commands.exits import end

    with _PARTS.get(arguments[0], contextlib.nullcontext)(clock):
        code = command(arguments)
    found["parts_s"] = dict(clock.seconds)
    found["peak_bytes"] = peak_bytes()
    if os.environ.get("RANK", "0") == "0":
        Path(report).write_text(json.dumps(found))
    end(code)


def _note_steps(found: dict[str, Any]) -> None:
    """Note when the first step was in the sums (`RangeGuard.check` follows it), and all steps' time."""
    from respeval.api import one_run
    from respeval.rollout.guard import RangeGuard

    check, execute = RangeGuard.check, one_run.execute

    def checked(*arguments: Any) -> None:
        check(*arguments)
        if found["first_step_s"] is None:
            found["first_step_s"] = since_begin()

    def executed(*arguments: Any) -> None:
        begun = time.perf_counter()
        execute(*arguments)
        found["stepping_s"] = time.perf_counter() - begun

    RangeGuard.check = checked  # type: ignore[method-assign]
    one_run.execute = executed  # type: ignore[attr-defined]


@contextlib.contextmanager
def _parts_of_run(clock: Clock) -> Iterator[None]:
    """Time what this process does from the plan to the last segment."""
    from respeval import runner
    from respeval.distributed import stop

    with (
        clock.around("steps, sums", runner._Course, "_advance"),
        clock.around("waiting for votes", stop.StopVote, "is_stop"),
        clock.around("segments' ends", runner._Course, "_end_segment"),
    ):
        yield


@contextlib.contextmanager
def _parts_of_diagnose(clock: Clock) -> Iterator[None]:
    """Time the parts of `respeval diagnose`, of which each is waited for by the one thread that works."""
    from respeval.analysis import results
    from respeval.files import checksums
    from respeval.presentation.console import tables

    with contextlib.ExitStack() as stack:
        for label, owner, *names in (
            ("waiting for checksums, writing", checksums.Verification, "wait_for", "finish"),
            ("waiting for checksums, writing", Future, "result"),
            ("diagnostics", results, "diagnose"),
            ("diagnostics along the run", results, "running"),
            ("maps", results, "response_maps"),
            ("figures", results.Pictures, "draw", "write"),
            ("table", tables, "show_table"),
        ):
            stack.enter_context(clock.around(label, owner, *names))
        yield


_PARTS = {"run": _parts_of_run, "diagnose": _parts_of_diagnose}


if __name__ == "__main__":
    main()
