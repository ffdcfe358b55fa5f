"""Several processes: on devices of their own over NCCL, or on one device over gloo."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.support import ROOT, gpu
from tests.support.invoking import invoke
from tests.support.processes import torchrun

SHARED = [ROOT / "tests" / "support" / "one_device.py"]


def options(folder: Path, name: str) -> list[object]:
    # Batches as on one process, so that each of them is computed in the same way.
    case = ["--case", folder / "case.yaml", "--samples-per-batch", 1, "--segment", "25 steps"]
    return ["run", folder / name, *case]


@pytest.mark.parametrize("name", ["noisy.pt"])
def test_two_processes_on_one_device_give_the_means_of_one(
    name: str, device: torch.device, folder: Path, tmp_path: Path
) -> None:
    """Their collectives get tensors of the device alone."""
    given = [*options(folder, name), "--device", device.type]
    invoke(*given, "-o", tmp_path / "one")
    done = torchrun(2, *given, "-o", tmp_path / "two", program=SHARED)
    assert done.returncode == 0, done.stderr[-3000:]
    told = [line for line in done.stdout.splitlines() if line.startswith("collectives:")]
    assert sorted(told) == [
        "collectives: allgather allreduce recv reduce",
        "collectives: allgather allreduce reduce send",
    ]
    gpu.assert_alike_runs(tmp_path / "two", tmp_path / "one")


def test_two_processes_on_two_devices_give_the_means_of_one(
    device: torch.device, folder: Path, tmp_path: Path
) -> None:
    if device.type == "cuda" and torch.cuda.device_count() < 2:
        pytest.skip("one device: NCCL takes one process for each")
    given = [*options(folder, "tiny.pt"), "--device", device.type]
    invoke(*given, "-o", tmp_path / "one")
    done = torchrun(2, *given, "-o", tmp_path / "two")
    assert done.returncode == 0, done.stderr[-3000:]
    gpu.assert_alike_runs(tmp_path / "two", tmp_path / "one")


def test_a_process_without_a_device_of_its_own_is_told_so(
    device: torch.device, folder: Path, tmp_path: Path
) -> None:
    if device.type != "cuda" or torch.cuda.device_count() > 1:
        pytest.skip("of a machine with one GPU")
    done = torchrun(2, *options(folder, "tiny.pt"), "-o", tmp_path / "out")
    assert done.returncode != 0
    assert "process 1 of this machine has no GPU of its own (it has 1)" in done.stderr
