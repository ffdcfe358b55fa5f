"""The schema of the case file says of a file what respeval says of it, as far as a schema can."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from respeval.case.case import Case
from respeval.case.options import KEYS
from respeval.case.schema import case_schema
from respeval.errors import InputError
from respeval.fields.perturbation import PERTURBATIONS
from respeval.files.settings import read_yaml
from tests.support import ROOT
from tests.support.broken import Broken
from tests.support.broken_cases import CASES
from tests.support.invoking import invoke, refused
from tests.support.studies import write_study

SCHEMA = case_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
SMALLEST = {"forcing": "f.nc", "initial_condition": "i.nc", "years": 1}
PATCH = {"type": "patch", "amplitude_K": 2, "lat_center": 0, "lon_center": 150, "lat_width": 40}
PATTERN = {"type": "pattern", "file": "tos.nc", "variable": "tos_anomaly"}


def faults(content: Any) -> list[str]:
    return [fault.message for fault in VALIDATOR.iter_errors(content)]


def is_a_case(content: Any) -> bool:
    try:
        Case.model_validate(content)
    except ValidationError:
        return False
    return True


def blocks_of_the_docs() -> list[tuple[str, dict[str, Any]]]:
    """(page, content) of every block that shows keys of a case file."""
    found = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
            content = yaml.safe_load(block)
            if set(content) & set(Case.model_fields):
                found.append((page.name, content))
    return found


def test_it_is_a_schema_of_its_draft() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert json.loads(json.dumps(SCHEMA, allow_nan=False)) == SCHEMA


def test_it_describes_every_key_and_every_kind_of_perturbation() -> None:
    assert list(SCHEMA["properties"]) == list(Case.model_fields)
    assert {key.key for key in KEYS} == set(SCHEMA["properties"])
    for described in SCHEMA["properties"].values():
        assert len(described["description"]) > 10
        assert "{" not in described["description"]
        assert "repeat for several" not in described["description"]
    assert SCHEMA["properties"]["segment"]["default"] == "month"
    assert "default" not in SCHEMA["properties"]["years"]
    kinds = SCHEMA["properties"]["perturbations"]["additionalProperties"]["oneOf"]
    assert len(kinds) == len(PERTURBATIONS)


def test_the_blocks_of_the_docs_pass() -> None:
    blocks = blocks_of_the_docs()
    assert {"guide.md", "diagnostics.md", "indices.md", "aimip.md"} <= {page for page, _ in blocks}
    for page, content in blocks:
        assert faults(content) == [], page
        assert is_a_case({**SMALLEST, **content} if "days" not in content else content), page


def test_a_resolved_case_passes(tmp_path: Path) -> None:
    write_study(tmp_path)
    assert faults(read_yaml(tmp_path / "case.yaml", "case file")) == []
    perturbations = {"p": {**PATCH, "lon_width": 100}, "q": PATTERN}
    boxes = {"sahel": [10, 20, -15, 35], "amazon": {"file": "m.nc", "variable": "amazon"}}
    case = Case.model_validate({**SMALLEST, "perturbations": perturbations, "land_boxes": boxes})
    assert faults(yaml.safe_load(case.to_yaml())) == []


@pytest.mark.parametrize(
    "changes",
    [
        *({"spinup": v} for v in ("1 year", " 12  months ", "none", None, "0 days", "400 steps")),
        *({"segment": v} for v in ("month", "year", "all", "30 steps", "1 step")),
        *({"until": v} for v in (None, "none", ["none"], [], "land_ocean_warming_ratio:0.05")),
        {"until": ["p4K/land_ocean_warming_ratio/tropics:0.05", "land_warming:1e-1"]},
        *({"reference": v} for v in (None, "none", "truth.nc", {"p4K": "a.nc", "p2K": "none"}, {})),
        *({"sst_boxes": v} for v in (None, {}, {"nino4": [-5, 5, 160, -150]})),
        *({"land_boxes": v} for v in (None, {}, {"x": ["1", "2.5", "1e1", -0.5]})),
        *({"paired_noise": v} for v in (True, "yes", "Off", "F", 0, 1)),
        *({"seed": v} for v in ("7", "+7", "1_000", 7.0, "7.0", 2**63 - 1)),
        *({"ocean_fraction_cutoff": v} for v in ("5e-1", ".5", "0.", 0)),
        {"years": None, "days": 30},
        {"bands": {"größer": [0, "15"]}},
        {"reader": {"labels": ["era5"], "ema": True, "deep": {"er": [1]}}},
        {"roles": {"upper_level": None, "column_temperature": ["a", "b"]}},
        {"protocol": "aimip"},
        {"protocol": None, "probe_data": None},
        {"perturbations": {"p": {"type": "uniform", "amplitude_K": "4"}}},
        {"start": ["2001-01-01"]},
    ],
)
def test_what_respeval_takes_passes(changes: dict[str, Any]) -> None:
    content = {**SMALLEST, **changes}
    assert is_a_case(content)
    assert faults(content) == []


@pytest.mark.parametrize(
    "changes",
    [
        *({"spinup": v} for v in ("long", "1 week", 1, [])),
        *({"segment": v} for v in ("week", "0 steps", "steps", None, 30)),
        *({"until": v} for v in ("land_warming", 5, [3], {"land_warming": 0.05})),
        *({"reference": v} for v in (4, ["a.nc"], {"p4K": 4})),
        *({"sst_boxes": v} for v in ([1], {"nino34": [-5, 5, 160, 210]}, {"x": [0, 1, 2]})),
        *({"land_boxes": v} for v in ("x", {"land": [0, 1, 2, 3]}, {"x": [0, 91, 2, 3]})),
        {"land_boxes": {"x": {"file": "m.nc"}}},
        {"land_boxes": {"x": {"file": "m.nc", "variable": "v", "other": 1}}},
        *({"paired_noise": v} for v in ("maybe", 2, None, [])),
        *({"seed": v} for v in ("seven", -1, 2**63, 0.5, None)),
        *({"ocean_fraction_cutoff": v} for v in ("half", 1, -0.1, None)),
        *({"tropical_lat_max": v} for v in (0, 91)),
        *({"area_weights": v} for v in ("cosine", None)),
        *({"precision": v} for v in ("float64", 32)),
        *({"repeat": v} for v in ("month", True)),
        *({"years": v} for v in (0, 1.5, 10_001, "ten", [1])),
        *({"start": v} for v in ("2001-01-01", None, [2001])),
        *(
            {"bands": v}
            for v in ({}, {"a b": [0, 1]}, {"x": [0, 95]}, {"x": [0]}, {"x": [1, 2, 3]})
        ),
        *({"perturbations": v} for v in ({}, None, [], {"p": "hot"}, {"p": {"amplitude_K": 4}})),
        *({"perturbations": {"p": {"type": v}}} for v in ("ramp", None, "uniform")),
        *({"perturbations": {v: PATTERN}} for v in ("baseline", "a/b", "", "x" * 101)),
        {"perturbations": {"p": PATCH}},
        {"perturbations": {"p": {**PATCH, "lon_width": 0}}},
        {"perturbations": {"p": {**PATTERN, "amplitude_K": 4}}},
        *({"forcing": v} for v in (None, ["a.nc"], 1)),
        *({"roles": v} for v in (None, {"uper_level": "a"}, {"upper_level": ["a"]})),
        *({"reader": v} for v in (None, ["a"])),
        {"protocol": "cmip"},
        {"days": 3},
        {"perturbation": {}},
    ],
)
def test_what_respeval_refuses_does_not_pass(changes: dict[str, Any]) -> None:
    content = {**SMALLEST, **changes}
    assert not is_a_case(content)
    assert faults(content) != []


#: Malformed files whose content alone does not show it, or not to a schema.
BEYOND = (
    *("no forcing", "no days"),  # options may give them
    *("NaN kelvin", "10^400 kelvin", "a band of NaN", "NUL in a path"),
    *("10^8 steps of a year that repeats", "a spin-up of 10^30 years", "half a character"),
    *("a forcing that is no file", "/dev/zero as forcing", "a pipe as forcing"),
    *("a pipe among the forcing", "a folder without files", "a pattern from /dev/zero"),
)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    write_study(folder)
    return folder / "case.yaml"


@pytest.mark.parametrize(
    "broken",
    [case for case in CASES if case.name.startswith("case: ") and "--case" not in case.command],
    ids=lambda broken: broken.name,
)
def test_malformed_files_do_not_pass(broken: Broken, good: Path, tmp_path: Path) -> None:
    shutil.copy(good, tmp_path)
    broken.change(tmp_path)
    try:
        content = read_yaml(tmp_path / "case.yaml", "case file")
    except InputError:
        return  # no YAML of keys and values
    passes = faults(content) == []
    assert passes == (broken.name.removeprefix("case: ") in BEYOND)


VALUES = st.recursive(
    st.none()
    | st.integers(-400, 20_000)
    | st.floats(-400, 400)
    | st.sampled_from(["none", "year", "1", "-2.5e1", "yes", "month", "3 steps", "a:0.1", "ocean"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["p4K", "type", "file", "ä", "land"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(st.sampled_from(list(Case.model_fields)), VALUES, min_size=1, max_size=2))
def test_no_case_is_refused(changes: dict[str, Any]) -> None:
    content = {**SMALLEST, **changes}
    if is_a_case(content):
        assert faults(content) == []


def test_the_command_prints_it_or_writes_it(tmp_path: Path) -> None:
    printed = invoke("schema")
    assert json.loads(printed) == SCHEMA
    assert invoke("schema", "-o", tmp_path / "new" / "case.schema.json") == ""
    assert (tmp_path / "new" / "case.schema.json").read_text() == printed
    assert "name the file, for example" in refused("schema", "-o", tmp_path)
