"""Texts of the command line as values of keys: a flag and its texts in, InputError where they are none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from respeval.errors import InputError

#: Parts of fields in latitude and longitude.
Parts = tuple[int, int] | Literal["auto"]


def check_at_least_one(flag: str, count: int | None) -> int | None:
    """The count of an option. Raises InputError where it is below one."""
    if count is not None and count < 1:
        raise InputError(f"{flag} {count}: expected a whole number of at least 1")
    return count


def parse_batch_size(flag: str, text: str | None) -> int | Literal["auto"] | None:
    """The value of `--samples-per-batch`. Raises InputError where it is none."""
    if text is None or text == "auto":
        return text  # type: ignore[return-value]
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"{flag} {text}: expected a whole number of at least 1, or auto")
    return int(text)


def parse_spatial(flag: str, text: str | None) -> Parts | None:
    """The value of `--spatial` of a run. Raises InputError where it is none."""
    return "auto" if text == "auto" else parse_parts(flag, text, ", or auto")


def parse_parts(flag: str, text: str | None, others: str = "") -> tuple[int, int] | None:
    """Parts of fields in latitude and longitude. Raises InputError where the text is none.

    others: what may be given too, for the message.
    """
    if text is None:
        return None
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise InputError(
            f"{flag} {text}: expected parts in latitude x parts in longitude, for example 2x1{others}"
        )
    return int(height), int(width)


def parse_perturbations(flag: str, texts: Sequence[str]) -> dict[str, Any]:
    """Label -> entry of the case file; see `parse_perturbation`."""
    from respeval.fields.perturbation import parse_perturbation

    return _unique(flag, (parse_perturbation(text, flag) for text in texts))


def parse_bands(flag: str, texts: Sequence[str]) -> dict[str, Any]:
    """Bands of every text, each of which may have several, separated by commas."""
    parts = [part for text in texts for part in text.split(",") if part]
    return _unique(flag, (parse_band(text, flag) for text in parts))


def parse_band(text: str, flag: str = "band") -> tuple[str, tuple[float, float]]:
    """`NAME=LOW:HIGH` in degrees of |latitude|. Raises InputError for anything else."""
    name, _, edges = text.partition("=")
    low, _, high = edges.partition(":")
    try:
        return name, (float(low), float(high))
    except ValueError:
        raise InputError(f"{flag} {text!r}: expected NAME=LOW:HIGH, e.g. tropics=0:15") from None


def parse_roles(flag: str, texts: Sequence[str]) -> dict[str, Any]:
    """`ROLE=VARIABLE`; the column has several, separated by commas."""
    pairs = _unique(flag, (_pair(flag, text) for text in texts))
    return {
        name: value.split(",") if name == "column_temperature" else value
        for name, value in pairs.items()
    }


def parse_reader(flag: str, texts: Sequence[str]) -> dict[str, Any]:
    """Options of a checkpoint's reader; a value is YAML."""
    pairs = _unique(flag, (_pair(flag, text) for text in texts))
    return {name: _plain_value(flag, name, value) for name, value in pairs.items()}


def _plain_value(flag: str, name: str, text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise InputError(f"{flag} {name}={text}: the value is no YAML") from None


def parse_land_boxes(flag: str, texts: Sequence[str]) -> dict[str, Any]:
    """Boxes of land or their masks; see `_land_box`."""
    return _unique(flag, (_land_box(flag, text) for text in texts))


def _land_box(flag: str, text: str) -> tuple[str, list[float] | dict[str, str]]:
    """`NAME=LAT0,LAT1,LON0,LON1` in degrees, or `NAME=FILE:VARIABLE`. Raises InputError otherwise."""
    name, _, rest = text.partition("=")
    edges = _edges(rest)
    if len(edges) == 4:
        return name, edges
    file, _, variable = rest.rpartition(":")
    if not file or not variable:
        raise InputError(
            f"{flag} {text!r}: expected NAME=LAT_MIN,LAT_MAX,LON_MIN,LON_MAX in degrees, e.g. "
            "sahel=10,20,-15,35, or NAME=FILE:VARIABLE"
        )
    return name, {"file": file, "variable": variable}


def parse_sst_boxes(flag: str, texts: Sequence[str]) -> dict[str, Any]:
    """Boxes whose mean SST is wanted; see `_sst_box`."""
    return _unique(flag, (_sst_box(flag, text) for text in texts))


def _sst_box(flag: str, text: str) -> tuple[str, list[float]]:
    """`NAME=LAT0,LAT1,LON0,LON1` in degrees. Raises InputError otherwise."""
    name, _, rest = text.partition("=")
    edges = _edges(rest)
    if len(edges) != 4:
        raise InputError(
            f"{flag} {text!r}: expected NAME=LAT_MIN,LAT_MAX,LON_MIN,LON_MAX in degrees, e.g. "
            "nino4=-5,5,160,-150"
        )
    return name, edges


def _edges(text: str) -> list[float]:
    """Numbers between commas; none where one of them is no number."""
    try:
        return [float(edge) for edge in text.split(",")]
    except ValueError:
        return []


def parse_reference(flag: str, texts: Sequence[str]) -> str | dict[str, Any]:
    """One FILE for all perturbations, or LABEL=FILE for each; a file's name may hold `=`."""
    plain = [text for text in texts if "=" not in text or Path(text).exists()]
    if not plain:
        return _unique(flag, (_pair(flag, text) for text in texts))
    if len(texts) > 1:
        raise InputError(
            f"{flag} {plain[0]!r} is of every perturbation, so it must be the only one; or write "
            "LABEL=FILE, the perturbation's label first, for each"
        )
    return plain[0]


def _unique(flag: str, pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for name, value in pairs:
        if name in given:
            raise InputError(f"{flag} gives {name!r} twice")
        given[name] = value
    return given


def _pair(flag: str, text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name or not value:
        raise InputError(f"{flag} {text!r}: expected NAME=VALUE")
    return name, value
