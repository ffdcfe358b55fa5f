"""Tests that need fme: `make ace` runs them in an environment of their own; elsewhere pytest passes
this folder by."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

collect_ignore_glob = [] if find_spec("fme") else ["test_*.py"]

if find_spec("fme"):
    from tests.support.ace import make_fixtures
    from tests.support.ace.files import AceFiles

    os.environ.update(make_fixtures.FME_ENVIRONMENT)


@pytest.fixture(scope="session")
def ace() -> AceFiles:
    """The trained checkpoints and their data."""
    if not make_fixtures.is_current():
        pytest.fail("the ACE checkpoints are missing, or older than the scripts: make ace")
    return AceFiles(make_fixtures.FOLDER)
