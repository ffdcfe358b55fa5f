"""A probe writes over results of its own, and of no other probe."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import xarray as xr

from respeval.files.lock import FolderLock
from tests.support.invoking import invoke, refused
from tests.support.studies import checkpoint, write_study
from tests.support.training import training

SIZE = ("--batches", 2, "--batch-size", 2)


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tiny.pt, training.nc, case.yaml that names it, and a probe in `out`."""
    folder = tmp_path_factory.mktemp("probed")
    write_study(folder, probe_data="training.nc")
    training().to_netcdf(folder / "training.nc")
    invoke("gradient-probe", folder / "tiny.pt", "-o", folder / "out", *SIZE)
    return folder


@pytest.fixture
def folder(probed: Path, tmp_path: Path) -> Path:
    """A copy, for one test."""
    shutil.copytree(probed, tmp_path / "copy")
    return tmp_path / "copy"


def test_the_same_probe_may_write_over_its_results_wherever_its_files_lie(folder: Path) -> None:
    summary = folder / "out" / "summary.json"
    before = json.loads(summary.read_text())
    summary.unlink()
    invoke("gradient-probe", folder / "tiny.pt", "-o", folder / "out", *SIZE, "--threads", 1)
    after = json.loads(summary.read_text())
    for numbers in (before, after):
        numbers.pop("warnings", None)  # they name the data's path
    assert after == before
    data = ("--data", folder / ".." / "copy" / "training.nc")
    (folder / "tiny.pt").rename(folder / "small.pt")
    invoke("gradient-probe", folder / "small.pt", "-o", folder / "out", *SIZE, *data)
    assert sorted(entry.name for entry in (folder / "out").iterdir()) == [
        *("figures", "gradient_profile.nc", "summary.json")
    ]


def longer_data(folder: Path) -> None:
    record = training()
    (folder / "training.nc").unlink()
    record.isel(time=slice(0, -1)).to_netcdf(folder / "training.nc")


def other_weights(folder: Path) -> None:
    (folder / "tiny.pt").unlink()
    checkpoint(folder / "tiny.pt", seed=7)


@pytest.mark.parametrize(
    ("change", "options", "told"),
    [
        (None, ("--seed", 1), "drawn with seed 0 -> 2 of 2, drawn with seed 1"),
        (None, ("--batches", 3), "batches 2 of 2, drawn with seed 0 -> 3 of 2,"),
        (None, ("--arm", "none"), "arms none, per_sample -> none"),
        (None, ("--alpha", 1.0), "loss 0.9 CRPS (alpha 0.95) + 0.1 energy score"),
        (None, ("--input-noise", 0.1), "ensemble 1 members, input noise 0 -> 2 members"),
        (None, ("--filter", "*blocks.1*"), "filters network.blocks.0.global_conv.weight, "),
        (longer_data, (), "files of the data"),
        (other_weights, (), "contents of the checkpoint"),
    ],
)
def test_another_probe_is_refused_and_the_results_stay(
    folder: Path, change: Callable[[Path], None] | None, options: tuple[object, ...], told: str
) -> None:
    before = {path: path.read_bytes() for path in (folder / "out").rglob("*") if path.is_file()}
    if change is not None:
        change(folder)
    line = refused("gradient-probe", folder / "tiny.pt", "-o", folder / "out", *SIZE, *options)
    assert line.startswith(f"respeval: {folder / 'out'} holds another probe: ")
    assert told in line
    assert line.endswith("; choose another folder with -o, or remove this one")
    after = {path: path.read_bytes() for path in (folder / "out").rglob("*") if path.is_file()}
    assert after == before


def test_results_of_an_earlier_respeval_are_known_by_what_they_say(folder: Path) -> None:
    path = folder / "out" / "gradient_profile.nc"
    with xr.open_dataset(path) as opened:
        profile = opened.load()
    for key in ("data_sha256", "reader"):
        del profile.attrs[key]
    path.unlink()
    profile.to_netcdf(path)
    command = ("gradient-probe", folder / "tiny.pt", "-o", folder / "out", *SIZE)
    assert "data " in refused(*command, "--data", folder / ".." / "copy" / "training.nc")
    path.write_bytes(b"no netCDF")
    line = refused(*command)
    assert str(path) in line
    assert "choose another folder with -o" in line


def test_two_probes_at_once_are_told_of_each_other(folder: Path) -> None:
    lock = FolderLock(folder / "out")
    lock.acquire()
    command = ("gradient-probe", folder / "tiny.pt", "-o", folder / "out", *SIZE)
    assert "is in use by process" in refused(*command)
    assert (folder / "out" / ".lock").exists()
    lock.release()
    invoke(*command)


def test_a_dry_run_may_look_at_another_probe(folder: Path) -> None:
    command = ("gradient-probe", folder / "tiny.pt", "-o", folder / "out", *SIZE)
    assert "would take" in invoke(*command, "--seed", 1, "--dry-run")
