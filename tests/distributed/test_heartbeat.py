"""The beats of processes: who is gone, who is late, who has left; with a store in memory."""

from __future__ import annotations

from typing import Any

import pytest

from respeval.distributed.heartbeat import PATIENCE, SAY_AFTER, Heartbeat


class Memory:
    """A store that may be gone."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.is_gone = False

    def set(self, key: str, value: str) -> None:
        if self.is_gone:
            raise RuntimeError("Connection reset by peer")
        self.texts[key] = value

    def multi_get(self, keys: list[str]) -> list[bytes]:
        if self.is_gone or not self.texts.keys() >= set(keys):
            raise RuntimeError("wait timeout")
        return [self.texts[key].encode() for key in keys]


class Three:
    """Three processes' heartbeats, beaten by hand; what they say and why they end."""

    def __init__(self) -> None:
        self.store = Memory()
        self.ended: list[tuple[int, str]] = []
        self.said: list[tuple[int, str]] = []
        self.heartbeats = [self._make(rank) for rank in range(3)]

    def _make(self, rank: int) -> Heartbeat:
        def end(message: str) -> Any:
            self.ended.append((rank, message))

        return Heartbeat(self.store, rank, 3, end, lambda text: self.said.append((rank, text)))

    def beat(self, *ranks: int, times: int = 1) -> None:
        for _ in range(times):
            for rank in ranks:
                self.heartbeats[rank].beat()
            for rank in ranks:
                self.heartbeats[rank].watch()


@pytest.fixture
def three() -> Three:
    made = Three()
    made.beat(0, 1, 2, times=2)
    return made


def test_who_beats_is_waited_for_and_who_stops_ends_the_others(three: Three) -> None:
    three.beat(0, 1, 2, times=3 * PATIENCE)
    assert not three.ended
    three.beat(0, 2, times=PATIENCE - 1)
    assert not three.ended
    three.beat(0, 2, times=2)  # who beat first has heard of the others one beat later
    assert {rank for rank, _ in three.ended} == {0, 2}
    assert "no sign of life from process 1 for 120 s" in three.ended[0][1]


def test_a_process_that_never_beat_counts_as_silent() -> None:
    three = Three()
    three.beat(0, 2, times=PATIENCE)
    assert "no sign of life from processes 1, 2" in three.ended[0][1]  # it has heard of nobody


def test_all_of_a_job_that_was_suspended_go_on(three: Three) -> None:
    """No clock is read: one that wakes up first has missed nothing, however long it was."""
    three.beat(0, times=PATIENCE - 1)
    three.beat(0, 1, 2)
    three.beat(0, times=PATIENCE - 1)
    assert not three.ended


def test_a_store_that_is_gone_is_as_silent_as_all_others(three: Three) -> None:
    three.store.is_gone = True
    three.beat(1, times=PATIENCE)
    assert "no sign of life from processes 0, 2" in three.ended[0][1]
    three.heartbeats[1].leave()


def test_who_has_left_is_not_missed(three: Three) -> None:
    three.heartbeats[1].leave()
    three.beat(0, 2, times=2 * PATIENCE)
    assert not three.ended


def test_one_of_those_that_wait_says_for_whom(three: Three) -> None:
    with three.heartbeats[1].meeting(), three.heartbeats[2].meeting():
        three.beat(0, 1, 2, times=3 * SAY_AFTER)
        assert three.heartbeats[2].late() == [0]
    assert three.said == [(1, "has waited 30 s for process 0, and goes on waiting")]
    with three.heartbeats[0].meeting():
        three.beat(0, 1, 2, times=3 * SAY_AFTER)  # only this one is left in it
    assert len(three.said) == 1
    with three.heartbeats[0].meeting():
        three.beat(0, 1, 2, times=3 * SAY_AFTER)
    assert three.said[1:] == [(0, "has waited 30 s for processes 1, 2, and goes on waiting")]
