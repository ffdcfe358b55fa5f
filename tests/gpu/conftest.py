"""Tests on a CUDA device: `make gpu` runs them, and elsewhere pytest passes this folder by."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import MagicMock

import pytest
import torch

from tests.support import gpu
from tests.support.studies import checkpoint, export_native, write_study
from tests.support.training import training


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.gpu)


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take most of a tiny run's time, and see nothing of a device."""
    monkeypatch.setattr("respeval.analysis.results.Pictures", MagicMock())


@pytest.fixture(scope="session")
def device() -> torch.device:
    """The device; a test that asked for CUDA fails where there is none."""
    if gpu.kind() == "cuda":
        assert torch.cuda.is_available(), "torch finds no CUDA device"
    return gpu.device()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of 75 days: tiny.pt, noisy.pt, which is stochastic, tiny.pt2; training.nc for probes."""
    made = tmp_path_factory.mktemp("study")
    tiny = write_study(made)
    checkpoint(made / "noisy.pt", num_noise_channels=2)
    export_native(tiny, made / "tiny.pt2")
    training().to_netcdf(made / "training.nc")
    return made
