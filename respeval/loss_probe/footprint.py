"""What a gradient probe takes: memory by what runs again instead of being kept, and time."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import nn

from respeval.interpreter import give_back_freed
from respeval.loss_probe.activations import CHOICES, Kept, Recompute, measure_kept
from respeval.loss_probe.gradients import Probe
from respeval.loss_probe.pairs import Batch
from respeval.loss_probe.profile import sum_dtypes
from respeval.plan.memory import measure_peak, memory_held

#: Of the memory that is free, what a probe takes: others may need theirs.
_SHARE = 0.5

#: Copies of the scored outputs that a loss and its way back hold at a time, without those of each arm.
_COPIES, _COPIES_OF_ARM = 12, 2


#: Of a forward pass; a shorter one is measured the second time.
_LONG_S = 10.0


@dataclass(frozen=True)
class Footprint:
    """Bytes and seconds of a probe on one process, beside what the process holds already.

    kept: of one trajectory's forward pass, which takes `forward_s`. work: what it holds at most beside
    that, as the way back does. fields: scored outputs of one trajectory. sums: of all gradients over
    batches. gradients: of all filters once; largest: of one.
    """

    kept: Kept
    work: int
    forward_s: float
    num_trajectories: int
    num_arms: int
    fields: int
    sums: int
    gradients: int
    largest: int

    def memory(self, recompute: Recompute) -> int:
        """Bytes that the probe takes at most."""
        loss = self.fields * self.num_trajectories * (_COPIES + _COPIES_OF_ARM * self.num_arms)
        waiting = 0
        if recompute == "trajectories" and self.num_trajectories > 1:
            waiting = self.num_arms * self.gradients
        at_once = 1 if recompute == "trajectories" else self.num_trajectories
        graph = self.kept.graph(recompute, self.num_trajectories) + at_once * self.work
        # One filter's gradient is made beside the one that is being taken in.
        return graph + loss + self.sums + waiting + 2 * self.largest

    def seconds(self, recompute: Recompute) -> float:
        """Seconds of a batch, a way back taken for two forward passes."""
        again = self.num_arms if recompute != "nothing" and self.kept.can_repeat else 0
        passes = 1 + 2 * self.num_arms + again + (recompute == "trajectories")
        return passes * self.num_trajectories * self.forward_s

    def choice(self, free: int) -> Recompute:
        """The first of `CHOICES` whose memory fits into the free bytes, else the last."""
        fitting = (c for c in CHOICES if self.memory(c) <= _SHARE * free)
        return next(fitting, CHOICES[-1])


def measure_footprint(probe: Probe, batch: Batch, num_batches: int) -> Footprint:
    """What a probe of this batch takes, found by one trajectory's forward pass."""
    assert isinstance(probe.emulator, nn.Module)
    made: list[torch.Tensor] = []

    def forward() -> torch.Tensor:
        made.append(probe.predict(batch, [(0, 0)]))
        return made[0]

    device = batch.state.device
    network, blocks = probe.emulator, probe.blocks()
    for _ in range(2):
        give_back_freed()
        before, begun = memory_held(device), _now(device)
        peak, kept = measure_peak(device, lambda: measure_kept(network, blocks, forward))
        spent = _now(device) - begun
        # A first pass loads and plans for a second or two. Those that share fields do the same.
        is_long = torch.tensor(float(spent > _LONG_S), device=device)
        if probe.mesh.total(is_long) > 0:
            break
    sizes = [entry.parameter.nbytes for entry in probe.filters]
    num_arms = len(probe.arms)
    sums = [
        size * dtype.itemsize // entry.parameter.dtype.to_real().itemsize
        for size, entry, dtype in zip(
            sizes, probe.filters, sum_dtypes(probe.filters, num_arms, num_batches), strict=False
        )
    ]
    return Footprint(
        kept,
        max(0, peak - before),
        spent,
        len(batch.rows) * probe.ensemble.num_members,
        num_arms,
        probe.normalize.mean.nbytes,
        num_arms * sum(sums),
        sum(sizes),
        max(sizes),
    )


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
