"""Where the tests of `tests/gpu` compute, and how far a GPU's numbers may be from a CPU's."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

from respeval.distributed.comm import Comm
from tests.support.studies import numbers

#: `cuda`, or `cpu` for a rehearsal of the tests' own code; without it they are not collected.
ASKED = "RESPEVAL_GPU_TESTS"

#: Rounding of float32 numbers, of which one in 2^24 is lost in each of some dozen operations that a
#: GPU does in another order: relative to the largest value, and to the spread of an output, which is
#: what a network's normalized numbers are multiplied with. TF32 keeps one in 2^11.
OF_LARGEST, OF_SPREAD = 2e-6, 2e-4


def kind() -> str | None:
    """`cuda` or `cpu`; None where these tests are not asked for."""
    return os.environ.get(ASKED)


def device() -> torch.device:
    return torch.device("cuda", 0) if kind() == "cuda" else torch.device("cpu")


def comm() -> Comm:
    """One process, on the device."""
    return Comm(device=device())


def assert_alike(got: np.ndarray, expected: np.ndarray, name: str = "") -> None:
    """Equal up to float32 rounding; missing where the other is."""
    assert got.shape == expected.shape, name
    assert (np.isnan(got) == np.isnan(expected)).all(), name
    if np.isnan(expected).all():
        return
    allowed = OF_LARGEST * np.nanmax(np.abs(expected)) + OF_SPREAD * np.nanstd(expected)
    difference = np.nanmax(np.abs(got - expected))
    assert difference <= allowed, f"{name} differs by {difference:.3g}, allowed are {allowed:.3g}"


def assert_alike_runs(folder: Path, expected: Path, exact: float | None = None) -> None:
    """Two finished runs have the same files, and means that are equal up to rounding.

    exact: the relative difference that is allowed in the place of float32's, where all is float64.
    """
    got, wanted = numbers(folder), numbers(expected)
    assert got.keys() == wanted.keys()
    means = [name for name in wanted if name.startswith(("segments/", "group_means", "zonal"))]
    assert means
    for name in means:
        if wanted[name].dtype.kind != "f":
            assert (got[name] == wanted[name]).all(), name
        elif exact is None:
            assert_alike(got[name], wanted[name], name)
        else:
            np.testing.assert_allclose(got[name], wanted[name], rtol=exact, atol=0, err_msg=name)
