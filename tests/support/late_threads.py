"""`respeval ARGUMENTS` whose threads go on in torch when it ends, as those of a group of processes may."""

import threading
import time
from typing import Any

import torch

from respeval.cli import main
from respeval.distributed.comm import Comm


def go_on() -> None:
    numbers = torch.ones(400, 400)
    while True:
        numbers @ numbers


def closed(self: Comm, close: Any = Comm.close) -> None:
    close(self)
    for _ in range(4):
        threading.Thread(target=go_on, daemon=True).start()
    time.sleep(0.2)


Comm.close = closed  # type: ignore[method-assign]
main()
