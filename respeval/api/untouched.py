"""What a caller's process and network are after a run is what they were before it."""

from __future__ import annotations

import contextlib
import gc
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from respeval.checkpoints import Checkpoint, InMemory
from respeval.distributed.comm import Comm, connect_beside
from respeval.emulator.computing import keeping_float32
from respeval.errors import InputError


@contextlib.contextmanager
def as_before() -> Iterator[None]:
    """Random states, number of threads, default dtype, float32 and garbage collection stay."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 - the caller may use it
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    collects, thresholds = gc.isenabled(), gc.get_threshold()
    try:
        devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
        with torch.random.fork_rng(devices), keeping_float32():
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        gc.set_threshold(*thresholds)
        (gc.enable if collects else gc.disable)()


@contextlib.contextmanager
def evaluated(checkpoint: Checkpoint) -> Iterator[None]:
    """A network in memory is in evaluation mode; each module is as it was afterwards.

    What a module keeps for itself in a rollout is forgotten: a tensor of inference mode is good for no
    gradient.
    """
    network = network_of(checkpoint)
    if network is None:
        yield
        return
    before = [(module, module.training, _held_by(module)) for module in network.modules()]
    try:
        network.eval()
        yield
    finally:
        for module, was_training, held in before:
            for content, kept in held:
                content.clear()
                content.update(kept)
            module.training = was_training


def _held_by(module: nn.Module) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """A module's own attributes and buffers, and a copy of each; a scripted one keeps its elsewhere."""
    if isinstance(module, torch.jit.ScriptModule):
        return []
    return [(held, dict(held)) for held in (vars(module), module._buffers)]


def network_of(checkpoint: Checkpoint) -> nn.Module | None:
    """The network of an emulator in memory: itself or its `network`, where that is a torch module."""
    held: object = checkpoint.emulator if isinstance(checkpoint, InMemory) else None
    for each in (held, getattr(held, "network", None)):
        if isinstance(each, nn.Module):
            return each
    return None


def comm_for(checkpoint: Checkpoint, device: str | None) -> Comm:
    """This process among its peers, on the device of a network in memory.

    Raises InputError where another device is asked for than the one that its weights are on.
    """
    own = _device_of(checkpoint)
    if device is None or own is None:
        kind = None if device is None else torch.device(_checked(device))
        return connect_beside(own or kind)
    if own.type != _checked(device):
        raise InputError(
            f"device={device!r}: the weights of {checkpoint} are on {own}, and stay there; leave device out"
        )
    return connect_beside(own)


def _checked(device: str) -> str:
    if device not in ("cpu", "cuda"):
        raise InputError(f"device={device!r}: expected cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device='cuda': this machine has no CUDA device that torch can use")
    return device


def _device_of(checkpoint: Checkpoint) -> torch.device | None:
    network = network_of(checkpoint)
    if network is None:
        return None
    for tensor in (*network.parameters(), *network.buffers()):
        return tensor.device
    return torch.device("cpu")
