"""Whole processes on one thread: their time, and the peak of their memory."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.frame import ROOT


@dataclass(frozen=True)
class Usage:
    """seconds: on the clock; processor_s: of all its threads and children."""

    seconds: float
    processor_s: float


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """One thread, and this working tree's modules in any interpreter."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, **(extra or {})}


def timed(command: Sequence[str], env: Mapping[str, str] | None = None) -> Usage:
    """Run a command to its end. Ends the benchmark with what the command said, where it fails."""
    used, begun = _children_seconds(), time.perf_counter()
    done = subprocess.run(
        command, env=env or environment(), capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - begun
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr[-3000:]}")
    return Usage(seconds, _children_seconds() - used)


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def watched(
    module: str, *arguments: str, python: Sequence[str] = (sys.executable,)
) -> tuple[Usage, dict[str, Any]]:
    """`python -m benchmarks.MODULE REPORT ARGUMENTS`: its usage, and what it reports as JSON.

    python: the interpreter, and a launcher where there is one.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        began = {"RESPEVAL_BENCH_BEGAN": repr(time.monotonic())}
        command = [*python, "-m", f"benchmarks.{module}", str(report), *arguments]
        usage = timed(command, environment(began))
        return usage, json.loads(report.read_text())


def since_begin() -> float:
    """Seconds since the process that `watched` started was asked for."""
    return time.monotonic() - float(os.environ["RESPEVAL_BENCH_BEGAN"])


def peak_bytes() -> int:
    """The most memory that this process has held, libraries included."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
