"""The help pages at 80 columns, their order and examples, and what a shell completes."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from respeval.cli import app
from respeval.commands.examples import EXAMPLES
from tests.support.invoking import invoke

ROOT: Any = typer.main.get_command(app)


def commands_below(group: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(words, command) of a group and of all that is in it."""
    yield path, group
    for name, command in getattr(group, "commands", {}).items():
        yield from commands_below(command, *path, name)


COMMANDS = dict(commands_below(ROOT))


@pytest.fixture(params=COMMANDS, ids=lambda path: " ".join(path) or "respeval")
def path(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return request.param


def page(*path: str, columns: int = 80, flag: str = "--help") -> str:
    result = CliRunner().invoke(app, [*path, flag], env={"COLUMNS": str(columns)})
    assert result.exit_code == 0, result.output
    return result.output


def test_no_name_is_cut_and_no_line_is_too_long(path: tuple[str, ...]) -> None:
    shown = page(*path)
    assert max(map(len, shown.splitlines())) <= 80
    names = [line.split("  ")[1] for line in shown.splitlines() if line.startswith("  -")]
    assert not [name for name in names if "…" in name]
    context = COMMANDS[path].context_class(COMMANDS[path])
    for parameter in COMMANDS[path].get_params(context):
        if getattr(parameter, "hidden", False):
            continue
        if parameter.param_type_name == "option":
            own = "/".join([", ".join(reversed(parameter.opts)), *parameter.secondary_opts])
            flags = {*parameter.opts, *parameter.secondary_opts}
            [found] = [
                n for n in names if flags <= set(n.replace("/", " ").replace(",", "").split())
            ]
            assert parameter.is_flag or found.rpartition(" ")[2] == parameter.metavar, own
            assert "<" not in found
        words = shown.split()
        told = (parameter.help or "").replace("{perturbations};", "").split()
        assert [word for word in told if word not in words] == []


def test_the_perturbations_stand_whole_in_a_narrow_page() -> None:
    assert (
        "\n      LABEL=patch:KELVIN,lat_center=…,lon_center=…,lat_width=…,lon_width=… or"
        in page("run")
    )


def test_h_is_help_everywhere(path: tuple[str, ...]) -> None:
    assert page(*path, flag="-h") == page(*path)
    assert "-h, --help" in page(*path)


def test_commands_stand_in_the_order_of_the_work() -> None:
    lines = page().partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in lines if not line.startswith("   ")] == [
        *("inspect", "run", "diagnose", "compare", "report"),
        *("gradient-probe", "export", "schema", "demo"),
    ]


def test_groups_of_options_stand_in_the_order_of_the_work() -> None:
    titles = [line for line in page("run").splitlines() if line[:1].strip()]
    assert [title.partition(" (")[0].rstrip(":") for title in titles[1:]] == [
        *("Arguments", "Options", "What is run", "What is read", "What is measured and kept"),
        *("The folder holds a run already", "How to compute", "What is said", "Examples"),
    ]


def test_a_wide_terminal_has_lines_that_can_be_read() -> None:
    assert 90 < max(map(len, page("run", columns=300).splitlines())) <= 100


def test_every_command_has_examples_that_parse(path: tuple[str, ...]) -> None:
    own = EXAMPLES[path[-1] if path else "respeval"]
    shown = page(*path).partition("Examples:\n")[2]
    assert [line.strip() for line in shown.splitlines()] == [
        line.strip() for line in own.splitlines()
    ]
    commands = own.replace("\\\n", " ").splitlines()
    for line in commands:
        words = shlex.split(line.partition("respeval ")[2])
        command, context = ROOT, ROOT.context_class(ROOT)
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
            context = command.context_class(command, parent=context)
        values, rest, _ = command.make_parser(context).parse_args(words)
        required = [p.name for p in command.params if p.required]
        assert rest == []
        assert [name for name in required if not values.get(name)] == []


def test_the_defaults_are_told() -> None:
    shown = " ".join(page("gradient-probe").split())
    assert "Number of batches. [default: 16]" in shown
    assert "[default: --spinup]" in page("export", "aimip")
    assert "Folder for the results. [required]" in shown


@pytest.mark.parametrize("columns", ["80", "40"])
def test_colours_are_for_terminals_alone(columns: str) -> None:
    command = [sys.executable, "-m", "respeval", "run", "--help"]
    environment = {**os.environ, "COLUMNS": columns}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert "\033" not in done.stdout
    assert "Usage: respeval run [OPTIONS] CHECKPOINT..." in " ".join(done.stdout.split())


def completed(shell: str, **variables: str) -> str:
    command = [sys.executable, "-m", "respeval"]
    environment = {**os.environ, **variables, "_RESPEVAL_COMPLETE": f"complete_{shell}"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_shell_completes_commands_and_options() -> None:
    found = completed("bash", COMP_WORDS="respeval gr", COMP_CWORD="1")
    assert found.split() == ["gradient-probe"]
    found = completed("bash", COMP_WORDS="respeval run --un", COMP_CWORD="2")
    assert found.split() == ["--until"]


def test_what_a_shell_shows_beside_is_one_line() -> None:
    words = {"_TYPER_COMPLETE_FISH_ACTION": "get-args", "_TYPER_COMPLETE_ARGS": "respeval run --"}
    lines = completed("fish", **words).splitlines()
    assert any(line.startswith("--perturb\tA perturbed climate") for line in lines)
    assert all(line.startswith("--") for line in lines)
    assert "{" not in "".join(lines)


def test_completion_is_installed_for_respeval(tmp_path: Path) -> None:
    assert "--install-completion" in invoke("--help")
    command = [sys.executable, "-m", "respeval", "--show-completion"]
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
    }
    done = subprocess.run([*command, "bash"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "complete -o default -F _respeval_completion respeval" in done.stdout
