"""Small text files that come from anywhere, read whole: only so large, and JSON without its traps."""

from __future__ import annotations

import json
import math
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from respeval.errors import InputError

#: Most bytes of a file that is read as text. A run of 10,000 years names its segments in 30 MB.
MAX_BYTES = 256 * 2**20

#: Containers within containers; deeper ones are refused before anything walks through them.
MAX_DEPTH = 40

_MAX_DIGITS = 19


def check_regular(path: Path, kind: str) -> None:
    """Raise InputError where a path leads to no ordinary file: a pipe or a device may never end.

    kind: what the file is, for messages.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: no such {kind}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} can't be read ({reason})") from None
    if stat.S_ISDIR(mode):
        raise InputError(f"{path} can't be read (it is a folder), expected a {kind}")
    if not stat.S_ISREG(mode):
        raise InputError(f"{path} can't be read (it is a pipe or a device), expected a {kind}")


def read_document(path: Path, kind: str, most_bytes: int = MAX_BYTES) -> str:
    """The text of a file. Raises InputError where there is none, or it is no text of that size."""
    check_regular(path, kind)
    try:
        size = path.stat().st_size
        if size > most_bytes:
            raise InputError(
                f"{path} is no {kind}: it has {size / 1e6:,.0f} MB, expected at most "
                f"{most_bytes / 1e6:,.0f} MB"
            )
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is no {kind}: byte {error.start:,} is no UTF-8 text; save it as UTF-8"
        ) from None
    except OSError as error:
        raise InputError(f"{path} can't be read ({error.strerror})") from None


def parse_json(text: str) -> Any:
    """Plain JSON. Raises ValueError in a few words.

    Refused are nesting beyond `MAX_DEPTH`, a key that is given twice, NaN and infinities, and whole
    numbers that no computer word holds.
    """
    try:
        content = json.loads(
            text,
            object_pairs_hook=_each_key_once,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_whole,
        )
    except RecursionError:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep") from None
    if _is_deeper(content, MAX_DEPTH):
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
    return content


def _is_deeper(content: Any, depth: int) -> bool:
    level = [content]
    for _ in range(depth + 1):
        containers = [part for part in level if isinstance(part, dict | list)]
        if not containers:
            return False
        level = [
            inner
            for part in containers
            for inner in (part.values() if isinstance(part, dict) else part)
        ]
    return any(isinstance(part, dict | list) for part in level)


def _each_key_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise ValueError(f"{twice[:60]!r} is given twice")
    return content


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:30]} is too large")
    return number


def _whole(text: str) -> int:
    if len(text.lstrip("-")) > _MAX_DIGITS:
        raise ValueError(f"the number {text[:30]}… has {len(text)} digits")
    return int(text)
