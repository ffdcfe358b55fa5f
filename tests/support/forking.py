"""Real processes that meet over gloo on this machine, without a launcher, forked from one server.

`Peers` starts the server, which imports torch once; a request names a function, `module:name`, and
how many processes call it, each as a process of the group that torchrun's variables describe. The
answer says how each of them ended. A fork, because importing torch takes longer than the tests' runs.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import ROOT

_POLL_S = 0.005


@dataclass(frozen=True)
class Ended:
    """How a group of processes ended, by rank.

    codes: exit codes; negative for a signal, None where the server had to end the process, because
    it was stopped, or because the request's time was over. after_s: from the first process that a
    signal killed or stopped to the last end; from the start, where there was no such process.
    shown, errors: what each wrote to stdout and stderr.
    """

    codes: list[int | None]
    after_s: float
    shown: list[str]
    errors: list[str]


class Peers:
    """The server's client."""

    def __init__(self) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.forking"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        )

    def call(
        self, function: str, num_processes: int, timeout_s: float = 60.0, **arguments: Any
    ) -> Ended:
        """Let so many processes call `module:name` with these arguments."""
        request = [function, num_processes, timeout_s, arguments]
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return Ended(**json.loads(self._server.stdout.readline()))

    def close(self) -> None:
        self._server.communicate(timeout=60)


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def _live(function: str, arguments: dict[str, Any], rank: int, size: int, port: int) -> None:
    """A child's whole life after its outputs are redirected; does not return."""
    import torch

    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    module, _, name = function.partition(":")
    code: Any = 1
    try:
        getattr(importlib.import_module(module), name)(**arguments)
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _watch(children: list[int], timeout_s: float) -> tuple[list[int | None], float]:
    """Exit codes, and the seconds from the first fault to the last end."""
    codes: dict[int, int | None] = {}
    stopped: set[int] = set()
    begun = time.monotonic()
    fault = None
    while len(codes) < len(children):
        time.sleep(_POLL_S)
        left = [child for child in children if child not in codes]
        over = time.monotonic() - begun > timeout_s
        for child in left:
            found, status = os.waitpid(child, os.WNOHANG | os.WUNTRACED)
            if found and os.WIFSTOPPED(status):
                stopped.add(child)
                fault = fault or time.monotonic()
            elif found:
                codes[child] = os.waitstatus_to_exitcode(status)
                last = time.monotonic()
                fault = fault or (last if os.WIFSIGNALED(status) else None)
            elif over or stopped >= set(left):
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                codes[child] = None
                last = time.monotonic()
    return [codes[child] for child in children], last - (fault or begun)


def _answer(function: str, size: int, timeout_s: float, arguments: dict[str, Any]) -> Ended:
    port = _free_port()
    with tempfile.TemporaryDirectory() as folder:
        files = [(Path(folder, f"{r}.out"), Path(folder, f"{r}.err")) for r in range(size)]
        children = []
        for rank, paths in enumerate(files):
            child = os.fork()
            if child == 0:
                for number, path in enumerate(paths, start=1):
                    os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY), number)
                _live(function, arguments, rank, size, port)
            children.append(child)
        codes, after_s = _watch(children, timeout_s)
        shown, errors = zip(*([path.read_text() for path in pair] for pair in files), strict=True)
    return Ended(codes, after_s, list(shown), list(errors))


def serve() -> None:
    # All children then have what takes longest to import.
    import dask.array  # noqa: F401
    import torch_harmonics  # noqa: F401

    import respeval.api.one_run  # noqa: F401

    for line in sys.stdin:
        print(json.dumps(vars(_answer(*json.loads(line)))), flush=True)


if __name__ == "__main__":
    serve()
