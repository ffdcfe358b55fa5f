"""Means over segments of forcing that the diagnostics need beside the outputs, such as the sun's flux.

It is the same in all groups and whatever the emulator does, so that the root reads it again, ahead of
the steps, instead of stepping it with every member.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from respeval.fields.forcing import Forcing
from respeval.fields.grid import FloatArray
from respeval.fields.variables import Variable
from respeval.rollout.segments import Segment

#: Fields of the forcing that are in memory at once.
_FIELDS_AT_ONCE = 32


@dataclass(frozen=True)
class ForcedFlux:
    """A flux that is a forcing. at_end: whether its value at a step's end goes with the step's outputs,
    or the one at its start, which the emulator reads."""

    variable: Variable
    at_end: bool

    @property
    def comment(self) -> str:
        """What its means are of."""
        moment = "end" if self.at_end else "start"
        return f"forcing, the same in every group; of each step the value at its {moment}"


class ForcedMeans:
    """The fluxes' means over each segment, for every sample; another thread reads the next one ahead.

    segments: those of the run, or of what is left of it.
    """

    def __init__(
        self, forcing: Forcing, fluxes: Sequence[ForcedFlux], segments: Sequence[Segment]
    ) -> None:
        self._forcing, self._fluxes, self._segments = forcing, fluxes, segments
        self._closed = threading.Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="forced")
        self._ahead: tuple[tuple[int, int], Future[FloatArray]] | None = None

    def begin(self, first_step: int) -> None:
        """Begin to read the segment that begins here, if there is one."""
        for segment in self._segments:
            if segment.first_step == first_step:
                steps = segment.first_step, segment.stop_step
                self._ahead = steps, self._pool.submit(self._mean, *steps)

    def of(self, segment: Segment) -> FloatArray:
        """The means of a segment, [sample, flux, lat, lon], float64, and begin to read the next one.

        Raises InputError where the forcing can't be read.
        """
        steps, ahead = (segment.first_step, segment.stop_step), self._ahead
        future = ahead[1] if ahead is not None and ahead[0] == steps else None
        found = self._mean(*steps) if future is None else future.result()
        self.begin(segment.stop_step)
        return found

    def close(self) -> None:
        """Read no more."""
        self._closed.set()
        self._pool.shutdown(cancel_futures=True)

    def _mean(self, first_step: int, stop_step: int) -> FloatArray:
        means = []
        for flux in self._fluxes:
            later = int(flux.at_end)
            rows = self._forcing.rows(first_step + later, stop_step + later)
            # Samples of one date, such as realizations, read the same.
            distinct, of_sample = np.unique(rows, axis=0, return_inverse=True)
            means.append(self._mean_of_rows(flux.variable.name, distinct)[of_sample.ravel()])
        return np.stack(means, axis=1)

    def _mean_of_rows(self, name: str, rows: NDArray[np.int64]) -> FloatArray:
        """The mean over each of these series of rows, [series, lat, lon]."""
        every, place = np.unique(rows, return_inverse=True)
        series = place.reshape(rows.shape)
        times = np.stack([np.bincount(own, minlength=every.size) for own in series])
        total = np.zeros(())
        for first in range(0, every.size, _FIELDS_AT_ONCE):
            if self._closed.is_set():
                break
            part = slice(first, first + _FIELDS_AT_ONCE)
            fields = self._forcing.fields_at(every[part], name).astype(np.float64)
            total = total + np.einsum("sr,ryx->syx", times[:, part].astype(np.float64), fields)
        return np.asarray(total / rows.shape[1])
