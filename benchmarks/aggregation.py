"""The sums alone against the straightforward way, in time and in what is lost to rounding."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from benchmarks.frame import Benchmark, Goal, Options, Outcome, Table, alternate, spread
from respeval.rollout.members import Member
from respeval.rollout.sums import GroupSums, MemberSums

CPU = torch.device("cpu")
NUM_OUTPUTS, GROUPS, SAMPLES = 40, 4, 2
NUM_FIELDS = 8
MEMBERS = [Member(sample, group) for sample in range(SAMPLES) for group in range(GROUPS)]

Step = TypeVar("Step")


class MaskedSums:
    """How a notebook does it: a dictionary of fields, boolean member masks, float32 sums by group."""

    def __init__(
        self, names: list[str], shape: tuple[int, int], device: torch.device = CPU
    ) -> None:
        groups = torch.tensor([member.group for member in MEMBERS], device=device)
        self._masks = [groups == group for group in range(GROUPS)]
        self.totals = {n: [torch.zeros(shape, device=device) for _ in self._masks] for n in names}
        self.counts = [0] * GROUPS

    def add(self, fields: dict[str, torch.Tensor]) -> None:
        """Add one step's fields, each [member, lat, lon]."""
        for name, field in fields.items():
            for group, mask in enumerate(self._masks):
                self.totals[name][group] += field[mask].sum(dim=0)
        for group, mask in enumerate(self._masks):
            self.counts[group] += int(mask.sum())


def seconds_per_step(
    add: Callable[[Step], None], steps: Sequence[Step], at_least_s: float
) -> float:
    """Of these steps, added again and again; several, because in a run none is in a cache."""
    for step in steps:
        add(step)
    begun, number = time.perf_counter(), 0
    while time.perf_counter() - begun < at_least_s:
        for step in steps:
            add(step)
        number += len(steps)
    return (time.perf_counter() - begun) / number


def ratios(shape: tuple[int, int], options: Options) -> list[tuple[float, float]]:
    """Seconds per step of both ways, in every round. A rollout makes its outputs stacked."""
    stacked = [torch.randn(len(MEMBERS), NUM_OUTPUTS, *shape) + 288.0 for _ in range(NUM_FIELDS)]
    names = [f"variable_{i}" for i in range(NUM_OUTPUTS)]
    fields = [{n: step[:, i].contiguous() for i, n in enumerate(names)} for step in stacked]
    ours, masked = MemberSums(stacked[0].shape, CPU), MaskedSums(names, shape)
    span = 0.05 if options.quick else 3.0
    return alternate(
        options.rounds,
        lambda: seconds_per_step(ours.add, stacked, span),
        lambda: seconds_per_step(masked.add, fields, span),
    )


def errors(num_steps: int) -> tuple[float, float]:
    """Largest error of a group's mean, K, of both ways after so many steps of weather at 288 K.

    The steps come from 64 fields in turn, whose mean is known exactly: float32 numbers near 288 K are
    multiples of 2^-15 K, so that float64 adds this many of them without rounding at all.
    """
    shape, num_fields = (2, 3), 64
    generator = torch.Generator().manual_seed(0)
    drawn = 288.0 + 5.0 * torch.randn(num_fields, len(MEMBERS), 1, *shape, generator=generator)
    assert num_steps % num_fields == 0, "every field as often"
    by_group = drawn.double().view(num_fields, SAMPLES, GROUPS, *shape)
    exact = by_group.mean(dim=(0, 1))
    ours, masked = MemberSums((len(MEMBERS), 1, *shape), CPU), MaskedSums(["t"], shape)
    fields = [{"t": step[:, 0]} for step in drawn]
    for number in range(num_steps):
        ours.add(drawn[number % num_fields])
        masked.add(fields[number % num_fields])
    everywhere = torch.ones(3, *shape, dtype=torch.bool)
    means = GroupSums.encode(ours, MEMBERS, GROUPS, SAMPLES, everywhere).means()
    straight = [t / n for t, n in zip(masked.totals["t"], masked.counts, strict=True)]
    of_ours = float((means.field[:, 0] - exact).abs().max())
    of_masked = float((torch.stack(straight).double() - exact).abs().max())
    return of_ours, of_masked


def run(options: Options) -> Outcome:
    shapes = [(16, 32)] if options.quick else [(45, 90), (180, 360)]
    num_steps = 6_400 if options.quick else 1_000_000
    rows, goals, numbers = [], [], {}
    for shape in shapes:
        pairs = ratios(shape, options)
        faster = [masked / ours for ours, masked in pairs]
        ours, masked = ([1e3 * pair[i] for pair in pairs] for i in (0, 1))
        heading = f"{shape[0]} x {shape[1]}"
        rows.append((heading, spread(ours), spread(masked), spread(faster, ".1f")))
        numbers[heading] = pairs
        goals.append(
            Goal(f"{heading}: times faster", statistics.median(faster), 3.0, at_least=True)
        )
    own, straight = errors(num_steps)
    numbers["errors"] = {"num_steps": num_steps, "ours": own, "masked": straight}
    goals.append(Goal(f"error after {num_steps:,} steps", own, 1e-9, unit="K"))
    accuracy = Table(
        f"Largest error of a mean near 288 K after {num_steps:,} steps, K",
        ("respeval, float64", "masks, float32"),
        [(f"{own:.1e}", f"{straight:.1e}")],
    )
    speed = Table(
        f"Milliseconds per step: {len(MEMBERS)} members, {NUM_OUTPUTS} outputs",
        ("grid", "respeval", "masks", "times faster"),
        rows,
    )
    return Outcome([speed, accuracy], goals, (), numbers)


BENCHMARK = Benchmark(
    "Aggregation: the sums alone",
    "`MemberSums` of `respeval/rollout/sums.py`, float64, against the straightforward way: a dictionary "
    "of fields, a boolean mask of members for each group, one float32 sum per field and group. Four "
    "climates of two samples. The error is that of the groups' means against exact ones.",
    run,
)
