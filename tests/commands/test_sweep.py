"""Many checkpoints in one command: their folders, one that fails, a signal, and one record for all."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import weakref
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
import xarray as xr
from typer.testing import CliRunner

import respeval.plan.plan
from respeval.analysis.results import analyse
from respeval.checkpoints.native import NativeEmulator
from respeval.cli import app
from respeval.diagnostics.numbers import with_error
from respeval.errors import InputError
from respeval.files.lock import FolderLock
from respeval.run_folder.sweep import Sweep, find_checkpoints, folder_names
from tests.support import studies
from tests.support.invoking import errors_in
from tests.support.processes import torchrun
from tests.support.studies import assert_equal_runs, write_study

GOOD = ("a", "b", "d", "e")
OPTIONS = ("--days", "9", "--segment", "4 steps")


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures take longer than everything else here, and say nothing about a sweep."""
    monkeypatch.setattr("respeval.analysis.results.Pictures", MagicMock())


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def statuses(folder: Path) -> dict[str, str]:
    """Folder -> status, as sweep.json has them."""
    content = json.loads((folder / "sweep.json").read_text())
    return {entry["folder"]: entry["status"] for entry in content["checkpoints"]}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Five checkpoints a.pt to e.pt beside a case; c.pt is only half of a file."""
    folder = tmp_path_factory.mktemp("many")
    write_study(folder).unlink()
    for seed, name in enumerate(GOOD):
        studies.checkpoint(folder / f"{name}.pt", seed)
    whole = (folder / "a.pt").read_bytes()
    (folder / "c.pt").write_bytes(whole[: len(whole) // 2])
    return sorted(folder.glob("*.pt"))


@pytest.fixture(scope="module")
def alone(checkpoints: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs of the good checkpoints, each by a command of its own."""
    folder = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("respeval.analysis.results.Pictures", MagicMock())
        for name in GOOD:
            path = checkpoints[0].with_name(f"{name}.pt")
            result = invoke("run", path, "-o", folder / name, *OPTIONS)
            assert result.exit_code == 0, result.output
    return folder


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["x/a.pt", "x/b.pt"], ["a", "b"]),
        (["exp1/ckpt.tar", "exp2/ckpt.tar"], ["exp1_ckpt", "exp2_ckpt"]),
        (["exp1/ckpt.tar", "exp2/ckpt.tar", "b.pt"], ["exp1_ckpt", "exp2_ckpt", "b"]),
        (["p/1/run/m.pt", "p/2/run/m.pt"], ["1_run_m", "2_run_m"]),
        (["p/1/run/m.pt", "p/2/run/m.pt", "p/1/m.pt"], ["1_run_m", "2_run_m", "1_m"]),
        (["x/y_a.pt", "x/y/a.pt", "x/z/a.pt"], ["y_a.pt_", "a.pt_", "z_a"]),
        (["x/A.pt", "y/a.pt"], ["x_A", "y_a"]),
        (["x/sweep.json.pt"], ["x_sweep.json"]),
        (["x/a.pt", "x/a.pt2"], ["a.pt_", "a.pt2_"]),
    ],
)
def test_names_are_the_shortest_that_differ_in_any_order(
    paths: list[str], expected: list[str]
) -> None:
    names = dict(zip(paths, folder_names([Path(path) for path in paths]), strict=True))
    assert len({name.casefold() for name in names.values()}) == len(paths)
    for path, end in zip(paths, expected, strict=True):
        assert end in names[path]
        if expected.count(end) == 1 and not end.endswith("_"):
            assert names[path] == end
    turned = paths[::-1]
    assert dict(zip(turned, folder_names([Path(p) for p in turned]), strict=True)) == names


def test_a_file_given_twice_is_refused(
    checkpoints: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkpoints[0].parent)
    (tmp_path / "link.pt").symlink_to(checkpoints[0])
    for again in (
        checkpoints[0],
        Path("a.pt"),
        tmp_path / "link.pt",
        tmp_path.parent / "*" / "a.pt",
    ):
        result = invoke("run", *checkpoints, again, "-o", tmp_path / "out")
        assert result.exit_code == 2
        assert "is given twice" in result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_quoted_glob_stands_for_its_matches(checkpoints: list[Path]) -> None:
    folder = checkpoints[0].parent
    assert find_checkpoints([folder / "[a-d].pt", folder / "e.pt"]) == checkpoints
    with pytest.raises(InputError, match=r"\*\.tar matches no checkpoint file"):
        find_checkpoints([folder / "*.tar"])


def test_five_checkpoints_of_which_one_is_broken(
    checkpoints: list[Path], alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, opened = tmp_path / "sweep", list[str]()
    really_open = xr.open_dataset

    def counting(location: Any, *rest: Any, **more: Any) -> xr.Dataset:
        opened.append(Path(str(location)).name)
        return really_open(location, *rest, **more)

    monkeypatch.setattr(xr, "open_dataset", counting)
    result = invoke("run", *checkpoints, "-o", out, *OPTIONS)
    assert result.exit_code == 1, result.output
    assert opened.count("forcing.nc") == opened.count("initial.nc") == 1
    (line,) = errors_in(result.stderr)
    assert line.startswith("respeval: failed: ")
    assert "c.pt is no checkpoint" in line
    for name in GOOD:
        assert_equal_runs(out / name, alone / name)
        ratio = json.loads((out / name / "summary.json").read_text())
        row = "".join(line for line in result.stdout.splitlines() if f" {name}.pt " in line)
        for label, key, place in (
            ("p2K", "land_ocean_warming_ratio", "/midlatitudes"),
            ("p4K", "vertical_warming_ratio_tropical_ocean", ""),
        ):
            value, error = (ratio[f"{label}/{key}{end}{place}"] for end in ("", "_stderr"))
            assert f" {with_error(value, error)} " in row
        assert "± -" not in row
        assert "± 0.00 " not in row
    content = json.loads((out / "sweep.json").read_text())
    assert [entry["folder"] for entry in content["checkpoints"]] == list("abcde")
    assert content["checkpoints"][0]["checkpoint"] == str(checkpoints[0])
    assert "is no checkpoint" in content["checkpoints"][2]["reason"]
    assert statuses(out) == {**dict.fromkeys(GOOD, "finished"), "c": "failed"}
    assert not (out / "c").exists()

    before = {name: (out / name / "manifest.json").stat().st_mtime_ns for name in GOOD}
    result = invoke("run", checkpoints[0].parent / "*.pt", "-o", out, *OPTIONS)
    assert result.exit_code == 1
    assert statuses(out) == {**dict.fromkeys(GOOD, "already finished"), "c": "failed"}
    assert {n: (out / n / "manifest.json").stat().st_mtime_ns for n in GOOD} == before
    result = invoke("run", *checkpoints[:2], "-o", out, *OPTIONS)
    assert result.exit_code == 0
    assert statuses(out)["c"] == "failed"  # an earlier command's checkpoints stay in the file


def test_one_emulator_is_released_before_the_next_is_loaded(
    checkpoints: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[weakref.ref[Any]] = []
    really_open = respeval.plan.plan.open_checkpoint

    def watched(*rest: Any) -> Any:
        assert not [reference for reference in loaded if reference() is not None]
        emulator = really_open(*rest)
        emulator.__dict__["itself"] = emulator  # as in models whose parts know each other
        loaded.append(weakref.ref(emulator))
        return emulator

    gc.disable()
    try:
        monkeypatch.setattr(respeval.plan.plan, "open_checkpoint", watched)
        for more in ((), ("--dry-run",)):
            result = invoke("run", *checkpoints[:2], "-o", tmp_path / "out", "--days", "2", *more)
            assert result.exit_code == 0, result.output
    finally:
        gc.enable()
    assert len(loaded) == 4


class Interrupting:
    """Sends this process a signal at the Nth step that any emulator makes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
        self.count, self.at, self.really = 0, at, NativeEmulator.step
        interrupting = self

        def step(emulator: NativeEmulator, *rest: Any) -> torch.Tensor:
            interrupting.count += 1
            if interrupting.count == interrupting.at:
                os.kill(os.getpid(), signal.SIGTERM)
            return interrupting.really(emulator, *rest)

        monkeypatch.setattr(NativeEmulator, "step", step)


def test_a_signal_stops_the_sweep_and_the_same_command_finishes_it(
    checkpoints: list[Path], alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "sweep"
    Interrupting(monkeypatch, at=9 * 3 + 5 * 3 + 2)  # 3 batches a step: in the sixth step of b
    result = invoke("run", *checkpoints, "-o", out, *OPTIONS)
    assert result.exit_code == 75, result.output
    assert "stopped by SIGTERM after step 6 of 9" in result.stderr
    assert "4 of 5 checkpoints are left" in result.stderr
    left = dict.fromkeys("cde", "not reached")
    assert statuses(out) == {"a": "finished", "b": "stopped", **left}
    result = invoke("run", *checkpoints, "-o", out, *OPTIONS)
    assert result.exit_code == 1
    assert "going on after step 6 of 9" in result.stderr
    assert list(statuses(out).values()) == [
        "already finished",
        "finished",
        "failed",
        "finished",
        "finished",
    ]
    for name in GOOD:
        assert_equal_runs(out / name, alone / name)


def test_a_signal_during_the_analysis_stops_the_sweep_behind_it(
    checkpoints: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*rest: Any, **options: Any) -> Any:
        os.kill(os.getpid(), signal.SIGUSR1)
        return analyse(*rest, **options)

    monkeypatch.setattr("respeval.api.one_run.analyse", interrupted)
    result = invoke("run", *checkpoints, "-o", tmp_path / "out", "--days", "2")
    assert result.exit_code == 75
    assert "stopped by SIGUSR1" in result.stderr
    assert statuses(tmp_path / "out") == {"a": "finished", **dict.fromkeys("bcde", "not reached")}


def test_a_fault_of_the_emulators_own_code_is_one_checkpoints_failure(
    checkpoints: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> torch.Tensor:
        raise RuntimeError("mat1 and mat2\nshapes")

    with monkeypatch.context() as patch:
        patch.setattr(NativeEmulator, "step", broken)
        result = invoke("run", *checkpoints[:2], "-o", tmp_path / "out", "--days", "2")
    assert result.exit_code == 1
    assert statuses(tmp_path / "out") == {"a": "failed", "b": "failed"}
    assert "a.pt: unexpected RuntimeError: mat1 and mat2 shapes" in result.stdout
    assert "Traceback" in result.stderr


def test_a_folder_in_use_is_one_checkpoints_failure(
    checkpoints: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "out" / "a").mkdir(parents=True)
    lock = FolderLock(tmp_path / "out" / "a")
    lock.acquire()
    result = invoke("run", *checkpoints[:2], "-o", tmp_path / "out", "--days", "2")
    lock.release()
    assert result.exit_code == 1
    assert f"a is in use by process {os.getpid()}" in result.stderr
    assert statuses(tmp_path / "out") == {"a": "failed", "b": "finished"}


def test_what_may_be_in_the_folder(checkpoints: list[Path], alone: Path, tmp_path: Path) -> None:
    """A run of one checkpoint is no place for many; a sweep takes one more."""
    result = invoke("run", *checkpoints, "-o", alone / "a", *OPTIONS)
    assert result.exit_code == 2
    assert "holds the run of one checkpoint" in result.stderr
    assert not (alone / "a" / "sweep.json").exists()
    out = tmp_path / "sweep"
    assert invoke("run", *checkpoints[:2], "-o", out, "--days", "2").exit_code == 0
    assert invoke("run", checkpoints[3], "-o", out, "--days", "2").exit_code == 0
    assert statuses(out) == dict.fromkeys("abd", "finished")
    assert (out / "d" / "summary.json").exists()
    result = invoke("run", checkpoints[0], "-o", out, "--days", "3")
    assert result.exit_code == 1
    assert "days 2 -> 3; give --extend" in result.stderr
    extend = invoke("run", checkpoints[0], "-o", out, "--days", "3", "--extend")
    assert extend.exit_code == 0, extend.output
    fresh = invoke("run", checkpoints[0], "-o", out, "--days", "2", "--restart-fresh")
    assert fresh.exit_code == 0, fresh.output
    assert statuses(tmp_path / "sweep-2") == {"a": "finished"}
    assert json.loads((out / "a" / "manifest.json").read_text())["num_steps"] == 3
    (out / "sweep.json").write_text('{"checkpoints": 3}')
    with pytest.raises(InputError, match=r"sweep\.json can't be read; remove it"):
        Sweep(out, checkpoints).begin()


def test_one_checkpoint_of_a_glob_has_its_results_in_the_folder_itself(
    checkpoints: list[Path], alone: Path, tmp_path: Path
) -> None:
    result = invoke("run", checkpoints[0].parent / "a*", "-o", tmp_path / "out", *OPTIONS)
    assert result.exit_code == 0, result.output
    assert_equal_runs(tmp_path / "out", alone / "a")
    assert not (tmp_path / "out" / "sweep.json").exists()


def test_two_processes_go_on_behind_an_error_that_only_one_of_them_meets(
    checkpoints: list[Path], tmp_path: Path
) -> None:
    """Process 1 has the sample that starts on the 21st, and reads alone what is missing on the 28th."""
    folder = tmp_path / "late"
    lacking = write_study(folder).rename(folder / "lacking.pt")
    (folder / "forcing.nc").unlink()
    (folder / "initial.nc").unlink()
    studies.initial(days=(0, 0, 20)).to_netcdf(folder / "initial.nc")
    record = studies.forcing()
    record["skin"] = record["skin"].copy()
    record["skin"][28, 3, 3] = np.nan
    record.to_netcdf(folder / "forcing.nc")
    good = shutil.copy(checkpoints[0], tmp_path / "z.pt")
    given = [checkpoints[0], checkpoints[2], lacking, good]
    elsewhere = checkpoints[0].parent
    for name in ("forcing.nc", "initial.nc", "case.yaml"):
        shutil.copy(elsewhere / name, tmp_path / name)
    out = tmp_path / "sweep"
    done = torchrun(2, "run", *given, "-o", out, *OPTIONS)
    assert done.returncode != 0
    assert statuses(out) == {"a": "finished", "c": "failed", "lacking": "failed", "z": "finished"}
    lines = errors_in(done.stderr)
    assert len(lines) == 2, done.stderr
    assert "skin is missing over ocean at 2001-01-29" in lines[1]
    assert done.stdout.count("results in") - done.stdout.count("further columns") == 1
    assert json.loads((out / "lacking" / "manifest.json").read_text())["status"] == "failed"
    got, expected = studies.numbers(out / "z"), studies.numbers(out / "a")
    for name, values in expected.items():
        assert got[name].tobytes() == values.tobytes(), name
