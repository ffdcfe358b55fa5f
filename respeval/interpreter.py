"""The interpreter: lazy imports, what installed packages bring, garbage collection, freed memory."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import importlib.util
import os
import sys
from collections.abc import Callable, Container, Iterator, Sequence, Set
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from respeval.errors import InputError, pass_on

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Brought = TypeVar("Brought")

#: New objects, less those that are gone, before Python collects garbage: loading all modules makes a
#: million, and Python's 700 means a thousand searches. A short run takes 0.92 of the time.
_MANY_OBJECTS = 200_000


def collect_garbage_rarely() -> None:
    """For the process of a command, which loads much at once and keeps it to its end."""
    gc.set_threshold(_MANY_OBJECTS, *gc.get_threshold()[1:])


def make_streams_safe() -> None:
    """For the process of a command: letters that its terminal lacks become `?`, and what goes to a
    stream that is closed goes nowhere."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def end_without_garbage_collection() -> None:
    """Right before a process ends: its last searches for garbage pass over what is there now."""
    gc.freeze()


@contextlib.contextmanager
def lazily_imported(names: Set[str]) -> Iterator[None]:
    """Within this, an import of one of these modules loads it when something first reads from it."""
    finder = _Later(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


@contextlib.contextmanager
def lazily_compiled(*, never: bool = False) -> Iterator[None]:
    """Within this, `torch.compile` and `torch.compiler.disable` load no compiler when they decorate.

    It takes longer to load than torch itself, and few models call what torch-harmonics decorates: a short
    run takes 0.86 of the time. A function is compiled when it is first called, or `never`; one that is not
    to be compiled is kept from the compiler when there is one.
    """
    import torch

    def to_compile(function: Any = None, **options: Any) -> Any:
        if function is None:
            return functools.partial(to_compile, **options)
        if never:
            return function
        compiled: list[Callable[..., Any]] = []

        def choose() -> Callable[..., Any]:
            if torch.compiler.is_compiling():  # a caller, which takes it in as it is
                return function  # type: ignore[no-any-return]
            if not compiled:
                try:
                    compiled.append(compiler(function, **options))
                except RuntimeError:  # this torch compiles nothing on this Python
                    compiled.append(function)
            return compiled[0]

        return _chosen(choose, function)

    def to_leave(function: Any = None, **options: Any) -> Any:
        if function is None:
            return functools.partial(to_leave, **options)
        left: list[Callable[..., Any]] = []

        def choose() -> Callable[..., Any]:
            if "torch._dynamo" not in sys.modules:  # nothing is compiled
                return function  # type: ignore[no-any-return]
            if not left:
                left.append(disable(function, **options))
            return left[0]

        return _chosen(choose, function)

    compiler: Any = torch.compile
    disable: Any = torch.compiler.disable
    torch.compile, torch.compiler.disable = to_compile, to_leave  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.compile, torch.compiler.disable = compiler, disable


def _chosen(
    choose: Callable[[], Callable[..., Any]], function: Callable[..., Any]
) -> Callable[..., Any]:
    """In the place of a function, what is chosen at every call."""

    @functools.wraps(function)
    def called(*arguments: Any, **named: Any) -> Any:
        return choose()(*arguments, **named)

    return called


class _Later(MetaPathFinder):
    def __init__(self, names: Set[str]) -> None:
        self._names = names

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        found = PathFinder.find_spec(name, path, target) if name in self._names else None
        if found is not None and found.loader is not None:
            found.loader = importlib.util.LazyLoader(found.loader)
        return found


#: Numbers of glibc's mallopt: how many requests get a mapping of their own, and how much free memory
#: at its heap's end goes back at once.
_M_MMAP_MAX, _M_TRIM_THRESHOLD = -4, -1


def take_huge_pages() -> None:
    """Let torch ask the system for memory in huge pages, unless the user chose; before its first tensor.

    A network's step at 1 degree otherwise meets five million pages that the system fills with zeros.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def keep_freed() -> None:
    """Let this process keep what it frees for its next requests, in the steps of a rollout.

    glibc maps every tensor above 32 MB anew. Other C libraries are left alone. Not for what keeps many
    small objects between large tensors, as a graph of gradients does: it takes a third more.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        options = ctypes.CDLL(None).mallopt
        options(_M_MMAP_MAX, 0)
        options(_M_TRIM_THRESHOLD, 2**31 - 1)


def give_back_freed() -> None:
    """Give the system back what was freed, before other work that needs other memory.

    glibc keeps most of it for more of the same; other C libraries are left alone.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def offered(group: str, kind: str, own: Container[str]) -> dict[str, EntryPoint]:
    """Entry points of installed packages by name; none of them is imported.

    group: of entry points. kind: what they bring, in words. own: names that are respeval's own. Raises
    InputError where a name is taken.
    """
    from importlib.metadata import entry_points

    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        first = found.get(entry.name)
        if entry.name in own or (first is not None and first.value != entry.value):
            owner = "respeval's own" if first is None else f"that of {package_of(first)} too"
            raise InputError(
                f"{package_of(entry)} brings a {kind} named {entry.name!r}, which is {owner}: "
                "uninstall it, or give its entry point another name"
            )
        found[entry.name] = entry
    return found


def load_entry(entry: EntryPoint, kind: str, expected: type[Brought]) -> Brought:
    """The object of an entry point. Raises InputError where it can't be loaded, or is another thing.

    kind: what it is, in a word.
    """
    try:
        brought = entry.load()
    except Exception as error:
        pass_on(error)
        reason = f"{type(error).__name__}: {error}"
    else:
        if isinstance(brought, expected):
            return brought
        wanted = f"{expected.__module__}.{expected.__name__}"
        reason = f"{entry.value} is {type(brought).__name__}, expected a {wanted}"
    raise InputError(f"the {entry.name!r} {kind} of {package_of(entry)} can't be loaded ({reason})")


def package_of(entry: EntryPoint) -> str:
    """The package that an entry point is of, for messages."""
    return f"the package {entry.dist.name}" if entry.dist is not None else "a package"
