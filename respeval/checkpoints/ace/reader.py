"""Reader of ACE checkpoints: `ckpt.tar` files that the `fme` package wrote.

A file is loaded as plain data, then handed to fme, which builds the network from it; fme's own loader
unpickles whatever a file holds, so it is not used. fme is imported when a file is opened, not before.
"""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from respeval.checkpoints.ace.fme import import_fme
from respeval.checkpoints.ace.options import parse_options
from respeval.checkpoints.filling import load_mapped
from respeval.checkpoints.weights_file import check_members, check_protocol
from respeval.errors import InputError, first_line, pass_on

if TYPE_CHECKING:
    from respeval.checkpoints.ace.emulator import AceEmulator


#: Entries of a checkpoint that respeval reads; optimizer state is left alone.
_STEPPER, _EMA = "stepper", "ema"


def read_ace(
    path: Path, options: Mapping[str, Any], trust: bool, with_weights: bool = True
) -> AceEmulator:
    """The emulator in an ACE checkpoint, on the CPU, in evaluation mode.

    trust: whether the file may run code when it is loaded. with_weights: whether it gets numbers, or
    shapes alone, on torch's meta device. Raises InputError in one line where fme is not installed, the
    file is none of fme's or needs code, or its model can't be run by respeval.
    """
    chosen = parse_options(path, options)
    import_fme(path)
    from respeval.checkpoints.ace.build import build_emulator

    content, mapped = load_content(path, trust)
    average, facts = content.get(_EMA) or {}, _facts(content)
    stepper = content[_STEPPER]
    return build_emulator(path, stepper, average, facts, chosen, mapped, with_weights)


def load_content(path: Path, trust: bool) -> tuple[dict[str, Any], bool]:
    """What an ACE checkpoint holds, as plain data, and whether its tensors lie in the mapped file.

    trust: whether anything may be unpickled. Raises InputError where the file is no ACE checkpoint of
    one model.
    """
    content, mapped = _load(path, trust)
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
    return content, mapped


def _load(path: Path, trust: bool) -> tuple[Any, bool]:
    from fme.core.dataset.data_typing import VariableMetadata

    if not trust:
        check_protocol(path)
    if zipfile.is_zipfile(path):
        check_members(path)
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals([VariableMetadata]):
            warnings.simplefilter("ignore")  # torch remarks on how a foreign pickle was written
            return load_mapped(path, weights_only=not trust)
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
        pass_on(error)
        raise InputError(f"{path} can't be read as a checkpoint ({first_line(error)})") from None
    except (RecursionError, RuntimeError, TypeError, ValueError) as error:
        pass_on(error)
        raise InputError(f"{path} can't be read as a checkpoint ({first_line(error)})") from None


def _needed_class(reason: str) -> str | None:
    """The class or function that torch's safe loader asks for, in its own words."""
    if not any(word in reason for word in ("GLOBAL", "Unsupported", "not allowed", "blocked")):
        return None
    words = reason.replace("`", " ").split()
    after = [words[i + 1] for i, word in enumerate(words[:-1]) if word in ("GLOBAL", "global")]
    return after[0] if after else "a class that is not plain data"


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
