"""Loading modules later, and searching for garbage rarely; and a process's end."""

from __future__ import annotations

import gc
import importlib
import operator
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch

from respeval.interpreter import (
    collect_garbage_rarely,
    end_without_garbage_collection,
    lazily_compiled,
    lazily_imported,
)


@pytest.fixture(autouse=True)
def collecting() -> Iterator[None]:
    gc.enable()
    yield
    gc.unfreeze()
    gc.enable()


class Ring:
    """Garbage that only the collector finds, once it is out of reach."""

    def __init__(self) -> None:
        self.own = self


def test_a_command_collects_garbage_rarely_and_still_does() -> None:
    usual = gc.get_threshold()
    try:
        collect_garbage_rarely()
        first, *others = gc.get_threshold()
        assert first >= 100 * usual[0]
        assert others == list(usual[1:])
        assert gc.isenabled()
    finally:
        gc.set_threshold(*usual)


def test_the_last_search_passes_over_what_is_there() -> None:
    ring = Ring()
    found = weakref.ref(ring)
    del ring
    end_without_garbage_collection()
    gc.collect()
    assert found() is not None
    gc.unfreeze()
    gc.collect()
    assert found() is None


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module that tells in `sys` that it was loaded."""
    (tmp_path / "slow_to_load.py").write_text("import sys\nsys.was_loaded = True\nANSWER = 42\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "was_loaded", False, raising=False)
    yield "slow_to_load"
    sys.modules.pop("slow_to_load", None)


def was_loaded() -> bool:
    return bool(vars(sys)["was_loaded"])


def test_a_module_is_loaded_when_something_reads_from_it(slow: str) -> None:
    with lazily_imported({slow}):
        module = importlib.import_module(slow)
        assert not was_loaded()
    assert not was_loaded()
    assert module.ANSWER == 42
    assert was_loaded()


def test_other_modules_and_later_imports_are_loaded_at_once(slow: str) -> None:
    before = list(sys.meta_path)
    with lazily_imported({"another"}):
        importlib.import_module(slow)
    assert was_loaded()
    assert sys.meta_path == before


class Compiler:
    """In the place of torch.compile: counts what it compiles, and marks what that returns."""

    def __init__(self) -> None:
        self.compiled: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        self.compiled.append((function.__name__, options))
        return lambda *arguments, **named: ("compiled", function(*arguments, **named))


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Compiler:
    found = Compiler()
    monkeypatch.setattr(torch, "compile", found)
    return found


def test_a_function_is_compiled_once_when_it_is_first_called(compiler: Compiler) -> None:
    with lazily_compiled():

        @torch.compile
        def add(one: int, other: int = 1) -> int:
            """Documented."""
            return one + other

        class Pair:
            @torch.compile(dynamic=False)
            def second(self, number: int) -> int:
                return number

    assert torch.compile is compiler
    assert compiler.compiled == []
    assert add.__doc__ == "Documented."
    called: list[Any] = [add(1), add(1, other=2), Pair().second(5)]
    assert called == [("compiled", 2), ("compiled", 3), ("compiled", 5)]
    assert compiler.compiled == [("add", {}), ("second", {"dynamic": False})]


def test_what_is_compiled_with_its_caller_is_not_compiled_by_itself(
    compiler: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lazily_compiled():
        negative = torch.compile(operator.neg)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert negative(3) == -3
    assert compiler.compiled == []


def test_a_function_runs_as_it_is_where_torch_refuses_to_compile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refusal = RuntimeError("torch.compile is not supported on Python 3.99+")
    refusing = MagicMock(side_effect=refusal)
    monkeypatch.setattr(torch, "compile", refusing)
    with lazily_compiled():
        negative = torch.compile(operator.neg)
    assert [negative(3), negative(4)] == [-3, -4]
    refusing.assert_called_once_with(operator.neg)


def test_what_is_not_to_be_compiled_is_left_by_the_compiler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []
    with lazily_compiled():

        @torch.compiler.disable
        def doubled(numbers: torch.Tensor) -> torch.Tensor:
            seen.append(torch.compiler.is_compiling())
            return numbers * 2

        @torch.compile
        def increased(numbers: torch.Tensor) -> torch.Tensor:
            return numbers + 1

    numbers = torch.arange(3.0)
    with monkeypatch.context() as without:
        without.delitem(sys.modules, "torch._dynamo", raising=False)
        assert doubled(numbers).tolist() == [0, 2, 4]
        assert "torch._dynamo" not in sys.modules
    both = torch.compile(lambda x: doubled(increased(x)), backend="eager")
    for _ in range(2):
        assert both(numbers).tolist() == [2, 4, 6]
    assert seen == [False] * 3


def test_the_compiler_comes_back_after_an_import_that_fails(compiler: Compiler) -> None:
    with pytest.raises(ModuleNotFoundError), lazily_compiled():
        raise ModuleNotFoundError
    assert torch.compile is compiler


def test_a_native_checkpoint_runs_without_torchs_compiler(study: Path, tmp_path: Path) -> None:
    """Which takes longer to load than torch and a short run together."""
    script = (
        "import sys; from respeval.cli import command; code = command(sys.argv[1:]); "
        "sys.exit(code or 'torch._dynamo' in sys.modules)"
    )
    run = [sys.executable, "-c", script, "run", str(study), "-o", str(tmp_path / "out")]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_is_never_to_be_compiled_stays_as_it_is() -> None:
    def doubled(number: int) -> int:
        return 2 * number

    with lazily_compiled(never=True):
        assert torch.compile(doubled) is doubled
        assert torch.compile(dynamic=True)(doubled) is doubled
