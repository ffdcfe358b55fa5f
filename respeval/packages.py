"""What installed packages bring: objects by the names of their entry points, each name taken once.

Nothing of a package is imported before one of its objects is loaded.
"""

from __future__ import annotations

from collections.abc import Container
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from respeval.errors import InputError

T = TypeVar("T")


def offered(group: str, kind: str, own: Container[str]) -> dict[str, EntryPoint]:
    """Entry points of a group by name. Raises InputError where a name is taken.

    kind: what they bring, in words. own: the names that are respeval's own.
    """
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        first = found.get(entry.name)
        if entry.name in own or (first is not None and first.value != entry.value):
            owner = "respeval's own" if first is None else f"that of {package_of(first)} too"
            raise InputError(
                f"{package_of(entry)} brings a {kind} named {entry.name!r}, which is {owner}: "
                "uninstall it, or give its entry point another name"
            )
        found[entry.name] = entry
    return found


def load(entry: EntryPoint, kind: str, expected: type[T]) -> T:
    """The object of an entry point. Raises InputError where it can't be loaded, or is another thing.

    kind: what it is, in a word.
    """
    try:
        brought = entry.load()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
    else:
        if isinstance(brought, expected):
            return brought
        wanted = f"{expected.__module__}.{expected.__name__}"
        reason = f"{entry.value} is {type(brought).__name__}, expected a {wanted}"
    raise InputError(f"the {entry.name!r} {kind} of {package_of(entry)} can't be loaded ({reason})")


def package_of(entry: EntryPoint) -> str:
    """The package that an entry point is of, for messages."""
    return f"the package {entry.dist.name}" if entry.dist is not None else "a package"
