"""Spherical-harmonic transforms of fields whose blocks lie on several processes.

A circle of latitude is gathered for its Fourier transform, on each process of a row those of some of
the fields. What is summed over latitudes, or over degrees, is summed in part on each process of a
column, which gets the sums of its own degrees or latitudes. So tables of Legendre functions are split
in both directions. They are those of the transform that is split, of whatever library.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import torch
from torch import nn

from respeval.distributed.mesh import Mesh, shares
from respeval.errors import InputError

#: Where transforms come from that are known.
HOMES = ("torch_harmonics.sht", "fme.sht_fix")

#: What forward transforms multiply their sums by: nothing where their tables hold it already, which
#: torch-harmonics' do since 0.9.
SCALES = (1.0, 2 * math.pi)

#: RMS of a difference over RMS of what it is a difference to, for tables that were read rightly.
_SAME = 1e-5


class SplitTransform(nn.Module):
    """One direction of a transform on this process's block; see its two kinds.

    nlat, nlon, lmax, mmax, grid: of the whole, as the transform that was split has them.
    north_to_south: how the rows of its fields run. Most transforms take the first row for the northern
        one, but what is done to each degree alone comes out the same from fields upside down.
    """

    table: torch.Tensor

    def __init__(self, whole: Any, mesh: Mesh, north_to_south: bool = True) -> None:
        super().__init__()
        self.nlat, self.nlon = int(whole.nlat), int(whole.nlon)
        self.lmax, self.mmax = int(whole.lmax), int(whole.mmax)
        self.grid, self.norm, self.csphase = whole.grid, whole.norm, whole.csphase
        self._mesh = mesh
        tiles = mesh.tiles((self.nlat, self.nlon), north_to_south)
        self._rows = [tile.rows for tile in tiles[:: mesh.width]]
        self._degrees = shares(self.lmax, mesh.height)

    def _enough(self, stacked: torch.Tensor) -> torch.Tensor:
        """Fields of zeros behind them, so that no process of a row has none, which MKL refuses."""
        missing = max(0, self._mesh.width - len(stacked))
        zeros = stacked.new_zeros(missing, *stacked.shape[1:])
        return torch.cat([stacked, zeros]) if missing else stacked

    def _keep(self, table: torch.Tensor) -> None:
        """Keep a part of a table [m, l, lat] alone."""
        self.register_buffer("table", table.clone(), persistent=False)

    def _summed(self, parts: torch.Tensor, dealt: Sequence[slice]) -> torch.Tensor:
        """Sums over the processes of this column, which are dealt these parts along the axis 1."""
        mesh = self._mesh
        if mesh.height == 1:
            return parts
        given = [parts[:, share] for share in dealt]
        return reduce(torch.add, mesh.across_column(given, [given[mesh.row].shape] * mesh.height))

    def _swapped(self, values: torch.Tensor, given: int, taken: int, size: int) -> torch.Tensor:
        """A share of what lies whole along the axis `given`, for all of what is shared along `taken`.

        size: along `taken`, on all processes of this row together.
        """
        mesh = self._mesh
        if mesh.width == 1:
            return values
        parts = [values.narrow(given, *_bounds(s)) for s in shares(values.shape[given], mesh.width)]
        shape, shapes = list(parts[mesh.column].shape), list[list[int]]()
        for share in shares(size, mesh.width):
            shape[taken] = share.stop - share.start
            shapes.append(list(shape))
        return torch.cat(mesh.across_row(parts, shapes), dim=taken)


class SplitAnalysis(SplitTransform):
    """Blocks of fields [..., lat, lon] to blocks of coefficients [..., l, m]."""

    def __init__(self, whole: Any, mesh: Mesh, north_to_south: bool = True) -> None:
        super().__init__(whole, mesh, north_to_south)
        self._keep(whole.weights[mesh.of_width(self.mmax), :, self._rows[mesh.row]])
        self._scale = _forward_scale(whole)

    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        num_fields = math.prod(fields.shape[:-2])
        stacked = self._enough(fields.reshape(-1, *fields.shape[-2:]))
        circles = self._swapped(stacked, 0, 2, self.nlon)
        waves = _waves(circles, self.mmax)
        waves = self._swapped(waves, 2, 0, len(stacked))[:num_fields]
        coefficients = self._summed(_over_rows(waves, self.table, self._scale), self._degrees)
        found = torch.view_as_complex(coefficients.contiguous())
        return found.reshape(*fields.shape[:-2], *found.shape[-2:])


class SplitSynthesis(SplitTransform):
    """Blocks of coefficients [..., l, m] to blocks of fields [..., lat, lon]."""

    def __init__(self, whole: Any, mesh: Mesh, north_to_south: bool = True) -> None:
        super().__init__(whole, mesh, north_to_south)
        self._keep(_inverse_table(whole)[mesh.of_width(self.mmax), self._degrees[mesh.row]])

    def forward(self, coefficients: torch.Tensor) -> torch.Tensor:
        num_fields = math.prod(coefficients.shape[:-2])
        stacked = torch.view_as_real(coefficients).reshape(-1, *coefficients.shape[-2:], 2)
        waves = self._enough(self._summed(_over_degrees(stacked, self.table), self._rows))
        circles = _circles(self._swapped(waves, 0, 2, self.mmax), self.nlon)
        fields = self._swapped(circles, 2, 0, len(waves))[:num_fields]
        return fields.reshape(*coefficients.shape[:-2], *fields.shape[-2:])


#: Names of classes -> what they become.
_KINDS: dict[str, Callable[[Any, Mesh, bool], SplitTransform]] = {
    "RealSHT": SplitAnalysis,
    "InverseRealSHT": SplitSynthesis,
}


def split_transforms(network: nn.Module, mesh: Mesh, north_to_south: bool = True) -> None:
    """Let every transform in a network work on blocks; where modules share one they go on to do so.

    north_to_south: how the rows of the network's fields run; see `SplitTransform`. Raises InputError
    where a transform does not do what its tables say.
    """
    made: dict[int, SplitTransform] = {}
    for module in list(network.modules()):
        # Not `named_children`, which leaves out the second name of one module.
        for name, child in list(module._modules.items()):
            if child is not None and is_transform(child):
                if id(child) not in made:
                    made[id(child)] = split_transform(child, mesh, north_to_south)
                setattr(module, name, made[id(child)])


def is_transform(module: nn.Module) -> bool:
    """Whether a module is a transform of real fields that can be split."""
    kind = type(module)
    return kind.__qualname__ in _KINDS and kind.__module__ in HOMES


def split_transform(whole: nn.Module, mesh: Mesh, north_to_south: bool = True) -> SplitTransform:
    """A transform on this process's block. Raises InputError where it doesn't do what its tables say."""
    return _KINDS[type(whole).__qualname__](whole, mesh, north_to_south)


def _waves(circles: torch.Tensor, num_orders: int) -> torch.Tensor:
    """Fields [field, lat, lon] to waves along each circle, [field, lat, m, 2], real and imaginary."""
    found = torch.fft.rfft(circles, norm="forward")[..., :num_orders]
    assert found.shape[-1] == num_orders
    return torch.view_as_real(found)


def _circles(waves: torch.Tensor, num_lon: int) -> torch.Tensor:
    """Waves [field, lat, m, 2] to fields [field, lat, lon]."""
    order = torch.arange(waves.shape[2], device=waves.device)
    # A real field has no imaginary part there, and not every backend ignores what is given.
    has_imaginary = (order > 0) & (2 * order != num_lon)
    imaginary = waves[..., 1] * has_imaginary
    spectrum = torch.complex(waves[..., 0], imaginary)
    fields: torch.Tensor = torch.fft.irfft(spectrum, n=num_lon, norm="forward")
    return fields


def _over_rows(waves: torch.Tensor, table: torch.Tensor, scale: float) -> torch.Tensor:
    """Sums over latitudes: waves [field, lat, m, 2] and a table [m, l, lat] to [field, l, m, 2]."""
    sums: torch.Tensor = torch.einsum("fkmr,mlk->flmr", waves, table.to(waves.dtype))
    return sums if scale == 1.0 else scale * sums


def _over_degrees(coefficients: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Sums over degrees: [field, l, m, 2] and a table [m, l, lat] to waves [field, lat, m, 2]."""
    sums: torch.Tensor = torch.einsum("flmr,mlk->fkmr", coefficients, table.to(coefficients.dtype))
    return sums


def _forward_scale(whole: Any) -> float:
    """What a forward transform, whose table is [m, l, lat], multiplies its sums by."""
    weights: torch.Tensor = whole.weights
    if weights.is_meta:
        return 1.0
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, whole.nlat, whole.nlon, dtype=weights.dtype, generator=generator)
    noise = noise.to(weights.device)
    with torch.no_grad():
        exact = whole(noise)
        waves = _waves(noise, len(weights))
        for scale in SCALES:
            found = _over_rows(waves, weights, scale).contiguous()
            if _is_same(torch.view_as_complex(found), exact):
                return scale
    raise _unknown(whole)


def _inverse_table(whole: Any) -> torch.Tensor:
    """What an inverse transform sums over degrees with, [m, l, lat]."""
    given: torch.Tensor = whole.pct
    shape = given.shape[0], int(whole.lmax), int(whole.nlat)
    found = [table for table in (given, given.mT) if table.shape == shape]
    if given.is_meta and found:
        return found[0]
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, shape[1], shape[0], 2, dtype=given.dtype, generator=generator)
    noise = noise.to(given.device)
    with torch.no_grad():
        exact = whole(torch.view_as_complex(noise))
        for table in found:
            if _is_same(_circles(_over_degrees(noise, table), int(whole.nlon)), exact):
                return table
    raise _unknown(whole)


def _is_same(given: torch.Tensor, exact: torch.Tensor) -> bool:
    error, size = (
        (field.abs().double().square().mean().sqrt()) for field in (given - exact, exact)
    )
    return bool(error <= _SAME * size)


def _unknown(whole: nn.Module) -> InputError:
    kind = type(whole)
    return InputError(
        f"fields can't be split over processes for {kind.__module__}.{kind.__qualname__} of the installed "
        "package, whose tables are laid out in another way than those that respeval knows; leave "
        "--spatial out"
    )


def _bounds(share: slice) -> tuple[int, int]:
    """First and number."""
    return share.start, share.stop - share.start
