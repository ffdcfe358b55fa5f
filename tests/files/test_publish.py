"""What JSON can hold, and files that two processes write."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from respeval.files.publish import (
    finite_or_none,
    is_abandoned,
    publish,
    write_json,
    write_text,
)


def test_only_finite_numbers_are_written(tmp_path: Path) -> None:
    numbers = [1.5, np.float32(0.5), np.int64(3), math.nan, math.inf, np.float64(-np.inf), None]
    known = [finite_or_none(number) for number in numbers]
    assert known == [1.5, 0.5, 3.0, None, None, None, None]
    write_json(tmp_path / "numbers.json", {"known": known})
    assert json.loads((tmp_path / "numbers.json").read_text()) == {"known": known}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "numbers.json", {"known": [math.nan]})


def test_two_processes_may_publish_one_file_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"

    def write_while_another_does(temporary: Path) -> None:
        temporary.write_text("first")
        with monkeypatch.context() as other:
            other.setattr("os.getpid", lambda: 1)
            publish(path, lambda own: own.write_text("second"))
        assert path.read_text() == "second"

    publish(path, write_while_another_does)
    assert path.read_text() == "first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_what_a_dead_process_left_is_known_from_what_another_one_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    for pid in (1, 2**22 + 1):  # init, and more than any process has
        monkeypatch.setattr("os.getpid", lambda pid=pid: pid)
        publish(tmp_path / "a.txt", lambda own: (names.append(own.name), own.write_text("")))
    monkeypatch.undo()
    assert [is_abandoned(name) for name in names] == [False, True]
    assert is_abandoned(".a.txt.partial")  # of an earlier respeval
    assert not is_abandoned("a.txt")


def test_a_long_name_has_room_for_its_temporary(tmp_path: Path) -> None:
    path = tmp_path / ("ä" * 120 + ".txt")
    write_text(path, "x")
    assert path.read_text() == "x"
