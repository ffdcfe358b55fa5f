"""What a launcher says of this process: its numbers in the environment, and the device it is for."""

from __future__ import annotations

import os

import torch

from respeval.errors import InputError

_UNSET = (
    "start the command with torchrun for several processes, or unset WORLD_SIZE and RANK, which an earlier "
    "launcher left, for one"
)


def own_device(device: str | None) -> torch.device:
    """This process's device: `cuda:LOCAL_RANK` where CUDA is present, or what is asked for.

    Raises InputError where that is neither cpu nor cuda, or not there.
    """
    if device not in (None, "cpu", "cuda"):
        raise InputError(f"--device {device}: expected cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: this machine has no CUDA device that torch can use")
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    local_rank = given_number("LOCAL_RANK", 0)
    if kind == "cuda" and local_rank >= torch.cuda.device_count():
        raise InputError(
            f"process {local_rank} of this machine has no GPU of its own (it has "
            f"{torch.cuda.device_count()}); start as many processes as there are GPUs"
        )
    own = torch.device("cuda", local_rank) if kind == "cuda" else torch.device("cpu")
    if own.type == "cuda":
        torch.cuda.set_device(own)
    return own


def given_number(name: str, default: int) -> int:
    """A number that the launcher gives. Raises InputError where it is none."""
    text = os.environ.get(name, str(default))
    if not text.isdecimal() or (name == "WORLD_SIZE" and int(text) < 1):
        raise InputError(
            f"the environment variable {name} is {text!r:.60}, expected a whole number as torchrun sets it; "
            f"{_UNSET}"
        )
    return int(text)


def check_launched(num_processes: int) -> None:
    """Raise InputError where an environment of a launcher is left over, or not whole."""
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise InputError(
            f"the environment variable WORLD_SIZE is {num_processes}, as torchrun sets it for so many "
            f"processes, but there is no {' and no '.join(missing)}; {_UNSET}"
        )
    if given_number("RANK", 0) >= num_processes:
        raise InputError(
            f"the environment variable RANK is {os.environ['RANK']}, of {num_processes} processes "
            f"(WORLD_SIZE) from 0 on; {_UNSET}"
        )
    given_number("MASTER_PORT", 0)
