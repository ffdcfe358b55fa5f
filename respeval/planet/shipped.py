"""The checkpoints that come with the package."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

SHIPPED_CHECKPOINTS = ("perturbed_sst", "present_day")


def shipped_checkpoint(name: str) -> Path:
    """Path of a checkpoint that comes with the package, `perturbed_sst` or `present_day`.

    Raises ValueError where there is none of this name.
    """
    if name not in SHIPPED_CHECKPOINTS:
        raise ValueError(
            f"no shipped checkpoint {name!r} (allowed: {', '.join(SHIPPED_CHECKPOINTS)})"
        )
    return Path(str(files(__package__) / "checkpoints" / f"{name}.pt"))
