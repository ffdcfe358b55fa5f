"""The weather: anomalies that relax per spherical-harmonic degree, drift eastward and are driven by noise."""

from __future__ import annotations

import numpy as np
import torch

from respeval.distributed.mesh import Mesh
from respeval.fields.grid import FloatArray, Grid
from respeval.fields.transform import SphericalTransform

NUM_STRUCTURES = 3
INDEPENDENT_SHARE = 0.15
PEAK_DEGREE = 6.0
DRIFT_DEGREES_PER_DAY = 5.0

#: Vertical structures at eight levels, top to surface, and in humidity: [channel, structure].
#: Barotropic, troposphere against stratosphere, and shallow.
STRUCTURES = np.array(
    [
        [0.3, -0.9, 0.0],
        [0.5, -0.8, 0.0],
        [0.8, -0.3, -0.1],
        [0.9, 0.3, -0.2],
        [0.9, 0.5, -0.2],
        [0.9, 0.4, 0.2],
        [0.7, 0.2, 0.6],
        [0.5, 0.1, 0.9],
        [0.5, 0.5, 0.6],
    ]
)
NUM_CHANNELS = len(STRUCTURES)


def degree_variance(num_degrees: int) -> FloatArray:
    """Variance of a channel in each degree, [degree], adding up to 1; zero in degree 0.

    l**2 / (l**2 + l0**2)**3: a power slope of 4 beyond the peak at l0 / sqrt(2).
    """
    degree = np.arange(num_degrees, dtype=np.float64)
    variance = degree**2 / (degree**2 + PEAK_DEGREE**2) ** 3
    return np.asarray(variance / variance.sum())


def degree_memory(num_degrees: int) -> FloatArray:
    """Share of an anomaly that is left after a day, [degree]: 10 days at the largest scale to 2."""
    degree = np.arange(num_degrees, dtype=np.float64)
    days = 2.0 + 8.0 / (1.0 + (degree / 6.0) ** 2)
    return np.asarray(np.exp(-1.0 / days))


class Weather:
    """A stationary process of `NUM_CHANNELS` fields of unit global variance on one grid."""

    def __init__(self, grid: Grid, device: torch.device | None = None) -> None:
        self.num_degrees = min(grid.num_lat, grid.num_lon // 2)
        self._transform = SphericalTransform(grid, self.num_degrees, self.num_degrees)
        if device is not None:
            self._transform.to(device)
        memory = torch.as_tensor(degree_memory(self.num_degrees), device=device)
        order = torch.arange(self.num_degrees, dtype=torch.float64, device=device)
        turn = torch.polar(torch.ones_like(order), -np.radians(DRIFT_DEGREES_PER_DAY) * order)
        self._unresolved_memory = float(memory[-1])
        self._factor = memory[:, None] * turn - self._unresolved_memory
        degree = torch.arange(self.num_degrees, dtype=torch.float64, device=device)
        variance = torch.as_tensor(degree_variance(self.num_degrees), device=device)
        amplitude = torch.sqrt(4.0 * np.pi * variance / (2.0 * degree + 1.0))
        inside = order <= degree[:, None]
        self._spread = amplitude[:, None] * inside
        self._kick = (amplitude * torch.sqrt(1.0 - memory**2))[:, None] * inside
        structures = STRUCTURES / np.sqrt((STRUCTURES**2).sum(axis=1, keepdims=True))
        common = np.sqrt(1.0 - INDEPENDENT_SHARE) * structures
        mixing = np.concatenate([common, np.sqrt(INDEPENDENT_SHARE) * np.eye(NUM_CHANNELS)], axis=1)
        self._mixing = torch.as_tensor(mixing, device=device)
        self._own: tuple[slice, slice] = slice(None), slice(None)

    def localize(self, mesh: Mesh) -> None:
        """Work on this process's block of fields; what is drawn stays whole."""
        self._transform.localize(mesh)
        self._own = mesh.of_height(self.num_degrees), mesh.of_width(self.num_degrees)
        self._factor = self._factor[self._own]
        self._spread, self._kick = self._spread[self._own], self._kick[self._own]

    @property
    def noise_shape(self) -> tuple[int, int, int, int]:
        """Shape of the normal numbers of one draw: source, real and imaginary part, degree, order."""
        return NUM_STRUCTURES + NUM_CHANNELS, 2, self.num_degrees, self.num_degrees

    def relax(self, weather: torch.Tensor) -> torch.Tensor:
        """The weather a day later without noise; [..., lat, lon], any units.

        What the transform does not resolve decays like the last degree.
        """
        resolved = self._transform.inverse(self._factor * self._transform.forward(weather))
        return self._unresolved_memory * weather + resolved

    def innovation(self, normal: torch.Tensor) -> torch.Tensor:
        """The noise of a day, [member, channel, lat, lon], from [member, *noise_shape] normals."""
        return self._colour(normal, self._kick)

    def stationary(self, normal: torch.Tensor) -> torch.Tensor:
        """Weather drawn from the stationary distribution; shapes as in `innovation`."""
        return self._colour(normal, self._spread)

    def _colour(self, normal: torch.Tensor, amplitude: torch.Tensor) -> torch.Tensor:
        """Coefficients with E|c|**2 = amplitude**2: real at order 0, split evenly beyond."""
        normal = normal.to(amplitude.dtype)
        real, imaginary = normal[..., 0, :, :] / np.sqrt(2.0), normal[..., 1, :, :] / np.sqrt(2.0)
        real = torch.cat([real[..., :1] * np.sqrt(2.0), real[..., 1:]], dim=-1)
        imaginary = torch.cat([torch.zeros_like(imaginary[..., :1]), imaginary[..., 1:]], dim=-1)
        coefficients = torch.complex(real, imaginary)[..., *self._own] * amplitude
        mixed = torch.einsum("cs,bslm->bclm", self._mixing.to(coefficients.dtype), coefficients)
        return self._transform.inverse(mixed)


def finest_radius(grid: Grid) -> float:
    """Least radius of a `Smoother`, degrees, whose kernel the grid's degrees resolve.

    The last degree is damped to a hundredth; a narrower kernel would ring and turn negative.
    """
    num_degrees = min(grid.num_lat, grid.num_lon // 2)
    return float(np.degrees(np.sqrt(2.0 * np.log(100.0) / (num_degrees * (num_degrees - 1)))))


class Smoother:
    """Smoothing of fields [..., lat, lon] with a Gaussian of `radius` degrees (standard deviation).

    Degree l is damped by exp(-l (l + 1) radius**2 / 2), the heat kernel of the sphere.
    """

    def __init__(self, grid: Grid, radius: float, device: torch.device | None = None) -> None:
        num_degrees = min(grid.num_lat, grid.num_lon // 2)
        self._transform = SphericalTransform(grid, num_degrees, num_degrees)
        if device is not None:
            self._transform.to(device)
        degree = torch.arange(num_degrees, dtype=torch.float64, device=device)
        self._damping = torch.exp(-degree * (degree + 1.0) * np.radians(radius) ** 2 / 2.0)[:, None]

    def localize(self, mesh: Mesh) -> None:
        """Work on this process's block of fields."""
        self._transform.localize(mesh)
        self._damping = self._damping[mesh.of_height(len(self._damping))]

    def __call__(self, field: torch.Tensor) -> torch.Tensor:
        return self._transform.inverse(self._damping * self._transform.forward(field))
