"""`respeval gradient-probe --spatial`: the profile of one process, from fields that are split."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn
from typer.testing import CliRunner

from respeval.checkpoints.native import load_checkpoint
from respeval.cli import app
from respeval.errors import InputError
from respeval.fields.grid import Grid
from respeval.loss_probe.filters import SpectralFilter
from respeval.loss_probe.plan import check_probe_split
from tests.support.forking import Ended, Peers
from tests.support.studies import checkpoint
from tests.support.training import training

ARMS = ("--arm", "none", "--arm", "per_sample", "--arm", "spectral_power")
SIZE = ("--batches", "4", "--batch-size", "2", "--finite-difference-weight", "0.2")

#: Of gradients in float32, summed in another order.
SAME = 1e-5


@pytest.fixture(scope="module")
def peers() -> Iterator[Peers]:
    started = Peers()
    yield started
    started.close()


@pytest.fixture(scope="module", params=["none", "layer_norm", "instance_norm"])
def probed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a stochastic checkpoint, its data, and the probe of one process.

    Rows run to the north, 13 of them: blocks are uneven.
    """
    folder = tmp_path_factory.mktemp("probed")
    grid = Grid.legendre_gauss(13, 26)
    grid = Grid(grid.latitude[::-1].copy(), grid.longitude, grid.kind)
    arguments = {"embed_dim": 4, "num_layers": 2, "normalization_layer": request.param}
    arguments |= {"pos_embed": "learnable latlon"}
    transform = {"lmax": 13, "mmax": 13, "grid": grid.kind}
    architecture = {"name": "sfno", "arguments": arguments, "transform": transform}
    checkpoint(folder / "c.pt", grid=grid, num_noise_channels=2, architecture=architecture)
    training(grid).to_netcdf(folder / "data.nc")
    done = CliRunner().invoke(app, options(folder, folder / "alone"))
    assert done.exit_code == 0, done.output
    return folder


def options(folder: Path, out: Path, *more: str) -> list[str]:
    given = ["gradient-probe", folder / "c.pt", "--data", folder / "data.nc", "-o", out]
    return [*map(str, given), *ARMS, *SIZE, *more]


def run(peers: Peers, folder: Path, out: Path, layout: str, num_data: int, *more: str) -> Ended:
    height, width = map(int, layout.split("x"))
    given = options(folder, out, "--spatial", layout, *more)
    return peers.call("tests.support.faults:run", num_data * height * width, 120.0, arguments=given)


@pytest.mark.parametrize(
    ("layout", "num_data", "more"),
    [
        ("2x1", 1, ()),
        ("1x2", 1, ("--checkpoint-activations",)),
        ("2x2", 1, ("--input-noise", "0.1")),
        ("2x1", 2, ("--checkpoint-activations", "--batches", "4")),
    ],
)
def test_a_split_network_has_the_profile_of_a_whole_one(
    peers: Peers,
    probed: Path,
    tmp_path: Path,
    layout: str,
    num_data: int,
    more: tuple[str, ...],
) -> None:
    alone = probed / "alone"
    if "--input-noise" in more:
        alone = tmp_path / "alone"
        done = CliRunner().invoke(app, options(probed, alone, *more))
        assert done.exit_code == 0, done.output
    ended = run(peers, probed, tmp_path / "out", layout, num_data, *more)
    assert set(ended.codes) == {0}, ended.errors
    with (
        xr.open_dataset(tmp_path / "out/gradient_profile.nc") as got,
        xr.open_dataset(alone / "gradient_profile.nc") as wanted,
    ):
        assert list(got.variables) == list(wanted.variables)
        # A norm over the globe takes the mean away: of degree 0 there is rounding alone, and its ratio.
        has_gradient = wanted["grad_rms"] > SAME * wanted["grad_rms"].max()
        assert has_gradient.mean() > 0.9
        for name, values in wanted.data_vars.items():
            if values.dtype.kind != "f":
                continue
            found = got[name]
            if name == "grad_snr":
                found, values = found.where(has_gradient), values.where(has_gradient)
            least = SAME * float(np.abs(values).max())
            np.testing.assert_allclose(found, values, rtol=10 * SAME, atol=least, err_msg=str(name))
    first, second = (
        json.loads((f / "summary.json").read_text()) for f in (alone, tmp_path / "out")
    )
    assert second.keys() == first.keys()


def test_data_that_are_missing_end_all_processes_with_one_line(
    peers: Peers, probed: Path, tmp_path: Path
) -> None:
    with xr.open_dataset(probed / "data.nc", decode_times=False) as data:
        broken = data.load().copy(deep=True)
    broken["skin"][:, 0, 0] = np.nan
    broken.to_netcdf(tmp_path / "data.nc")
    (tmp_path / "c.pt").symlink_to(probed / "c.pt")
    ended = run(peers, tmp_path, tmp_path / "out", "2x1", 2)
    assert set(ended.codes) == {2}, ended.errors
    assert "".join(ended.errors).count("respeval: ") == 1
    assert "skin is missing" in "".join(ended.errors)


def test_filters_with_weights_for_each_order_are_refused(probed: Path) -> None:
    emulator = load_checkpoint(probed / "c.pt")
    by_order = SpectralFilter("a", nn.Parameter(torch.zeros(2, 13, 13)), 1, (2,))
    plan: Any = SimpleNamespace(emulator=emulator, checkpoint="c.pt", filters=(by_order,))
    check_probe_split(plan, 1, 1)
    with pytest.raises(InputError, match="the filters a have weights for each order"):
        check_probe_split(plan, 2, 1)
