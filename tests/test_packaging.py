"""What is shipped: the README of a package index, and the recipes of the containers."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from tests.support import ROOT

CONTAINERS = ROOT / "containers"
DOCKERFILE = (CONTAINERS / "Dockerfile").read_text(encoding="utf-8")
DEFINITION = (CONTAINERS / "respeval.def").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def readme() -> ModuleType:
    spec = importlib.util.spec_from_file_location("readme", ROOT / ".ci" / "readme.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_index_gets_no_image_and_no_relative_link(readme: ModuleType) -> None:
    page = (
        "# Title\n\n![Maps](docs/images/a.png)\n\n*A caption\nof two lines.*\n\n"
        "See [the guide](docs/guide.md#x), [torch](https://pytorch.org) and [below](#title).\n\n"
        '<img src="docs/images/b.svg" alt="b">\n\n*Emphasis* begins this one.\n'
    )
    assert readme.for_an_index(page) == (
        "# Title\n\nSee the guide, [torch](https://pytorch.org) and [below](#title).\n\n"
        "*Emphasis* begins this one.\n"
    )


def test_the_readme_keeps_its_words(readme: ModuleType) -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = readme.for_an_index(page)
    assert "![" not in shown
    assert re.findall(r"\]\((?!https?://|#)", shown) == []
    assert [line for line in page.splitlines() if line.startswith("#")] == [
        line for line in shown.splitlines() if line.startswith("#")
    ]


def pins(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))  # type: ignore[misc]


def test_containers_hold_what_respeval_asks_for_at_the_locked_versions() -> None:
    core, held = pins(ROOT / "requirements.lock"), pins(CONTAINERS / "requirements.lock")
    assert held.items() <= core.items()
    assert not held.keys() & {"pytest", "ruff", "mypy", "hypothesis"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["regrid"]]
    names = {re.split(r"[^\w-]", line)[0].lower() for line in asked}
    assert names <= held.keys()


def test_what_the_dockerfile_copies_is_there_and_not_ignored() -> None:
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    allowed = re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert sorted(copied) == sorted(allowed)
    assert [source for source in copied if not (ROOT / source).exists()] == []
    assert re.search(r"^USER [1-9]\d*$", DOCKERFILE, re.MULTILINE)
    assert 'ENTRYPOINT ["respeval"]' in DOCKERFILE


def test_the_definition_has_the_sections_and_files_of_the_dockerfile() -> None:
    head, *sections = re.split(r"^%(?=\w)", DEFINITION, flags=re.MULTILINE)
    base = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert head.startswith(f"Bootstrap: docker\nFrom: {base[0]}\n")
    assert len(set(base)) == 1
    bodies = dict(section.split("\n", 1) for section in sections)
    assert list(bodies) == [
        *("arguments", "labels", "files", "post", "environment", "runscript", "test", "help")
    ]
    pairs = [line.split() for line in bodies["files"].splitlines() if line.strip()]
    allowed = re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert sorted(source for source, _ in pairs) == sorted(allowed)
    assert [target for source, target in pairs if target != f"/build/{source}"] == []
    assert "ACCELERATOR=cpu" in bodies["arguments"]
    assert "{{ ACCELERATOR }}" in bodies["post"]
    assert 'exec respeval "$@"' in bodies["runscript"]
