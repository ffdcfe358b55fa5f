"""The spherical-harmonic transform of a grid, and sums over its orders.

Truncation, norm and the doubling of the orders m > 0 are stated here once.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from respeval.fields.grid import Grid
from respeval.interpreter import lazily_compiled

if TYPE_CHECKING:
    import torch

    from respeval.distributed.mesh import Mesh


class SphericalTransform:
    """Real spherical-harmonic transform of fields [..., lat, lon] on one grid and back.

    Coefficients are complex [..., l, m] with l < `lmax`, m < `mmax`, in the orthonormal basis: the
    mean square over the sphere is `sum_over_orders(|c|²).sum(-1) / 4π`. The truncation is always
    given, because the defaults of torch-harmonics changed in 0.9. Fields on a grid that runs south
    to north are flipped on the way in and out.

    Raises ValueError on a grid without a quadrature and where lmax != mmax, which torch-harmonics 0.8
    and 0.9 treat differently.

    >>> import math, torch
    >>> grid = Grid.legendre_gauss(num_lat=8, num_lon=16)
    >>> field = torch.full(grid.shape, 3.0)
    >>> c = SphericalTransform(grid, lmax=8, mmax=8).forward(field)
    >>> tuple(c.shape)  # [l, m]
    (8, 8)
    >>> print(f"{sum_over_orders(c.abs() ** 2).sum(-1) / (4 * math.pi):.6f}")  # the mean square
    9.000000
    """

    def __init__(self, grid: Grid, lmax: int, mmax: int, dtype: torch.dtype | None = None) -> None:
        import torch

        with lazily_compiled():
            from torch_harmonics.sht import InverseRealSHT, RealSHT

        if not grid.has_quadrature:
            raise ValueError(
                "a spherical transform needs a legendre-gauss or lobatto grid, or an equiangular one with "
                f"both poles; these {grid.num_lat} latitudes are none of them"
            )
        if lmax != mmax:
            raise ValueError(f"the truncation must be triangular, got lmax={lmax}, mmax={mmax}")
        self.lmax, self.mmax = lmax, mmax
        self._flip = not grid.north_to_south
        self._dtype = dtype or torch.float64
        size = {"lmax": lmax, "mmax": mmax, "grid": grid.kind, "norm": "ortho"}
        self._forward: torch.nn.Module = RealSHT(grid.num_lat, grid.num_lon, **size).to(self._dtype)
        self._inverse: torch.nn.Module = InverseRealSHT(grid.num_lat, grid.num_lon, **size).to(
            self._dtype
        )

    def to(self, device: torch.device) -> SphericalTransform:
        self._forward.to(device)
        self._inverse.to(device)
        return self

    def localize(self, mesh: Mesh) -> None:
        """Work on this process's block of fields, and of coefficients, from now on."""
        from respeval.fields.split_transform import split_transform

        if mesh.is_split:
            self._forward = split_transform(self._forward, mesh)
            self._inverse = split_transform(self._inverse, mesh)

    def forward(self, field: torch.Tensor) -> torch.Tensor:
        """Field [..., lat, lon] to coefficients [..., l, m]."""
        field = field.to(self._dtype)
        coefficients: torch.Tensor = self._forward(field.flip(-2) if self._flip else field)
        return coefficients

    def inverse(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Coefficients [..., l, m] to a field [..., lat, lon]."""
        field: torch.Tensor = self._inverse(coefficients)
        return field.flip(-2) if self._flip else field


def sum_over_orders(values: torch.Tensor) -> torch.Tensor:
    """Sum of [..., l, m] over the orders of each degree, [..., l], with the orders m > 0 twice.

    A real field's coefficients at -m are the conjugates of those at m, so a sum of |c|² or of any
    other even quantity over all orders counts m > 0 double. Only this function does so.
    """
    return 2.0 * values.sum(-1) - values[..., 0]


def forget_tables() -> None:
    """Let go of the last tables that torch-harmonics computed.

    It keeps twenty of them in float64, 47 MB each at 1 degree, and finds none again, because it looks
    for them by the identity of a tensor.
    """
    legendre = sys.modules.get("torch_harmonics.legendre")
    for function in vars(legendre).values() if legendre else ():
        if inspect.isfunction(function) and function.__closure__:
            kept: Any = inspect.getclosurevars(function).nonlocals.get("cached_func")
            if hasattr(kept, "cache_clear"):
                kept.cache_clear()


@contextlib.contextmanager
def tables_without_numbers() -> Iterator[None]:
    """Within this, torch-harmonics' tables of Legendre functions are zero, in the memory of one number."""
    import torch
    from torch_harmonics import legendre

    computed = legendre.legpoly

    def shaped(mmax: int, lmax: int, x: torch.Tensor, **options: Any) -> torch.Tensor:
        first = options.get("mmin", 0), options.get("lmin", 0)
        shape = (mmax - first[0], lmax - first[1], len(x))
        return torch.zeros(1, dtype=torch.float64).expand(shape)

    legendre.legpoly = shaped
    try:
        yield
    finally:
        legendre.legpoly = computed
        forget_tables()
