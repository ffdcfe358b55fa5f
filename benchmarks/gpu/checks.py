"""The tests of `tests/gpu`, each file in a process of its own, all at once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

from benchmarks.frame import ROOT, Goal, Outcome, Table
from benchmarks.gpu.part import FailedError, Part
from benchmarks.gpu.setting import Setting
from benchmarks.processes import environment

TESTS = ROOT / "tests" / "gpu"

#: Before the part's own limit, so that a test that hangs is told of.
_MARGIN_S = 5.0


def start(file: Path, setting: Setting) -> subprocess.Popen[bytes]:
    """pytest of one file, whose report and output go into the setting's folder."""
    asked = {"RESPEVAL_GPU_TESTS": setting.device.type, "PYTHONFAULTHANDLER": "1"}
    command = [sys.executable, "-m", "pytest", str(file), "-p", "no:cacheprovider", "-vv"]
    command += [f"--junitxml={setting.folder / file.stem}.xml", "--tb=short"]
    if setting.device.type == "cuda":
        # What another version of a package remarks on is not for a GPU's minutes.
        command += ["-o", "filterwarnings=default"]
    with (setting.folder / f"{file.stem}.log").open("wb") as log:
        return subprocess.Popen(
            command, cwd=ROOT, env=environment(asked), stdout=log, stderr=subprocess.STDOUT
        )


#: A test's line in pytest's log.
_LINE = re.compile(r"^\S+::(.+) (PASSED|SKIPPED|FAILED|ERROR)\b", re.MULTILINE)


def results(report: Path) -> list[tuple[str, str, str]]:
    """Test, outcome and seconds of each test in a JUnit report; what failed has its message's end.

    Without a report they are those in pytest's log, and one that did not end.
    """
    if not report.exists():
        log = report.with_suffix(".log")
        lines = _LINE.findall(log.read_text(errors="replace")) if log.exists() else []
        ended = [(_named(report, test), state.lower(), "") for test, state in lines]
        return [*ended, (_named(report, "the rest"), "FAILED: it did not end, or not begin", "")]
    rows = []
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        told = next((entry for entry in case if entry.tag in ("failure", "error", "skipped")), None)
        state = "passed" if told is None else {"skipped": "skipped"}.get(told.tag, "FAILED")
        if told is not None:
            lines = [line for line in (told.text or told.get("message") or "").splitlines() if line]
            shown = [line for line in lines if line.startswith("E ")] or lines or [""]
            state += f": {' '.join(shown[0].removeprefix('E ').split())[:90]}"
        name = _named(report, str(case.get("name")))
        rows.append((name, state, f"{float(case.get('time') or 0):.1f}"))
    return rows


def _named(report: Path, test: str) -> str:
    return f"{report.stem.removeprefix('test_')}: {test}".replace("_", " ")


def outcome(files: list[Path], setting: Setting) -> Outcome:
    rows = [row for file in files for row in results(setting.folder / f"{file.stem}.xml")]
    failed = sum(not state.startswith(("passed", "skipped")) for _, state, _ in rows)
    counts = {s: sum(state.startswith(s) for _, state, _ in rows) for s in ("passed", "skipped")}
    title = f"{counts['passed']} passed, {counts['skipped']} skipped, {failed} failed"
    table = Table(title, ("test", "outcome", "s"), rows)
    numbers = {"failed": failed, **counts, "tests": rows}
    return Outcome([table], [Goal("tests that fail", failed, 0)], (), numbers)


def run(setting: Setting) -> Iterator[Outcome]:
    files = sorted(TESTS.glob("test_*.py"))
    count = min(len(files), os.cpu_count() or 1) if setting.quick else len(files)
    waiting, running = list(files), dict[Path, subprocess.Popen[bytes]]()
    ended: list[Path] = []
    while (waiting or running) and setting.left_s > _MARGIN_S:
        while waiting and len(running) < count:
            running[waiting[0]] = start(waiting[0], setting)
            waiting.pop(0)
        time.sleep(0.1)
        for file, process in list(running.items()):
            if process.poll() is not None:
                ended.append(file)
                del running[file]
                yield outcome(sorted(ended), setting)
    for process in running.values():
        process.kill()
    found = outcome(files, setting)
    yield found
    if found.numbers["failed"]:
        logs = "\n".join(
            (setting.folder / f"{file.stem}.log").read_text(errors="replace")[-3000:]
            for file in files
            if (setting.folder / f"{file.stem}.log").exists()
        )
        print(logs, file=sys.stderr)
        raise FailedError(f"{found.numbers['failed']} tests failed")


PART = Part(
    "Tests on the device",
    "`tests/gpu`: runs and probes of native, exported and ACE checkpoints against the CPU's, noise, runs "
    "that go on on another device, members that blow up, SIGTERM, several processes, and nothing that makes "
    "the host wait within a segment.",
    140.0,
    run,
)
