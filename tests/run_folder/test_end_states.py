"""A run can begin where the baseline of another one ended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import xarray as xr
from typer.testing import CliRunner

from respeval.cli import app
from respeval.errors import InputError
from tests.support.studies import run, write_study
from tests.support.toy import Toy, plan, study


@pytest.fixture
def commands(tmp_path: Path) -> tuple[Path, Path]:
    """A study, and the folder of a run of its first ten days by the command."""
    checkpoint = write_study(tmp_path / "study")
    invoke("run", checkpoint, "-o", tmp_path / "first", "--days", 10)
    return checkpoint, tmp_path / "first"


def invoke(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_the_baseline_goes_on_as_if_it_had_not_ended(commands: tuple[Path, Path]) -> None:
    checkpoint, first = commands
    base = checkpoint.parent
    invoke("run", checkpoint, "-o", base / "whole", "--days", 25, "--segment", "5 steps")
    begin = ["--initial-condition", first, "--segment", "5 steps"]
    invoke("run", checkpoint, "-o", base / "second", "--days", 15, *begin)
    with (
        xr.open_dataset(base / "whole" / "group_means.nc") as whole,
        xr.open_dataset(base / "second" / "group_means.nc") as second,
    ):
        assert str(second["time_bnds"].values[0, 0])[:10] == "2001-01-11"
        for name in ("air_temperature_0", "skin", "rain"):
            expected = whole[name].sel(group="baseline").isel(time=slice(2, None))
            got = second[name].sel(group="baseline")
            assert got.values.tobytes() == expected.values.tobytes()
            # The perturbed group began at the baseline's end, not at its own.
            apart = second[name].sel(group="p4K") - whole[name].sel(group="p4K").isel(time=2)
            assert float(abs(apart).max()) > 0


def test_samples_are_chosen_by_the_date_of_their_end(tmp_path: Path) -> None:
    folder = study(tmp_path / "study", days=(0, 5, 17))
    first = run(plan(folder, Toy(), days=20), tmp_path / "first")
    say_more(first, Toy(), ["2001-01-01", "2001-01-06", "2001-01-18"])
    planned = plan(folder, Toy(), days=5, initial_condition=str(first), start=["2001-01-26"])
    assert planned.num_samples == 1
    assert str(planned.forcing.starts[0]) == "2001-01-26 00:00:00"
    with pytest.raises(InputError, match="no initial condition at 2001-01-06"):
        plan(folder, Toy(), days=5, initial_condition=str(first), start=["2001-01-06"])
    everything = plan(folder, Toy(), days=5, initial_condition=str(first))
    assert everything.initial[1].tobytes() == planned.initial[0].tobytes()
    manifest = json.loads((first / "manifest.json").read_text())
    fault = {"group": "p4K", "variable": "air", "step": 3, "date": "-", "limits": "-"}
    manifest["quarantined"] = [{"sample": 1, **fault}]
    (first / "manifest.json").write_text(json.dumps(manifest))
    left = plan(folder, Toy(), days=5, initial_condition=str(first))
    assert [str(date)[:10] for date in left.forcing.starts] == ["2001-01-21", "2001-02-07"]
    assert left.initial[1].tobytes() == everything.initial[2].tobytes()


def say_more(folder: Path, emulator: Toy, dates: list[str]) -> None:
    """What `header_of` puts into a manifest and a run within this process leaves out."""
    manifest = json.loads((folder / "manifest.json").read_text())
    spec = emulator.spec
    names = [variable.name for variable in spec.prognostic]
    manifest |= {"grid": str(spec.grid), "prognostic": names, "start_dates": dates}
    manifest |= {"groups": ["baseline", "p4K", "m1K"], "timestep_s": 86_400, "calendar": "noleap"}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_a_run_that_does_not_fit_is_refused(commands: tuple[Path, Path]) -> None:
    checkpoint, first = commands
    path = first / "manifest.json"
    good = json.loads(path.read_text())
    for changes, message in (
        ({"prognostic": ["air_temperature_0", "skin", "salt"]}, "other prognostic variables"),
        ({"grid": "4 x 8 legendre-gauss, south to north"}, "a run on another grid"),
        ({"restart": None}, "its restart entry can't be read"),
        ({"start_dates": None}, "does not say what state the run came to"),
    ):
        path.write_text(json.dumps({**good, **changes}))
        out = checkpoint.parent / "out"
        shown = invoke("run", checkpoint, "-o", out, "--initial-condition", first, code=2)
        assert message in shown
        assert shown.count("\n") == 1
