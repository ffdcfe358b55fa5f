"""States, forcing and noise for one step of a small emulator."""

from __future__ import annotations

import torch

from respeval.emulator.noise import CounterNoise
from respeval.fields.grid import Grid
from tests.support.studies import GRID


def inputs(num_members: int = 3, grid: Grid = GRID) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    state = 280 + 5 * torch.randn(num_members, 3, *grid.shape, generator=generator)
    forcing = torch.rand(2, num_members, 3, *grid.shape, generator=generator)
    forcing[:, :, 2] += 290.0
    return state, forcing[0], forcing[1]


def noise(*samples: int, step: int = 0) -> CounterNoise:
    return CounterNoise(7, [(sample, 0) for sample in samples], step)
