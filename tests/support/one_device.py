"""`respeval` as one of several processes that share a device, of which NCCL would refuse all but one.

    torchrun --nproc-per-node=2 tests/support/one_device.py respeval-arguments…

Collectives go over gloo, which gets copies on the host; each tensor that is not on the process's own
device is refused before, as NCCL would. The last line on stdout names the collectives that were called.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar
from unittest.mock import MagicMock

import torch
from torch import distributed
from torch.utils._pytree import tree_leaves, tree_map

import respeval.analysis.results
from respeval.cli import command


class Finished:
    """The handle of a collective that is over; gloo's own may be waited for only once."""

    def wait(self, *timeout: object) -> bool:
        return True


class Staged(distributed.ProcessGroup):
    """Collectives of tensors on this process's device alone; `seen` counts them."""

    seen: ClassVar[Counter[str]] = Counter()
    own: ClassVar[torch.device] = torch.device("cpu")

    def __init__(self, store: Any, rank: int, size: int, timeout: Any) -> None:
        super().__init__(rank, size)
        self._gloo = distributed.ProcessGroupGloo(store, rank, size, timeout)

    @property
    def _device_types(self) -> list[torch.device]:
        return [torch.device(self.own.type)]

    def _pass_on(self, name: str, *arguments: Any) -> Any:
        def staged(leaf: Any) -> Any:
            return leaf.cpu() if isinstance(leaf, torch.Tensor) else leaf

        tensors = [leaf for leaf in tree_leaves(arguments) if isinstance(leaf, torch.Tensor)]
        for tensor in tensors:
            if tensor.device != self.own:
                raise RuntimeError(f"{name} refuses a tensor on {tensor.device}, not {self.own}")
        on_host = tree_map(staged, arguments)
        self.seen[name] += 1
        getattr(self._gloo, name)(*on_host).wait()
        copies = [leaf for leaf in tree_leaves(on_host) if isinstance(leaf, torch.Tensor)]
        for tensor, copy in zip(tensors, copies, strict=True):
            if tensor is not copy:
                tensor.copy_(copy)
        return Finished()

    def reduce(self, *arguments: Any) -> Any:
        return self._pass_on("reduce", *arguments)

    def allreduce(self, *arguments: Any) -> Any:
        return self._pass_on("allreduce", *arguments)

    def allgather(self, *arguments: Any) -> Any:
        return self._pass_on("allgather", *arguments)

    def send(self, *arguments: Any) -> Any:
        return self._pass_on("send", *arguments)

    def recv(self, *arguments: Any) -> Any:
        return self._pass_on("recv", *arguments)


def _share(init: Callable[..., None]) -> Callable[..., None]:
    """A group that stages, in the place of the one that is asked for."""

    def staged(backend: str, *, device_id: torch.device | None, **options: Any) -> None:
        assert backend == ("gloo" if device_id is None else "nccl")
        Staged.own = device_id or torch.device("cpu")
        distributed.Backend.register_backend("staged", Staged, devices=[Staged.own.type])
        init("staged", **options)

    return staged


def main() -> None:
    os.environ["LOCAL_RANK"] = "0"
    distributed.init_process_group = _share(distributed.init_process_group)
    respeval.analysis.results.Pictures = MagicMock()  # type: ignore[misc]
    code = command(sys.argv[1:])
    print("collectives:", *sorted(Staged.seen), flush=True)
    os._exit(code)


if __name__ == "__main__":
    main()
