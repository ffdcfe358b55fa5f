"""Every file against the CF conventions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.exchange.checker import prepare, verdict_on

#: Warnings that stay, and why.
EXPECTED = (
    # CF allows the standard name of an axis that is no longer in the file; the checker doesn't know.
    re.compile(r"cell_methods name component (time|longitude|batch) does not match a dimension"),
    # CF wants the terms at the edges there (7.1); the checker wants those of the layers' middles.
    re.compile(r"lev_bnds' has attr 'formula_terms' .* does not agree"),
    # The bounds of a scalar coordinate have one dimension (CF 7.1); the checker wants two of them.
    re.compile(r"time_bnds specified by time should have at least two dimensions"),
    # CF recommends other axes before time; CDO reads a field only with time first.
    re.compile(r"has dimension order|dimensions .* are not in the recommended order T, Z, Y, X"),
)


@pytest.fixture(scope="session")
def _prepared() -> None:
    prepare()


@pytest.mark.usefixtures("_prepared")
def test_the_compliance_checker_finds_no_error(file: Path) -> None:
    verdict = verdict_on(file)
    assert verdict.errors == []
    assert verdict.broken == []
    others = [w for w in verdict.warnings if not any(known.search(w) for known in EXPECTED)]
    assert others == []
