"""Runs whose folder can't take what they write: one line, nothing half, and on when there is room."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from respeval.errors import InputError
from respeval.files.lock import LOCK
from respeval.files.publish import write_bytes
from tests.support.studies import assert_equal_runs, run
from tests.support.toy import Toy, plan
from tests.support.toy import study as toy_study


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty file system of a few hundred KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or not shutil.which("mount") or subprocess.run(command).returncode:
        pytest.skip("this user may not mount a file system")
    yield folder
    # Lazily: the HDF5 library keeps the file open that it could not finish.
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_ends_the_run_which_goes_on_when_there_is_room(
    small_disk: Path, tmp_path: Path
) -> None:
    folder = toy_study(tmp_path / "study")
    planned = plan(folder, Toy(), segment="5 steps", save_members=True)
    expected = run(planned, tmp_path / "whole")
    out = small_disk / "out"
    with pytest.raises(InputError, match=r"can't be written \(.*make room, or check the quota"):
        run(planned, out)
    assert not list(out.glob("**/.*"))
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    toy = Toy()
    run(plan(folder, toy, segment="5 steps", save_members=True), out)
    assert len(toy.batches) < 75 * 3
    assert_equal_runs(out, expected)


@pytest.mark.parametrize("limit_KiB", [30, 80])
def test_a_limit_on_the_size_of_files_ends_the_command_wherever_it_strikes(
    study: Path, tmp_path: Path, limit_KiB: int
) -> None:
    """`study`: the checkpoint of conftest; a limit stands in for a quota."""
    out = tmp_path / "out"
    command = f"{sys.executable} -m respeval run {study} -o {out} --days 20 --segment '10 steps'"
    limited = ["bash", "-c", f"ulimit -f {limit_KiB}; exec {command}"]
    done = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 2), done.stderr
    assert "Traceback" not in done.stderr
    assert not list(out.glob("**/.*"))
    if done.returncode:
        assert "can't be written" in done.stderr.splitlines()[-1]
        again = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        assert again.returncode == 0, again.stderr


def test_a_folder_that_vanishes_gets_one_line(tmp_path: Path) -> None:
    folder, out = toy_study(tmp_path / "study"), tmp_path / "out"

    class Removing(Toy):
        def step(self, *rest: Any, **more: Any) -> torch.Tensor:
            if len(self.batches) == 3 * 20:
                shutil.rmtree(out)
            return super().step(*rest, **more)

    with pytest.raises(InputError, match="can't be written .*; the folder is gone"):
        run(plan(folder, Removing()), out)


def test_a_folder_that_may_not_be_written_gets_one_line(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(InputError, match=r"taken can't be written \(Is a directory\)"):
        write_bytes(tmp_path / "taken", b"")
    (tmp_path / "out" / LOCK).mkdir(parents=True)
    with pytest.raises(InputError, match=r"\.lock can't be read \(Is a directory\)"):
        run(plan(toy_study(tmp_path / "study"), Toy()), tmp_path / "out")
