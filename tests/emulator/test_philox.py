"""The words of Philox4x64-10 in torch's signed integers, against numpy's generator."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from respeval.emulator.philox import philox_words

CPU = torch.device("cpu")
LARGEST = 2**64 - 1


def numpy_words(seed: int, stream: tuple[int, int], draw: int, step: int, count: int) -> np.ndarray:
    bits = np.random.Philox(
        key=np.array([seed, stream[0]], np.uint64),
        counter=np.array([0, draw, stream[1], step], np.uint64),
    )
    return bits.random_raw(count)


def torch_words(
    seed: int, streams: list[tuple[int, int]], draw: int, step: int, blocks: range
) -> np.ndarray:
    return philox_words(seed, streams, draw, step, blocks, CPU).numpy().view(np.uint64)


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**63 + 1, LARGEST])
@pytest.mark.parametrize(("draw", "step"), [(0, 0), (1, 2**40 + 3), (2**63, LARGEST)])
def test_words_are_those_of_numpy(seed: int, draw: int, step: int) -> None:
    streams = [(0, 0), (3, 1), (2**33 + 1, 0), (2**63, 2**63 - 1), (LARGEST, LARGEST)]
    found = torch_words(seed, streams, draw, step, range(1, 51))
    assert found.shape == (len(streams), 200)
    for row, stream in zip(found, streams, strict=True):
        assert np.array_equal(row, numpy_words(seed, stream, draw, step, 200))


def test_keys_and_counters_drawn_at_random_give_the_words_of_numpy() -> None:
    chosen = np.random.default_rng(0).integers(0, LARGEST, (200, 5), np.uint64, endpoint=True)
    for seed, sample, branch, draw, step in chosen.tolist():
        found = torch_words(seed, [(sample, branch)], draw, step, range(1, 4))[0]
        assert np.array_equal(found, numpy_words(seed, (sample, branch), draw, step, 12))


def test_blocks_can_be_drawn_from_any_one_on() -> None:
    whole = numpy_words(5, (1, 0), 2, 3, 400)
    assert np.array_equal(torch_words(5, [(1, 0)], 2, 3, range(31, 101))[0], whole[120:])
    assert np.array_equal(torch_words(5, [(1, 0)], 2, 3, range(8, 9))[0], whole[28:32])


def test_a_block_number_beyond_32_bits_is_that_of_numpy() -> None:
    first = 2**32 - 2
    bits = np.random.Philox(key=[1, 2], counter=[first - 1, 0, 0, 4])
    found = torch_words(1, [(2, 0)], 0, 4, range(first, first + 5))[0]
    assert np.array_equal(found, bits.random_raw(20))
