"""Emulators whose fields are split in latitude and longitude over processes.

What `Emulator` says of `localize` and `most_parts`, seen from outside: whether an emulator can be
split into so many parts, that it is, and the gradients of its weights.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from respeval.distributed.mesh import Mesh
from respeval.emulator.contract import Emulator
from respeval.errors import InputError

#: Weights of which the processes of a column have parts, those of a row the same one.
BY_ROWS = "rows"
#: Weights of which every process has a part of its own.
BY_BLOCKS = "blocks"


def most_parts(emulator: Emulator) -> tuple[int, int] | None:
    """The most parts in latitude and in longitude; None where the emulator can't be split."""
    part: Any = emulator
    if not hasattr(emulator, "localize") or _hindrance(emulator) is not None:
        return None
    height, width = part.most_parts
    return int(height), int(width)


def check_split(emulator: Emulator, height: int, width: int, source: str) -> None:
    """Raise InputError where an emulator's fields can't be split into height x width parts.

    source: what to call the emulator, such as the path of its checkpoint.
    """
    if height * width == 1:
        return
    hindrance = _hindrance(emulator)
    if hindrance is not None:
        raise InputError(f"{source} can't be split over processes: it {hindrance}; {_OTHERWISE}")
    most = most_parts(emulator)
    if most is None:
        raise InputError(
            f"{source} can't be split over processes: its reader's {type(emulator).__name__} has no "
            f"`localize`; {_OTHERWISE}"
        )
    grid = emulator.spec.grid
    for parts, mostly, number, what in (
        (height, most[0], grid.num_lat, ("latitude", "rows", "degrees")),
        (width, most[1], grid.num_lon, ("longitude", "columns", "orders")),
    ):
        direction, cells, modes = what
        if parts > mostly:
            has = f"{number} {cells}" if mostly == number else f"{mostly} {modes}"
            raise InputError(
                f"{source} can't be split into {height}x{width} parts: its network has {has}, so that "
                f"{mostly} parts in {direction} are the most"
            )


def localize(emulator: Emulator, mesh: Mesh) -> None:
    """Let an emulator, on the CPU yet, work on this process's block; see `Emulator`.

    Nothing happens where fields are not split. `check_split` says first whether they can be.
    """
    if mesh.is_split:
        part: Any = emulator
        part.localize(mesh)


def split_weight(weight: nn.Parameter, part: torch.Tensor, held: str) -> nn.Parameter:
    """A part of a weight in its place, which has no more of the whole. held: `BY_ROWS`, `BY_BLOCKS`."""
    own = nn.Parameter(part.detach().clone(), weight.requires_grad)
    own.held = held  # type: ignore[attr-defined]
    return own


_OTHERWISE = "leave --spatial out"


def _hindrance(emulator: Emulator) -> str | None:
    reason = getattr(emulator, "split_hindrance", None)
    return None if reason is None else str(reason)
