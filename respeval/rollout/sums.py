"""Sums over members and steps: who is in which group, and means that are divided last.

`MemberSums` takes one stacked tensor per step; at a segment's end its totals are encoded into
`GroupSums`, which are added across processes as one packed buffer and divided by their counts once.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from respeval.distributed.comm import Comm
from respeval.distributed.mesh import Tile
from respeval.rollout.members import Member

#: The most steps whose outputs wait to be added together on a CPU, and the most memory for them.
WAITING_STEPS, WAITING_BYTES = 4, 2**25

#: Totals that stay in a core's cache while the waiting outputs are added to them.
PIECE = 2**15


class MemberSums:
    """Running float64 totals of each member of this process over the steps of a segment.

    On a CPU the outputs of a few steps wait to be added together, one piece of the totals after the
    other, so that a piece is read and written once for all of them; every number gets the same
    additions in the same order. Outputs must not be changed after they were given.
    """

    def __init__(self, shape: Sequence[int], device: torch.device) -> None:
        self._total = torch.zeros(tuple(shape), dtype=torch.float64, device=device)
        self._waiting: list[NDArray[np.floating]] = []
        self._most_waiting = most_waiting(self._total.numel())
        self.num_steps = 0

    @property
    def total(self) -> torch.Tensor:
        """Of all steps so far, [member, output, lat, lon]."""
        self._add_waiting()
        return self._total

    def add(self, outputs: torch.Tensor) -> None:
        """Add one step's outputs, [member, output, lat, lon]."""
        self.num_steps += 1
        if self._total.device.type != "cpu":
            self._total += outputs
            return
        self._waiting.append(outputs.numpy().reshape(-1))
        if len(self._waiting) == self._most_waiting:
            self._add_waiting()

    def _add_waiting(self) -> None:
        total = self._total.numpy().reshape(-1) if self._waiting else np.empty(0)
        width = PIECE if len(self._waiting) > 1 else max(1, len(total))
        for first in range(0, len(total), width):
            piece = total[first : first + width]
            for outputs in self._waiting:
                # numpy makes a few thousand numbers at a time float64; torch all of them.
                np.add(piece, outputs[first : first + width], out=piece)
        self._waiting.clear()

    def reset(self) -> None:
        self._waiting.clear()
        self._total.zero_()
        self.num_steps = 0

    def restore(self, total: torch.Tensor, num_steps: int) -> None:
        """Go on from the totals of `num_steps` steps, [member, output, lat, lon]."""
        self._waiting.clear()
        self._total.copy_(total)
        self.num_steps = num_steps


def most_waiting(numbers_per_step: int) -> int:
    """Steps whose float32 outputs wait together: few, and within `WAITING_BYTES`."""
    return max(1, min(WAITING_STEPS, WAITING_BYTES // max(1, 4 * numbers_per_step)))


@dataclass(frozen=True)
class GroupSums:
    """Totals over members and steps; addition merges, `means` divides.

    field: [group, output, lat, lon]; field_count: [group], member-steps.
    zonal: [group, sample, surface, output, lat], totals over steps of the mean over a surface's
        cells of each latitude circle, zero where a circle has no such cell. Of a block of the grid it
        is the block's part of that mean.
    zonal_count: [group, sample], steps.
    member: [group, sample, output, lat, lon], or None where members are not kept.
    """

    field: torch.Tensor
    field_count: torch.Tensor
    zonal: torch.Tensor
    zonal_count: torch.Tensor
    member: torch.Tensor | None = None

    @classmethod
    def encode(
        cls,
        sums: MemberSums,
        members: Sequence[Member],
        num_groups: int,
        num_samples: int,
        surface_masks: torch.Tensor,
        keep_members: bool = False,
        left_out: Collection[Member] = (),
        tile: Tile | None = None,
    ) -> GroupSums:
        """Totals of this process's members by group and sample.

        surface_masks: [surface, lat, lon], bool: `SURFACES`, and maybe more after them; of the whole
        grid. left_out: those that do not count. tile: the block of the grid that `sums` are of.
        """
        total, shape = sums.total, sums.total.shape[1:]
        empty = cls.zeros(
            num_groups, num_samples, len(surface_masks), shape, keep_members, total.device
        )
        field, field_count, zonal, zonal_count, *_ = empty._parts()
        member = empty.member
        masks = surface_masks if tile is None else tile.of(surface_masks)
        rows = slice(None) if tile is None else tile.rows
        num_cells = surface_masks[:, rows].sum(-1)
        for row, (sample, group) in enumerate(members):
            if members[row] in left_out:
                continue
            field[group] += total[row]
            field_count[group] += sums.num_steps
            zonal_count[group, sample] += sums.num_steps
            for s, mask in enumerate(masks):
                zonal[group, sample, s] += circle_means(total[row], mask, num_cells[s])
            if member is not None:
                member[group, sample] += total[row]
        return cls(field, field_count, zonal, zonal_count, member)

    @classmethod
    def zeros(
        cls,
        num_groups: int,
        num_samples: int,
        num_surfaces: int,
        shape: Sequence[int],
        keep_members: bool,
        device: torch.device,
    ) -> GroupSums:
        """Totals of nothing; shape: output, lat, lon."""

        def zeros(*size: int) -> torch.Tensor:
            return torch.zeros(size, dtype=torch.float64, device=device)

        return cls(
            zeros(num_groups, *shape),
            zeros(num_groups),
            zeros(num_groups, num_samples, num_surfaces, *shape[:-1]),
            zeros(num_groups, num_samples),
            zeros(num_groups, num_samples, *shape) if keep_members else None,
        )

    def at_root(self, comm: Comm, tiles: Sequence[Tile]) -> GroupSums:
        """The sum over all processes, of the whole grid; valid on the root. Every process calls it.

        tiles: the blocks of the grid that the processes of a mesh have, in the order of their places.
        """
        summed = comm.sum_to_root(self.pack())
        if not comm.mesh.is_split:
            return self.unpack(summed)
        groups, samples, surfaces, outputs, _ = self.zonal.shape
        keep = self.member is not None

        def layout(size: tuple[int, int], kind: str) -> GroupSums:
            shape = outputs, *size
            return GroupSums.zeros(groups, samples, surfaces, shape, keep, torch.device(kind))

        whole = layout(tiles[0].shape, "cpu") if comm.is_root else self
        for place, tile in enumerate(tiles):
            part = layout(tile.size, "meta")
            like = torch.empty(part.num_numbers, dtype=torch.float64, device="meta")
            packed = comm.to_root_in_pieces(place, summed, like)
            if packed is not None:
                whole._take(part.unpack(packed), tile)
        return whole

    def _take(self, part: GroupSums, tile: Tile) -> None:
        """Put in the totals of a block; counts are the same in every block."""
        tile.of(self.field).copy_(part.field)
        self.field_count.copy_(part.field_count)
        self.zonal[..., tile.rows] += part.zonal
        self.zonal_count.copy_(part.zonal_count)
        if self.member is not None and part.member is not None:
            tile.of(self.member).copy_(part.member)

    @property
    def num_numbers(self) -> int:
        """How many `pack` gives."""
        return sum(part.numel() for part in self._parts())

    def __add__(self, other: GroupSums) -> GroupSums:
        return self.unpack(self.pack() + other.pack())

    def pack(self) -> torch.Tensor:
        """All totals and counts as one contiguous float64 vector, for one collective."""
        return torch.cat([part.flatten() for part in self._parts()])

    def unpack(self, packed: torch.Tensor) -> GroupSums:
        """The totals in `packed`, which has this object's layout."""
        parts = self._parts()
        pieces = packed.split([part.numel() for part in parts])
        return GroupSums(*(piece.view_as(part) for piece, part in zip(pieces, parts, strict=True)))

    def _parts(self) -> tuple[torch.Tensor, ...]:
        return tuple(part for part in vars(self).values() if part is not None)

    def means(self) -> GroupSums:
        """Totals divided by their counts, which stay; NaN where nothing was counted."""
        steps = self.zonal_count[:, :, None, None, None]
        return GroupSums(
            self.field / self.field_count[:, None, None, None],
            self.field_count,
            self.zonal / steps,
            self.zonal_count,
            None if self.member is None else self.member / steps,
        )


def circle_means(
    field: torch.Tensor, mask: torch.Tensor, num_cells: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean of [..., lat, lon] over the cells of each latitude circle in `mask`, [..., lat].

    num_cells: [lat], of a whole circle, where these longitudes are a part of it; their part of the
    mean is what comes. Zero where a circle has none: the caller knows the mask and says NaN.
    """
    count = mask.sum(-1) if num_cells is None else num_cells
    kept = torch.where(mask, field, torch.zeros((), dtype=field.dtype, device=field.device))
    return kept.sum(-1) / count.clamp(min=1)
