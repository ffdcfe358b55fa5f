"""What leaves the range of physical values, found without waiting for the device at every step."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
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


class Quarantine:
    """The samples that count no more, each with the fault of one of its members that put it there.

    fail_fast: whether the first fault ends the run instead.
    """

    def __init__(self, num_samples: int, fail_fast: bool) -> None:
        self._num_samples, self._fail_fast = num_samples, fail_fast
        self._faults: dict[int, Fault] = {}

    @property
    def samples(self) -> Collection[int]:
        return self._faults.keys()

    def new_faults(self, found: Iterable[Fault]) -> list[Fault]:
        """Those of samples that still count. Raises BlowUpError where one ends the run."""
        new = [fault for fault in found if fault.sample not in self._faults]
        if new and self._fail_fast:
            raise BlowUpError(f"the emulator blew up: {new[0]}")
        return new

    def leave_out(self, faults: Iterable[Fault]) -> list[Fault]:
        """Let the samples of these faults count no more; returns the first fault of each new one.

        Raises BlowUpError where no sample is left.
        """
        new = []
        for fault in sorted(faults, key=_step_and_sample):
            if fault.sample not in self._faults:
                self._faults[fault.sample] = fault
                new.append(fault)
        if len(self._faults) == self._num_samples:
            first = min(self._faults.values(), key=lambda fault: fault.step)
            raise BlowUpError(f"the emulator blew up in every sample: {first}")
        return new

    def described(self) -> list[dict[str, Any]]:
        """What the manifest says of each of these samples, in the order of the faults."""
        return [fault._asdict() for fault in sorted(self._faults.values(), key=_step_and_sample)]
