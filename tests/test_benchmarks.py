"""What benchmarks say: timers that add up, goals, and a page that is what was kept."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest

from benchmarks.__main__ import NAMES, load, page
from benchmarks.clock import Clock
from benchmarks.frame import (
    PAGE,
    RESULTS,
    ROOT,
    Goal,
    Outcome,
    Table,
    alternate,
    as_json,
    circumstances,
    from_json,
    spread,
)


class Work:
    """Functions that call each other, and a generator."""

    def outer(self) -> None:
        self.inner()
        self.inner()

    def inner(self) -> None:
        pass

    def items(self) -> object:
        yield from (1, 2, 3)


def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that advances by a second whenever it is read."""
    ticks = iter(range(1000))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(ticks)))


def test_time_in_an_inner_call_counts_there_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    ticking(monkeypatch)
    clock = Clock()
    with clock.around("outer", Work, "outer"), clock.around("inner", Work, "inner"):
        Work().outer()
    # Read six times in a row: the outer call takes five seconds, each inner one of them one.
    assert clock.seconds == {"outer": 3.0, "inner": 2.0}


def test_waiting_for_each_item_of_a_generator_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    ticking(monkeypatch)
    clock = Clock()
    with clock.around_items("wait", Work, "items"):
        assert list(Work().items()) == [1, 2, 3]  # type: ignore[call-overload]
    assert clock.seconds == {"wait": 4.0}  # three items, and the end
    assert list(Work().items()) == [1, 2, 3]  # type: ignore[call-overload]
    assert clock.seconds == {"wait": 4.0}


def test_what_comes_first_changes_from_round_to_round() -> None:
    called = []
    pairs = alternate(3, lambda: called.append("a") or 1, lambda: called.append("b") or 2)
    assert called == ["a", "b", "b", "a", "a", "b"]
    assert pairs == [(1, 2)] * 3


def test_goals_say_whether_they_are_met() -> None:
    assert str(Goal("ratio", 0.59, 0.6)) == "ratio: 0.59, goal at most 0.6: met"
    assert Goal("times faster", 2.9, 3.0, at_least=True).is_met is False
    assert str(Goal("peak", 1.2, 1.0, unit="GiB")).endswith("1.2 GiB, goal at most 1 GiB: NOT met")


def test_medians_stand_with_their_ranges() -> None:
    assert spread([0.5, 0.7, 0.55]) == "0.55 (0.50 to 0.70)"
    assert spread([3.0], ".1f") == "3.0"


def test_an_outcome_is_read_as_it_was_kept() -> None:
    table = Table("of steps", ("what", "s"), (("run", "1.0"),))
    outcome = Outcome([table], [Goal("g", 1.0, 2.0)], ("a note",), {"seconds": [1.0]})
    found, seconds, where = from_json(as_json(outcome, 12.3, {"machine": "a CPU"}))
    assert (seconds, where) == (12, {"machine": "a CPU"})
    assert found.goals == outcome.goals
    assert found.numbers == outcome.numbers
    assert found.tables[0].text() == table.text()
    assert "│ run  │ 1.0 │" in table.text()


def test_the_page_is_what_was_kept() -> None:
    """`make bench`, or `python -m benchmarks --write-page`, writes it."""
    assert PAGE.read_text() == page()


def test_every_benchmark_says_what_it_measures() -> None:
    described = [load(name) for name in NAMES]
    assert len({benchmark.title for benchmark in described}) == len(NAMES)
    assert all(benchmark.method.endswith(".") for benchmark in described)


def test_a_revision_is_dirty_by_what_benchmarks_do_not_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> None:
        known = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        subprocess.run(["git", *known, *arguments], cwd=tmp_path, check=True, capture_output=True)

    files = {name: tmp_path / name for name in ("code.py", "docs/page.md", "results/one.json")}
    for file in files.values():
        file.parent.mkdir(exist_ok=True)
        file.write_text("1")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "all")
    monkeypatch.setattr("benchmarks.frame.ROOT", tmp_path)
    monkeypatch.setattr("benchmarks.frame.PAGE", files["docs/page.md"])
    monkeypatch.setattr("benchmarks.frame.GPU_PAGE", files["docs/page.md"])
    monkeypatch.setattr("benchmarks.frame.RESULTS", tmp_path / "results")
    for written in ("docs/page.md", "results/one.json"):
        files[written].write_text("2")
    clean = circumstances()["revision"]
    assert re.fullmatch("[0-9a-f]{7,}", clean)
    files["code.py"].write_text("2")
    assert circumstances()["revision"] == f"{clean}-dirty"


def test_the_page_of_uncertainty_has_the_coverage_that_was_kept() -> None:
    """Row by row, as Markdown."""
    told = (ROOT / "docs" / "uncertainty.md").read_text()
    outcome, _, _ = from_json((RESULTS / "coverage.json").read_text())
    rows = [row for table in outcome.tables for row in table.rows]
    assert len(rows) > 40
    assert [row for row in rows if f"\n| {' | '.join(row)} |\n" not in told] == []
