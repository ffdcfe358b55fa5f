"""Files of settings: strict YAML, frozen models, and what is wrong with either in one line."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ConfigDict, ValidationError

from respeval.errors import InputError
from respeval.files.text import MAX_DEPTH, read_document

#: Models of settings are checked where they are made and stay as they are; unknown keys are errors.
STRICT = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

#: People write these files; a training's configuration has some ten thousand bytes.
_MAX_BYTES = 2**20

#: Most keys and values of a file, those that stand behind an alias counted each time.
_MAX_VALUES = 100_000


class _StrictLoader(yaml.SafeLoader):
    """Plain data only; refuses a key that is given twice, and leaves dates as texts.

    Aliases are followed, but not where they make much of little, or a value that holds itself.
    """

    def get_single_node(self) -> yaml.Node | None:
        node: yaml.Node | None = super().get_single_node()
        if node is not None:
            _check_extent(node)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        twice = sorted(key for key, count in keys.items() if count > 1)
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"{twice[0]!r} is given twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


def _check_extent(root: yaml.Node) -> None:
    """Raise YAMLError where a document, with all aliases written out, is too large or too deep."""
    extents: dict[yaml.Node, int] = {}

    def extent(node: yaml.Node, depth: int) -> int:
        if depth > MAX_DEPTH:
            raise _fault(node, f"it is nested more than {MAX_DEPTH} deep, or within itself")
        if node not in extents:
            parts = [part for pair in node.value for part in pair] if _is_mapping(node) else []
            parts = node.value if isinstance(node, yaml.SequenceNode) else parts
            extents[node] = 1 + sum(extent(part, depth + 1) for part in parts)
        if extents[node] > _MAX_VALUES:
            raise _fault(node, f"its aliases stand for more than {_MAX_VALUES:,} values")
        return extents[node]

    extent(root, 1)


def _is_mapping(node: yaml.Node) -> bool:
    return isinstance(node, yaml.MappingNode)


def _fault(node: yaml.Node, problem: str) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


_StrictLoader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(path: Path, kind: str) -> dict[str, Any]:
    """The content of a YAML file of keys and values; kind: what the file is, for messages.

    Raises InputError where it can't be read, holds anything else, or gives a key twice.
    """
    text = read_document(path, kind, _MAX_BYTES)
    try:
        content = yaml.load(text, _StrictLoader)
    except RecursionError:
        raise InputError(f"{path} is no {kind}: it is nested too deeply") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark is not None else ""
        raise InputError(f"{path} is no YAML{line}: {getattr(error, 'problem', error)}") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # A value that is marked as a number or a date and is none
        raise InputError(f"{path} is no YAML: a value can't be read ({error})") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InputError(f"{path} is no {kind}: expected lines of 'key: value'")
    return content


def first_fault(error: ValidationError) -> Mapping[str, Any]:
    """The fault to tell of, as pydantic describes it: an unknown key before all others."""
    faults = error.errors()
    unknown = [fault for fault in faults if fault["type"] == "extra_forbidden"]
    return (unknown or faults)[0]


def wrong_value(fault: Mapping[str, Any]) -> str:
    """Where a wrong value stands, what is expected there, and what was got."""
    message = str(fault["msg"]).removeprefix("Value error, ")
    got = fault.get("input")
    is_shown = isinstance(got, str | int | float | bool) and repr(got) not in message
    shown = f", got {got!r:.200}" if is_shown else ""
    where = f"{'.'.join(map(str, fault['loc']))}: " if fault["loc"] else ""
    return f"{where}{message}{shown}"


def unknown_key(where: Sequence[str], known: Sequence[str]) -> str:
    """What is wrong with the last key of a path of keys, and the nearest known one in its place."""
    nearest = nearest_names(where[-1], known)
    hint = f"did you mean {nearest}?" if nearest else f"known keys: {', '.join(known)}"
    return f"unknown key {'.'.join(where)!r}; {hint}"


def nearest_names(name: str, known: Iterable[str]) -> str:
    """The known names that this one begins, else the one spelt most like it, else those that hold it.

    >>> nearest_names("year", ["years", "days"])
    "'years'"
    >>> nearest_names("lat", ["lat_center", "lat_width", "scale"])
    "'lat_center' or 'lat_width'"
    """
    known = list(known)
    close = [other for other in known if other.startswith(f"{name}_")]
    close = close or difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if not close and len(name) > 2:
        close = [other for other in known if name in other]
    return " or ".join(f"{other!r}" for other in close[:3])
