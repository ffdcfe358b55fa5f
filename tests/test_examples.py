"""The examples in docstrings give what they show."""

from __future__ import annotations

import ast
import doctest
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from tests.support import ROOT

WINGS = ("fields", "emulator", "diagnostics", "loss_probe")
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)


def examples_in(path: Path) -> Iterator[str]:
    """Names of what has an example in its docstring, read without importing the module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, DOCUMENTED) and ">>> " in (ast.get_docstring(node) or ""):
            yield getattr(node, "name", path.stem)


#: Module -> what has an example in it.
EXAMPLES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): found
    for wing in WINGS
    for path in sorted((ROOT / "respeval" / wing).rglob("*.py"))
    if (found := list(examples_in(path)))
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_a_module_give_what_they_show(name: str) -> None:
    """What a failure shows stands in the captured output."""
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    results = doctest.testmod(import_module(name), optionflags=flags)
    assert results.failed == 0
    assert results.attempted >= len(EXAMPLES[name])


def test_the_wings_have_examples() -> None:
    assert {name.split(".")[1] for name in EXAMPLES} == set(WINGS)
    assert sum(map(len, EXAMPLES.values())) > 15
