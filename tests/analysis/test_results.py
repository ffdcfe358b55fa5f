"""How the results of a run are written: by one thread, while another one draws."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from respeval.analysis import results
from respeval.plotting import Pictures
from tests.support.toy import Toy, plan, study


class Held:
    """Garbage in a cycle, as a netCDF file behind an error's traceback is: what closes it is `closed`."""

    def __init__(self, closed: list[bool], writing: threading.Event) -> None:
        self.own, self.closed, self.writing = self, closed, writing

    def __del__(self) -> None:
        self.closed.append(self.writing.is_set())


def test_no_file_is_closed_by_the_collector_while_another_thread_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """netCDF's library is not to be called by two threads."""
    from tests.support.studies import run

    closed: list[bool] = []
    writing, drawn = threading.Event(), threading.Event()
    write = results._write

    def writes(*arguments: Any) -> None:
        writing.set()
        assert drawn.wait(30)
        write(*arguments)
        writing.clear()

    def draws(*rest: Any) -> None:
        if writing.wait(1):
            Held(closed, writing)
            for _ in range(20_000):  # enough for the collector to come, if it may
                cycle: list[Any] = []
                cycle.append(cycle)
            drawn.set()

    monkeypatch.setattr(results, "_write", writes)
    monkeypatch.setattr(Pictures, "draw", draws)
    run(plan(study(tmp_path / "study"), Toy(noise_K=0.5)), tmp_path / "out")
    assert drawn.is_set()
    assert True not in closed
