"""The driver of `make gpu`: parts that end badly leave their line and what they found, the rest goes on."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.frame import GPU_PAGE
from benchmarks.gpu import __main__ as command
from benchmarks.gpu import driver
from benchmarks.gpu.checks import results
from benchmarks.gpu.parts import NAMES, load
from benchmarks.gpu.record import CUT, DONE, FAILED, KEPT, LEFT_OUT, Entry, keep, page, read
from tests.support.gpu_parts import outcome

WHERE = {"date": "2026-01-01", "revision": "abc", "machine": "m", "load": 0, "device": "a GPU"}
PARTS = "tests.support.gpu_parts"


@pytest.mark.parametrize(
    ("part", "state", "reason", "found"),
    [
        ("WELL", DONE, "", 2.0),
        ("FAILING", FAILED, "ValueError: no such", 1.0),
        ("WRONG", FAILED, "3 is too much", 3.0),
        ("DYING", FAILED, "its process ended with code 7", 1.0),
        ("LACKING", LEFT_OUT, "there is nothing here", None),
    ],
)
def test_a_part_says_how_it_ended_and_what_it_had_found(
    part: str, state: str, reason: str, found: float | None, tmp_path: Path
) -> None:
    entry = driver.run_part(f"{PARTS}:{part}", "cpu", tmp_path, 300.0)
    assert (entry.state, entry.reason) == (state, reason)
    assert (entry.outcome and entry.outcome.numbers["it"]) == found
    assert entry.is_good is (state in (DONE, LEFT_OUT))


def test_a_part_that_takes_too_long_is_cut_and_leaves_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time is over as soon as it has found something."""
    wait, ended = subprocess.Popen.wait, []

    def soon(process: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        if timeout is None:
            ended.append(wait(process))
            return ended[-1]
        while not any(tmp_path.glob("*.json")):
            time.sleep(0.05)
        raise subprocess.TimeoutExpired("a part", timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", soon)
    entry = driver.run_part(f"{PARTS}:SLOW", "cpu", tmp_path, 60.0)
    assert (entry.state, entry.reason) == (CUT, "its time of 60 s was over")
    assert ended == [-9]
    assert entry.outcome is not None
    assert entry.outcome.numbers == {"it": 1.0}


def test_the_parts_after_one_that_fails_run_all_the_same() -> None:
    told = {}
    names = [f"{PARTS}:{part}" for part in ("FAILING", "WELL")]
    assert not driver.run_parts(names, "cpu", 5.0, lambda name, entry: told.update({name: entry}))
    assert [entry.state for entry in told.values()] == [FAILED, DONE]
    assert all(entry.where["python"] for entry in told.values())
    assert driver.run_parts(names[1:], "cpu", 5.0, lambda name, entry: None)


def test_parts_for_which_no_time_is_left_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "run_part", None)  # which is not called
    told = {}
    assert not driver.run_parts(NAMES, "cpu", 0.01, lambda name, entry: told.update({name: entry}))
    assert list(told) == list(NAMES)
    assert {str(entry) for entry in told.values()} == {
        "cut off: the 0.01 minutes were over before it"
    }


def test_results_and_page_grow_with_every_part(tmp_path: Path) -> None:
    kept, shown = tmp_path / "results" / "gpu.json", tmp_path / "page.md"
    first = Entry(DONE, 12.3, WHERE, "", outcome(1.0))
    keep("noise", first, kept, shown)
    assert read(kept)["noise"].outcome.tables[0].rows == [["it", "1"]]
    assert "Nothing has been measured" not in shown.read_text()
    assert '`make gpu GPU_ARGS="--parts noise"`, 12 s: a GPU; 2026-01-01' in shown.read_text()
    keep("overhead", Entry(FAILED, 1.0, WHERE, "ValueError: none", outcome(3.0)), kept, shown)
    assert list(json.loads(kept.read_text())) == ["overhead", "noise"]  # as on the page
    text = shown.read_text()
    assert text.index("## Overhead") < text.index("## Noise")
    assert "**failed: ValueError: none.**" in text
    assert "it: 3, goal at most 2: NOT met" in text
    keep("noise", Entry(LEFT_OUT, 0.1, WHERE, "no noise"), kept, shown)
    assert read(kept)["noise"] == replace(first, outcome=read(kept)["noise"].outcome)
    keep("noise", Entry(CUT, 2.0, WHERE, "its time was over", outcome(2.0)), kept, shown)
    assert read(kept)["noise"].state == CUT
    assert [path.name for path in kept.parent.iterdir()] == ["gpu.json"]


def test_what_is_left_out_alone_is_no_measurement() -> None:
    assert "Nothing has been measured" in page({"climates": Entry(LEFT_OUT, 0.1, WHERE, "no fme")})


def test_the_page_is_what_is_kept() -> None:
    """`python -m benchmarks.gpu --write-page` writes it."""
    assert GPU_PAGE.read_text() == page(read(KEPT))


def test_every_part_says_what_it_measures() -> None:
    described = [load(name) for name in NAMES]
    assert len({part.title for part in described}) == len(NAMES)
    assert all(part.method.endswith(".") for part in described)


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: str, device: str | None) -> int:
    monkeypatch.setattr(driver, "cuda_device", lambda: device)
    monkeypatch.setattr(sys, "argv", ["benchmarks.gpu", *arguments])
    return command.main()


def test_without_a_device_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(driver, "run_parts", None)  # which is not called
    assert run_main(monkeypatch, device=None) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("no CUDA device that torch can use: nothing is measured")


@pytest.mark.parametrize("is_good", [True, False])
def test_a_rehearsal_keeps_nothing_and_ends_as_its_parts_do(
    is_good: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parts(names: list[str], kind: str, minutes: float, told: object) -> bool:
        assert (names, kind, minutes, told) == (["checks", "noise"], "cpu", 8.0, driver.tell)
        return is_good

    monkeypatch.setattr(driver, "run_parts", parts)
    given = ["--rehearse", "--parts", "noise,checks"]
    assert run_main(monkeypatch, *given, device=None) == (0 if is_good else 1)


def test_an_environment_that_lacks_a_package_is_told_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "NEEDED", ("torch", "no_such_package"))
    assert run_main(monkeypatch, device="a GPU") == 2
    assert "lacks no_such_package: nothing is measured" in capsys.readouterr().err


def test_tests_are_told_one_by_one(tmp_path: Path) -> None:
    report = tmp_path / "test_runs.xml"
    report.write_text(
        "<testsuites><testsuite><testcase name='test_a_b[x]' time='1.25'/>"
        "<testcase name='test_c' time='2'><failure message='m'>def f():\nE   assert 1 == 2\n"
        "</failure></testcase><testcase name='test_d' time='0'><skipped message='one device'/>"
        "</testcase></testsuite></testsuites>"
    )
    assert results(report) == [
        ("runs: test a b[x]", "passed", "1.2"),
        ("runs: test c", "FAILED: assert 1 == 2", "2.0"),
        ("runs: test d", "skipped: one device", "0.0"),
    ]


def test_tests_of_a_file_that_was_cut_are_told_as_far_as_they_came(tmp_path: Path) -> None:
    log = tmp_path / "test_runs.log"
    log.write_text(
        "collecting ...\ntests/gpu/test_runs.py::test_a[to the CPU] PASSED    [ 6%]\n"
        "tests/gpu/test_runs.py::test_b FAILED  [ 12%]\ntests/gpu/test_runs.py::test_c "
    )
    assert results(tmp_path / "test_runs.xml") == [
        ("runs: test a[to the CPU]", "passed", ""),
        ("runs: test b", "failed", ""),
        ("runs: the rest", "FAILED: it did not end, or not begin", ""),
    ]
