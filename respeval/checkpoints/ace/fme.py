"""The fme package: imported when a file is opened, not before, and without what respeval does not use."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from respeval.errors import InputError
from respeval.interpreter import lazily_compiled, lazily_imported

#: What fme imports for diagnostics of its own, with all of scipy's statistics behind it.
_LATER = frozenset({"scipy.signal"})


def import_fme(path: Path) -> None:
    """Import fme's stepper, in silence. Raises InputError for this file where fme is not installed."""
    # fme would join torchrun's processes in a group of its own, whose wrapper around the network
    # waits for all of them at every step; respeval's processes step unequal numbers of members.
    os.environ["FME_DISTRIBUTED_BACKEND"] = "none"
    try:
        with (
            warnings.catch_warnings(),
            _quiet_logging(),
            lazily_compiled(never=True),  # of models that respeval does not run
            lazily_imported(_LATER),
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


#: Held where fme's one device is chosen: forcings are computed by another thread than the steps.
_choosing = threading.RLock()


@contextmanager
def fme_on(device: torch.device) -> Iterator[None]:
    """fme keeps one device for the whole process; within this it is `device`, for one thread at a time."""
    from fme.core.device import force_cpu

    with _choosing, force_cpu(device.type == "cpu"):
        yield


def fme_version() -> str:
    """The version of the fme package, which must have been imported."""
    module = sys.modules["fme"]
    return str(getattr(module, "__version__", "unknown"))
