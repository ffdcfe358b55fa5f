"""Batches of consecutive (state, next state) pairs from a training dataset, drawn by a seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from respeval.distributed.mesh import Tile
from respeval.emulator.contract import EmulatorSpec
from respeval.errors import InputError
from respeval.fields.calendar import Duration, to_date
from respeval.fields.forcing import Forcing, sent
from respeval.fields.ranges import RangeCheck
from respeval.fields.records import open_record


@dataclass(frozen=True)
class Batch:
    """Pairs of a batch, physical units.

    state: [sample, prognostic, lat, lon]; forcing, next_forcing: [sample, required_forcing, lat,
    lon]; target: [sample, loss output, lat, lon]; rows: each state's place in the record.
    """

    state: torch.Tensor
    forcing: torch.Tensor
    next_forcing: torch.Tensor
    target: torch.Tensor
    rows: tuple[int, ...]

    def of_tile(self, tile: Tile) -> Batch:
        """The pairs with a block of what the emulator gets; the target stays whole."""
        if tile.is_whole:
            return self
        state, forcing, following = (
            tile.of(fields).contiguous() for fields in (self.state, self.forcing, self.next_forcing)
        )
        return Batch(state, forcing, following, self.target, self.rows)


class Pairs:
    """The batches of a probe: which pairs they hold, and their values when they are read.

    aliases: name of a forcing variable -> its name in the files, used where the file has it.
    ranges: what its values are held against; what is noticed is told there.
    Raises InputError where the record lacks a variable, is on another grid, has gaps, has too few
    pairs, or (when a batch is read) has missing values.
    """

    def __init__(
        self,
        location: str,
        spec: EmulatorSpec,
        num_batches: int,
        batch_size: int,
        seed: int,
        aliases: Mapping[str, str],
        ranges: RangeCheck,
    ) -> None:
        self._spec = spec
        record = open_record(location, ranges.notices)
        times = record["time"].values if "time" in record.dims else np.zeros(0, np.int64)
        num_pairs = len(times) - 1
        if num_pairs < 1:
            raise InputError(
                f"{location} has {len(times)} time{'s' if len(times) != 1 else ''}: the probe needs a "
                "state and the next state, one time step later"
            )
        if num_batches * batch_size > num_pairs:
            raise InputError(
                f"{location} has {num_pairs} pairs of a state and the next; {num_batches} batches of "
                f"{batch_size} need {num_batches * batch_size}: lower --batches or --batch-size"
            )
        drawn = np.random.default_rng(seed).permutation(num_pairs)[: num_batches * batch_size]
        self.rows: NDArray[np.int64] = np.sort(drawn.reshape(num_batches, batch_size), axis=1)
        calendar = str(record.attrs["calendar"])
        states = spec.prognostic + spec.loss_outputs
        self._forcing = Forcing(
            location,
            list(dict.fromkeys([v.name for v in states] + list(spec.required_forcing))),
            spec.grid,
            spec.timestep_s,
            [to_date(times[row], calendar) for row in self.rows.ravel()],
            Duration(1, "step"),
            aliases={k: v for k, v in aliases.items() if k not in record and v in record},
            roles={},
            units=spec.units,
            derived=spec.derived_forcing,
            notices=ranges.notices,
            ranges=ranges,
        )

    def identity(self) -> dict[str, object]:
        """What tells the data from others: see `Forcing.identity`."""
        return self._forcing.identity()

    @property
    def num_batches(self) -> int:
        return int(self.rows.shape[0])

    @property
    def batch_size(self) -> int:
        return int(self.rows.shape[1])

    def read(self, batch: int, dtype: torch.dtype, device: torch.device) -> Batch:
        """One batch. Raises InputError at a missing value."""
        first = batch * self.batch_size
        window = self._forcing.read(0, 1, range(first, first + self.batch_size), dtype)
        fields = sent(window.fields, device)
        index = sent(torch.from_numpy(window.index.T.copy()), device)
        names = self._forcing.names
        now, after = fields[index[0]], fields[index[1]]

        def pick(values: torch.Tensor, wanted: Iterable[str]) -> torch.Tensor:
            chosen = torch.tensor([names.index(name) for name in wanted], dtype=torch.int64)
            return values[:, sent(chosen, device)]

        return Batch(
            pick(now, [variable.name for variable in self._spec.prognostic]),
            pick(now, self._spec.required_forcing),
            pick(after, self._spec.required_forcing),
            pick(after, [variable.name for variable in self._spec.loss_outputs]),
            tuple(int(row) for row in self.rows[batch]),
        )
