"""Where the cells are, how much area each one has, and what bands and surfaces of them are called.

The conventions of the sphere are stated here once: area weights, half-open bands of latitude.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

#: What means are over: every cell, and those that the masks of a run call land and ocean.
SURFACES = ("all", "land", "ocean")

#: Folded |latitude| bands, degrees, half-open [low, high).
DEFAULT_BANDS: Mapping[str, tuple[float, float]] = {
    "tropics": (0.0, 15.0),
    "subtropics": (15.0, 30.0),
    "midlatitudes": (30.0, 50.0),
}

#: The tropics are |latitude| below this, degrees.
TROPICAL_LAT_MAX = 15.0

GridKind = Literal["legendre-gauss", "equiangular", "lobatto", "regular"]
AreaWeights = Literal["grid", "cos_lat"]
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: Degrees by which two descriptions of one grid may differ: float32 coordinates are off by 1e-5.
COORDINATE_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class Grid:
    """A global latitude-longitude grid of cell centres.

    latitude: [lat], degrees_north, strictly monotonic in either direction.
    longitude: [lon], degrees_east, evenly spaced over the whole circle.
    kind: the latitudes' rule. `regular` is any set of latitudes that has no quadrature of its own.

    Raises ValueError where the coordinates are no global grid.

    >>> grid = Grid.legendre_gauss(num_lat=4, num_lon=8)
    >>> print(grid)
    4 x 8 legendre-gauss, north to south
    >>> [round(latitude, 2) for latitude in grid.latitude.tolist()]
    [59.44, 19.88, -19.88, -59.44]
    >>> [f"{share:.3f}" for share in grid.area_weights().sum(axis=1)]  # of each circle of latitude
    ['0.174', '0.326', '0.326', '0.174']
    """

    latitude: FloatArray
    longitude: FloatArray
    kind: GridKind = "regular"

    def __post_init__(self) -> None:
        if self.kind not in get_args(GridKind):
            raise ValueError(
                f"unknown grid kind {self.kind!r} (allowed: {', '.join(get_args(GridKind))})"
            )
        latitude = np.array(self.latitude, dtype=np.float64)
        longitude = np.array(self.longitude, dtype=np.float64)
        for name, values in (("latitude", latitude), ("longitude", longitude)):
            if values.ndim != 1 or values.size < 2 or not np.isfinite(values).all():
                raise ValueError(f"{name} must be a list of at least two finite numbers in degrees")
        steps = np.diff(latitude)
        if not ((steps > 0).all() or (steps < 0).all()) or np.abs(latitude).max() > 90 + 1e-6:
            raise ValueError(
                "latitude must be strictly monotonic and lie within -90 and 90 degrees"
            )
        spacing = np.diff(longitude)
        if np.abs(spacing - 360.0 / longitude.size).max() > 10 * COORDINATE_TOLERANCE:
            raise ValueError(
                f"longitude must rise evenly by {360.0 / longitude.size:g} degrees around the whole circle"
            )
        latitude.setflags(write=False)
        longitude.setflags(write=False)
        object.__setattr__(self, "latitude", latitude)
        object.__setattr__(self, "longitude", longitude)

    @classmethod
    def legendre_gauss(cls, num_lat: int, num_lon: int) -> Grid:
        """The Gauss grid of `num_lat` latitudes, from north to south, first longitude at 0."""
        nodes, _ = np.polynomial.legendre.leggauss(num_lat)
        latitude: FloatArray = np.degrees(np.arcsin(nodes[::-1]))
        longitude: FloatArray = np.arange(num_lon, dtype=np.float64) * (360.0 / num_lon)
        return cls(latitude, longitude, "legendre-gauss")

    @classmethod
    def from_coordinates(cls, latitude: FloatArray, longitude: FloatArray) -> Grid:
        """The grid of these coordinates, its kind found by comparing the latitudes with each rule.

        Cell-centred latitudes such as 89.5, 88.5, … are `regular`.
        """
        grid = cls(latitude, longitude)
        rising = np.sort(grid.latitude)
        rules: dict[GridKind, FloatArray] = {
            "legendre-gauss": np.degrees(
                np.arcsin(np.polynomial.legendre.leggauss(rising.size)[0])
            ),
            "equiangular": np.linspace(-90.0, 90.0, rising.size),
        }
        for kind, expected in rules.items():
            if np.abs(rising - expected).max() < COORDINATE_TOLERANCE:
                return cls(grid.latitude, grid.longitude, kind)
        return grid

    @property
    def num_lat(self) -> int:
        return int(self.latitude.size)

    @property
    def num_lon(self) -> int:
        return int(self.longitude.size)

    @property
    def shape(self) -> tuple[int, int]:
        return self.num_lat, self.num_lon

    @property
    def north_to_south(self) -> bool:
        return bool(self.latitude[0] > self.latitude[-1])

    def __str__(self) -> str:
        direction = "north to south" if self.north_to_south else "south to north"
        return f"{self.num_lat} x {self.num_lon} {self.kind}, {direction}"

    def latitude_bounds(self) -> FloatArray:
        """Edges of the cells, [lat, 2], degrees: half-way between centres, the poles at the ends."""
        inner = 0.5 * (self.latitude[1:] + self.latitude[:-1])
        first = 90.0 if self.north_to_south else -90.0
        edges = np.concatenate([[first], inner, [-first]])
        return np.stack([edges[:-1], edges[1:]], axis=1)

    def longitude_bounds(self) -> FloatArray:
        """Edges of the cells, [lon, 2], degrees, half a spacing to either side of the centre."""
        half = 180.0 / self.num_lon
        return np.stack([self.longitude - half, self.longitude + half], axis=1)

    def area_weights(self, rule: AreaWeights = "grid") -> FloatArray:
        """Share of the sphere's area in each cell, [lat, lon], summing to 1.

        `grid`: the Gauss quadrature weights on a Legendre-Gauss grid, else the difference of
        sin(latitude) between the cell's edges. `cos_lat`: normalized cos(latitude), as ACE does.
        """
        if rule == "cos_lat":
            by_latitude = np.cos(np.radians(self.latitude))
        elif self.kind == "legendre-gauss":
            by_latitude = np.polynomial.legendre.leggauss(self.num_lat)[1]
        else:
            edges = np.sin(np.radians(self.latitude_bounds()))
            by_latitude = np.abs(edges[:, 1] - edges[:, 0])
        weights = np.broadcast_to(by_latitude[:, None], self.shape)
        return np.ascontiguousarray(weights / weights.sum())

    def difference_from(self, latitude: FloatArray, longitude: FloatArray) -> str | None:
        """Why these coordinates are not this grid's (in either direction of latitude), or None."""
        if (len(latitude), len(longitude)) != self.shape:
            return f"{len(latitude)} x {len(longitude)} cells instead of {self.num_lat} x {self.num_lon}"
        ordered = np.asarray(latitude, dtype=np.float64)
        if (ordered[0] > ordered[-1]) != self.north_to_south:
            ordered = ordered[::-1]
        offset = np.abs(ordered - self.latitude).max()
        if not offset < 10 * COORDINATE_TOLERANCE:
            return f"its latitudes are off by up to {offset:.3g} degrees"
        turn = (np.asarray(longitude, dtype=np.float64) - self.longitude + 180.0) % 360.0 - 180.0
        if not np.abs(turn).max() < 10 * COORDINATE_TOLERANCE:
            return f"its longitudes are off by up to {np.abs(turn).max():.3g} degrees"
        return None


def in_band(latitude: FloatArray, low: float, high: float) -> BoolArray:
    """Which latitudes lie in the folded band low <= |latitude| < high, degrees; same shape.

    >>> in_band(np.array([-20.0, -15.0, 0.0, 15.0]), 0.0, 15.0).tolist()
    [False, False, True, False]
    """
    folded = np.abs(latitude)
    return (folded >= low) & (folded < high)


def in_box(grid: Grid, lat: tuple[float, float], lon: tuple[float, float]) -> BoolArray:
    """Cells [lat, lon] whose centres lie in a box, degrees: low <= latitude < high, a pole included,
    and eastward from the first longitude to the second, which may be across the seam.

    >>> grid = Grid.legendre_gauss(num_lat=2, num_lon=8)  # longitudes 0, 45, …, 315
    >>> in_box(grid, (0.0, 90.0), (300.0, 50.0))[0].tolist()
    [True, True, False, False, False, False, False, True]
    """
    low, high = lat
    rows = (grid.latitude >= low) & ((grid.latitude < high) | (high == 90.0))
    first, last = lon
    width = 360.0 if abs(last - first) >= 360.0 else (last - first) % 360.0
    columns = (grid.longitude - first) % 360.0 < width
    return np.asarray(rows[:, None] & columns)
