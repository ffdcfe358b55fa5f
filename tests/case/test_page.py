"""docs/case.md has every key of the case file, with its default."""

from __future__ import annotations

import re
from pathlib import Path

from respeval.case.case import Case
from respeval.case.file import load_case
from tests.support import ROOT

PAGE = (ROOT / "docs" / "case.md").read_text(encoding="utf-8")

#: Other ways to say a length, and what excludes perturbations.
ELSEWHERE = {"days", "steps", "protocol"}


def example() -> str:
    found = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found[1]


def test_the_example_is_a_case_with_every_key(tmp_path: Path) -> None:
    path = tmp_path / "case.yaml"
    path.write_text(example(), encoding="utf-8")
    case = load_case(path, {})
    assert case.model_fields_set == set(Case.model_fields) - ELSEWHERE
    assert "`protocol: aimip`" in PAGE


def test_what_it_calls_a_default_is_one(tmp_path: Path) -> None:
    said = set(re.findall(r"^(\w+):[^#]*# default;", example(), re.MULTILINE))
    assert len(said) > 10
    path = tmp_path / "case.yaml"
    path.write_text(example(), encoding="utf-8")
    given = load_case(path, {}).model_dump()
    plain = load_case(None, {"forcing": "f.nc", "initial_condition": "i.nc", "years": 1})
    defaults = plain.model_dump()
    assert {key: given[key] for key in said} == {key: defaults[key] for key in said}
    others = set(given) - said - {"perturbations", "roles", "reader"}
    assert {key for key in others if given[key] == defaults[key]} <= ELSEWHERE
