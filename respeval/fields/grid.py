"""Where the cells are, how much area each one has, and what bands and surfaces of them are called.

The conventions of the sphere are stated here once: area weights, half-open bands of latitude.
"""

from __future__ import annotations

import functools
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
IndexArray = NDArray[np.intp]
BoolArray = NDArray[np.bool_]

#: Degrees by which two descriptions of one grid may differ: float32 coordinates are off by 1e-5.
COORDINATE_TOLERANCE = 1e-3

#: Coordinates may be this share of a spacing away from where a grid's rule has them, and no more than so
#: many degrees: numbers that were rounded to a tenth are.
_SHARE_OFF, _MOST_OFF = 0.05, 0.06

#: A pole is at most so many spacings beyond the outermost latitudes (one, where a grid leaves out the
#: row at the pole), and no two rows are so many spacings of their neighbours apart.
_MOST_TO_POLE, _MOST_APART = 1.5, 1.75

#: Above so many latitudes the rules' nodes come from their asymptotic formula, right to 3e-4 degrees
#: there: exact ones take time with the cube of the number, and a file may claim any.
_MOST_EXACT = 1024


@dataclass(frozen=True, eq=False)
class Grid:
    """A global latitude-longitude grid of cell centres.

    latitude: [lat], degrees_north, strictly monotonic in either direction, without a gap from pole to pole.
    longitude: [lon], degrees_east, evenly spaced over the whole circle.
    kind: the latitudes' rule. `legendre-gauss` and `lobatto` are the nodes of these quadratures, which
        `equiangular` latitudes, evenly spaced, have where both poles are among them. `regular` is any
        set of latitudes that has no quadrature of its own.

    Raises ValueError where the coordinates are no global grid, or not of this kind.

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
        _check_order(latitude)
        _check_longitudes(longitude)
        _check_coverage(latitude)
        _check_kind(latitude, self.kind)
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
        kinds: tuple[GridKind, ...] = ("legendre-gauss", "equiangular")
        for kind in kinds:
            nodes = _nodes(kind, grid.num_lat)
            if np.abs(np.sort(grid.latitude) - nodes).max() < COORDINATE_TOLERANCE:
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

    @property
    def has_quadrature(self) -> bool:
        """Whether the latitudes are the nodes of a quadrature, which a spherical transform needs."""
        poles = np.abs(np.abs(self.latitude[[0, -1]]) - 90.0)
        return self.kind in ("legendre-gauss", "lobatto") or (
            self.kind == "equiangular" and bool(poles.max() < _tolerance(self.num_lat, 180.0))
        )

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
        """Why these coordinates are not this grid's, turned around or rolled, or None."""
        if (len(latitude), len(longitude)) != self.shape:
            return f"{len(latitude)} x {len(longitude)} cells instead of {self.num_lat} x {self.num_lon}"
        rows, columns = self.order_of(latitude, longitude)
        if len({*np.sign(np.diff(rows))}) > 1:
            return "its latitudes neither rise nor fall all the way"
        offset = np.abs(np.asarray(latitude, dtype=np.float64)[rows] - self.latitude).max()
        if not offset < 10 * COORDINATE_TOLERANCE:
            return f"its latitudes are off by up to {offset:.3g} degrees"
        turn = np.asarray(longitude, dtype=np.float64)[columns] - self.longitude
        offset = np.abs((turn + 180.0) % 360.0 - 180.0).max()
        if not offset < 10 * COORDINATE_TOLERANCE:
            return f"its longitudes are off by up to {offset:.3g} degrees"
        return None

    def order_of(
        self, latitude: FloatArray, longitude: FloatArray
    ) -> tuple[IndexArray, IndexArray]:
        """The rows and columns of a field with these coordinates in this grid's order.

        The field may run the other way in latitude, and begin at another longitude: -180, say.

        >>> grid = Grid.legendre_gauss(num_lat=2, num_lon=4)  # north to south; 0, 90, 180, 270
        >>> rows, columns = grid.order_of([-35.26, 35.26], [-180.0, -90.0, 0.0, 90.0])
        >>> rows.tolist(), columns.tolist()
        ([1, 0], [2, 3, 0, 1])
        """
        rows = np.argsort(np.asarray(latitude, dtype=np.float64), kind="stable")
        if self.north_to_south:
            rows = rows[::-1]
        # Half a spacing of room, so that a first longitude which is rounded down stays the first.
        first = self.longitude[0] - 180.0 / self.num_lon
        east = (np.asarray(longitude, dtype=np.float64) - first) % 360.0
        return rows, np.argsort(east, kind="stable")


def _tolerance(number: int, span: float) -> float:
    """Degrees by which coordinates may be off, where so many share so many degrees."""
    return min(_SHARE_OFF * span / number, _MOST_OFF)


def _check_order(latitude: FloatArray) -> None:
    steps = np.diff(latitude)
    if not ((steps > 0).all() or (steps < 0).all()) or np.abs(latitude).max() > 90 + 1e-4:
        raise ValueError("latitude must be strictly monotonic and lie within -90 and 90 degrees")


def _check_coverage(latitude: FloatArray) -> None:
    """Raise ValueError where rows are missing, at a pole or between others: its neighbours' cells
    would be counted with the area of the gap."""
    apart = np.abs(np.diff(latitude))
    for end, spacing in ((latitude[0], apart[0]), (latitude[-1], apart[-1])):
        pole = 90.0 if end == latitude.max() else -90.0
        if abs(pole - end) > _MOST_TO_POLE * spacing:
            raise ValueError(
                f"latitude must reach from pole to pole, it ends at {end:g} with {spacing:g} degrees between "
                "its last rows: a part of the globe is no global grid"
            )
    beside = np.maximum(np.append(apart[1:], 0.0), np.append(0.0, apart[:-1]))
    gap = apart > _MOST_APART * beside
    if apart.size > 1 and gap.any():
        at = int(np.argmax(gap))
        raise ValueError(
            f"latitude has a gap between {latitude[at]:g} and {latitude[at + 1]:g}: {apart[at]:g} degrees, "
            f"beside it {beside[at]:g}"
        )


def _check_longitudes(longitude: FloatArray) -> None:
    spacing = 360.0 / longitude.size
    even = longitude[0] + spacing * np.arange(longitude.size)
    if np.abs(longitude - even).max() > _tolerance(longitude.size, 360.0):
        raise ValueError(
            f"longitude must rise evenly by {spacing:g} degrees around the whole circle"
        )


def _check_kind(latitude: FloatArray, kind: GridKind) -> None:
    """Raise ValueError where latitudes are not of the kind that is stated: areas would be others."""
    off = _off(latitude, kind)
    if off > _tolerance(latitude.size, 180.0):
        others: tuple[GridKind, ...] = ("legendre-gauss", "equiangular", "lobatto")
        fits = [other for other in others if _off(latitude, other) <= COORDINATE_TOLERANCE]
        raise ValueError(
            f"grid kind {kind!r} does not fit the {latitude.size} latitudes, which are off by up to "
            f"{off:.3g} degrees; they are {' or '.join(fits) or 'regular'}"
        )


def _off(latitude: FloatArray, kind: GridKind) -> float:
    """Degrees by which latitudes miss a kind's rule. Evenly spaced ones may leave out the poles."""
    rising = np.sort(latitude)
    if kind == "regular":
        return 0.0
    if kind == "equiangular":
        even = np.linspace(rising[0], rising[-1], rising.size)
        return float(np.abs(rising - even).max())
    return float(np.abs(rising - _nodes(kind, rising.size)).max())


@functools.lru_cache(maxsize=32)
def _nodes(kind: GridKind, number: int) -> FloatArray:
    """The latitudes of a quadrature from south to north, [lat], degrees.

    Gauss: the roots of the Legendre polynomial P_n; Lobatto: the poles and the roots of P'_{n-1}, which
    are those of the Jacobi polynomial P^(1,1)_{n-2}. Many: Abramowitz and Stegun, 22.16.
    """
    if kind == "equiangular":
        return np.linspace(-90.0, 90.0, number)
    is_gauss = kind == "legendre-gauss"
    inner = number if is_gauss else number - 2
    if number > _MOST_EXACT:
        middle = number + 0.5 if is_gauss else number - 0.5
        shift, factor = (-0.25, 1 / 8) if is_gauss else (0.25, -3 / 8)
        angle = (np.arange(inner, 0, -1) + shift) * np.pi / middle
        latitude = 90.0 - np.degrees(angle + factor / (middle**2 * np.tan(angle)))
    elif is_gauss:
        latitude = np.degrees(np.arcsin(np.polynomial.legendre.leggauss(number)[0]))
    else:
        from scipy.special import roots_jacobi  # late: it is slow to load, and few grids need it

        latitude = np.degrees(np.arcsin(roots_jacobi(inner, 1, 1)[0] if inner else np.zeros(0)))
    return latitude if is_gauss else np.concatenate([[-90.0], latitude, [90.0]])


def in_band(latitude: FloatArray, low: float, high: float) -> BoolArray:
    """Which latitudes lie in the folded band low <= |latitude| < high, degrees, 90 included; same shape.

    >>> in_band(np.array([-20.0, -15.0, 0.0, 15.0]), 0.0, 15.0).tolist()
    [False, False, True, False]
    """
    folded = np.abs(latitude)
    return (folded >= low) & ((folded < high) | (high >= 90.0))


def in_box(grid: Grid, lat: tuple[float, float], lon: tuple[float, float]) -> BoolArray:
    """Cells [lat, lon] whose centres lie in a box, degrees: low <= latitude < high, poles included,
    and eastward from the first longitude to the second, which may be across the seam.

    >>> grid = Grid.legendre_gauss(num_lat=2, num_lon=8)  # longitudes 0, 45, …, 315
    >>> in_box(grid, (0.0, 90.0), (300.0, 50.0))[0].tolist()
    [True, True, False, False, False, False, False, True]
    """
    low, high = lat
    # Coordinates of a pole may be off by rounding, to either side.
    above, below = (grid.latitude >= low) | (low <= -90.0), (grid.latitude < high) | (high >= 90.0)
    rows = above & below
    first, last = lon
    width = 360.0 if abs(last - first) >= 360.0 else (last - first) % 360.0
    columns = (grid.longitude - first) % 360.0 < width
    return np.asarray(rows[:, None] & columns)
