"""One run at a time in a folder, whatever became of the run before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from respeval.errors import InputError
from respeval.files.lock import LOCK, FolderLock, Holder

#: Takes the lock of the folder argv[1], says so, waits for a line, and ends without releasing it.
HOLD = """
import sys
from pathlib import Path
from respeval.errors import InputError
from respeval.files.lock import FolderLock
sys.stdin.readline()
try:
    FolderLock(Path(sys.argv[1])).acquire()
    print("held", flush=True)
except InputError as error:
    print(error, flush=True)
sys.stdin.readline()
"""


def holder_process(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go on\n")
    process.stdin.flush()


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def write_lock(folder: Path, **changes: Any) -> None:
    """A lock of this very process, but for these changes."""
    content = vars(Holder.this_process()) | {"token": "other"} | changes
    (folder / LOCK).write_text(json.dumps(content))


def test_a_second_run_is_refused_until_the_first_lets_go(tmp_path: Path) -> None:
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    first.acquire()
    with pytest.raises(InputError, match=f"in use by process {os.getpid()} on .*; wait for it"):
        second.acquire()
    second.release()  # not its own: it stays
    first.check()
    first.release()
    second.acquire()
    with pytest.raises(InputError, match="is not this run's any more .process"):
        first.check()
    second.release()
    assert not list(tmp_path.iterdir())


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    process = holder_process(tmp_path)
    tell(process)
    assert answer(process) == "held"
    lock = FolderLock(tmp_path)
    with pytest.raises(InputError, match=f"in use by process {process.pid} "):
        lock.acquire()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    lock.acquire()  # while it is a zombie: its parent has not asked for its end
    process.communicate()
    lock.check()
    lock.release()
    assert not list(tmp_path.iterdir())


def test_of_many_that_find_a_dead_lock_one_gets_it(tmp_path: Path) -> None:
    for round_ in range(4):
        folder = tmp_path / str(round_)
        folder.mkdir()
        write_lock(folder, started=1)
        processes = [holder_process(folder) for _ in range(6)]
        for process in processes:
            tell(process)
        answers = [answer(process) for process in processes]
        for process in processes:
            process.communicate("end\n")
        assert answers.count("held") == 1, answers
        assert sum("is in use by process" in a for a in answers) == 5, answers


def test_another_process_with_the_same_id_is_not_taken_for_it(tmp_path: Path) -> None:
    write_lock(tmp_path, started=1)
    FolderLock(tmp_path).acquire()


def test_another_host_is_refused_with_what_to_do(tmp_path: Path) -> None:
    write_lock(tmp_path, host="node17", pid=1)
    with pytest.raises(
        InputError, match=r"by process 1 on node17 since .* remove .*/\.lock and run"
    ):
        FolderLock(tmp_path).acquire()


@pytest.mark.parametrize(
    ("job", "incarnation", "taken"),
    [("123", (0, 0), True), ("123", (1, 1), False), ("124", (0, 0), False), ("", (0, 0), False)],
)
def test_a_requeued_job_takes_over_from_its_earlier_self_on_another_host(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    job: str,
    incarnation: tuple[int, int],
    taken: bool,
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "123")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    write_lock(tmp_path, host="node17", job=job, incarnation=incarnation)
    lock = FolderLock(tmp_path)
    if taken:
        lock.acquire()
    else:
        with pytest.raises(InputError, match="is in use"):
            lock.acquire()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', "\0" * 50])
def test_a_lock_that_its_writer_never_finished_is_taken_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr("respeval.files.lock.EMPTY_LOCK_S", 0.2)
    (tmp_path / LOCK).write_text(text)
    lock = FolderLock(tmp_path)
    lock.acquire()
    lock.check()


def test_a_lock_that_was_renewed_in_between_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process took the dead lock over after this one had read it."""
    write_lock(tmp_path, started=1)
    dead = (tmp_path / LOCK).read_text()
    winner, loser = FolderLock(tmp_path), FolderLock(tmp_path)
    winner.acquire()
    first_look = iter([dead])
    look = FolderLock._read
    monkeypatch.setattr(FolderLock, "_read", lambda lock: next(first_look, None) or look(lock))
    with pytest.raises(InputError, match=f"in use by process {os.getpid()} "):
        loser.acquire()
    winner.check()


def test_a_folder_that_can_not_be_written_gets_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.lock can't be written .No such file"):
        FolderLock(tmp_path / "gone").acquire()
