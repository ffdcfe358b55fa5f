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
        cells of each latitude circle, zero where a circle has no such cell.
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
    ) -> GroupSums:
        """Totals of this process's members by group and sample.

        surface_masks: [surface, lat, lon], bool: `SURFACES`, and maybe more after them.
        left_out: those that do not count.
        """
        total, shape = sums.total, sums.total.shape[1:]
        field = total.new_zeros((num_groups, *shape))
        field_count = total.new_zeros(num_groups)
        zonal = total.new_zeros((num_groups, num_samples, len(surface_masks), *shape[:-1]))
        zonal_count = total.new_zeros((num_groups, num_samples))
        member = total.new_zeros((num_groups, num_samples, *shape)) if keep_members else None
        for row, (sample, group) in enumerate(members):
            if members[row] in left_out:
                continue
            field[group] += total[row]
            field_count[group] += sums.num_steps
            zonal_count[group, sample] += sums.num_steps
            for s, mask in enumerate(surface_masks):
                zonal[group, sample, s] += circle_means(total[row], mask)
            if member is not None:
                member[group, sample] += total[row]
        return cls(field, field_count, zonal, zonal_count, member)

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
        parts = (self.field, self.field_count, self.zonal, self.zonal_count)
        return parts if self.member is None else (*parts, self.member)

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


def circle_means(field: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean of [..., lat, lon] over the cells of each latitude circle in `mask`, [..., lat].

    Zero where a circle has none: the caller knows the mask and says NaN.
    """
    kept = torch.where(mask, field, torch.zeros((), dtype=field.dtype, device=field.device))
    return kept.sum(-1) / mask.sum(-1).clamp(min=1)
