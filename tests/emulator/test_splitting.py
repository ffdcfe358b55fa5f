"""Emulators that are split over processes: the same numbers, the same gradients, or a refusal."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch_harmonics import InverseRealSHT, RealSHT

from respeval.checkpoints import open_checkpoint
from respeval.checkpoints.native import load_checkpoint
from respeval.distributed.mesh import Mesh
from respeval.emulator.computing import check_precision, compiled, computing_in
from respeval.emulator.splitting import check_split, localize, most_parts
from respeval.emulator.transforms import fast_transforms
from respeval.errors import InputError
from respeval.fields.grid import Grid
from respeval.fields.split_transform import split_transform
from respeval.planet.emulator import PlanetEmulator
from tests.support import splitting, studies
from tests.support.splitting import PLANET, VARIANTS
from tests.support.studies import GRID
from tests.support.toy import Toy

#: `make soak` has more: `--kills 100`.
LAYOUTS = [(2, 1), (1, 2), pytest.param((2, 2), marks=pytest.mark.th080)]
MORE_LAYOUTS = [(3, 1), (1, 4), (3, 2)]

#: Of a field's spread after 20 steps; float32 rounds to 6e-8, and differences grow. Gradients are held
#: against the whole's in float64.
TOLERANCE = 5e-5


@functools.cache
def whole(name: str) -> tuple[Any, torch.Tensor, dict[str, torch.Tensor]]:
    """An emulator that is not split, its rollout and its gradients."""
    emulator = splitting.build(name)
    rollout = splitting.rollout(emulator, Mesh())
    has_weights = isinstance(emulator, torch.nn.Module)
    return emulator, rollout, splitting.gradients(emulator, Mesh()) if has_weights else {}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "parts" in metafunc.fixturenames:
        many = metafunc.config.getoption("--kills") >= 100
        layouts = LAYOUTS + (MORE_LAYOUTS if many else [])
        name = "{0[0]}x{0[1]}".format
        metafunc.parametrize("parts", layouts, indirect=True, ids=name, scope="module")


@pytest.fixture(scope="module")
def parts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A layout, and what its processes have of all networks."""
    folder = tmp_path_factory.mktemp("parts")
    return request.param, splitting.split(request.param, folder, [*VARIANTS, PLANET])


@pytest.mark.parametrize("name", [*VARIANTS, PLANET])
def test_blocks_are_those_of_the_whole(parts: Any, name: str) -> None:
    layout, found = parts
    emulator, expected, _ = whole(name)
    got = splitting.joined([part[name][0] for part in found], emulator, layout)
    spread = expected[-1].flatten(-2).std(-1).mean(0)
    error = (got[-1] - expected[-1]).abs().amax((0, 2, 3)) / spread
    assert error.max() < TOLERANCE, (name, layout, error)


@pytest.mark.parametrize("name", VARIANTS)
def test_gradients_are_those_of_the_whole(parts: Any, name: str) -> None:
    layout, found = parts
    _, _, expected = whole(name)
    for place, part in enumerate(found):
        mesh, gradients = Mesh(*layout).at(place), part[name][1]
        assert gradients.keys() == expected.keys()
        for weight, got in gradients.items():
            own = own_part(weight, expected[weight], mesh)
            error = (got - own).abs().max() / expected[weight].abs().max().clamp(min=1.0)
            assert error <= 1e-10, (name, layout, weight, error)


def own_part(weight: str, values: torch.Tensor, mesh: Mesh) -> torch.Tensor:
    """What a process holds of a weight's gradient."""
    if weight.endswith("global_conv.weight"):
        return values[..., mesh.of_height(values.shape[-1])]
    if values.ndim in (2, 4) and (".norm." in weight or weight.startswith("pos_embed.")):
        columns = mesh.of_width(values.shape[-1]) if values.shape[-1] > 1 else slice(None)
        return values[..., mesh.of_height(values.shape[-2]), columns]
    return values


def test_without_a_split_no_bit_changes() -> None:
    for name in ("everything", PLANET):
        emulator, expected, _ = whole(name)
        emulator = splitting.build(name)
        localize(emulator, Mesh())
        assert torch.equal(splitting.rollout(emulator, Mesh(), 2), expected[:2])


@pytest.mark.th080
def test_a_process_keeps_its_part_of_the_filters_and_tables_alone() -> None:
    emulator = splitting.build("plain")
    convolution = emulator.network.blocks[0].global_conv
    filters, table = convolution.weight, convolution.forward_transform.weights
    mesh = Mesh(3, 2, row=1)
    localize(emulator, mesh)
    for part, given in (
        (convolution.weight, filters),
        (convolution.forward_transform.table, table),
    ):
        assert part.untyped_storage().nbytes() == part.nbytes < given.nbytes / 2
    assert torch.equal(convolution.weight, filters[..., 8:16])
    assert convolution.forward_transform is emulator.network.trans_down
    assert emulator.spec.grid.shape == (24, 48)


def test_shapes_alone_are_split_too(tmp_path: Path) -> None:
    grid = Grid.legendre_gauss(120, 240)  # so large that its tables are left out
    emulator = load_checkpoint(studies.checkpoint(tmp_path / "a.pt", grid=grid), with_weights=False)
    localize(emulator, Mesh(2, 1))
    parts = list(emulator.network.parameters()) + list(emulator.network.buffers())
    assert all(part.is_meta for part in parts)
    assert {part.shape[-1] for part in parts if part.is_complex()} == {60}
    assert {part.shape for part in emulator.network.buffers()} == {(120, 120, 60), (120, 60, 120)}


def test_a_planet_stays_split_on_its_device() -> None:
    planet = PlanetEmulator(GRID)
    localize(planet, Mesh(2, 2, column=1))
    moved = planet.to(torch.device("cpu"))
    assert moved is not planet
    assert moved.climate.ocean.shape == (GRID.num_lat // 2, GRID.num_lon // 2)
    assert moved.climate.ocean.equal(PlanetEmulator(GRID).climate.ocean[:4, 8:])


def test_the_most_parts_are_rows_columns_degrees_and_orders() -> None:
    assert most_parts(splitting.build("plain")) == (24, 24)
    assert most_parts(splitting.build("truncated")) == (12, 12)
    assert most_parts(PlanetEmulator(GRID)) == (8, 8)
    assert most_parts(Toy()) is None


@pytest.mark.parametrize(
    ("name", "layout", "message"),
    [
        (
            "plain",
            (25, 1),
            "m.pt can't be split into 25x1 parts: its network has 24 rows, so that 24",
        ),
        (
            "truncated",
            (13, 1),
            "its network has 12 degrees, so that 12 parts in latitude are the most",
        ),
        ("plain", (1, 25), "its network has 24 orders, so that 24 parts in longitude are the most"),
    ],
)
def test_too_many_parts_are_refused(name: str, layout: tuple[int, int], message: str) -> None:
    with pytest.raises(InputError) as refusal:
        check_split(splitting.build(name), *layout, "m.pt")
    assert message in str(refusal.value)


def test_what_fits_is_not_refused() -> None:
    emulator = splitting.build("truncated")
    for layout in ((1, 1), (12, 1), (1, 12)):
        check_split(emulator, *layout, "m.pt")
    check_split(Toy(), 1, 1, "m.pt")


def test_an_emulator_of_a_reader_without_localize_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="toy can't be split .*reader's Toy has no `localize`"):
        check_split(Toy(), 2, 1, "toy")


def test_an_exported_program_is_refused_by_name(tmp_path: Path) -> None:
    native = studies.checkpoint(tmp_path / "a.pt")
    exported = open_checkpoint(studies.export_native(native, tmp_path / "a.pt2"), {})
    assert most_parts(exported) is None
    with pytest.raises(InputError, match="a.pt2 can't be .* fixed program on the whole grid"):
        check_split(exported, 2, 1, str(tmp_path / "a.pt2"))


@pytest.mark.th080
def test_tables_that_are_laid_out_in_another_way_are_refused() -> None:
    """As those of a later library may be: whatever is multiplied then, it is a wrong number."""
    for transform, changed in ((RealSHT, "weights"), (InverseRealSHT, "pct")):
        there = transform(8, 16, lmax=8, mmax=8, grid="legendre-gauss")
        forward, tables = there.forward, getattr(there, changed).clone()
        there.forward = lambda *given, run=forward: 1.001 * run(*given)
        with pytest.raises(InputError, match="laid out in another way"):
            split_transform(there, Mesh(2, 1))
        assert getattr(there, changed).equal(tables)


def test_what_is_for_whole_fields_is_refused_where_they_are_split() -> None:
    emulator = splitting.build("plain")
    localize(emulator, Mesh(2, 1))
    bfloat16 = computing_in("bfloat16", emulator, torch.device("cpu"))
    for asked, within in (
        ("--fast-transforms", fast_transforms(emulator)),
        ("--compile", compiled(emulator)),
        ("precision bfloat16", bfloat16),
    ):
        with pytest.raises(InputError, match=f"{asked} is for whole fields"), within:
            pass
    check_precision(emulator, "float32", torch.device("cpu"))
