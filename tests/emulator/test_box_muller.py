"""Normal numbers of chosen bits, against logarithms, sines and cosines of libraries."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import mpmath
import numpy as np
import pytest
import torch

from respeval.emulator.box_muller import LOGARITHM, SINE, normal_pairs

SIGN = -(2**63)


def word(radius: int, angle: int, negative: bool = False) -> int:
    """The word with these bits for the radius, 0 to 2^32 - 1, and the angle, 0 to 2^30 - 1."""
    return (radius << 31) + (angle << 1) + (SIGN if negative else 0)


def random_words(count: int, seed: int = 0) -> np.ndarray:
    return np.random.Philox(seed).random_raw(count).view(np.int64)


def reference(words: np.ndarray) -> np.ndarray:
    """Box and Muller's formula in numpy's functions, float64."""
    bits = words.view(np.uint64)
    u = ((bits >> np.uint64(31) & np.uint64(2**32 - 1)).astype(float) + 0.5) / 2**32
    angle = np.pi / 2 * ((2.0 * (bits >> np.uint64(1) & np.uint64(2**30 - 1)) + 1) / 2**30 - 1)
    sign = np.where(bits >> np.uint64(63), -1.0, 1.0)
    return sign * np.sqrt(-2 * np.log(u)) * np.stack([np.cos(angle), np.sin(angle)])


def test_pairs_are_those_of_the_formula() -> None:
    words = random_words(1_000_000)
    expected = reference(words)
    found = normal_pairs(words, np)
    assert found.dtype == np.float64
    # A float64 angle leaves its cosine that far from right.
    assert np.max(np.abs(found - expected) - 5e-11 * np.abs(expected)) < 2e-15
    single, right = found.astype(np.float32), expected.astype(np.float32)
    apart = np.abs(single.view(np.int32).astype(np.int64) - right.view(np.int32))
    assert apart.max() <= 1  # unit in the last place
    assert (apart > 0).mean() < 1e-3


@pytest.mark.parametrize("radius", [0, 1, 2**31 - 1, 2**31, 3037000499, 3037000500, 2**32 - 1])
@pytest.mark.parametrize("angle", [0, 1, 2**29 - 1, 2**29, 2**30 - 1])
@pytest.mark.parametrize("negative", [False, True])
def test_the_ends_of_the_ranges_are_exact_too(radius: int, angle: int, negative: bool) -> None:
    """mpmath's fifty digits; √½ lies between two of these radii."""
    with mpmath.workdps(50):
        u = (mpmath.mpf(radius) + 0.5) / 2**32
        phi = mpmath.pi / 2 * (mpmath.mpf(2 * angle + 1) / 2**30 - 1)
        size = (-1 if negative else 1) * mpmath.sqrt(-2 * mpmath.log(u))
        expected = [float(size * mpmath.cos(phi)), float(size * mpmath.sin(phi))]
    found = normal_pairs(np.array([word(radius, angle, negative)]), np)[:, 0]
    assert found == pytest.approx(expected, rel=5e-11, abs=0)


def test_no_number_is_zero_or_far_away() -> None:
    ends = [word(r, a) for r in (0, 2**32 - 1) for a in (0, 2**29 - 1, 2**29, 2**30 - 1)]
    found = normal_pairs(np.array([*ends, *range(2), *(SIGN + i for i in range(2))]), np)
    assert np.isfinite(found).all()
    assert (np.abs(found.astype(np.float32)) > 1e-14).all()
    assert np.abs(found).max() == pytest.approx(np.sqrt(66 * np.log(2)), rel=1e-9)


#: torch as it is on a GPU: on a CPU its square root may be MKL's, which is not rounded as IEEE 754 asks.
EXACT_TORCH = SimpleNamespace(
    **{name: getattr(torch, name) for name in ("int64", "float64", "stack", "asarray")},
    sqrt=lambda values: torch.from_numpy(np.sqrt(values.numpy())),
)


@pytest.mark.parametrize("shape", [(1,), (7,), (3, 5), (2, 40_000)])
def test_torch_computes_the_same_bits(shape: tuple[int, ...]) -> None:
    words = random_words(int(np.prod(shape)), seed=1).reshape(shape)
    before = words.copy()
    by_numpy = normal_pairs(words, np)
    by_torch = normal_pairs(torch.from_numpy(words), EXACT_TORCH)
    assert by_torch.dtype == torch.float64
    assert by_numpy.shape == tuple(by_torch.shape) == (2, *shape)
    assert np.array_equal(by_numpy.view(np.int64), by_torch.numpy().view(np.int64))
    assert np.array_equal(words, before)


def chebyshev(function: Callable[[Any], Any], largest: Any, num_terms: int) -> list[float]:
    """The polynomial that meets a function at the Chebyshev nodes of 0 to `largest`, by powers."""
    nodes = [
        largest / 2 * (1 + mpmath.cos(mpmath.pi * (2 * i + 1) / (2 * num_terms)))
        for i in range(num_terms)
    ]
    powers = mpmath.matrix([[node**k for k in range(num_terms)] for node in nodes])
    return [float(c) for c in mpmath.lu_solve(powers, mpmath.matrix([function(n) for n in nodes]))]


def test_coefficients_are_those_of_the_interpolation() -> None:
    with mpmath.workdps(50):
        sine = chebyshev(
            lambda s: mpmath.sin(mpmath.pi / 2 * mpmath.sqrt(s)) / mpmath.sqrt(s),
            mpmath.mpf(1),
            len(SINE),
        )
        logarithm = chebyshev(
            lambda s: -4 * mpmath.atanh(mpmath.sqrt(s)) / mpmath.sqrt(s),
            ((mpmath.sqrt(2) - 1) / (mpmath.sqrt(2) + 1)) ** 2,
            len(LOGARITHM),
        )
    assert tuple(sine) == SINE
    assert tuple(logarithm) == LOGARITHM
