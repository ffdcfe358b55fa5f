"""Tensors of a process that has one block of its fields, the other processes being pretended.

python -m benchmarks.split_memory REPORT [--probe] [--layout HxW]… CHECKPOINT…

What a process holds depends on the shapes of what it is sent and not on the numbers in it, so that
exchanges are left out, and with them the buffers of a backend.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from benchmarks.bare_loop import at_their_means
from respeval.checkpoints import open_checkpoint
from respeval.distributed.mesh import Mesh
from respeval.emulator.noise import CounterNoise
from respeval.emulator.splitting import localize
from respeval.loss_probe.activations import measure_kept
from respeval.loss_probe.filters import select_filters
from respeval.loss_probe.footprint import Footprint
from respeval.loss_probe.gradients import Ensemble, Normalization, Probe
from respeval.loss_probe.loss import LossWeights
from respeval.loss_probe.pairs import Batch
from respeval.loss_probe.plan import DEFAULT_ARMS, transform_of

#: Members of a probe's ensemble, of one pair of states.
NUM_MEMBERS = 2


@dataclass(frozen=True)
class Tensors:
    """Bytes of a process.

    weights, tables: of the network's parameters, and of its transforms' functions. activations: the
    most that a step of one member holds beside these and its arguments.
    probe: of a gradient probe, where it was asked for.
    """

    weights: int
    tables: int
    activations: int
    probe: ProbeTensors | None = None


@dataclass(frozen=True)
class ProbeTensors:
    """Bytes of a probe of `NUM_MEMBERS` and the usual arms beside weights and tables.

    beside, inputs, inside: what one trajectory's forward pass keeps; see `Kept`. work: the most that it
    holds beside that. kept, again: the most that a batch takes where nothing runs again, and where
    blocks do; told_kept, told_again: what the probe's own formula has for these.
    """

    beside: int
    inputs: int
    inside: list[int]
    work: int
    kept: int
    again: int
    told_kept: int
    told_again: int


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.split_memory")
    parser.add_argument("report", type=Path)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--layout", action="append")
    parser.add_argument("--probe", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    found = [
        {
            layout: asdict(tensors_of(path, *map(int, layout.split("x")), with_probe=asked.probe))
            for layout in asked.layout
        }
        for path in asked.checkpoints
    ]
    asked.report.write_text(json.dumps(found))


def tensors_of(checkpoint: Path, height: int, width: int, with_probe: bool = False) -> Tensors:
    """Of the first of height x width processes, whose share is the largest."""
    emulator: Any = open_checkpoint(checkpoint, {})
    mesh = Mesh(height, width)
    with pretended():
        localize(emulator, mesh)
        held = (
            sum(weight.nbytes for weight in emulator.network.parameters()),
            sum(table.nbytes for table in emulator.network.buffers()),
        )
        state, forcing = members(emulator, mesh, 1)
        noise = CounterNoise(0, [(0, 0)], 0, None)

        def step() -> None:
            with torch.inference_mode():
                emulator.step(state, forcing, forcing, noise)

        step()  # what a first one loads is no part of it
        peak = tensors_peak(step)
        return Tensors(*held, peak, probe_of(emulator, mesh) if with_probe else None)


def members(emulator: Any, mesh: Mesh, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """State and forcing of so many members at the means of the normalization, in a process's block."""
    spec = emulator.spec
    tile = mesh.tile(spec.grid.shape, spec.grid.north_to_south)
    names = [variable.name for variable in spec.prognostic], spec.required_forcing
    state, forcing = (tile.of(at_their_means(spec, of, count)).contiguous() for of in names)
    return state, forcing


def probe_of(emulator: Any, mesh: Mesh) -> ProbeTensors:
    """What a probe of one pair takes."""
    spec = emulator.spec
    filters = tuple(select_filters(emulator, None, "a network"))
    for weight in emulator.parameters():
        weight.requires_grad_(any(weight is entry.parameter for entry in filters))
    transform = transform_of(spec)
    ensemble, normalize = Ensemble(NUM_MEMBERS, 0, 0.1), Normalization(spec, torch.float32, _CPU)
    state, forcing = members(emulator, mesh, 1)
    scored = [variable.name for variable in spec.loss_outputs]
    batch = Batch(state, forcing, forcing, at_their_means(spec, scored, 1), (0,))

    def probe(recompute: Any) -> Probe:
        return Probe(
            *(emulator, filters, DEFAULT_ARMS, LossWeights(), ensemble, normalize, transform),
            recompute,
            mesh,
        )

    def go(recompute: Any) -> int:
        return tensors_peak(lambda: probe(recompute).gradients(batch, lambda *_: None))

    whole = probe("nothing")
    kept: list[Any] = []

    def forward() -> torch.Tensor:
        return whole.predict(batch, [(0, 0)])

    work = tensors_peak(lambda: kept.append(measure_kept(emulator, whole.blocks(), forward)))
    sizes = [entry.parameter.nbytes for entry in filters]
    told = Footprint(
        *(kept[0], work, 0.0, NUM_MEMBERS, len(DEFAULT_ARMS), normalize.mean.nbytes),
        *(0, sum(sizes), max(sizes)),
    )
    return ProbeTensors(
        *(kept[0].beside, kept[0].inputs, list(kept[0].inside), work),
        *(go("nothing"), go("blocks"), told.memory("nothing"), told.memory("blocks")),
    )


_CPU = torch.device("cpu")


def tensors_peak(action: Callable[[], object]) -> int:
    """The most bytes that an action's new tensors take at once, those within torch's operators too."""
    kind = torch.profiler.ProfilerActivity.CPU
    gc.collect()
    with torch.profiler.profile(activities=[kind], profile_memory=True) as found:
        action()
        gc.collect()  # what is freed later would be counted as freed within the next one
    results: Any = found.profiler
    events = [e for e in results.kineto_results.events() if e.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


@contextlib.contextmanager
def pretended() -> Iterator[None]:
    """Within this, collectives send nothing, and what comes from others is zero."""

    def exchange(received: torch.Tensor, *_: Any, **__: Any) -> None:
        received.zero_()

    with (
        mock.patch.object(torch.distributed, "all_to_all_single", exchange),
        mock.patch.object(torch.distributed, "all_reduce", return_value=None),
    ):
        yield


if __name__ == "__main__":
    main()
