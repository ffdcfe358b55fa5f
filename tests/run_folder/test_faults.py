"""A process that is killed, stopped or slow at any point: the others end, or wait, and the run goes on.

Real processes over gloo without a launcher, so that only what they do themselves ends them.
`make soak` has a process 30 s late (`--kills 100`), CI three seconds with faster beats.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.forking import Ended, Peers
from tests.support.invoking import errors_in, from_first_error
from tests.support.processes import assert_close
from tests.support.studies import assert_equal_runs, write_study
from tests.support.toy import manifest_of

#: Step of the second segment's commit that is done -> the point of the root after it, and the
#: numbers of files that are then there: segments, restart files (two processes write two at the end
#: of a segment), and segments that the manifest names.
COMMIT = {
    "nothing": ("collective sum_to_root 2", (1, 2, 1)),
    "segment written": ("os.rename segments/. 2", (1, 2, 1)),
    "segment published": ("collective from_root 5", (2, 2, 1)),
    "first restart file written": ("os.rename restart/. 3", (2, 2, 1)),
    "first restart file published": ("collective to_root 4", (2, 3, 1)),
    "restart published": ("open .manifest.json. 5", (2, 4, 1)),
    "manifest written": ("os.rename .manifest.json. 3", (2, 4, 1)),
    "manifest published": ("os.remove restart/0 1", (2, 4, 2)),
    "first older restart file removed": ("os.remove restart/0 2", (2, 3, 2)),
}


@pytest.fixture(scope="module")
def peers() -> Iterator[Peers]:
    started = Peers()
    yield started
    started.close()


class Runs:
    """`respeval run` of one study on some processes, again and again."""

    def __init__(self, peers: Peers, folder: Path) -> None:
        self._peers, self.out = peers, folder / "out"
        self._checkpoint = write_study(folder, num_samples=6, days=15, segment="4 steps")
        self.expected = folder / "expected"
        assert self.run(2, out=self.expected).codes == [0, 0]

    def run(
        self,
        num_processes: int,
        *fault: object,
        out: Path | None = None,
        interval_s: float = 5.0,
        timeout_s: float = 60.0,
    ) -> Ended:
        arguments = ["run", str(self._checkpoint), "-o", str(out or self.out)]
        return self._peers.call(
            *("tests.support.faults:run", num_processes, timeout_s),
            arguments=arguments,
            fault=fault or None,
            interval_s=interval_s,
        )

    def finish(self, num_processes: int = 2) -> None:
        """The same command to its end, with the numbers of a run that nothing happened to."""
        ended = self.run(num_processes)
        assert ended.codes == [0] * num_processes, ended.errors
        assert "going on after step" in ended.errors[0]
        if num_processes == 2:
            assert_equal_runs(self.out, self.expected)
        else:
            assert_close(self.out, self.expected)
        assert not [path.name for path in self.out.glob("**/.*")]


@pytest.fixture(scope="module")
def all_runs(peers: Peers, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(peers, tmp_path_factory.mktemp("runs"))


@pytest.fixture
def runs(all_runs: Runs) -> Iterator[Runs]:
    yield all_runs
    shutil.rmtree(all_runs.out, ignore_errors=True)


def assert_lost(ended: Ended, rank: int) -> None:
    """Process `rank` was killed, and each of the others ended by itself with one line."""
    for other, (code, errors) in enumerate(zip(ended.codes, ended.errors, strict=True)):
        lines = from_first_error(errors)
        if other == rank:
            assert (code, lines) == (-9, [])
        else:
            assert code == 1, (ended.codes, ended.errors)
            who = f"process {other}: " if other else ""
            (line,) = lines
            assert line.startswith(f"respeval: {who}lost contact with the other processes")
            assert line.endswith("; run the same command again to go on")


def state_of(folder: Path) -> tuple[int, int, int]:
    """Numbers of files as in `COMMIT`."""
    segments, restart = (
        len(list(folder.glob(f"{name}/[0-9]*"))) for name in ("segments", "restart")
    )
    return segments, restart, len(manifest_of(folder)["segments"])


@pytest.mark.parametrize("done", COMMIT)
def test_root_killed_in_the_middle_of_a_commit(runs: Runs, done: str) -> None:
    point, expected = COMMIT[done]
    assert_lost(runs.run(2, 0, "kill", point), 0)
    assert state_of(runs.out) == expected
    runs.finish()


@pytest.mark.parametrize(
    ("num_processes", "rank", "point", "num_then"),
    [
        (2, 0, "step 6", 3),
        (2, 1, "collective sum_to_root 2", 2),
        (2, 1, "collective to_root 4", 1),
        (3, 2, "step 7", 2),
    ],
)
def test_killed_within_a_segment_and_at_a_collective(
    runs: Runs, num_processes: int, rank: int, point: str, num_then: int
) -> None:
    ended = runs.run(num_processes, rank, "kill", point)
    assert_lost(ended, rank)
    runs.finish(num_then)


@pytest.mark.parametrize(("rank", "point"), [(1, "step 6"), (0, "os.rename segments/. 2")])
def test_stopped_for_ever(runs: Runs, rank: int, point: str) -> None:
    """Its connections are still there; that its beat is not ends the others."""
    ended = runs.run(2, rank, "stop", point, interval_s=0.2)
    assert (ended.codes[rank], ended.codes[1 - rank]) == (None, 1), ended.errors
    last = ended.errors[1 - rank].splitlines()[-1]
    assert f"no sign of life from process {rank} for 5 s" in last
    assert last.endswith("run the same command again to go on")
    runs.finish()


@pytest.mark.parametrize(("rank", "point"), [(1, "step 6"), (0, "os.rename segments/. 2")])
def test_a_slow_process_is_waited_for(runs: Runs, kills: int, rank: int, point: str) -> None:
    """Longer than one that gives no sign of life would be."""
    seconds, interval_s = (30, 1.0) if kills >= 100 else (3, 0.1)
    ended = runs.run(2, rank, f"sleep {seconds}", point, interval_s=interval_s, timeout_s=120)
    assert ended.codes == [0, 0], ended.errors
    assert ended.after_s > seconds
    said = [line for text in ended.errors for line in errors_in(text)]
    assert any(f"s for process {rank}, and goes on waiting" in line for line in said)
    # On a busy machine the other one may be late too, at another time.
    assert all(", and goes on waiting" in line for line in said), said
    assert_equal_runs(runs.out, runs.expected)
