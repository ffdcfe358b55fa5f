"""Memory of a process: what it holds, what it came to, and what there is left for it."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

Result = TypeVar("Result")


def measure_peak(device: torch.device, action: Callable[[], Result]) -> tuple[int, Result]:
    """The most bytes that were in use during `action`, and what it returns.

    On a GPU what torch allocated there; else all that this process holds, its libraries too.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        result = action()
        return torch.cuda.max_memory_allocated(device), result
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the kernel's peak begins anew
    result = action()
    return _of_this_process("VmHWM"), result


def memory_held(device: torch.device) -> int:
    """Bytes in use now, as `measure_peak` counts them."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return _of_this_process("VmRSS")


def free_memory(device: torch.device) -> int:
    """Bytes that this process may still take: of its GPU, or its share of this machine's memory."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = 1024 * int(next(line.split()[1] for line in lines if "MemAvailable" in line))
    with contextlib.suppress(OSError, ValueError):  # a job's own limit, where it has one
        group = Path("/sys/fs/cgroup")
        used = int((group / "memory.current").read_text())
        free = min(free, int((group / "memory.max").read_text()) - used)
    return free // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _of_this_process(name: str) -> int:
    """Bytes, from Linux' status of the process; elsewhere the most that it ever held."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line.split()[1] for line in lines if line.startswith(name)))
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
