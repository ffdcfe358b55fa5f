"""A small good study, and what it takes to break one of its files and see what a command says."""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import dask
import torch
import xarray as xr
import yaml

from respeval.checkpoints.native import NativeEmulator
from respeval.cli import app, main
from tests.support import studies

#: Commands over the files of `write_good`.
INSPECT = ("inspect", "tiny.pt")
INSPECT_EXPORTED = ("inspect", "tiny.pt2")
RUN = ("run", "tiny.pt", "-o", "out")
RESUME = ("run", "tiny.pt", "-o", "stopped")
DIAGNOSE = ("diagnose", "done")
PROBE = ("gradient-probe", "tiny.pt", "--data", "training.nc", "-o", "out")
PROBE_LOSS = (*PROBE, "--loss-config", "loss.yaml")

#: A file that code in a hostile file would make, beside everything else.
CANARY = "code_was_run"

#: Seconds after which a command counts as hanging, and what it may take of memory besides.
LIMIT_S = 60
LIMIT_BYTES = 3 * 2**30

Change = Callable[[Path], object]


@dataclass(frozen=True)
class Broken:
    """One malformed input.

    change: breaks a copy of the good study in the folder that it is given.
    message: a part of what the command says of it.
    """

    name: str
    command: tuple[str, ...]
    change: Change
    message: str


@dataclass(frozen=True)
class Outcome:
    """What a command did: its exit code (negative: the signal that ended it), what it printed on
    stderr, the largest memory it had, bytes, and which files outside of its own it changed."""

    code: int
    stderr: str
    peak_bytes: int
    strayed: list[str]


def write_good(folder: Path) -> Path:
    """A study of six days with a finished and a stopped run, an exported program and training data."""
    folder.mkdir(parents=True, exist_ok=True)
    studies.write_study(folder)
    record = studies.forcing(num_times=9)
    record.to_netcdf(folder / "forcing.nc")
    studies.initial(days=(0, 1)).to_netcdf(folder / "initial.nc")
    sst = record["skin"].isel(time=0, drop=True) - 284.0
    xr.Dataset({"anomaly": sst}).to_netcdf(folder / "pattern.nc")
    case = yaml.safe_load((folder / "case.yaml").read_text())
    case |= {"days": 6, "segment": "2 steps"}
    (folder / "case.yaml").write_text(yaml.safe_dump(case))
    states = {name: record["skin"] for name in ("air_temperature_0", "air_temperature_1")}
    record.assign(
        **states, rain=(record["skin"] * 1e-7).assign_attrs(units="kg m-2 s-1")
    ).to_netcdf(folder / "training.nc")
    (folder / "loss.yaml").write_text("type: EnsembleLoss\nkwargs: {crps_weight: 0.9}\n")
    studies.export_native(folder / "tiny.pt", folder / "tiny.pt2")
    with contextlib.chdir(folder):
        _command("run", "tiny.pt", "-o", "done", "--no-paired-noise")
        with _stopping_after(3 * 2):
            _command("run", "tiny.pt", "-o", "stopped")
    return folder


def _command(*arguments: str) -> None:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        app(list(arguments), standalone_mode=False)


@contextlib.contextmanager
def _stopping_after(num_calls: int) -> Iterator[None]:
    """Send SIGTERM to this process in the middle of a run, when the emulator has stepped so often."""
    step, calls = NativeEmulator.step, 0

    def stepping(*arguments: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == num_calls:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(*arguments)

    with patch.object(NativeEmulator, "step", stepping):
        yield


def copy_good(good: Path, folder: Path) -> Path:
    """A copy whose runs know that they moved."""
    shutil.copytree(good, folder)
    for run in ("done", "stopped"):
        for name in ("manifest.json", "case.yaml"):
            path = folder / run / name
            path.write_text(path.read_text().replace(str(good), str(folder)))
    return folder


def outcome(broken: Broken, good: Path) -> Outcome:
    """Break a copy of the good study and run the command over it, in a process of its own."""
    with tempfile.TemporaryDirectory() as made:
        folder = copy_good(good, Path(made) / "study")
        (folder.parent / "elsewhere").mkdir()
        (folder.parent / "elsewhere" / "kept.bin").write_bytes(b"kept")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            broken.change(folder)
        before = _files(folder.parent, broken)
        code, stderr, peak = run_forked(broken.command, folder)
        after = _files(folder.parent, broken)
        strayed = sorted(name for name in before | after if before.get(name) != after.get(name))
        return Outcome(code, stderr.replace(str(folder), "…"), peak, strayed)


def _files(root: Path, broken: Broken) -> dict[str, int]:
    """When each file that the command must leave alone was changed last."""
    own = ("study/out", f"study/{broken.command[-1]}") if broken.command[0] != "inspect" else ()
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder) / name
            relative = str(path.relative_to(root))
            if not relative.startswith(own):
                found[relative] = path.lstat().st_mtime_ns
    return found


def run_forked(arguments: tuple[str, ...], folder: Path) -> tuple[int, str, int]:
    """Exit code, stderr and peak memory of `respeval ARGUMENTS` in a folder; forking saves the start."""
    with tempfile.TemporaryFile() as errors:
        pid = os.fork()
        if pid == 0:
            _be_respeval(arguments, folder, errors.fileno())
        _, status, usage = os.wait4(pid, 0)
        errors.seek(0)
        text = errors.read().decode(errors="replace")
    return os.waitstatus_to_exitcode(status), text, usage.ru_maxrss * 1024


def _be_respeval(arguments: tuple[str, ...], folder: Path, errors: int) -> None:
    code = 1
    try:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + LIMIT_BYTES, used + LIMIT_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        faulthandler.dump_traceback_later(LIMIT_S - 5, file=errors)
        signal.alarm(LIMIT_S)
        os.chdir(folder)
        dask.config.set(scheduler="synchronous")  # threads of the parent are not here
        nothing = os.open(os.devnull, os.O_RDWR)
        for target, source in ((0, nothing), (1, nothing), (2, errors)):
            os.dup2(source, target)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        sys.argv = ["respeval", *arguments]
        main()
        code = 0
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(code)


# --- ways to break a file ----------------------------------------------------------------------


def write(name: str, content: bytes | str) -> Change:
    data = content.encode() if isinstance(content, str) else content

    def change(folder: Path) -> None:
        (folder / name).write_bytes(data)

    return change


def cut(name: str, share: float) -> Change:
    """Keep only this share of a file, its beginning."""

    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * share)])

    return change


def pipe(name: str) -> Change:
    """A pipe that nobody writes to: opening it would wait for ever."""

    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return change


def edit_json(name: str, change: Callable[[Any], object]) -> Change:
    def changed(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        change(content)
        (folder / name).write_text(json.dumps(content))

    return changed


def replace_text(name: str, old: str, new: str) -> Change:
    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text, text[:2000]
        (folder / name).write_text(text.replace(old, new, 1))

    return change


class RunsCode:
    """Unpickling this makes the file that must not be there."""

    def __reduce__(self) -> Any:
        return os.mkdir, (f"../elsewhere/{CANARY}",)
