"""The only module that knows of other processes; on one process everything is the identity.

Collectives are verbs that every process calls, the same number of times and in the same order.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch

from respeval.errors import InputError, LostProcessError, SharedInputError

Result = TypeVar("Result")

#: How long a collective waits: a process with fewer members may be a segment ahead of the others.
#: A process that is gone is found sooner, by the launcher.
COLLECTIVE_TIMEOUT = timedelta(days=1)


@contextlib.contextmanager
def _contact() -> Iterator[None]:
    """Around every collective: a peer that is gone is one line, not a traceback."""
    try:
        yield
    except RuntimeError as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise LostProcessError(
            f"lost contact with the other processes, one of them may have ended ({reason[:120]})"
        ) from None


@dataclass(frozen=True)
class Comm:
    """This process's place among its peers and its device.

    num_restarts: how often the launcher has started these processes again.
    """

    rank: int = 0
    num_processes: int = 1
    device: torch.device = torch.device("cpu")
    num_restarts: int = 0

    @property
    def is_root(self) -> bool:
        return self.rank == 0

    def sum_to_root(self, packed: torch.Tensor) -> torch.Tensor:
        """Element-wise sum over processes of a tensor on the compute device; valid on the root."""
        if self.num_processes == 1:
            return packed
        assert packed.device.type == self.device.type and packed.is_contiguous()
        total = packed.clone()
        with _contact():
            torch.distributed.reduce(total, dst=0)
        return total

    def to_root(
        self, owner: int, packed: torch.Tensor | None, shape: Sequence[int]
    ) -> torch.Tensor | None:
        """What process `owner` packed, on the root; None on all the others.

        packed: contiguous bytes of this shape on the owner's compute device, ignored elsewhere.
        """
        if owner == 0:
            return packed if self.is_root else None
        with _contact():
            if self.rank == owner:
                assert packed is not None and packed.dtype == torch.uint8
                assert packed.device.type == self.device.type and packed.is_contiguous()
                torch.distributed.send(packed, dst=0)
            elif self.is_root:
                received = torch.empty(tuple(shape), dtype=torch.uint8, device=self.device)
                torch.distributed.recv(received, src=owner)
                return received
        return None

    def largest(self, numbers: Sequence[float]) -> list[float]:
        """Element-wise maximum over processes of a few numbers, on every process."""
        if self.num_processes == 1:
            return list(numbers)
        vector = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        with _contact():
            torch.distributed.all_reduce(vector, torch.distributed.ReduceOp.MAX)
            return [float(number) for number in vector.tolist()]

    def gather(self, value: Any) -> list[Any]:
        """Every process's small picklable value, in the order of ranks, on every process."""
        if self.num_processes == 1:
            return [value]
        values: list[Any] = [None] * self.num_processes
        with _contact():
            torch.distributed.all_gather_object(values, value)
        return values

    def from_root(self, value: Result) -> Result:
        """The root's small picklable value, on every process."""
        chosen: Result = self.gather(value)[0]
        return chosen

    def wait(self) -> None:
        """Return when every process is here."""
        self.gather(None)

    def together(self, action: Callable[[], Result]) -> Result:
        """What `action` returns on this process, once it has succeeded on all of them.

        Raises SharedInputError on every process with the first message, where it failed on any.
        """
        result: Result | None = None
        message: str | None = None
        try:
            result = action()
        except InputError as error:
            message = str(error)
        for failed in self.gather(message):
            if failed is not None:
                raise SharedInputError(failed)
        return result  # type: ignore[return-value]

    def close(self) -> None:
        """Leave the group of processes, if there is one."""
        if self.num_processes > 1 and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def connect(device: str | None = None) -> Comm:
    """Join the processes that torchrun started, or be alone.

    One process per device: `cuda:LOCAL_RANK` with NCCL where CUDA is present, else the CPU with
    gloo. `device` (`cpu` or `cuda`) overrides the choice. Raises InputError where it is neither or
    not there.
    """
    if device not in (None, "cpu", "cuda"):
        raise InputError(f"--device {device}: expected cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: this machine has no CUDA device that torch can use")
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if kind == "cuda" and local_rank >= torch.cuda.device_count():
        raise InputError(
            f"process {local_rank} of this machine has no GPU of its own (it has "
            f"{torch.cuda.device_count()}); start as many processes as there are GPUs"
        )
    own = torch.device("cuda", local_rank) if kind == "cuda" else torch.device("cpu")
    if own.type == "cuda":
        torch.cuda.set_device(own)
    num_processes = int(os.environ.get("WORLD_SIZE", "1"))
    if num_processes == 1:
        return Comm(device=own)
    num_restarts = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    with _contact():
        # A launcher that starts the processes again may keep its store, with their dead addresses.
        meeting: Any = torch.distributed.distributed_c10d
        store, rank, _ = next(meeting.rendezvous("env://", timeout=COLLECTIVE_TIMEOUT))
        torch.distributed.init_process_group(
            "nccl" if own.type == "cuda" else "gloo",
            store=meeting.PrefixStore(f"respeval/{num_restarts}", store),
            rank=rank,
            world_size=num_processes,
            timeout=COLLECTIVE_TIMEOUT,
            device_id=own if own.type == "cuda" else None,
        )
    return Comm(rank, num_processes, own, num_restarts)
