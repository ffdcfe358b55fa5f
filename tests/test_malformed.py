"""Every malformed input ends in one line and exit code 2: the table of tests/support/malformed.py."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support import ROOT
from tests.support.broken import CANARY, Outcome
from tests.support.invoking import from_first_error
from tests.support.malformed import CASES, PAGE

#: Memory that a command may take before it refuses, beside that of one which reads nothing.
MOST_BYTES = 128 * 2**20


class Server:
    """A process that has imported everything, and forks one for each case."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.malformed", "--serve"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.baseline = self.outcome("case: empty").peak_bytes

    def outcome(self, name: str) -> Outcome:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{name}\n")
        self._process.stdin.flush()
        return Outcome(**json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    started = Server()
    yield started
    started.close()


@pytest.mark.parametrize("name", CASES)
def test_a_malformed_input_is_refused_in_one_line(server: Server, name: str) -> None:
    result = server.outcome(name)
    lines = from_first_error(result.stderr)
    assert result.code == 2, result.stderr
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("respeval: ")
    assert lines[0].isprintable()
    assert CASES[name].message
    assert CASES[name].message in lines[0]
    assert not any(CANARY in path for path in result.strayed), "code of the file was run"
    assert result.strayed == [], "a file outside of the run's folder was changed"
    assert result.peak_bytes - server.baseline < MOST_BYTES


def test_the_page_shows_every_malformed_input() -> None:
    names = re.findall(r"^\| ([^|]*?) \| `respeval", PAGE.read_text(), flags=re.MULTILINE)
    assert names == list(CASES), "run: make malformed"


def test_names_of_malformed_inputs_are_distinct() -> None:
    from tests.support.malformed import (
        broken_cases,
        broken_checkpoints,
        broken_data,
        broken_folders,
    )

    modules = (broken_checkpoints, broken_cases, broken_data, broken_folders)
    assert sum(len(module.CASES) for module in modules) == len(CASES) >= 60
