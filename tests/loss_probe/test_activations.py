"""What a probe keeps for the way back, what runs again, and the choice between them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from respeval.checkpoints.native import load_checkpoint
from respeval.distributed.comm import Comm
from respeval.loss_probe import footprint as footprint_module
from respeval.loss_probe.activations import (
    DrawsError,
    Kept,
    blocks_of,
    called_through,
    measure_kept,
    run_again,
)
from respeval.loss_probe.arms import PerSample, Plain
from respeval.loss_probe.filters import SpectralFilter, find_filters
from respeval.loss_probe.footprint import Footprint
from respeval.loss_probe.plan import ProbeSettings, plan_probe
from respeval.loss_probe.probing import ProbeReporter, run_probe
from respeval.loss_probe.profile import ProbeSums
from tests.support.invoking import invoke
from tests.support.studies import checkpoint
from tests.support.training import training

SIZE = 1000


class Block(nn.Module):
    """Keeps the exponential, which is the sine's input too: one memory, and the weighted product's."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(SIZE))
        self.calls = 0

    def forward(self, field: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return field.exp().sin() * self.weight


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])

    def forward(self, field: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            field = block(field)
        return field.tanh()


def filters(network: Net) -> list[SpectralFilter]:
    return [
        SpectralFilter(f"blocks.{i}.weight", block.weight, 0)
        for i, block in enumerate(network.blocks)
    ]


def test_what_is_kept_is_counted_once_beside_and_inside_blocks() -> None:
    network = Net()
    blocks = blocks_of(network, filters(network))
    assert blocks == list(network.blocks)
    field = torch.rand(SIZE, requires_grad=True)
    kept = measure_kept(network, blocks, lambda: network(field))
    field_bytes = 4 * SIZE
    assert kept.beside == field_bytes  # of the hyperbolic tangent
    assert kept.inputs == 2 * field_bytes
    assert kept.inside == (2 * field_bytes, 2 * field_bytes)  # the exponential and the sine
    assert kept.can_repeat
    assert kept.graph("nothing", 3) == 3 * 5 * field_bytes
    assert kept.graph("blocks", 3) == 3 * (1 + 2 + 2) * field_bytes
    assert kept.graph("trajectories", 3) == (1 + 2 + 2) * field_bytes
    assert "forward" not in vars(network.blocks[0])


def test_blocks_run_again_once_for_each_way_back_and_give_the_same() -> None:
    network, field = Net(), torch.rand(SIZE)
    weights = list(network.parameters())

    def gradients() -> list[torch.Tensor]:
        outputs = network(field)
        first = torch.autograd.grad(outputs, weights, torch.ones(SIZE), retain_graph=True)
        return [*first, *torch.autograd.grad(outputs, weights, torch.arange(float(SIZE)))]

    expected = gradients()
    assert [block.calls for block in network.blocks] == [1, 1]
    with called_through(list(network.blocks), run_again):
        found = gradients()
    assert [block.calls for block in network.blocks] == [4, 4]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_a_block_that_draws_is_not_run_again() -> None:
    class Noisy(Block):
        def forward(self, field: torch.Tensor) -> torch.Tensor:
            return super().forward(field + torch.randn(SIZE))

    network = Net()
    network.blocks[1] = Noisy()
    blocks = list(network.blocks)
    kept = measure_kept(network, blocks, lambda: network(torch.rand(SIZE)))
    assert not kept.can_repeat
    assert kept.graph("blocks", 1) == kept.graph("nothing", 1)
    with called_through(blocks, run_again), pytest.raises(DrawsError):
        network(torch.rand(SIZE))


def test_the_first_way_that_fits_is_taken() -> None:
    kept = Kept(beside=10, inputs=20, inside=(1000, 1000), can_repeat=True)
    found = Footprint(kept, 100, 1.0, 4, 2, fields=0, sums=5, gradients=50, largest=25)
    assert found.memory("nothing") == 4 * 2110 + 5 + 50
    assert found.memory("blocks") == 4 * 1130 + 5 + 50
    assert found.memory("trajectories") == 1130 + 5 + 50 + 100
    share = 0.5
    assert found.choice(int(8495 / share) + 1) == "nothing"
    assert found.choice(int(8495 / share) - 1) == "blocks"
    assert found.choice(int(4575 / share) - 1) == "trajectories"
    assert found.choice(0) == "trajectories"
    assert found.seconds("nothing") == 4 * 5
    assert found.seconds("blocks") == 4 * 7
    assert found.seconds("trajectories") == 4 * 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("activations")
    checkpoint(made / "noisy.pt", num_noise_channels=2)
    training().to_netcdf(made / "training.nc")
    return made


def probed(folder: Path, **options: Any) -> ProbeSums:
    path = folder / "noisy.pt"
    settings = ProbeSettings(num_batches=2, batch_size=3, arms=(Plain(), PerSample()), **options)
    plan = plan_probe(load_checkpoint(path), settings, str(folder / "training.nc"), None, path)
    return run_probe(plan, Comm(), ProbeReporter())


def test_every_way_gives_the_same_gradients(folder: Path) -> None:
    kept = probed(folder, recompute="nothing")
    blocks = probed(folder, recompute="blocks")
    for first, second in zip(kept.filter_sum, blocks.filter_sum, strict=True):
        assert torch.equal(first, second)
    single = probed(folder, recompute="trajectories")
    for first, second in zip(kept.filter_square, single.filter_square, strict=True):
        np.testing.assert_allclose(
            second, first, rtol=1e-4
        )  # batches of another size round otherwise


def test_a_native_network_s_blocks_are_those_of_its_filters(folder: Path) -> None:
    emulator = load_checkpoint(folder / "noisy.pt")
    found = blocks_of(emulator, find_filters(emulator))
    assert found == list(emulator.network.blocks)  # type: ignore[arg-type]


def test_what_does_not_fit_runs_again_and_is_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["gradient-probe", folder / "noisy.pt", "--data", folder / "training.nc"]
    arguments += ["--batches", 2, "--batch-size", 2]
    assert "runs again" not in invoke(*arguments, "-o", tmp_path / "all")
    monkeypatch.setattr(footprint_module, "_SHARE", 0.0)
    monkeypatch.setattr("respeval.loss_probe.probing.free_memory", lambda device: 4096)
    told = " ".join(invoke(*arguments, "-o", tmp_path / "little").split())
    assert "each trajectory runs again, block by block on the way back" in told
    assert "4 KiB are free" in told


def test_a_dry_run_tells_memory_and_time_and_writes_nothing(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["gradient-probe", folder / "noisy.pt", "--data", folder / "training.nc"]
    told = invoke(*arguments, "--batches", 2, "--batch-size", 2, "-o", out, "--dry-run")
    assert not out.exists()
    rows = [line for line in told.splitlines() if "runs again" in line]
    assert len(rows) == 3
    assert ["taken" in row for row in rows] == [True, False, False]
    assert all(re.search(r"\d [KM]iB", row) for row in rows)
