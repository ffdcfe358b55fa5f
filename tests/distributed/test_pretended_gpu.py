"""Collectives get tensors of the compute device alone: with a backend that refuses all others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from respeval.presentation.console.sweep import amount
from tests.support import studies
from tests.support.forking import Peers
from tests.support.studies import assert_equal_runs, write_study


@pytest.fixture(scope="module")
def peers() -> Iterator[Peers]:
    started = Peers()
    yield started
    started.close()


@pytest.mark.parametrize("num_processes", [2, 3])
def test_every_reduction(peers: Peers, num_processes: int) -> None:
    ended = peers.call("tests.support.pretended_gpu:reductions", num_processes)
    assert ended.codes == [0] * num_processes, ended.errors
    assert ended.shown[0] == "collectives: allgather allreduce recv reduce\n"
    assert ended.shown[1] == "collectives: allgather allreduce reduce send\n"


@pytest.mark.parametrize("num_noise_channels", [0, 2])
def test_a_whole_run_equals_that_on_cpus(
    peers: Peers, tmp_path: Path, num_noise_channels: int
) -> None:
    path = write_study(tmp_path, days=8, segment="4 steps")
    checkpoint = studies.checkpoint(path, num_noise_channels=num_noise_channels)
    arguments = ["run", str(checkpoint), "-o"]
    expected = peers.call(
        "tests.support.faults:run", 2, arguments=[*arguments, str(tmp_path / "cpu")]
    )
    assert expected.codes == [0, 0], expected.errors
    # The default batch of a GPU is another one, and with it float32 rounding.
    options = ["--samples-per-batch", "1"]
    arguments = [*arguments, str(tmp_path / "gpu"), *options]
    ended = peers.call("tests.support.pretended_gpu:run", 2, arguments=arguments)
    assert ended.codes == [0, 0], ended.errors[0]
    assert "collectives: allgather allreduce recv reduce" in ended.shown[0]
    assert_equal_runs(tmp_path / "gpu", tmp_path / "cpu")


def test_tf32_is_for_gpus_and_the_root_tells_what_it_does(peers: Peers, tmp_path: Path) -> None:
    """A pretended GPU has no other numbers than a CPU, so that its response has no error."""
    checkpoint = write_study(tmp_path, days=8, segment="4 steps")
    arguments = ["run", str(checkpoint), "-o", str(tmp_path / "out"), "--precision", "tf32"]
    ended = peers.call("tests.support.pretended_gpu:run", 2, arguments=arguments)
    assert ended.codes == [0, 0], ended.errors[0]
    assert "Response of the first 4 steps in tf32 (mean of 2 samples)" in ended.errors[0]
    assert "Response of the first" not in ended.errors[1]
    measured = json.loads((tmp_path / "out" / "manifest.json").read_text())["measured"]
    found = [entry["largest"] for entry in measured["precision"]["response"].values()]
    assert found == [0.0, 0.0]


def test_the_root_chooses_the_batch_size_of_all_processes(peers: Peers, tmp_path: Path) -> None:
    checkpoint = write_study(tmp_path, days=8, segment="4 steps")
    arguments = ["run", str(checkpoint), "-o", str(tmp_path / "out"), "--samples-per-batch=auto"]
    ended = peers.call("tests.support.pretended_gpu:run", 2, arguments=arguments)
    assert ended.codes == [0, 0], ended.errors[0]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    tried = manifest["measured"]["samples_per_batch"]["tried"]
    assert [entry["size"] for entry in tried] == [1, 2][: len(tried)]  # of the root's two samples
    assert all(entry["memory"] == 3 * 2**30 for entry in tried)
    assert amount(3 * 2**30) in ended.errors[0]
    assert "taken" in ended.errors[0]
    assert "taken" not in ended.errors[1]
