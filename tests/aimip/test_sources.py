"""Which outputs make up which CMIP variable."""

from __future__ import annotations

import numpy as np
import pytest

from respeval.aimip.sources import Target, find_targets, parse_map
from respeval.errors import InputError

LAYERS = {f"air_temperature_{layer}": "K" for layer in range(8)}
LEVELS_HPA = {layer: 100.0 * (layer + 1) for layer in range(8)}


def targets(
    units: dict[str, str], *mapped: str, are_pressure_levels: bool = False
) -> tuple[dict[str, Target], list[str]]:
    found, remarks = find_targets(units, parse_map(mapped), LEVELS_HPA, are_pressure_levels)
    return {target.cmip.name: target for target in found}, remarks


def test_layers_are_in_their_order_and_with_their_pressures() -> None:
    shuffled = dict(sorted(LAYERS.items(), key=lambda item: item[0][::-1], reverse=True))
    found, remarks = targets(shuffled)
    axis = found["ta"].axis
    assert axis is not None
    assert (list(found), remarks) == (["ta"], [])
    assert found["ta"].outputs == tuple(LAYERS)
    assert axis.layer == tuple(range(8))
    assert axis.pressure_hPa is not None
    assert axis.pressure_hPa.tolist() == list(LEVELS_HPA.values())


def test_pressure_levels_go_from_the_surface_up() -> None:
    found, _ = targets({"T50": "K", "T1000": "K", "T500": "K"})
    axis = found["ta"].axis
    assert axis is not None
    assert axis.layer is None
    assert axis.pressure_hPa is not None
    assert axis.pressure_hPa.tolist() == [1000.0, 500.0, 50.0]
    assert found["ta"].outputs == ("T1000", "T500", "T50")


def test_of_layers_and_levels_the_more_numerous_are_taken() -> None:
    found, remarks = targets({**LAYERS, "TMP850": "K"})
    assert found["ta"].outputs == tuple(LAYERS)
    assert remarks == ["left out: TMP850; ta is made of air_temperature_0 and its like"]


def test_layers_without_known_pressures_have_none() -> None:
    found, _ = targets({"air_temperature_8": "K", "air_temperature_9": "K"})
    axis = found["ta"].axis
    assert axis is not None
    assert (axis.layer, axis.pressure_hPa) == ((8, 9), None)


def test_geopotential_becomes_height() -> None:
    found, _ = targets({"z500": "m**2 s**-2"})
    converted = found["zg"].convert(np.array([9.80665 * 5600.0]))
    np.testing.assert_allclose(converted, 5600.0, rtol=1e-12)
    assert found["zg"].cmip.units == "m"


def test_total_water_says_that_it_is() -> None:
    found, _ = targets({"specific_total_water_7": "kg/kg"}, "specific_total_water_7=huss")
    assert list(found) == ["hus", "huss"]
    for target in found.values():
        assert "total water" in (target.comment or "")


def test_units_that_do_not_fit_are_left_out_with_a_line() -> None:
    found, remarks = targets({"TMP2m": "1", "weather": "K"})
    assert found == {}
    assert remarks == [
        "left out: TMP2m, whose units '1' do not fit tas in 'K' (see --map)",
        "left out: weather, which no CMIP name is known for (see --map)",
    ]


def test_what_is_mapped_goes_before_the_table() -> None:
    found, remarks = targets({"TMP2m": "K", "mine": "degC"}, "mine=tas")
    assert found["tas"].outputs == ("mine",)
    assert (found["tas"].factor, found["tas"].offset) == (1.0, 273.15)
    assert remarks == []


def test_a_mapped_level_joins_the_tables() -> None:
    found, _ = targets({"T850": "K", "middle": "K"}, "middle=ta@500")
    assert found["ta"].outputs == ("T850", "middle")


def test_levels_in_different_units_are_refused() -> None:
    with pytest.raises(InputError, match="ta: its levels differ in units"):
        targets({"T850": "K", "T500": "degC"})


def test_layers_are_pressure_levels_on_request() -> None:
    found, _ = targets({**LAYERS, "air_temperature_850": "K"}, are_pressure_levels=True)
    axis = found["ta"].axis
    assert axis is not None
    assert axis.pressure_hPa is not None
    assert axis.pressure_hPa.tolist() == [850, 800, 700, 600, 500, 400, 300, 200, 100]
