"""SST changes: the strict cutoff, the scopes, and the patch against its formula cell by cell."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from respeval.fields.grid import Grid
from respeval.fields.perturbation import (
    patch_pattern,
    perturb_initial,
    perturb_over_ocean,
    uniform_pattern,
)

FRACTION = torch.tensor([[0.0, 0.5, 0.50001, 1.0]])
SST = torch.tensor([[280.0, 281.0, 282.0, 283.0]])
FOUR = torch.full((1, 4), 4.0, dtype=torch.float64)


def test_only_cells_strictly_above_the_cutoff_change() -> None:
    changed = perturb_over_ocean(SST, FRACTION, FOUR, 0.5)
    assert (changed - SST).tolist() == [[0.0, 0.0, 4.0, 4.0]]
    assert changed.dtype == SST.dtype


def test_the_callers_tensors_never_change() -> None:
    sst, fraction, pattern = SST.clone(), FRACTION.clone(), FOUR.clone()
    results = [perturb_over_ocean(sst, fraction, pattern, 0.5)]
    results += [perturb_initial(sst, fraction, pattern, 0.5, s) for s in ("ocean", "field", "none")]
    for result in results:
        result += 1.0
    assert torch.equal(sst, SST)
    assert torch.equal(fraction, FRACTION)
    assert torch.equal(pattern, FOUR)


@pytest.mark.parametrize(
    ("scope", "expected"),
    [("ocean", [0, 0, 4, 4]), ("field", [4, 4, 4, 4]), ("none", [0, 0, 0, 0])],
)
def test_scopes_of_the_initial_condition(scope: str, expected: list[float]) -> None:
    changed = perturb_initial(SST, FRACTION, FOUR, 0.5, scope)  # type: ignore[arg-type]
    assert (changed - SST).tolist() == [expected]


def test_a_pattern_missing_over_land_reaches_no_cell() -> None:
    pattern = torch.tensor([[math.nan, math.nan, 1.0, 2.0]], dtype=torch.float64)
    changed = perturb_over_ocean(SST, FRACTION, pattern, 0.5)
    assert (changed - SST).tolist() == [[0.0, 0.0, 1.0, 2.0]]


def test_uniform_pattern_is_the_amplitude_everywhere() -> None:
    assert (uniform_pattern(Grid.legendre_gauss(4, 8), -1.5) == -1.5).all()


@pytest.mark.parametrize("lon_center", [0.0, 175.0, -185.0, 350.0])
def test_patch_follows_its_formula_across_the_date_line(lon_center: float) -> None:
    grid = Grid(np.linspace(-88, 88, 45), np.arange(90) * 4.0)
    pattern = patch_pattern(grid, 2.0, 10.0, lon_center, 40.0, 100.0)
    for i, latitude in enumerate(grid.latitude):
        for j, longitude in enumerate(grid.longitude):
            north = latitude - 10.0
            east = min((longitude - lon_center + 360.0 * k for k in (-2, -1, 0, 1, 2)), key=abs)
            expected = 0.0
            if abs(north) <= 20.0 and abs(east) <= 50.0:
                expected = 2.0
                expected *= math.cos(math.pi / 2 * north / 20.0) ** 2
                expected *= math.cos(math.pi / 2 * east / 50.0) ** 2
            assert pattern[i, j] == pytest.approx(expected, abs=1e-12)


def test_patch_has_its_amplitude_at_the_centre_and_nothing_at_the_edge() -> None:
    grid = Grid(np.linspace(-80, 80, 17), np.arange(36) * 10.0)
    pattern = patch_pattern(grid, 3.0, 0.0, 0.0, 40.0, 80.0)
    assert pattern[8, 0] == pytest.approx(3.0)
    assert pattern[8, 4] == pytest.approx(0.0, abs=1e-12)
    assert pattern[8, 32] == pytest.approx(0.0, abs=1e-12)
    assert pattern[8, 2] == pytest.approx(1.5)
    assert pattern[8, 34] == pytest.approx(1.5)
