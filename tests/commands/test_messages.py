"""What a user can cause outside of a file's content: one line that names the option and the way out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

from tests.support import studies
from tests.support.invoking import refused

#: Options, and what the line begins with and says besides: not that case.yaml, which lies there, is wrong.
MISTAKES: dict[str, tuple[tuple[str, ...], str, str]] = {
    "bands": (("--bands", "a=50:20"), "--bands", "0 <= low < high <= 90"),
    "a band that is none": (("--bands", "a"), "--bands 'a'", "expected NAME=LOW:HIGH"),
    "role": (("--role", "upper_levl=rain"), "--role", "did you mean 'upper_level'?"),
    "until": (("--until", "land_ocean_warming:0.1"), "--until", "names no diagnostic"),
    "precision": (("--precision", "float64"), "--precision", "'float32', 'tf32' or 'bfloat16'"),
    "perturb": (("--perturb", "base/line=uniform:4"), "--perturb", "can't name a perturbation"),
    "kelvin": (("--perturb", "p=uniform:warm"), "--perturb", "amplitude_K"),
    "a patch": (
        ("--perturb", "p=patch:2,lat=0,lon_center=0,lat_width=20,lon_width=40"),
        "--perturb",
        "did you mean 'lat_center' or 'lat_width'?",
    ),
    "years and days": (("--years", "1", "--days", "2"), "--years and --days", "keep one"),
    "days": (("--days", "0"), "--days", "greater than or equal to 1"),
    "seed": (("--seed", "-1"), "--seed", "greater than or equal to 0"),
    "spinup": (("--spinup", "long"), "--spinup", "is no duration"),
    "segment": (("--segment", "week"), "--segment", "is no segment"),
    "repeat": (("--repeat", "month"), "--repeat", "'none' or 'year'"),
    "weights": (("--area-weights", "sin_lat"), "--area-weights", "'grid' or 'cos_lat'"),
    "cutoff": (("--ocean-fraction-cutoff", "1.5"), "--ocean-fraction-cutoff", "less than 1"),
    "scope": (("--initial-condition-scope", "land"), "--initial-condition-scope", "'ocean'"),
    "tropics": (("--tropical-lat-max", "100"), "--tropical-lat-max", "equal to 90"),
    "a box": (("--land-box", "a=10,5,0,20"), "--land-box", "lat_min < lat_max"),
    "realizations": (("--num-realizations", "0"), "--num-realizations", "equal to 1"),
    "protocol": (("--protocol", "aimip", "--perturb", "p=uniform:3"), "--protocol", "aimip"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_on_the_command_line_is_not_the_case_files(
    study: Path, tmp_path: Path, mistake: str
) -> None:
    options, begin, told = MISTAKES[mistake]
    line = refused("run", study, "-o", tmp_path / "out", *options)
    assert line.startswith(f"respeval: {begin}"), line
    assert told in line
    assert "case.yaml" not in line


def test_a_mistake_is_said_once(study: Path, tmp_path: Path) -> None:
    """Neither the option's key after the option, nor what was got where the message has it."""
    for (flag, value), told in {
        ("--segment", "week"): "'week' is no segment (expected month, year, all or 'N steps')",
        ("--seed", "-1"): "Input should be greater than or equal to 0, got -1",
        ("--role", "a=b"): "unknown key 'a'; known keys: near_surface_temperature",
        ("--perturb", "p=uniform:x"): "p.uniform.amplitude_K: Input should be a valid number",
        ("--perturb", "p=patch:2,lat=0"): "unknown key 'p.patch.lat'; did you mean",
    }.items():
        line = refused("run", study, "-o", tmp_path / "out", flag, value)
        assert line.startswith(f"respeval: {flag}: {told}"), line


def test_a_mistake_in_the_case_file_stays_the_case_files(tmp_path: Path) -> None:
    path = studies.write_study(tmp_path, roles={"upper_levl": "rain"})
    line = refused("run", path, "-o", tmp_path / "out", "--role", "surface_level=rain")
    assert line.startswith(f"respeval: {tmp_path / 'case.yaml'}: unknown key 'roles.upper_levl'")


def test_a_diagnostic_that_is_nearly_one_is_named(study: Path, tmp_path: Path) -> None:
    target = ("--until", "land_ocean_warming_ration/tropics:0.05")
    line = refused("run", study, "-o", tmp_path / "out", *target)
    assert "did you mean 'land_ocean_warming_ratio'?" in line


def test_a_spinup_that_leaves_nothing_says_how_to_have_none(study: Path, tmp_path: Path) -> None:
    line = refused("run", study, "-o", tmp_path / "out", "--spinup", "75 days")
    assert "leaves nothing of a run of 75 days" in line
    assert "--spinup none" in line


def test_the_probe_names_no_option_that_it_has_not(tmp_path: Path) -> None:
    path = studies.write_study(tmp_path)
    content = yaml.safe_load((tmp_path / "case.yaml").read_text())
    del content["forcing"]
    (tmp_path / "case.yaml").write_text(yaml.safe_dump(content))
    line = refused("gradient-probe", path, "-o", tmp_path / "out")
    assert "case.yaml: forcing is missing; add it to the case file" in line
    assert "--forcing" not in line


@pytest.mark.parametrize("name", ["ocean", "land"])
def test_a_missing_fraction_is_placed(tmp_path: Path, name: str) -> None:
    path = studies.write_study(tmp_path)
    record = studies.forcing()
    record[f"{name}_fraction"][3, 5] = np.nan
    record[f"{name}_fraction"][4, 1] = np.nan
    record.to_netcdf(tmp_path / "forcing.nc")
    line = refused("run", path, "-o", tmp_path / "out")
    place = f"latitude {studies.GRID.latitude[3]:.2f}, longitude 112.50"
    assert f"the {name} fraction is missing in 2 of 128 cells, first at {place}" in line


LEFT_OVER: dict[str, tuple[dict[str, str], str]] = {
    "no address": (
        {"WORLD_SIZE": "2", "RANK": "0"},
        "WORLD_SIZE is 2, as torchrun sets it for so many processes, but there is no MASTER_ADDR and no",
    ),
    "no rank": ({"WORLD_SIZE": "4"}, "there is no RANK and no MASTER_ADDR and no MASTER_PORT"),
    "no number": ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two', expected a whole number"),
    "none": ({"WORLD_SIZE": "0"}, "WORLD_SIZE is '0', expected a whole number"),
    "no local number": ({"LOCAL_RANK": ""}, "LOCAL_RANK is '', expected a whole number"),
    "too large": (
        {"WORLD_SIZE": "2", "RANK": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"},
        "RANK is 2, of 2 processes",
    ),
    "no port": (
        {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "x"},
        "MASTER_PORT is 'x', expected a whole number",
    ),
}


@pytest.mark.parametrize("variables", LEFT_OVER)
def test_what_is_left_of_a_launcher_is_named(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: str
) -> None:
    given, told = LEFT_OVER[variables]
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    # Of several, a process leaves without Python's own end, which this one needs.
    ended: list[int] = []
    monkeypatch.setattr("respeval.commands.exits._end_at_once", ended.append)
    line = refused("run", study, "-o", tmp_path / "out")
    assert told in line
    assert "unset WORLD_SIZE and RANK" in line


def test_a_rank_that_is_left_alone_hides_no_message(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "3")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    line = refused("run", study, "-o", tmp_path / "out", "--days", "0")
    assert line.startswith("respeval: --days")


LONG = "long" * 100
TOO_LONG: dict[str, tuple[object, ...]] = {
    "run": ("run", "{study}", "-o", LONG),
    "dry run": ("run", "{study}", "--dry-run", "-o", LONG),
    "fresh run": ("run", "{study}", "--restart-fresh", "-o", LONG),
    "checkpoint": ("run", f"{LONG}.pt", "-o", "out"),
    "inspect": ("inspect", f"{LONG}.pt"),
    "case": ("run", "{study}", "--case", LONG, "-o", "out"),
    "forcing": ("run", "{study}", "--forcing", f"{LONG}.nc", "-o", "out"),
    "initial": ("run", "{study}", "--initial-condition", LONG, "-o", "out"),
    "reference": ("run", "{study}", "--reference", LONG, "-o", "out"),
    "pattern": ("run", "{study}", "--perturb", f"p=pattern:{LONG},variable=a", "-o", "out"),
    "diagnose": ("diagnose", LONG),
    "compare": ("compare", LONG),
    "report": ("report", LONG, "-o", "page.html"),
    "probe": ("gradient-probe", "{study}", "--data", LONG, "-o", "out"),
    "loss": ("gradient-probe", "{study}", "--data", "a.nc", "--loss-config", LONG, "-o", "out"),
    "demo": ("demo", LONG),
    "check": ("export", "check", LONG),
    "export": ("export", "aimip", LONG, "--model", "m", "--institute", "i", "-o", "out"),
}


@pytest.mark.parametrize("command", TOO_LONG)
def test_a_path_that_is_too_long_is_one_line(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [str(word).replace("{study}", str(study)) for word in TOO_LONG[command]]
    line = refused(*words)
    assert len(line) < 1500
    assert "long" in line


def test_a_nul_in_a_path_is_one_line(tmp_path: Path) -> None:
    path = studies.write_study(tmp_path, initial_condition="a\0b")
    assert "can't name a file: it holds a NUL" in refused("run", path, "-o", tmp_path / "out")


@pytest.mark.parametrize("half_circle", ["forcing", "initial", "both"])
def test_files_from_180_west_give_the_same_run(tmp_path: Path, half_circle: str) -> None:
    """The same fields with longitudes from -180 to 180 in their order."""
    from tests.support.invoking import invoke

    numbers = []
    for turned in (False, True):
        folder = tmp_path / str(turned)
        path = studies.write_study(folder, days=3, segment="all")
        for name, made in (("forcing", studies.forcing()), ("initial", studies.initial())):
            if turned and half_circle in (name, "both"):
                half = (made["lon"] + 180.0) % 360.0 - 180.0
                made.assign_coords(lon=half).sortby("lon").to_netcdf(folder / f"{name}.nc")
        invoke("run", path, "-o", folder / "out")
        with xr.open_dataset(folder / "out" / "group_means.nc", decode_times=False) as means:
            numbers.append(means["air_temperature_1"].load())
    assert (numbers[0].values == numbers[1].values).all()
    assert (numbers[0]["lon"].values == numbers[1]["lon"].values).all()
