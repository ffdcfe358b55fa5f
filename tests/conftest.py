"""Fixtures of all tests: small studies that they only read from, and what they ignore."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from respeval.diagnostics.formulas.registry import declared
from tests.support.gpu import kind
from tests.support.studies import write_study

# The tests of ACE have an environment, and a conftest, of their own; `make ace` runs them alone. So
# do those of the demo's files, which `make exchange` runs, and those on a GPU, which `make gpu` runs.
collect_ignore = ["exchange", *([] if find_spec("fme") else ["ace"]), *([] if kind() else ["gpu"])]

os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=8, help="kills of test_kill.py; 100: make soak")


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--kills"))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages, whose diagnostics this process has not asked for yet."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    declared.cache_clear()
    before = set(sys.modules)
    yield folder
    declared.cache_clear()
    for name in set(sys.modules) - before:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a study that tests only read from."""
    return write_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="session")
def long_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose case takes some seconds: 16 months of a forcing that repeats."""
    folder = tmp_path_factory.mktemp("long") / "study"
    return write_study(folder, num_times=366, days=485, repeat="year")
