"""The same command under torchrun: equal results, one voice, and one end for all."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from typer.testing import CliRunner

from respeval.cli import app
from respeval.distributed.comm import Comm, connect
from respeval.errors import InputError, SharedInputError
from tests.support import ROOT, studies
from tests.support.processes import torchrun
from tests.support.studies import write_study

BOX = ("--land-box", "box=-20,40,300,60")


def means(folder: Path) -> dict[str, np.ndarray]:
    with xr.open_dataset(folder / "group_means.nc", decode_times=False) as dataset:
        return {str(name): dataset[name].values for name in dataset.data_vars}


@pytest.fixture(scope="module")
def alone(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the run on one process."""
    out = tmp_path_factory.mktemp("alone") / "out"
    result = CliRunner().invoke(app, ["run", str(study), "-o", str(out), *BOX])
    assert result.exit_code == 0, result.output
    return out


def test_three_samples_on_three_processes_equal_one_process(
    study: Path, alone: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = torchrun(3, "run", study, "-o", out, *BOX)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Years until known") == 1  # the root alone speaks
    assert "on 3 processes" in done.stderr
    expected, got = means(alone), means(out)
    assert got.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(got[name], values, rtol=1e-10, atol=0, err_msg=name)
    again = torchrun(3, "run", study, "-o", out, *BOX)
    assert again.returncode == 0, again.stderr
    assert "nothing to do" in again.stderr
    first, second = (json.loads((f / "summary.json").read_text()) for f in (alone, out))
    assert first.pop("warnings") == second.pop("warnings")
    unknown = {key for key, value in first.items() if value is None}
    assert {key for key, value in second.items() if value is None} == unknown
    known = {key: value for key, value in first.items() if key not in unknown}
    assert "p4K/box_land_warming/box" in known
    assert {key: second[key] for key in known} == pytest.approx(known, rel=1e-6)


def test_more_processes_than_samples_spread_the_groups(study: Path, tmp_path: Path) -> None:
    """One sample's three groups on four processes: the last one has no member at all."""
    arguments = ["run", str(study), "--start-date", "2001-01-01", "--days", "10"]
    studies.initial(days=(0,)).to_netcdf(tmp_path / "initial.nc")
    single = [*arguments, "--initial-condition", str(tmp_path / "initial.nc")]
    result = CliRunner().invoke(app, [*single, "-o", str(tmp_path / "one")])
    assert result.exit_code == 0, result.output
    done = torchrun(4, *single, "-o", tmp_path / "four")
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stderr.split())
    assert (
        "warning: 1 of 4 processes have nothing to do: 3 groups x 1 samples are 3 members" in told
    )
    expected, got = means(tmp_path / "one"), means(tmp_path / "four")
    for name, values in expected.items():
        # The batches differ (3 members at once against 1), and with them float32 rounding.
        np.testing.assert_allclose(got[name], values, rtol=1e-6, atol=0, err_msg=name)


def test_an_error_on_one_process_ends_all_of_them_with_its_message(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    checkpoint = write_study(folder, days=80)
    initial = studies.initial()
    initial["air_temperature_0"][2] = 1e7  # the sample that process 1 gets
    (folder / "initial.nc").unlink()
    initial.to_netcdf(folder / "initial.nc")
    begun, allow = time.monotonic(), "--allow-out-of-range"
    done = torchrun(2, "run", checkpoint, "-o", folder / "out", "--fail-fast", allow)
    assert time.monotonic() - begun < 120
    assert done.returncode != 0
    assert done.stderr.count("respeval: the emulator blew up") == 1
    assert "sample 2" in done.stderr
    assert not (folder / "out" / "summary.json").exists()
    # Without it the sample is left out, by all processes.
    done = torchrun(2, "run", checkpoint, "-o", folder / "quarantine", allow)
    assert done.returncode == 0, done.stderr
    assert means(folder / "quarantine")["count"].tolist() == [[62, 56, 42]] * 3
    assert "left out of the means: sample 2 from the segment of 2001-01-02" in done.stdout


def test_a_perturbation_that_blows_up_leaves_on_two_processes_as_on_one(
    study: Path, tmp_path: Path
) -> None:
    case = [
        "run",
        study,
        "--days",
        "40",
        "--perturb",
        "p4K=uniform:4",
        "--perturb",
        "x=uniform:1e9",
    ]
    done = torchrun(2, *case, "-o", tmp_path / "two")
    assert done.returncode == 0, done.stderr
    assert "x is left out of all results" in done.stderr
    result = CliRunner().invoke(app, list(map(str, [*case, "-o", tmp_path / "one"])))
    assert result.exit_code == 0, result.output
    one, two = means(tmp_path / "one"), means(tmp_path / "two")
    assert one["count"].tolist() == two["count"].tolist() == [[93.0, 27.0]] * 2
    for name, values in one.items():
        if values.dtype.kind == "f":
            np.testing.assert_allclose(two[name], values, rtol=1e-6, atol=0, err_msg=name)


def test_bad_input_is_told_once(tmp_path: Path) -> None:
    checkpoint = write_study(tmp_path / "study", days=100)
    done = torchrun(2, "run", checkpoint, "-o", tmp_path / "out")
    assert done.returncode != 0
    assert done.stderr.count("is too short") == 1


def test_threads_of_torch_that_go_on_do_not_end_a_process_badly(
    study: Path, tmp_path: Path
) -> None:
    program = ROOT / "tests" / "support" / "late_threads.py"
    done = torchrun(2, "run", study, "-o", tmp_path / "out", "--dry-run", program=[program])
    assert done.returncode == 0, done.stderr


def test_one_process_is_the_identity() -> None:
    comm = Comm()
    assert comm.is_root
    packed = torch.arange(3.0)
    assert comm.sum_to_root(packed) is packed
    assert comm.gather("a") == ["a"]
    assert comm.together(lambda: 5) == 5
    assert comm.on_root(lambda: 5) == 5

    def fail() -> None:
        raise InputError("no such file")

    with pytest.raises(SharedInputError, match="no such file"):
        comm.together(fail)
    comm.close()


def test_devices_that_are_not_there_are_refused() -> None:
    with pytest.raises(InputError, match="expected cpu or cuda"):
        connect("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="no CUDA device"):
            connect("cuda")
