"""What a part of `make gpu` is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.frame import Outcome
from benchmarks.gpu.setting import Setting


@dataclass(frozen=True)
class Part:
    """title, method: what the page says of it. limit_s: after which it is cut off.

    run: yields what was found so far, each time with more in it, so that little is lost by a cut. Raises
    LeftOutError where it can't be measured here.
    """

    title: str
    method: str
    limit_s: float
    run: Callable[[Setting], Iterator[Outcome]]


class LeftOutError(Exception):
    """Why a part has nothing to measure here."""


class FailedError(Exception):
    """What a part found to be wrong, beside what it yielded."""
