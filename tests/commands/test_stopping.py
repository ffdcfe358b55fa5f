"""A signal that comes while something is read is a stop, never a file that can't be read."""

from __future__ import annotations

import importlib
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import xarray as xr

from respeval.distributed.stop import StopSignals
from respeval.errors import InputError, StoppedError
from respeval.files.publish import write_text
from tests.support import studies
from tests.support.invoking import refused

#: Where a clause for whatever may go wrong stands around a call: module or class, name of the function.
READING: dict[str, tuple[Any, str]] = {
    "the weights": (torch, "load"),
    "the archive": ("respeval.checkpoints.weights_file", "_check_pickle"),
    "a record": ("respeval.fields.records", "check_netcdf"),
    "the values": (xr.DataArray, "load"),
}


def _signalled(call: Callable[..., Any]) -> Callable[..., Any]:
    def signalled(*arguments: Any, **named: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return call(*arguments, **named)

    return signalled


@pytest.mark.parametrize("place", READING)
def test_a_signal_while_a_run_reads_is_a_stop(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    owner, name = READING[place]
    owner = importlib.import_module(owner) if isinstance(owner, str) else owner
    monkeypatch.setattr(owner, name, _signalled(getattr(owner, name)))
    told = refused("run", study, "-o", tmp_path / "out", code=75)
    assert told == "respeval: stopped by SIGTERM; run the same command again to go on"


def test_a_signal_while_a_program_is_read_is_a_stop(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = studies.export_native(study, tmp_path / "tiny.pt2")
    case = ("--case", study.parent / "case.yaml")
    monkeypatch.setattr(torch.export, "load", _signalled(torch.export.load))
    assert "stopped by SIGTERM; run" in refused("run", path, *case, "-o", tmp_path / "out", code=75)


def test_a_signal_ends_a_dry_run(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "load", _signalled(torch.load))
    options = ("--dry-run", "-o", tmp_path / "out")
    assert "stopped by SIGTERM; run" in refused("run", study, *options, code=75)


def test_libraries_that_answer_every_exception_let_a_stop_through() -> None:
    """dask, xarray, torch and fme have clauses of their own around what they read."""
    assert not issubclass(StoppedError, Exception)

    def read() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except Exception as error:
            raise InputError("it can't be read") from error

    with StopSignals(), pytest.raises(StoppedError):
        read()


def test_a_stop_while_a_file_is_written_leaves_nothing_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.json").write_text("before")
    monkeypatch.setattr(Path, "write_bytes", _signalled(Path.write_bytes))
    with StopSignals(), pytest.raises(StoppedError):
        write_text(tmp_path / "a.json", "after")
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "before"
