"""Spectral convolutions in their fast form: the library's numbers, and where it is left alone."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch_harmonics import InverseRealSHT, RealSHT
from torch_harmonics.examples.models._layers import SpectralConvS2
from torch_harmonics.examples.models.sfno import SphericalFourierNeuralOperator

from respeval.emulator import transforms
from respeval.emulator.computing import computing_in
from respeval.emulator.transforms import fast_transforms
from respeval.errors import InputError
from tests.support.invoking import invoked, refused
from tests.support.studies import numbers
from tests.support.toy import Toy

CPU = torch.device("cpu")


def convolution(
    shape: tuple[int, int] = (8, 16),
    truncation: tuple[int, int] = (8, 8),
    grid: str = "legendre-gauss",
    channels: tuple[int, int] = (3, 5),
    **settings: Any,
) -> Any:
    """A spectral convolution on a grid, with random weights and bias."""
    torch.manual_seed(0)
    there, back = (
        transform(*shape, *truncation, grid=grid, **settings).float()
        for transform in (RealSHT, InverseRealSHT)
    )
    found: Any = SpectralConvS2(there, back, *channels, bias=True)
    found.bias.data.normal_()
    return found


def holding(*modules: nn.Module) -> Any:
    """An emulator of these modules."""
    return SimpleNamespace(network=nn.ModuleList(modules))


def fast(module: Any, fields: torch.Tensor) -> Any:
    """What the module gives within `fast_transforms`, which must replace it."""
    with torch.inference_mode(), fast_transforms(holding(module)) as replaced:
        assert replaced == (1, 1)
        return module(fields)


def exactly(module: Any, fields: torch.Tensor) -> torch.Tensor:
    """The convolution in float64, spelled out with the library's transforms in float64."""
    settings = {
        name: getattr(module.forward_transform, name) for name in ("grid", "norm", "csphase")
    }
    truncation = module.modes_lat, module.modes_lon
    shapes = [(t.nlat, t.nlon) for t in (module.forward_transform, module.inverse_transform)]
    coefficients = RealSHT(*shapes[0], *truncation, **settings).double()(fields.double())
    products = torch.einsum("bilm,oil->bolm", coefficients, module.weight.to(torch.complex128))
    convolved = InverseRealSHT(*shapes[1], *truncation, **settings).double()(products)
    found: torch.Tensor = convolved + module.bias.double()
    return found.detach()


def manifest(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return content


def error(given: torch.Tensor, exact: torch.Tensor) -> float:
    """RMS of the difference over RMS."""
    return float((given - exact).square().mean().sqrt() / exact.square().mean().sqrt())


@pytest.mark.parametrize("grid", ["legendre-gauss", "equiangular", "lobatto"])
@pytest.mark.parametrize(
    ("shape", "truncation"),
    [
        ((8, 16), (8, 8)),
        ((9, 18), (8, 8)),
        ((9, 18), (8, 10)),  # orders that no degree reaches, and the shortest wave
        ((45, 90), (45, 45)),
        ((12, 15), (5, 3)),
        ((12, 15), (8, 8)),  # an odd number of longitudes, all waves
        ((13, 24), (13, 1)),
        ((40, 80), (11, 40)),
    ],
)
def test_it_is_no_worse_than_the_library(
    grid: str, shape: tuple[int, int], truncation: tuple[int, int]
) -> None:
    if grid == "lobatto":
        truncation = min(truncation[0], shape[0] - 1), truncation[1]
    module = convolution(shape, truncation, grid)
    fields = torch.randn(2, 3, *shape)
    given, residual = fast(module, fields)
    with torch.inference_mode():
        usual, usual_residual = module(fields)
    exact = exactly(module, fields)
    assert given.dtype == usual.dtype == torch.float32
    assert error(given, exact) < 1e-6
    assert error(given, exact) < 1.5 * error(usual, exact)
    assert torch.equal(residual, usual_residual)


@pytest.mark.parametrize("norm", ["ortho", "schmidt", "unnorm"])
@pytest.mark.parametrize("csphase", [True, False])
def test_every_norm_and_phase_is_read_from_the_transforms(norm: str, csphase: bool) -> None:
    module = convolution((10, 20), (6, 6), norm=norm, csphase=csphase)
    fields = torch.randn(1, 3, 10, 20)
    assert error(fast(module, fields)[0], exactly(module, fields)) < 1e-6


def test_a_single_harmonic_is_multiplied_by_its_own_weight() -> None:
    """cos(theta) is of degree 1 and order 0, which a field's real part alone has."""
    module = convolution((16, 32), (16, 16), channels=(1, 1))
    module.bias.data.zero_()
    nodes = np.polynomial.legendre.leggauss(16)[0][::-1].copy()
    field = torch.from_numpy(nodes).float()[:, None].expand(16, 32)[None, None]
    given = fast(module, field)[0]
    torch.testing.assert_close(
        given, field * module.weight[0, 0, 1].real.detach(), atol=1e-6, rtol=0
    )


def test_a_backend_gets_no_imaginary_part_where_a_field_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Some take what they are given of the mean and of the shortest wave, which weights make complex."""
    module = convolution((8, 14), (8, 8))
    assert module.modes_lon == 8
    given, usual = [], torch.fft.irfft
    monkeypatch.setattr(
        torch.fft, "irfft", lambda waves, **how: given.append(waves) or usual(waves, **how)
    )
    fast(module, torch.randn(1, 3, 8, 14))
    for waves in given:
        assert waves[..., 1:-1].imag.abs().min(-1).values.max() > 0
        assert not waves[..., [0, -1]].imag.any()


def test_fields_may_lie_anyhow_and_be_many() -> None:
    module = convolution()
    fields = torch.randn(4, 16, 8, 3).permute(0, 3, 2, 1)[1:]
    given = fast(module, fields)[0]
    one_by_one = [fast(module, field[None])[0] for field in fields]
    assert torch.equal(given, torch.cat(one_by_one))
    assert error(given, exactly(module, fields)) < 1e-6


def test_grids_may_differ_and_the_residual_goes_through_both() -> None:
    torch.manual_seed(0)
    there = RealSHT(12, 24, 6, 6, grid="equiangular").float()
    back = InverseRealSHT(9, 18, 6, 6, grid="equiangular").float()
    module = SpectralConvS2(there, back, 2, 2)
    fields = torch.randn(2, 2, 12, 24)
    given, residual = fast(module, fields)
    with torch.inference_mode():
        usual, usual_residual = module(fields)
    assert error(given, usual) < 1e-6
    assert error(residual, usual_residual) < 1e-6


def test_convolutions_share_the_tables_of_their_transforms(monkeypatch: pytest.MonkeyPatch) -> None:
    one, another = convolution(), convolution()
    another.forward_transform, another.inverse_transform = (
        one.forward_transform,
        one.inverse_transform,
    )
    made, usual = [], transforms._halves
    monkeypatch.setattr(transforms, "_halves", lambda table: made.append(table) or usual(table))
    with fast_transforms(holding(one, another)) as replaced:
        assert replaced == (2, 2)
    assert len(made) == 2


def test_gradients_are_those_of_the_network_as_it_is() -> None:
    module, fields = convolution(), torch.randn(1, 3, 8, 16)
    expected = module(fields)[0]
    with fast_transforms(holding(module)):
        given = module(fields)[0]
    assert torch.equal(given, expected)
    for output in (given, expected):
        output.square().sum().backward()
    assert module.weight.grad is not None


def test_it_is_undone_and_weights_stay_what_they_are() -> None:
    module, fields = convolution(), torch.randn(1, 3, 8, 16)
    before = copy.deepcopy(module.state_dict())
    usual = module(fields)[0]
    state = torch.get_rng_state()
    fast(module, fields)
    assert torch.equal(torch.get_rng_state(), state)
    assert "forward" not in vars(module)
    assert list(module.state_dict()) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert not module.weight.is_inference()
    torch.testing.assert_close(module(fields)[0], usual)


def test_weights_are_read_where_they_are_now() -> None:
    """Changed in place, and put elsewhere."""
    module, fields = convolution(), torch.randn(1, 3, 8, 16)
    fast(module, fields)
    for change in (
        lambda: module.weight.data.mul_(2.0),
        lambda: setattr(module.weight, "data", 3.0 * module.weight.data),
    ):
        change()
        assert error(fast(module, fields)[0], exactly(module, fields)) < 1e-6


def test_what_is_not_known_or_gives_other_numbers_is_left_alone() -> None:
    class Changed(SpectralConvS2):
        def forward(self, x: torch.Tensor) -> Any:
            return super().forward(2.0 * x)

    class Inverse(InverseRealSHT):
        pass

    known, other, uneven, subclass = (convolution() for _ in range(4))
    other.__class__ = Changed
    uneven.forward_transform.weights[3] += torch.linspace(0, 0.01, 8)  # not symmetric any more
    subclass.inverse_transform.__class__ = Inverse
    diagonal = SpectralConvS2(
        known.forward_transform, known.inverse_transform, 3, 3, operator_type="diagonal"
    )
    modules = [known, other, uneven, subclass, diagonal]
    fields = torch.randn(1, 3, 8, 16)
    with torch.inference_mode():
        usual = [module(fields)[0] for module in modules]
        with fast_transforms(holding(*modules)) as replaced:
            given = [module(fields)[0] for module in modules]
    assert replaced == (1, 5)
    assert not torch.equal(given[0], usual[0])
    torch.testing.assert_close(given, usual)
    with (
        pytest.raises(InputError, match=r"knows none .* \(Changed, SpectralConvS2\); leave it out"),
        fast_transforms(holding(*modules[1:])),
    ):
        pass


def test_an_emulator_that_names_no_network_or_has_no_convolution_is_refused() -> None:
    for emulator, told in (
        (Toy(), "needs the emulator's network"),
        (holding(nn.Linear(2, 2)), "there are none"),
    ):
        with pytest.raises(InputError, match=told), fast_transforms(emulator):
            pass


def test_convolutions_stay_float32_where_the_network_is_in_bfloat16() -> None:
    torch.manual_seed(0)
    network = SphericalFourierNeuralOperator(
        img_size=(12, 24),
        grid="legendre-gauss",
        scale_factor=1,
        in_chans=2,
        out_chans=2,
        embed_dim=8,
    ).eval()
    emulator: Any = SimpleNamespace(network=network)
    fields, seen = torch.randn(2, 2, 12, 24), []
    for block in network.blocks:
        block.global_conv.register_forward_hook(
            lambda module, given, found: seen.append((given[0].detach(), *found))
        )
    with torch.inference_mode(), computing_in("bfloat16", emulator, CPU):
        expected = network(fields)
        with fast_transforms(emulator):
            given = network(fields)
    half = len(seen) // 2
    for usual, found in zip(seen[:half], seen[half:], strict=True):
        assert [part.dtype for part in found] == [part.dtype for part in usual]
    same_input = seen[half][1].float(), seen[0][1].float()
    assert error(*same_input) < 2**-12  # bfloat16 rounds to 2^-9
    assert error(given, expected) < 2**-7


def test_a_run_tells_what_it_wins_and_gives_the_same_numbers(study: Path, tmp_path: Path) -> None:
    command = ["run", study, "--steps", 6]
    told = " ".join(invoked(*command, "-o", tmp_path / "fast", "--fast-transforms").stderr.split())
    assert "fast transforms in 2 of 2 spectral convolutions: a step takes " in told
    assert "the response of the first 4 steps differs by at most " in told
    assert "in float32 with fast transforms on 1 process" in told
    invoked(*command, "-o", tmp_path / "usual")
    given, expected = numbers(tmp_path / "fast"), numbers(tmp_path / "usual")
    assert given.keys() == expected.keys()
    means = [name for name in given if name.startswith("group_means.nc")]
    assert means
    for name in means:
        if given[name].dtype.kind == "f":
            scale = 1e-6 * max(1.0, float(abs(expected[name]).max()))
            np.testing.assert_allclose(
                given[name], expected[name], atol=scale, rtol=0, err_msg=name
            )
    measured = manifest(tmp_path / "fast")["measured"]["fast_transforms"]
    assert (measured["num_fast"], measured["num_convolutions"], measured["num_steps"]) == (2, 2, 4)
    largest = [error["largest"] for error in measured["response"].values()]
    assert all(0 < value < 1e-3 for value in largest)
    assert "measured" not in manifest(tmp_path / "usual")
    again = invoked(
        "run", study, "--steps", 8, "-o", tmp_path / "fast", "--fast-transforms", "--extend"
    )
    assert "spectral convolutions" not in again.stderr


def test_a_dry_run_takes_it_and_compile_is_refused_beside_it(study: Path, tmp_path: Path) -> None:
    command = ["run", study, "-o", tmp_path / "out", "--fast-transforms"]
    invoked(*command, "--dry-run")
    assert "leave out either --compile or --fast-transforms" in refused(*command, "--compile")
    assert not (tmp_path / "out").exists()
