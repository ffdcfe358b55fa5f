"""Parts for the driver of `make gpu`: one that ends well, and those that don't."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from benchmarks.frame import Goal, Outcome, Table
from benchmarks.gpu.part import FailedError, LeftOutError, Part
from benchmarks.gpu.setting import Setting


def outcome(value: float) -> Outcome:
    table = Table("found", ("what", "number"), [("it", f"{value:g}")])
    return Outcome([table], [Goal("it", value, 2.0)], ["A note."], {"it": value})


def well(setting: Setting) -> Iterator[Outcome]:
    yield outcome(1.0)
    yield outcome(2.0)


def slow(setting: Setting) -> Iterator[Outcome]:
    yield outcome(1.0)
    time.sleep(600)


def failing(setting: Setting) -> Iterator[Outcome]:
    yield outcome(1.0)
    raise ValueError("no such\nkernel")


def wrong(setting: Setting) -> Iterator[Outcome]:
    yield outcome(3.0)
    raise FailedError("3 is too much")


def dying(setting: Setting) -> Iterator[Outcome]:
    yield outcome(1.0)
    os._exit(7)


def lacking(setting: Setting) -> Iterator[Outcome]:
    raise LeftOutError("there is nothing here")
    yield outcome(1.0)


WELL, SLOW, FAILING, WRONG, DYING, LACKING = (
    Part(run.__name__, "A part.", 60.0, run) for run in (well, slow, failing, wrong, dying, lacking)
)
