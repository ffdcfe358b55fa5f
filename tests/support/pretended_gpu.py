"""A GPU that is none, and collectives that refuse all other devices, as NCCL does.

Tensors of the pretended device live in memory but say `cuda:N`, and mix with tensors of the CPU as
little as true ones do: a mode sees every call of a torch function, gives its results the device of
its arguments, and refuses arguments of both kinds. The group of processes hands tensors to gloo, and
refuses each that is not on the device of its process. For test_pretended_gpu.py, in forked children.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ClassVar

import pytest
import torch
from torch import distributed
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

import respeval.fields.forcing
from respeval.distributed.comm import Comm, connect
from respeval.errors import InputError, SharedInputError
from tests.support import faults

_CPU = torch.device("cpu")

#: Calls that true GPUs, too, allow on tensors of both kinds.
_MIXING = {torch.Tensor.copy_, torch.Tensor.__getitem__, torch.Tensor.__setitem__}


class OnGpu(torch.Tensor):
    """A tensor of the pretended device."""

    index = 0

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return torch.device("cuda", self.index)

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return True


class PretendedGpu(TorchFunctionMode):
    """As many pretended devices as there are processes; `current` is what `set_device` chose."""

    def __init__(self) -> None:
        super().__init__()
        self.current = 0
        torch.cuda.is_available = lambda: True
        torch.cuda.device_count = lambda: int(os.environ["WORLD_SIZE"])
        torch.Tensor.pin_memory = lambda tensor: tensor  # type: ignore[method-assign]
        torch.cuda.set_device = self._set_device  # type: ignore[assignment]
        torch.cuda.empty_cache = lambda: None
        torch.cuda.synchronize = lambda device: None  # type: ignore[assignment]
        torch.cuda.reset_peak_memory_stats = lambda device: None  # type: ignore[assignment]
        torch.cuda.max_memory_allocated = lambda device: 3 * 2**30  # type: ignore[assignment]

    def _set_device(self, device: torch.device) -> None:
        self.current = device.index

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        found = {tensor.device for tensor in tensors if isinstance(tensor, OnGpu) or tensor.dim()}
        own = next((d for d in found if d != _CPU), _CPU)
        if func in (torch.Tensor.numpy, torch.Tensor.__array__) and own != _CPU:
            raise TypeError(f"can't convert {own} device type tensor to numpy")
        if func in (torch.Tensor.to, torch.Tensor.cpu):
            return self._moved(func, args, kwargs)
        if kwargs.get("device") is not None:
            target = self._device(kwargs["device"])
            return self._placed(self._call(func, args, {**kwargs, "device": _CPU}), target)
        if len(found) > 1 and func is torch._has_compatible_shallow_copy_type:
            return False  # so that modules get new parameters when they move
        if len(found) > 1 and func not in _MIXING:
            name = getattr(func, "__name__", func)
            raise RuntimeError(f"{name}: expected all tensors on one device, found {found}")
        return self._placed(self._call(func, args, kwargs), own)

    @staticmethod
    def _call(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **kwargs)

    def _device(self, text: Any) -> torch.device:
        device = torch.device(text)
        return torch.device("cuda", self.current) if str(device) == "cuda" else device

    def _moved(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        tensor, *rest = args
        target = _CPU if func is torch.Tensor.cpu else tensor.device
        for argument in (*rest, kwargs.pop("device", None)):
            if isinstance(argument, str | torch.device):
                target = self._device(argument)
            elif isinstance(argument, torch.Tensor):
                target = argument.device
        dtypes = [a for a in (*rest, kwargs.get("dtype")) if isinstance(a, torch.dtype)]
        with torch._C.DisableTorchFunctionSubclass():
            moved = torch.Tensor.to(tensor, *dtypes) if dtypes else tensor
            if target == tensor.device:
                return self._placed(moved, target)
            copied = moved.clone() if moved is tensor else moved
            return self._placed(copied.as_subclass(torch.Tensor), target)

    @staticmethod
    def _placed(result: Any, device: torch.device) -> Any:
        def place(leaf: Any) -> Any:
            if device == _CPU or not isinstance(leaf, torch.Tensor) or isinstance(leaf, OnGpu):
                return leaf
            placed = leaf.as_subclass(OnGpu)
            placed.index = device.index
            return placed

        with torch._C.DisableTorchFunctionSubclass():
            return tree_map(place, result)


class RefusingGroup(distributed.ProcessGroup):
    """Collectives over gloo, of tensors on `cuda:RANK` alone; `seen` counts them."""

    seen: ClassVar[Counter[str]] = Counter()

    def __init__(self, store: Any, rank: int, size: int, timeout: Any) -> None:
        super().__init__(rank, size)
        self._own = torch.device("cuda", rank)
        self._gloo = distributed.ProcessGroupGloo(store, rank, size, timeout)

    @property
    def _device_types(self) -> list[torch.device]:
        return [torch.device("cuda")]

    def _pass_on(self, name: str, *arguments: Any) -> Any:
        for leaf in tree_leaves(arguments):
            if isinstance(leaf, torch.Tensor) and leaf.device != self._own:
                raise RuntimeError(f"{name} refuses a tensor on {leaf.device}, not {self._own}")
        self.seen[name] += 1
        with torch._C.DisableTorchFunctionSubclass():
            return getattr(self._gloo, name)(*arguments)

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


def _pretend() -> PretendedGpu:
    """Let `connect` find GPUs, and get a refusing group where it asks for NCCL."""
    distributed.Backend.register_backend("refusing", RefusingGroup, devices=["cuda"])
    init = distributed.init_process_group

    def init_refusing(backend: str, *, device_id: torch.device, **options: Any) -> None:
        assert (backend, device_id) == ("nccl", torch.device("cuda", options["rank"]))
        init("refusing", **options)

    distributed.init_process_group = init_refusing
    return PretendedGpu()


def run(arguments: list[str]) -> None:
    """`respeval ARGUMENTS` on pretended GPUs."""
    with _pretend() as mode:
        # A mode is of one thread; forcings are read and moved in another one.
        pool = partial(ThreadPoolExecutor, initializer=mode.__enter__)
        respeval.fields.forcing.ThreadPoolExecutor = pool  # type: ignore[attr-defined]
        try:
            faults.run(arguments)
        finally:
            print("collectives:", *sorted(RefusingGroup.seen))


def _refused(tensor: torch.Tensor) -> bool:
    try:
        distributed.all_reduce(tensor)
    except RuntimeError as error:
        return "refuses a tensor on" in str(error)
    return False


def reductions() -> None:
    """Every verb of Comm on pretended GPUs, against what it must give."""
    with _pretend():
        comm = connect()
        rank, size = comm.rank, comm.num_processes
        assert comm.device == torch.device("cuda", rank)
        assert _refused(torch.ones(2))
        assert _refused(torch.ones(2, device=torch.device("cuda", rank + 1)))
        _check_tensors(comm, rank, size)
        assert comm.gather({"rank": rank, "text": "x" * rank}) == [
            {"rank": r, "text": "x" * r} for r in range(size)
        ]
        assert comm.from_root(f"from {rank}") == "from 0"
        assert comm.together(lambda: rank) == rank
        assert comm.on_root(lambda: f"from {rank}") == "from 0"
        comm.wait()
        with pytest.raises(SharedInputError, match="no such file"):
            comm.together(lambda: _fail_on(rank, size - 1))
        print("collectives:", *sorted(RefusingGroup.seen))
        sys.stdout.flush()
        comm.wait()


def _check_tensors(comm: Comm, rank: int, size: int) -> None:
    total = comm.sum_to_root(torch.arange(3.0, device=comm.device) + rank)
    assert total.device == comm.device
    if comm.is_root:
        assert total.tolist() == [i * size + sum(range(size)) for i in range(3)]
    assert comm.largest([rank, -rank, 0.5]) == [size - 1, 0, 0.5]
    for owner in range(size):
        packed = torch.full((2, 3), 7 + owner, dtype=torch.uint8, device=comm.device)
        content = comm.to_root(owner, packed if rank == owner else None, (2, 3))
        assert (content is not None) == comm.is_root
        if content is not None:
            assert content.device == comm.device
            assert content.cpu().numpy().tolist() == [[7 + owner] * 3] * 2


def _fail_on(rank: int, failing: int) -> None:
    if rank == failing:
        raise InputError("no such file")
