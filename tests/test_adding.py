"""What docs/architecture.md says of adding things: the changes it shows are whole, and do it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr
import yaml

from tests.support import ROOT
from tests.support.processes import environment

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
DIFFS = re.findall(r"```diff\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the package to which every change was applied."""
    folder = tmp_path_factory.mktemp("changed")
    ignored = shutil.ignore_patterns("__pycache__", "*.pt", "*.npz")
    shutil.copytree(ROOT / "respeval", folder / "respeval", ignore=ignored)
    for diff in DIFFS:
        command = ["git", "apply", "--verbose", "-"]
        done = subprocess.run(
            command, cwd=folder, input=diff, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    return folder


def respeval(changed: Path, *arguments: object) -> str:
    """What the changed package prints."""
    done = subprocess.run(
        [sys.executable, "-m", "respeval", *map(str, arguments)],
        cwd=changed,
        env=environment() | {"PYTHONPATH": str(changed), "COLUMNS": "400"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_as_many_files_change_as_the_page_says() -> None:
    assert [diff.count("\n+++ ") for diff in DIFFS] == [1, 3, 1]


def test_the_diagnostic_is_there(changed: Path) -> None:
    told = respeval(changed, "diagnose", "--list")
    assert "humidity_contrast" in told
    assert "100 Δq / q of the ocean minus that of land" in told


def test_the_key_and_the_perturbation_are_there(changed: Path, study: Path, tmp_path: Path) -> None:
    help_page = respeval(changed, "run", "--help")
    assert "LABEL=band:KELVIN,lat_min=…,lat_max=…" in help_page
    assert "--note" in help_page
    out = tmp_path / "out"
    wish = ("--perturb", "tropics=band:2,lat_min=-30,lat_max=30", "--note", "of the tropics")
    respeval(changed, "run", study, "-o", out, *wish, "--days", 3, "--segment", "all")
    case = yaml.safe_load((out / "case.yaml").read_text())
    assert case["note"] == "of the tropics"
    assert case["perturbations"]["tropics"]["lat_max"] == 30.0
    with xr.open_dataset(out / "response.nc", decode_times=False) as response:
        change = response["skin"].isel(perturbation=0).where(response["ocean_mask"] > 0)
        tropical = abs(response["lat"]) < 30
        assert float(abs(change.where(tropical) - 2.0).max()) < 1e-4
        assert float(abs(change.where(~tropical)).max()) < 1e-4
