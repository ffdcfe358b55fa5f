"""What `reader` in the case file may say of an ACE checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from respeval.errors import InputError

OPTIONS = ("ema", "labels", "derived", "grid")


@dataclass(frozen=True)
class AceOptions:
    """What `reader` in the case file may say of an ACE checkpoint.

    ema: use the moving average of the weights where the file has it beside the weights.
    labels: names of the labels that a label-conditioned model gets.
    derived: names of fme's derived variables to put out too; ("all",) for all of them.
    grid: netCDF file with the latitudes and longitudes, for files that hold none.
    """

    ema: bool = True
    labels: tuple[str, ...] | None = None
    derived: tuple[str, ...] = ()
    grid: str | None = None


def parse_options(path: Path, options: Mapping[str, Any]) -> AceOptions:
    """The reader's options. Raises InputError that names the known ones."""
    unknown = [name for name in options if name not in OPTIONS]
    if unknown:
        raise InputError(
            f"{path}: the ACE reader has no option {', '.join(unknown)} (reader: {', '.join(OPTIONS)})"
        )
    labels, grid = options.get("labels"), options.get("grid")
    if grid is not None and not isinstance(grid, str):
        raise InputError(f"{path}: reader option grid must be the name of a netCDF file")
    return AceOptions(
        _flag(path, "ema", options.get("ema", True)),
        None if labels is None else _names(path, "labels", labels),
        _derived(path, options.get("derived", ())),
        grid,
    )


def _flag(path: Path, name: str, value: object) -> bool:
    known = {"true": True, "yes": True, "false": False, "no": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in known:
        return known[value.lower()]
    raise InputError(f"{path}: reader option {name} must be true or false, got {value!r}")


def _names(path: Path, name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, Sequence) or not all(isinstance(part, str) for part in value):
        raise InputError(f"{path}: reader option {name} must be a list of names, got {value!r}")
    return tuple(value)


def _derived(path: Path, value: object) -> tuple[str, ...]:
    if isinstance(value, bool) or (isinstance(value, str) and value.lower() in ("true", "false")):
        return ("all",) if _flag(path, "derived", value) else ()
    return _names(path, "derived", value)
