"""Long runs on a GPU: stopped, carried over to another device, with members that blow up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import xarray as xr

from respeval.case.file import load_case
from respeval.distributed.comm import Comm
from respeval.plan.execution import Execution, make_rollout
from respeval.plan.plan import prepare
from respeval.rollout.guard import GUARD_INTERVAL, RangeGuard
from respeval.rollout.members import deal_members
from respeval.rollout.sums import MemberSums
from tests.support import gpu
from tests.support.invoking import invoke
from tests.support.processes import environment, wait_for_segments
from tests.support.studies import forcing, initial, run, write_study
from tests.support.toy import Interrupted, Spoiled, manifest_of, plan, stopped, study

CPU = Comm()


@pytest.mark.parametrize("step", [13, 58], ids=["within a segment", "at the end of one"])
@pytest.mark.parametrize("way", ["to the device", "to the CPU"])
def test_a_stopped_run_goes_on_on_another_device(
    way: str, step: int, device: torch.device, tmp_path: Path
) -> None:
    """All is float64 here, and what the initial states conserve is a mean that is summed otherwise."""
    before, after = (CPU, gpu.comm()) if way == "to the device" else (gpu.comm(), CPU)
    folder = study(tmp_path / "study", days=(0, 5, 17))
    expected = run(plan(folder, Interrupted()), tmp_path / "whole")
    told = stopped(plan(folder, Interrupted(step)), tmp_path / "out", before)
    assert f"stopped by SIGTERM after step {step + 1} of 75" in told
    run(plan(folder, Interrupted()), tmp_path / "out", comm=after)
    gpu.assert_alike_runs(tmp_path / "out", expected, exact=1e-12)


def test_a_network_s_run_goes_on_on_another_device(
    device: torch.device, folder: Path, tmp_path: Path
) -> None:
    arguments = ["run", folder / "noisy.pt", "--segment", "10 steps"]
    invoke(*arguments, "-o", tmp_path / "whole", "--device", "cpu")
    for days, kind in ((20, "cpu"), (50, device.type), (75, "cpu")):
        out = ["-o", tmp_path / "out", "--device", kind, "--days", days, "--extend"]
        invoke(*arguments, *out)
    gpu.assert_alike_runs(tmp_path / "out", tmp_path / "whole")


def test_a_member_that_blows_up_leaves_the_means_as_on_the_cpu(
    device: torch.device, tmp_path: Path
) -> None:
    """The device's guard is read late, and the sample has left by the end of the segment all the same."""
    path = write_study(tmp_path / "study", days=75, allow_out_of_range=True)
    start = initial()
    start["air_temperature_0"][2] = 1e7
    (path.parent / "initial.nc").unlink()
    start.to_netcdf(path.parent / "initial.nc")
    told = {}
    for kind in {"cpu", device.type}:
        out = tmp_path / kind
        told[kind] = invoke("run", path, "-o", out, "--device", kind)
    assert (
        manifest_of(tmp_path / device.type)["quarantined"]
        == (manifest_of(tmp_path / "cpu")["quarantined"])
    )
    assert "left out of the means: sample 2 from the segment of 2001-01-02" in told[device.type]
    gpu.assert_alike_runs(tmp_path / device.type, tmp_path / "cpu")
    out = ["-o", tmp_path / "fast", "--fail-fast"]
    assert "sample 2" in invoke("run", path, *out, "--device", device.type, code=3)


def test_a_member_that_blows_up_between_two_readings_of_the_guard_is_told_right(
    device: torch.device, tmp_path: Path
) -> None:
    """At step 40 of a segment of days 32 to 59: a GPU's guard is read after step 33 and at the end."""
    folder = study(tmp_path / "study")
    expected = run(plan(folder, Spoiled(sample2=40)), tmp_path / "cpu")
    out = run(plan(folder, Spoiled(sample2=40)), tmp_path / "out", comm=gpu.comm())
    (told,) = manifest_of(out)["quarantined"]
    assert (told["sample"], told["group"], told["variable"], told["step"]) == (2, "p4K", "air", 40)
    assert manifest_of(expected)["quarantined"] == [told]
    gpu.assert_alike_runs(out, expected, exact=1e-12)


def test_sigterm_ends_a_run_that_the_same_command_goes_on_with(
    device: torch.device, tmp_path: Path
) -> None:
    path = write_study(tmp_path / "study", days=485, repeat="year")
    (path.parent / "forcing.nc").unlink()
    forcing(num_times=366).to_netcdf(path.parent / "forcing.nc")
    out = tmp_path / "out"
    arguments = ["run", str(path), "--device", device.type]
    command = [sys.executable, "-m", "respeval", *arguments, "-o", str(out)]
    started = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )
    wait_for_segments(out, 1)
    os.kill(started.pid, signal.SIGTERM)
    _, errors = started.communicate(timeout=60)
    assert started.returncode == 75, errors
    assert "stopped by SIGTERM" in errors
    step = manifest_of(out)["restart"]["step"]
    assert 0 < step < 485
    invoke(*arguments, "-o", out)
    invoke(*arguments, "-o", tmp_path / "whole")
    gpu.assert_alike_runs(out, tmp_path / "whole")


@contextmanager
def _no_waiting(device: torch.device) -> Iterator[None]:
    """Within this, a call of torch that makes the host wait for the device raises."""
    if device.type == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        if device.type == "cuda":
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", ["tiny.pt", "noisy.pt", "tiny.pt2"])
def test_the_host_waits_for_the_device_where_the_guard_is_read_alone(
    name: str, device: torch.device, folder: Path
) -> None:
    """Over several windows of forcing, which another thread reads and sends."""
    case = {
        "forcing": str(folder / "forcing.nc"),
        "initial_condition": str(folder / "initial.nc"),
        "steps": 2 * GUARD_INTERVAL + 4,
        "perturbations": {"p4K": {"type": "uniform", "amplitude_K": 4.0}},
    }
    planned = prepare(folder / name, load_case(None, case))
    members = deal_members(planned.num_samples, 2, 1)[0]
    spec, comm = planned.emulator.spec, Comm(device=device)
    sums = MemberSums((len(members), len(spec.outputs), *spec.grid.shape), device)
    guard = RangeGuard(spec, members, device)
    read = []
    with torch.inference_mode():
        steps = make_rollout(planned, members, Execution(window_length=10), comm).steps()
        first = next(steps)
        sums.add(first.outputs)
        guard.check(first.outputs, 0)
        while True:
            with _no_waiting(device):
                step = next(steps, None)
                if step is None:
                    break
                sums.add(step.outputs)
                guard.check(step.outputs, step.number)
            if guard.is_due(step.number):
                read.append(step.number)
                assert guard.faults(planned.case.groups, planned.forcing.starts) == []
    if device.type == "cuda":
        assert read == [GUARD_INTERVAL, 2 * GUARD_INTERVAL]


def test_what_is_saved_is_read_on_a_machine_without_a_gpu(
    device: torch.device, folder: Path, tmp_path: Path
) -> None:
    """The analysis of a run on the device needs the device no more."""
    out = tmp_path / "out"
    invoke("run", folder / "tiny.pt", "-o", out, "--device", device.type)
    with xr.open_dataset(out / "response.nc", decode_times=False) as opened:
        before = opened["air_temperature_1"].values.tobytes()
    hidden = environment() | {"CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "respeval", "diagnose", str(out)]
    done = subprocess.run(command, env=hidden, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with xr.open_dataset(out / "response.nc", decode_times=False) as opened:
        assert opened["air_temperature_1"].values.tobytes() == before
