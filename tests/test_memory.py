"""What a run must have let go of: outputs before the next step, the emulator before the analysis, and
what was freed.
"""

from __future__ import annotations

import os
import platform
import weakref
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from typer.testing import CliRunner

from respeval.api import one_run
from respeval.cli import app
from respeval.distributed.comm import Comm
from respeval.errors import InputError
from respeval.interpreter import give_back_freed
from respeval.plan.execution import Execution
from respeval.plan.plan import Plan
from respeval.run_folder.output import RunOutput
from respeval.runner import Reporter, execute
from tests.support.invoking import errors_in
from tests.support.toy import Toy, plan
from tests.support.toy import study as toy_study


class Watching(Toy):
    """Notes at each step how many of the earlier steps' outputs are still in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[weakref.ref[torch.Tensor]] = []
        self.held: list[int] = []

    def step(self, *arguments: Any) -> torch.Tensor:
        self.held.append(sum(made() is not None for made in self.made))
        outputs = super().step(*arguments)
        self.made.append(weakref.ref(outputs))
        return outputs


def test_a_step_begins_without_the_outputs_of_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("respeval.rollout.sums.WAITING_STEPS", 1)  # as on a grid that is large
    emulator = Watching()
    planned = plan(toy_study(tmp_path, days=(0,)), emulator, steps=5, segment="3 steps")
    execute(planned, RunOutput(), Comm(), Execution(), Reporter())
    assert emulator.held == [0] * 5


def test_the_emulator_is_gone_when_the_analysis_begins(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulators = []

    def executing(planned: Plan, *arguments: Any) -> None:
        emulators.append(weakref.ref(planned.emulator))
        execute(planned, *arguments)

    def analysing(*_: Any, **__: Any) -> None:
        raise InputError(f"found {[emulator() for emulator in emulators]}")

    monkeypatch.setattr(one_run, "execute", executing)
    monkeypatch.setattr(one_run, "analyse", analysing)
    command = ["run", str(study), "--steps=3", f"--output={tmp_path / 'out'}"]
    assert errors_in(CliRunner().invoke(app, command).stderr) == ["respeval: found [None]"]


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has malloc_trim")
def test_what_was_freed_is_the_systems_again() -> None:
    pieces = [bytes(4096) for _ in range(20_000)]
    kept, full = pieces[::50], resident_bytes()  # some are kept, so that no end of the heap is free
    del pieces
    give_back_freed()
    assert full - resident_bytes() > 20_000 * 4096 / 2
    assert len(kept) == 400


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (AttributeError, OSError, TypeError):
        library = MagicMock(side_effect=error)
        monkeypatch.setattr("ctypes.CDLL", library)
        give_back_freed()
        library.assert_called_once_with(None)
