"""Runs on several processes that are stopped or killed, and go on with any number of processes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from respeval.cli import app
from respeval.distributed.comm import Comm
from respeval.distributed.stop import StopSignals, StopVote
from respeval.run_folder.restart import Array, Block, blocks_of
from tests.support import ROOT
from tests.support.processes import (
    assert_close,
    children_of,
    start_torchrun,
    wait_for_segments,
    workers,
)
from tests.support.studies import write_study
from tests.support.toy import manifest_of


@pytest.fixture(scope="module")
def long_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Samples of which two and three processes get whole ones: batches, and with them the rounding of
    float32, are those of one process."""
    folder = tmp_path_factory.mktemp("long") / "study"
    return write_study(folder, num_samples=6, num_times=366, days=365, repeat="year")


@pytest.fixture(scope="module")
def alone(long_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the run on one process that nobody interrupted."""
    out = tmp_path_factory.mktemp("alone") / "out"
    result = CliRunner().invoke(app, ["run", str(long_study), "-o", str(out)])
    assert result.exit_code == 0, result.output
    return out


def end(process: Any) -> str:
    """What a process said on stderr until its end."""
    _, errors = process.communicate(timeout=200)
    return str(errors)


def test_a_signal_to_one_process_stops_all_and_other_numbers_of_processes_go_on(
    long_study: Path, alone: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = start_torchrun(2, "run", long_study, "-o", out)
    wait_for_segments(out, 2)
    os.kill(workers(process)[1], signal.SIGUSR1)  # not the root
    errors = end(process)
    assert process.returncode != 0
    assert errors.count("respeval: stopped by a signal to another process after step") == 1
    assert "exitcode  : 75" in errors or "exitcode: 75" in errors, errors
    first = manifest_of(out)
    assert first["status"] == "stopped"
    assert [(p["first"], p["stop"]) for p in first["restart"]["parts"]] == [(0, 9), (9, 18)]

    process = start_torchrun(3, "run", long_study, "-o", out)
    wait_for_segments(out, len(first["segments"]) + 3)
    process.send_signal(signal.SIGUSR1)  # the launcher passes it on
    errors = end(process)
    assert f"going on after step {first['restart']['step']} of 365" in errors
    second = manifest_of(out)
    assert second["status"] == "stopped", errors
    assert "stopped by SIGUSR1" in second["reason"]
    assert second["restart"]["step"] > first["restart"]["step"]
    assert len(second["restart"]["parts"]) == 3

    result = CliRunner().invoke(app, ["run", str(long_study), "-o", str(out)])
    assert result.exit_code == 0, result.output
    assert_close(out, alone)


def test_the_launcher_starts_again_what_was_killed(
    long_study: Path, alone: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = start_torchrun(2, "run", long_study, "-o", out, max_restarts=1)
    wait_for_segments(out, 3)
    os.kill(workers(process)[0], signal.SIGKILL)  # the root; the other one: see the next test
    errors = end(process)
    assert process.returncode == 0, errors
    assert "going on after step" in errors
    assert "Traceback" not in errors.replace("Traceback : Signal 9", "")
    assert_close(out, alone)


def slurm_script(folder: Path) -> Path:
    """The documented script for start_torchrun, as it stands, beside commands that play Slurm's."""
    text = (ROOT / "docs" / "resume.md").read_text()
    (script,) = (b for b in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) if "torchrun" in b)
    (folder / "job.sh").write_text(script)
    for name, content in {
        "srun": 'exec "$@"',
        "torchrun": f'exec {sys.executable} -m torch.distributed.run "$@"',
        "scontrol": 'echo "$@" >> requeued',
    }.items():
        (folder / name).write_text(f"#!/bin/sh\n{content}\n")
        (folder / name).chmod(0o755)
    return folder / "job.sh"


def submit(script: Path, life: int) -> Any:
    """Start the script as Slurm does, in its `life`th life."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    environment |= {"PATH": f"{script.parent}:{environment['PATH']}", "SLURM_JOB_ID": "4711"}
    environment |= {"SLURM_GPUS_ON_NODE": "2", "SLURM_RESTART_COUNT": str(life)}
    environment |= {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(["bash", script], cwd=script.parent, env=environment, **pipes)  # type: ignore[call-overload]


def test_the_slurm_script_lives_through_a_kill_and_a_requeue(
    long_study: Path, alone: Path, tmp_path: Path
) -> None:
    shutil.copytree(long_study.parent, tmp_path / "job")
    (tmp_path / "job" / long_study.name).rename(tmp_path / "job" / "checkpoint.pt")
    script = slurm_script(tmp_path / "job")
    out, requeued = script.parent / "out", script.parent / "requeued"
    job = submit(script, 0)
    wait_for_segments(out, 2)
    launcher = SimpleNamespace(pid=children_of(job.pid)[0])
    killed = workers(launcher)
    os.kill(killed[1], signal.SIGKILL)
    wait_for_segments(out, len(manifest_of(out)["segments"]) + 2)
    started_again = workers(launcher)
    assert not set(started_again.values()) & set(killed.values())
    for process in (launcher.pid, *started_again.values()):  # as Slurm does to the job's steps
        os.kill(process, signal.SIGUSR1)
    errors = end(job)
    assert manifest_of(out)["status"] == "stopped", errors
    assert requeued.read_text() == "requeue 4711\n"

    job = submit(script, 1)
    errors = end(job)
    assert job.returncode == 0, errors
    assert "going on after step" in errors
    assert requeued.read_text() == "requeue 4711\n"  # once
    assert_close(out, alone)


def test_blocks_are_bounded_and_hold_every_member_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("respeval.run_folder.restart.BLOCK_BYTES", 100)
    record = {"state": Array("float32", (3, 3)), "totals": Array("float64", (1,))}  # 44 bytes
    assert blocks_of([5, 3, 0], record) == [
        Block(0, 0, 2),
        Block(0, 2, 4),
        Block(0, 4, 5),
        Block(1, 5, 7),
        Block(1, 7, 8),
    ]
    monkeypatch.setattr("respeval.run_folder.restart.BLOCK_BYTES", 1)
    assert len(blocks_of([5, 3, 0], record)) == 8


class Votes(Comm):
    """Two processes whose peer asks to stop at a given vote, and is as slow as told."""

    def __init__(self, asks_at_vote: int, pace_s: float) -> None:
        super().__init__(num_processes=2)
        object.__setattr__(self, "votes", [])
        object.__setattr__(self, "peer", (asks_at_vote, pace_s))

    def largest(self, numbers: Any) -> list[float]:
        at_vote, pace_s = self.peer  # type: ignore[attr-defined]
        self.votes.append(numbers)  # type: ignore[attr-defined]
        asked = float(len(self.votes) >= at_vote)  # type: ignore[attr-defined]
        return [max(numbers[0], asked), max(numbers[1], pace_s)]


@pytest.mark.parametrize(("pace_s", "expected"), [(0.1, [1, 3, 7, 15, 25, 35]), (5.0, [1, 2, 3])])
def test_votes_are_about_a_second_apart(pace_s: float, expected: list[int]) -> None:
    comm = Votes(len(expected), pace_s)
    vote = StopVote(comm, StopSignals(), 0, lambda: 0.0)
    voted_at = []
    for step in range(1, 1000):
        before = len(comm.votes)  # type: ignore[attr-defined]
        stop = vote.is_stop(step)
        if len(comm.votes) > before:  # type: ignore[attr-defined]
            voted_at.append(step)
        if stop:
            break
    assert voted_at == expected


def test_a_process_that_failed_asks_for_a_stop_too() -> None:
    vote = StopVote(Votes(1000, 0.0), StopSignals(), 0, lambda: 0.0)
    assert not vote.is_stop(1)
    assert vote.is_stop(3, failed=True)


def test_one_process_heeds_its_own_signal_at_once() -> None:
    signals = StopSignals()
    vote = StopVote(Comm(), signals, 0)
    assert not vote.is_stop(1)
    signals.requested = "SIGTERM"
    assert vote.is_stop(2)


def test_collectives_of_one_process_are_the_identity() -> None:
    comm = Comm()
    assert comm.largest([1.0, 2.0]) == [1.0, 2.0]
    assert comm.from_root({"a": 1}) == {"a": 1}
    packed = torch.zeros(2, 3, dtype=torch.uint8)
    assert comm.to_root(0, packed, (2, 3)) is packed
    comm.wait()
