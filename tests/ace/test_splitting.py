"""ACE models that are split over processes: the same trajectories and gradients, or a refusal."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fme.core.gridded_ops import LatLonOperations

from respeval.checkpoints import open_checkpoint
from respeval.checkpoints.ace.splitting import _GlobalMean
from respeval.distributed.mesh import Mesh, Tile
from respeval.emulator.splitting import check_split, localize, most_parts
from respeval.errors import InputError
from tests.support.ace import splitting
from tests.support.ace.files import AceFiles
from tests.support.ace.splitting import CONDITIONED, MODELS, NETWORKS
from tests.support.splitting import joined

LAYOUTS = [(2, 1), (1, 2), (2, 2)]


@functools.cache
def whole_model(name: str) -> tuple[Any, torch.Tensor]:
    emulator = splitting.model(name)
    return emulator, splitting.rollout(emulator, Mesh())


@functools.cache
def whole_network(name: str) -> dict[str, torch.Tensor]:
    return splitting.response(splitting.network(name), Mesh(), NETWORKS[name][2])


@pytest.fixture(scope="module", params=LAYOUTS, ids="{0[0]}x{0[1]}".format)
def parts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A layout, and what its processes have of all models and networks."""
    folder = tmp_path_factory.mktemp("parts")
    return request.param, splitting.split(request.param, folder, [*MODELS, *NETWORKS])


@pytest.mark.parametrize("name", MODELS)
def test_a_model_s_blocks_are_those_of_the_whole(parts: Any, name: str) -> None:
    layout, found = parts
    emulator, expected = whole_model(name)
    got = joined([part[name] for part in found], emulator, layout)
    spread = expected[-1].flatten(-2).std(-1).mean(0)
    error = (got[-1] - expected[-1]).abs().amax((0, 2, 3)) / spread
    assert error.max() < 1e-4, (name, layout, error)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_s_outputs_and_gradients_are_those_of_the_whole(parts: Any, name: str) -> None:
    layout, found = parts
    expected = whole_network(name)
    for place, part in enumerate(found):
        mesh, response = Mesh(*layout).at(place), part[name]
        assert response.keys() == expected.keys()
        for key, got in response.items():
            own = own_part(name, key, expected[key], mesh)
            error = (got - own).abs().max() / expected[key].abs().max().clamp(min=1.0)
            assert error < 1e-10, (name, layout, key, error)


def own_part(name: str, key: str, values: torch.Tensor, mesh: Mesh) -> torch.Tensor:
    """What a process has: of fields its block, of filters its degrees, and orders where they have some."""
    kind, changes, shape = NETWORKS[name]
    if values.ndim > 1 and values.shape[-2:] == shape:
        return mesh.tile(shape, north_to_south=False).of(values)
    if not key.endswith((".filter.weight", ".lora_A", ".lora_B")) or "filter.filter" not in key:
        return values
    if kind == CONDITIONED and name != "makani":  # [group, degree, output, input, 2]
        return values[:, mesh.of_height(values.shape[1])]
    axis = (
        3 if name == "makani" else 2
    )  # [group, input, output, degree], [input, output, degree, …]
    values = values.movedim(axis, 0)[mesh.of_height(values.shape[axis])].movedim(0, axis)
    if changes.get("operator_type", "diagonal") == "diagonal" and kind != CONDITIONED:
        values = values[:, :, :, mesh.of_width(values.shape[3])]
    return values


@pytest.mark.parametrize("name", MODELS)
def test_the_most_parts_are_rows_columns_degrees_and_orders(name: str) -> None:
    emulator = splitting.model(name)
    assert most_parts(emulator) == (16, 17)
    check_split(emulator, 16, 17, "ckpt.tar")
    with pytest.raises(InputError, match="17 orders, so that 17 parts in longitude are the most"):
        check_split(emulator, 1, 18, "ckpt.tar")


def test_a_model_stays_split_where_it_is_built_anew() -> None:
    """As on a GPU, for which fme's parts are made once more."""
    emulator = splitting.model("stochastic")
    localize(emulator, Mesh(2, 2, row=1))
    expected = {name: value.clone() for name, value in emulator.network.state_dict().items()}
    buffers = dict(emulator.network.named_buffers())
    before, emulator._device = emulator.network, torch.device("cuda")
    emulator.to(torch.device("cpu"))
    assert emulator.network is not before
    state = emulator.network.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in expected)
    assert all(torch.equal(b, buffers[name]) for name, b in emulator.network.named_buffers())
    assert state["pos_embed"].shape[-2:] == (8, 16)


def drop_means(emulator: Any) -> None:
    emulator._stepper[0]._step_obj._global_mean_removal = object()


def mask(emulator: Any) -> None:
    masks = SimpleNamespace(get_state=lambda: {"masks": {"mask_2d": None}})
    emulator._stepper[0]._output_masking = SimpleNamespace(_mask=masks)


def correct(emulator: Any) -> None:
    emulator._stepper[0]._step_obj._corrector._corrections.append(lambda *given: ({}, None))


def average(emulator: Any) -> None:
    correction = emulator._stepper[0]._step_obj._corrector._corrections[1]
    correction.area_weighted_mean = lambda data, keepdim=False: data.mean((-2, -1), keepdim)


def step_otherwise(emulator: Any) -> None:
    emulator._stepper[0]._step_obj = SimpleNamespace(modules=emulator._stepper[0].modules)


def clip(emulator: Any) -> None:
    emulator.network.conditional_model._clip_latent_global_means = True


def make_local(emulator: Any) -> None:
    emulator.network.conditional_model.local_blocks = [0]


def widen(emulator: Any) -> None:
    emulator.network.conditional_model.encoder[0] = torch.nn.Conv2d(25, 16, 3, padding=1)


def pool(emulator: Any) -> None:
    emulator.network.conditional_model.encoder.append(torch.nn.AvgPool2d(3, 1, 1))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (drop_means, "it takes means over the globe from its fields before the network"),
        (mask, "it masks regions of its fields"),
        (correct, "it has fme's corrector function"),
        (average, "it takes its means over the globe in a way that respeval does not know"),
        (step_otherwise, "it is stepped by fme's SimpleNamespace"),
        (clip, "it clips means over the globe within its network"),
        (make_local, "it has local (DISCO) blocks"),
        (widen, "it has convolutions of (3, 3) cells"),
        (pool, "it has layers of AvgPool2d"),
    ],
)
def test_what_can_t_be_split_is_refused_with_the_reason(
    change: Callable[[Any], None], reason: str
) -> None:
    emulator = splitting.model("stochastic")
    change(emulator)
    with pytest.raises(InputError) as refusal:
        check_split(emulator, 2, 1, "ckpt.tar")
    assert f"ckpt.tar can't be split over processes: {reason}" in str(refusal.value)
    assert most_parts(emulator) is None


def test_another_network_is_refused_by_name(ace: AceFiles) -> None:
    emulator = open_checkpoint(ace.checkpoint("interpolate"), {})
    with pytest.raises(InputError, match="fme's network SFNO-v0.1.0, and respeval splits"):
        check_split(emulator, 2, 1, "ckpt.tar")


def test_means_over_the_globe_are_over_all_blocks() -> None:
    """Of one process that has all: fme's mean, where weights are zero at the poles too."""
    weights = torch.rand(6, 1, dtype=torch.float64).expand(6, 8).clone()
    weights[0] = 0.0
    operations = LatLonOperations(weights)
    mean = _GlobalMean(operations, Mesh(), Tile.whole((6, 8)))
    data = torch.randn(3, 6, 8, dtype=torch.float64)
    data[:, 0] = torch.nan
    for keepdim in (False, True):
        expected = operations.area_weighted_mean(data, keepdim=keepdim)
        got = mean(data, keepdim=keepdim)
        assert got.shape == expected.shape
        assert torch.allclose(got, expected, rtol=1e-12)
