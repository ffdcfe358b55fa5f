"""Protocols: experiments that an intercomparison has laid down, as keys of the case file.

AIMIP phase 1 (github.com/ai2cm/AIMIP): five simulations of 1 October 1978 to the end of 2024 with
prescribed SST, of which three months are spin-up, and the same under +2 K and +4 K with identical
initial conditions; monthly means of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import cftime

from respeval.errors import InputError
from respeval.fields.perturbation import PERTURBATIONS

Protocol = Literal["aimip"]

#: Simulations of each experiment.
NUM_SAMPLES = 5

#: What a protocol sets, as a case file has it.
_KEYS: dict[str, dict[str, Any]] = {
    "aimip": {
        "perturbations": {
            "p2K": {"type": "uniform", "amplitude_K": 2.0},
            "p4K": {"type": "uniform", "amplitude_K": 4.0},
        },
        "initial_condition_scope": "none",
        "save_members": True,
        "segment": "month",
        "spinup": "3 months",
    }
}


def with_protocol(content: Mapping[str, Any]) -> dict[str, Any]:
    """A case's keys and those that its protocol sets where the case does not."""
    name = content.get("protocol")
    return {**_KEYS.get(name if isinstance(name, str) else "", {}), **content}


def check_protocol(name: str, case: Mapping[str, Any]) -> None:
    """Raise ValueError where a validated case has another value than its protocol.

    Labels of perturbations are free; what they change is not.
    """
    for key, value in _KEYS[name].items():
        if _without_labels(case[key]) != _without_labels(value):
            raise ValueError(
                f"protocol {name} sets {key} to {_shown(value)}, the case to {_shown(case[key])}; "
                f"leave out {key}, or the protocol"
            )


def check_samples(name: str | None, starts: Sequence[cftime.datetime]) -> None:
    """Raise InputError where a protocol asks for other samples than those that start on these dates."""
    if name is None:
        return
    if len(starts) != NUM_SAMPLES:
        raise InputError(
            f"protocol {name} asks for {NUM_SAMPLES} samples, got {len(starts)} (initial conditions "
            "times num_realizations); choose with start, or set num_realizations"
        )
    first = starts[0]
    if any(start != first for start in starts):
        raise InputError(
            f"protocol {name} asks for the same months of every sample, but they start on "
            f"{first} and on {next(s for s in starts if s != first)}; give all initial conditions one date"
        )
    if (first.day, first.hour, first.minute, first.second) != (1, 0, 0, 0):
        raise InputError(
            f"protocol {name} asks for whole months, but the samples start on {first}; give them a "
            "date that is the first of a month, at 00 h"
        )


def _without_labels(value: Any) -> Any:
    return sorted(value.values(), key=str) if isinstance(value, Mapping) else value


def _shown(value: Any) -> str:
    if not isinstance(value, Mapping):
        return str(value)
    return " and ".join(
        str(PERTURBATIONS[entry["type"]].model_validate(entry)) for entry in value.values()
    )
