"""The spectral filters of every network that fme builds: weights of degree l act on degree l alone."""

from __future__ import annotations

import datetime
import itertools
from typing import Any

import pytest
import torch
from fme.ace.step.fcn3 import FCN3Config
from fme.core.coordinates import LatLonCoordinates
from fme.core.dataset_info import DatasetInfo
from fme.core.registry import ModuleSelector
from torch import nn
from torch_harmonics.sht import RealSHT

from respeval.fields.grid import Grid
from respeval.loss_probe.filters import SpectralFilter, find_filters

GRID = Grid.legendre_gauss(8, 18)
WIDTH = 4

PLAIN = "SphericalFourierNeuralOperatorNet"
MAKANI = "SFNO-v0.1.0"
STOCHASTIC = "NoiseConditionedSFNO"

#: (builder, its options, names of the filters of one block).
NETWORKS: list[tuple[str, dict[str, Any], list[str]]] = [
    (STOCHASTIC, {}, ["weight"]),
    (STOCHASTIC, {"filter_num_groups": 2}, ["weight"]),
    (STOCHASTIC, {"filter_num_groups": 2, "spectral_lora_rank": 1}, ["weight", "lora_A", "lora_B"]),
    (STOCHASTIC, {"spectral_ratio": 0.5}, ["weight"]),
    (STOCHASTIC, {"filter_type": "makani-linear"}, ["weight"]),
    (STOCHASTIC, {"filter_type": "makani-linear", "filter_num_groups": 2}, ["weight"]),
    (PLAIN, {"operator_type": "dhconv"}, ["weight"]),
    (PLAIN, {"operator_type": "diagonal"}, ["weight"]),
    (PLAIN, {"operator_type": "dhconv", "scale_factor": 2}, ["weight"]),
    (PLAIN, {"operator_type": "dhconv", "hard_thresholding_fraction": 0.75}, ["weight"]),
    (
        PLAIN,
        {"operator_type": "l-dependant", "filter_type": "non-linear", "spectral_layers": 2},
        ["w.0", "w.1", "wout"],
    ),
    (MAKANI, {"operator_type": "dhconv", "scale_factor": 1}, ["weight"]),
]
for operator, separable in itertools.product(("dhconv", "diagonal"), (False, True)):
    options = {"operator_type": operator, "separable": separable}
    factor = f"weight.factors.factor_{1 if separable else 2}"
    NETWORKS.append((PLAIN, {**options, "factorization": "dense"}, ["weight.tensor"]))
    for kind in ("cp", "tt"):
        factored = {**options, "factorization": kind, "rank": 0.5}
        NETWORKS.append((PLAIN, factored, [factor]))
    if not separable:
        scaled = {**options, "scale_factor": 1, "rank": 0.5}
        dense = {**scaled, "factorization": "ComplexDense"}
        NETWORKS.append((MAKANI, dense, ["weight.tensor"]))
        for kind in ("ComplexCP", "ComplexTT"):
            NETWORKS.append((MAKANI, {**scaled, "factorization": kind}, [factor]))


def dataset_info() -> DatasetInfo:
    coordinates = LatLonCoordinates(
        lat=torch.tensor(GRID.latitude[::-1].copy(), dtype=torch.float32),
        lon=torch.tensor(GRID.longitude, dtype=torch.float32),
    )
    return DatasetInfo(horizontal_coordinates=coordinates, timestep=datetime.timedelta(hours=6))


def build(kind: str, options: dict[str, Any]) -> nn.Module:
    torch.manual_seed(0)
    config = {"embed_dim": WIDTH, "num_layers": 2, **options}
    if kind == STOCHASTIC:
        config |= {"noise_embed_dim": 2}
    network: nn.Module = ModuleSelector(type=kind, config=config).build(3, 2, dataset_info())
    return network.torch_module


def owner(network: nn.Module, entry: SpectralFilter) -> nn.Module:
    """The module that a filter's parameter belongs to, with the transforms."""
    path = entry.name
    while True:
        path = path.rpartition(".")[0]
        module = network.get_submodule(path)
        if hasattr(module, "inverse_transform"):
            return module


def changed_degrees(module: nn.Module, entry: SpectralFilter, index: Any) -> torch.Tensor:
    """Size of the change of each degree of the output, [l], where some weights are changed."""
    transform, inverse = module.forward_transform, module.inverse_transform
    draw = torch.Generator().manual_seed(1)
    num_channels = getattr(module, "in_channels", WIDTH)
    field = torch.randn(2, num_channels, transform.nlat, transform.nlon, generator=draw)
    aim = RealSHT(inverse.nlat, inverse.nlon, grid="legendre-gauss", lmax=inverse.nlat)
    with torch.no_grad():
        before = module(field)[0]
        kept = entry.parameter.clone()
        entry.parameter[index] += 0.5
        after = module(field)[0]
        entry.parameter.copy_(kept)
        return aim((after - before).double()).abs().amax(dim=(0, 1, 3))


@pytest.mark.parametrize(("kind", "options", "names"), NETWORKS, ids=str)
def test_weights_of_a_degree_change_this_degree_alone(kind, options, names) -> None:
    network = build(kind, options)
    found = find_filters(network)
    expected = [f"blocks.{block}.filter.filter.{name}" for block in (0, 1) for name in names]
    assert [entry.name.removeprefix("conditional_model.") for entry in found] == expected
    for entry in found:
        check(owner(network, entry), entry)


def test_filters_of_fourcastnet_3_are_those_of_its_global_blocks() -> None:
    torch.manual_seed(0)
    config = FCN3Config(scale_factor=1, num_layers=2, sfno_block_frequency=2, atmo_embed_dim=2)
    network = config.build(2, 2, 2, 2, 0, 0, dataset_info())
    (entry,) = find_filters(network)
    assert entry.name == "blocks.0.global_conv.weight"
    check(owner(network, entry), entry)


def check(module: nn.Module, entry: SpectralFilter) -> None:
    with torch.no_grad():  # low-rank updates start from zero
        draw = torch.Generator().manual_seed(2)
        entry.parameter.add_(0.1 * torch.randn(entry.parameter.shape, generator=draw))
        if hasattr(module, "lora_B") and module.lora_B is not None:
            module.lora_B.add_(0.1 * torch.randn(module.lora_B.shape, generator=draw))
    assert entry.num_degrees == module.inverse_transform.lmax
    for degree in range(entry.num_degrees):
        index: list[Any] = [slice(None)] * entry.parameter.ndim
        index[entry.degree_axis] = degree
        change = changed_degrees(module, entry, tuple(index))
        others = torch.cat([change[:degree], change[degree + 1 :]])
        assert change[degree] > 0
        assert others.max() < 1e-4 * change[degree]
        for axis in entry.order_axes:
            index[axis] = slice(degree + 1, None)
            assert changed_degrees(module, entry, tuple(index)).max() < 1e-6


def test_filters_of_a_plain_fourier_transform_are_none() -> None:
    assert find_filters(build(MAKANI, {"scale_factor": 1, "spectral_transform": "fft"})) == []
    assert find_filters(build(PLAIN, {"filter_type": "non-linear"})) == []  # the same for all l
