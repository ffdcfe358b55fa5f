"""The only module that knows of other processes; on one process everything is the identity.

Collectives are verbs that every process calls, the same number of times and in the same order.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, TypeVar

import torch

from respeval.distributed.heartbeat import INTERVAL_S, Heartbeat
from respeval.distributed.launch import check_launched, given_number, own_device
from respeval.distributed.mesh import Mesh, make_mesh
from respeval.errors import (
    InputError,
    LostProcessError,
    SharedInputError,
    StoppedError,
    enough_memory,
    first_line,
    pass_on,
)

Result = TypeVar("Result")

#: How long a collective waits for a process that lives, which may have much more to do than others.
#: One that is gone is found at once by its connection or the launcher, or in minutes by its heartbeat.
COLLECTIVE_TIMEOUT = timedelta(days=1)

#: What a backend's error says where another process is gone.
_LOST = re.compile(r"gloo|NCCL|[Cc]onnection (closed|reset|refused)|Broken pipe|[Tt]imed out")

#: Numbers of the times that this process joins others: a launcher's store keeps what earlier times left.
_JOINED = itertools.count()


@dataclass(frozen=True)
class Comm:
    """This process's place among its peers and its device.

    num_restarts: how often the launcher has started these processes again.
    heartbeat: finds out which of the others are gone or late.
    mesh: the processes that share the fields of their members with this one. Members are dealt to
        such groups of processes, which are one process each without a split.
    group: of all these processes, where they are in one that is not respeval's; None for torch's default.
    """

    rank: int = 0
    num_processes: int = 1
    device: torch.device = torch.device("cpu")
    num_restarts: int = 0
    heartbeat: Heartbeat | None = field(default=None, compare=False, repr=False)
    mesh: Mesh = field(default_factory=Mesh)
    group: Any = field(default=None, compare=False, repr=False)
    _meshes: dict[tuple[int, int], Mesh] = field(default_factory=dict, compare=False, repr=False)

    @property
    def is_root(self) -> bool:
        return self.rank == 0

    @property
    def num_data(self) -> int:
        """Groups of processes that members are dealt to."""
        return self.num_processes // self.mesh.size

    @property
    def data_rank(self) -> int:
        """The number of this process's group among them."""
        return self.rank // self.mesh.size

    def split(self, height: int, width: int) -> Comm:
        """The same processes, height x width of which share fields; every process calls it.

        Raises SharedInputError where the number of processes is no multiple of that.
        """
        if self.num_processes % (height * width):
            are = (
                "is 1 process" if self.num_processes == 1 else f"are {self.num_processes} processes"
            )
            raise SharedInputError(
                f"--spatial {height}x{width}: fields are split over {height * width} processes each, and "
                f"there {are}; start a multiple of {height * width} with torchrun --nproc-per-node"
            )
        if height * width == 1:
            return replace(self, mesh=Mesh())
        if (height, width) not in self._meshes:
            with self._contact():
                self._meshes[height, width] = make_mesh(
                    self.rank, self.num_processes, height, width, COLLECTIVE_TIMEOUT
                )
        return replace(self, mesh=self._meshes[height, width])

    @contextlib.contextmanager
    def stepping(self) -> Iterator[None]:
        """Around steps in which processes that share fields wait for each other within the network:
        one that is gone is one line here too."""
        try:
            yield
        except RuntimeError as error:
            pass_on(error)
            if self.mesh.is_split and _LOST.search(str(error)):
                raise _lost(error) from None
            raise

    @contextlib.contextmanager
    def _contact(self) -> Iterator[None]:
        """Around every collective: a peer that is gone is one line, not a traceback."""
        with self.heartbeat.meeting() if self.heartbeat else contextlib.nullcontext():
            try:
                yield
            except RuntimeError as error:
                pass_on(error)
                raise _lost(error) from None

    def sum_to_root(self, packed: torch.Tensor) -> torch.Tensor:
        """Element-wise sum of a tensor on the compute device over the processes that have this one's
        place in their mesh; valid on the first of them, which is the root where fields are whole."""
        if self.num_data == 1:
            return packed
        assert packed.device.type == self.device.type and packed.is_contiguous()
        total = packed.clone()
        with self._contact():
            torch.distributed.reduce(total, dst=self.mesh.place, group=self.mesh.data or self.group)
        return total

    def to_root(
        self, owner: int, packed: torch.Tensor | None, shape: Sequence[int]
    ) -> torch.Tensor | None:
        """What process `owner` packed, on the root; None on all the others.

        packed: contiguous bytes of this shape on the owner's compute device, ignored elsewhere.
        """
        if owner == 0:
            return packed if self.is_root else None
        with self._contact():
            if self.rank == owner:
                assert packed is not None and packed.dtype == torch.uint8
                assert packed.device.type == self.device.type and packed.is_contiguous()
                torch.distributed.send(packed, dst=0, group=self.group)
            elif self.is_root:
                received = torch.empty(tuple(shape), dtype=torch.uint8, device=self.device)
                torch.distributed.recv(received, src=owner, group=self.group)
                return received
        return None

    def to_root_in_pieces(
        self, owner: int, packed: torch.Tensor, like: torch.Tensor, most: int = 2**27
    ) -> torch.Tensor | None:
        """A vector that process `owner` has, on the root's CPU; None on all the others.

        packed: on the owner. like: a vector of its size and type. most: bytes that travel at once.
        """
        width = max(1, most // like.element_size())
        found = torch.empty(like.shape, dtype=like.dtype) if self.is_root else None
        for first in range(0, len(like), width):
            shape = (len(like[first : first + width]) * like.element_size(),)
            piece = packed[first : first + width].view(torch.uint8) if owner == self.rank else None
            received = self.to_root(owner, piece, shape)
            if found is not None and received is not None:
                found[first : first + width] = received.view(like.dtype).cpu()
        return found

    def largest_here(self, number: float) -> float:
        """The maximum over the processes that share fields with this one, on each of them."""
        if not self.mesh.is_split:
            return number
        value = torch.tensor(number, dtype=torch.float64, device=self.device)
        with self.stepping():
            torch.distributed.all_reduce(
                value, torch.distributed.ReduceOp.MAX, group=self.mesh.spatial
            )
            return float(value)

    def largest(self, numbers: Sequence[float]) -> list[float]:
        """Element-wise maximum over processes of a few numbers, on every process."""
        if self.num_processes == 1:
            return list(numbers)
        vector = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        with self._contact():
            torch.distributed.all_reduce(vector, torch.distributed.ReduceOp.MAX, group=self.group)
            return [float(number) for number in vector.tolist()]

    def gather(self, value: Any) -> list[Any]:
        """Every process's small picklable value, in the order of ranks, on every process."""
        if self.num_processes == 1:
            return [value]
        values: list[Any] = [None] * self.num_processes
        with self._contact():
            torch.distributed.all_gather_object(values, value, group=self.group)
        return values

    def from_root(self, value: Result) -> Result:
        """The root's small picklable value, on every process."""
        chosen: Result = self.gather(value)[0]
        return chosen

    def wait(self) -> None:
        """Return when every process is here."""
        self.gather(None)

    def together_here(self, action: Callable[[], Result]) -> Result:
        """`together` of the processes that share fields with this one, wherever the others are."""
        if not self.mesh.is_split:
            return action()

        def told(failed: Any) -> list[Any]:
            found: list[Any] = [None] * self.mesh.size
            with self.stepping():
                torch.distributed.all_gather_object(found, failed, group=self.mesh.spatial)
            return found

        return self._agreed(action, told)

    def together(self, action: Callable[[], Result]) -> Result:
        """What `action` returns on this process, once it has succeeded on all of them.

        Raises SharedInputError on every process with the first message, where it failed on any, and
        StoppedError where a signal ended it on any.
        """
        return self._agreed(action, self.gather)

    def together_stepping(self, action: Callable[[], Result]) -> Result:
        """What an action returns in which processes that share fields wait for each other.

        Where fields are split, every process calls it. Raises SharedInputError on all of them where those
        that share fields raise it, wherever the others are. Another error of one process ends it, and with
        it those that wait. Where fields are whole, it is the action alone.
        """
        if not self.mesh.is_split:
            return action()
        result, failed = None, None
        try:
            with self.stepping(), enough_memory():
                result = action()
        except SharedInputError as error:
            failed = str(error)
        for told in self.gather(failed):
            if told is not None:
                raise SharedInputError(told)
        return result  # type: ignore[return-value]

    @staticmethod
    def _agreed(action: Callable[[], Result], gather: Callable[[Any], list[Any]]) -> Result:
        result: Result | None = None
        failed: tuple[type[InputError | StoppedError], str] | None = None
        try:
            with enough_memory():
                result = action()
        except InputError as error:
            failed = SharedInputError, str(error)
        except StoppedError as error:
            failed = StoppedError, str(error)
        for told in gather(failed):
            if told is not None:
                kind, message = told
                raise kind(message)
        return result  # type: ignore[return-value]

    def on_root(self, action: Callable[[], Result]) -> Result:
        """What `action` returns on the root, which alone acts: small, picklable, on every process.

        Raises what `together` raises, on every process.
        """
        result = self.together(action if self.is_root else lambda: None)
        return self.from_root(result)  # type: ignore[return-value]

    def on_first(self, action: Callable[[], Result]) -> Result:
        """What `action` returns on the root, where all that share fields with it act with it.

        Raises SharedInputError on every process where these raise it. Another error of one of them, for
        which the others may wait, ends the processes.
        """
        if not self.mesh.is_split:
            return self.on_root(action)
        is_first = self.data_rank == 0
        result = self.together_stepping(action if is_first else lambda: None)
        return self.from_root(result)  # type: ignore[return-value]

    def close(self) -> None:
        """Leave the group of processes, if there is one; one of the caller's own stays."""
        if self.group is not None:
            made = [group for mesh in self._meshes.values() for group in mesh.groups]
            for group in (*made, self.group):
                torch.distributed.destroy_process_group(group)
            return
        if self.heartbeat is not None:
            self.heartbeat.leave()
        if self.num_processes > 1 and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def connect_beside(device: torch.device | None = None) -> Comm:
    """Join the processes of the caller's own process group, or as `connect` where there is none.

    device: where an emulator's weights are; without one that of `connect`. Their group is a new one
    beside the caller's, with respeval's timeout. Raises InputError where the caller's has no backend for
    the device.
    """
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        comm = connect(None if device is None else device.type)
        return replace(comm, device=device or comm.device)
    if device is None:
        kind = "cuda" if "nccl" in str(distributed.get_backend()) else "cpu"
        local = given_number("LOCAL_RANK", 0)
        device = torch.device("cuda", local) if kind == "cuda" else torch.device("cpu")
    backends = str(distributed.get_backend())
    if device.type == "cpu" and "gloo" not in backends:
        raise InputError(
            f"the process group that is there ({backends}) has no backend for the CPU; initialise it with "
            "backend='cpu:gloo,cuda:nccl', or give device='cuda'"
        )
    rank, number = distributed.get_rank(), distributed.get_world_size()
    if number == 1:
        return Comm(device=device)
    group = distributed.new_group(timeout=COLLECTIVE_TIMEOUT)
    return Comm(rank, number, device, group=group)


def connect(device: str | None = None) -> Comm:
    """Join the processes that torchrun started, or be alone.

    One process per device: `cuda:LOCAL_RANK` with NCCL where CUDA is present, else the CPU with
    gloo. `device` (`cpu` or `cuda`) overrides the choice. Raises InputError where it is neither or
    not there.
    """
    own = own_device(device)
    num_processes = given_number("WORLD_SIZE", 1)
    if num_processes == 1:
        return Comm(device=own)
    check_launched(num_processes)
    return _join(own, num_processes)


def _join(device: torch.device, num_processes: int) -> Comm:
    """Meet the other processes. Raises LostProcessError where they don't all come."""
    # Where a process is lost, torch's warnings bury the one line that says so in pages of C++ frames.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    num_restarts = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    distributed: Any = torch.distributed  # whose stores are public, but not for mypy
    # A launcher that starts the processes again may keep its store, with their dead addresses.
    prefix = f"respeval/{num_restarts}/{next(_JOINED)}"
    try:
        store, rank, _ = next(
            distributed.distributed_c10d.rendezvous("env://", timeout=COLLECTIVE_TIMEOUT)
        )
        torch.distributed.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            store=distributed.PrefixStore(prefix, store),
            rank=rank,
            world_size=num_processes,
            timeout=COLLECTIVE_TIMEOUT,
            device_id=device if device.type == "cuda" else None,
        )
        # A connection of its own, because collectives block the first one while they set up theirs.
        beats = distributed.TCPStore(
            os.environ["MASTER_ADDR"],
            int(os.environ["MASTER_PORT"]),
            timeout=timedelta(seconds=2 * INTERVAL_S),
            wait_for_workers=False,
        )
    except RuntimeError as error:
        raise _lost(error) from None
    heartbeat = Heartbeat(
        distributed.PrefixStore(f"{prefix}/heartbeat", beats), rank, num_processes
    )
    heartbeat.start()
    return Comm(rank, num_processes, device, num_restarts, heartbeat)


def _lost(error: RuntimeError) -> LostProcessError:
    """One line from what the backend says, without its source files."""
    line = first_line(error)
    reason = re.sub(r"^\[[^]]*\.\w+:\d+\] ", "", line).split(". ")[0]
    return LostProcessError(
        f"lost contact with the other processes, one of them may have ended ({reason[:120]}); "
        "run the same command again to go on"
    )
