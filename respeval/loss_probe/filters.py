"""Which parameters of a network are spectral filters, and along which axis the degree l runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import torch
from torch import nn

from respeval.errors import InputError


@dataclass(frozen=True)
class FilterLayout:
    """How a filter's weights are laid out.

    degree_axis: the axis of l. orders_follow: further axes after it, if there are any, run over
        orders m.
    real_pairs: the last axis, of size 2, holds real and imaginary parts.
    operator: the module's `operator_type` for which there is such an axis; empty for any.
    maybe_separable: whether there is one axis of channels less before l in modules that say
        `separable` of themselves.
    """

    degree_axis: int
    orders_follow: bool = False
    real_pairs: bool = False
    operator: str = ""
    maybe_separable: bool = False


_ACE = FilterLayout(1, real_pairs=True)
_MODULUS = FilterLayout(2, orders_follow=True, real_pairs=True, maybe_separable=True)
_MAKANI_GROUPS = FilterLayout(3, orders_follow=True, maybe_separable=True)
_BY_DEGREE = FilterLayout(0, real_pairs=True, operator="l-dependant")

#: (module that defines the class, class, parameter) -> layout. A table, because an axis can't be
#: told by its size: channels may be as many as degrees.
LAYOUTS: dict[tuple[str, str, str], FilterLayout] = {
    # (out, in, l), (out, in, l, m) or (out, in, l, m, m), complex
    ("torch_harmonics.examples.models._layers", "SpectralConvS2", "weight"): FilterLayout(
        2, orders_follow=True
    ),
    # (groups, in, out, l), complex
    ("torch_harmonics.spectral_convolution", "SpectralConvS2", "weight"): FilterLayout(3),
    # ACE: (groups, l, out, in, 2) and its low-rank updates
    ("fme.core.models.conditional_sfno.s2convolutions", "SpectralConvS2", "weight"): _ACE,
    ("fme.core.models.conditional_sfno.s2convolutions", "SpectralConvS2", "lora_A"): _ACE,
    ("fme.core.models.conditional_sfno.s2convolutions", "SpectralConvS2", "lora_B"): _ACE,
    # ACE's older networks: (in[, out], l[, m], 2), or factors of such a tensor
    ("fme.ace.models.modulus.s2convolutions", "SpectralConvS2", "weight"): _MODULUS,
    ("fme.ace.models.makani.spectral_convolution", "SpectralConv", "weight"): _MODULUS,
    ("fme.ace.models.makani.spectral_convolution", "FactorizedSpectralConv", "weight"): _MODULUS,
    # and their layers between coefficients: (l, in, out, 2), lists of them, or without a degree
    ("fme.ace.models.modulus.s2convolutions", "SpectralAttentionS2", "w"): _BY_DEGREE,
    ("fme.ace.models.modulus.s2convolutions", "SpectralAttentionS2", "wout"): _BY_DEGREE,
    # (groups, in[, out], l[, m]), complex: ACE's "makani-linear", and FourCastNet 3
    (
        "fme.core.models.conditional_sfno.makani.spectral_convolution",
        "SpectralConv",
        "weight",
    ): _MAKANI_GROUPS,
    (
        "fme.ace.models.makani_fcn3.models.common.spectral_convolution",
        "SpectralConv",
        "weight",
    ): _MAKANI_GROUPS,
}

#: Class of a tensor that tltorch keeps as factors -> the axis of l in the factor that holds it.
FACTORS: dict[str, int] = {"ComplexCPTensor": 0, "ComplexTTTensor": 1}


#: Numbers of a filter that are squared at once.
_PIECE = 2**22


@dataclass(frozen=True)
class SpectralFilter:
    """A parameter that holds weights for every degree along `degree_axis`.

    order_axes: axes that run over orders m, whose weights beyond m = l take no part.
    """

    name: str
    parameter: nn.Parameter
    degree_axis: int
    order_axes: tuple[int, ...] = ()

    @property
    def num_degrees(self) -> int:
        return int(self.parameter.shape[self.degree_axis])

    def num_weights(self) -> torch.Tensor:
        """Real numbers among the weights of each degree that take part, [degree], float64."""
        fixed = 2 if self.parameter.is_complex() else 1
        count = torch.ones(self.num_degrees, dtype=torch.float64)
        for axis, size in enumerate(self.parameter.shape):
            if axis in self.order_axes:
                count *= torch.arange(1, self.num_degrees + 1).clamp(max=size)
            elif axis != self.degree_axis:
                fixed *= int(size)
        return fixed * count

    def square_by_degree(self, values: torch.Tensor) -> torch.Tensor:
        """Sum of |values|² over everything but the degree, [degree], float64.

        values: of the parameter's shape; orders beyond the degree are left out.
        """
        whole = [a for a in range(values.ndim) if a not in (self.degree_axis, *self.order_axes)]
        if not whole:
            return self._square_of_part(values.detach())
        total = torch.zeros(self.num_degrees, dtype=torch.float64, device=values.device)
        # A part at a time, because copies in float64 take much memory.
        axis = max(whole, key=lambda a: values.shape[a])
        length = max(1, _PIECE * values.shape[axis] // values.numel())
        for part in values.detach().split(length, dim=axis):
            total += self._square_of_part(part)
        return total

    def _square_of_part(self, values: torch.Tensor) -> torch.Tensor:
        pairs = torch.view_as_real(values) if values.is_complex() else values[..., None]
        square = pairs.to(torch.float64).square().sum(dim=-1)
        for axis in self.order_axes:
            shape = [1] * square.ndim
            shape[self.degree_axis], shape[axis] = self.num_degrees, square.shape[axis]
            ones = square.new_ones(self.num_degrees, square.shape[axis])
            square = square * ones.tril().reshape(shape)
        others = [axis for axis in range(square.ndim) if axis != self.degree_axis]
        return square.sum(dim=others)


def find_filters(network: nn.Module) -> list[SpectralFilter]:
    """The spectral filters of a network in the order of its modules."""
    return list(_filters(network))


def _kind(network: nn.Module, path: str, module: nn.Module) -> tuple[str, str]:
    """Where a module's class is defined, and its name.

    A network that was exported keeps weights in modules without a class of their own, and says in
    `module_classes` which they had: path -> (module, class).
    """
    before: Mapping[str, tuple[str, str]] = getattr(network, "module_classes", {})
    return before.get(path, (type(module).__module__, type(module).__name__))


def _filters(network: nn.Module) -> Iterator[SpectralFilter]:
    for path, module in network.named_modules():
        kind = _kind(network, path, module)
        for (where, name, attribute), layout in LAYOUTS.items():
            axis = _degree_axis(module, layout) if (where, name) == kind else None
            if axis is not None:
                found = replace(layout, degree_axis=axis)
                held = getattr(module, attribute, None)
                yield from _held_filters(f"{path}.{attribute}".lstrip("."), held, found)


def _degree_axis(module: nn.Module, layout: FilterLayout) -> int | None:
    """The axis of l in a module's weights; None where there is none or the module does not say it."""
    # Some builders put a plain Fourier transform in the place of the spherical one.
    if "FFT" in type(getattr(module, "inverse_transform", None)).__name__:
        return None
    if layout.operator and getattr(module, "operator_type", None) != layout.operator:
        return None
    if not layout.maybe_separable:
        return layout.degree_axis
    separable = getattr(module, "separable", None)  # an exported module has lost it
    return None if separable is None else layout.degree_axis - bool(separable)


def _held_filters(name: str, held: object, layout: FilterLayout) -> Iterator[SpectralFilter]:
    """The filters of one attribute: a parameter, a list of them, or a tensor that is kept as factors."""
    if isinstance(held, nn.Parameter):
        orders: tuple[int, ...] = ()
        if layout.orders_follow:
            orders = tuple(range(layout.degree_axis + 1, held.ndim - layout.real_pairs))
        yield SpectralFilter(name, held, layout.degree_axis, orders)
    elif isinstance(held, nn.ParameterList):
        for i, entry in enumerate(held):
            yield from _held_filters(f"{name}.{i}", entry, layout)
    elif isinstance(held, nn.Module):
        parameters = dict(held.named_parameters())
        factor = f"factors.factor_{layout.degree_axis}"
        if type(held).__name__ == "ComplexDenseTensor":
            yield from _held_filters(f"{name}.tensor", parameters["tensor"], layout)
        elif type(held).__name__ in FACTORS:
            axis = FACTORS[type(held).__name__]
            yield SpectralFilter(f"{name}.{factor}", parameters[factor], axis)


def select_filters(network: nn.Module, pattern: str | None, source: str) -> list[SpectralFilter]:
    """The filters whose names fit a glob, or all of them.

    Raises InputError where there are none: it lists what was found. `source` names the network, whose
    attribute `probe_hint`, if it has one, says how it would have them.
    """
    found = find_filters(network)
    if not found:
        kinds = Counter(
            ".".join(_kind(network, path, module))
            for path, module in network.named_modules()
            if any(True for _ in module.parameters(recurse=False))
        )
        listed = ", ".join(f"{kind} ({count})" for kind, count in kinds.most_common(8))
        hint = f"; {network.probe_hint}" if hasattr(network, "probe_hint") else ""
        known = sorted({f"{module}.{kind}" for module, kind, _ in LAYOUTS})
        raise InputError(
            f"{source} has no spectral filter that respeval knows; its modules with weights are "
            f"{listed or 'none'}; known filters: {', '.join(known)}{hint}"
        )
    chosen = [entry for entry in found if pattern is None or fnmatchcase(entry.name, pattern)]
    if not chosen:
        names = ", ".join(entry.name for entry in found)
        raise InputError(f"--filter {pattern!r} fits none of the spectral filters ({names})")
    return chosen
