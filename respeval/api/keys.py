"""Keys of a case as Python has them: numbers, texts as options have them, or entries of a case file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from respeval.case.case import Case, mapping_of
from respeval.case.options import KEY, CaseKey, keys_that_bear_on
from respeval.errors import InputError
from respeval.fields.perturbation import parse_perturbation
from respeval.files.settings import unknown_key

#: What `perturb` takes: label -> kelvins everywhere, text as --perturb has it, or entry of a case file.
Changes = Mapping[str, float | str | Mapping[str, Any]]


class CaseKeys(TypedDict, total=False):
    """Keys of the case file, and the names of their options; None is not given.

    Where an option takes texts, such as `bands=["tropics=0:15"]`, the case file's entries do as well:
    `bands={"tropics": (0, 15)}`.
    """

    perturbations: Changes | str | Sequence[str] | None
    years: int | None
    days: int | None
    steps: int | None
    spinup: str | None
    segment: str | None
    forcing: str | os.PathLike[str] | None
    initial_condition: str | os.PathLike[str] | None
    start: str | Sequence[str] | None
    num_realizations: int | None
    paired_noise: bool | None
    seed: int | None
    initial_condition_scope: str | None
    area_weights: str | None
    ocean_fraction_cutoff: float | None
    tropical_lat_max: float | None
    bands: Mapping[str, tuple[float, float]] | str | Sequence[str] | None
    roles: Mapping[str, Any] | str | Sequence[str] | None
    repeat: str | None
    save_members: bool | None
    allow_out_of_range: bool | None
    precision: str | None
    protocol: str | None
    until: str | Sequence[str] | None
    reader: Mapping[str, Any] | str | Sequence[str] | None
    land_boxes: Mapping[str, Any] | str | Sequence[str] | None
    sst_boxes: Mapping[str, Any] | str | Sequence[str] | None
    reference: str | os.PathLike[str] | Mapping[str, Any] | Sequence[str] | None
    probe_data: str | os.PathLike[str] | None


#: A case file's path, its content, or a case.
AnyCase = str | os.PathLike[str] | Mapping[str, Any] | Case


def read_case(
    case: AnyCase | None, perturb: Changes | None, keys: Mapping[str, Any]
) -> tuple[Path | None, dict[str, Any]]:
    """A case file's path, if there is one, and the keys that win over it. Raises InputError."""
    given = _read(keys, "run")
    if perturb is not None:
        if "perturbations" in given:
            raise InputError("perturb and perturbations are the same key; give one of them")
        given["perturbations"] = _changes(perturb)
    if case is None or isinstance(case, str | os.PathLike):
        return None if case is None else Path(case), given
    plain = case.model_dump(mode="json", exclude_none=True) if isinstance(case, Case) else case
    content = _read(plain, "a case")
    lengths = keys_that_bear_on("length")
    if any(key in given for key in lengths):
        content = {key: value for key, value in content.items() if key not in lengths}
    for key in ("roles", "reader"):
        if key in content and key in given:
            given[key] = {**mapping_of(content[key]), **mapping_of(given[key])}
    return None, {**content, **given}


def _read(keys: Mapping[str, Any], where: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in keys.items():
        key = KEY.get(name)
        if key is None:
            raise InputError(f"{where}: {unknown_key([name], list(KEY))}")
        if value is not None:
            found[key.key] = _value(key, value)
    return found


def _value(key: CaseKey, value: Any) -> Any:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if key.parse is not None:
        texts = [value] if isinstance(value, str) else value
        if isinstance(texts, list | tuple) and all(isinstance(text, str) for text in texts):
            return key.read(list(texts))
    if key.key == "perturbations" and isinstance(value, Mapping):
        return _changes(value)
    if key.key == "start" and isinstance(value, str):
        return [value]
    return _plain(value)


def _changes(changes: Changes) -> dict[str, Any]:
    """Label -> entry of the case file."""
    found: dict[str, Any] = {}
    if not isinstance(changes, Mapping):
        raise InputError(
            f"perturb is {type(changes).__name__}; expected a mapping, for example {{'p4K': 4.0}}"
        )
    for label, change in changes.items():
        if isinstance(change, int | float | np.number) and not isinstance(change, bool):
            found[str(label)] = {"type": "uniform", "amplitude_K": float(change)}
        elif isinstance(change, str):
            found |= [parse_perturbation(f"{label}={change}", "perturb")]
        else:
            found[str(label)] = _plain(change)
    return found


def _plain(value: Any) -> Any:
    """Without numpy's numbers and paths, which a case has none of."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.item() if hasattr(value, "item") else value
