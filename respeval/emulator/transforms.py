"""Spectral convolutions of a loaded network, computed faster: the same numbers to rounding.

Such a convolution transforms every channel to spherical harmonics, multiplies the channels of each
degree by a matrix, and transforms back. Here the channels lie innermost meanwhile, real and imaginary
parts side by side, so that every product reads and writes where its numbers are. Of the Legendre
functions a quarter is multiplied: they are even or odd about the equator, P_lm(-x) = (-1)^(l+m)
P_lm(x) on grids that are symmetric about it, and zero for orders m > l, which the product of channels
leaves out too. One field at a time, as its weights are the same for all.

On one thread of a CPU a step takes 0.6 to 0.8 of its time: `make bench BENCH=transforms`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from torch import nn

from respeval.emulator.computing import computing_by, networks_of
from respeval.emulator.contract import Emulator
from respeval.errors import InputError
from respeval.fields.split_transform import HOMES, SCALES

#: RMS of a difference over RMS of what it is a difference to: float32 rounds to 6e-8, and sums of a
#: thousand numbers stay well below this.
_SAME = 1e-5


@dataclass(frozen=True)
class _Layout:
    """How a class of convolutions is read.

    axes: of its weights: g groups, l degrees, o output and i input channels; where they are real, a
        last axis of size 2 holds real and imaginary parts.
    requires: attribute -> its value where the module computes no more than this.
    round_trip: the attribute that says whether the residual goes through both transforms.
    wide_residual: whether a residual that does not is made float32.
    """

    axes: str
    requires: Mapping[str, Any]
    round_trip: str = "scale_residual"
    wide_residual: bool = False


_BY_DEGREE = _Layout("iol", {"operator_type": "dhconv", "separable": False})

#: (module that defines the class, class) -> layout.
_LAYOUTS: dict[tuple[str, str], _Layout] = {
    ("torch_harmonics.examples.models._layers", "SpectralConvS2"): _Layout(
        "oil", {"operator_type": "driscoll-healy"}, wide_residual=True
    ),
    ("fme.ace.models.modulus.s2convolutions", "SpectralConvS2"): _BY_DEGREE,
    ("fme.ace.models.makani.spectral_convolution", "SpectralConv"): _BY_DEGREE,
    ("fme.core.models.conditional_sfno.s2convolutions", "SpectralConvS2"): _Layout(
        "gloi",
        {"lora_rank": 0, "spectral_ratio": 1.0, "_preserve_global_mean": False},
        "_round_trip_residual",
    ),
}

_FORWARD = {(home, "RealSHT") for home in HOMES}
_INVERSE = {(home, "InverseRealSHT") for home in HOMES}


@contextlib.contextmanager
def fast_transforms(emulator: Emulator) -> Iterator[tuple[int, int]]:
    """Within this the emulator's spectral convolutions, whose tensors are on their device already,
    are computed faster outside of gradient mode.

    Gives how many of how many are: one stays as it is where its class, its settings or its transforms
    aren't known, or where its fast form gave other numbers for noise. Weights stay what they are, but
    lie in memory by degree from then on. Raises InputError where the emulator doesn't say its
    networks, none of its convolutions is known, or its fields are split over processes.
    """
    networks = networks_of(emulator, "--fast-transforms")
    found = [m for n in networks for m in n.modules() if hasattr(m, "inverse_transform")]
    # Convolutions share transforms, whose tables are large.
    analyse, synthesize = cache(_Analysis), cache(_Synthesis)
    # The caller may be in inference mode, whose tensors never can have gradients.
    with torch.inference_mode(False), torch.no_grad():
        fast = {module: _fast_form(module, analyse, synthesize) for module in found}
    replaced = [(module, form) for module, form in fast.items() if form is not None]
    if not replaced:
        known = sorted({type(module).__name__ for module in found})
        raise InputError(
            "--fast-transforms knows none of this network's spectral convolutions "
            f"({', '.join(known) if known else 'there are none'}); leave it out"
        )
    with contextlib.ExitStack() as undo:
        for module, form in replaced:
            undo.enter_context(computing_by(module, partial(form, module.forward)))
        yield len(replaced), len(fast)


class _Analysis:
    """A forward transform, from fields [channel, lat, lon] to [degree, order, channel], complex.

    What orders above the degree have is never written.
    """

    def __init__(self, transform: Any, scale: float) -> None:
        self._num_degrees, self._num_orders = int(transform.lmax), int(transform.mmax)
        self._tables = _halves(scale * transform.weights.float())

    def __call__(self, fields: torch.Tensor) -> torch.Tensor:
        even, odd = map(_parts, self._folded(fields))
        shape = self._num_degrees, self._num_orders, len(fields)
        found = fields.new_empty(shape, dtype=torch.complex64)
        by_order = _parts(found)
        for m, (even_table, odd_table) in enumerate(self._tables):
            torch.mm(even_table, even[:, m], out=by_order[m::2, m])
            torch.mm(odd_table, odd[:, m], out=by_order[m + 1 :: 2, m])
        return found

    def _folded(self, fields: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Waves along each circle of latitude, [lat, order, channel]: sums with those of the circle
        across the equator, which are of even functions, and differences, of odd ones.
        """
        num_lat = fields.shape[1]
        half = num_lat // 2
        waves = _transposed(torch.fft.rfft(fields.contiguous(), norm="forward").flatten(1))
        rows = waves.unflatten(0, (num_lat, -1))[:, : self._num_orders]
        south = rows[num_lat - half :].flip(0)
        odd = rows[:half] - south
        rows[:half] += south
        return rows[: num_lat - half], odd


class _Synthesis:
    """An inverse transform, from [degree, order, channel], complex, to fields [channel, lat, lon]."""

    def __init__(self, transform: Any) -> None:
        self._shape = int(transform.nlat), int(transform.nlon)
        table = transform.pct.float()
        if table.shape[1] != transform.lmax or table.abs().amax(2).tril(-1).any():
            table = table.mT  # [order, lat, degree] since torch-harmonics 0.9
        self._tables = [(even.mT, odd.mT) for even, odd in _halves(table)]

    def __call__(self, coefficients: torch.Tensor) -> torch.Tensor:
        num_lat, num_lon = self._shape
        half, num_orders = num_lat // 2, len(self._tables)
        num_channels, num_waves = coefficients.shape[-1], num_lon // 2 + 1
        rows = coefficients.new_empty(num_lat, num_waves, num_channels)
        odd = coefficients.new_empty(half, num_orders, num_channels)
        by_order, of_even_rows, of_odd_rows = _parts(coefficients), _parts(rows), _parts(odd)
        for m, (even_table, odd_table) in enumerate(self._tables):
            torch.mm(even_table, by_order[m::2, m], out=of_even_rows[: num_lat - half, m])
            torch.mm(odd_table, by_order[m + 1 :: 2, m], out=of_odd_rows[:, m])
        north = rows[:half, :num_orders]
        rows[num_lat - half :, :num_orders] = (north - odd).flip(0)
        north += odd
        rows[:, num_orders:] = 0
        # A real field has no imaginary part there, and not every backend ignores what is given.
        imaginary = torch.view_as_real(rows)[..., 1]
        imaginary[:, 0] = 0
        if num_lon % 2 == 0:
            imaginary[:, -1] = 0
        spectrum = _transposed(rows.flatten(0, 1)).unflatten(1, (num_lat, num_waves))
        fields: torch.Tensor = torch.fft.irfft(spectrum, n=num_lon, norm="forward")
        return fields


class _Convolution:
    """A spectral convolution's fast form, called as the module's `forward` is, with that one first."""

    def __init__(
        self, module: Any, layout: _Layout, analysis: _Analysis, synthesis: _Synthesis
    ) -> None:
        self._module, self._layout = module, layout
        self._analysis, self._synthesis = analysis, synthesis
        self._round_trip = bool(getattr(module, layout.round_trip))
        weights = _by_degree(module.weight, layout.axes)
        self._address = module.weight.data_ptr()
        self._matrices = [[matrix.mT for matrix in group] for group in weights]

    @property
    def is_current(self) -> bool:
        """Whether the module's weights still lie where they are read."""
        return bool(self._module.weight.data_ptr() == self._address)

    def __call__(
        self, forward: Callable[..., Any], fields: torch.Tensor, *rest: Any, **options: Any
    ) -> Any:
        """Fields [member, channel, lat, lon] convolved, and the residual, as `forward` gives them."""
        if torch.is_grad_enabled():
            return forward(fields, *rest, **options)
        # Products that are written into memory of their own stay float32 under autocast too.
        found, residuals = zip(*map(self._one, fields.float()), strict=True)
        convolved = _stacked(found)
        if hasattr(self._module, "bias"):
            convolved += self._module.bias
        convolved = convolved.type(fields.dtype)
        if not self._round_trip:
            return convolved, fields.float() if self._layout.wide_residual else fields
        residual = _stacked(residuals)
        return convolved, residual if self._layout.wide_residual else residual.type(fields.dtype)

    def _one(self, fields: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """One member's, [channel, lat, lon]; and where it goes through both transforms, its residual."""
        coefficients = self._analysis(fields)
        residual = self._synthesis(coefficients) if self._round_trip else None
        return self._synthesis(self._multiplied(coefficients)), residual

    def _multiplied(self, coefficients: torch.Tensor) -> torch.Tensor:
        """[degree, order, channel] times each degree's matrix."""
        num_groups, (first, *_) = len(self._matrices), self._matrices[0]
        num_in, num_out = first.shape
        products = coefficients.new_empty(*coefficients.shape[:2], num_groups * num_out)
        for g, matrices in enumerate(self._matrices):
            given = coefficients[..., g * num_in : (g + 1) * num_in]
            product = products[..., g * num_out : (g + 1) * num_out]
            for degree, matrix in enumerate(matrices):
                torch.mm(given[degree, : degree + 1], matrix, out=product[degree, : degree + 1])
        return products


def _fast_form(
    module: Any,
    analyse: Callable[[Any, float], _Analysis],
    synthesize: Callable[[Any], _Synthesis],
) -> _Convolution | None:
    """A convolution's fast form, kept for the next time; None where it stays as it is."""
    kept: _Convolution | None = vars(module).get("_fast_form")
    if kept is not None and kept.is_current:
        return kept
    layout = _LAYOUTS.get(_class_of(module))
    missing = object()
    if layout is None or any(
        getattr(module, name, missing) != value for name, value in layout.requires.items()
    ):
        return None
    there, back = module.forward_transform, module.inverse_transform
    if (
        not isinstance(module.weight, nn.Parameter)
        or _class_of(there) not in _FORWARD
        or _class_of(back) not in _INVERSE
        or back.mmax > min(there.nlon, back.nlon) // 2 + 1
    ):
        return None
    synthesis = synthesize(back)
    forms = (_Convolution(module, layout, analyse(there, s), synthesis) for s in SCALES)
    form = _tried(module, forms, layout)
    # A plain attribute, of which neither the parameters nor the state of the network learn.
    vars(module)["_fast_form"] = form
    return form


def _tried(module: Any, forms: Iterable[_Convolution], layout: _Layout) -> _Convolution | None:
    """The form that gives the module's own numbers for noise, if there is one."""
    there, weight = module.forward_transform, module.weight
    num_channels = weight.shape[layout.axes.index("i")] * getattr(module, "num_groups", 1)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, num_channels, there.nlat, there.nlon, generator=generator)
    noise = noise.to(weight.device)
    exact = module.forward(noise)
    return next((f for f in forms if all(map(_is_same, f(module.forward, noise), exact))), None)


def _is_same(given: torch.Tensor, exact: torch.Tensor) -> bool:
    error, size = ((field.double().square().mean().sqrt()) for field in (given - exact, exact))
    return given.dtype == exact.dtype and bool(error <= _SAME * size)


def _class_of(module: Any) -> tuple[str, str]:
    return type(module).__module__, type(module).__qualname__


def _halves(table: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Legendre functions by order, down to the equator: the even ones [degree, lat], the odd ones.

    table: [order, degree, lat]. The even ones are of degrees m, m + 2, … and have the equator where
    it is a row; the odd ones, of degrees m + 1, m + 3, …, are zero there.
    """
    num_orders, num_degrees, num_lat = table.shape
    half = num_lat // 2
    return [
        (
            table[m, m::2, : num_lat - half].contiguous(),
            table[m, m + 1 :: 2, :half].contiguous(),
        )
        for m in range(min(num_orders, num_degrees))
    ]


def _by_degree(weight: nn.Parameter, axes: str) -> torch.Tensor:
    """Weights as [group, degree, output, input], complex; they lie so in memory from then on.

    The parameter keeps its shape and its values. A copy would take a network's memory once more.
    """
    order = [axes.index(axis) for axis in "gloi" if axis in axes]
    if not weight.is_complex():
        order.append(weight.ndim - 1)
    laid = weight.data.permute(order).contiguous()
    weight.data = laid.permute([order.index(axis) for axis in range(weight.ndim)])
    matrices = laid if laid.is_complex() else torch.view_as_complex(laid)
    return matrices if "g" in axes else matrices[None]


def _stacked(fields: tuple[torch.Tensor, ...]) -> torch.Tensor:
    return fields[0][None] if len(fields) == 1 else torch.stack(fields)


def _parts(coefficients: torch.Tensor) -> torch.Tensor:
    """[..., channel], complex -> [..., channel's real and imaginary parts], the same memory."""
    return torch.view_as_real(coefficients).flatten(-2)


def _transposed(matrix: torch.Tensor) -> torch.Tensor:
    """A copy; of whole contiguous matrices torch makes it block by block."""
    return matrix.new_empty(matrix.shape[::-1]).copy_(matrix.T)
