"""The device, and the versions of what drives it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import torch

from benchmarks.frame import circumstances


def cuda_device() -> str | None:
    """The first device's name; None where torch has none."""
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def device_circumstances(kind: str) -> dict[str, Any]:
    """`frame.circumstances`, and of a CUDA device what it is: `device` in one line, and its parts."""
    where = circumstances()
    if kind != "cuda":
        return where
    properties = torch.cuda.get_device_properties(0)
    memory_GiB = properties.total_memory / 2**30
    found = {
        "name": properties.name,
        "num_devices": torch.cuda.device_count(),
        "capability": f"{properties.major}.{properties.minor}",
        "memory_GiB": round(memory_GiB, 1),
        "multiprocessors": properties.multi_processor_count,
        "driver": driver_version(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }
    line = (
        f"{found['name']}, {memory_GiB:.0f} GiB, capability {found['capability']}, driver "
        f"{found['driver']}, CUDA {found['cuda']}"
    )
    return {**where, "device": line, "gpu": found}


def driver_version() -> str:
    """Of NVIDIA's driver; `unknown` where the system does not say it."""
    try:
        asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        told = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=20)
        return told.stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        pass
    try:
        text = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        return "unknown"
    found = re.search(r"\s(\d+\.\d+(\.\d+)?)\s", text)
    return found[1] if found else "unknown"
