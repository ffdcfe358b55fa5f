"""Which outputs hold precipitation, fluxes and humidity: a table of the names that models use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import xarray as xr

from respeval.diagnostics.formulas.regions import DiagnosticSettings, LeftOut


@dataclass(frozen=True)
class Quantity:
    """names: of outputs, the best first. units: of which one must be an output's, if it says any."""

    names: tuple[str, ...]
    units: tuple[str, ...]


_FLUX = ("W/m**2", "W m-2", "W/m2", "W/m^2", "W m**-2")
_RAIN = ("kg/m**2/s", "kg m-2 s-1", "kg/m2/s", "kg/m^2/s", "kg m**-2 s**-1", "mm/s", "mm s-1")
_SHARE = ("kg/kg", "kg kg-1", "kg kg**-1", "1", "g/kg", "g kg-1")

#: Quantity -> its outputs: names of ACE (NCEP's), then of CMIP. Upward fluxes count upward, downward
#: ones downward, latent and sensible heat upward, and net fluxes into the atmosphere.
QUANTITIES: Mapping[str, Quantity] = {
    "precipitation": Quantity(("PRATEsfc", "pr", "precipitation", "total_precipitation"), ()),
    "water_path": Quantity(
        ("total_water_path", "water_path", "prw", "tcwv", "total_column_water_vapour"), ()
    ),
    "toa_upward_longwave": Quantity(("ULWRFtoa", "rlut"), _FLUX),
    "toa_upward_shortwave": Quantity(("USWRFtoa", "rsut"), _FLUX),
    "toa_downward_shortwave": Quantity(("DSWRFtoa", "rsdt"), _FLUX),
    "toa_upward_longwave_clear_sky": Quantity(("CSULFtoa", "ULWRFtoa_clear_sky", "rlutcs"), _FLUX),
    "toa_upward_shortwave_clear_sky": Quantity(("CSUSFtoa", "USWRFtoa_clear_sky", "rsutcs"), _FLUX),
    "toa_net_flux": Quantity(("net_energy_flux_toa_into_atmosphere", "rtmt", "rtnt"), _FLUX),
    "surface_net_flux": Quantity(("net_energy_flux_sfc_into_atmosphere",), _FLUX),
    "surface_downward_shortwave": Quantity(("DSWRFsfc", "rsds"), _FLUX),
    "surface_upward_shortwave": Quantity(("USWRFsfc", "rsus"), _FLUX),
    "surface_downward_longwave": Quantity(("DLWRFsfc", "rlds"), _FLUX),
    "surface_upward_longwave": Quantity(("ULWRFsfc", "rlus"), _FLUX),
    "latent_heat": Quantity(("LHTFLsfc", "hfls"), _FLUX),
    "sensible_heat": Quantity(("SHTFLsfc", "hfss"), _FLUX),
    "precipitation_rate": Quantity(("PRATEsfc", "pr", "precipitation"), _RAIN),
    "near_surface_humidity": Quantity(
        ("Q2m", "SPFH2m", "huss", "specific_humidity_2m", "specific_total_water_*"), _SHARE
    ),
    "near_surface_relative_humidity": Quantity(
        ("RH2m", "hurs", "relative_humidity_2m"), ("%", "1", "percent")
    ),
}

#: Quantities that `roles` of the case file can name.
NAMED_IN_ROLES = (
    "precipitation",
    "water_path",
    "toa_upward_longwave",
    "toa_upward_shortwave",
    "toa_upward_longwave_clear_sky",
    "toa_upward_shortwave_clear_sky",
    "near_surface_humidity",
    "near_surface_relative_humidity",
)


def output_with(response: xr.Dataset, settings: DiagnosticSettings, quantity: str) -> str:
    """The output that holds a quantity. Raises LeftOut where none does, or in other units."""
    known = QUANTITIES[quantity]
    name = find_output(map(str, response.data_vars), settings, quantity)
    if name is None:
        role = f"; roles.{quantity} can name it" if quantity in NAMED_IN_ROLES else ""
        raise LeftOut(
            f"no output is known to be {quantity.replace('_', ' ')} (known names: "
            f"{', '.join(known.names)}){role}"
        )
    if name not in response:
        raise LeftOut(f"roles.{quantity} is {name!r}, which is not among the outputs")
    units = response[name].attrs.get("units")
    if known.units and units is not None and units not in known.units:
        raise LeftOut(f"{name} is in {units!r}, but {known.units[0]!r} is needed")
    return name


def find_output(outputs: Iterable[str], settings: DiagnosticSettings, quantity: str) -> str | None:
    """The name that the case gives to a quantity, else the first known one among the outputs."""
    if quantity in settings.output_names:
        return settings.output_names[quantity]
    present = set(outputs)
    for name in QUANTITIES[quantity].names:
        found = name if name in present else _lowest_level(present, name)
        if found is not None:
            return found
    return None


def _lowest_level(outputs: Iterable[str], pattern: str) -> str | None:
    """The output with the largest number where `pattern` has `*`; levels count from the top."""
    prefix, star, _ = pattern.partition("*")
    numbers = [
        int(rest)
        for name in outputs
        if star and name.startswith(prefix) and (rest := name.removeprefix(prefix)).isdecimal()
    ]
    return f"{prefix}{max(numbers)}" if numbers else None
