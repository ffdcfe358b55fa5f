"""A run that ends when its response is known as well as was asked, and everything that may follow."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import xarray as xr
import yaml
from typer.testing import CliRunner

from respeval.case.file import load_case
from respeval.cli import app
from respeval.diagnostics import RATIOS_KNOWN, diagnose, parse_targets, relative_half_width
from respeval.files.netcdf import open_saved
from respeval.plan.goal import FEWEST_UNITS, FEWEST_YEARS, Goal, is_long_enough
from respeval.run_folder.output import RunOutput
from tests.support import studies
from tests.support.invoking import invoke
from tests.support.means import SETTINGS, run_of
from tests.support.processes import torchrun
from tests.support.studies import DAY_S, assert_equal_runs, checkpoint, numbers
from tests.support.toy import manifest_of

#: What three samples of the study reach in the sixth year of their means, and not in the fifth.
TARGET = "p8K/ocean_warming/tropics:0.07"


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take most of a tiny run's time; and tables are as wide as they want."""
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr("respeval.analysis.results.Pictures", MagicMock())


def num_segments(folder: Path) -> int:
    return len(manifest_of(folder)["segments"])


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with noise and five steps a year, its case of ten years after one of spin-up."""
    folder = tmp_path_factory.mktemp("noisy")
    forcing = studies.forcing(num_times=6)
    days = ("time", 73.0 * np.arange(6), forcing["time"].attrs)
    forcing.assign_coords(time=days).to_netcdf(folder / "forcing.nc")
    studies.initial().to_netcdf(folder / "initial.nc")
    case = {
        "forcing": "forcing.nc",
        "initial_condition": "initial.nc",
        "years": 11,
        "spinup": "1 year",
        "segment": "year",
        "repeat": "year",
        "paired_noise": False,
        "perturbations": {
            "p4K": {"type": "uniform", "amplitude_K": 4.0},
            "p8K": {"type": "uniform", "amplitude_K": 8.0},
        },
        "bands": {"tropics": [0, 30], "midlatitudes": [30, 60]},
        "tropical_lat_max": 30,
    }
    (folder / "case.yaml").write_text(yaml.safe_dump(case))
    return checkpoint(folder / "tiny.pt", timestep_s=73 * DAY_S, num_noise_channels=1)


@pytest.fixture(scope="module")
def whole(noisy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of the whole length."""
    out = tmp_path_factory.mktemp("whole") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("respeval.analysis.results.Pictures", MagicMock())
        invoke("run", noisy, "-o", out)
    return out


@pytest.fixture(scope="module")
def ended(noisy: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run that ended by what it waited for, and what it said."""
    out = tmp_path_factory.mktemp("ended") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("respeval.analysis.results.Pictures", MagicMock())
        return out, invoke("run", noisy, "-o", out, "--until", TARGET)


def test_a_run_ends_in_the_year_in_which_it_is_known_well_enough(
    whole: Path, ended: tuple[Path, str]
) -> None:
    out, shown = ended
    with open_saved(whole / "running.nc") as running:
        widths = relative_half_width(running, "ocean_warming")
        width = running["ocean_warming"].copy(data=widths).sel(perturbation="p8K", band="tropics")
    first = int(np.argmax((width.values <= 0.07) & (np.arange(1, 11) >= FEWEST_YEARS))) + 1
    assert FEWEST_YEARS < first < 10
    assert num_segments(out) == first + 1  # and one of spin-up
    assert manifest_of(out)["status"] == "finished"
    percent = f"{100 * float(width[first - 1]):.2g}"
    line = f"p8K/ocean_warming/tropics is known to 7 % (±{percent} %) after {first} years"
    assert line in " ".join(shown.split())
    with open_saved(out / "running.nc") as running:
        assert running.sizes["time"] == first


def test_its_files_are_those_of_a_run_of_that_length(
    noisy: Path, ended: tuple[Path, str], tmp_path: Path
) -> None:
    out, _ = ended
    length = num_segments(out)
    invoke("run", noisy, "-o", tmp_path / "short", "--years", length)
    assert_equal_runs(out, tmp_path / "short")


def test_a_table_says_where_a_run_is_shorter_than_a_year(
    study: Path, ended: tuple[Path, str], tmp_path: Path
) -> None:
    told = "the run is shorter than a year"
    shown = invoke("run", study, "-o", tmp_path / "days")
    assert f"warning: {told}" in shown[shown.index("Response") :]
    assert told in (tmp_path / "days" / "summary.json").read_text()
    invoke("report", tmp_path / "days", "-o", tmp_path / "report.html")
    assert told in (tmp_path / "report.html").read_text()
    assert told not in ended[1]


def test_what_has_ended_is_recognised_and_a_tighter_wish_goes_on(
    noisy: Path, whole: Path, ended: tuple[Path, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(ended[0], out)
    before = numbers(out)
    for same in (TARGET, "ocean_warming/tropics:0.9"):
        assert "nothing to do" in invoke("run", noisy, "-o", out, "--until", same)
    assert "finished" in invoke("run", noisy, "-o", out, "--until", TARGET, "--dry-run")
    longer = ("--years", 14, "--extend")
    assert "nothing to do" in invoke("run", noisy, "-o", out, "--until", TARGET, *longer)
    assert numbers(out).keys() == before.keys()
    left = invoke("run", noisy, "-o", out, "--dry-run", "--until", "none")
    assert f"at step {5 * num_segments(out)}" in left
    shown = invoke("run", noisy, "-o", out, "--until", TARGET, "--until", "land_warming:0.001")
    assert f"going on after step {5 * num_segments(ended[0])} of 55" in shown
    lines = [" ".join(line.split()) for line in shown.splitlines() if line.startswith("until: ")]
    assert "p8K/ocean_warming/tropics is known to 7 %" in lines[0]
    assert "not to 0.1 %; about" in lines[1]
    assert_equal_runs(out, whole)


def test_a_run_that_was_killed_when_it_had_ended_ends_there_again(
    noisy: Path, ended: tuple[Path, str], tmp_path: Path
) -> None:
    """Between the last segment and its results there is nothing that says that it has ended."""
    out = tmp_path / "out"
    shutil.copytree(ended[0], out)
    manifest = manifest_of(out)
    (out / "manifest.json").write_text(json.dumps({**manifest, "status": "running"}))
    (out / "zonal.nc").unlink()
    invoke("run", noisy, "-o", out, "--until", TARGET)
    assert_equal_runs(out, ended[0])


def test_no_run_ends_before_it_has_enough_units(noisy: Path, tmp_path: Path) -> None:
    """In a sweep, of what any run knows."""
    second = noisy.with_name("other.pt")
    checkpoint(second, 1, timestep_s=73 * DAY_S, num_noise_channels=1)
    loose = ("--until", "p8K/column_warming/air_temperature_1:0.99")
    shown = invoke("run", noisy, second, "-o", tmp_path / "sweep", *loose)
    assert shown.count("is known to 99 %") == 2
    entries = json.loads((tmp_path / "sweep" / "sweep.json").read_text())["checkpoints"]
    for entry in entries:
        assert entry["status"] == "finished"
        assert num_segments(tmp_path / "sweep" / entry["folder"]) == FEWEST_YEARS + 1


@pytest.mark.parametrize(
    ("num_samples", "num_years", "enough"),
    [
        (1, FEWEST_UNITS - 1, False),
        (1, FEWEST_UNITS, True),
        (2, FEWEST_YEARS, True),
        (4, FEWEST_YEARS - 1, False),
    ],
)
def test_a_spread_is_trusted_from_some_years_and_units_on(
    num_samples: int, num_years: int, enough: bool
) -> None:
    zonal = run_of(12 * num_years, num_samples)
    assert is_long_enough(zonal) is enough
    blown_up = zonal.assign(count=zonal["count"] * (np.arange(num_samples) < 1)[:, None])
    assert is_long_enough(blown_up) is (num_years >= FEWEST_UNITS)  # one sample is left
    copies = zonal.isel(sample=[0] * num_samples)
    assert is_long_enough(copies) is (num_years >= FEWEST_UNITS)  # and here all are one


@pytest.mark.parametrize("fraction", ["0.99", "1e-6"])
@pytest.mark.parametrize("num_months", [3, 15])
def test_a_run_of_less_than_two_years_does_not_say_how_long_it_takes(
    num_months: int, fraction: str
) -> None:
    """90 days of four samples may be known to 1 % of what the season's answer is."""
    targets = parse_targets([f"{RATIOS_KNOWN[0]}:{fraction}"])
    zonal = run_of(num_months, 4)
    (line,) = Goal(targets, SETTINGS, ["t_low", "t_top"], RunOutput()).outcome(
        diagnose(zonal, SETTINGS), zonal
    )
    assert "was not waited for: a run needs 5 years" in line


@pytest.mark.parametrize(
    ("num_months", "fraction", "reached"),
    [(60, 0.9, True), (59, 0.9, False), (62, 0.9, False), (48, 0.9, False), (60, 1e-6, False)],
)
def test_a_run_ends_with_a_year_that_is_late_enough_and_known_enough(
    num_months: int, fraction: float, reached: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = parse_targets([f"land_ocean_warming_ratio:{fraction}"])
    goal = Goal(targets, SETTINGS, ["t_low", "t_top"], RunOutput())
    assert not goal.is_reached()  # a process without a folder
    zonal = run_of(num_months)
    monkeypatch.setattr(goal, "_read", lambda: zonal)
    assert goal.is_reached() is reached


def test_two_processes_end_together(noisy: Path, ended: tuple[Path, str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = torchrun(2, "run", noisy, "-o", out, "--until", TARGET)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("is known to 7 %") == 1
    assert num_segments(out) == num_segments(ended[0])
    with xr.open_dataset(out / "zonal.nc") as got, xr.open_dataset(ended[0] / "zonal.nc") as wanted:
        xr.testing.assert_allclose(got, wanted, rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("warming:0.05", "names no diagnostic"),
        ("land_warming/tropics:5", "fraction must lie between 0 and 1"),
        ("land_warming/arctic:0.05", "it has: midlatitudes, tropics"),
        ("p2K/land_warming:0.05", "no perturbation of this run (p4K, p8K)"),
        ("cess_feedback:0.05", "no cess_feedback in this run"),
    ],
)
def test_what_cannot_be_waited_for_is_one_line_before_the_run(
    noisy: Path, tmp_path: Path, text: str, message: str
) -> None:
    result = CliRunner().invoke(
        app, ["run", str(noisy), "-o", str(tmp_path / "out"), "--until", text]
    )
    assert result.exit_code == 2
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("respeval: ")
    assert "until" in line
    assert message in line
    assert not (tmp_path / "out").exists()


def test_the_case_file_may_say_it_too(noisy: Path) -> None:
    folder = noisy.parent
    content = yaml.safe_load((folder / "case.yaml").read_text())
    one, two = (
        load_case(_case(folder, content, until), {}) for until in (TARGET, [TARGET, TARGET])
    )
    none = load_case(_case(folder, content, TARGET), {"until": ["none"]})
    assert (one.until, two.until, none.until) == ([TARGET], [TARGET, TARGET], [])
    assert one.digest() == two.digest() == none.digest()


def _case(folder: Path, content: dict[str, Any], until: Any) -> Path:
    path = folder / "other.yaml"
    path.write_text(yaml.safe_dump({**content, "until": until}))
    return path
