"""Networks built without weights, then filled from a file that is mapped and never read whole.

A network that is built as usual draws weights that the file's replace, and a file that is read whole
lies beside them: two to four times the memory of the weights. Here a network's parameters are made on
torch's meta device, which has shapes and no numbers; what is loaded into them is noted; and every
number then goes once from the file into its place.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from respeval.fields.transform import forget_tables, tables_without_numbers

#: Numbers that are copied, or looked at, before the pages that they came from are given back.
_PIECE = 2**19

#: What draws weights. Memory that is only taken (`torch.empty`) costs nothing before it is written.
_DRAWING = frozenset({torch.rand, torch.randn})

#: What sets memory to a number at once, which counts where it is much and shapes alone are wanted.
_SETTING = frozenset({torch.full, torch.ones, torch.zeros})
_MUCH = 2**20

#: Of drawn numbers with a scale; torch's own way to do that without numbers loads its compiler, and
#: refuses a scale that has some.
_SCALING = frozenset(
    {torch.Tensor.mul, torch.Tensor.__rmul__, torch.Tensor.div, torch.mul, torch.div}
)

#: What is done with a transform's tables before they are a buffer, or a plain attribute, of a module.
_OF_TABLES = frozenset({torch.einsum, torch.Tensor.float})

_MOVING = frozenset({torch.Tensor.to, torch.Tensor.cpu, torch.Tensor.cuda})

_MADV_DONTNEED = 4


def load_mapped(path: Path, weights_only: bool = True) -> tuple[Any, bool]:
    """What torch.save wrote, on the CPU, and whether its tensors lie in the mapped file.

    Whoever gets them copies them soon: they change with the file. Files in the format before torch 1.6
    are read whole. Raises whatever torch.load raises.
    """
    mapped = zipfile.is_zipfile(path)
    content = torch.load(str(path), map_location="cpu", weights_only=weights_only, mmap=mapped)
    return content, mapped


class Unfilled(TorchFunctionMode):
    """Within this, networks are built without weights; `fill` then brings what was loaded into them.

    tables: whether transforms get their tables; without them the network has shapes alone, and can't
        be filled.
    """

    def __init__(self, tables: bool = True) -> None:
        super().__init__()
        self._tables, self._undo = tables, contextlib.ExitStack()
        # All are kept, so that no other tensor gets the id of one that is gone.
        self._sources: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._loaded: list[torch.Tensor] = []

    def __enter__(self) -> Unfilled:
        hooks: list[tuple[Any, Any]] = [
            (register_module_parameter_registration_hook, _without_numbers),
            (register_module_module_registration_hook, lambda *_: forget_tables()),
        ]
        if not self._tables:
            hooks.append((register_module_buffer_registration_hook, _without_table))
            self._undo.enter_context(tables_without_numbers())
        for register, hook in hooks:
            self._undo.callback(register(hook).remove)
        self._undo.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", ".*copying from a non-meta parameter")
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._undo.close()

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if func in _DRAWING:
            shaped = {name: v for name, v in given.items() if name not in ("generator", "device")}
            return torch.empty(*args, **shaped, device="meta")
        if not self._tables and func in _SETTING:
            shaped = func(*args, **{**given, "device": "meta"})
            return shaped if shaped.numel() > _MUCH else func(*args, **given)
        if func in _SCALING:
            tensors = [value for value in args if isinstance(value, torch.Tensor)]
            if any(tensor.is_meta for tensor in tensors):
                shape = np.broadcast_shapes(*(tensor.shape for tensor in tensors))
                return torch.empty(shape, dtype=torch.result_type(*args), device="meta")
        first = args[0] if args else given.get("tensor")  # as functions of torch.nn.init have it
        if isinstance(first, torch.Tensor) and first.is_meta:
            if func is torch.Tensor.copy_:
                self._sources[id(first)] = first, args[1]
                self._loaded.append(args[1])
                return first
            if _changes_in_place(func):
                return first
            if func in _MOVING:
                dtypes = [v for v in (*args, *given.values()) if isinstance(v, torch.dtype)]
                return first.to(dtypes[0]) if dtypes else first
        if not self._tables and func in _OF_TABLES:
            return _of_table(func, *args, **given)
        return func(*args, **given)

    def fill(self, modules: Iterable[nn.Module], device: torch.device, mapped: bool) -> None:
        """Give these modules their numbers. mapped: see `load_mapped`.

        Raises KeyError with the name of a weight or a buffer that was drawn and not loaded.
        """
        filled: dict[int, torch.Tensor] = {}
        for owner, name, value in _tensors(modules):
            if not value.is_meta:
                continue
            if id(value) not in self._sources:
                raise KeyError(name)
            if id(value) not in filled:
                numbers = torch.empty(value.shape, dtype=value.dtype, device=device)
                copy_numbers(numbers, self._sources[id(value)][1], mapped)
                filled[id(value)] = _of_kind(value, numbers)
            _put(owner, name, filled[id(value)])

    def shapes(self, state: Any) -> Any:
        """A state of nested containers without the numbers that were loaded; all others are copies."""
        loaded = {id(source) for source in self._loaded}

        def part(leaf: Any) -> Any:
            if not isinstance(leaf, torch.Tensor):
                return leaf
            return leaf.to("meta") if id(leaf) in loaded else leaf.clone()

        return tree_map(part, state)


def fill_like(
    modules: Iterable[nn.Module], others: Iterable[nn.Module], device: torch.device
) -> None:
    """Give modules without numbers those of the same modules elsewhere."""
    pairs = zip(_tensors(modules), _tensors(others), strict=True)
    for (owner, name, value), (_, _, other) in pairs:
        if value.is_meta:
            _put(owner, name, _of_kind(value, other.detach().to(device)))


def _tensors(modules: Iterable[nn.Module]) -> Iterator[tuple[nn.Module, str, torch.Tensor]]:
    """Every parameter and buffer: the module that holds it, its name there, and itself."""
    for root in modules:
        for owner in root.modules():
            for name, value in [*owner._parameters.items(), *owner._buffers.items()]:
                if value is not None:
                    yield owner, name, value


def _of_kind(like: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    if not isinstance(like, nn.Parameter):
        return numbers
    weight = nn.Parameter(numbers, like.requires_grad)
    vars(weight).update(vars(like))  # which part of a whole it is, where fields are split
    return weight


def _put(owner: nn.Module, name: str, value: torch.Tensor) -> None:
    held = owner._parameters if isinstance(value, nn.Parameter) else owner._buffers
    held[name] = value  # type: ignore[assignment]


def _without_table(module: nn.Module, name: str, buffer: Any) -> torch.Tensor | None:
    is_table = isinstance(buffer, torch.Tensor) and buffer.numel() > _MUCH
    return buffer.to("meta") if is_table else None


def _of_table(func: Any, *args: Any) -> torch.Tensor:
    """The shape alone of large tables that are weighted, or rounded to float32."""
    if func is torch.einsum:
        given, _, wanted = args[0].replace(" ", "").partition("->")
        named = dict(zip(given.split(","), args[1:], strict=True))
        if wanted in named and named[wanted].numel() > _MUCH:
            return named[wanted]  # type: ignore[no-any-return]
    result: torch.Tensor = func(*args)
    return result.to("meta") if result.numel() > _MUCH else result


def _changes_in_place(func: Any) -> bool:
    name = getattr(func, "__name__", "")
    return name.endswith("_") and not name.endswith("__")


def _without_numbers(module: nn.Module, name: str, parameter: Any) -> nn.Parameter | None:
    if parameter is None or parameter.is_meta:
        return None
    return nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)


def pieces(values: torch.Tensor, mapped: bool) -> Iterator[torch.Tensor]:
    """A tensor's numbers in flat pieces; pages of a mapped file are given back after each one."""
    if not values.is_contiguous():
        yield values.flatten()
        return
    for piece in values.detach().view(-1).split(_PIECE):
        yield piece
        if mapped:
            _give_back(piece)


def copy_numbers(target: torch.Tensor, source: torch.Tensor, mapped: bool) -> None:
    """Copy a tensor of the same shape into a contiguous one."""
    flat, done = target.view(-1), 0
    for piece in pieces(source, mapped):
        flat[done : done + len(piece)].copy_(piece)
        done += len(piece)


def _give_back(piece: torch.Tensor) -> None:
    """Let go of the pages that lie wholly in this part of a mapped file; Linux reads them anew."""
    first = -(-piece.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    size = piece.data_ptr() + piece.nbytes - first
    with contextlib.suppress(AttributeError, OSError):
        if size > 0:
            advise = ctypes.CDLL(None).madvise
            advise(ctypes.c_void_p(first), ctypes.c_size_t(size), _MADV_DONTNEED)
