"""What `--dry-run` says before a run, against what the run then takes."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn
from typer.testing import CliRunner

import respeval.plan.estimate
from respeval.cli import app
from respeval.distributed.comm import Comm
from respeval.emulator.computing import num_parameters
from respeval.files.netcdf import netcdf_size, write_netcdf
from respeval.interpreter import give_back_freed
from respeval.plan.estimate import Disk, Estimate, look_ahead
from respeval.plan.execution import Execution
from respeval.plan.memory import measure_peak
from respeval.plan.plan import prepare
from respeval.presentation.console.sweep import amount
from tests.support import studies
from tests.support.studies import write_study
from tests.support.toy import Toy, plan
from tests.support.toy import study as toy_study


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("respeval.analysis.results.Pictures", MagicMock())


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest-xdist says that it is 80 columns wide, where cells of the table are folded."""
    monkeypatch.setenv("COLUMNS", "120")


def invoke(*arguments: object, code: int = 0) -> Any:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def estimate_of(checkpoint: Path, folder: Path, **options: Any) -> Estimate:
    from respeval.case.file import load_case

    planned = prepare(checkpoint, load_case(checkpoint.parent / "case.yaml", options))
    return look_ahead(planned, checkpoint, folder, Comm(), Execution())


def sizes(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.glob(pattern))


@pytest.mark.parametrize("members", [False, True])
def test_disk_space_is_that_of_a_real_run(study: Path, tmp_path: Path, members: bool) -> None:
    """At most 15 % too much or too little in every part; restart files to the byte."""
    out = tmp_path / "out"
    case = {"segment": "3 steps", "spinup": "9 days", "save_members": members}
    disk = estimate_of(study, out, **case).disk
    assert disk is not None
    assert not out.exists()
    keep = "--save-members" if members else "--no-save-members"
    invoke("run", study, "-o", out, "--segment", "3 steps", "--spinup", "9 days", keep)
    assert len(list(out.glob("segments/*"))) == 25
    real = Disk(
        sizes(out, "segments/*"),
        sizes(out, "restart/*"),
        sizes(out, "group_means.nc") + sizes(out, "zonal.nc"),
    )
    assert disk.restart == real.restart
    assert disk.segments == pytest.approx(real.segments, rel=0.15)
    assert disk.means == pytest.approx(real.means, rel=0.15)
    assert disk.needed == pytest.approx(real.segments + real.means + real.restart, rel=0.15)


def test_room_is_needed_for_two_restarts_or_for_the_means() -> None:
    assert Disk(segments=100, restart=7, means=5).needed == 114
    assert Disk(segments=100, restart=7, means=50).needed == 157


def test_the_size_of_a_file_is_known_before_it_is_written(tmp_path: Path) -> None:
    field = np.random.default_rng(0).normal(size=(3, 2, 40, 80))
    dataset = xr.Dataset(
        {"skin": (("group", "time", "lat", "lon"), field), "name": ("group", ["a", "bb", "c"])},
        {"time": ("time", [0.5, 1.5], {"units": "days since 2001-01-01"})},
    )
    write_netcdf(dataset, tmp_path / "real.nc")
    real = (tmp_path / "real.nc").stat().st_size
    assert netcdf_size(dataset) == pytest.approx(real, rel=0.02)


class Clock:
    """A clock that only the toy moves: 50 s for its first batch, 2 s for every other one."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


class Slow(Toy):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def step(self, *rest: Any) -> torch.Tensor:
        self.clock.now += 2.0 if self.batches else 50.0
        return super().step(*rest)


@pytest.mark.parametrize(("reading_s", "expected_s"), [(1.0, 6.0), (750.0, 10.0)])
def test_time_is_that_of_measured_steps_after_a_first_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reading_s: float, expected_s: float
) -> None:
    """Three samples, one per batch: 6 s a step; a window of 75 steps is read at the same time."""
    clock = Clock()
    monkeypatch.setattr(respeval.plan.estimate, "time", clock)
    monkeypatch.setattr(respeval.plan.estimate, "MAX_MEASURING_S", 1000.0)
    toy = Slow(clock)
    planned = plan(toy_study(tmp_path / "study"), toy)
    read = planned.forcing.read

    def slowly(first: int, num_steps: int, *rest: Any) -> Any:
        if num_steps == 75:
            clock.now += reading_s
        return read(first, num_steps, *rest)

    monkeypatch.setattr(planned.forcing, "read", slowly)
    checkpoint = tmp_path / "toy.pt"
    checkpoint.write_bytes(bytes(1000))
    found = look_ahead(planned, checkpoint, tmp_path / "out", Comm(), Execution())
    assert toy.batches == [3] * 3 * 6  # 3 groups a batch, 3 batches a step, 1 + 5 steps
    assert found.seconds_per_step == expected_s
    assert found.seconds == 75 * expected_s
    assert (found.num_groups, found.num_samples, found.num_steps) == (3, 3, 75)
    assert found.file_bytes == 1000
    assert found.num_parameters is None


def test_memory_is_the_peak_while_something_is_done() -> None:
    size = 96 * 2**20
    give_back_freed()  # which a command in this process may have kept
    before, _ = measure_peak(torch.device("cpu"), lambda: None)
    during, shape = measure_peak(torch.device("cpu"), lambda: np.ones(size // 8).shape)
    assert shape == (size // 8,)
    assert before + 0.9 * size < during < before + 1.5 * size
    give_back_freed()
    after, _ = measure_peak(torch.device("cpu"), lambda: None)
    assert after < during - 0.5 * size


def test_parameters_count_as_real_numbers() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.real = nn.Parameter(torch.zeros(3, 5))
            self.complex = nn.Parameter(torch.zeros(4, dtype=torch.complex64))
            self.fixed = nn.Parameter(torch.zeros(7), requires_grad=False)

    assert num_parameters(Two()) == 15 + 8  # type: ignore[arg-type]


def test_amounts_are_short() -> None:
    assert [amount(n) for n in (12, 1500, 3.456e6, 2**40, 5e15)] == [
        "12 bytes",
        "1.46 KiB",
        "3.3 MiB",
        "1.0 TiB",
        "4,547.5 TiB",
    ]


def rows(shown: str) -> dict[str, list[str]]:
    """Cells of a printed table by its first column."""
    lines = [line.strip("│").split("│") for line in shown.splitlines() if line.startswith("│")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines}


def test_a_dry_run_of_many_tells_what_each_would_do_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_study(tmp_path / "study", days=20).rename(tmp_path / "study" / "done.pt")
    for name in ("half", "new"):
        studies.checkpoint(tmp_path / "study" / f"{name}.pt", len(name))
    (tmp_path / "study" / "torn.pt").write_bytes(b"torn")
    given, out = sorted((tmp_path / "study").glob("*.pt")), tmp_path / "out"
    invoke("run", given[0], "-o", out / "done")
    invoke("run", given[1], "-o", out / "half", "--days", "12")
    (out / "sweep.json").write_text('{"checkpoints": []}')

    def state() -> dict[Path, tuple[int, int]]:
        return {
            path: (path.stat().st_mtime_ns, path.stat().st_size) for path in tmp_path.glob("**/*")
        }

    before = state()
    result = invoke("run", *given, "-o", out, "--extend", "--dry-run", code=1)
    assert state() == before
    assert result.stderr == ""
    table = rows(result.stdout)
    assert table["done.pt"][:2] == ["done", "finished"]
    assert table["done.pt"][-3:] == ["", "", ""]
    assert table["half.pt"][:2] == ["half", "at step 12"]
    assert table["new.pt"][:2] == ["new", "new"]
    assert table["new.pt"][4:6] == ["3 x 3", "20"]
    assert table["new.pt"][-1].endswith("KiB")
    assert table["torn.pt"][:2] == ["torn", "can't run"]
    assert "can't run: " in result.stdout
    assert "torn.pt is no checkpoint" in result.stdout
    assert "warning" not in result.stdout

    free = SimpleNamespace(free=2**10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    result = invoke("run", *given[1:3], "-o", out, "--extend", "--dry-run")
    assert "1 KiB are free" in result.stdout.replace("1.02e+03 bytes", "1 KiB")
    assert "warning: the disk lacks" in result.stdout
    assert state() == before


def test_a_dry_run_of_one_checkpoint_looks_into_the_folder_itself(
    study: Path, tmp_path: Path
) -> None:
    out = tmp_path / "deep" / "out"
    result = invoke("run", study, "-o", out, "--dry-run")
    assert rows(result.stdout)["tiny.pt"][:2] == ["out", "new"]
    assert not out.parent.exists()
    invoke("run", study, "-o", out, "--days", "2")
    result = invoke("run", study, "-o", out, "--days", "2", "--dry-run")
    assert rows(result.stdout)["tiny.pt"][1] == "finished"
    result = invoke("run", study, "-o", out, "--days", "3", "--dry-run", code=1)
    assert "holds another run: days 2 -> 3" in result.stdout
    result = invoke("run", study, "-o", out, "--days", "3", "--restart-fresh", "--dry-run")
    assert rows(result.stdout)["tiny.pt"][:2] == ["out-2", "new"]
    assert not (out.parent / "out-2").exists()
