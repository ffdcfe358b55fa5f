"""What a forward pass keeps for the way back, and the blocks of a network that run again instead."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

from respeval.loss_probe.filters import SpectralFilter

#: What runs a second time on the way back: nothing; each block of the network; or that, and one
#: trajectory after the other.
Recompute = Literal["nothing", "blocks", "trajectories"]

#: From what takes most memory and least time to the other end.
CHOICES: tuple[Recompute, ...] = ("nothing", "blocks", "trajectories")


class DrawsError(Exception):
    """A block draws random numbers, and would draw others when it runs again."""


_NAMES = ("rand", "randn", "randint", "normal", "bernoulli", "rand_like", "randn_like")
_DRAWING = frozenset(getattr(torch, name) for name in _NAMES)


class _Drawless(TorchFunctionMode):
    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in _DRAWING:
            raise DrawsError
        return func(*args, **(kwargs or {}))


def blocks_of(network: nn.Module, filters: Sequence[SpectralFilter]) -> list[nn.Module]:
    """The innermost entries of lists of modules that hold these filters, each once.

    A network whose modules have lost their own forward functions, as an exported one, has none.
    """
    found: dict[str, nn.Module] = {}
    for entry in filters:
        parts = entry.name.split(".")[:-1]
        paths = [".".join(parts[: i + 1]) for i in range(len(parts))]
        modules = [network.get_submodule(path) for path in paths]
        owners = [network, *modules]
        inner = [i for i, owner in enumerate(owners[:-1]) if isinstance(owner, nn.ModuleList)]
        if inner and type(modules[inner[-1]]).forward is not nn.Module.forward:
            found[paths[inner[-1]]] = modules[inner[-1]]
    return list(found.values())


@contextlib.contextmanager
def called_through(blocks: Sequence[nn.Module], call: Callable[..., Any]) -> Iterator[None]:
    """Within this, a block computes `call(number, forward, …)` in the place of `forward(…)`."""
    with contextlib.ExitStack() as undo:
        for number, block in enumerate(blocks):
            before = vars(block).get("forward")
            block.forward = partial(call, number, block.forward)
            undo.callback(_restore, block, before)
        yield


def _restore(block: nn.Module, before: Callable[..., Any] | None) -> None:
    if before is None:
        del block.forward
    else:
        block.forward = before


def run_again(number: int, forward: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """A block's outputs, of whose graph only the inputs are kept. Raises DrawsError."""
    if not torch.is_grad_enabled():
        return forward(*arguments, **named)
    # Without randomness there is no state of a generator to restore.
    return checkpoint(
        partial(_without_drawing, forward),
        *arguments,
        use_reentrant=False,
        preserve_rng_state=False,
        **named,
    )


def _without_drawing(forward: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    with _Drawless():
        return forward(*arguments, **named)


@dataclass(frozen=True)
class Kept:
    """Bytes that one trajectory's forward pass keeps.

    beside: what is kept beside the blocks; inputs: of all blocks; inside: of each block. can_repeat:
    whether there are blocks, none of which draws random numbers.
    """

    beside: int
    inputs: int
    inside: tuple[int, ...]
    can_repeat: bool

    def graph(self, recompute: Recompute, num_trajectories: int) -> int:
        """Bytes of a batch's graph, with the block that is being run again."""
        again = recompute != "nothing" and self.can_repeat
        inside = self.inputs + max(self.inside) if again else sum(self.inside)
        return (self.beside + inside) * (1 if recompute == "trajectories" else num_trajectories)


class _Count:
    """Bytes that are kept for the way back within `counted`, where they are let go."""

    def __init__(self, known: set[StorageWeakRef]) -> None:
        self.num_bytes, self._known = 0, known

    def counted(self) -> saved_tensors_hooks:
        return saved_tensors_hooks(self._add, _no_way_back)

    def _add(self, tensor: torch.Tensor) -> None:
        self.num_bytes += _new_bytes(tensor, self._known)


def _no_way_back(_: object) -> torch.Tensor:
    raise AssertionError("what was kept for the way back was only counted")


def _new_bytes(tensor: torch.Tensor, known: set[StorageWeakRef]) -> int:
    """Bytes of a tensor's memory, zero where it is known already."""
    storage = tensor.untyped_storage()
    reference = StorageWeakRef(storage)
    if reference in known:
        return 0
    known.add(reference)
    return storage.nbytes()


def measure_kept(
    network: nn.Module, blocks: Sequence[nn.Module], forward: Callable[[], torch.Tensor]
) -> Kept:
    """What one trajectory's forward pass keeps, found by running it. Weights don't count."""
    known: set[StorageWeakRef] = set()
    for tensor in (*network.parameters(), *network.buffers()):
        _new_bytes(tensor, known)
    inside, inputs, draws = [0] * len(blocks), [0], [False]

    def call(number: int, block: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        given = [a for a in (*arguments, *named.values()) if isinstance(a, torch.Tensor)]
        inputs[0] += sum(_new_bytes(tensor, known) for tensor in given)
        count = _Count(known)
        with count.counted():
            try:
                result = _without_drawing(block, *arguments, **named)
            except DrawsError:
                draws[0] = True
                result = block(*arguments, **named)
        inside[number] += count.num_bytes
        return result

    beside = _Count(known)
    with called_through(blocks, call), torch.enable_grad(), beside.counted():
        forward()
    can_repeat = bool(blocks) and not draws[0]
    return Kept(beside.num_bytes, inputs[0], tuple(inside), can_repeat)
