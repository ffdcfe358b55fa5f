"""A run that an earlier respeval began goes on: its folder says nothing of modules."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from respeval.emulator.noise import METHOD
from tests.support import ROOT, studies
from tests.support.invoking import invoke
from tests.support.processes import environment, wait_for_segments
from tests.support.studies import assert_equal_runs, write_study

#: The last commit before the modules moved into wings; its noise is numpy's own, too.
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
    before = json.loads((out / "summary.json").read_text())
    assert "nothing to do" in invoke("run", study, "-o", out)
    invoke("diagnose", out)
    after = json.loads((out / "summary.json").read_text())
    assert before.keys() <= after.keys()
    changed = {key for key, number in before.items() if after[key] != number}
    # A run of less than two years was said to be known.
    assert all("/years_to_5_percent/" in key and after[key] is None for key in changed)


@pytest.fixture(scope="module")
def noisy_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a stochastic emulator, with 20 days to run."""
    path = write_study(tmp_path_factory.mktemp("noisy"), days=20, segment="5 steps")
    return studies.checkpoint(path, num_noise_channels=2)


def test_noise_that_was_drawn_in_another_way_does_not_go_on(
    earlier: Path, noisy_study: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = begin(earlier, "run", noisy_study, "-o", out)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 0, told
    before = {path: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
    assert "nothing to do" in invoke("run", noisy_study, "-o", out)
    line = invoke("run", noisy_study, "-o", out, "--days", 40, "--extend", code=2)
    assert (
        f"{out} can't be continued: its noise was drawn in another way (unnamed -> Philox4x64-10, "
        "Box-Muller); let the respeval that began it go on, or start over beside it with --restart-fresh"
    ) in " ".join(line.split())
    assert before == {path: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
    invoke("run", noisy_study, "-o", out, "--days", 40, "--restart-fresh")
    assert json.loads((tmp_path / "out-2" / "manifest.json").read_text())["noise"] == METHOD


def test_a_stopped_run_goes_on_with_its_own_noise_alone(noisy_study: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    invoke("run", noisy_study, "-o", whole)
    invoke("run", noisy_study, "-o", out, "--days", 10)
    manifest = json.loads((out / "manifest.json").read_text())
    for other in ("another way", None):
        (out / "manifest.json").write_text(json.dumps(manifest | {"noise": other}))
        line = invoke("run", noisy_study, "-o", out, "--extend", code=2)
        told = f"({other or 'unnamed'} -> Philox4x64-10, Box-Muller)"
        assert told in " ".join(line.split())
    (out / "manifest.json").write_text(json.dumps(manifest))
    invoke("run", noisy_study, "-o", out, "--extend")
    assert_equal_runs(out, whole)


def test_runs_of_deterministic_emulators_name_no_noise(study: Path, tmp_path: Path) -> None:
    invoke("run", study, "-o", tmp_path / "out", "--steps", 2)
    assert "noise" not in json.loads((tmp_path / "out" / "manifest.json").read_text())
