"""What leaves the range of physical values, found without waiting for the device at every step."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import cftime
import numpy as np
import torch

from respeval.emulator.contract import EmulatorSpec
from respeval.errors import BlowUpError
from respeval.fields.calendar import to_date, to_seconds
from respeval.rollout.members import Member

#: A prognostic value this many scales away from the mean of its normalization is absurd.
MAX_SCALES = 100.0

#: Steps between two readings of the guard on a GPU, where reading makes the host wait.
GUARD_INTERVAL = 32

_step_and_sample = attrgetter("step", "sample")


class Fault(NamedTuple):
    """Where a member left the range of physical values: after which step, and on which date."""

    sample: int
    group: str
    variable: str
    step: int
    date: str
    limits: str

    def __str__(self) -> str:
        return (
            f"{self.variable} of group {self.group}, sample {self.sample} is missing or outside "
            f"{self.limits} at {self.date} (step {self.step})"
        )


class RangeGuard:
    """Finds the first output that is not finite, or the first absurd prognostic value.

    The check runs on the device; `faults` reads its result.
    """

    def __init__(self, spec: EmulatorSpec, members: Sequence[Member], device: torch.device) -> None:
        self._spec, self._members = spec, members
        largest = float(np.finfo(np.float32).max)
        limits = []
        for i, variable in enumerate(spec.outputs):
            low, high = -largest, largest
            if variable.name in spec.normalization and i < len(spec.prognostic):
                mean, scale = spec.normalization[variable.name]
                low = float(np.min(mean)) - MAX_SCALES * scale
                high = float(np.max(mean)) + MAX_SCALES * scale
            limits.append((low, high))
        self._limits = limits
        bounds = torch.tensor(limits, dtype=torch.float64, device=device)
        self._low, self._high = bounds[:, 0], bounds[:, 1]
        shape = (len(members), len(spec.outputs))
        self._first_bad = torch.full(shape, -1, dtype=torch.int64, device=device)
        self._interval = 1 if device.type == "cpu" else GUARD_INTERVAL

    def is_due(self, step: int) -> bool:
        """Whether `faults` is worth its wait at this step."""
        return step % self._interval == 0

    def check(self, outputs: torch.Tensor, step: int) -> None:
        """Note the members and outputs [member, output, lat, lon] that are bad at this step."""
        fields = outputs.flatten(-2)
        # On a CPU these two take an eighth of the time of `aminmax`; a NaN passes through both.
        good = (fields.amin(-1) >= self._low) & (fields.amax(-1) <= self._high)
        fresh = ~good & (self._first_bad < 0)
        self._first_bad = torch.where(fresh, step, self._first_bad)

    def faults(self, groups: Sequence[str], starts: Sequence[cftime.datetime]) -> list[Fault]:
        """The first fault of every member that has one, the earliest of them first."""
        if not bool((self._first_bad >= 0).any()):
            return []
        steps = self._first_bad.cpu().numpy()
        earliest = np.where(steps >= 0, steps, np.iinfo(np.int64).max)
        found = []
        for row in np.flatnonzero((steps >= 0).any(axis=1)):
            member, column = self._members[int(row)], int(earliest[row].argmin())
            variable, step = self._spec.outputs[column], int(steps[row, column])
            start = starts[member.sample]
            date = to_date(to_seconds(start) + (step + 1) * self._spec.timestep_s, start.calendar)
            low, high = self._limits[column]
            found.append(
                Fault(
                    member.sample,
                    groups[member.group],
                    variable.name,
                    step + 1,
                    str(date),
                    f"{low:.4g} to {high:.4g} {variable.units}",
                )
            )
        return sorted(found, key=lambda fault: fault.step)


def earliest(faults: Iterable[Fault], outputs: Sequence[str], groups: Sequence[str]) -> list[Fault]:
    """The first fault of each member, of those that several blocks of its fields have.

    They come by step, sample and group. outputs: in their order, for faults of a member in one step.
    """
    first: dict[tuple[int, str], Fault] = {}
    for fault in sorted(faults, key=lambda fault: (fault.step, outputs.index(fault.variable))):
        first.setdefault((fault.sample, fault.group), fault)
    return sorted(first.values(), key=lambda f: (*_step_and_sample(f), groups.index(f.group)))


class Quarantine:
    """The members that count no more.

    A sample of which a member blew up leaves all groups, so that pairs stay pairs. Where no sample would
    be left, the perturbation that blew up in most of them leaves instead, alone and for good, and the
    samples that only it had put out count again: the other climates are not to pay for it.

    groups: their labels, the baseline first. fail_fast: whether the first fault ends the run instead.
    """

    def __init__(self, groups: Sequence[str], num_samples: int, fail_fast: bool) -> None:
        self._groups, self._num_samples, self._fail_fast = tuple(groups), num_samples, fail_fast
        self._faults: dict[tuple[int, str], Fault] = {}
        self._left: tuple[str, ...] = ()

    @property
    def samples(self) -> Collection[int]:
        """Those that are out, in all groups."""
        return {sample for sample, group in self._faults if group not in self._left}

    @property
    def groups(self) -> tuple[str, ...]:
        """Labels of the perturbations that are out, in the order in which they left."""
        return self._left

    def leaves_out(self, member: Member) -> bool:
        """Whether a member does not count."""
        return member.sample in self.samples or self._groups[member.group] in self._left

    def restore(self, kept: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Go on from what `described` said."""
        for key in ("faults", "quarantined", "quarantined_groups"):
            for fault in (Fault(**entry) for entry in kept.get(key, ())):
                self._faults.setdefault((fault.sample, fault.group), fault)
        self._left = tuple(str(entry["group"]) for entry in kept.get("quarantined_groups", ()))

    def new_faults(self, found: Iterable[Fault]) -> list[Fault]:
        """Those of members that had none. Raises BlowUpError where one ends the run."""
        new = [fault for fault in found if (fault.sample, fault.group) not in self._faults]
        counting = [f for f in new if f.sample not in self.samples and f.group not in self._left]
        if counting and self._fail_fast:
            raise BlowUpError(f"the emulator blew up: {counting[0]}")
        return new

    def leave_out(self, faults: Iterable[Fault]) -> list[Fault]:
        """Take in these faults; returns the first one of each sample that leaves by them.

        Raises BlowUpError where no sample is left whatever perturbation leaves.
        """
        new = []
        for fault in sorted(faults, key=_step_and_sample):
            counted = fault.sample not in self.samples and fault.group not in self._left
            self._faults.setdefault((fault.sample, fault.group), fault)
            if counted:
                new.append(fault)
        self._chosen()
        return new

    def settle(self) -> list[Fault]:
        """Let perturbations leave where no sample is left; returns the first fault of each that does.

        Only where all processes know of the same faults: at a segment's end.
        """
        before, self._left = self._left, self._chosen()
        return [self._first_of(group) for group in self._left if group not in before]

    def _chosen(self) -> tuple[str, ...]:
        """The perturbations that are to leave. Raises BlowUpError where none or no sample would be left."""
        left = self._left
        lost = {sample for sample, group in self._faults if group == self._groups[0]}
        while len({s for s, g in self._faults if g not in left}) == self._num_samples:
            blown = {
                group: {s for s, g in self._faults if g == group} - lost
                for group in self._groups[1:]
                if group not in left
            }
            worst = [group for group in blown if blown[group]]
            if not worst or len(blown) == 1:
                first = min(self._faults.values(), key=_step_and_sample)
                raise BlowUpError(f"the emulator blew up in every sample: {first}")
            left = (*left, min(worst, key=lambda g: (-len(blown[g]), self._first_of(g).step)))
        return left

    def _first_of(self, group: str) -> Fault:
        return min((f for f in self._faults.values() if f.group == group), key=_step_and_sample)

    def described(self) -> dict[str, list[dict[str, Any]]]:
        """What the manifest says: of each sample that is out the first fault, in the order of the faults;
        of each perturbation that is out the first one; and every member's own."""
        ordered = sorted(self._faults.values(), key=_step_and_sample)
        first: dict[int, Fault] = {}
        for fault in ordered:
            if fault.group not in self._left:
                first.setdefault(fault.sample, fault)
        return {
            "quarantined": [fault._asdict() for fault in first.values()],
            "quarantined_groups": [self._first_of(group)._asdict() for group in self._left],
            "faults": [fault._asdict() for fault in ordered],
        }
