"""Fingerprints of a few fields that a run really read: whether its files are still what they were."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: At most this many dates are kept.
MOST_DATES = 8


def fingerprint(field: NDArray[Any]) -> str:
    """SHA-256 of a field's values in float64, whatever they are stored as; all NaN are one."""
    values = np.ascontiguousarray(field, np.float64)
    # A new array: the field is not ours to change, and -0 and 0 are equal.
    values = np.where(np.isnan(values), np.nan, values + 0.0)
    return hashlib.sha256(values.tobytes()).hexdigest()


class Fingerprints:
    """By step of the run's first sample and by variable, of steps that are multiples of a power of two.

    The power is the smallest with which at most `MOST_DATES` steps are kept, so that a longer run keeps
    some of those that a shorter one kept.
    """

    def __init__(self, kept: Mapping[int, Mapping[str, str]] | None = None) -> None:
        self._kept = {step: dict(found) for step, found in (kept or {}).items()}
        self._every = 1
        self._thin_out()

    @property
    def kept(self) -> dict[int, dict[str, str]]:
        """Step -> variable -> fingerprint, while another thread may add to them."""
        kept = self._kept  # only ever added to; thinned out, it is another one
        return {step: dict(kept[step]) for step in sorted(kept)}

    def wants(self, step: int) -> bool:
        return step % self._every == 0 and step not in self._kept

    def add(self, step: int, found: Mapping[str, str]) -> None:
        self._kept[step] = dict(found)
        self._thin_out()

    def _thin_out(self) -> None:
        while len(self._kept) > MOST_DATES:
            self._every *= 2
            kept = {step: found for step, found in self._kept.items() if step % self._every == 0}
            self._kept = kept
