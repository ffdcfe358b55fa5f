"""Random numbers of stochastic emulators, the same whoever draws them, on whatever device."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from respeval.emulator.box_muller import normal_pairs

if TYPE_CHECKING:
    import torch

#: How the numbers are made. Where a bit of them changes it needs another name: a run keeps to its own.
METHOD = "Philox4x64-10, Box-Muller"

#: Words that become numbers at a time: on a CPU their temporaries stay in a core's cache; on a GPU they
#: are what ACE2 needs for a sample at 1 degree, and take half a gigabyte.
CPU_PIECE, GPU_PIECE = 2**14, 2**23


class NoiseSource(Protocol):
    """Where a stochastic emulator gets its random numbers for one step."""

    def normal(self, *shape: int) -> torch.Tensor:
        """Standard normal numbers, [member, *shape], float32; a new draw at every call."""
        ...


@dataclass
class CounterNoise:
    """Normal numbers that depend on (seed, stream, step, number of the draw) and on nothing else.

    Each member's numbers come from their own Philox counter (Salmon et al. 2011), so that they are
    the same in any batch, window or number of processes. Members with equal streams get equal noise.
    They are drawn on `device`, the CPU where it is None, to the same bits on all of them.

    streams: one (sample, branch) pair per member; with paired noise every branch is 0.

    >>> drawn = CounterNoise(seed=0, streams=[(0, 0), (0, 0), (1, 0)], step=7).normal(3)
    >>> bool((drawn[0] == drawn[1]).all()), bool((drawn[0] == drawn[2]).any())
    (True, False)
    >>> alone = CounterNoise(seed=0, streams=[(1, 0)], step=7).normal(3)  # in another batch
    >>> bool((alone[0] == drawn[2]).all())
    True
    """

    seed: int
    streams: Sequence[tuple[int, int]]
    step: int
    device: torch.device | None = None
    _num_draws: int = field(default=0, init=False)

    def normal(self, *shape: int) -> torch.Tensor:
        """See `NoiseSource.normal`."""
        import torch

        distinct = list(dict.fromkeys(self.streams))
        # The lowest counter word runs within a draw; the others tell draws and steps apart.
        draw = Draw(self.seed, distinct, self._num_draws, self.step, math.prod(shape))
        self._num_draws += 1
        if self.device is None or self.device.type == "cpu":
            drawn = torch.from_numpy(draw.by_numpy())
        else:
            drawn = draw.by_torch(self.device)
        drawn = drawn.view(len(distinct), *shape)
        if len(distinct) == len(self.streams):
            return drawn
        if len(distinct) == 1:
            return drawn.expand(len(self.streams), *shape)
        return torch.stack([drawn[distinct.index(stream)] for stream in self.streams])


@dataclass(frozen=True)
class Draw:
    """`size` normal numbers of each stream, [stream, size], float32: computed in either way, the same.

    Word i of a stream's bits gives its numbers i and i + ceil(size / 2).
    """

    seed: int
    streams: Sequence[tuple[int, int]]
    number: int
    step: int
    size: int

    def by_numpy(self, piece: int = CPU_PIECE) -> NDArray[np.float32]:
        """On the CPU, about `piece` words of all streams together at a time."""
        numbers = np.empty((len(self.streams), self.size), np.float32)
        generators = [
            np.random.Philox(
                key=np.array([self.seed, sample], np.uint64),
                counter=np.array([0, self.number, branch, self.step], np.uint64),
            )
            for sample, branch in self.streams
        ]
        for first, stop in self._pieces(piece):
            words = np.stack([bits.random_raw(stop - first) for bits in generators])
            self._place(normal_pairs(words.view(np.int64), np), numbers, first)
        return numbers

    def by_torch(self, device: torch.device, piece: int = GPU_PIECE) -> torch.Tensor:
        """On any device, about `piece` words of all streams together at a time.

        On a GPU a piece takes 250 kernels, and two more for each stream; there are no copies or waits.
        """
        import torch

        from respeval.emulator.philox import philox_words

        numbers = torch.empty(len(self.streams), self.size, dtype=torch.float32, device=device)
        for first, stop in self._pieces(piece):
            # numpy's generator begins with block 1.
            blocks = range(1 + first // 4, 1 - (-stop // 4))
            words = philox_words(self.seed, self.streams, self.number, self.step, blocks, device)
            self._place(normal_pairs(words[:, : stop - first], torch), numbers, first)
        return numbers

    @property
    def _num_words(self) -> int:
        return -(-self.size // 2)

    def _pieces(self, piece: int) -> Iterator[tuple[int, int]]:
        """First word of each piece, and of what follows it; pieces begin with a block's first word."""
        length = 4 * max(1, piece // (4 * len(self.streams)))
        for first in range(0, self._num_words, length):
            yield first, min(first + length, self._num_words)

    def _place(self, pairs: Any, numbers: Any, first: int) -> None:
        """Put the pairs of the words from `first` on where they belong in [..., size]."""
        for start, part in zip((first, self._num_words + first), pairs, strict=True):
            place = numbers[..., start : start + part.shape[-1]]
            place[...] = part[..., : place.shape[-1]]
