"""Area weights against the exact sphere, and the transforms against Parseval's theorem."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from respeval.fields.grid import Grid, in_band
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
    ],
)
def test_coordinates_that_are_no_global_grid_are_refused(
    latitude: list[float], longitude: list[float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Grid(np.array(latitude, float), np.array(longitude, float))


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
    with pytest.raises(ValueError, match="triangular"):
        SphericalTransform(Grid.legendre_gauss(8, 16), 8, 9)
