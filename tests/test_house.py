"""The order of the house: who may import whom, and what opening costs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeGuard

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.support import ROOT
from tests.support.architecture import STOREYS

PACKAGE = ROOT / "respeval"

#: From top to bottom: a module imports only from rows above its own, and within it.
ROWS = [wing for wings in STOREYS.values() for wing in wings]

#: Each takes a tenth of a second or more to import, and none is needed to print a help page.
HEAVY = {"torch", "torch_harmonics", "xarray", "dask", "pandas", "netCDF4", "matplotlib", "scipy"}

SOURCES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    """Dotted name of a module: `respeval.planet` for respeval/planet/__init__.py."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def row_of(module: str) -> str | None:
    """The row of the table that a module belongs to; None for the package itself and for others."""
    parts = module.split(".")
    return parts[1] if parts[0] == "respeval" and len(parts) > 1 else None


def imported(tree: ast.AST, module: str, *, is_package: bool) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import in a module, in functions and for types only as well.

    `from a import b` gives `a.b`, since b may be a module.
    """
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            prefix = ".".join([*base, *filter(None, [node.module])])
            yield from ((node.lineno, f"{prefix}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and "import" in ast.unparse(node.func):
            named = [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)]
            yield from ((node.lineno, str(name)) for name in named)


def imports_of(path: Path) -> list[tuple[int, str]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return list(imported(tree, module_name(path), is_package=path.name == "__init__.py"))


def order_faults(path: Path, imports: list[tuple[int, str]]) -> list[str]:
    """What in a module's imports goes against the table."""
    own = row_of(module_name(path))
    if own is None:
        return []
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for line, name in imports
        if (row := row_of(name)) in ROWS
        and (ROWS.index(row) > ROWS.index(own) or (own == "__main__" and row != "cli"))
    ]


def is_torch_distributed(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and ast.unparse(node) == "torch.distributed"


def prints(node: ast.AST) -> TypeGuard[ast.expr | ast.stmt]:
    """Whether a node writes to the terminal, or imports what does."""
    if isinstance(node, ast.Call):
        return ast.unparse(node.func) in {"print", "sys.stdout.write"}
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").split(".")[0] == "rich"
    return isinstance(node, ast.Import) and any(a.name.split(".")[0] == "rich" for a in node.names)


def test_every_module_has_a_row() -> None:
    rows = {row_of(module_name(path)) for path in SOURCES} - {None}
    assert rows <= set(ROWS), f"no row for {sorted(rows - set(ROWS))}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: module_name(path))
def test_a_module_imports_only_from_rows_above_its_own(path: Path) -> None:
    assert order_faults(path, imports_of(path)) == []


@pytest.mark.parametrize(
    "source",
    [
        "from respeval.case import Case",
        "from respeval import case",
        "import respeval.case as c",
        "from ..case import Case",
        "from .. import case",
        "def f():\n    from respeval.case import Case",
        "if TYPE_CHECKING:\n    from respeval.case import Case",
        "import importlib\nimportlib.import_module('respeval.case')",
    ],
)
def test_an_import_from_below_is_found_however_it_is_written(source: str) -> None:
    path = PACKAGE / "checkpoints" / "native.py"
    found = list(imported(ast.parse(source), module_name(path), is_package=False))
    assert len(order_faults(path, found)) == 1


@pytest.mark.parametrize(
    "source",
    ["from . import ace", "from ..grid import Grid", "import torch", "import configparser"],
)
def test_imports_from_above_and_from_outside_are_free(source: str) -> None:
    path = PACKAGE / "checkpoints" / "native.py"
    found = list(imported(ast.parse(source), module_name(path), is_package=False))
    assert found
    assert order_faults(path, found) == []


def rooms_of(wing: str) -> dict[str, set[str]]:
    """Module of a wing -> modules of the same wing that it imports; a package's face is one of them."""
    modules = {module_name(path) for path in SOURCES if row_of(module_name(path)) == wing}
    return {
        module_name(path): {
            found for _, name in imports_of(path) if (found := within(name, modules))
        }
        - {module_name(path)}
        for path in SOURCES
        if module_name(path) in modules
    }


def within(name: str, modules: set[str]) -> str | None:
    """The module of these that `name` is, or is a content of."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name or None


def circle_in(rooms: Mapping[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle, or none: what is left without those that do not."""
    left = dict(rooms)
    while free := [room for room, others in left.items() if not others & left.keys()]:
        for room in free:
            del left[room]
    return sorted(left)


@pytest.mark.parametrize("wing", ROWS)
def test_the_modules_of_a_wing_name_rooms_and_run_in_no_circle(wing: str) -> None:
    rooms = rooms_of(wing)
    assert circle_in(rooms) == []
    assert [room for room, others in rooms.items() if f"respeval.{wing}" in others] == []


def test_a_circle_is_found() -> None:
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": set(), "e": {"d"}}) == [
        "a",
        "b",
        "c",
    ]


def test_statistics_know_no_formula() -> None:
    rooms = rooms_of("diagnostics")
    of_statistics = {name: seen for name, seen in rooms.items() if ".statistics" in name}
    assert len(of_statistics) > 3
    formulas = "respeval.diagnostics.formulas"
    assert [
        n for n, seen in of_statistics.items() if any(s.startswith(formulas) for s in seen)
    ] == []


def test_the_package_itself_imports_only_the_standard_library() -> None:
    """What it offers comes when it is asked for; types are read under `if TYPE_CHECKING` alone."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    at_the_top = ast.Module(
        [n for n in tree.body if not isinstance(n, ast.FunctionDef | ast.If)], []
    )
    roots = {name.split(".")[0] for _, name in imported(at_the_top, "respeval", is_package=True)}
    assert roots <= sys.stdlib_module_names


def test_only_two_rooms_know_torch_distributed() -> None:
    users = [
        f"{path.relative_to(ROOT)}"
        for path in SOURCES
        if any(f"{name}.".startswith("torch.distributed.") for _, name in imports_of(path))
        or any(map(is_torch_distributed, ast.walk(ast.parse(path.read_text(encoding="utf-8")))))
    ]
    assert set(users) <= {"respeval/distributed/comm.py", "respeval/distributed/mesh.py"}


def test_diagnostics_need_no_torch() -> None:
    torch_users = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in SOURCES
        if row_of(module_name(path)) == "diagnostics"
        for line, name in imports_of(path)
        if name.split(".")[0] in {"torch", "torch_harmonics"}
    ]
    assert torch_users == []


def test_only_the_command_line_prints() -> None:
    printers = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        if row_of(module_name(path)) not in {"cli", "commands"}
        and not module_name(path).startswith("respeval.presentation.console")
        and module_name(path) != "respeval.files.hashing"  # a program: it answers who began it
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if prints(node)
    ]
    assert printers == []


def modules_imported_by(*arguments: str) -> set[str]:
    """Top-level modules that `python ARGUMENTS` imports, as the interpreter itself reports them."""
    command = [sys.executable, "-X", "importtime", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr.splitlines()[-1]
    names = re.findall(r"^import time:.*\|\s*([\w.]+)$", done.stderr, flags=re.MULTILINE)
    return {name.split(".")[0] for name in names}


def test_help_imports_nothing_heavy() -> None:
    """What keeps `respeval --help` under half a second; its time is for a benchmark."""
    found = modules_imported_by("-m", "respeval", "--help")
    assert "typer" in found
    assert found & HEAVY == set()


def test_what_reads_a_finished_run_imports_no_torch_through_others() -> None:
    found = modules_imported_by("-c", "import respeval.presentation.console.tables")
    assert "xarray" in found
    assert found.isdisjoint({"torch", "torch_harmonics", "dask", "matplotlib"})


#: Lock file -> the extras that it is made for.
LOCKS = {"requirements.lock": ["dev"], "requirements-ace.lock": ["dev", "ace"]}


def locked_versions(file: str) -> dict[str, Version]:
    lines = (ROOT / file).read_text().splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {name: Version(number) for name, number in pairs}


def required(*extras: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    parts = [project["dependencies"], *(project["optional-dependencies"][name] for name in extras)]
    return [Requirement(line) for part in parts for line in part]


@pytest.mark.parametrize(("file", "extras"), LOCKS.items())
def test_lock_satisfies_pyproject(file: str, extras: list[str]) -> None:
    """`make lock` was run after the last change of dependencies."""
    locked = locked_versions(file)
    unmet = [
        str(r)
        for r in required(*extras)
        if locked.get(r.name.lower(), Version("0")) not in r.specifier
    ]
    assert unmet == []


def test_locks_agree_on_what_respeval_imports() -> None:
    core, ace = (locked_versions(file) for file in LOCKS)
    own = {requirement.name.lower() for requirement in required()}
    assert {name for name in own if core[name] != ace[name]} == {"torch-harmonics"}
