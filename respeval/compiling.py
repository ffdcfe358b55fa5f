"""torch.compile for an emulator's network."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from respeval.arithmetic import networks_of
from respeval.emulator import Emulator


@contextlib.contextmanager
def compiled(emulator: Emulator) -> Iterator[None]:
    """Within this the emulator's networks run as torch.compile makes them, for fixed batch sizes.

    The first batch of each size compiles, also where the batch before had another one; what was
    compiled serves the next time too. Raises InputError where the emulator doesn't say its networks.
    """
    networks = networks_of(emulator, "--compile")
    with contextlib.ExitStack() as undo:
        for network in networks:
            network.compile(dynamic=False)
            undo.callback(setattr, network, "_compiled_call_impl", None)
        yield


def forget_compiled() -> None:
    """Let go of all that was compiled, with the networks that it belongs to."""
    torch._dynamo.reset()
