"""Files held against their checksums beside other work."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

from respeval.errors import InputError
from respeval.files import checksums
from respeval.files.checksums import Checksums, Verification
from respeval.files.hashing import READ_BYTES, HashingProcess

CONTENTS = {"first.nc": b"a" * (READ_BYTES + 1), "second.nc": b"", "third.nc": b"c"}


@pytest.fixture(params=["threads", "processes"])
def folder(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files that are hashed by threads, or by processes."""
    if request.param == "processes":
        monkeypatch.setattr(checksums, "_MANY_BYTES", 1)
    for name, content in CONTENTS.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def parts() -> list[Checksums]:
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENTS.items()}
    last = {"third.nc": digests.pop("third.nc")}
    return [Checksums(digests, "start over"), Checksums(last, "make it anew")]


def test_whole_files_are_whole_whatever_their_size(folder: Path) -> None:
    with Verification(folder, parts()) as verification:
        verification.wait_for("third.nc")
        verification.wait_for("a file without a checksum")
        verification.finish()


def test_what_is_damaged_is_told_part_by_part(folder: Path) -> None:
    (folder / "first.nc").unlink()
    (folder / "second.nc").write_bytes(b"b")
    (folder / "third.nc").write_bytes(b"d")
    with pytest.raises(InputError) as told, Verification(folder, parts()) as verification:
        verification.wait_for("third.nc")
    assert str(told.value) == (
        f"{folder / 'first.nc'} can't be read (No such file or directory); "
        f"{folder / 'second.nc'} is damaged (its checksum differs); start over"
    )
    for name in ("first.nc", "second.nc"):
        (folder / name).write_bytes(CONTENTS[name])
    with pytest.raises(InputError) as told, Verification(folder, parts()) as verification:
        verification.finish()
    assert str(told.value) == (
        f"{folder / 'third.nc'} is damaged (its checksum differs); make it anew"
    )


def test_a_change_of_the_last_byte_of_a_large_file_is_found(folder: Path) -> None:
    (folder / "first.nc").write_bytes(CONTENTS["first.nc"][:-1] + b"b")
    with (
        pytest.raises(InputError, match="first.nc is damaged"),
        Verification(folder, parts()) as verification,
    ):
        verification.wait_for("first.nc")


def test_damage_is_told_rather_than_what_came_of_it(folder: Path) -> None:
    with pytest.raises(ZeroDivisionError), Verification(folder, parts()):
        raise ZeroDivisionError
    (folder / "third.nc").write_bytes(b"d")
    with pytest.raises(InputError, match="third.nc is damaged"), Verification(folder, parts()):
        raise ZeroDivisionError


def test_a_pipe_is_told_and_never_waited_for(folder: Path) -> None:
    (folder / "third.nc").unlink()
    os.mkfifo(folder / "third.nc")
    with pytest.raises(InputError, match="a pipe"), Verification(folder, parts()) as verification:
        verification.wait_for("third.nc")


def test_the_files_that_are_needed_first_are_read_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    whole = threading.Event()

    def told(path: Path, *_: object) -> None:
        whole.wait(60)
        read.append(path.name)

    monkeypatch.setattr(checksums, "_damage", told)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    first = ["third.nc", "a file without a checksum", "second.nc"]
    with Verification(folder, parts(), first, num_cores_kept=1) as verification:
        assert read == []
        whole.set()
        verification.finish()
    assert read == ["third.nc", "second.nc", "first.nc"]


def test_an_interrupt_leaves_the_other_files_unread(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    def told(path: Path, *_: object) -> None:
        begun.set()
        go_on.wait(60)
        read.append(path.name)

    monkeypatch.setattr(checksums, "_damage", told)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)

    def interrupt() -> None:
        begun.wait(60)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Verification(folder, parts()) as verification:
        interrupt()
    go_on.set()
    verification._told["first.nc"].result(60)
    assert verification._told["third.nc"].cancelled()
    assert read == ["first.nc"]


@pytest.mark.parametrize("folder", ["processes"], indirect=True)
def test_processes_hash_many_bytes_and_end_with_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_process: list[str] = []
    hashed = HashingProcess.sha256_of

    def note(process: HashingProcess, path: Path) -> str:
        by_process.append(path.name)
        return hashed(process, path)

    monkeypatch.setattr(HashingProcess, "sha256_of", note)
    with Verification(folder, parts()) as verification:
        verification.finish()
        processes = [process._process for process in verification._hashing._all]
        assert {process.poll() for process in processes} == {None}
    assert sorted(by_process) == sorted(CONTENTS)
    assert all(process.returncode is not None for process in processes)


@pytest.mark.parametrize("folder", ["processes"], indirect=True)
def test_files_are_held_against_checksums_where_no_process_lives(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "third.nc").write_bytes(b"d")

    def killed() -> HashingProcess:
        process = HashingProcess()
        process._process.kill()
        return process

    def refused() -> HashingProcess:
        raise OSError("no more processes")

    for start in (killed, refused):
        monkeypatch.setattr(checksums, "HashingProcess", start)
        with (
            pytest.raises(InputError, match="third.nc is damaged"),
            Verification(folder, parts()) as verification,
        ):
            verification.finish()


def test_a_path_of_any_bytes_is_read(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"two\nlines and \xff")
    path.write_bytes(b"content")
    process = HashingProcess()
    try:
        assert process.sha256_of(path) == hashlib.sha256(b"content").hexdigest()
        with pytest.raises(FileNotFoundError):
            process.sha256_of(tmp_path / "nothing")
    finally:
        process.end()
    with pytest.raises(ChildProcessError):
        process.sha256_of(path)
