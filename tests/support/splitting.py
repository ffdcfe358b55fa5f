"""Untrained networks of many kinds, whole and split over processes: `torchrun -m` of this module.

`python -m tests.support.splitting HEIGHT WIDTH FOLDER NAME…` under torchrun writes what each process
has of every network's rollout and gradients, PLACE.pt.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import nn

from respeval.checkpoints.native import NativeEmulator
from respeval.distributed.comm import connect
from respeval.distributed.mesh import Mesh, Tile, make_mesh
from respeval.emulator.contract import Emulator
from respeval.emulator.noise import CounterNoise
from respeval.emulator.splitting import BY_BLOCKS, BY_ROWS, localize
from respeval.fields.grid import Grid, GridKind, _nodes
from respeval.planet.emulator import PlanetEmulator
from tests.support import studies
from tests.support.inputs import inputs
from tests.support.processes import torchrun

NUM_STEPS = 20


def reduce_gradients(module: nn.Module, mesh: Mesh) -> None:
    """Make every weight's gradient that of a loss which is the sum over the processes of their parts.

    Every process calls it, behind a backward pass of its part of the loss.
    """
    for weight in module.parameters():
        if weight.grad is not None:
            weight.grad = whole_gradient(weight, weight.grad, mesh)


def whole_gradient(weight: nn.Parameter, gradient: torch.Tensor, mesh: Mesh) -> torch.Tensor:
    """A weight's gradient, summed over the processes that hold the same part of it."""
    held = getattr(weight, "held", None)
    if held == BY_BLOCKS:
        return gradient
    return mesh.row_total(gradient) if held == BY_ROWS else mesh.total(gradient)


@dataclass(frozen=True)
class Variant:
    """A native SFNO: its grid, arguments of the network, and other changes of the manifest."""

    shape: tuple[int, int] = (24, 48)
    kind: GridKind = "legendre-gauss"
    south: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)


VARIANTS = {
    "plain": Variant(),
    "large": Variant((45, 90)),
    "south": Variant(south=True),
    "uneven": Variant((25, 50), south=True, changes={"num_noise_channels": 2}),
    "layer_norm": Variant(arguments={"normalization_layer": "layer_norm"}),
    "instance_norm": Variant(arguments={"normalization_layer": "instance_norm", "bias": True}),
    "by_latitude": Variant(arguments={"pos_embed": "learnable lat"}),
    "sequence": Variant(arguments={"pos_embed": "sequence"}),
    "truncated": Variant(arguments={"hard_thresholding_fraction": 0.5}),
    "equiangular": Variant((25, 48), "equiangular"),
    "lobatto": Variant(kind="lobatto", changes={"prediction": "residual"}),
    "noise": Variant(changes={"num_noise_channels": 3, "split_surface_temperature": True}),
    "everything": Variant(
        (25, 50),
        "equiangular",
        south=True,
        arguments={
            "normalization_layer": "layer_norm",
            "bias": True,
            "pos_embed": "learnable latlon",
            "num_layers": 3,
        },
        changes={"num_noise_channels": 3, "climatology": ["skin", "rain"]},
    ),
}

PLANET = "planet"


def build(name: str) -> Any:
    """A variant's emulator with all weights drawn, or the planet."""
    if name == PLANET:
        return PlanetEmulator(Grid.legendre_gauss(13, 26))
    variant = VARIANTS[name]
    num_lat, num_lon = variant.shape
    latitude = _nodes(variant.kind, num_lat)
    longitude = np.arange(num_lon) * (360.0 / num_lon)
    grid = Grid(latitude if variant.south else latitude[::-1], longitude, variant.kind)
    manifest = studies.manifest(grid)
    architecture = manifest.architecture.model_dump(exclude_unset=True)
    architecture["arguments"] |= variant.arguments
    share = variant.arguments.get("hard_thresholding_fraction", 1.0)
    degrees = int(min(num_lat, num_lon // 2) * share)
    architecture["transform"] |= {"lmax": degrees, "mmax": degrees}
    torch.manual_seed(1)
    emulator = NativeEmulator(
        studies.manifest(grid, architecture=architecture, **variant.changes)
    ).eval()
    with torch.no_grad():
        for weight in emulator.network.parameters():
            if weight.std() == 0:  # of norms, position embeddings and biases
                weight.add_(0.1 * torch.randn_like(weight))
        for mean in emulator.climatology.values():
            mean.add_(torch.randn_like(mean))
    return emulator


def initial(emulator: Emulator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A state of two members, and the forcing at two times, of the whole globe."""
    if isinstance(emulator, PlanetEmulator):
        generator = torch.Generator().manual_seed(0)
        state = 280 + 5 * torch.rand(2, 10, *emulator.spec.grid.shape, generator=generator)
        forcing = torch.rand(2, 2, 4, *emulator.spec.grid.shape, generator=generator)
        scale = torch.tensor([1.0, 1.0, 300.0, 10.0])[:, None, None]
        forcing = forcing * scale + torch.tensor([0.0, 0.0, 0.0, 290.0])[:, None, None]
        state[:, 8] *= 1e-5
        return state, forcing[0], forcing[1]
    state, forcing, following = inputs(2, emulator.spec.grid)
    return state, forcing, following


def rollout(emulator: Any, mesh: Mesh, num_steps: int = NUM_STEPS) -> torch.Tensor:
    """This process's block of all outputs, [step, member, output, lat, lon].

    An untrained network may run away: behind each step its state is drawn to that of the start.
    """
    tile = tile_of(emulator, mesh)
    state, forcing, following = (tile.of(values) for values in initial(emulator))
    first, found = state, []
    with torch.inference_mode():
        for step in range(num_steps):
            now, then = (forcing, following) if step % 2 == 0 else (following, forcing)
            outputs = emulator.step(state, now, then, _noise(step))
            found.append(outputs)
            change = outputs[:, : state.shape[1]] - first
            state = first + 0.8 * change.clamp(-50.0, 50.0)
    return torch.stack(found)


def gradients(emulator: Any, mesh: Mesh) -> dict[str, torch.Tensor]:
    """Of a loss of two steps, by name of the weights that this process holds, in float64.

    The emulator is one in float64 from then on, so that rounding does not hide errors.
    """
    emulator.double()
    for weight in emulator.parameters():
        if weight.is_complex():
            weight.data = weight.data.to(torch.complex128)
    tile = tile_of(emulator, mesh)
    state, forcing, following = (tile.of(values).double() for values in initial(emulator))
    generator = torch.Generator().manual_seed(5)
    weights = tile.of(torch.rand(len(emulator.spec.outputs), *tile.shape, generator=generator))
    # The convolutions ask for float32.
    with mock.patch.object(torch.Tensor, "float", lambda values: values):
        outputs = emulator.step(state, forcing, following, _noise(0))
        outputs = emulator.step(outputs[:, : state.shape[1]], following, forcing, _noise(1))
    loss = (weights * emulator.normalize_outputs(outputs).square()).sum()
    loss.backward()
    reduce_gradients(emulator.network, mesh)
    found = {name: weight.grad for name, weight in emulator.network.named_parameters()}
    assert all(gradient.dtype in (torch.float64, torch.complex128) for gradient in found.values())
    return found


def tile_of(emulator: Emulator, mesh: Mesh) -> Tile:
    return mesh.tile(emulator.spec.grid.shape, emulator.spec.grid.north_to_south)


def _noise(step: int) -> CounterNoise:
    return CounterNoise(3, [(0, 0), (1, 0)], step)


def split(layout: tuple[int, int], folder: Path, names: Iterable[str]) -> list[dict[str, Any]]:
    """What each process of a layout has of these networks: name -> (rollout, gradients)."""
    height, width = layout
    program = ("-m", "tests.support.splitting")
    done = torchrun(height * width, height, width, folder, *names, program=program)
    assert done.returncode == 0, done.stderr[-4000:]
    return [torch.load(folder / f"{place}.pt") for place in range(height * width)]


def joined(
    parts: Sequence[torch.Tensor], emulator: Emulator, layout: tuple[int, int]
) -> torch.Tensor:
    """Whole fields from blocks by place."""
    grid = emulator.spec.grid
    tiles = Mesh(*layout).tiles(grid.shape, grid.north_to_south)
    whole = parts[0].new_full((*parts[0].shape[:-2], *grid.shape), torch.nan)
    for part, tile in zip(parts, tiles, strict=True):
        tile.of(whole).copy_(part)
    return whole


def main(height: int, width: int, folder: Path, names: Sequence[str]) -> None:
    comm = connect("cpu")
    mesh = make_mesh(comm.rank, comm.num_processes, height, width, timedelta(minutes=2))
    found = {}
    for name in names:
        emulator = build(name)
        localize(emulator, mesh)
        differentiable = isinstance(emulator, nn.Module)
        found[name] = (
            rollout(emulator, mesh),
            gradients(emulator, mesh) if differentiable else {},
        )
    torch.save(found, folder / f"{mesh.place}.pt")
    comm.close()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
