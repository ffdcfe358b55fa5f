"""Texts of repeated command-line options, read into the mappings that the case file has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml

from respeval.case.case import PERTURBATIONS
from respeval.errors import InputError


def parse_lists(
    perturb: Sequence[str] | None = None,
    bands: Sequence[str] | None = None,
    role: Sequence[str] | None = None,
    reader: Sequence[str] | None = None,
    reference: Sequence[str] | None = None,
    land_box: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Keys of the case file from their options; those that were not given are left out.

    Raises InputError where a text is none of its kind, or a name is given twice.
    """
    given: dict[str, Any] = {}
    if perturb:
        given["perturbations"] = _unique("--perturb", map(parse_perturbation, perturb))
    if bands:
        texts = [part for text in bands for part in text.split(",") if part]
        given["bands"] = _unique("--bands", map(parse_band, texts))
    if role:
        pairs = _unique("--role", (_pair("--role", text) for text in role))
        given["roles"] = {
            name: value.split(",") if name == "column_temperature" else value
            for name, value in pairs.items()
        }
    if reader:
        given["reader"] = parse_reader(reader)
    if land_box:
        given["land_boxes"] = _unique("--land-box", map(parse_land_box, land_box))
    if reference:
        given["reference"] = _parse_reference(reference)
    return given


def _parse_reference(texts: Sequence[str]) -> str | dict[str, Any]:
    """One FILE for all perturbations, or LABEL=FILE for each; a file's name may hold `=`."""
    plain = [text for text in texts if "=" not in text or Path(text).exists()]
    if not plain:
        return _unique("--reference", (_pair("--reference", text) for text in texts))
    if len(texts) > 1:
        raise InputError(
            f"--reference {plain[0]!r} is of every perturbation, so it must be the only one; or write "
            "LABEL=FILE, the perturbation's label first, for each"
        )
    return plain[0]


def parse_reader(texts: Sequence[str] | None) -> dict[str, Any]:
    """Options of a checkpoint's reader from `--reader NAME=VALUE`; a value is YAML."""
    pairs = _unique("--reader", (_pair("--reader", text) for text in texts or ()))
    return {name: _plain_value(name, value) for name, value in pairs.items()}


def check_at_least_one(name: str, count: int | None) -> None:
    """Raise InputError where `--name` was given a number below one."""
    if count is not None and count < 1:
        raise InputError(f"--{name} {count}: expected a whole number of at least 1")


def parse_batch_size(text: str | None) -> int | Literal["auto"] | None:
    """The value of `--samples-per-batch`. Raises InputError where it is none."""
    if text is None or text == "auto":
        return text  # type: ignore[return-value]
    if not text.isdecimal() or int(text) < 1:
        raise InputError(
            f"--samples-per-batch {text}: expected a whole number of at least 1, or auto"
        )
    return int(text)


def _unique(option: str, pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for name, value in pairs:
        if name in given:
            raise InputError(f"{option} gives {name!r} twice")
        given[name] = value
    return given


def _plain_value(name: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise InputError(f"--reader {name}={text}: the value is no YAML") from None


def _pair(option: str, text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name or not value:
        raise InputError(f"{option} {text!r}: expected NAME=VALUE")
    return name, value


def parse_perturbation(text: str) -> tuple[str, dict[str, Any]]:
    """`LABEL=uniform:4`, `LABEL=patch:2,lat_center=0,…` or `LABEL=pattern:FILE,variable=NAME`.

    Returns the label and the entry of the case file. Raises InputError for anything else.
    """
    label, separator, rest = text.partition("=")
    kind, _, options = rest.partition(":")
    if not separator or kind not in PERTURBATIONS:
        raise InputError(
            f"--perturb {text!r}: expected LABEL=uniform:KELVIN, LABEL=patch:KELVIN,lat_center=…,"
            "lon_center=…,lat_width=…,lon_width=… or LABEL=pattern:FILE,variable=NAME[,scale=…]"
        )
    entry: dict[str, Any] = {"type": kind}
    for i, part in enumerate(options.split(",")):
        name, separator, value = part.partition("=")
        if not separator:
            name, value = ("file" if kind == "pattern" else "amplitude_K"), part
            if i > 0:
                raise InputError(f"--perturb {text!r}: expected NAME=VALUE, got {part!r}")
        if name.strip() in entry:
            raise InputError(f"--perturb {text!r}: {name.strip()} is given twice")
        entry[name.strip()] = value.strip()
    return label, entry


def parse_land_box(text: str) -> tuple[str, list[float] | dict[str, str]]:
    """`NAME=LAT0,LAT1,LON0,LON1` in degrees, or `NAME=FILE:VARIABLE`. Raises InputError otherwise."""
    name, _, rest = text.partition("=")
    try:
        edges = [float(edge) for edge in rest.split(",")]
    except ValueError:
        edges = []
    if len(edges) == 4:
        return name, edges
    file, _, variable = rest.rpartition(":")
    if not file or not variable:
        raise InputError(
            f"--land-box {text!r}: expected NAME=LAT_MIN,LAT_MAX,LON_MIN,LON_MAX in degrees, e.g. "
            "sahel=10,20,-15,35, or NAME=FILE:VARIABLE"
        )
    return name, {"file": file, "variable": variable}


def parse_band(text: str) -> tuple[str, tuple[float, float]]:
    """`NAME=LOW:HIGH` in degrees of |latitude|. Raises InputError for anything else."""
    name, _, edges = text.partition("=")
    low, _, high = edges.partition(":")
    try:
        return name, (float(low), float(high))
    except ValueError:
        raise InputError(f"band {text!r}: expected NAME=LOW:HIGH, e.g. tropics=0:15") from None
