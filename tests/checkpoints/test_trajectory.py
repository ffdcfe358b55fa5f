"""One checkpoint, one trajectory: the same to rounding under torch-harmonics 0.8.0 and 0.9.3."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from respeval.planet import SHIPPED_CHECKPOINTS
from tests.support.trajectory import FILE, trajectory


@pytest.mark.th080
@pytest.mark.parametrize("name", SHIPPED_CHECKPOINTS)
def test_the_trajectory_is_the_stored_one(name: str) -> None:
    """The file was written under 0.9.3; `make test-080` runs this test under 0.8.0."""
    torch.set_num_threads(1)
    expected = np.load(FILE)[name]
    got = trajectory(name)
    assert got.shape == expected.shape
    # A temperature of 300 K in float32 is rounded by 1.5e-5 K, its scale is some kelvins.
    assert np.abs(got - expected).max() < 1e-4
    assert np.abs(got[-1] - got[0]).max() > 0.1  # it went somewhere
