"""Exported programs as checkpoints: `model.pt2` of torch.export, and `model.json` beside it.

The archive holds the network as a graph of torch's own operators, so that no code of the model is
needed; the manifest says what its channels are. The network maps normalized inputs [batch, channel,
lat, lon] to normalized outputs; what surrounds it is the same for every format.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import nn
from torch.export import ExportedProgram

from respeval.checkpoints.exported.archive import Numbers, UntrustedError, plain_copy
from respeval.checkpoints.exported.network import (
    BatchSizes,
    check_operators,
    check_shapes,
    classes_of,
    split_batch,
)
from respeval.checkpoints.manifest import ModelManifest, parse_manifest
from respeval.checkpoints.normalized import NormalizedEmulator
from respeval.errors import InputError, first_line, pass_on
from respeval.fields.grid import FloatArray
from respeval.files.text import read_document

#: Compared as versions are: `torch.__version__` is no plain text.
OLDEST_TORCH = "2.9"

#: What the gradient probe adds where it finds no filter, or no gradient.
_HOW_TO_PROBE = (
    "an exported network can be probed if it was exported with its weights as parameters and its own "
    "modules, outside torch.no_grad (docs/readers.md)"
)


class ExportManifest(ModelManifest):
    """Everything about an exported network but its graph and weights.

    architecture: what the network is, free text. climatology: variable -> its mean as a field,
        [lat][lon], in the variable's units; it takes the place of `normalization`'s mean.
    """

    format: Literal["respeval-export/1"]
    architecture: str = "exported network"
    climatology: dict[str, list[list[float]]] = Field(default_factory=dict)

    def architecture_name(self) -> str:
        return self.architecture

    def climatology_names(self) -> Iterable[str]:
        return self.climatology

    def climatology_field(self, name: str) -> FloatArray:
        return np.array(self.climatology[name])

    @model_validator(mode="after")
    def _check_climatology(self) -> ExportManifest:
        shape = len(self.grid.latitude), len(self.grid.longitude)
        for name, field in self.climatology.items():
            if [len(row) for row in field] != [shape[1]] * shape[0]:
                raise ValueError(f"climatology of {name} is no field of {shape[0]} x {shape[1]}")
        return self


class ExportedEmulator(NormalizedEmulator):
    """The emulator of an exported program.

    module_classes: path of a module -> (module that defines it, class) that it had before export.
    companions: files beside the archive that belong to the checkpoint.
    """

    manifest: ExportManifest
    probe_hint = _HOW_TO_PROBE
    split_hindrance = "is a fixed program on the whole grid"

    def __init__(
        self, manifest: ExportManifest, program: ExportedProgram, sizes: BatchSizes, beside: Path
    ) -> None:
        super().__init__(manifest, _network(program))
        self._program, self._sizes = program, sizes
        self.companions = (beside,)
        self.module_classes = {
            f"network.{path}".rstrip("."): kind for path, kind in classes_of(program).items()
        }
        self.spec = replace(self.spec, description={"batches of the network": str(sizes)})

    def _run_network(self, inputs: torch.Tensor) -> torch.Tensor:
        parts = [
            super(ExportedEmulator, self)._run_network(part)[:count]
            for part, count in split_batch(inputs, self._sizes)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def train(self, mode: bool = True) -> ExportedEmulator:
        """Only note the mode: what an exported network does was fixed when it was exported."""
        self.training = mode
        return self

    def to(self, device: torch.device) -> ExportedEmulator:  # type: ignore[override]
        """See `Emulator.to`; devices that the graph names are changed too."""
        from torch.export.passes import move_to_device_pass

        if device != self._input_scale.device:
            self._program = move_to_device_pass(self._program, device)
            self.network = _network(self._program)
            super().to(device)
        return self


def read_exported(
    path: Path, options: Mapping[str, Any], trust: bool, with_weights: bool = True
) -> ExportedEmulator:
    """The torch-export format's `Reader.read`, or its `read_shapes`, whose weights are all one number."""
    if options:
        raise InputError(
            f"{path}: the torch-export reader has no options (got reader: {', '.join(options)})"
        )
    manifest = read_manifest(path)
    program = _load(path, trust, with_weights)
    sizes = check_shapes(program, manifest, path)
    check_operators(program, path)
    return ExportedEmulator(manifest, program, sizes, manifest_path(path)).eval()


def manifest_path(path: Path) -> Path:
    """Where the manifest of a file of weights lies: model.json beside model.pt2."""
    return path.with_suffix(".json")


def read_manifest(path: Path) -> ExportManifest:
    """The manifest beside a file of weights. Raises InputError in one line that names it."""
    beside = manifest_path(path)
    if not beside.exists():
        raise InputError(
            f"{path} needs a manifest {beside} beside it, which says what its channels are "
            "(docs/readers.md)"
        )
    text = read_document(beside, "manifest of an exported network")
    manifest = parse_manifest(ExportManifest, text, beside)
    try:
        manifest.spec()
    except ValueError as error:
        raise InputError(f"{beside}: {error}") from None
    return manifest


def _load(path: Path, trust: bool, with_weights: bool) -> ExportedProgram:
    if torch.__version__ < OLDEST_TORCH:
        raise InputError(
            f"{path}: exported programs need torch 2.9 or newer, here is {torch.__version__}"
        )
    source: Any = str(path)
    numbers: Numbers | None = None
    try:
        source, numbers = plain_copy(path)
    except UntrustedError as error:
        if not trust:
            raise InputError(f"{error}; --trust-checkpoint opens it all the same") from None
    try:
        with _silence():
            program = torch.export.load(source)
        if numbers is not None and with_weights:
            numbers.fill(program)
        return program
    except Exception as error:
        pass_on(error)
        reason = first_line(error)
        raise InputError(
            f"{path}: torch {torch.__version__} can't read this program ({reason[:300]})"
        ) from None


@contextmanager
def _silence() -> Iterator[None]:
    """torch logs a traceback, and warns, before it raises."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _network(program: ExportedProgram) -> nn.Module:
    """The program as a module with parameters; no guards, which are code from the file."""
    with _silence():
        return program.module(check_guards=False)


def save_exported(path: Path, network: nn.Module, manifest: ExportManifest) -> None:
    """Export a network in evaluation mode, for any number of members, with its manifest beside it.

    path: ends in .pt2. network: normalized inputs [member, channel, lat, lon] -> normalized outputs.
    Whatever torch.export can't export it raises.
    """
    grid = manifest.spec().grid
    first = next(network.parameters(), torch.zeros(()))
    fields = torch.zeros(2, manifest.num_network_inputs(), *grid.shape, device=first.device)
    was_training = network.training
    network.eval()
    try:
        program = torch.export.export(
            network, (fields,), dynamic_shapes=({0: torch.export.Dim("batch")},)
        )
    finally:
        network.train(was_training)
    torch.export.save(program, path)
    manifest_path(path).write_text(manifest.model_dump_json(exclude_unset=True, indent=1))
