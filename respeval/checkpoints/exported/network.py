"""What an exported program must be to step an emulator: its shapes, its batches, its operators."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram

from respeval.checkpoints.manifest import ModelManifest
from respeval.errors import InputError


@dataclass(frozen=True)
class BatchSizes:
    """Numbers of members that a network takes at once; `most` is None where there is no limit."""

    fewest: int
    most: int | None

    def __str__(self) -> str:
        if self.most is None:
            return "any size"
        if self.fewest == self.most:
            return f"of {self.most} only, as it was exported; others are split and filled up"
        return (
            f"of {self.fewest} to {self.most}, as it was exported; others are split and filled up"
        )


def split_batch(inputs: torch.Tensor, sizes: BatchSizes) -> Iterator[tuple[torch.Tensor, int]]:
    """Batches that the network takes, and how many of their members are real.

    Members don't see each other, so that a batch which is too small is filled up with its last one.
    """
    for part in inputs.split(sizes.most or len(inputs)):
        missing = max(sizes.fewest - len(part), 0)
        filled = torch.cat([part, part[-1:].expand(missing, *part.shape[1:])]) if missing else part
        yield filled, len(part)


def check_shapes(program: ExportedProgram, manifest: ModelManifest, path: Path) -> BatchSizes:
    """Hold the program's input and output against the manifest.

    Raises InputError that says what the program has and what the manifest asks for.
    """
    specs, calls = program.graph_signature, program.call_spec
    plain = calls.in_spec.num_leaves == 1 and calls.out_spec.num_leaves == 1
    if not plain or len(specs.user_inputs) != 1 or len(specs.user_outputs) != 1:
        raise InputError(
            f"{path} takes {len(specs.user_inputs)} and gives {len(specs.user_outputs)} values; export "
            "a module with one tensor [batch, channel, lat, lon] in and one out"
        )
    grid = manifest.spec().grid
    noise, split = manifest.num_noise_channels, int(manifest.split_surface_temperature)
    parts = (
        f"{len(manifest.prognostic)} prognostic + {len(manifest.forcing)} forcing"
        + (" + 1 for the second surface temperature" if split else "")
        + (f" + {noise} noise" if noise else "")
    )
    given = _value(program, specs.user_inputs[0])
    asked = (manifest.num_network_inputs(), *grid.shape)
    _check_tensor(given, asked, f"{path}: its input", parts)
    outputs = f"{len(manifest.prognostic)} prognostic + {len(manifest.diagnostic)} diagnostic"
    result = _value(program, specs.user_outputs[0])
    _check_tensor(
        result, (manifest.num_network_outputs(), *grid.shape), f"{path}: its output", outputs
    )
    if result.shape[0] != given.shape[0]:
        raise InputError(f"{path}: its output has another batch size than its input")
    return _batch_sizes(program, given.shape[0], path)


def _value(program: ExportedProgram, name: object) -> Any:
    """What is known of a value of the graph: a tensor without numbers, mostly."""
    return next((node.meta.get("val") for node in program.graph.nodes if node.name == name), None)


def _check_tensor(value: Any, asked: tuple[int, int, int], what: str, parts: str) -> None:
    if not isinstance(value, torch.Tensor) or value.ndim != 4:
        found = f"{value.ndim} dimensions" if isinstance(value, torch.Tensor) else "no tensor"
        raise InputError(f"{what} has {found}; expected a tensor [batch, channel, lat, lon]")
    if value.dtype != torch.float32:
        raise InputError(f"{what} is {value.dtype}, expected torch.float32; export it so")
    names = (f"channels ({parts})", "latitudes", "longitudes")
    for got, expected, name in zip(value.shape[1:], asked, names, strict=True):
        if isinstance(got, int) and got != expected:
            raise InputError(
                f"{what} has shape {list(value.shape)}; its manifest asks for {expected} {name}"
            )


def _batch_sizes(program: ExportedProgram, size: Any, path: Path) -> BatchSizes:
    if isinstance(size, int):
        return BatchSizes(size, size)
    known = program.range_constraints.get(size.node.expr)
    if known is None:
        raise InputError(
            f"{path}: its batch size is {size}; export it with "
            "dynamic_shapes=({0: torch.export.Dim('batch')},)"
        )
    # torch says 2 where it did not look at what a batch of one would do.
    fewest = int(known.lower) if known.lower > 2 else 1
    return BatchSizes(fewest, int(known.upper) if known.upper.is_Integer else None)


def check_operators(program: ExportedProgram, path: Path) -> None:
    """Raise InputError where a step would depend on other members, earlier steps or hidden noise."""
    inputs = program.graph_signature.user_inputs
    for graph in program.graph_module.modules():
        if not isinstance(graph, fx.GraphModule):
            continue
        for node in graph.graph.nodes:
            if not isinstance(node.target, torch._ops.OpOverload):
                continue
            if _draws(node):
                raise InputError(
                    f"{path} draws random numbers itself ({node.target}), which could not be paired "
                    "between climates; export it in evaluation mode, and give it noise as input "
                    "channels (num_noise_channels)"
                )
            if "batch_norm" in str(node.target) and _argument(node, "training") is True:
                raise InputError(
                    f"{path} normalizes over its batch ({node.target} in training mode), so members "
                    "would change each other; export it in evaluation mode"
                )
            if graph is program.graph_module and _keeps_state(node, inputs):
                raise InputError(
                    f"{path} changes a weight or a buffer ({node.target}), so a step would "
                    "depend on earlier ones; export a module that keeps no state"
                )


def _argument(node: fx.Node, name: str) -> Any:
    """An operator's argument by its name in the operator's schema; None where there is none."""
    assert isinstance(node.target, torch._ops.OpOverload)
    for i, argument in enumerate(node.target._schema.arguments):
        if argument.name == name:
            default = argument.default_value
            return node.args[i] if i < len(node.args) else node.kwargs.get(name, default)
    return None


def _draws(node: fx.Node) -> bool:
    assert isinstance(node.target, torch._ops.OpOverload)
    if torch.Tag.nondeterministic_seeded not in node.target.tags:
        return False
    off = [_argument(node, name) is False for name in ("train", "training")]
    rates = [_argument(node, name) for name in ("p", "dropout_p")]
    return not any(off) and not any(rate is not None and rate == 0 for rate in rates)


def _keeps_state(node: fx.Node, inputs: Collection[object]) -> bool:
    """Whether an operator writes into a weight, a buffer or a constant, or into a view of one.

    The fields themselves, which `inputs` names, are made anew for every step.
    """
    assert isinstance(node.target, torch._ops.OpOverload)
    schema = node.target._schema
    for i, argument in enumerate(schema.arguments[: len(node.args)]):
        if argument.alias_info is None or not argument.alias_info.is_write:
            continue
        written = node.args[i]
        while isinstance(written, fx.Node) and _is_view(written):
            written = written.args[0]
        if isinstance(written, fx.Node) and written.op == "placeholder":
            return written.name not in inputs
    return False


def _is_view(node: fx.Node) -> bool:
    if not isinstance(node.target, torch._ops.OpOverload) or not node.args:
        return False
    return any(result.alias_info is not None for result in node.target._schema.returns)


def classes_of(program: ExportedProgram) -> dict[str, tuple[str, str]]:
    """Path of a module -> (module that defines its class, class), as it was before the export."""
    found: dict[str, tuple[str, str]] = {}
    for graph in program.graph_module.modules():
        if isinstance(graph, fx.GraphModule):
            for node in graph.graph.nodes:
                for path, kind in (node.meta.get("nn_module_stack") or {}).values():
                    named = (
                        kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
                    )
                    defined_in, _, name = named.rpartition(".")
                    found.setdefault(path, (defined_in, name))
    return found
