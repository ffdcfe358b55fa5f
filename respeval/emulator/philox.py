"""Random bits by key and counter: Philox4x64-10 (Salmon et al. 2011, doi:10.1145/2063384.2063405).

On a CPU numpy has it. Here it is in torch operations on integers, for all other devices, to the same
bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

NUM_ROUNDS = 10

#: What a round multiplies the counter's words 2 and 0 by, and what it adds to the key's two words.
_MULTIPLIERS = (0xCA5A826395121157, 0xD2E7470EE14C6C93)
_KEY_STEPS = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)

_LOWER = 2**32 - 1


def philox_words(
    seed: int,
    streams: Sequence[tuple[int, int]],
    draw: int,
    step: int,
    blocks: range,
    device: torch.device,
) -> torch.Tensor:
    """The four words of each of these blocks, [stream, 4 * block], int64 with the bits of uint64.

    A block's key is [seed, sample], its counter [block, draw, branch, step], for (sample, branch) in
    `streams`; all are from 0 to 2**64 - 1. numpy's first block is number 1.

    Numbers reach the device as parameters of kernels, so that nothing is copied and nobody waits.

    >>> import numpy as np
    >>> words = philox_words(5, [(6, 7)], 8, 9, range(1, 2), torch.device("cpu"))
    >>> bits = np.random.Philox(key=[5, 6], counter=[0, 8, 7, 9])
    >>> bool((words[0].numpy().view(np.uint64) == bits.random_raw(4)).all())
    True
    """
    # The counter's words 0 and 2, and its words 1 and 3: a round does the same to both of each.
    even = torch.empty(2, len(streams), len(blocks), dtype=torch.int64, device=device)
    odd = torch.empty_like(even)
    key = torch.empty(2, len(streams), 1, dtype=torch.int64, device=device)
    torch.arange(blocks.start, blocks.stop, out=even[0, 0])
    even[0, 1:] = even[0, :1]
    odd[0].fill_(_signed(draw))
    odd[1].fill_(_signed(step))
    key[0].fill_(_signed(seed))
    for i, (sample, branch) in enumerate(streams):
        key[1, i].fill_(_signed(sample))
        even[1, i].fill_(_signed(branch))

    multiplier = _column(_MULTIPLIERS, device)
    upper, lower = _upper(multiplier), multiplier & _LOWER
    key_step = _column(_KEY_STEPS, device)
    for _ in range(NUM_ROUNDS):
        factor = even.flip(0)
        even = _high_product(factor, upper, lower)
        even ^= odd
        even ^= key
        odd = factor.mul_(multiplier)
        key += key_step
    return torch.stack((even[0], odd[0], even[1], odd[1]), dim=-1).flatten(1)


def _high_product(a: torch.Tensor, upper: torch.Tensor, lower: torch.Tensor) -> torch.Tensor:
    """The upper 64 of the 128 bits of a · (2^32 upper + lower), all of them unsigned.

    No sum here reaches 2^64: (2^32 - 1)² + 2^32 - 1 is less.
    """
    a_upper, a_lower = _upper(a), a & _LOWER
    middle = _upper(a_lower * lower).add_(a_lower.mul_(upper))
    product = a_upper * lower
    product += middle & _LOWER
    high = a_upper.mul_(upper)
    high += _upper(middle)
    high += _upper(product)
    return high


def _upper(a: torch.Tensor) -> torch.Tensor:
    """The upper 32 of 64 bits; the shift alone would copy the sign into the others."""
    return (a >> 32).bitwise_and_(_LOWER)


def _column(values: tuple[int, int], device: torch.device) -> torch.Tensor:
    column = torch.empty(2, 1, 1, dtype=torch.int64, device=device)
    for row, value in zip(column, values, strict=True):
        row.fill_(_signed(value))
    return column


def _signed(value: int) -> int:
    """The int64 with the bits of a uint64."""
    return value - 2**64 if value >= 2**63 else value
