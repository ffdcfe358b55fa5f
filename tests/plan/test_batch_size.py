"""--samples-per-batch auto: what is tried, what is taken, and what a run that goes on takes."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch

from respeval.distributed.comm import Comm
from respeval.errors import InputError
from respeval.plan.batch_size import candidates, fastest, with_batch_size
from respeval.plan.execution import Execution
from tests.support.invoking import invoked
from tests.support.toy import Toy, plan
from tests.support.toy import study as toy_study

AUTO = Execution(samples_per_batch="auto")


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("respeval.analysis.results.Pictures", MagicMock())


@pytest.mark.parametrize(
    ("num_samples", "expected"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (8, [1, 2, 4, 8])]
)
def test_powers_of_two_and_all_samples_are_tried(num_samples: int, expected: list[int]) -> None:
    assert list(candidates(num_samples)) == expected


def test_the_smallest_of_the_fastest_is_taken() -> None:
    assert fastest({1: 1.0, 2: 0.9, 4: 0.89}) == 2
    assert fastest({1: 1.0, 2: 0.9, 4: 0.87}) == 4
    assert fastest({1: 1.0, 2: 1.0}) == 1


class Timed(Toy):
    """Takes as long as is said for a batch of so many samples, by a clock of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: dict[int, float]) -> None:
        super().__init__()
        self.now, self.seconds = 0.0, seconds
        clock = SimpleNamespace(perf_counter=lambda: self.now)
        monkeypatch.setattr("respeval.plan.rehearsal.time", clock)

    def step(self, state: torch.Tensor, *rest: Any, **more: Any) -> torch.Tensor:
        spent = self.seconds.get(len(state) // 3)  # three groups
        if spent is None:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.now += spent
        return super().step(state, *rest, **more)


@pytest.mark.parametrize(
    ("seconds", "expected", "tried"),
    [
        ({1: 3.0, 2: 4.5, 4: 9.0, 5: 12.0}, 2, [1.0, 0.75, 0.75, 0.8]),
        ({1: 3.0, 2: 6.0, 4: 11.9, 5: 15.0}, 1, [1.0, 1.0, 11.9 / 12, 1.0]),
        ({1: 3.0, 2: 7.2}, 1, [1.0, 1.2]),
        ({1: 3.0, 2: 4.5}, 2, [1.0, 0.75, None]),
    ],
    ids=["fastest", "a tie", "too slow", "out of memory"],
)
def test_the_batch_is_chosen_by_the_time_of_a_member_s_step(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seconds: dict[int, float],
    expected: int,
    tried: list[float | None],
) -> None:
    planned = plan(toy_study(tmp_path, days=(0,) * 5), Timed(monkeypatch, seconds), steps=5)
    execution, found = with_batch_size(planned, Comm(), AUTO, {})
    assert execution.samples_per_batch == expected
    assert found is not None
    assert found["chosen"] == expected
    assert [entry["size"] for entry in found["tried"]] == [1, 2, 4, 5][: len(tried)]
    for entry, wanted in zip(found["tried"], tried, strict=True):
        assert entry["seconds"] == (None if wanted is None else pytest.approx(wanted))


def test_one_sample_that_does_not_fit_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = plan(toy_study(tmp_path), Timed(monkeypatch, {}), steps=5)
    with pytest.raises(InputError, match="don't fit into memory at once"):
        with_batch_size(planned, Comm(), AUTO, {})


def test_a_run_that_goes_on_keeps_its_batch_unless_it_is_given_another() -> None:
    nothing: Any = None
    kept = {"samples_per_batch": {"chosen": 7, "tried": []}}
    for asked, expected in (("auto", 7), (None, 7), (2, 2)):
        execution = Execution(samples_per_batch=asked)  # type: ignore[arg-type]
        found, measured = with_batch_size(nothing, Comm(), execution, kept)
        assert (found.samples_per_batch, measured) == (expected, None)
    assert with_batch_size(nothing, Comm(), Execution(), {})[0] == Execution()
    for broken in ({"chosen": "7"}, {"chosen": 0}, {}, 7):
        with pytest.raises(InputError, match="names no batch size that it began with"):
            with_batch_size(nothing, Comm(), AUTO, {"samples_per_batch": broken})


def test_the_table_is_told_once_and_the_manifest_keeps_it(study: Path, tmp_path: Path) -> None:
    command = ["run", study, "-o", tmp_path / "out", "--segment", "2 steps"]
    command += ["--samples-per-batch", "auto"]
    text = invoked(*command, "--steps", 4).stderr
    found = json.loads((tmp_path / "out" / "manifest.json").read_text())["measured"]
    chosen, tried = (found["samples_per_batch"][key] for key in ("chosen", "tried"))
    assert [entry["size"] for entry in tried] == [1, 2, 3][: len(tried)]
    assert fastest({entry["size"]: entry["seconds"] for entry in tried}) == chosen
    [line] = [line for line in text.splitlines() if "taken" in line]
    assert line.split("│")[1].strip() == str(chosen)
    again = invoked(*command, "--steps", 6, "--extend").stderr
    assert "taken" not in again
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["measured"] == found


@pytest.mark.parametrize("text", ["0", "-1", "some", "1.5", ""])
def test_a_size_that_is_none_is_refused(study: Path, tmp_path: Path, text: str) -> None:
    told = invoked("run", study, "-o", tmp_path, f"--samples-per-batch={text}", code=2).output
    assert "expected a whole number of at least 1, or auto" in told
