"""An emulator that is in memory already, where others are in a checkpoint's file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from respeval.emulator.contract import Emulator, EmulatorSpec
from respeval.errors import InputError

if TYPE_CHECKING:
    import torch

PROTOCOL = ("spec", "to", "prescribe", "conserve", "step")


@dataclass(frozen=True)
class InMemory:
    """An emulator in the place of a checkpoint's path. Raises InputError where it is no emulator."""

    emulator: Emulator

    def __post_init__(self) -> None:
        lacking = [name for name in PROTOCOL if not hasattr(self.emulator, name)]
        if lacking:
            raise InputError(
                f"{type(self.emulator).__name__} is no emulator: it has no {', '.join(lacking)}; give the "
                "path of a checkpoint, or wrap a network as respeval.checkpoints.native.NativeEmulator or "
                "respeval.checkpoints.normalized.NormalizedEmulator do"
            )

    def __str__(self) -> str:
        return f"the {type(self.emulator).__name__} in memory"

    @property
    def name(self) -> str:
        """What files of a run call it."""
        return f"in memory: {_name_of(self.emulator)}"

    @property
    def has_weights(self) -> bool:
        """Whether there is anything by which two emulators of one kind can be told apart."""
        return bool(_weights_of(self.emulator))

    def digest(self) -> str:
        """SHA-256 of the emulator's weights and of what its spec says; of its class too without weights."""
        import torch

        digest = hashlib.sha256()
        weights = _weights_of(self.emulator)
        for part in _parts_of(self.emulator.spec):
            digest.update(part)
        if not weights:
            digest.update(_name_of(self.emulator).encode())
        for key in sorted(weights):
            value = weights[key].detach().cpu()
            value = value.to_dense() if value.layout != torch.strided else value
            value = value.resolve_conj().resolve_neg().contiguous()
            digest.update(f"{key} {value.dtype} {list(value.shape)}".encode())
            digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()


#: What an emulator comes from.
Checkpoint = Path | InMemory


def location_of(checkpoint: Checkpoint) -> str:
    """Where an emulator comes from, for a manifest."""
    return checkpoint.name if isinstance(checkpoint, InMemory) else str(checkpoint.resolve())


def _name_of(emulator: Emulator) -> str:
    return f"{type(emulator).__module__}.{type(emulator).__qualname__}"


def _weights_of(emulator: Emulator) -> Mapping[str, torch.Tensor]:
    import torch

    holder = emulator if hasattr(emulator, "state_dict") else getattr(emulator, "network", None)
    found: Any = getattr(holder, "state_dict", dict)()
    return {str(key): value for key, value in found.items() if isinstance(value, torch.Tensor)}


def _parts_of(spec: EmulatorSpec) -> Iterator[bytes]:
    """What an emulator's steps depend on beside its weights."""
    named = (spec.architecture, spec.timestep_s, spec.calendar, spec.precision)
    variables = (spec.prognostic, spec.diagnostic, spec.forcing)
    rules = (spec.surface_temperature, spec.ocean_fraction, spec.interpolates_sst)
    yield repr((named, variables, rules, spec.num_noise_channels)).encode()
    yield np.concatenate([spec.grid.latitude, spec.grid.longitude]).tobytes()
    for name, (mean, scale) in sorted(spec.normalization.items()):
        yield name.encode() + np.asarray(mean, np.float64).tobytes() + repr(scale).encode()
