"""The case file and the command line's options: what they mean, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from respeval.case.case import Case
from respeval.case.file import load_case
from respeval.case.parsing import parse_band
from respeval.errors import InputError
from respeval.fields.perturbation import PatternPerturbation, parse_perturbation

MINIMAL: dict[str, Any] = {"forcing": "f.nc", "initial_condition": "i.nc", "years": 1}


def write(folder: Path, **content: Any) -> Path:
    path = folder / "case.yaml"
    path.write_text(yaml.safe_dump({**MINIMAL, **content}))
    return path


def test_defaults_are_those_of_the_design(tmp_path: Path) -> None:
    case = load_case(write(tmp_path), {})
    assert case.groups == ("baseline", "p4K")
    assert case.perturbations["p4K"].model_dump() == {"type": "uniform", "amplitude_K": 4.0}
    assert case.bands == {"tropics": (0, 15), "subtropics": (15, 30), "midlatitudes": (30, 50)}
    assert (case.segment, case.spinup, case.num_realizations, case.seed) == ("month", None, 1, 0)
    assert (case.initial_condition_scope, case.area_weights) == ("ocean", "grid")
    assert (case.ocean_fraction_cutoff, case.tropical_lat_max) == (0.5, 15.0)
    assert (case.paired_noise, case.save_members, case.repeat) == (True, False, "none")


def test_the_resolved_case_gives_the_same_case_again(tmp_path: Path) -> None:
    perturbations = {
        "p2K": {"type": "uniform", "amplitude_K": 2},
        "patch": dict(type="patch", amplitude_K=2, lat_center=0, lon_center=150)
        | dict(lat_width=40, lon_width=100),
        "future": {"type": "pattern", "file": "p.nc", "variable": "tos"},
    }
    case = load_case(
        write(tmp_path, perturbations=perturbations, spinup="1 year", start=["2001-01-01"]), {}
    )
    again = tmp_path / "elsewhere" / "case.yaml"
    again.parent.mkdir()
    again.write_text(case.to_yaml())
    assert load_case(again, {}) == case
    assert load_case(again, {}).digest() == case.digest()
    assert load_case(again, {"seed": 1}).digest() != case.digest()


def test_a_case_in_float32_has_the_digest_of_before_there_was_a_choice() -> None:
    case = Case(forcing="/f.nc", initial_condition="/i.nc", years=1)
    assert case.digest() == "8f5128d08d891b666fb6227dad9970eeea4430e68a2a9a5ea3607f9bac369a3d"
    other = case.model_copy(update={"precision": "bfloat16"})
    assert other.digest() != case.digest()


def test_paths_are_relative_to_the_file_and_options_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "case"
    folder.mkdir()
    pattern = {"f": {"type": "pattern", "file": "p.nc", "variable": "tos"}}
    path = write(folder, forcing="forcing/*.nc", perturbations=pattern)
    monkeypatch.chdir(tmp_path)
    case = load_case(path, {"initial_condition": "mine.nc"})
    assert case.forcing == f"{folder}/forcing/*.nc"
    assert case.initial_condition == f"{tmp_path}/mine.nc"
    future = case.perturbations["f"]
    assert isinstance(future, PatternPerturbation)
    assert future.file == f"{folder}/p.nc"


def test_options_win_over_the_file_and_roles_merge(tmp_path: Path) -> None:
    path = write(tmp_path, roles={"upper_level": "a", "surface_level": "b"}, seed=3)
    case = load_case(path, {"steps": 7, "seed": 4, "roles": {"upper_level": "c"}})
    assert (case.steps, case.years, case.seed) == (7, None, 4)
    assert (case.roles.upper_level, case.roles.surface_level) == ("c", "b")


def test_unquoted_dates_are_texts(tmp_path: Path) -> None:
    path = tmp_path / "case.yaml"
    path.write_text("forcing: f\ninitial_condition: i\nyears: 1\nstart: [2001-01-01]\n")
    assert load_case(path, {}).start == ["2001-01-01"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"perturbation": {}}, "unknown key 'perturbation'; did you mean 'perturbations'?"),
        ({"xyzzy": 1}, "unknown key 'xyzzy'; known keys: forcing, initial_condition"),
        ({"roles": {"uper_level": "a"}}, "did you mean 'upper_level'?"),
        (
            {"perturbations": {"p": {"type": "uniform", "amplitude": 4}}},
            "unknown key 'perturbations.p.uniform.amplitude'; did you mean 'amplitude_K'?",
        ),
        (
            {"perturbations": {"p": {"type": "uniform", "amplitude_K": 4, "lat_with": 1}}},
            "unknown key 'perturbations.p.uniform.lat_with'; known keys: type, amplitude_K",
        ),
        ({"perturbations": {"p": {"type": "ramp"}}}, "perturbations.p: .*'uniform', 'patch'"),
        ({"perturbations": {"baseline": {"type": "uniform", "amplitude_K": 1}}}, "'baseline'"),
        ({"perturbations": {"a/b": {"type": "uniform", "amplitude_K": 1}}}, "expected letters"),
        ({"bands": {"a b": [0, 1]}}, "'a b' can't name a band"),
        ({"steps": 10**12, "years": None}, "steps: .*less than or equal to 100000000"),
        ({"perturbations": {}}, "perturbations: .*at least 1"),
        ({"years": 0}, "years: .*greater than or equal to 1, got 0"),
        ({"days": 3}, "length is given twice .years and days."),
        ({"bands": {"x": [30, 15]}}, r"band x: expected 0 <= low < high <= 90, got \[30, 15\]"),
        ({"segment": "week"}, "segment: 'week' is no segment"),
        ({"spinup": "long"}, "spinup: 'long' is no duration"),
        ({"initial_condition_scope": "land"}, "initial_condition_scope: .*'ocean', 'field'"),
        ({"seed": -1}, "seed: .*got -1"),
        ({"ocean_fraction_cutoff": float("nan")}, "ocean_fraction_cutoff"),
    ],
)
def test_faulty_cases_are_refused_in_one_line(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = write(tmp_path, **changes)
    with pytest.raises(InputError, match=message) as refused:
        load_case(path, {})
    assert "\n" not in str(refused.value)
    assert str(path) in str(refused.value)


def test_a_missing_length_or_file_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="forcing is missing; give --forcing or a case file"):
        load_case(None, {})
    options = {"forcing": "f", "initial_condition": "i"}
    with pytest.raises(InputError, match="length is not given; set one of years, days or steps"):
        load_case(None, options)
    with pytest.raises(InputError, match="no such case file"):
        load_case(tmp_path / "case.yaml", {})


@pytest.mark.parametrize(
    "text", ["a: [1", "just text", "- a\n- b", "a: !!python/name:os.system ''"]
)
def test_what_is_no_case_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "case.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match="is no YAML|is no case file"):
        load_case(path, {})


def test_perturbations_on_the_command_line() -> None:
    assert parse_perturbation("p4K=uniform:4") == ("p4K", {"type": "uniform", "amplitude_K": "4"})
    label, entry = parse_perturbation(
        "w=patch:2,lat_center=0,lon_center=150,lat_width=40,lon_width=100"
    )
    case = load_case(None, {**MINIMAL, "perturbations": {label: entry}})
    assert case.perturbations["w"].model_dump() == {
        "type": "patch",
        "amplitude_K": 2.0,
        "lat_center": 0.0,
        "lon_center": 150.0,
        "lat_width": 40.0,
        "lon_width": 100.0,
    }
    _, pattern = parse_perturbation("f=pattern:a.nc,variable=tos,scale=0.5")
    assert pattern == {"type": "pattern", "file": "a.nc", "variable": "tos", "scale": "0.5"}
    for text in ("p4K", "p4K=4", "p=ramp:4", "p=patch:2,3", "p=patch:2,amplitude_K=3"):
        with pytest.raises(InputError, match="expected|twice"):
            parse_perturbation(text)


def test_bands_on_the_command_line() -> None:
    assert parse_band("tropics=0:15") == ("tropics", (0.0, 15.0))
    with pytest.raises(InputError, match="expected NAME=LOW:HIGH"):
        parse_band("tropics=0-15")
