"""Area weights against the exact sphere, and the transforms against Parseval's theorem."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from respeval.fields.grid import Grid, _nodes, in_band, in_box
from respeval.fields.transform import SphericalTransform, sum_over_orders


def cell_centred(num_lat: int, num_lon: int) -> Grid:
    latitude = -90 + (np.arange(num_lat) + 0.5) * 180 / num_lat
    return Grid.from_coordinates(latitude, np.arange(num_lon) * 360 / num_lon)


def test_gauss_weights_integrate_polynomials_exactly() -> None:
    grid = Grid.legendre_gauss(12, 24)
    x = np.sin(np.radians(grid.latitude))[:, None]
    weights = grid.area_weights()
    for power in range(0, 23, 2):  # the mean of x^p over the sphere is 1 / (p + 1) for even p
        assert (weights * x**power).sum() == pytest.approx(1 / (power + 1), abs=1e-14)


def test_other_weights_are_the_exact_areas_of_zones() -> None:
    grid = cell_centred(18, 36)
    by_circle = grid.area_weights().sum(axis=1)
    edges = np.radians(np.linspace(-90, 90, 19))
    assert by_circle == pytest.approx(np.diff(np.sin(edges)) / 2, abs=1e-15)


def test_pole_cells_of_an_equiangular_grid_are_caps() -> None:
    grid = Grid.from_coordinates(np.linspace(90, -90, 19), np.arange(36) * 10.0)
    assert grid.kind == "equiangular"
    cap = (1 - np.sin(np.radians(85.0))) / 2
    assert grid.area_weights().sum(axis=1)[0] == pytest.approx(cap, abs=1e-15)


def test_cos_lat_weights_are_normalized_cosines() -> None:
    grid = cell_centred(9, 18)
    cosine = np.repeat(np.cos(np.radians(grid.latitude))[:, None], 18, axis=1)
    assert grid.area_weights("cos_lat") == pytest.approx(cosine / cosine.sum(), abs=1e-16)


@pytest.mark.parametrize("rule", ["grid", "cos_lat"])
def test_weights_follow_the_direction_of_latitude(rule: str) -> None:
    north_first = Grid.legendre_gauss(10, 4)
    south_first = Grid(north_first.latitude[::-1], north_first.longitude, "legendre-gauss")
    assert north_first.north_to_south
    assert not south_first.north_to_south
    weights = north_first.area_weights(rule)  # type: ignore[arg-type]
    assert weights.sum() == pytest.approx(1.0, abs=1e-15)
    assert (south_first.area_weights(rule) == weights[::-1]).all()  # type: ignore[arg-type]


def test_kind_is_recognized_from_float32_coordinates() -> None:
    gauss = Grid.legendre_gauss(45, 90)
    found = Grid.from_coordinates(gauss.latitude.astype(np.float32), gauss.longitude)
    assert found.kind == "legendre-gauss"
    assert cell_centred(45, 90).kind == "regular"


@pytest.mark.parametrize(
    ("latitude", "longitude", "message"),
    [
        ([0, 10, 5], [0, 180], "strictly monotonic"),
        ([0, 100], [0, 180], "within -90 and 90"),
        ([0, 10], [0, 90], "around the whole circle"),
        ([0], [0, 180], "at least two"),
        ([0, np.nan], [0, 180], "finite"),
        ([-60, -20, 20, 60], [180, 90, 0, -90], "rise evenly"),
        ([0, 10, 20, 30], [0, 180], "from pole to pole, it ends at 0 with 10 degrees"),
        (np.arange(-60, 61, 2), [0, 180], "it ends at -60 with 2 degrees"),
        ([-75, -45, -15, 45, 75], [0, 180], "gap between -15 and 45: 60 degrees, beside it 30"),
        (np.linspace(-89.5, 89.5, 180), np.arange(360) * 0.99, "around the whole circle"),
    ],
)
def test_coordinates_that_are_no_global_grid_are_refused(
    latitude: list[float], longitude: list[float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Grid(np.array(latitude, float), np.array(longitude, float))


def lobatto(num_lat: int) -> np.ndarray:
    """Poles and the roots of the derivative of the Legendre polynomial, as polynomials have them."""
    highest = np.zeros(num_lat)
    highest[-1] = 1.0
    roots = np.polynomial.legendre.legroots(np.polynomial.legendre.legder(highest))
    return np.concatenate([[90.0], np.degrees(np.arcsin(roots[::-1])), [-90.0]])


GAUSS = Grid.legendre_gauss(12, 24).latitude
EVEN = np.arange(82.5, -90.0, -15.0)
LATITUDES = {
    "legendre-gauss": GAUSS,
    "equiangular": np.linspace(90.0, -90.0, 12),
    "lobatto": lobatto(12),
    "regular": EVEN + np.sin(np.radians(2 * EVEN)),
}


@pytest.mark.parametrize("kind", LATITUDES)
@pytest.mark.parametrize("rule", LATITUDES)
def test_a_kind_is_held_against_its_latitudes(kind: Any, rule: str) -> None:
    longitude, latitude = np.arange(24) * 15.0, LATITUDES[rule]
    if kind in (rule, "regular"):
        assert Grid(latitude, longitude, kind).kind == kind
        return
    with pytest.raises(ValueError, match=f"grid kind '{kind}' does not fit .* they are {rule}"):
        Grid(latitude, longitude, kind)


@pytest.mark.parametrize("kind", LATITUDES)
def test_a_kind_fits_latitudes_of_float32_and_rounded_ones_in_both_directions(kind: Any) -> None:
    longitude, latitude = np.arange(24) * 15.0, LATITUDES[kind]
    for given in (latitude.astype(np.float32), latitude[::-1].round(2), latitude.round(1)):
        assert Grid(given, longitude.astype(np.float32), kind).kind == kind


def test_evenly_spaced_latitudes_are_equiangular_with_poles_and_without() -> None:
    longitude = np.arange(24) * 15.0
    one_pole = np.arange(90.0, -90.0, -15.0)  # as ERA5's rows without the last one
    for latitude, expected in ((EVEN, False), (one_pole, False), (LATITUDES["equiangular"], True)):
        grid = Grid(latitude, longitude, "equiangular")
        edges = np.sin(np.radians(grid.latitude_bounds()))
        areas = np.abs(edges[:, 1] - edges[:, 0]) / 2
        assert grid.area_weights().sum(axis=1) == pytest.approx(areas, abs=1e-15)
        assert grid.has_quadrature is expected


@pytest.mark.parametrize(("kind", "number"), [("legendre-gauss", 1200), ("lobatto", 1100)])
def test_nodes_of_many_latitudes_are_those_of_few_continued(kind: Any, number: int) -> None:
    """The asymptotic formula against nodes by eigenvalues, which take cubic time."""
    exact = {
        "legendre-gauss": lambda: np.degrees(np.arcsin(np.polynomial.legendre.leggauss(number)[0])),
        "lobatto": lambda: np.degrees(np.arcsin(jacobi_nodes(number - 2))),
    }[kind]()
    found = _nodes(kind, number)
    inner = found if kind == "legendre-gauss" else found[1:-1]
    assert np.abs(inner - exact).max() < 4e-4


def jacobi_nodes(number: int) -> np.ndarray:
    from scipy.special import roots_jacobi

    nodes: np.ndarray = roots_jacobi(number, 1, 1)[0]
    return nodes


def test_fields_in_any_order_find_their_cells() -> None:
    grid = Grid.legendre_gauss(8, 16)
    values = np.arange(8 * 16).reshape(grid.shape)
    half = np.where(grid.longitude > 180, grid.longitude - 360, grid.longitude)
    for longitude in (np.sort(half), half, np.sort(half)[::-1], grid.longitude + 360):
        for latitude in (grid.latitude, grid.latitude[::-1].astype(np.float32)):
            assert grid.difference_from(latitude, longitude) is None
            rows = [int(np.abs(grid.latitude - lat).argmin()) for lat in latitude]
            columns = [int(np.abs(grid.longitude - lon % 360).argmin()) for lon in longitude]
            stored = values[np.ix_(rows, columns)]
            there = grid.order_of(latitude, longitude)
            np.testing.assert_array_equal(stored[np.ix_(*there)], values)


def test_difference_names_size_and_offset_and_ignores_direction() -> None:
    grid = Grid.legendre_gauss(8, 16)
    assert grid.difference_from(grid.latitude[::-1], grid.longitude - 360) is None
    assert "8 x 18 cells instead of 8 x 16" in str(
        grid.difference_from(grid.latitude, np.arange(18) * 20.0)
    )
    assert "latitudes are off by up to 1 " in str(
        grid.difference_from(grid.latitude + 1, grid.longitude)
    )
    assert "longitudes are off" in str(grid.difference_from(grid.latitude, grid.longitude + 11.25))


def test_bands_are_half_open_and_folded() -> None:
    latitude = np.array([-30.0, -15.0, -14.9, 0.0, 15.0, 29.9])
    assert in_band(latitude, 15, 30).tolist() == [False, True, False, False, True, True]


@pytest.mark.parametrize(("num_lat", "num_lon"), [(9, 18), (12, 24), (10, 21)])
def test_power_by_degree_obeys_parseval(num_lat: int, num_lon: int) -> None:
    grid = Grid.legendre_gauss(num_lat, num_lon)
    degrees = min(num_lat, (num_lon + 1) // 2)
    transform = SphericalTransform(grid, degrees, degrees)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(num_lat, num_lon, generator=generator, dtype=torch.float64)
    field = transform.inverse(transform.forward(noise))  # band-limited
    power = sum_over_orders(transform.forward(field).abs() ** 2)
    mean_square = (field**2 * torch.from_numpy(grid.area_weights())).sum()
    assert power.sum() / (4 * np.pi) == pytest.approx(float(mean_square), rel=1e-12)


def test_a_pure_harmonic_has_power_at_its_own_degree_in_both_directions() -> None:
    grid = Grid.legendre_gauss(12, 24)
    for flipped in (False, True):
        latitude = grid.latitude[::-1] if flipped else grid.latitude
        there = Grid(latitude, grid.longitude, "legendre-gauss")
        x = np.sin(np.radians(there.latitude))[:, None]
        # Y_21 is proportional to sin(lat) cos(lat) cos(lon); its mean square is 1/15.
        field = x * np.sqrt(1 - x**2) * np.cos(np.radians(there.longitude))
        coefficients = SphericalTransform(there, 12, 12).forward(torch.from_numpy(field))
        power = sum_over_orders(coefficients.abs() ** 2) / (4 * np.pi)
        expected = np.zeros(12)
        expected[2] = 1 / 15
        assert power.numpy() == pytest.approx(expected, abs=1e-14)
        back = SphericalTransform(there, 12, 12).inverse(coefficients)
        assert back.numpy() == pytest.approx(field, abs=1e-13)


def test_transforms_refuse_grids_without_a_quadrature_and_other_truncations() -> None:
    with pytest.raises(ValueError, match="none of them"):
        SphericalTransform(cell_centred(8, 16), 8, 8)
    named = Grid(cell_centred(8, 16).latitude, np.arange(16) * 22.5, "equiangular")
    with pytest.raises(ValueError, match="equiangular one with both poles"):
        SphericalTransform(named, 8, 8)
    with pytest.raises(ValueError, match="triangular"):
        SphericalTransform(Grid.legendre_gauss(8, 16), 8, 9)


@pytest.mark.parametrize("poles", [90.0, 90.0 + 1e-7, 90.0 - 1e-7])
def test_what_ends_at_90_holds_the_poles(poles: float) -> None:
    latitude = np.array([-poles, -45.0, 0.0, 45.0, poles])
    assert in_band(latitude, 60.0, 90.0).tolist() == [True, False, False, False, True]
    assert in_band(latitude, 0.0, 45.0).tolist() == [False, False, True, False, False]
    grid = Grid(latitude, np.arange(4) * 90.0)
    rows = in_box(grid, (-90.0, 90.0), (0.0, 360.0)).all(axis=1)
    assert rows.all()
    assert in_box(grid, (-90.0, -45.0), (0.0, 360.0))[:, 0].tolist() == [True] + [False] * 4
    assert in_box(grid, (45.0, 90.0), (0.0, 360.0))[:, 0].tolist() == [False] * 3 + [True] * 2
