"""Random numbers of stochastic emulators, the same whoever draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    import torch


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

        distinct: dict[tuple[int, int], torch.Tensor] = {}
        for sample, branch in self.streams:
            if (sample, branch) in distinct:
                continue
            # The lowest counter word runs within a draw; the others tell draws and steps apart.
            bits = np.random.Philox(
                key=[self.seed, sample], counter=[0, self._num_draws, branch, self.step]
            )
            numbers = np.random.Generator(bits).standard_normal(shape, dtype=np.float32)
            distinct[sample, branch] = torch.from_numpy(np.asarray(numbers)).to(self.device)
        self._num_draws += 1
        return torch.stack([distinct[stream] for stream in self.streams])
