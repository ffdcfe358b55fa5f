"""Arms of the A/B: variants of the loss's spectral term, as data with a text form."""

from __future__ import annotations

import difflib
from dataclasses import Field, dataclass, fields
from typing import Any, Literal

from respeval.errors import InputError
from respeval.loss_probe.scores import POWER_FLOOR
from respeval.loss_probe.whitening import check_whitening


class _Text:
    """The text form: the kind, then the options that differ from their defaults."""

    kind: str

    def __str__(self) -> str:
        given = [
            f"{option.name}={getattr(self, option.name)}"
            for option in _options(type(self))
            if getattr(self, option.name) != option.default
        ]
        return f"{self.kind}:{','.join(given)}" if given else self.kind


@dataclass(frozen=True)
class Plain(_Text):
    """The spectral energy score as it is."""

    kind: Literal["none"] = "none"


@dataclass(frozen=True)
class PerSample(_Text):
    """The energy score with each degree weighted by the target's whitening factor."""

    gamma: float = 0.5
    eps: float = 0.02
    max_ratio: float | None = None
    kind: Literal["per_sample"] = "per_sample"

    def __post_init__(self) -> None:
        check_whitening(self.gamma, self.eps, self.max_ratio)


@dataclass(frozen=True)
class SpectralPower(_Text):
    """The CRPS of the logarithm of mean power by degree in the place of the energy score."""

    floor: float = POWER_FLOOR
    kind: Literal["spectral_power"] = "spectral_power"

    def __post_init__(self) -> None:
        if not 0.0 < self.floor < 1.0:
            raise ValueError(f"floor must lie in (0, 1), got {self.floor}")


Arm = Plain | PerSample | SpectralPower

#: Kind -> class of the arms.
ARMS: dict[str, type[Arm]] = {
    "none": Plain,
    "per_sample": PerSample,
    "spectral_power": SpectralPower,
}


def _options(arm: type[Any]) -> list[Field[Any]]:
    return [option for option in fields(arm) if option.name != "kind"]


def parse_arm(text: str) -> Arm:
    """The arm of `KIND` or `KIND:OPTION=VALUE,…`, for example `per_sample:gamma=1.0,max_ratio=50`.

    Raises InputError that says what is allowed and names the nearest known kind or option.

    >>> arm = parse_arm("per_sample: gamma=1, eps=0.02")
    >>> arm.gamma, arm.max_ratio
    (1.0, None)
    >>> print(arm)  # what differs from the defaults
    per_sample:gamma=1.0
    """
    kind, _, rest = text.strip().partition(":")
    if kind not in ARMS:
        raise InputError(f"--arm {text!r}: unknown arm {kind!r}{_nearest(kind, list(ARMS))}")
    known = [option.name for option in _options(ARMS[kind])]
    given: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in rest.split(","))):
        name, separator, value = (piece.strip() for piece in part.partition("="))
        if name not in known:
            hint = _nearest(name, known) if known else f"; {kind} has none"
            raise InputError(f"--arm {text!r}: unknown option {name!r}{hint}")
        if not separator or name in given:
            problem = "is given twice" if name in given else "has no value"
            raise InputError(f"--arm {text!r}: {name} {problem}; expected {name}=NUMBER")
        given[name] = _number(text, name, value)
    try:
        return ARMS[kind](**given)
    except ValueError as error:
        raise InputError(f"--arm {text!r}: {error}") from None


def parse_arms(texts: list[str]) -> tuple[Arm, ...]:
    """Several arms in their order. Raises InputError where one is given twice."""
    arms = tuple(parse_arm(text) for text in texts)
    for i, arm in enumerate(arms):
        if arm in arms[:i]:
            raise InputError(f"--arm {texts[i]!r}: this arm is given twice")
    return arms


def _number(text: str, name: str, value: str) -> float | None:
    if name == "max_ratio" and value == "none":
        return None
    try:
        return float(value)
    except ValueError:
        raise InputError(f"--arm {text!r}: {name} must be a number, got {value!r}") from None


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ";"
    return f"{hint} (allowed: {', '.join(known)})"
