"""Loading modules without a search for rubbish, or later; and a process's end."""

from __future__ import annotations

import gc
import importlib
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from respeval.loading import leave_modules, loaded_later, nothing_collected


@pytest.fixture(autouse=True)
def collecting() -> Iterator[None]:
    gc.enable()
    yield
    gc.unfreeze()
    gc.enable()


class Ring:
    """Rubbish that only the collector finds, once it is out of reach."""

    def __init__(self) -> None:
        self.own = self


def test_nothing_is_collected_within_and_all_is_afterwards() -> None:
    with nothing_collected():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_an_import_that_fails_leaves_the_collector_on() -> None:
    with pytest.raises(ModuleNotFoundError), nothing_collected():
        raise ModuleNotFoundError
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    with nothing_collected():
        pass
    assert not gc.isenabled()


def test_the_last_search_passes_over_what_is_there() -> None:
    ring = Ring()
    found = weakref.ref(ring)
    del ring
    leave_modules()
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
    with loaded_later({slow}):
        module = importlib.import_module(slow)
        assert not was_loaded()
    assert not was_loaded()
    assert module.ANSWER == 42
    assert was_loaded()


def test_other_modules_and_later_imports_are_loaded_at_once(slow: str) -> None:
    before = list(sys.meta_path)
    with loaded_later({"another"}):
        importlib.import_module(slow)
    assert was_loaded()
    assert sys.meta_path == before
