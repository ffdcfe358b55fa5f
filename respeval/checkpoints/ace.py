"""Reader of ACE checkpoints: `ckpt.tar` files that the `fme` package wrote.

A file is loaded as plain data, then handed to fme, which builds the network from it; fme's own loader
unpickles whatever a file holds, so it is not used. fme is imported when a file is opened, not before.
"""

from __future__ import annotations

import importlib
import logging
import os
import pickle
import sys
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from respeval.checkpoints.weights_file import check_members
from respeval.errors import InputError
from respeval.interpreter import loaded_later, nothing_collected

if TYPE_CHECKING:
    from respeval.checkpoints.ace_emulator import AceEmulator

#: Entries of a checkpoint that respeval reads; optimizer state is left alone.
_STEPPER, _EMA = "stepper", "ema"

OPTIONS = ("ema", "labels", "derived", "grid")

#: What fme imports for diagnostics of its own, with all of scipy's statistics behind it.
_LATER = frozenset({"scipy.signal"})


@dataclass(frozen=True)
class AceOptions:
    """What `reader` in the case file may say of an ACE checkpoint.

    ema: use the moving average of the weights where the file has it beside the weights.
    labels: names of the labels that a label-conditioned model gets.
    derived: names of fme's derived variables to put out too; ("all",) for all of them.
    grid: netCDF file with the latitudes and longitudes, for files that hold none.
    """

    ema: bool = True
    labels: tuple[str, ...] | None = None
    derived: tuple[str, ...] = ()
    grid: str | None = None


def read_ace(path: Path, options: Mapping[str, Any], trust: bool) -> AceEmulator:
    """The emulator in an ACE checkpoint, on the CPU, in evaluation mode.

    trust: whether the file may run code when it is loaded. Raises InputError in one line where fme is
    not installed, the file is none of fme's or needs code, or its model can't be run by respeval.
    """
    chosen = parse_options(path, options)
    _import_fme(path)
    from respeval.checkpoints.ace_build import build_emulator

    content = load_content(path, trust)
    return build_emulator(path, content[_STEPPER], content.get(_EMA) or {}, _facts(content), chosen)


def parse_options(path: Path, options: Mapping[str, Any]) -> AceOptions:
    """The reader's options. Raises InputError that names the known ones."""
    unknown = [name for name in options if name not in OPTIONS]
    if unknown:
        raise InputError(
            f"{path}: the ACE reader has no option {', '.join(unknown)} (reader: {', '.join(OPTIONS)})"
        )
    labels, grid = options.get("labels"), options.get("grid")
    if grid is not None and not isinstance(grid, str):
        raise InputError(f"{path}: reader option grid must be the name of a netCDF file")
    return AceOptions(
        _flag(path, "ema", options.get("ema", True)),
        None if labels is None else _names(path, "labels", labels),
        _derived(path, options.get("derived", ())),
        grid,
    )


def _flag(path: Path, name: str, value: object) -> bool:
    known = {"true": True, "yes": True, "false": False, "no": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in known:
        return known[value.lower()]
    raise InputError(f"{path}: reader option {name} must be true or false, got {value!r}")


def _names(path: Path, name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, Sequence) or not all(isinstance(part, str) for part in value):
        raise InputError(f"{path}: reader option {name} must be a list of names, got {value!r}")
    return tuple(value)


def _derived(path: Path, value: object) -> tuple[str, ...]:
    if isinstance(value, bool) or (isinstance(value, str) and value.lower() in ("true", "false")):
        return ("all",) if _flag(path, "derived", value) else ()
    return _names(path, "derived", value)


def _import_fme(path: Path) -> None:
    # fme would join torchrun's processes in a group of its own, whose wrapper around the network
    # waits for all of them at every step; respeval's processes step unequal numbers of members.
    os.environ["FME_DISTRIBUTED_BACKEND"] = "none"
    try:
        with (
            warnings.catch_warnings(),
            _quiet_logging(),
            _nothing_compiled(),
            loaded_later(_LATER),
            nothing_collected(),
        ):
            warnings.simplefilter("ignore")  # remarks of fme's many dependencies
            importlib.import_module("fme.ace.stepper.single_module")
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] == "fme":
            raise InputError(
                f"{path} is an ACE checkpoint, which the fme package opens: pip install 'respeval[ace]'"
            ) from None
        raise InputError(
            f"{path}: the fme package can't be imported, because {error.name} is missing: "
            "pip install 'respeval[ace]'"
        ) from None


@contextmanager
def _quiet_logging() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def _nothing_compiled() -> Iterator[None]:
    """fme compiles parts of a model that respeval does not run, and torch's compiler, which it imports
    for that, takes a third of the time that fme takes to start."""

    def leave(function: Any = None, **_: Any) -> Any:
        return leave if function is None else function

    compiler = torch.compile
    torch.compile = leave  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.compile = compiler


def load_content(path: Path, trust: bool) -> dict[str, Any]:
    """What an ACE checkpoint holds, as plain data; trust: whether anything may be unpickled.

    Raises InputError where the file is no ACE checkpoint of one model.
    """
    content = _load(path, trust)
    if not isinstance(content, dict) or not isinstance(content.get(_STEPPER), dict):
        raise InputError(f"{path} is no ACE checkpoint: it has no '{_STEPPER}' entry")
    stepper = content[_STEPPER]
    if "atmosphere_state" in stepper or "ocean_state" in stepper:
        raise InputError(
            f"{path} is a coupled model, whose ocean does not read prescribed SST; respeval runs an "
            "atmosphere alone"
        )
    if "config" not in stepper:
        raise InputError(f"{path} is no ACE checkpoint: its '{_STEPPER}' entry has no config")
    return content


def _load(path: Path, trust: bool) -> Any:
    from fme.core.dataset.data_typing import VariableMetadata

    if zipfile.is_zipfile(path):
        check_members(path)
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals([VariableMetadata]):
            warnings.simplefilter("ignore")  # torch remarks on how a foreign pickle was written
            return torch.load(path, map_location="cpu", weights_only=not trust)
    except pickle.UnpicklingError as error:
        needed = _needed_class(str(error))
        if needed is None:
            raise InputError(
                f"{path} can't be read as a checkpoint: its pickle is damaged"
            ) from None
        raise InputError(
            f"{path} needs {needed} to load, which may run code; if you trust its author, add "
            "--trust-checkpoint"
        ) from None
    except (ArithmeticError, AttributeError, EOFError, ImportError, LookupError, OSError) as error:
        raise InputError(f"{path} can't be read as a checkpoint ({first_line(error)})") from None
    except (RecursionError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"{path} can't be read as a checkpoint ({first_line(error)})") from None


def _needed_class(reason: str) -> str | None:
    """The class or function that torch's safe loader asks for, in its own words."""
    if not any(word in reason for word in ("GLOBAL", "Unsupported", "not allowed", "blocked")):
        return None
    words = reason.replace("`", " ").split()
    after = [words[i + 1] for i, word in enumerate(words[:-1]) if word in ("GLOBAL", "global")]
    return after[0] if after else "a class that is not plain data"


def first_line(error: Exception) -> str:
    """What an error says, shortened for a message of one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _facts(content: Mapping[str, Any]) -> dict[str, str]:
    """What a checkpoint says of its training, for people to read."""
    facts = {}
    if isinstance(content.get("epoch"), int):
        batches = content.get("num_batches_seen")
        more = f", {batches:,} batches" if isinstance(batches, int) else ""
        facts["trained"] = f"{content['epoch']} epochs{more}"
    for key, heading in (
        ("best_validation_loss", "best validation loss"),
        ("best_inference_error", "best inference error"),
    ):
        value = content.get(key)
        if isinstance(value, float) and value < float("inf"):
            facts[heading] = f"{value:.6g}"
    return facts


@contextmanager
def fme_on(device: torch.device) -> Iterator[None]:
    """fme keeps one device for the whole process; within this it is `device`."""
    from fme.core.device import force_cpu

    with force_cpu(device.type == "cpu"):
        yield


def fme_version() -> str:
    """The version of the fme package, which must have been imported."""
    module = sys.modules["fme"]
    return str(getattr(module, "__version__", "unknown"))
