"""`respeval.inspect`: what is in a checkpoint, and what data a run of it needs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from respeval.api.results import text_of
from respeval.api.view import page
from respeval.checkpoints import InMemory, open_checkpoint
from respeval.emulator.computing import num_parameters
from respeval.emulator.contract import Emulator, EmulatorSpec
from respeval.loss_probe.filters import find_filters
from respeval.presentation.console.checkpoint import inspection_tables
from respeval.presentation.console.terminal import make_console


class Inspection:
    """What a checkpoint is: its `spec` (see `EmulatorSpec`), and numbers of its weights.

    num_parameters: real numbers that were trained, None where that can't be said. filters: name of every
    spectral filter -> its shape.
    """

    def __init__(self, source: str, emulator: Emulator) -> None:
        self.source, self.spec = source, emulator.spec
        self.num_parameters = num_parameters(emulator)
        found = find_filters(emulator) if isinstance(emulator, nn.Module) else []
        self.filters = {entry.name: tuple(entry.parameter.shape) for entry in found}
        parts = inspection_tables(Path(source), emulator)
        self._text = text_of(lambda: make_console().print(*parts, sep="\n", highlight=False))

    def to_dict(self) -> dict[str, Any]:
        """The facts as plain values: units by variable, seconds, and names."""
        spec: EmulatorSpec = self.spec
        variables = {
            role: {variable.name: variable.units for variable in group}
            for role, group in (
                ("prognostic", spec.prognostic),
                ("diagnostic", spec.diagnostic),
                ("forcing", spec.forcing),
            )
        }
        return {
            "checkpoint": self.source,
            "architecture": spec.architecture,
            "grid": str(spec.grid),
            "timestep_s": spec.timestep_s,
            "calendar": spec.calendar,
            **variables,
            "surface_temperature": spec.surface_temperature,
            "num_noise_channels": spec.num_noise_channels,
            "num_parameters": self.num_parameters,
            "initial_condition": list(variables["prognostic"]),
            "files_forcing": list(spec.files_forcing),
            **dict(spec.description),
        }

    def table(self) -> str:
        """The tables that `respeval inspect` shows, as text."""
        return self._text

    def __repr__(self) -> str:
        return f"<respeval checkpoint {self.source}: {self.spec.architecture} on {self.spec.grid}>"

    def _repr_html_(self) -> str:
        facts = [(key.replace("_", " "), _shown(value)) for key, value in self.to_dict().items()]
        return page(repr(self), facts)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} ({units})" for name, units in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def inspect(
    checkpoint: str | os.PathLike[str] | Emulator,
    *,
    reader: Mapping[str, Any] | None = None,
    trust: bool = False,
) -> Inspection:
    """What is in a checkpoint, or what an emulator in memory is, and what data a run of it needs.

    reader: options of the checkpoint's reader. trust: whether code that the file holds may run. Weights
    of a file are not loaded where the reader can do without. Raises InputError where it can't be read.
    """
    if isinstance(checkpoint, str | os.PathLike):
        path = Path(checkpoint)
        emulator = open_checkpoint(path, dict(reader or {}), trust, with_weights=False)
        return Inspection(str(path), emulator)
    source = InMemory(checkpoint)
    return Inspection(str(source), source.emulator)
