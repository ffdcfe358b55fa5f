"""The parts one after the other, each in a process of its own; what they found is told, and kept."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.frame import GPU_PAGE
from benchmarks.gpu.circumstances import cuda_device, device_circumstances
from benchmarks.gpu.parts import NAMES, load
from benchmarks.gpu.record import (
    CUT,
    FAILED,
    KEPT,
    Entry,
    keep,
    outcome_of,
    page,
    read,
    replace_file,
)
from benchmarks.processes import environment

#: Of the whole run: what writing the last part's results may take.
RESERVE_S = 3.0

#: Times the limit that a part may take in a rehearsal, on a machine that may have few cores.
PATIENCE = 3.0


def run_part(name: str, device: str, folder: Path, limit_s: float) -> Entry:
    """A part in a process of its own, which ends, with all that it started, when its time is over."""
    report, log = folder / f"{name}.json", folder / f"{name}.log"
    begun = time.monotonic()
    asked = {"part": name, "device": device, "quick": device == "cpu"}
    described = json.dumps({**asked, "folder": str(folder), "end": begun + limit_s})
    with log.open("wb") as written:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.gpu.child", str(report), described],
            stdout=written,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment(_variables(device, folder)),
        )
        is_cut = False
        try:
            process.wait(limit_s)
        except subprocess.TimeoutExpired:
            is_cut = True
        finally:
            _end(process)
    found: dict[str, Any] = {"state": None, "reason": "", "outcome": None}
    if report.exists():
        found = json.loads(report.read_text())
    state, reason = found["state"], found["reason"]
    if state is None and is_cut:
        state, reason = CUT, f"its time of {limit_s:.0f} s was over"
    elif state is None:
        state, reason = FAILED, f"its process ended with code {process.returncode}"
    if state == FAILED:
        print(log.read_text(errors="replace")[-6000:], flush=True)
    seconds = time.monotonic() - begun
    return Entry(state, seconds, {}, reason, outcome_of(found["outcome"]))


def _variables(device: str, folder: Path) -> dict[str, str]:
    """Threads as the machine has them where a GPU waits for the host; nothing that was compiled before."""
    compiled = {"TORCHINDUCTOR_CACHE_DIR": str(folder / "compiled")}
    threads = {} if device == "cpu" else {"OMP_NUM_THREADS": str(min(8, os.cpu_count() or 1))}
    return compiled | threads


def _end(process: subprocess.Popen[bytes]) -> None:
    """With all processes that it started and that did not leave its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run_parts(
    names: Sequence[str], device: str, minutes: float, told: Callable[[str, Entry], None]
) -> bool:
    """Run the parts in their order within so many minutes; returns whether all ended well."""
    end, is_good = time.monotonic() + 60.0 * minutes - RESERVE_S, True
    where = device_circumstances(device)
    with tempfile.TemporaryDirectory(prefix="respeval-gpu-") as folder:
        for name in names:
            limit_s = load(name).limit_s * (PATIENCE if device == "cpu" else 1.0)
            limit_s = min(limit_s, end - time.monotonic())
            print(f"\n{load(name).title} ({name})", flush=True)
            if limit_s < 1.0:
                entry = Entry(CUT, 0.0, where, f"the {minutes:g} minutes were over before it")
            else:
                found = run_part(name, device, Path(folder), limit_s)
                entry = Entry(found.state, found.seconds, where, found.reason, found.outcome)
            told(name, entry)
            print(f"{entry}, {entry.seconds:.0f} s", flush=True)
            is_good &= entry.is_good
    return is_good


def tell_and_keep(name: str, entry: Entry) -> None:
    """Print what a part found, and keep it."""
    tell(name, entry)
    keep(name, entry)


def tell(name: str, entry: Entry) -> None:
    from benchmarks.__main__ import shown

    if entry.outcome is not None:
        print(shown(entry.outcome), flush=True)


def main(description: str) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=description)
    parser.add_argument("--parts", default=",".join(NAMES), help=f"of {', '.join(NAMES)}")
    parser.add_argument("--minutes", type=float, default=8.0, help="default: 8")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, where there is no GPU")
    parser.add_argument("--write-page", action="store_true", help="measure nothing")
    asked = parser.parse_args()
    names = [name for name in asked.parts.split(",") if name]
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        parser.error(f"no part is called {', '.join(unknown)} (there are: {', '.join(NAMES)})")
    names = [name for name in NAMES if name in names]
    if asked.write_page:
        replace_file(GPU_PAGE, page(read(KEPT)))
        return 0
    device = cuda_device()
    if device is None and not asked.rehearse:
        print("no CUDA device that torch can use: nothing is measured (--rehearse runs the code)")
        return 0
    if asked.rehearse:
        why = "" if device else "no CUDA device that torch can use: nothing is measured; "
        print(f"{why}a rehearsal on the CPU, which writes no results", flush=True)
        return 0 if run_parts(names, "cpu", asked.minutes, tell) else 1
    print(f"{device}: {', '.join(names)}, {asked.minutes:g} minutes at most", flush=True)
    is_good = run_parts(names, "cuda", asked.minutes, tell_and_keep)
    print(f"\n{KEPT}\n{GPU_PAGE}", flush=True)
    return 0 if is_good else 1
