"""Commands in this process, and what they must say."""

from __future__ import annotations

from typing import Any

from typer.testing import CliRunner

from respeval.cli import app


def invoke(*arguments: object, code: int = 0) -> str:
    """Output of a command that must end with this exit code, of stdout and stderr."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.output


def refused(*arguments: object, code: int = 2) -> str:
    """The one line on stderr of a command that must be refused."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    lines = from_first_error(result.stderr)
    assert len(lines) == 1, result.stderr
    return lines[0]


def from_first_error(stderr: str) -> list[str]:
    """The lines from the first one on that tells of an error: what was told before is left out."""
    lines = stderr.strip().splitlines()
    begins = ("respeval: ", "Traceback")
    first = next((i for i, line in enumerate(lines) if line.startswith(begins)), len(lines))
    return lines[first:]


def errors_in(stderr: str) -> list[str]:
    """The lines that tell of an error, among notes."""
    return [line for line in stderr.splitlines() if line.startswith("respeval: ")]


def invoked(*arguments: object, code: int = 0) -> Any:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result
