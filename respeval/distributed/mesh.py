"""Processes that share the fields of their members: each has a block of latitudes and longitudes.

Everything here is the identity where fields are not split.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import Any, TypeVar

import torch

#: A field, or a stack of them: a torch tensor or a numpy array, latitude and longitude last.
Fields = TypeVar("Fields", bound=Any)


@dataclass(frozen=True)
class Tile:
    """A block of a grid: its rows and columns, of fields of this shape in the grid's own order."""

    rows: slice
    columns: slice
    shape: tuple[int, int]

    @classmethod
    def whole(cls, shape: tuple[int, int]) -> Tile:
        """All of a grid."""
        return cls(slice(0, shape[0]), slice(0, shape[1]), shape)

    @property
    def is_whole(self) -> bool:
        return self.size == self.shape

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the block."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def of(self, fields: Fields) -> Fields:
        """The block of whole fields [..., lat, lon]; a view."""
        assert tuple(fields.shape[-2:]) == self.shape
        block: Fields = fields[..., self.rows, self.columns]
        return block


@dataclass(frozen=True)
class Mesh:
    """The height x width processes that share fields, and this one's place among them.

    row, column: of this process; row 0 has the northern end, as transforms want it. polar: the
    processes of this column, azimuth: those of this row, spatial: all of them; data: those that have
    this place among others, with other members. None where that is this process alone.
    """

    height: int = 1
    width: int = 1
    row: int = 0
    column: int = 0
    polar: Any = field(default=None, compare=False, repr=False)
    azimuth: Any = field(default=None, compare=False, repr=False)
    spatial: Any = field(default=None, compare=False, repr=False)
    data: Any = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.height}x{self.width}"

    @property
    def is_split(self) -> bool:
        return self.size > 1

    @property
    def size(self) -> int:
        """Processes that share fields."""
        return self.height * self.width

    @property
    def groups(self) -> list[Any]:
        """Its process groups, each once."""
        own = (self.polar, self.azimuth, self.spatial, self.data)
        return list({id(group): group for group in own if group is not None}.values())

    @property
    def place(self) -> int:
        """This process's number among them, 0 for the one that speaks for all."""
        return self.row * self.width + self.column

    def of_height(self, number: int) -> slice:
        """This process's share of rows from the north, or of degrees."""
        return shares(number, self.height)[self.row]

    def of_width(self, number: int) -> slice:
        """This process's share of columns, or of orders."""
        return shares(number, self.width)[self.column]

    def tile(self, shape: tuple[int, int], north_to_south: bool = True) -> Tile:
        """This process's block of a grid, whose rows may run to the north."""
        return self.at(self.place).own_tile(shape, north_to_south)

    def tiles(self, shape: tuple[int, int], north_to_south: bool = True) -> list[Tile]:
        """The blocks of all processes, in the order of their places."""
        return [self.at(place).own_tile(shape, north_to_south) for place in range(self.size)]

    def at(self, place: int) -> Mesh:
        """The same mesh as another process sees it, without its groups."""
        return Mesh(self.height, self.width, *divmod(place, self.width))

    def own_tile(self, shape: tuple[int, int], north_to_south: bool) -> Tile:
        """See `tile`."""
        rows = self.of_height(shape[0])
        if not north_to_south:
            rows = slice(shape[0] - rows.stop, shape[0] - rows.start)
        return Tile(rows, self.of_width(shape[1]), shape)

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """Element-wise sum over the processes that share fields, on each of them; differentiable.

        Its gradient is that of a loss which is the sum over processes of what each makes of the total.
        """
        return _total(values, self.spatial) if self.is_split else values

    def whole(self, blocks: torch.Tensor, tile: Tile) -> torch.Tensor:
        """Whole fields [..., lat, lon] on every process that has a block of them; no gradient goes back.

        blocks: this process's. tile: where they are.
        """
        if not self.is_split:
            return blocks
        fields = blocks.new_zeros(*blocks.shape[:-2], *tile.shape)
        tile.of(fields).copy_(blocks)
        return self.total(fields)

    def row_total(self, values: torch.Tensor) -> torch.Tensor:
        """`total` over the processes of this row alone."""
        return _total(values, self.azimuth) if self.width > 1 else values

    def column_total(self, values: torch.Tensor) -> torch.Tensor:
        """`total` over the processes of this column alone."""
        return _total(values, self.polar) if self.height > 1 else values

    def across_row(
        self, parts: Sequence[torch.Tensor], shapes: Sequence[Sequence[int]]
    ) -> list[torch.Tensor]:
        """One part to each process of this row, and one from each of them; differentiable.

        parts: real, in the order of columns. shapes: of those that come. Parts may be empty.
        """
        return _exchange(parts, shapes, self.azimuth) if self.width > 1 else list(parts)

    def across_column(
        self, parts: Sequence[torch.Tensor], shapes: Sequence[Sequence[int]]
    ) -> list[torch.Tensor]:
        """`across_row` with the processes of this column, in the order of rows."""
        return _exchange(parts, shapes, self.polar) if self.height > 1 else list(parts)


def _total(values: torch.Tensor, group: Any) -> torch.Tensor:
    total: torch.Tensor = _Total.apply(values, group)  # type: ignore[no-untyped-call]
    return total


def _exchange(
    parts: Sequence[torch.Tensor], shapes: Sequence[Sequence[int]], group: Any
) -> list[torch.Tensor]:
    sent = torch.cat([part.reshape(-1) for part in parts])
    sizes = [math.prod(shape) for shape in shapes]
    received: torch.Tensor = _Exchange.apply(  # type: ignore[no-untyped-call]
        sent, [part.numel() for part in parts], sizes, group
    )
    return [piece.view(*shape) for piece, shape in zip(received.split(sizes), shapes, strict=True)]


class _Exchange(torch.autograd.Function):
    """Pieces of a flat tensor, one to each process of a group; gradients go the other way.

    torch.distributed's form for flat tensors is the one whose pieces may differ in size on gloo too.
    """

    @staticmethod
    def forward(
        ctx: Any, sent: torch.Tensor, given: list[int], taken: list[int], group: Any
    ) -> torch.Tensor:
        ctx.sizes, ctx.group = (given, taken), group
        received = sent.new_empty(sum(taken))
        torch.distributed.all_to_all_single(received, sent, taken, given, group=group)
        return received

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        given, taken = ctx.sizes
        gradient = gradients[0].new_empty(sum(given))
        torch.distributed.all_to_all_single(
            gradient, gradients[0].contiguous(), given, taken, group=ctx.group
        )
        return gradient, None, None, None


class _Total(torch.autograd.Function):
    """A sum over processes. Each of them may use it, so that gradients are summed as well."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, group: Any) -> torch.Tensor:
        ctx.group = group
        total = values.contiguous().clone()
        torch.distributed.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        total = gradients[0].contiguous().clone()
        torch.distributed.all_reduce(total, group=ctx.group)
        return total, None


def make_mesh(rank: int, num_processes: int, height: int, width: int, timeout: timedelta) -> Mesh:
    """The mesh of height x width processes that this one is part of; every process calls it.

    Consecutive ranks share fields; the number of processes is a multiple of height x width. timeout:
    of collectives. Groups are made one by one, because a DeviceMesh leaves them torch's timeouts.
    """
    ranks = torch.arange(num_processes).view(-1, height, width)
    lines = {"spatial": ranks.flatten(1), "data": ranks.flatten(1).T}
    if height > 1 and width > 1:
        lines |= {"azimuth": ranks.flatten(0, 1), "polar": ranks.mT.flatten(0, 1)}
    if num_processes == height * width:
        del lines["data"]
    own: dict[str, Any] = {}
    for name, groups in lines.items():
        for members in groups.tolist():
            # Every process makes every group, in the same order, whether it is in it or not.
            made = torch.distributed.new_group(members, timeout=timeout)
            if rank in members:
                own[name] = made
    if height == 1 or width == 1:
        own["polar" if width == 1 else "azimuth"] = own["spatial"]
    row, column = divmod(rank % (height * width), width)
    return Mesh(height, width, row, column, **own)


def shares(number: int, parts: int) -> list[slice]:
    """So many things dealt as evenly as they go, in order; some get none where there are too few."""
    least, more = divmod(number, parts)
    starts = [part * least + min(part, more) for part in range(parts + 1)]
    return [slice(*bounds) for bounds in pairwise(starts)]
