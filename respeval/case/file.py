"""From a case file and options to a case, with every mistake in one line."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from respeval.case.case import Case, RoleNames, mapping_of
from respeval.case.options import KEY, NONE, keys_that_bear_on
from respeval.checkpoints import Checkpoint, InMemory
from respeval.errors import InputError
from respeval.fields.locations import is_remote
from respeval.fields.perturbation import PERTURBATIONS
from respeval.files.settings import first_fault, read_yaml, unknown_key, wrong_value


def case_beside(checkpoint: Checkpoint) -> Path | None:
    """case.yaml beside a checkpoint's file, where there is one."""
    if isinstance(checkpoint, InMemory):
        return None
    beside = checkpoint.parent / "case.yaml"
    return beside if beside.is_file() else None


def load_case(path: Path | None, overrides: Mapping[str, Any], takes_options: bool = True) -> Case:
    """The case of a file with options on top; options given as None are not given.

    path: the case file, or None where the options say everything. Paths in the file are relative to
    its folder, those in `overrides` to the working directory. takes_options: whether the command has
    options for the keys. Raises InputError in one line.
    """
    content: dict[str, Any] = {}
    if path is not None:
        content = _resolve_paths(read_yaml(path, "case file"), path.parent.resolve())
    given = {key: value for key, value in overrides.items() if value is not None}
    lengths = keys_that_bear_on("length")
    if any(key in given for key in lengths):
        content = {key: value for key, value in content.items() if key not in lengths}
    roles = {**mapping_of(content.get("roles")), **given.pop("roles", {})}
    reader = {**mapping_of(content.get("reader")), **given.pop("reader", {})}
    content |= _resolve_paths(given, Path.cwd())
    if roles:
        content["roles"] = roles
    if reader:
        content["reader"] = reader
    try:
        return Case.model_validate(content)
    except ValidationError as error:
        source = _source(error, path, overrides)
        told = _explain(error, path is None, takes_options, source)
        raise InputError(f"{source}: {told}") from None


def _source(error: ValidationError, path: Path | None, overrides: Mapping[str, Any]) -> str:
    """Where the first fault of a case was written: an option, the case file, or the command line."""
    where: tuple[int | str, ...] = first_fault(error)["loc"]
    if not where:  # of no key alone
        lengths = [n for n in keys_that_bear_on("length") if overrides.get(n) is not None]
        named = lengths if len(lengths) > 1 else ["protocol"] if overrides.get("protocol") else []
        if named:
            return " and ".join(KEY[name].flag for name in named)
    key = str(where[0]) if where else ""
    given = overrides.get(key)
    # These two are put together from the file and the options, entry by entry.
    joined = key in ("roles", "reader") and isinstance(given, Mapping) and len(where) > 1
    if given is not None and (not joined or where[1] in given):
        return KEY[key].flag
    return str(path) if path is not None else "the command line"


def _resolve_paths(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A copy in which every path is absolute."""
    resolved = dict(content)
    for key in ("forcing", "initial_condition", "probe_data"):
        if isinstance(resolved.get(key), str):
            resolved[key] = _absolute(resolved[key], folder)
    references = resolved.get("reference")
    if isinstance(references, dict):
        resolved["reference"] = {
            label: _reference(location, folder) for label, location in references.items()
        }
    elif references is not None:
        resolved["reference"] = _reference(references, folder)
    for key in ("perturbations", "land_boxes"):
        entries = resolved.get(key)
        if isinstance(entries, dict):
            resolved[key] = {
                label: {**entry, "file": _absolute(entry["file"], folder)}
                if isinstance(entry, dict) and isinstance(entry.get("file"), str)
                else entry
                for label, entry in entries.items()
            }
    return resolved


def _reference(location: Any, folder: Path) -> Any:
    is_path = isinstance(location, str) and location != NONE
    return _absolute(location, folder) if is_path else location


def _absolute(location: str, folder: Path) -> str:
    if "\0" in location:
        raise InputError(f"{location!r:.200} can't name a file: it holds a NUL")
    location = os.path.expanduser(location)
    if is_remote(location) or Path(location).is_absolute():
        return location
    base = glob.escape(str(folder)) if glob.has_magic(location) else str(folder)
    return str(Path(base) / location)


def _explain(error: ValidationError, from_options: bool, takes_options: bool, source: str) -> str:
    """The first fault of a case in one line, with what is allowed; after an option without its key."""
    first = first_fault(error)
    where = [str(part) for part in first["loc"]]
    is_part = len(where) > 1
    begin = int(bool(where) and where[0] in KEY and source == KEY[where[0]].flag)
    if first["type"] == "extra_forbidden":
        return unknown_key(where[begin:], _known_keys(where[:-1]))
    if first["type"] == "missing":
        if is_part:
            return f"{'.'.join(where[begin:])} is missing; add it"
        if not takes_options:
            return f"{where[0]} is missing; add it to the case file"
        option = KEY[where[0]].flag
        beside = " or a case file (case.yaml beside the checkpoint, or --case)"
        return f"{where[0]} is missing; give {option}{beside if from_options else ''}"
    return wrong_value({**first, "loc": where[begin:]})


def _known_keys(parent: list[str]) -> list[str]:
    if not parent:
        return list(Case.model_fields)
    if parent[0] == "roles":
        return list(RoleNames.model_fields)
    if parent[0] == "perturbations":
        return list(PERTURBATIONS[parent[-1]].model_fields)
    return []
