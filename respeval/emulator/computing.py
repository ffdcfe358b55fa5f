"""How an emulator computes: in which floating-point numbers, compiled or not, with how many weights."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map

from respeval.emulator.contract import Emulator, Precision
from respeval.emulator.noise import CounterNoise
from respeval.errors import InputError
from respeval.fields.split_transform import SplitTransform

#: In the names of classes: complex numbers, which no transform can make from bfloat16.
_TRANSFORMS = ("SHT", "FFT")


def check_precision(emulator: Emulator, precision: Precision, device: torch.device) -> None:
    """Raise InputError where an emulator can't compute in this precision on a device of this kind."""
    if precision == "float32":
        return
    if emulator.spec.precision != "float32":
        raise InputError(
            f"precision {precision} is for emulators that compute in float32, and this one computes in "
            f"{emulator.spec.precision}; leave precision out"
        )
    if precision == "tf32" and device.type != "cuda":
        raise InputError(
            "precision tf32 is of NVIDIA GPUs, and this run is on a CPU (there are float32 and "
            "bfloat16); leave it out"
        )
    if precision == "bfloat16":
        networks_of(emulator, "precision bfloat16")


def networks_of(emulator: Emulator, asked: str) -> list[nn.Module]:
    """The modules that an emulator's step calls. Raises InputError where it doesn't say them, or where
    its fields are split over processes.

    asked: what is to be done with them, for the message.
    """
    network = getattr(emulator, "network", None)
    if not isinstance(network, nn.Module):
        raise InputError(
            f"{asked} needs the emulator's network, which this checkpoint's reader does not name; "
            "leave it out"
        )
    if any(isinstance(module, SplitTransform) for module in network.modules()):
        raise InputError(
            f"{asked} is for whole fields, and these are split over processes; leave either out"
        )
    return list(network) if isinstance(network, nn.ModuleList) else [network]


@contextlib.contextmanager
def computing_in(precision: Precision, emulator: Emulator, device: torch.device) -> Iterator[None]:
    """Within this, the emulator, whose tensors are on `device` already, computes in `precision`.

    float32 is float32 then, also in convolutions on a GPU, where torch's default is TF32. With
    bfloat16 the network alone runs under torch's autocast; its transforms, its outputs and all around
    it stay float32. The process's float32 settings stay as this leaves them.
    """
    _set_float32(tf32=precision == "tf32")
    with contextlib.ExitStack() as undo:
        if precision == "bfloat16":
            for network in networks_of(emulator, "precision bfloat16"):
                for module in network.modules():
                    if any(name in type(module).__name__ for name in _TRANSFORMS):
                        _replace_forward(module, partial(_in_float32, device.type), undo)
                _replace_forward(network, partial(_in_bfloat16, device.type), undo)
        yield


def _set_float32(tf32: bool) -> None:
    """What float32 means in matrix products and convolutions; torch has two generations of switches."""
    backends: Any = torch.backends
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    backends.cudnn.allow_tf32 = tf32
    if not hasattr(backends, "fp32_precision"):
        return
    chosen = "tf32" if tf32 else "ieee"
    # A switch of its own for each operation, since the older ones leave these to `fp32_precision`.
    for operation in (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn):
        operation.fp32_precision = chosen
    for operation in (backends.mkldnn.matmul, backends.mkldnn.conv, backends.mkldnn.rnn):
        operation.fp32_precision = "ieee"


@contextlib.contextmanager
def keeping_float32() -> Iterator[None]:
    """What float32 means in this process is after this what it was before."""
    backends: Any = torch.backends
    kept: list[tuple[Any, str, Any]] = []
    switches = [(backends.cudnn, "allow_tf32")]
    if hasattr(backends, "fp32_precision"):
        operations = [backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn]
        operations += [backends.mkldnn.matmul, backends.mkldnn.conv, backends.mkldnn.rnn]
        switches += [(operation, "fp32_precision") for operation in operations]
    for owner, name in switches:
        with contextlib.suppress(RuntimeError):  # where older and newer switches disagree
            kept.append((owner, name, getattr(owner, name)))
    matmul = None
    with contextlib.suppress(RuntimeError):
        matmul = torch.get_float32_matmul_precision()
    try:
        yield
    finally:
        if matmul is not None:
            torch.set_float32_matmul_precision(matmul)
        for owner, name, value in kept:
            setattr(owner, name, value)


def _replace_forward(module: nn.Module, around: partial[Any], undo: contextlib.ExitStack) -> None:
    """Let a module compute `around(forward, …)` in the place of `forward(…)` until `undo` ends."""
    # Kept, because what was compiled is compiled for this very object.
    kept = f"_forward{around.func.__name__}"
    forward = vars(module).setdefault(kept, partial(around, module.forward))
    undo.enter_context(computing_by(module, forward))


@contextlib.contextmanager
def computing_by(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Within this a module computes `forward`; its class, its weights and its hooks stay."""
    before = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if before is None:
            del module.forward
        else:
            module.forward = before


def _in_bfloat16(
    device_type: str, forward: Callable[..., Any], *arguments: Any, **options: Any
) -> Any:
    with torch.autocast(device_type, torch.bfloat16):
        return tree_map(_widened, forward(*arguments, **options))


def _in_float32(
    device_type: str, forward: Callable[..., Any], *arguments: Any, **options: Any
) -> Any:
    with torch.autocast(device_type, enabled=False):
        return forward(*tree_map(_widened, arguments), **tree_map(_widened, options))


def _widened(leaf: Any) -> Any:
    is_narrow = isinstance(leaf, torch.Tensor) and leaf.dtype == torch.bfloat16
    return leaf.float() if is_narrow else leaf


@contextlib.contextmanager
def compiled(emulator: Emulator) -> Iterator[None]:
    """Within this the emulator's networks run as torch.compile makes them, for fixed batch sizes.

    The first batch of each size compiles, also where the batch before had another one; what was
    compiled serves the next time too. Raises InputError where the emulator doesn't say its networks.
    """
    networks = networks_of(emulator, "--compile")
    with contextlib.ExitStack() as undo:
        # What is drawn within a network keeps its bits: compiled, its operations would be fused.
        undo.callback(setattr, CounterNoise, "normal", CounterNoise.normal)
        CounterNoise.normal = _uncompiled_normal()  # type: ignore[method-assign]
        for network in networks:
            network.compile(dynamic=False)
            undo.callback(setattr, network, "_compiled_call_impl", None)
        yield


@functools.cache
def _uncompiled_normal() -> Callable[..., torch.Tensor]:
    """Once, because what was compiled is compiled for this very object."""
    uncompiled: Callable[..., torch.Tensor] = torch.compiler.disable(CounterNoise.normal)
    return uncompiled


def forget_compiled() -> None:
    """Let go of all that was compiled, with the networks that it belongs to."""
    torch._dynamo.reset()


def num_parameters(emulator: Emulator) -> int | None:
    """Real numbers that were trained; None where the emulator is no torch module."""
    if not isinstance(emulator, nn.Module):
        return None
    weights = [p for p in emulator.parameters() if p.requires_grad]
    return sum(p.numel() * (2 if p.is_complex() else 1) for p in weights)
