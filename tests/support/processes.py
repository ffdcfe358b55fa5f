"""Runs in processes of their own, under torchrun."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.support import studies
from tests.support.toy import manifest_of


def environment() -> dict[str, str]:
    """Of a process that a test starts: one thread, loopback, nothing of pytest's."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    return kept | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


def torchrun(
    num_processes: int, *arguments: object, program: Sequence[object] = ("-m", "respeval")
) -> subprocess.CompletedProcess[str]:
    """`torchrun -m respeval ARGUMENTS` on a free port of this machine."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nnodes", "1"]
    command += ["--nproc-per-node", str(num_processes), *map(str, (*program, *arguments))]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=environment(), check=False
    )


def start_torchrun(num_processes: int, *arguments: object, max_restarts: int = 0) -> Any:
    """Start `start_torchrun -m respeval ARGUMENTS` on a free port of this machine."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nnodes", "1"]
    command += ["--max-restarts", str(max_restarts), "--nproc-per-node", str(num_processes)]
    command += ["--signals-to-handle", "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"]
    return subprocess.Popen(
        [*command, "-m", "respeval", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def wait_for_segments(folder: Path, count: int) -> None:
    """Until a run has published so many segments."""
    for _ in range(12000):
        if (folder / "manifest.json").is_file() and len(manifest_of(folder)["segments"]) >= count:
            return
        time.sleep(0.01)
    raise AssertionError("no segments after two minutes")


def children_of(process: int) -> list[int]:
    """Process ids of a process's children."""
    return list(map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split()))


def workers(launcher: Any) -> dict[int, int]:
    """Rank -> process id of the launcher's processes."""
    found = {}
    for child in children_of(launcher.pid):
        variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        ranks = [int(v[5:]) for v in variables if v.startswith(b"RANK=")]
        found |= dict.fromkeys(ranks, child)
    return found


def assert_close(folder: Path, expected: Path) -> None:
    """Samples are added up in another order on other numbers of processes; all else is equal."""
    got, wanted = studies.numbers(folder), studies.numbers(expected)
    assert got.keys() == wanted.keys()
    for name, values in wanted.items():
        if values.dtype.kind != "f":
            assert (got[name] == values).all(), name
        elif name.startswith(("segments", "group_means", "zonal")):
            np.testing.assert_allclose(got[name], values, rtol=1e-13, atol=0, err_msg=name)
