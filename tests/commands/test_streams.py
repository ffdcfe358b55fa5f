"""What goes to stdout, to stderr and to a log file, and what -q, -v and --json make of it."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from respeval.commands import exits
from respeval.errors import BlowUpError
from respeval.presentation.console.json_output import plain
from respeval.presentation.console.streams import LogFile, say_line, saying
from tests.support import studies
from tests.support.invoking import invoked, refused
from tests.support.processes import torchrun

RUN = ("--days", 9, "--segment", "4 steps")


@pytest.fixture(scope="module")
def finished(study: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The folder of a short run, and what its command said."""
    out = tmp_path_factory.mktemp("said") / "out"
    return out, invoked("run", study, "-o", out, *RUN)


def as_json(text: str) -> Any:
    """What strict JSON says; NaN is none."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_the_result_is_on_stdout_and_the_way_to_it_on_stderr(finished: tuple[Path, Any]) -> None:
    _, done = finished
    assert done.stdout.startswith("Response, ")
    assert "warning: the run is shorter than a year" in done.stdout
    for told in (
        "3 groups (baseline, p2K, p4K) x 3 samples",
        "SST as the emulator sees it",
        "segment 3 of 3",
        "left out: ",
    ):
        assert told in done.stderr
        assert told not in done.stdout
    assert "land/ocean ratio" not in done.stderr
    assert "a step took" not in done.stderr


def test_quiet_leaves_the_result_and_warnings(tmp_path: Path) -> None:
    study = studies.write_study(tmp_path / "study")
    record = studies.forcing()
    record["sunlight"] = record["sunlight"].copy()
    record["sunlight"][2, 3, 3] = 1300.0
    (tmp_path / "study" / "forcing.nc").unlink()
    record.to_netcdf(tmp_path / "study" / "forcing.nc")
    done = invoked("run", study, "-o", tmp_path / "out", *RUN, "-q")
    assert done.stdout.startswith("Response, ")
    (line,) = done.stderr.splitlines()
    assert line.startswith("warning: ")
    assert "sunlight is out of range" in line
    again = invoked("run", study, "-o", tmp_path / "out", *RUN, "--quiet")
    assert again.stderr == ""


def test_verbose_tells_what_computes_and_how_fast(study: Path, tmp_path: Path) -> None:
    done = invoked("run", study, "-o", tmp_path / "out", *RUN, "-v", "--window", 3)
    assert re.search(r"on cpu, 1 thread of each process, torch \d", done.stderr)
    assert "samples stepped at once: 1; steps of forcing read at once: 3" in done.stderr
    assert re.search(r"a step took [\d.e-]+ s", done.stderr)
    assert "a step took" not in done.stdout


def test_an_error_has_its_traceback_where_more_is_asked_for(tmp_path: Path) -> None:
    done = invoked("inspect", tmp_path / "none.pt", "-v", code=2)
    assert done.stderr.startswith("Traceback (most recent call last)")
    assert done.stderr.splitlines()[-1].startswith("respeval: ")
    assert done.stdout == ""
    assert "none.pt" in refused("inspect", tmp_path / "none.pt")


def test_quiet_and_verbose_exclude_each_other(study: Path) -> None:
    assert "keep one" in refused("inspect", study, "-q", "-v")


def test_a_log_file_has_everything_with_the_time_whatever_is_shown(
    study: Path, tmp_path: Path
) -> None:
    log = tmp_path / "run.log"
    log.write_text("what was there\n")
    done = invoked("run", study, "-o", tmp_path / "out", *RUN, "-q", "--log-file", log)
    assert done.stderr == ""
    first, *lines = log.read_text().splitlines()
    assert first == "what was there"
    for line in lines:
        stamp = datetime.fromisoformat(line.partition(" ")[0])
        assert stamp.utcoffset() is not None
    told = "\n".join(line.partition(" ")[2] for line in lines)
    for text in ("respeval 0.", "SST as the emulator sees it", "segment 3 of 3", "a step took"):
        assert text in told
    assert "│ land/ocean ratio" in told
    assert "\033" not in told
    line = refused("run", study, "-o", tmp_path / "out", "--days", 0, "--log-file", log)
    assert log.read_text().splitlines()[-1].endswith(line)
    assert "Traceback (most recent call last)" in log.read_text()


@pytest.mark.parametrize("place", ["nowhere/run.log", "."])
def test_a_log_file_that_cannot_be_written_is_one_line_before_the_run(
    study: Path, tmp_path: Path, place: str
) -> None:
    line = refused("run", study, "-o", tmp_path / "out", "--log-file", tmp_path / place)
    assert line.startswith(f"respeval: --log-file {tmp_path / place} can't be written (")
    assert not (tmp_path / "out").exists()


def test_a_full_disk_ends_the_log_and_not_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with saying(False, False, False, Path("/dev/full"), "begin"):
        say_line("and on")
    assert capsys.readouterr().err.splitlines() == [
        "respeval: warning: /dev/full ends here (No space left on device); the command goes on",
        "respeval: and on",
    ]


def test_an_error_that_nobody_foresaw_is_in_the_log(tmp_path: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        exits.told_as_asked(False, False, False, tmp_path / "log"),
    ):
        raise ZeroDivisionError("by nothing")
    assert (tmp_path / "log").read_text().splitlines()[-1].endswith("by nothing")


def test_each_line_is_on_disk_when_it_is_told(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log")
    log.write("one\ntwo")
    assert len((tmp_path / "log").read_text().splitlines()) == 2
    log.close()
    log.write("three")
    assert "three" not in (tmp_path / "log").read_text()


def test_of_several_processes_one_tells(study: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    done = torchrun(
        2, "run", study, "-o", tmp_path / "out", *RUN, "--json", "-q", "--log-file", log
    )
    assert done.returncode == 0, done.stderr
    assert as_json(done.stdout)["status"] == "finished"
    lines = log.read_text().splitlines()
    assert sum("respeval 0." in line for line in lines) == 1
    assert sum("on 2 processes" in line for line in lines) == 1


def test_a_run_as_json_is_its_summary(
    finished: tuple[Path, Any], study: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = invoked("run", study, "-o", out, *RUN, "--json")
    summary = json.loads((finished[0] / "summary.json").read_text())
    found = as_json(done.stdout)
    assert found["summary"] == summary
    assert found["summary"]["warnings"]
    assert {key: found[key] for key in ("checkpoint", "folder", "status", "left_out")} == {
        "checkpoint": str(study),
        "folder": str(out),
        "status": "finished",
        "left_out": [],
    }
    assert "Response, " in done.stderr
    again = invoked("run", study, "-o", out, *RUN, "--json", "-q")
    assert as_json(again.stdout)["status"] == "already finished"
    assert "│" not in again.stderr
    assert as_json(invoked("diagnose", out, "--json").stdout)["summary"] == summary


@pytest.mark.parametrize(
    "closed", ["PYTHONIOENCODING=latin-1 {} > out.txt", "{} > out.txt 2>&-", "{} >&- 2> out.txt"]
)
def test_letters_that_are_lacking_and_closed_streams_end_no_command(
    finished: tuple[Path, Any], tmp_path: Path, closed: str
) -> None:
    other = shutil.copytree(finished[0], tmp_path / "other")
    command = f"{sys.executable} -m respeval compare {finished[0]} {other} --reference {other}"
    done = subprocess.run(closed.format(command), shell=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 0
    assert "Traceback" not in (tmp_path / "out.txt").read_text(encoding="latin-1")


def test_with_an_error_there_is_no_json(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert invoked("run", study, "-o", tmp_path / "a", "--days", 0, "--json", code=2).stdout == ""

    def blow_up(*_: Any) -> None:
        raise BlowUpError("up")

    monkeypatch.setattr("respeval.api.one_run.execute", blow_up)
    done = invoked("run", study, "-o", tmp_path / "b", *RUN, "--json", code=3)
    assert done.stdout == ""
    assert done.stderr.endswith("respeval: up\n")


def test_a_sweep_as_json_has_its_failures(study: Path, tmp_path: Path) -> None:
    for name in ("forcing.nc", "initial.nc", "case.yaml"):
        shutil.copy(study.parent / name, tmp_path)
    shutil.copy(study, tmp_path / "good.pt")
    (tmp_path / "torn.pt").write_bytes(b"torn")
    done = invoked("run", tmp_path / "*.pt", "-o", tmp_path / "out", *RUN, "--json", code=1)
    good, torn = as_json(done.stdout)["checkpoints"]
    assert (good["status"], good["reason"]) == ("finished", None)
    assert good["summary"] == json.loads((tmp_path / "out/good/summary.json").read_text())
    assert (torn["status"], torn["summary"]) == ("failed", None)
    assert "is no checkpoint" in torn["reason"]
    dry = invoked(
        "run", tmp_path / "*.pt", "-o", tmp_path / "dry", *RUN, "--dry-run", "--json", code=1
    )
    good, torn = as_json(dry.stdout)["checkpoints"]
    assert (good["num_steps"], good["num_samples"], good["num_groups"]) == (9, 3, 3)
    assert good["disk"]["needed"] > 0
    assert "is no checkpoint" in torn["problem"]


def test_a_comparison_as_json_has_the_runs_numbers_and_differences(
    finished: tuple[Path, Any], study: Path, tmp_path: Path
) -> None:
    studies.checkpoint(tmp_path / "other.pt", 7)
    case = ("--case", study.parent / "case.yaml")
    invoked("run", tmp_path / "other.pt", "-o", tmp_path / "b", *case, *RUN, "-q")
    first, second = as_json(invoked("compare", finished[0], tmp_path / "b", "--json").stdout)[
        "runs"
    ]
    assert first["paired"] == {"p2K": None, "p4K": None}
    assert second["paired"] == {"p2K": True, "p4K": True}
    key, apart = "p4K/land_warming/tropics", "p4K/land_warming_difference/tropics"
    for run, folder in ((first, finished[0]), (second, tmp_path / "b")):
        summary = json.loads((folder / "summary.json").read_text())
        assert run["numbers"][key] == pytest.approx(summary[key], rel=1e-6)
    expected = second["numbers"][key] - first["numbers"][key]
    assert second["numbers"][apart] == pytest.approx(expected, rel=1e-6)
    assert second["numbers"]["p4K/land_warming_difference_pvalue/tropics"] < 0.05
    assert first["numbers"][apart] is None


def test_inspect_as_json_is_what_a_checkpoint_holds(study: Path) -> None:
    found = as_json(invoked("inspect", study, "--json").stdout)
    assert found["grid"] == {
        "num_lat": 8,
        "num_lon": 16,
        "kind": "legendre-gauss",
        "north_to_south": True,
    }
    assert found["timestep_s"] == 86400
    assert [v["name"] for v in found["variables"]["diagnostic"]] == ["rain"]
    assert found["needs"]["forcing"] == ["ocean_fraction", "sunlight", "skin"]
    assert [f["num_degrees"] for f in found["spectral_filters"]] == [8, 8]


def test_a_probe_as_json_is_its_summary(study: Path, tmp_path: Path) -> None:
    record = studies.forcing(num_times=9)
    draw = np.random.default_rng(0).normal(280.0, 5.0, (2, 9, *studies.GRID.shape))
    for k, name in enumerate(("air_temperature_0", "air_temperature_1")):
        record[name] = (("time", "lat", "lon"), draw[k])
    record["rain"] = (("time", "lat", "lon"), np.abs(draw[0]) * 1e-7)
    record.to_netcdf(tmp_path / "data.nc")
    probe = ("gradient-probe", study, "--data", tmp_path / "data.nc", "-o", tmp_path / "probe")
    sizes = ("--batches", 2, "--batch-size", 2)
    done = invoked(*probe, *sizes, "--json", "-v")
    assert re.search(r"a batch took [\d.e-]+ s", done.stderr)
    assert as_json(done.stdout)["summary"] == json.loads(
        (tmp_path / "probe" / "summary.json").read_text()
    )
    dry = as_json(invoked(*probe, *sizes, "--dry-run", "--json").stdout)
    assert dry["chosen"] in dry["recompute"]
    assert dry["recompute"]["nothing"]["memory"] > 0


def test_the_other_commands_say_in_json_what_they_wrote(
    finished: tuple[Path, Any], tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    found = as_json(invoked("report", finished[0], "-o", page, "--json").stdout)
    assert (found["report"], found["bytes"]) == (str(page), page.stat().st_size)
    assert (found["num_runs"], found["num_probes"]) == (1, 0)
    listed = as_json(invoked("diagnose", "--list", "--json", "-q").stdout)
    assert "land_warming" in [entry["name"] for entry in listed["diagnostics"]]


def test_what_is_not_finite_becomes_null() -> None:
    content = {"a": math.nan, "b": [math.inf, np.float32(1.5)], "c": (Path("x"), np.int64(3), True)}
    assert plain(content) == {"a": None, "b": [None, 1.5], "c": ["x", 3, True]}
