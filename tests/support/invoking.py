"""Commands in this process, and what they must say."""

from __future__ import annotations

from typing import Any

from typer.testing import CliRunner

from respeval.cli import app


def invoke(*arguments: object, code: int = 0) -> str:
    """Output of a command that must end with this exit code."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.output


def refused(*arguments: object, code: int = 2) -> str:
    """The one line on stderr of a command that must be refused."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("respeval: ")
    return lines[0]


def invoked(*arguments: object, code: int = 0) -> Any:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result
