"""A run that is killed again and again, at any instant, ends with the numbers of one that never was.

`make soak` kills a hundred times and more (`--kills 100`), CI a dozen times.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.processes import start_torchrun, wait_for_segments, workers
from tests.support.studies import assert_equal_runs, write_study

SEED = 20


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("study"), days=15, segment="4 steps")


class Victims:
    """`respeval run` into one folder, as often as needed; see killing.py."""

    def __init__(self, checkpoint: Path, out: Path) -> None:
        self.out = out
        script = ROOT / "tests" / "support" / "killing.py"
        command = [sys.executable, str(script), str(out), "run", str(checkpoint), "-o", str(out)]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
        self._server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def run(self, how: str) -> tuple[int, float, int]:
        """Exit code, seconds and file operations of one life."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(how + "\n")
        self._server.stdin.flush()
        code, seconds, count = self._server.stdout.readline().split()
        return int(code), float(seconds), int(count)

    def close(self) -> None:
        self._server.communicate(timeout=60)


@pytest.fixture
def victims(checkpoint: Path, tmp_path: Path) -> Iterator[Victims]:
    started = Victims(checkpoint, tmp_path / "out")
    yield started
    started.close()


@pytest.fixture(scope="module")
def whole(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float, int]:
    """The folder of a run that nobody killed, its seconds and its file operations."""
    started = Victims(checkpoint, tmp_path_factory.mktemp("whole") / "out")
    started.run("after 0.2")  # the first life pays for what the others find in memory
    shutil.rmtree(started.out, ignore_errors=True)
    code, seconds, count = started.run("never")
    started.close()
    assert code == 0
    return started.out, seconds, count


def finish(victims: Victims, expected: Path) -> None:
    """Let the run end, and compare; then make room for the next one."""
    code, _, _ = victims.run("never")
    assert code == 0
    assert_equal_runs(victims.out, expected)
    left = {path.name for path in victims.out.glob("**/.*")}
    assert not left
    shutil.rmtree(victims.out)


def test_killed_at_random_instants(
    victims: Victims, whole: tuple[Path, float, int], kills: int
) -> None:
    expected, seconds, _ = whole
    instants = random.Random(SEED)
    killed = 0
    while killed < kills // 2:
        code, _, _ = victims.run(f"after {instants.uniform(0.02, seconds):.3f}")
        killed += code == -signal.SIGKILL
        if code == 0 or instants.random() < 0.2:
            finish(victims, expected)
    finish(victims, expected)


def test_killed_before_every_kind_of_file_operation(
    victims: Victims, whole: tuple[Path, float, int], kills: int
) -> None:
    """With --kills 100 before every single one, from the lock's to the last of the analysis."""
    expected, _, count = whole
    assert count > 60
    events = list(range(1, count + 1))
    if kills < 100:
        events = sorted(random.Random(SEED).sample(events, kills))
    for event in events:
        code, _, _ = victims.run(f"event {event}")
        assert code == -signal.SIGKILL, event
        finish(victims, expected)


def test_killed_twice_in_the_same_commit(
    victims: Victims, whole: tuple[Path, float, int], kills: int
) -> None:
    """The second life dies while it tidies up, or in the very commit that the first one began."""
    expected, _, count = whole
    draw = random.Random(SEED + 1)
    for _ in range(max(2, kills // 10)):
        victims.run(f"event {draw.randint(1, count)}")
        for _ in range(2):
            code, _, _ = victims.run(f"event {draw.randint(1, 30)}")
            assert code in (0, -signal.SIGKILL)
        finish(victims, expected)


def test_killed_under_torchrun(checkpoint: Path, tmp_path: Path, kills: int) -> None:
    """The root or the other process; two processes go on, and give what two give uninterrupted."""
    expected, out = tmp_path / "whole", tmp_path / "out"
    arguments = ("run", checkpoint, "--days", 75, "--segment", "3 steps", "-o")
    first = start_torchrun(2, *arguments, expected)
    _, errors = first.communicate(timeout=200)
    assert first.returncode == 0, errors
    draw = random.Random(SEED + 2)
    for number in range(max(2, kills // 10)):
        process = start_torchrun(2, *arguments, out)
        wait_for_segments(out, min(1 + number, 20))
        time.sleep(draw.uniform(0, 0.1))
        found = workers(process)
        if len(found) == 2:
            os.kill(found[draw.randint(0, 1)], signal.SIGKILL)
        process.communicate(timeout=100)
    last = start_torchrun(2, *arguments, out)
    _, errors = last.communicate(timeout=200)
    assert last.returncode == 0, errors
    assert_equal_runs(out, expected)
