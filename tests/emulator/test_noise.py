"""Noise by counter: the same bits however it is drawn, and normal and independent numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from respeval.emulator.box_muller import normal_pairs
from respeval.emulator.noise import CounterNoise, Draw

CPU = torch.device("cpu")
STREAMS = [(0, 0), (3, 1), (2**40, 0)]


def equal_bits(first: Any, second: Any) -> bool:
    first, second = (np.asarray(one) for one in (first, second))
    assert first.dtype == second.dtype == np.float32
    return np.array_equal(first.view(np.int32), second.view(np.int32))


def draw(count: int, *, seed: int = 0, sample: int = 0, number: int = 0, step: int = 0) -> Any:
    return Draw(seed, [(sample, 0)], number, step, count).by_numpy()[0]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 9, 1000, 100_003])
@pytest.mark.parametrize("seed", [0, 2**63 - 1, 2**63 + 5])
def test_torch_draws_the_bits_that_numpy_draws(size: int, seed: int) -> None:
    one = Draw(seed, STREAMS, number=2, step=2**33, size=size)
    expected = one.by_numpy()
    assert expected.shape == (3, size)
    assert equal_bits(one.by_torch(CPU), expected)


@pytest.mark.parametrize("piece", [1, 12, 40, 4096])
def test_pieces_of_any_length_make_the_same_numbers(piece: int) -> None:
    one = Draw(1, STREAMS, number=0, step=4, size=1_001)
    expected = one.by_numpy()
    assert equal_bits(one.by_numpy(piece), expected)
    assert equal_bits(one.by_torch(CPU, piece), expected)


def test_word_i_makes_the_numbers_i_and_half_a_draw_later() -> None:
    """Of numpy's generator, used in the plainest way, for an odd count."""
    bits = np.random.Philox(key=[5, 3], counter=[0, 1, 4, 9])
    pairs = normal_pairs(bits.random_raw(4).view(np.int64), np).astype(np.float32)
    noise = CounterNoise(5, [(3, 4)], 9)
    noise.normal(2)  # the draw before
    assert equal_bits(noise.normal(7)[0], pairs.ravel()[:7])


class OneDevice(TorchDispatchMode):
    """Refuses operations with a tensor of another device, and those that give numbers to the host."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device, self.num_calls = device, 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.num_calls += 1
        result = func(*args, **(kwargs or {}))
        leaves = tree_leaves((args, kwargs, result))
        devices = {leaf.device for leaf in leaves if isinstance(leaf, torch.Tensor)}
        assert devices == {self._device}, func
        return result


@pytest.mark.parametrize("streams", [STREAMS, [(0, 0), (0, 0)], [(0, 0), (1, 0), (0, 0)]])
def test_a_device_draws_without_the_host(streams: list[tuple[int, int]]) -> None:
    """The device `meta` has no numbers to give, and copies to it would show."""
    device = torch.device("meta")
    with OneDevice(device) as mode:
        drawn = CounterNoise(0, streams, 7, device).normal(5, 3)
    assert mode.num_calls > 200
    assert (drawn.device, drawn.shape, drawn.dtype) == (device, (len(streams), 5, 3), torch.float32)


def test_a_device_is_noticed_that_gets_a_copy() -> None:
    device = torch.device("meta")
    with pytest.raises(AssertionError), OneDevice(device):
        torch.ones(3).to(device)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_around_it_changes_no_bit(dtype: torch.dtype) -> None:
    one = Draw(0, STREAMS, number=0, step=0, size=999)
    with torch.autocast("cpu", dtype):
        assert equal_bits(one.by_torch(CPU), one.by_numpy())


def test_members_get_the_noise_of_their_stream_in_any_batch() -> None:
    streams = [(4, 0), (9, 0), (4, 0), (4, 1)]
    together = CounterNoise(7, streams, 3).normal(2, 5)
    assert together.shape == (4, 2, 5)
    for i, stream in enumerate(streams):
        assert equal_bits(CounterNoise(7, [stream], 3).normal(2, 5)[0], together[i])
        assert equal_bits(CounterNoise(7, [stream] * 3, 3).normal(2, 5)[2], together[i])
    others = [together[0], together[1], together[3]]
    others += [
        CounterNoise(7, [(4, 0)], 4).normal(2, 5)[0],
        CounterNoise(8, [(4, 0)], 3).normal(2, 5)[0],
    ]
    assert len({bytes(other.numpy()) for other in others}) == 5


def test_shapes_of_one_number_and_of_none() -> None:
    assert CounterNoise(0, [(0, 0), (1, 0)], 0).normal().shape == (2,)
    assert CounterNoise(0, [(0, 0), (1, 0)], 0).normal(0, 3).shape == (2, 0, 3)


NUM = 4_000_000


@pytest.fixture(scope="module")
def many() -> np.ndarray:
    return draw(NUM, seed=1).astype(np.float64)


def test_numbers_are_standard_normal(many: np.ndarray) -> None:
    """Within four standard errors of the moments, and by Kolmogorov and Smirnov's test."""
    for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10170)):
        error = np.sqrt(variance / NUM)
        assert np.mean(many**power) == pytest.approx(expected, abs=4 * error), power
    assert stats.kstest(many, "norm").pvalue > 0.01
    halves = many.reshape(2, -1)
    assert stats.ks_2samp(*halves).pvalue > 0.01


@pytest.mark.parametrize("beyond", [1.0, 2.0, 3.0, 4.0, 4.5])
def test_tails_hold_as_many_numbers_as_they_should(many: np.ndarray, beyond: float) -> None:
    for side in (many, -many):
        expected = NUM * stats.norm.sf(beyond)
        assert (side > beyond).sum() == pytest.approx(expected, abs=4 * np.sqrt(expected))


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """In its standard errors."""
    return float(np.corrcoef(first, second)[0, 1] * np.sqrt(first.size))


def test_both_numbers_of_a_pair_are_independent(many: np.ndarray) -> None:
    """Also in size; the square of the radius is exponential, and the angle uniform."""
    first, second = many.reshape(2, -1)
    for power in (1, 2, 3):
        assert abs(correlation(first**power, second**power)) < 4
    assert abs(correlation(first, second**2)) < 4
    angle = np.arctan2(second, first)
    assert stats.kstest(angle, "uniform", (-np.pi, 2 * np.pi)).pvalue > 0.01
    assert stats.kstest(first**2 + second**2, "expon", (0, 2)).pvalue > 0.01


def test_neighbours_draws_steps_samples_and_seeds_are_independent() -> None:
    count = 200_000
    own = draw(count)
    others = {
        "draw": draw(count, number=1),
        "step": draw(count, step=1),
        "sample": draw(count, sample=1),
        "seed": draw(count, seed=1),
        "neighbour": np.roll(own, 1),
        "neighbour but one": np.roll(own, 2),
        "longitude": np.roll(own, 360),
    }
    for what, other in others.items():
        for power in (1, 2):
            assert abs(correlation(own**power, other**power)) < 4, what
