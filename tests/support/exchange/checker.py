"""The IOOS compliance-checker on one file: what it says, by weight."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compliance_checker.cf import util
from compliance_checker.suite import CheckSuite

ERROR, WARNING = 3, 2


@dataclass
class Verdict:
    """Messages of errors and of warnings, and the checks that broke down."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


def _remembered(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function of an open file that looks at it once; callers get copies."""
    found: dict[Any, Any] = {}

    @functools.wraps(function)
    def answer(opened: Any) -> Any:
        if opened not in found:
            found[opened] = function(opened)
        known = found[opened]
        return known.copy() if isinstance(known, (list, dict, set)) else known

    return answer


def prepare() -> None:
    """Load the checks, and let what they ask of a whole file be answered once.

    They ask it anew for every variable: two minutes for a file of 400, instead of seconds.
    """
    CheckSuite.load_all_available_checkers()
    for name, function in vars(util).copy().items():
        if not (name.startswith("get_") and inspect.isfunction(function)):
            continue
        if list(inspect.signature(function).parameters) == ["nc"]:
            setattr(util, name, _remembered(function))


def verdict_on(path: Path) -> Verdict:
    """Against the version of the conventions that the file itself names."""
    suite = CheckSuite()
    with suite.load_dataset(str(path)) as opened:
        convention = opened.Conventions.split()[0].lower().replace("-", ":")
        [(groups, broken)] = suite.run_all(opened, [convention]).values()
    verdict = Verdict(broken=[f"{check}: {error[0]!r}" for check, error in broken.items()])
    for group in groups:
        messages = [f"{group.name}: {message}" for message in group.msgs]
        failed = group.value[0] != group.value[1]
        if failed and group.weight == ERROR:
            verdict.errors += messages or [group.name]
        elif failed and group.weight == WARNING:
            verdict.warnings += messages or [group.name]
    return verdict
