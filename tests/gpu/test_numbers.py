"""A GPU gives a CPU's numbers: of runs and probes to float32 rounding, of noise to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from respeval.checkpoints import open_checkpoint
from respeval.distributed.comm import Comm, connect
from respeval.emulator.noise import CounterNoise
from respeval.loss_probe.activations import CHOICES, Recompute
from respeval.loss_probe.arms import parse_arms
from respeval.loss_probe.plan import ProbeSettings, plan_probe
from respeval.loss_probe.probing import ProbeReporter, run_probe
from respeval.loss_probe.profile import Profile, make_profile
from respeval.rollout.members import Member
from respeval.rollout.sums import GroupSums, MemberSums
from tests.support import gpu
from tests.support.invoking import invoke


def test_a_cuda_device_is_the_default(device: torch.device) -> None:
    assert connect().device == device


@pytest.mark.parametrize("name", ["tiny.pt", "noisy.pt", "tiny.pt2"])
def test_a_run_has_the_means_of_one_on_the_cpu(
    name: str, device: torch.device, folder: Path, tmp_path: Path
) -> None:
    for kind in ("cpu", device.type):
        out = tmp_path / f"on_{kind}"
        invoke("run", folder / name, "--case", folder / "case.yaml", "-o", out, "--device", kind)
        if kind == "cpu" == device.type:
            break
    gpu.assert_alike_runs(tmp_path / f"on_{device.type}", tmp_path / "on_cpu")
    with xr.open_dataset(tmp_path / "on_cpu" / "response.nc", decode_times=False) as response:
        assert float(np.abs(response["air_temperature_1"]).max()) > 1e-3  # there is one


def test_float32_is_what_it_was_after_runs_in_other_precisions(
    device: torch.device, folder: Path, tmp_path: Path
) -> None:
    """A GPU's default would be TF32 in convolutions."""
    precisions = ["float32", "bfloat16"] + ["tf32"] * (device.type == "cuda")
    fields = {}
    for precision in precisions:
        out = tmp_path / precision
        given = ["--device", device.type, "--precision", precision]
        invoke("run", folder / "tiny.pt", "-o", out, *given)
        with xr.open_dataset(out / "group_means.nc", decode_times=False) as means:
            fields[precision] = means["air_temperature_1"].values
    exact = fields.pop("float32")
    for precision, field in fields.items():
        difference = float(np.abs(field - exact).max())
        assert difference < 0.1 * float(exact.std()), precision
        assert precision == "tf32" or difference > 0  # devices before Ampere have no TF32
    invoke("run", folder / "tiny.pt", "-o", tmp_path / "again", "--device", device.type)
    with xr.open_dataset(tmp_path / "again" / "group_means.nc", decode_times=False) as means:
        gpu.assert_alike(means["air_temperature_1"].values, exact)


@pytest.mark.parametrize("paired", [True, False])
def test_noise_has_the_cpu_s_bits(device: torch.device, paired: bool) -> None:
    streams = [(sample, 0 if paired else group) for sample in (0, 3) for group in range(3)]
    on_cpu = CounterNoise(7, streams, 11)
    on_device = CounterNoise(7, streams, 11, device)
    for shape in ((2, 8, 16), (1, 7, 5), (3,)):  # draw after draw
        expected, got = on_cpu.normal(*shape), on_device.normal(*shape)
        assert got.device == device
        assert got.dtype == torch.float32
        assert got.cpu().numpy().tobytes() == expected.numpy().tobytes()
        assert torch.equal(got[0], got[1]) is paired


def test_sums_have_the_cpu_s_bits(device: torch.device) -> None:
    members = [Member(sample, group) for sample in range(2) for group in range(3)]
    steps = 280.0 + torch.randn(
        5, len(members), 4, 8, 16, generator=torch.Generator().manual_seed(0)
    )
    masks = torch.ones(3, 8, 16, dtype=torch.bool)
    means = []
    for place in (torch.device("cpu"), device):
        sums = MemberSums(steps[0].shape, place)
        for step in steps:
            sums.add(step.to(place))
        totals = GroupSums.encode(sums, members, 3, 2, masks.to(place), keep_members=True)
        assert totals.pack().device == place
        means.append(totals.means())
    expected, found = means
    assert found.member is not None
    assert expected.member is not None
    for got, wanted in ((found.field, expected.field), (found.member, expected.member)):
        assert got.cpu().numpy().tobytes() == wanted.numpy().tobytes()
    # A circle's mean adds its cells in another order.
    torch.testing.assert_close(found.zonal.cpu(), expected.zonal, rtol=1e-14, atol=0)


def profile_of(path: Path, comm: Comm, recompute: Recompute = "nothing") -> Profile:
    arms = parse_arms(["none", "per_sample:gamma=1.0", "spectral_power"])
    asked: dict[str, Any] = {"num_batches": 3, "batch_size": 4, "input_noise": 0.1}
    settings = ProbeSettings(arms=arms, recompute=recompute, **asked)
    data = str(path.parent / "training.nc")
    plan = plan_probe(open_checkpoint(path, {}), settings, data, None, path)
    return make_profile(run_probe(plan, comm, ProbeReporter()), plan.filters, arms)


@pytest.mark.parametrize("recompute", CHOICES)
@pytest.mark.parametrize("name", ["tiny.pt", "noisy.pt", "tiny.pt2"])
def test_a_probe_has_the_gradients_of_one_on_the_cpu(
    name: str, recompute: Recompute, device: torch.device, folder: Path
) -> None:
    """Squares of a gradient add up rounding twice; a score's |x| turns where x is zero but for rounding."""
    expected = profile_of(folder / name, Comm())
    found = profile_of(folder / name, Comm(device=device), recompute)
    np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-5)
    np.testing.assert_allclose(found.target_amplitude, expected.target_amplitude, rtol=1e-5)
    for what in ("grad_rms", "output_gradient", "energy_score", "weight_rms"):
        got, wanted = getattr(found, what), getattr(expected, what)
        np.testing.assert_allclose(got, wanted, rtol=1e-2, atol=1e-4 * np.nanmax(wanted))


@pytest.mark.parametrize("name", ["tiny.pt", "tiny.pt2"])
def test_the_commands_of_a_checkpoint_that_was_on_the_device_end_well(
    name: str, device: torch.device, folder: Path, tmp_path: Path
) -> None:
    """What the other tests leave out: the dry run, a batch size that is tried, the probe's files."""
    run = ["run", folder / name, "--case", folder / "case.yaml", "--device", device.type]
    told = invoke(*run, "-o", tmp_path / "dry", "--dry-run")
    assert ("on the GPU" in told) == (device.type == "cuda")
    told = invoke(*run, "-o", tmp_path / "auto", "--samples-per-batch", "auto", "--save-members")
    assert "taken" in told
    probe = ["gradient-probe", folder / name, "--data", folder / "training.nc"]
    probe += ["--batches", 2, "--batch-size", 2, "--input-noise", 0.1, "--device", device.type]
    invoke(*probe, "-o", tmp_path / "probe")
    assert (tmp_path / "probe" / "gradient_profile.nc").is_file()
