"""ACE checkpoints on a GPU, where fme and the trained checkpoints of `make ace` are."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support import gpu
from tests.support.invoking import invoke

if not find_spec("fme"):
    pytest.skip("fme is not installed", allow_module_level=True)

from tests.support.ace import make_fixtures
from tests.support.ace.files import AceFiles

if not make_fixtures.is_current():
    pytest.skip("the ACE checkpoints are made by `make ace`", allow_module_level=True)

ACE = AceFiles(make_fixtures.FOLDER)


def run(model: str, kind: str, out: Path, steps: int, *options: object) -> None:
    invoke(
        *("run", ACE.checkpoint(model), "-o", out, "--device", kind, "--steps", steps),
        *(f"--forcing={ACE.forcing_folder}", f"--initial-condition={ACE.initial_conditions}"),
        *("--segment", "7 steps", *options),
    )


@pytest.mark.parametrize("model", ["deterministic", "stochastic"])
def test_a_run_has_the_means_of_one_on_the_cpu(
    model: str, device: torch.device, tmp_path: Path
) -> None:
    """20 steps, few enough for rounding to stay rounding; one that goes on on the CPU, too."""
    run(model, "cpu", tmp_path / "whole", 20)
    run(model, device.type, tmp_path / "out", 20)
    alike(tmp_path / "out", tmp_path / "whole")
    run(model, device.type, tmp_path / "parts", 7)
    run(model, "cpu", tmp_path / "parts", 14, "--extend")
    run(model, device.type, tmp_path / "parts", 20, "--extend")
    alike(tmp_path / "parts", tmp_path / "whole")


def alike(folder: Path, expected: Path) -> None:
    """Within 1e-3 of each output's spread: trained networks respond to the state, step after step."""
    got, wanted = gpu.numbers(folder), gpu.numbers(expected)
    for name in (n for n in wanted if n.startswith("group_means") and wanted[n].ndim == 4):
        scale = float(np.std(wanted[name])) or 1.0
        np.testing.assert_allclose(got[name], wanted[name], rtol=0, atol=1e-3 * scale, err_msg=name)


def profile(model: str, kind: str, out: Path) -> dict[str, Any]:
    invoke(
        *("gradient-probe", ACE.checkpoint(model), "--data", ACE.training_data, "-o", out),
        *("--batches", 2, "--batch-size", 2, "--device", kind),
        *(("--input-noise", 0.1) if model == "deterministic" else ()),
    )
    return gpu.numbers(out)


@pytest.mark.parametrize("model", ["deterministic", "stochastic"])
def test_a_probe_has_the_gradients_of_one_on_the_cpu(
    model: str, device: torch.device, tmp_path: Path
) -> None:
    expected = profile(model, "cpu", tmp_path / "cpu")
    found = profile(model, device.type, tmp_path / "device")
    rms = "gradient_profile.nc/grad_rms"
    assert rms in expected
    largest = float(np.nanmax(expected[rms]))
    np.testing.assert_allclose(found[rms], expected[rms], rtol=2e-2, atol=1e-3 * largest)
