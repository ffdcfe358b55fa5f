"""An error that one process of a run meets ends all of them, with one message and no lost contact."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from respeval.api.one_run import Wish, run_plan
from respeval.api.session import Session
from respeval.distributed.comm import Comm
from respeval.distributed.held import HeldErrors
from respeval.distributed.stop import StopSignals
from respeval.errors import BlowUpError, InputError, SharedInputError, StoppedError
from respeval.fields.calendar import to_seconds
from respeval.plan.execution import Execution, Threads
from respeval.presentation.console.terminal import make_console
from respeval.run_folder.folder import RunFolder
from respeval.run_folder.manifest import read_manifest
from respeval.run_folder.output import RunOutput
from respeval.runner import Reporter, execute
from tests.support.toy import Toy, plan
from tests.support.toy import study as toy_study


class Meeting:
    """Where the threads that play processes exchange values."""

    def __init__(self, num_processes: int) -> None:
        self.values: list[Any] = [None] * num_processes
        self.barrier = threading.Barrier(num_processes, timeout=60)

    def exchange(self, rank: int, value: Any) -> list[Any]:
        self.values[rank] = value
        self.barrier.wait()
        values = list(self.values)
        self.barrier.wait()
        return values


class ThreadComm(Comm):
    """One of several threads of this process in the place of processes."""

    def __init__(self, rank: int, meeting: Meeting) -> None:
        super().__init__(rank, len(meeting.values))
        object.__setattr__(self, "meeting", meeting)

    def gather(self, value: Any) -> list[Any]:
        found: list[Any] = self.meeting.exchange(self.rank, value)  # type: ignore[attr-defined]
        return found

    def sum_to_root(self, packed: torch.Tensor) -> torch.Tensor:
        return torch.stack(self.gather(packed)).sum(0)

    def to_root(
        self, owner: int, packed: torch.Tensor | None, shape: Sequence[int]
    ) -> torch.Tensor | None:
        sent: torch.Tensor | None = self.gather(packed)[owner]
        return sent if self.is_root else None

    def largest(self, numbers: Sequence[float]) -> list[float]:
        return [max(column) for column in zip(*self.gather(list(numbers)), strict=True)]


def on_threads(action: Callable[[ThreadComm], object], num_processes: int = 2) -> list[Any]:
    """What each thread's action raised, in the order of ranks; None where it returned."""
    meeting, raised = Meeting(num_processes), [None] * num_processes

    def body(rank: int) -> None:
        try:
            action(ThreadComm(rank, meeting))
        except (Exception, StoppedError) as error:
            raised[rank] = error  # type: ignore[call-overload]

    threads = [threading.Thread(target=body, args=(rank,)) for rank in range(num_processes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


class Failing(RunFolder):
    """Fails at the Nth call of one of its verbs."""

    verb, at = "", 0

    def _count(self, verb: str) -> None:
        if verb == self.verb:
            self.at -= 1
            if self.at == 0:
                raise InputError(f"{verb} can't be written")

    def begin(self, *rest: Any) -> None:
        self._count("begin")
        super().begin(*rest)

    def publish_segment(self, *rest: Any) -> None:
        self._count("publish_segment")
        super().publish_segment(*rest)

    def publish_part(self, *rest: Any) -> None:
        self._count("publish_part")
        super().publish_part(*rest)

    def commit(self, *rest: Any) -> None:
        self._count("commit")
        super().commit(*rest)


def run_on_two(
    folder: Path,
    toys: Sequence[Toy],
    verb: str = "",
    at: int = 0,
    execution: Execution | None = None,
    signals: Sequence[StopSignals | None] = (None, None),
    **case: Any,
) -> tuple[list[Any], RunFolder]:
    """Run the toy's plan on two threads; what each raised, and the root's folder."""
    study = toy_study(folder / "study")
    planned = [plan(study, toy, **{"steps": 12, "segment": "4 steps", **case}) for toy in toys]
    origin_s = to_seconds(planned[0].forcing.starts[0])
    output = Failing(folder / "out", {"case_digest": "-"}, planned[0].layout, origin_s)
    output.verb, output.at = verb, at
    output.open()

    def action(comm: ThreadComm) -> None:
        own = output if comm.is_root else RunOutput()
        how = execution or Execution()
        execute(planned[comm.rank], own, comm, how, Reporter(), signals[comm.rank])

    raised = on_threads(action)
    output.close()
    return raised, output


def manifest_status(output: RunFolder) -> tuple[str, str | None]:
    content = read_manifest(output.path)
    return content["status"], content.get("reason")


@pytest.mark.parametrize(
    ("verb", "at", "num_published"),
    [
        ("begin", 1, None),
        ("publish_segment", 1, 0),
        ("publish_segment", 3, 2),
        ("publish_part", 3, 1),
        ("commit", 1, 0),
        ("commit", 3, 2),
    ],
)
def test_what_the_root_cant_write_is_told_by_all(
    tmp_path: Path, verb: str, at: int, num_published: int | None
) -> None:
    raised, output = run_on_two(tmp_path, [Toy(), Toy()], verb, at)
    assert [type(error) for error in raised] == [SharedInputError] * 2
    assert {str(error) for error in raised} == {f"{verb} can't be written"}
    if num_published is not None:
        assert len(output.segments) == num_published
        assert manifest_status(output) == ("failed", f"{verb} can't be written")


class Refusing(Toy):
    """Raises at one of its steps what the reading of forcing raises."""

    def __init__(self, at: int, error: Exception) -> None:
        super().__init__()
        self.at, self.error = at, error

    def step(self, *rest: Any) -> torch.Tensor:
        if len(self.batches) == self.at:
            raise self.error
        return super().step(*rest)


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("step", [0, 3, 5, 11])
def test_what_one_process_cant_read_is_told_by_all(tmp_path: Path, rank: int, step: int) -> None:
    """Batches of one sample: process 0 has two samples, process 1 has one."""
    toys: list[Toy] = [Toy(), Toy()]
    toys[rank] = Refusing(step * (2 - rank), InputError("skin is missing"))
    raised, output = run_on_two(tmp_path, toys)
    assert [type(error) for error in raised] == [SharedInputError] * 2
    assert {str(error) for error in raised} == {"skin is missing"}
    assert len(output.segments) <= step // 4
    assert manifest_status(output) == ("failed", "skin is missing")


def test_of_two_errors_the_first_process_tells_its_own(tmp_path: Path) -> None:
    toys = [Refusing(0, InputError("one")), Refusing(0, InputError("two"))]
    raised, _ = run_on_two(tmp_path, toys)
    assert {str(error) for error in raised} == {"one"}


def test_a_blow_up_that_ends_the_run_is_told_by_all(tmp_path: Path) -> None:
    class Wild(Toy):
        def step(self, *rest: Any) -> torch.Tensor:
            outputs = super().step(*rest)
            return outputs * float("nan") if len(self.batches) > 5 else outputs

    raised, output = run_on_two(tmp_path, [Toy(), Wild()], execution=Execution(fail_fast=True))
    assert [type(error) for error in raised] == [BlowUpError] * 2
    assert len({str(error) for error in raised}) == 1
    assert "sample 2" in str(raised[0])
    assert manifest_status(output)[0] == "failed"


def test_an_error_wins_over_a_signal_that_comes_with_it(tmp_path: Path) -> None:
    """The processes vote after the steps 1, 3 and 7: the signal is heeded at the first segment's end."""
    signals = StopSignals()

    class Asking(Toy):
        def step(self, *rest: Any) -> torch.Tensor:
            if len(self.batches) == 2 * 2:
                signals.requested = "SIGTERM"
            return super().step(*rest)

    raised, _ = run_on_two(
        tmp_path,
        [Asking(), Toy()],
        "publish_segment",
        1,
        signals=(signals, None),
        segment="3 steps",
    )
    assert [type(error) for error in raised] == [SharedInputError] * 2


def test_without_an_error_a_signal_stops_both(tmp_path: Path) -> None:
    signals = StopSignals()
    signals.requested = "SIGTERM"
    raised, output = run_on_two(tmp_path, [Toy(), Toy()], signals=(None, signals))
    assert [type(error) for error in raised] == [StoppedError] * 2
    assert manifest_status(output)[0] == "stopped"


@pytest.mark.parametrize(
    ("error", "kind"),
    [(InputError("no file"), SharedInputError), (StoppedError("stop"), StoppedError)],
)
def test_what_is_done_together_fails_together(error: Exception, kind: type[Exception]) -> None:
    def action(comm: ThreadComm) -> None:
        def own() -> None:
            if comm.rank == 1:
                raise error

        comm.together(own)

    raised = on_threads(action)
    assert [(type(e), str(e)) for e in raised] == [(kind, str(error))] * 2


def refuse() -> None:
    raise InputError("no room")


def test_what_one_process_meets_is_held_until_all_speak() -> None:
    done: list[int] = []

    def action(comm: ThreadComm) -> None:
        held = HeldErrors(comm)
        assert held.gather(comm.rank) == [0, 1]
        if comm.rank == 1:
            held.attempt(refuse)
        held.attempt(lambda: done.append(comm.rank))
        assert held.any is (comm.rank == 1)
        comm.wait()
        held.gather(None)

    raised = on_threads(action)
    assert [(type(e), str(e)) for e in raised] == [(SharedInputError, "no room")] * 2
    assert done == [0]  # after its error a process attempts nothing more


def test_one_process_alone_holds_nothing() -> None:
    with pytest.raises(InputError, match="no room") as raised:
        HeldErrors(Comm()).attempt(refuse)
    assert raised.type is InputError


def test_the_root_alone_acts_and_all_have_what_it_returns() -> None:
    acted, found = [], {}

    def action(comm: ThreadComm) -> None:
        found[comm.rank] = comm.on_root(lambda: acted.append(comm.rank) or f"by {comm.rank}")

    assert on_threads(action, 3) == [None] * 3
    assert (acted, found) == ([0], dict.fromkeys(range(3), "by 0"))


def test_what_fails_on_the_root_fails_on_all() -> None:
    raised = on_threads(lambda comm: comm.on_root(refuse))
    assert [(type(e), str(e)) for e in raised] == [(SharedInputError, "no room")] * 2


def test_an_analysis_that_fails_on_the_root_fails_on_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any, **__: Any) -> None:
        raise InputError("figures can't be written")

    monkeypatch.setattr("respeval.api.one_run.analyse", failing)
    study = toy_study(tmp_path / "study")
    planned = [plan(study, Toy(), steps=3) for _ in range(2)]
    checkpoint = tmp_path / "toy.pt"
    checkpoint.write_bytes(b"")

    def action(comm: ThreadComm) -> None:
        own, folder = planned[comm.rank], tmp_path / "out"
        session = Session(comm, Threads(1), make_console(comm.is_root))
        run_plan(own, checkpoint, folder, Wish(), session)

    raised = on_threads(action)
    assert [type(error) for error in raised] == [SharedInputError] * 2
    assert {str(error) for error in raised} == {"figures can't be written"}


def test_a_signal_that_comes_in_a_collective_is_no_lost_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise StoppedError("stopped by SIGTERM")

    monkeypatch.setattr(torch.distributed, "all_gather_object", interrupted)
    with pytest.raises(StoppedError):
        Comm(0, 2).gather(None)
