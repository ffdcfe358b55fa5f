"""In which numbers a network computes: what torch is told, and what stays float32."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from respeval.checkpoints.native import NativeEmulator
from respeval.emulator.computing import check_precision, computing_in
from respeval.errors import InputError
from tests.support.studies import GRID, manifest
from tests.support.toy import Toy

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def _switches() -> Iterator[None]:
    yield
    torch.backends.fp32_precision = "none"  # type: ignore[attr-defined]
    with computing_in("float32", Toy(), CPU):
        pass


def switches() -> list[Any]:
    """What cuBLAS and cuDNN are told of matrix products and convolutions."""
    backends: Any = torch.backends
    return [
        torch.get_float32_matmul_precision(),
        backends.cudnn.allow_tf32,
        backends.cuda.matmul.fp32_precision,
        backends.cudnn.conv.fp32_precision,
    ]


@pytest.mark.usefixtures("_switches")
def test_float32_is_float32_whatever_was_set_before() -> None:
    torch.backends.fp32_precision = "tf32"  # type: ignore[attr-defined]
    torch.set_float32_matmul_precision("medium")
    with computing_in("float32", Toy(), CPU):
        assert switches() == ["highest", False, "ieee", "ieee"]
    with computing_in("tf32", Toy(), CUDA):
        assert switches() == ["high", True, "tf32", "tf32"]
    with computing_in("bfloat16", NativeEmulator(manifest()), CUDA):
        assert switches() == ["highest", False, "ieee", "ieee"]


class RealSHT(nn.Module):
    """Named as torch-harmonics names a transform; tells what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[tuple[torch.dtype, bool]] = []

    def forward(self, field: torch.Tensor) -> torch.Tensor:
        self.given.append((field.dtype, torch.is_autocast_enabled("cpu")))
        return torch.fft.irfft(torch.fft.rfft(field), n=field.shape[-1])


def test_the_network_alone_is_in_bfloat16_and_its_transforms_are_not() -> None:
    torch.manual_seed(0)
    inner, transform = nn.Linear(4, 4, bias=False), RealSHT()
    emulator: Any = SimpleNamespace(network=nn.Sequential(inner, transform))
    fields, weights = torch.randn(3, 4), inner.weight.detach()
    with torch.inference_mode():
        exact = emulator.network(fields)
        with computing_in("bfloat16", emulator, CPU):
            narrow = emulator.network(fields)
            around = fields @ weights.T  # not by the network
        again = emulator.network(fields)
    torch.testing.assert_close(around, exact)
    assert torch.equal(again, exact)
    assert transform.given == [(torch.float32, False)] * 3
    # bfloat16 has 8 bits: both factors are rounded to them, and so is the product's sum.
    rounded = (fields.bfloat16().double() @ weights.bfloat16().double().T).bfloat16()
    assert narrow.dtype == torch.float32
    torch.testing.assert_close(narrow, rounded.float(), rtol=2**-7, atol=1e-6)
    assert not torch.allclose(narrow, exact, rtol=1e-4)


def test_all_networks_of_an_emulator_are_changed_and_restored_after_an_error() -> None:
    networks = [nn.Linear(2, 2), nn.Linear(2, 2)]
    emulator: Any = SimpleNamespace(network=nn.ModuleList(networks))
    own = networks[1].forward = lambda field: field  # type: ignore[method-assign]
    changed = []

    def fail() -> None:
        with computing_in("bfloat16", emulator, CPU):
            changed.extend(vars(network)["forward"] for network in networks)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert own not in changed
    assert "forward" not in vars(networks[0])
    assert networks[1].forward is own


def test_what_surrounds_a_network_in_bfloat16_stays_float32() -> None:
    """Prescribed SST and the state that a residual is added to keep their bits."""
    torch.manual_seed(0)
    emulator = NativeEmulator(manifest(prediction="residual")).eval()
    state = 280.0 + 5.0 * torch.randn(2, 3, *GRID.shape)
    forcing = 280.0 + torch.randn(2, len(emulator.spec.required_forcing), *GRID.shape)
    ocean = emulator.spec.required_forcing.index("ocean_fraction")
    forcing[:, ocean] = (torch.arange(GRID.num_lon) % 2).float()
    found = {}
    with torch.inference_mode():
        for precision in ("float32", "bfloat16"):
            with computing_in(precision, emulator, CPU):
                found[precision] = emulator.step(state, forcing, forcing, noise=None)  # type: ignore[arg-type]
    narrow, exact = found["bfloat16"], found["float32"]
    assert narrow.dtype == torch.float32
    sst = emulator.spec.required_forcing.index("skin")
    assert torch.equal(narrow[:, 2, :, 1::2], forcing[:, sst, :, 1::2])
    change, error = (exact - state.mean())[:, :2], (narrow - exact)[:, :2]
    assert 0 < error.abs().max() < 2**-6 * (exact[:, :2] - state[:, :2]).abs().max()
    assert error.abs().max() < 2**-8 * change.abs().max()


@pytest.mark.parametrize(
    ("precision", "own", "expected"),
    [
        ("bfloat16", "float64", "this one computes in float64; leave precision out"),
        ("tf32", "float32", "tf32 is of NVIDIA GPUs, and this run is on a CPU"),
        ("bfloat16", "float32", "which this checkpoint's reader does not name; leave it out"),
    ],
)
def test_what_can_not_be_is_refused(precision: Any, own: Any, expected: str) -> None:
    emulator: Any = SimpleNamespace(spec=SimpleNamespace(precision=own))
    check_precision(emulator, "float32", CPU)
    with pytest.raises(InputError, match=expected):
        check_precision(emulator, precision, CPU)


def test_a_gpu_takes_tf32() -> None:
    check_precision(NativeEmulator(manifest()), "tf32", CUDA)
    check_precision(NativeEmulator(manifest()), "bfloat16", CPU)
