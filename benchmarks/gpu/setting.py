"""What all parts share: the device, how long they may take, how time is measured there, the studies."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import torch

from benchmarks.studies import Size, native_plan, native_study
from respeval.distributed.comm import Comm
from respeval.emulator.noise import CounterNoise
from respeval.fields.forcing import Window, sent
from respeval.plan.execution import Execution, make_rollout
from respeval.plan.plan import Plan
from respeval.rollout.members import deal_members
from respeval.rollout.steps import Rollout

First = TypeVar("First")
Second = TypeVar("Second")

#: ACE2's 40 outputs and 5 forcings at 6 hours, 45 x 90 and with ACE2's own grid and network.
SMALL = Size((45, 90), 128, 6, 1240, "month")
LARGE = Size((180, 360), 384, 8, 124, "month")
TINY = Size((16, 32), 8, 1, 12, "6 steps")
SAMPLES = 4


@dataclass(frozen=True)
class Setting:
    """Where a part measures.

    quick: sizes that measure nothing. folder: of studies, which the parts share. end: when the part is
    cut off, by time.monotonic.
    """

    device: torch.device
    quick: bool
    folder: Path
    end: float

    @property
    def comm(self) -> Comm:
        return Comm(device=self.device)

    @cached_property
    def sizes(self) -> dict[str, Size]:
        """Heading -> size; each with the starts of four samples."""
        chosen = {"16 x 32": TINY} if self.quick else {"45 x 90": SMALL, "180 x 360": LARGE}
        return {heading: replace(size, num_samples=SAMPLES) for heading, size in chosen.items()}

    @property
    def left_s(self) -> float:
        return self.end - time.monotonic()

    def wait(self) -> None:
        """Until the device has done all that it was asked for."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def seconds(self, action: Callable[[], object]) -> float:
        """Of an action, to the end of what it asks of the device."""
        self.wait()
        begun = time.perf_counter()
        action()
        self.wait()
        return time.perf_counter() - begun

    def per_call(self, action: Callable[[], object], span_s: float = 0.6, most: int = 600) -> float:
        """Median seconds of a call, of three blocks of calls that the host does not wait for one by one.

        span_s: what all blocks may take, about. most: calls that there may be.
        """
        action()  # what only the first one pays
        once = self.seconds(action)
        fitting = int(min(span_s / once, most - 2)) // 3
        count = 1 if self.quick else max(1, fitting)

        def block() -> None:
            for _ in range(count):
                action()

        return statistics.median(self.seconds(block) / count for _ in range(3))

    def alternate(
        self, rounds: int, first: Callable[[], First], second: Callable[[], Second]
    ) -> list[tuple[First, Second]]:
        """As `frame.alternate`, but no further round where there may be no time for it."""
        found: list[tuple[First, Second]] = []
        for number in range(1 if self.quick else rounds):
            begun = time.monotonic()
            if number % 2:
                after = second()
                found.append((first(), after))
            else:
                found.append((first(), second()))
            if self.left_s < 1.5 * (time.monotonic() - begun):
                break
        return found

    def study(self, size: Size) -> Path:
        """The folder of a study, which the first part that asks for it writes."""
        named = f"{size.shape[0]}_{size.embed_dim}_{size.num_layers}"
        folder = self.folder / named
        if not folder.exists():
            begun = self.folder / f"{named}.{time.monotonic_ns()}"
            native_study(begun, size)
            begun.rename(folder)
        return folder

    def plan(self, size: Size, num_samples: int = 1) -> Plan:
        """A baseline and +4 K, of so many starts."""
        asked = size.start_dates()[:num_samples]
        return native_plan(self.study(size), size, start=asked)

    def rollout(
        self, plan: Plan, samples_per_batch: int | None = None, num_samples: int | None = None
    ) -> Rollout:
        """Of the members of so many samples of the plan, default all, on this device."""
        members = deal_members(num_samples or plan.num_samples, len(plan.case.groups), 1)[0]
        execution = Execution(samples_per_batch=samples_per_batch)
        return make_rollout(plan, members, execution, self.comm)


@dataclass(frozen=True)
class Inputs:
    """Fields on the device, [member, …]: all that a step needs."""

    state: torch.Tensor
    forcing: torch.Tensor


def first_inputs(rollout: Rollout) -> Inputs:
    """Of a rollout's members at its first step."""
    members, device = rollout.members, rollout.device
    samples = sorted({member.sample for member in members})
    read = rollout.forcing.read(0, 1, samples, rollout.dtype)
    window = Window(sent(read.fields, device), read.index, 0)
    slots = torch.tensor([samples.index(member.sample) for member in members])
    rows = torch.from_numpy(read.index)[slots, 0].to(device)
    patterns = torch.from_numpy(rollout.patterns[[member.group for member in members]])
    patterns = patterns.to(device, rollout.dtype)
    state = rollout._initial_state(window, rows, patterns)
    return Inputs(state, rollout._member_forcing(window, rows, patterns))


def bare_steps(rollout: Rollout, num_steps: int) -> Iterator[torch.Tensor]:
    """The emulator's steps on tensors that are on the device, and nothing else."""
    given, emulator = first_inputs(rollout), rollout.emulator
    streams = [(member.sample, 0) for member in rollout.members]
    num_prognostic = len(emulator.spec.prognostic)
    state = given.state
    for step in range(num_steps):
        noise = CounterNoise(0, streams, step, rollout.device)
        outputs = emulator.step(state, given.forcing, given.forcing, noise)
        state = outputs[:, :num_prognostic]
        yield outputs


def interpreter_with_fme() -> str | None:
    """This one, where it has fme."""
    return sys.executable if find_spec("fme") else None
