"""fme's networks with fast transforms: the same numbers, for every convolution they have."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from fme.ace.models.modulus.sfnonet import SphericalFourierNeuralOperatorNet
from fme.core.models.conditional_sfno.s2convolutions import SpectralConvS2
from fme.sht_fix import InverseRealSHT, RealSHT
from torch import nn
from torch_harmonics.examples.models.sfno import SphericalFourierNeuralOperator

from respeval.emulator.transforms import fast_transforms
from respeval.errors import InputError
from tests.support.ace.files import AceFiles, run_respeval
from tests.support.studies import numbers


def error(given: torch.Tensor, usual: torch.Tensor) -> float:
    return float((given - usual).square().mean().sqrt() / usual.square().mean().sqrt())


def both(module: nn.Module, fields: torch.Tensor, num_convolutions: int) -> Any:
    """What the module gives in its fast form, and as it is."""
    emulator: Any = SimpleNamespace(network=module)
    with torch.inference_mode():
        usual = module(fields)
        with fast_transforms(emulator) as replaced:
            given = module(fields)
    assert replaced == (num_convolutions, num_convolutions)
    return given, usual


@pytest.mark.parametrize("grid", ["equiangular", "legendre-gauss"])
@pytest.mark.parametrize("shape", [(12, 24), (13, 26)])
def test_ace2_s_network(shape: tuple[int, int], grid: str) -> None:
    """Its first and its last residual go through both transforms where its inner grid is another."""
    torch.manual_seed(0)
    network = SphericalFourierNeuralOperatorNet(
        params=SimpleNamespace(data_grid=grid),
        img_shape=shape,
        scale_factor=1,
        in_chans=3,
        out_chans=2,
        embed_dim=8,
        num_layers=3,
        filter_type="linear",
        operator_type="dhconv",
    ).eval()
    assert error(*both(network, torch.randn(2, 3, *shape), 3)) < 1e-5


@pytest.mark.parametrize("num_groups", [1, 2])
@pytest.mark.parametrize("filter_residual", [False, True])
def test_the_convolution_of_stochastic_networks(num_groups: int, filter_residual: bool) -> None:
    torch.manual_seed(0)
    there, back = RealSHT(9, 18, 8, 8), InverseRealSHT(9, 18, 8, 8)
    module = SpectralConvS2(there, back, 4, 4, num_groups, True, filter_residual)
    for given, usual in zip(*both(module, torch.randn(3, 4, 9, 18), 1), strict=True):
        assert error(given, usual) < 1e-6


@pytest.mark.parametrize(
    ("settings", "num_orders"),
    [
        ({"lora_rank": 2}, 8),
        ({"preserve_global_mean": True}, 8),
        ({"spectral_ratio": 0.5}, 8),
        ({}, 12),  # more than there are waves
    ],
)
def test_a_convolution_that_does_more_stays_as_it_is(
    settings: dict[str, Any], num_orders: int
) -> None:
    there, back = RealSHT(9, 18, 8, num_orders), InverseRealSHT(9, 18, 8, num_orders)
    module = SpectralConvS2(there, back, 4, 4, **settings)
    emulator: Any = SimpleNamespace(network=module)
    with pytest.raises(InputError, match="leave it out"), fast_transforms(emulator):
        pass


def test_torch_harmonics_own_network_in_fme_s_environment() -> None:
    torch.manual_seed(0)
    network = SphericalFourierNeuralOperator(
        img_size=(12, 24),
        grid="equiangular",
        grid_internal="equiangular",
        scale_factor=1,
        in_chans=2,
        out_chans=2,
        embed_dim=8,
        num_layers=2,
    ).eval()
    assert error(*both(network, torch.randn(2, 2, 12, 24), 2)) < 1e-5


@pytest.mark.parametrize("model", ["deterministic", "stochastic", "interpolate"])
def test_a_run_gives_the_same_means(ace: AceFiles, model: str, tmp_path: Any) -> None:
    checkpoint, found = ace.checkpoint(model), []
    for options in ([], ["--fast-transforms"]):
        folder = tmp_path / f"out{len(found)}"
        told = run_respeval(ace, checkpoint, folder, 8, "--segment=all", *options)
        assert (
            "fast transforms in 2 of 2 spectral convolutions" in " ".join(told.split())
        ) == bool(options)
        found.append(numbers(folder))
    usual, given = found
    for name in (n for n in usual if n.startswith("group_means.nc/") and usual[n].ndim == 4):
        scale = float(usual[name].std()) or 1.0
        np.testing.assert_allclose(
            given[name], usual[name], rtol=0, atol=1e-4 * scale, err_msg=name
        )
