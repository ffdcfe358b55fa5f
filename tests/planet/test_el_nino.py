"""An El Niño of known pattern and period in the planet's SST: what goes with it, and what warming changes."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from respeval.case.file import load_case
from respeval.diagnostics.statistics.regression import monthly_anomalies
from respeval.files.netcdf import open_saved
from respeval.plan.plan import plan_run
from respeval.planet.datasets import make_initial_conditions
from respeval.planet.emulator import PlanetEmulator
from tests.support import enso
from tests.support.enso import GRID
from tests.support.studies import run

SPINUP_YEARS, YEARS = 1, 5
NAMES = [variable.name for variable in PlanetEmulator(GRID).spec.outputs]
MONTH = np.arange(12 * YEARS) % 12 + 1


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[xr.Dataset, xr.Dataset, np.ndarray]:
    """Indices and maps of a run, and the true slopes [group, output, lat, lon] from its equilibria."""
    folder = tmp_path_factory.mktemp("planet")
    forcing = enso.planet_forcing(GRID, SPINUP_YEARS + YEARS)
    forcing.to_netcdf(folder / "forcing.nc")
    make_initial_conditions(forcing, 1).to_netcdf(folder / "initial.nc")
    case = {
        "forcing": str(folder / "forcing.nc"),
        "initial_condition": str(folder / "initial.nc"),
        "years": SPINUP_YEARS + YEARS,
        "spinup": f"{SPINUP_YEARS} year",
        "perturbations": {"p4K": {"type": "uniform", "amplitude_K": 4.0}},
    }
    out = run(plan_run(PlanetEmulator(GRID), load_case(None, case), "the planet"), folder / "out")
    with open_saved(out / "indices.nc") as indices, open_saved(out / "regressions.nc") as maps:
        indices, maps = indices.load(), maps.load()
    slopes = []
    for group, change in enumerate((0.0, 4.0)):
        settled = monthly_anomalies(
            enso.settled_months(GRID, forcing, change)[12 * SPINUP_YEARS :], MONTH
        )
        index = indices["nino34"].values[group]
        slopes.append(np.tensordot(index, settled, axes=1) / (index @ index))
    return indices, maps, np.stack(slopes)


def share(maps: xr.Dataset, cells: np.ndarray) -> float:
    """Of the globe's area."""
    return float((maps["area_weight"].values * cells).sum())


def test_the_mode_and_its_period_are_found(
    found: tuple[xr.Dataset, xr.Dataset, np.ndarray],
) -> None:
    indices, maps, _ = found
    years = SPINUP_YEARS + (np.arange(12 * YEARS) + 0.5) / 12.0
    own = monthly_anomalies(enso.amplitude(years), MONTH)
    for index in indices["nino34"].values:
        assert np.corrcoef(index, own)[0, 1] > 0.999
    assert indices["nino34_period"].values == pytest.approx(enso.PERIOD_YEARS, rel=0.06)
    size = float(indices["nino34"].values[0] @ own / (own @ own))
    ocean = maps["ocean_mask"].values == 1
    slope = maps[enso.SURFACE].values[:, ocean]
    assert slope == pytest.approx(np.stack([enso.mode(GRID)[ocean] / size] * 2), abs=0.02)


def test_the_intervals_hold_what_goes_with_it(
    found: tuple[xr.Dataset, xr.Dataset, np.ndarray],
) -> None:
    """In every level of the troposphere, in the rain and in the fluxes, though the weather hides it."""
    _, maps, truth = found
    held = {}
    for number, name in enumerate(NAMES):
        if name != enso.SURFACE:
            error = np.abs(maps[name].values[0] - truth[0, number])
            held[name] = share(maps, error <= 2.0 * maps[f"{name}_stderr"].values[0])
    assert min(held.values()) > 0.85
    assert 0.90 < np.mean(list(held.values())) < 0.98
    upper = NAMES.index("air_temperature_2")
    assert np.abs(truth[0, upper]).max() > 1.0
    significant = maps["air_temperature_2_significant"].values[0] == 1
    assert significant[truth[0, upper] > 1.2].all()
    without = np.abs(truth[0, upper]) < 0.01
    assert without.sum() > 50
    assert significant[without].sum() < 0.1 * significant.sum()


def test_the_change_by_warming_is_the_planets(
    found: tuple[xr.Dataset, xr.Dataset, np.ndarray],
) -> None:
    """A warmer adiabat answers less at 360 hPa to the same El Niño. The weather, which both climates share,
    cancels: the change is known far better than the slopes."""
    _, maps, truth = found
    change = truth[1] - truth[0]
    for name in (f"air_temperature_{level}" for level in range(2, 8)):
        own = change[NAMES.index(name)]
        got, low, high = (maps[f"{name}_change{end}"].values[0] for end in ("", "_low", "_high"))
        assert np.abs(got - own).max() < 0.02 * np.abs(own).max() + 2e-3, name
        assert share(maps, (low <= own) & (own <= high)) > 0.93, name
    third = change[NAMES.index("air_temperature_3")]
    assert third.min() < -0.1
    assert (maps["air_temperature_3_change_significant"].values[0] == 1)[third < -0.1].all()
    reach = (maps["air_temperature_3_change_high"] - maps["air_temperature_3_change_low"]).values[0]
    assert np.median(reach) < 0.2 * np.median(4.0 * maps["air_temperature_3_stderr"].values[0])
    # Rain changes by a fixed share per kelvin: its slope is the same in both climates.
    rain = NAMES.index("PRATEsfc")
    assert np.abs(change[rain]).max() < 1e-12 * np.abs(truth[0, rain]).max()
    assert maps["PRATEsfc_change_significant"].values.mean() < 0.02
