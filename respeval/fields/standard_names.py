"""One table of what outputs are: names of ACE, FV3 and ERA5 to CMIP's, with CF standard names and units."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

#: Standard gravity, m s-2: geopotential over it is geopotential height.
GRAVITY = 9.80665


@dataclass(frozen=True)
class CmipVariable:
    """A variable of CMIP: its name, attributes and axes.

    cell_methods: as CMIP's monthly table has them. height_m: of a field near the surface.
    on_levels: whether it has a vertical axis. positive: direction of a flux.
    low, high: what a monthly mean anywhere on Earth lies within, in `units`.
    """

    name: str
    standard_name: str
    long_name: str
    units: str
    low: float
    high: float
    height_m: float | None = None
    on_levels: bool = False
    positive: str | None = None

    @property
    def cell_methods(self) -> str:
        return "time: mean" if self.on_levels else "area: time: mean"


@dataclass(frozen=True)
class Meaning:
    """What an output is in CMIP's terms.

    level: number of a model layer, counted from the top. pressure_hPa: of a pressure level.
    standard_name: where it is not that of the CMIP variable. comment: what the two differ in.
    """

    cmip: CmipVariable
    level: int | None = None
    pressure_hPa: float | None = None
    standard_name: str | None = None
    comment: str | None = None


def _wind(name: str, standard_name: str, long_name: str) -> CmipVariable:
    return CmipVariable(name, standard_name, long_name, "m s-1", -150, 150, on_levels=True)


def _near_wind(name: str, standard_name: str, long_name: str) -> CmipVariable:
    return CmipVariable(name, standard_name, long_name, "m s-1", -60, 60, 10.0)


def _radiation(name: str, standard_name: str, long_name: str, positive: str) -> CmipVariable:
    return CmipVariable(name, standard_name, long_name, "W m-2", -100, 700, positive=positive)


def _turbulent(name: str, standard_name: str, long_name: str) -> CmipVariable:
    return CmipVariable(name, standard_name, long_name, "W m-2", -500, 700, positive="up")


CMIP = {
    variable.name: variable
    for variable in (
        CmipVariable("ta", "air_temperature", "Air Temperature", "K", 130, 350, on_levels=True),
        CmipVariable(
            "hus", "specific_humidity", "Specific Humidity", "1", -1e-3, 0.05, on_levels=True
        ),
        _wind("ua", "eastward_wind", "Eastward Wind"),
        _wind("va", "northward_wind", "Northward Wind"),
        CmipVariable(
            "zg", "geopotential_height", "Geopotential Height", "m", -1e3, 5e4, on_levels=True
        ),
        CmipVariable("ps", "surface_air_pressure", "Surface Air Pressure", "Pa", 4e4, 1.1e5),
        CmipVariable(
            "psl", "air_pressure_at_mean_sea_level", "Sea Level Pressure", "Pa", 9e4, 1.1e5
        ),
        CmipVariable("ts", "surface_temperature", "Surface Temperature", "K", 170, 350),
        CmipVariable("tas", "air_temperature", "Near-Surface Air Temperature", "K", 170, 340, 2.0),
        CmipVariable(
            "tdas", "dew_point_temperature", "Near-Surface Dewpoint Temperature", "K", 150, 320, 2.0
        ),
        CmipVariable(
            "huss", "specific_humidity", "Near-Surface Specific Humidity", "1", -1e-3, 0.05, 2.0
        ),
        _near_wind("uas", "eastward_wind", "Eastward Near-Surface Wind"),
        _near_wind("vas", "northward_wind", "Northward Near-Surface Wind"),
        CmipVariable("pr", "precipitation_flux", "Precipitation", "kg m-2 s-1", -1e-5, 1e-2),
        CmipVariable(
            "prw", "atmosphere_mass_content_of_water_vapor", "Water Vapor Path", "kg m-2", -5, 120
        ),
        _radiation(
            "rsdt", "toa_incoming_shortwave_flux", "TOA Incident Shortwave Radiation", "down"
        ),
        _radiation("rsut", "toa_outgoing_shortwave_flux", "TOA Outgoing Shortwave Radiation", "up"),
        _radiation("rlut", "toa_outgoing_longwave_flux", "TOA Outgoing Longwave Radiation", "up"),
        _radiation(
            "rsds",
            "surface_downwelling_shortwave_flux_in_air",
            "Surface Downwelling Shortwave Radiation",
            "down",
        ),
        _radiation(
            "rsus",
            "surface_upwelling_shortwave_flux_in_air",
            "Surface Upwelling Shortwave Radiation",
            "up",
        ),
        _radiation(
            "rlds",
            "surface_downwelling_longwave_flux_in_air",
            "Surface Downwelling Longwave Radiation",
            "down",
        ),
        _radiation(
            "rlus",
            "surface_upwelling_longwave_flux_in_air",
            "Surface Upwelling Longwave Radiation",
            "up",
        ),
        _turbulent("hfls", "surface_upward_latent_heat_flux", "Surface Upward Latent Heat Flux"),
        _turbulent(
            "hfss", "surface_upward_sensible_heat_flux", "Surface Upward Sensible Heat Flux"
        ),
    )
}

#: ACE's water is all water; CMIP's specific humidity is vapor.
_TOTAL_WATER = "specific_total_water"
_TOTAL_WATER_NAME = "mass_fraction_of_water_in_air"
_TOTAL_WATER_COMMENT = "total water: vapor, and what is condensed, which is small in a monthly mean"

#: CMIP's name of a single field -> what else it is called; upper or lower case is all the same.
_FIELDS = {
    "ps": "PRESsfc surface_pressure sp",
    "psl": "PRMSL mean_sea_level_pressure msl",
    "ts": "surface_temperature skin_temperature skt TMPsfc",
    "tas": "TMP2m 2m_temperature t2m",
    "tdas": "DPT2m 2m_dewpoint_temperature d2m",
    "huss": "Q2m SPFH2m 2m_specific_humidity",
    "uas": "UGRD10m 10m_u_component_of_wind u10m u10",
    "vas": "VGRD10m 10m_v_component_of_wind v10m v10",
    "pr": "PRATEsfc surface_precipitation_rate precipitation_rate",
    "prw": "water_vapor_path",
    "rsdt": "DSWRFtoa",
    "rsut": "USWRFtoa",
    "rlut": "ULWRFtoa",
    "rsds": "DSWRFsfc",
    "rsus": "USWRFsfc",
    "rlds": "DLWRFsfc",
    "rlus": "ULWRFsfc",
    "hfls": "LHTFLsfc",
    "hfss": "SHTFLsfc",
}

#: CMIP's name of a field on levels -> how names begin that end with the level.
_COLUMNS = {
    "ta": "air_temperature temperature TMP t",
    "hus": "specific_total_water specific_humidity SPFH q",
    "ua": "eastward_wind u_component_of_wind UGRD u",
    "va": "northward_wind v_component_of_wind VGRD v",
    "zg": "geopotential_height geopotential HGT h z",
}

#: ACE counts its layers from the top behind these names; others count hPa, from 10 on.
_COUNTS_LAYERS = {"air_temperature", "specific_total_water", "eastward_wind", "northward_wind"}

#: Units as CMIP writes them -> how else they are written.
_SPELLINGS = {
    "1": ("", "kg/kg", "kg kg-1", "kg kg**-1"),
    "m s-1": ("m/s", "m s**-1"),
    "kg m-2 s-1": ("kg/m2/s", "kg/m**2/s", "kg/m^2/s", "kg/(m^2 s)", "kg m**-2 s**-1"),
    "kg m-2": ("kg/m2", "kg/m**2", "kg/m^2", "kg m**-2"),
    "W m-2": ("w/m2", "w/m**2", "w/m^2", "w m**-2"),
    "Pa": (),
    "hPa": ("mbar", "mb"),
    "K": ("kelvin",),
    "degC": ("c", "celsius", "degrees_celsius"),
    "m": ("gpm", "meter", "meters", "metre", "metres"),
    "m2 s-2": ("m2/s2", "m**2/s**2", "m**2 s**-2", "m^2/s^2"),
    "mm day-1": ("mm/day", "mm/d", "mm d-1"),
    "mm s-1": ("mm/s",),
    "g kg-1": ("g/kg",),
}


def _inverted(names: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Each other name in lower case, and the name itself, -> the name."""
    pairs = ((other, name) for name, others in names.items() for other in (name, *others))
    return {other.lower(): name for other, name in pairs}


_FIELD_NAMES = _inverted({name: others.split() for name, others in _FIELDS.items()})
_COLUMN_NAMES = _inverted({name: others.split() for name, others in _COLUMNS.items()})
_UNITS = _inverted(_SPELLINGS)

#: (units, CMIP's units) -> factor and offset; a millimetre of water is a kilogram on a square metre.
_CONVERSIONS = {
    ("hPa", "Pa"): (100.0, 0.0),
    ("degC", "K"): (1.0, 273.15),
    ("g kg-1", "1"): (1e-3, 0.0),
    ("mm day-1", "kg m-2 s-1"): (1 / 86_400, 0.0),
    ("mm s-1", "kg m-2 s-1"): (1.0, 0.0),
    ("mm", "kg m-2"): (1.0, 0.0),
    ("m2 s-2", "m"): (1 / GRAVITY, 0.0),
}


def meaning_of(name: str) -> Meaning | None:
    """What an output of this name is, or None where the table does not know it.

    `air_temperature_3` is layer 3 from the top; `T850`, `TMP850` and `temperature_850` are at 850 hPa.

    >>> meaning = meaning_of("TMP850")
    >>> meaning.cmip.name, meaning.cmip.standard_name, meaning.pressure_hPa
    ('ta', 'air_temperature', 850.0)
    >>> meaning_of("my_own_index") is None
    True
    """
    lowered = name.lower()
    if lowered in _FIELD_NAMES:
        return Meaning(CMIP[_FIELD_NAMES[lowered]])
    found = re.fullmatch(r"([a-z_]*[a-z])(_?)(\d+)", lowered)
    if found is None or found[1] not in _COLUMN_NAMES:
        return None
    stem, number = found[1], int(found[3])
    if not found[2] and number < 10:  # T2 is two metres above the ground in some models
        return None
    cmip = CMIP[_COLUMN_NAMES[stem]]
    is_layer = found[2] and number < (200 if stem in _COUNTS_LAYERS else 10)
    meaning = Meaning(cmip, level=number) if is_layer else Meaning(cmip, pressure_hPa=float(number))
    if stem == _TOTAL_WATER:
        named, comment = _TOTAL_WATER_NAME, _TOTAL_WATER_COMMENT
        return replace(meaning, standard_name=named, comment=comment)
    return meaning


def spelled(units: str) -> str:
    """Units as CMIP writes them, where the table knows how they are written."""
    return _UNITS.get(units.strip().lower(), units.strip())


def conversion(units: str, cmip: CmipVariable) -> tuple[float, float] | None:
    """(factor, offset) from `units` to a CMIP variable's; None where the two do not fit.

    >>> conversion("degC", CMIP["ta"])
    (1.0, 273.15)
    >>> conversion("hPa", CMIP["ta"]) is None
    True
    """
    if spelled(units) == cmip.units:
        return 1.0, 0.0
    return _CONVERSIONS.get((spelled(units), cmip.units))


def standard_name(name: str, units: str) -> str | None:
    """The CF standard name of an output, where the table knows one that these units fit."""
    meaning = meaning_of(name)
    if meaning is None or conversion(units, meaning.cmip) is None:
        return None
    if spelled(units) == "m2 s-2":
        return "geopotential"
    return meaning.standard_name or meaning.cmip.standard_name


def temperature_metadata(units: str, kind: Literal["on_scale", "difference"]) -> dict[str, str]:
    """CF's attribute that tells 4 K of warming from a temperature of 4 K; nothing of other units."""
    return {"units_metadata": f"temperature: {kind}"} if spelled(units) in ("K", "degC") else {}
