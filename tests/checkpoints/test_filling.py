"""Networks that are built without weights and filled from a mapped file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from respeval.checkpoints import open_checkpoint
from respeval.checkpoints.filling import Unfilled, copy_numbers, fill_like, load_mapped
from respeval.checkpoints.native import load_checkpoint
from respeval.loss_probe.filters import find_filters
from tests.support.processes import environment
from tests.support.studies import checkpoint, manifest

CPU = torch.device("cpu")


class Net(nn.Module):
    """Tied weights, a list of weights, a buffer that is saved and one that is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.scaled = nn.ParameterList([nn.Parameter(0.1 * torch.randn(2, 2)) for _ in range(2)])
        self.frozen = nn.Parameter(torch.zeros(4), requires_grad=False)
        self.register_buffer("drawn", torch.rand(5))
        self.register_buffer("table", torch.arange(4.0), persistent=False)


def numbers(module: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(module.named_parameters(remove_duplicate=False)), **dict(module.named_buffers())}


def assert_equal(found: nn.Module, expected: nn.Module) -> None:
    for name, value in numbers(expected).items():
        assert torch.equal(numbers(found)[name], value), name
        assert numbers(found)[name].requires_grad == value.requires_grad, name


@pytest.mark.parametrize("zipped", [True, False])
def test_a_network_gets_what_was_loaded_into_it_and_keeps_what_it_computes(
    tmp_path: Path, zipped: bool
) -> None:
    network, path = Net(), tmp_path / "net.pt"
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=zipped)
    content, mapped = load_mapped(path)
    assert mapped == zipped
    with Unfilled() as unfilled:
        built = Net()
        assert all(value.is_meta for value in (built.first.weight, built.drawn))
        assert not built.table.is_meta
        built.load_state_dict(content)
    unfilled.fill([built], CPU, mapped)
    assert_equal(built, network)
    assert built.second.weight is built.first.weight
    assert not nn.Linear(2, 2).weight.is_meta  # what comes after is as ever


def test_the_last_one_of_two_loadings_wins_and_the_state_is_left_without_both(
    tmp_path: Path,
) -> None:
    """As with the moving average of an ACE checkpoint."""
    raw, average = Net(), Net()
    path = tmp_path / "net.pt"
    torch.save({"raw": raw.state_dict(), "average": dict(average.named_parameters())}, path)
    content, mapped = load_mapped(path)
    with Unfilled() as unfilled:
        built = Net()
        built.load_state_dict(content["raw"])
        with torch.no_grad():
            for name, value in built.named_parameters():
                value.copy_(content["average"][name])
    unfilled.fill([built], CPU, mapped)
    for name, value in average.named_parameters():
        assert torch.equal(dict(built.named_parameters())[name], value)
    assert torch.equal(built.drawn, raw.drawn)
    assert all(value.is_meta for value in unfilled.shapes(content["raw"]).values())


def test_a_weight_that_the_file_lacks_is_named() -> None:
    with Unfilled() as unfilled:
        built = Net()
    with pytest.raises(KeyError, match="frozen"):
        unfilled.fill([built], CPU, mapped=False)


def test_a_network_elsewhere_lends_its_numbers() -> None:
    network = Net()
    with Unfilled():
        built = Net()
    fill_like([built], [network], CPU)
    assert_equal(built, network)


def test_numbers_are_copied_in_pieces_of_any_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("respeval.checkpoints.filling._PIECE", 7)
    for source in (torch.rand(5, 5), torch.rand(5, 5).T, torch.rand(()), torch.rand(3, 0)):
        target = torch.empty(source.shape)
        copy_numbers(target, source, mapped=False)
        assert torch.equal(target, source)


def test_an_emulator_is_its_own_when_its_file_is_written_over(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "tiny.pt")
    emulator = load_checkpoint(path)
    before = {name: value.clone() for name, value in emulator.state_dict().items()}
    path.write_bytes(b"\xff" * path.stat().st_size)
    assert all(torch.equal(emulator.state_dict()[name], value) for name, value in before.items())


def test_shapes_alone_say_what_the_whole_says(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "tiny.pt")
    whole: Any = open_checkpoint(path, {})
    shapes: Any = open_checkpoint(path, {}, with_weights=False)
    assert str(shapes.spec) == str(whole.spec)
    assert all(value.is_meta for value in shapes.parameters())

    def told(emulator: nn.Module) -> list[tuple[object, ...]]:
        return [
            (f.name, f.parameter.shape, f.parameter.dtype, f.num_degrees)
            for f in find_filters(emulator)
        ]

    assert told(shapes) == told(whole)


#: Peaks of a process that opens a checkpoint: before, and in the end, bytes.
_PEAKS = """
import sys
from pathlib import Path
from respeval.checkpoints.native import load_checkpoint
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
load_checkpoint(Path(sys.argv[1]))
before = peak()
load_checkpoint(Path(sys.argv[2]), with_weights=sys.argv[3] == "True")
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("with_weights", "least", "most"), [(True, 0.95, 1.2), (False, 0.0, 0.25)])
def test_weights_are_in_memory_once_or_not_at_all(
    tmp_path: Path, with_weights: bool, least: float, most: float
) -> None:
    small = checkpoint(tmp_path / "small.pt")
    wide = manifest().architecture.model_dump()
    wide["arguments"]["embed_dim"] = 768
    large = checkpoint(tmp_path / "large.pt", architecture=wide)
    arguments = [sys.executable, "-c", _PEAKS, small, large, str(with_weights)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, env=environment())
    assert large.stat().st_size > 64 * 2**20
    assert least <= int(done.stdout) / large.stat().st_size <= most
