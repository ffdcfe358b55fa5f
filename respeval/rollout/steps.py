"""The paired rollout of this process's members: a generator of steps, and the guard on its state."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from respeval.distributed.comm import Comm
from respeval.distributed.mesh import Tile
from respeval.emulator.computing import compiled, computing_in
from respeval.emulator.contract import Emulator, Precision
from respeval.emulator.noise import CounterNoise
from respeval.emulator.transforms import fast_transforms
from respeval.fields.forcing import Forcing, Window, sent
from respeval.fields.perturbation import Scope, perturb_initial, perturb_over_ocean
from respeval.rollout.members import Member


class Step(NamedTuple):
    """A step's number, and the outputs [member, output, lat, lon] at its end, physical units.

    Where fields are split, all are this process's block of them.
    conserved: [member, number], what every step of these members needs; see `Emulator.conserve`.
    """

    number: int
    outputs: torch.Tensor
    conserved: torch.Tensor | None


@dataclass(frozen=True)
class Rollout:
    """Members of one process, or of those that share their fields, and what they start from and read.

    emulator: works on this process's block of the grid.
    initial: [sample, prognostic, lat, lon], every sample of the run, physical units.
    patterns: [group, lat, lon], K, SST change of each group; zero for the baseline. Both are whole.
    members_per_batch: members that the emulator steps at once.
    paired_noise: whether all groups of a sample draw the same noise.
    compile: whether the network runs as torch.compile makes it.
    fast_transforms: whether its spectral convolutions are computed in their fast form.
    """

    emulator: Emulator
    forcing: Forcing
    initial: NDArray[np.float64]
    patterns: NDArray[np.float64]
    members: Sequence[Member]
    num_steps: int
    ocean_cutoff: float
    initial_scope: Scope
    seed: int
    paired_noise: bool
    members_per_batch: int
    window_length: int
    comm: Comm
    precision: Precision = "float32"
    compile: bool = False
    fast_transforms: bool = False

    def steps(
        self,
        first_step: int = 0,
        state: torch.Tensor | None = None,
        conserved: torch.Tensor | None = None,
    ) -> Generator[Step, None, None]:
        """Every step from `first_step` on.

        state, conserved: of the members after `first_step` steps; not needed for the step 0.
        """
        if self.members:
            with contextlib.ExitStack() as stack:
                stack.enter_context(computing_in(self.precision, self.emulator, self.device))
                if self.compile:
                    stack.enter_context(compiled(self.emulator))
                if self.fast_transforms:
                    stack.enter_context(fast_transforms(self.emulator))
                yield from self._steps(first_step, state, conserved)

    def _steps(
        self, first_step: int, state: torch.Tensor | None, conserved: torch.Tensor | None
    ) -> Generator[Step, None, None]:
        num_prognostic = len(self.emulator.spec.prognostic)
        samples = sorted({member.sample for member in self.members})
        slots = [samples.index(member.sample) for member in self.members]
        patterns = torch.from_numpy(self.patterns[[m.group for m in self.members]])
        patterns = self.tile.of(patterns).to(self.device, self.dtype)
        for window in self.forcing.windows(
            first_step, self.num_steps, samples, self.window_length, self.dtype, self.comm
        ):
            rows = sent(torch.from_numpy(window.index[slots]), self.device)
            current = self._member_forcing(window, rows[:, 0], patterns)
            if state is None:
                state = self._initial_state(window, rows[:, 0], patterns)
            for k in range(window.num_steps):
                upcoming = self._member_forcing(window, rows[:, k + 1], patterns)
                step = window.first_step + k
                if step == 0:
                    conserved = self._conserve(state, current, upcoming)
                outputs = self._step(state, current, upcoming, conserved, step)
                # Contiguous, so that a state that was saved and read again can't be told apart.
                state, current = outputs[:, :num_prognostic].contiguous(), upcoming
                yield Step(step, outputs, conserved)
                # Nobody reads them any more, and the next step needs the memory.
                del outputs

    @property
    def device(self) -> torch.device:
        return self.comm.device

    @property
    def tile(self) -> Tile:
        """This process's block of the grid."""
        grid = self.emulator.spec.grid
        return self.comm.mesh.tile(grid.shape, grid.north_to_south)

    @property
    def dtype(self) -> torch.dtype:
        return torch.float64 if self.emulator.spec.precision == "float64" else torch.float32

    def _batches(self) -> list[slice]:
        """The members that the emulator steps at once."""
        count, size = len(self.members), self.members_per_batch
        return [slice(first, first + size) for first in range(0, count, size)]

    def _conserve(
        self, state: torch.Tensor, current: torch.Tensor, upcoming: torch.Tensor
    ) -> torch.Tensor | None:
        parts = [self.emulator.conserve(state[b], current[b], upcoming[b]) for b in self._batches()]
        told = [part for part in parts if part is not None]
        return torch.cat(told) if told else None

    def _step(
        self,
        state: torch.Tensor,
        current: torch.Tensor,
        upcoming: torch.Tensor,
        conserved: torch.Tensor | None,
        step: int,
    ) -> torch.Tensor:
        streams = [(m.sample, 0 if self.paired_noise else m.group) for m in self.members]
        parts = []
        for batch in self._batches():
            noise = CounterNoise(self.seed, streams[batch], step, self.device)
            held = None if conserved is None else conserved[batch]
            parts.append(
                self.emulator.step(state[batch], current[batch], upcoming[batch], noise, held)
            )
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _member_forcing(
        self, window: Window, rows: torch.Tensor, patterns: torch.Tensor
    ) -> torch.Tensor:
        """Forcing [member, name, lat, lon] at one time, the SST of each group perturbed."""
        fields = window.fields[rows]
        spec, names = self.emulator.spec, self.forcing.names
        sst, ocean = _channel(names, spec.surface_temperature), _channel(names, spec.ocean_fraction)
        fields[:, sst] = perturb_over_ocean(
            fields[:, sst], fields[:, ocean], patterns, self.ocean_cutoff
        )
        return fields

    def _initial_state(
        self, window: Window, rows: torch.Tensor, patterns: torch.Tensor
    ) -> torch.Tensor:
        spec = self.emulator.spec
        whole = torch.from_numpy(self.initial[[m.sample for m in self.members]])
        state = self.tile.of(whole).to(self.device, self.dtype).contiguous()
        if spec.prescribes_sst:
            at = [variable.name for variable in spec.prognostic].index(
                spec.surface_temperature or ""
            )
            ocean = window.fields[rows, _channel(self.forcing.names, spec.ocean_fraction)]
            state[:, at] = perturb_initial(
                state[:, at], ocean, patterns, self.ocean_cutoff, self.initial_scope
            )
        return state


def _channel(names: Sequence[str], name: str | None) -> int:
    assert name is not None, "a rollout needs surface temperature and ocean fraction"
    return list(names).index(name)
