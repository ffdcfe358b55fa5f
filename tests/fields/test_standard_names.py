"""What outputs of several models are in CMIP's terms."""

from __future__ import annotations

import pytest

from respeval.fields.standard_names import CMIP, conversion, meaning_of, spelled, standard_name


@pytest.mark.parametrize(
    ("name", "cmip", "level", "pressure_hPa"),
    [
        ("air_temperature_3", "ta", 3, None),
        ("air_temperature_12", "ta", 12, None),
        ("specific_total_water_0", "hus", 0, None),
        ("air_temperature_850", "ta", None, 850.0),
        ("TMP850", "ta", None, 850.0),
        ("T500", "ta", None, 500.0),
        ("temperature_50", "ta", None, 50.0),
        ("u_component_of_wind_1000", "ua", None, 1000.0),
        ("h500", "zg", None, 500.0),
        ("geopotential_500", "zg", None, 500.0),
        ("TMP2m", "tas", None, None),
        ("2m_temperature", "tas", None, None),
        ("u10", "uas", None, None),
        ("PRATEsfc", "pr", None, None),
        ("PRMSL", "psl", None, None),
        ("Q2m", "huss", None, None),
    ],
)
def test_names_of_several_models_are_known(
    name: str, cmip: str, level: int | None, pressure_hPa: float | None
) -> None:
    found = meaning_of(name)
    assert found is not None
    assert (found.cmip.name, found.level, found.pressure_hPa) == (cmip, level, pressure_hPa)


@pytest.mark.parametrize("name", ["T2", "skin", "rain", "ocean_fraction", "column_moistening_3"])
def test_other_names_mean_nothing(name: str) -> None:
    assert meaning_of(name) is None
    assert standard_name(name, "K") is None


def test_every_cmip_name_means_itself() -> None:
    single = {name for name, variable in CMIP.items() if not variable.on_levels}
    assert {name for name in single if meaning_of(name).cmip.name != name} == set()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("units", "cmip", "given", "expected"),
    [
        ("K", "tas", 280.0, 280.0),
        ("degC", "tas", 10.0, 283.15),
        ("hPa", "psl", 1013.0, 101_300.0),
        ("kg/m**2/s", "pr", 3e-5, 3e-5),
        ("mm/day", "pr", 86.4, 1e-3),
        ("m**2 s**-2", "zg", 9.80665 * 5500, 5500.0),
        ("g/kg", "hus", 7.0, 0.007),
        ("kg kg-1", "hus", 0.007, 0.007),
    ],
)
def test_units_are_converted(units: str, cmip: str, given: float, expected: float) -> None:
    found = conversion(units, CMIP[cmip])
    assert found is not None
    factor, offset = found
    assert factor * given + offset == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("units", "cmip"), [("1", "tas"), ("m", "pr"), ("K", "zg"), ("mm", "pr")])
def test_units_of_something_else_fit_nothing(units: str, cmip: str) -> None:
    assert conversion(units, CMIP[cmip]) is None


@pytest.mark.parametrize(
    ("name", "units", "expected"),
    [
        ("air_temperature_3", "K", "air_temperature"),
        ("surface_temperature", "K", "surface_temperature"),
        ("PRATEsfc", "kg/m**2/s", "precipitation_flux"),
        ("specific_total_water_7", "kg/kg", "mass_fraction_of_water_in_air"),
        ("z500", "m2 s-2", "geopotential"),
        ("h500", "m", "geopotential_height"),
        ("TMP2m", "1", None),
    ],
)
def test_a_standard_name_needs_units_that_fit(name: str, units: str, expected: str | None) -> None:
    assert standard_name(name, units) == expected


def test_units_that_the_table_does_not_know_stay() -> None:
    assert spelled("J kg-1") == "J kg-1"
    assert spelled("W/m**2") == "W m-2"
