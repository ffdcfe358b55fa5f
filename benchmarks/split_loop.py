"""The emulator of a checkpoint stepped on tensors in memory, its fields split over processes.

[torchrun] -m benchmarks.split_loop REPORT CHECKPOINT HEIGHT WIDTH NUM_STEPS
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from benchmarks.split_memory import members
from respeval.checkpoints import open_checkpoint
from respeval.distributed.comm import connect
from respeval.distributed.mesh import Mesh
from respeval.emulator.noise import CounterNoise
from respeval.emulator.splitting import localize
from respeval.interpreter import give_back_freed, keep_freed
from respeval.plan.estimate import measure_peak, memory_held

#: Collectives that a step of a split network does not call.
_OTHERS = ("all_to_all", "all_gather", "reduce", "broadcast", "reduce_scatter", "send", "isend")


@dataclass(frozen=True)
class Stepped:
    """What one of the processes that share a member's fields took for its steps.

    sent: bytes of a step that leave this process, in so many calls. peak: bytes that a step adds to the
    process, as the system counts them. step_s: of each timed step.
    """

    sent: int
    calls: int
    peak: int
    step_s: list[float]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.split_loop")
    parser.add_argument("report", type=Path)
    parser.add_argument("checkpoint", type=Path)
    for name in ("height", "width", "num_steps"):
        parser.add_argument(name, type=int)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    comm = connect("cpu").split(asked.height, asked.width)
    stepped = comm.gather(asdict(measured(asked.checkpoint, comm.mesh, asked.num_steps)))
    if comm.is_root:
        asked.report.write_text(json.dumps(stepped))
    comm.close()


def measured(checkpoint: Path, mesh: Mesh, num_steps: int) -> Stepped:
    """Of this process, with one member and so many steps that are timed."""
    emulator: Any = open_checkpoint(checkpoint, {})
    localize(emulator, mesh)
    state, forcing = members(emulator, mesh, 1)
    noise, device = CounterNoise(0, [(0, 0)], 0, None), torch.device("cpu")

    def step() -> None:
        with torch.inference_mode():
            emulator.step(state, forcing, forcing, noise)

    with counted() as sent:
        step()
    give_back_freed()
    held = memory_held(device)
    peak, _ = measure_peak(device, step)
    keep_freed()  # as runs do
    step()
    seconds = []
    for _ in range(num_steps):
        begun = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - begun)
    return Stepped(sum(sent), len(sent), peak - held, seconds)


@contextlib.contextmanager
def counted() -> Iterator[list[int]]:
    """Within this, the bytes of every collective that leave this process.

    An all-reduce is counted as a ring sends it. Raises AssertionError where another one is called.
    """
    sent: list[int] = []
    exchange, total = torch.distributed.all_to_all_single, torch.distributed.all_reduce

    def exchanged(received: Any, given: Any, taken: Any, sizes: Any, group: Any) -> None:
        own = sizes[torch.distributed.get_rank(group)]
        sent.append((sum(sizes) - own) * given.element_size())
        exchange(received, given, taken, sizes, group=group)

    def totalled(values: Any, *arguments: Any, group: Any) -> None:
        number = torch.distributed.get_world_size(group)
        sent.append(2 * values.nbytes * (number - 1) // number)
        total(values, *arguments, group=group)

    def unknown(*_: Any, **__: Any) -> None:
        raise AssertionError("a step sends by a collective that is not counted")

    with contextlib.ExitStack() as stack:
        known = {"all_to_all_single": exchanged, "all_reduce": totalled}
        for name, call in (known | dict.fromkeys(_OTHERS, unknown)).items():
            stack.enter_context(mock.patch.object(torch.distributed, name, call))
        yield sent


if __name__ == "__main__":
    main()
