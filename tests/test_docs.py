"""The docs name no option, file or function that isn't there."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from importlib import import_module
from itertools import accumulate
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import torch
import typer
import yaml
from typer.testing import CliRunner

import respeval.diagnostics
from respeval.checkpoints.normalized import NormalizedEmulator
from respeval.cli import app
from respeval.diagnostics import STATISTICS, catalog, diagnose, known_diagnostics
from respeval.distributed.mesh import Mesh
from respeval.emulator.noise import CounterNoise
from respeval.emulator.splitting import localize, most_parts
from respeval.loss_probe.files import VARIABLES
from tests.support import ROOT, architecture, enso, studies
from tests.support.architecture import STOREYS
from tests.support.inputs import inputs
from tests.support.packages import package_of_page, write_package
from tests.support.world import LAND, LATITUDE, OCEAN, SETTINGS, WORLD, mean, world

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]

#: A line that calls respeval, on one process or on several.
_COMMAND = re.compile(r"^ {0,8}(?:srun +)?(?:torchrun .*-m +|python -m +)?respeval +(.*)$")


def commands_of(page: Path) -> Iterator[str]:
    """The words after `respeval` of every command in a page's blocks, continued lines joined."""
    text = re.sub(r" *\\\n *", " ", page.read_text(encoding="utf-8"))
    fenced = False
    for line in text.splitlines():
        fenced ^= line.startswith("```")
        found = _COMMAND.match(line)
        if found and (fenced or line.startswith("    ")):
            yield found[1]


#: The page of benchmarks has results in its blocks, and no commands.
COMMANDS = [
    (page.name, words)
    for page in PAGES
    if page.name != "benchmarks.md"
    for words in commands_of(page)
]


@pytest.mark.parametrize(("page", "words"), COMMANDS)
def test_every_command_of_the_docs_parses(page: str, words: str) -> None:
    arguments = shlex.split(words, comments=True)
    command = typer.main.get_command(app)
    context = command.context_class(command, info_name="respeval")
    while hasattr(command, "commands"):
        name = arguments.pop(0)
        assert name in command.commands, f"respeval has no command {name}"
        command = command.commands[name]
        context = command.context_class(command, info_name=name, parent=context)
    _, rest, _ = command.make_parser(context).parse_args(arguments)
    assert rest == []


def test_the_readme_can_be_read_in_minutes() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 150


def test_the_readme_counts_the_malformed_inputs() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    page = (ROOT / "docs" / "malformed.md").read_text(encoding="utf-8")
    told = re.search(r"\[(\d+) kinds of malformed input\]", readme)
    rows = [line for line in page.splitlines() if line.startswith("| ") and "`respeval " in line]
    assert told
    assert 0 <= len(rows) - int(told[1]) < 50


def test_the_pages_have_commands() -> None:
    assert {"README.md", "guide.md", "index.md", "aimip.md", "ace.md"} <= {
        page for page, _ in COMMANDS
    }
    assert len(COMMANDS) > 40


#: Where the pages' files and modules are.
_FOLDERS = ("respeval", "tests", "examples", "benchmarks")

#: A path of the repository (`respeval/1` is a format), a file's name alone, a module or its content.
_PATH = re.compile(rf"(?<![\w./-])(?:{'|'.join(_FOLDERS)})/(?!\d)[\w/.-]*\w")
_FILE = re.compile(r"`(\w+\.py)`")
_DOTTED = re.compile(r"(?<![\w./-])(?:respeval|tests)(?:\.[A-Za-z_]\w*)+")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_of_the_docs_leads_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    if page.name == "CHANGELOG.md":  # its tables say first what was
        text = re.sub(r"^\|[^|]*\|", "", text, flags=re.MULTILINE)
    files = {file.name for folder in _FOLDERS for file in (ROOT / folder).rglob("*.py")}
    assert {path for path in _PATH.findall(text) if not (ROOT / path).exists()} == set()
    assert set(_FILE.findall(text)) <= files
    assert {name for name in _DOTTED.findall(text) if not is_importable(name)} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_target_of_make_in_the_docs_is_one(page: Path) -> None:
    rules = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z0-9-]+):", rules, re.MULTILINE))
    named = re.findall(
        r"(?:`|^ {4})make ([a-z0-9-]+)", page.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert set(named) <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_citation_says_what_the_package_says() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for key in ("version", "license", "keywords", "authors"):
        assert citation[key] == project[key], key


def is_importable(name: str) -> bool:
    """Whether a dotted name is one of a module, or of something in a module."""
    parent, _, last = name.rpartition(".")
    try:
        return hasattr(import_module(parent), last) or import_module(name) is not None
    except ModuleNotFoundError:
        return False


ARCHITECTURE = ROOT / "docs" / "architecture.md"


def wings_of_the_page() -> list[tuple[str, str, list[str]]]:
    """(storey, wing, rooms) of every row of the table of wings, as they follow each other."""
    table = ARCHITECTURE.read_text(encoding="utf-8").partition("\n## The wings\n")[2]
    rows = re.findall(r"^\| (?:\d ([\w ]*) )?\| `(\w+)` \|[^|]*\| (.*)\|$", table, re.MULTILINE)
    storeys = accumulate((storey for storey, _, _ in rows), lambda above, own: own or above)
    return [
        (storey, wing, re.findall(r"`([\w/]+)`", rooms))
        for storey, (_, wing, rooms) in zip(storeys, rows, strict=True)
    ]


def test_the_table_of_wings_is_the_order_of_the_house() -> None:
    found: dict[str, tuple[str, ...]] = {}
    for storey, wing, _ in wings_of_the_page():
        found[storey] = (*found.get(storey, ()), wing)
    assert list(found.items()) == list(STOREYS.items())


@pytest.mark.parametrize(("wing", "rooms"), [row[1:] for row in wings_of_the_page()])
def test_the_table_names_every_room(wing: str, rooms: list[str]) -> None:
    entries = (ROOT / "respeval" / wing).glob("*")
    there = {
        f"{entry.name}/" if entry.is_dir() else entry.stem
        for entry in entries
        if entry.suffix == ".py" or (entry / "__init__.py").exists()
    }
    assert sorted(rooms) == sorted(there - {"__init__"})


def test_the_picture_shows_the_wings_and_is_current() -> None:
    """`make picture` was run after its last change; what matplotlib's version changes is left out."""
    shown, drawn = architecture.PICTURE.read_text(), architecture.draw().decode()
    assert set(re.findall(r'id="wing-(\w+)"', shown)) == {w for ws in STOREYS.values() for w in ws}
    texts = r"<!-- (.*) -->"
    assert re.findall(texts, shown) == re.findall(texts, drawn)


def tables_of(page: Path) -> dict[str, dict[str, tuple[tuple[str, ...], str]]]:
    """File -> variable -> dimensions and what it is, from the page's sections and their tables."""
    found: dict[str, dict[str, tuple[tuple[str, ...], str]]] = {}
    for section in page.read_text(encoding="utf-8").split("\n## ")[1:]:
        title = re.match(r"`([^`]+\.nc)`", section)
        rows = re.findall(r"^\| `(\w+)` \|([^|]*)\| ((?:\\\||[^|])*)\|$", section, re.MULTILINE)
        if title:
            found[title[1]] = {
                name: (tuple(re.findall(r"\w+", dims)), what.strip()) for name, dims, what in rows
            }
    return found


TABLES = tables_of(ROOT / "docs" / "files.md")


@pytest.fixture(scope="module")
def a_run(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("docs") / "out"
    options = ["--steps", "4", "--segment", "2 steps", "--save-members"]
    for folder, more in (("known", []), ("out", ["--reference", str(out.parent / "known")])):
        words = ["run", str(study), *options, *more, "-o", str(out.parent / folder)]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, result.stderr
    return out


@pytest.fixture(scope="module")
def a_long_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("enso")
    checkpoint = enso.write_study(folder, 2)
    result = CliRunner().invoke(app, ["run", str(checkpoint), "-o", str(folder / "out")])
    assert result.exit_code == 0, result.stderr
    return folder / "out"


#: Files of a run of two years with an El Niño.
OF_LONG_RUNS = ("indices.nc", "regressions.nc")


@pytest.mark.parametrize(
    "name", [name for name in TABLES if name not in ("gradient_profile.nc", *OF_LONG_RUNS)]
)
def test_the_tables_are_what_is_in_a_run(a_run: Path, name: str) -> None:
    hold_table_against(a_run, name)


@pytest.mark.parametrize("name", OF_LONG_RUNS)
def test_the_tables_are_what_is_in_a_run_with_an_el_nino(a_long_run: Path, name: str) -> None:
    hold_table_against(a_long_run, name)


def hold_table_against(a_run: Path, name: str) -> None:
    rows, seen = dict(TABLES[name]), set()
    tells_diagnostics = name in ("diagnostics.nc", "running.nc")
    of_diagnostics = {entry.name for entry in catalog()} if tells_diagnostics else set()
    with netCDF4.Dataset(a_run / "group_means.nc") as means:
        outputs = [n for n, v in means.variables.items() if len(v.dimensions) == 4]
    [path, *_] = sorted(a_run.glob(name))
    with netCDF4.Dataset(path) as opened:
        for variable in opened.variables.values():
            own = re.sub(rf"^({'|'.join(outputs)})(?=$|_)", "NAME", variable.name)
            if own not in rows and tells_diagnostics:
                own = re.sub(rf"_({'|'.join(STATISTICS)})$", "", own)
            dims = [dim for dim in variable.dimensions if not dim.startswith("string")]
            if own not in of_diagnostics:
                assert own in rows, f"docs/files.md has no {own} of {name}"
                assert rows[own][0] == tuple(dims), own
            seen.add(own)
    missing = {row for row, (_, what) in rows.items() if not what.startswith("where ")} - seen
    assert missing == set()


def test_the_table_of_a_probe_is_what_it_writes() -> None:
    expected = {name: dims for name, (dims, _) in VARIABLES.items()}
    assert {name: dims for name, (dims, _) in TABLES["gradient_profile.nc"].items()} == expected


def test_the_diagnostic_of_the_docs_works(site: Path) -> None:
    """As a package of its own, whose two files the page shows."""
    files = package_of_page(ROOT / "docs" / "extending.md")
    entries = tomllib.loads(files.pop("pyproject.toml"))["project"]["entry-points"]
    ((module, source),) = files.items()
    ((name, value),) = entries["respeval.diagnostics"].items()
    write_package(site, module.removesuffix(".py"), source, "respeval.diagnostics", **{name: value})
    entry = known_diagnostics()[name]
    assert (entry.units, entry.dims) == ("K", "perturbation")
    found = diagnose(world(), SETTINGS)
    change = 4.0 * np.asarray(WORLD["T"][1])
    tropics = np.abs(LATITUDE) < SETTINGS.tropical_lat_max
    expected = mean(change, tropics & LAND) - mean(change, tropics & OCEAN)
    assert expected != 0.0
    assert found[name].item() == pytest.approx(expected, rel=1e-10)
    assert found[name].attrs["units"] == entry.units
    assert f"{name}_stderr" in found


def test_what_a_declaration_needs_is_public() -> None:
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    section = page.split("All that a declaration needs")[1].split("The modules behind")[0]
    names = set(re.findall(r"`(\w+)(?:\(\))?`", section))
    assert len(names) > 10
    assert names <= set(respeval.diagnostics.__all__)


def test_the_split_emulator_of_the_docs_works() -> None:
    """A network within cells, on every block of the globe."""
    page = (ROOT / "docs" / "readers.md").read_text(encoding="utf-8")
    [source] = re.findall(r"```python\n(class WithinCells.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {"NormalizedEmulator": NormalizedEmulator}
    exec(source, names)
    manifest = studies.manifest(num_noise_channels=1)
    channels = manifest.num_network_inputs(), manifest.num_network_outputs()
    network = torch.nn.Conv2d(*channels, kernel_size=1)
    grid, mesh = manifest.spec().grid, Mesh(2, 3)
    given = inputs(2, grid)

    def noise() -> CounterNoise:
        return CounterNoise(0, [(0, 0), (1, 0)], 0, None)

    with torch.inference_mode():
        whole = names["WithinCells"](manifest, network).step(*given, noise())
        for place, tile in enumerate(mesh.tiles(grid.shape, grid.north_to_south)):
            part = names["WithinCells"](manifest, network)
            assert most_parts(part) == grid.shape
            localize(part, mesh.at(place))
            found = part.step(*map(tile.of, given), noise())
            torch.testing.assert_close(found, tile.of(whole))
