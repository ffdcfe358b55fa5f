"""A run that an earlier respeval began goes on: its folder says nothing of modules."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.invoking import invoke
from tests.support.processes import environment, wait_for_segments
from tests.support.studies import assert_equal_runs

#: The last commit before the modules moved into wings.
BEFORE_THE_WINGS = "e699d9e"


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package of that commit."""
    command = ["git", "-C", str(ROOT), "archive", BEFORE_THE_WINGS, "respeval"]
    archived = subprocess.run(command, capture_output=True, check=False)
    if archived.returncode:
        pytest.skip(f"needs commit {BEFORE_THE_WINGS} of the repository's history")
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(fileobj=io.BytesIO(archived.stdout)) as packed:
        packed.extractall(folder, filter="data")
    return folder


def begin(package: Path, *arguments: object) -> Any:
    """Start `respeval ARGUMENTS` of that package."""
    return subprocess.Popen(
        [sys.executable, "-m", "respeval", *map(str, arguments)],
        cwd=package,
        env=environment() | {"PYTHONPATH": str(package)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_run_that_was_stopped_before_the_wings_goes_on(
    earlier: Path, long_study: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = begin(earlier, "run", long_study, "-o", out)
    wait_for_segments(out, 3)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 75, told
    assert "going on after step" in invoke("run", long_study, "-o", out)
    invoke("run", long_study, "-o", tmp_path / "whole")
    assert_equal_runs(out, tmp_path / "whole")


def test_a_run_that_ended_before_the_wings_is_known_as_finished(
    earlier: Path, study: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    _, told = (process := begin(earlier, "run", study, "-o", out)).communicate(timeout=120)
    assert process.returncode == 0, told
    before = (out / "summary.json").read_bytes()
    assert "nothing to do" in invoke("run", study, "-o", out)
    invoke("diagnose", out)
    assert (out / "summary.json").read_bytes() == before
