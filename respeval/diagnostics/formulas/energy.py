"""The global energy and water budgets: feedbacks at the top, and what should add up to nothing.

A global mean is that of the response, or, in diagnostics called `baseline_…`, of the baseline itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import xarray as xr

from respeval.diagnostics.formulas.diagnostic import Diagnostic, Row
from respeval.diagnostics.formulas.per_kelvin import per_kelvin
from respeval.diagnostics.formulas.quantities import QUANTITIES, find_output, output_with
from respeval.diagnostics.formulas.regions import (
    DiagnosticSettings,
    LeftOut,
    in_baseline,
    region_mean,
    with_forcing,
)

#: Latent heat of vaporization, J/kg, as ACE takes it.
LATENT_HEAT = 2.5e6

_DAY_S = 86_400.0

#: Quantity -> its global mean.
_Means = Callable[[str], xr.DataArray]

_DOWNWARD_AT_SURFACE = ("surface_downward_shortwave", "surface_downward_longwave")
_UPWARD_AT_SURFACE = (
    "surface_upward_shortwave",
    "surface_upward_longwave",
    "latent_heat",
    "sensible_heat",
)

_CESS_1990 = "Cess et al. 1990, J. Geophys. Res. 95, 16601-16615"
_TRENBERTH_2009 = "Trenberth, Fasullo and Kiehl 2009, Bull. Amer. Meteor. Soc. 90, 311-323"

#: A flux change per kelvin.
_feedback = partial(per_kelvin, comment="downward positive: negative where warming is damped")


def _of_response(response: xr.Dataset, settings: DiagnosticSettings) -> _Means:
    return lambda quantity: region_mean(response, output_with(response, settings, quantity), "all")


def _of_baseline(response: xr.Dataset, settings: DiagnosticSettings) -> _Means:
    known = with_forcing(response)

    def mean(quantity: str) -> xr.DataArray:
        name = output_with(known, settings, quantity)
        if in_baseline(name) not in response:
            raise LeftOut(f"the baseline's mean of {name} is not known")
        return region_mean(response, in_baseline(name), "all")

    return mean


def _holds(response: xr.Dataset, settings: DiagnosticSettings, quantity: str) -> bool:
    return find_output(map(str, response.data_vars), settings, quantity) is not None


def _toa_shortwave(response: xr.Dataset, settings: DiagnosticSettings, upward: str) -> xr.DataArray:
    means = _of_response(response, settings)
    if _holds(response, settings, "toa_downward_shortwave"):
        return means("toa_downward_shortwave") - means(upward)
    return -means(upward)


def _toa_net(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    means = _of_response(response, settings)
    if _holds(response, settings, "toa_net_flux"):
        return means("toa_net_flux")
    shortwave = _toa_shortwave(response, settings, "toa_upward_shortwave")
    return shortwave - means("toa_upward_longwave")


def _toa_net_clear_sky(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    shortwave = _toa_shortwave(response, settings, "toa_upward_shortwave_clear_sky")
    return shortwave - _of_response(response, settings)("toa_upward_longwave_clear_sky")


def _cloud_effect(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    clear = _toa_net_clear_sky(response, settings)
    return _toa_net(response, settings) - clear


def _baseline_toa_net(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    means = _of_baseline(response, settings)
    if _holds(response, settings, "toa_net_flux"):
        return means("toa_net_flux")
    absorbed = means("toa_downward_shortwave") - means("toa_upward_shortwave")
    net = absorbed - means("toa_upward_longwave")
    known = with_forcing(response)
    sunlight = known[output_with(known, settings, "toa_downward_shortwave")]
    told = sunlight.attrs.get("comment")
    return net.assign_attrs(comment=f"{sunlight.name}: {told}") if told else net


def fluxes_of_forcing(
    outputs: Sequence[str], forcing: Mapping[str, str], settings: DiagnosticSettings
) -> tuple[str, ...]:
    """The forcing that the baseline's net flux at the top lacks, the outputs having all the rest of it.

    forcing: name -> units.
    """
    held = {q for q in QUANTITIES if find_output(outputs, settings, q) is not None}
    lacks = {"toa_downward_shortwave", "toa_net_flux"}.isdisjoint(held)
    if not lacks or not {"toa_upward_shortwave", "toa_upward_longwave"} <= held:
        return ()
    name = find_output(forcing, settings, "toa_downward_shortwave")
    known = QUANTITIES["toa_downward_shortwave"].units
    return (name,) if name is not None and forcing[name] in known else ()


def _surface_net(means: _Means, response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Net upward flux at the surface, radiation and heat."""
    if _holds(response, settings, "surface_net_flux"):
        return means("surface_net_flux")
    upward = sum((means(quantity) for quantity in _UPWARD_AT_SURFACE), xr.DataArray(0.0))
    return upward - sum((means(quantity) for quantity in _DOWNWARD_AT_SURFACE), xr.DataArray(0.0))


def _water(means: _Means) -> xr.DataArray:
    evaporation = means("latent_heat") / LATENT_HEAT
    return _DAY_S * (evaporation - means("precipitation_rate"))


toa_net_flux_change = Diagnostic(
    name="toa_net_flux_change",
    what="Change of the net downward flux at the top of the atmosphere",
    units="W m-2",
    formula="Global mean of ΔR = ΔS↓ − ΔS↑ − ΔL↑; ΔS↓ is 0 where S↓ is a forcing, which is the same "
    "in every climate.",
    source=_CESS_1990,
    values=_toa_net,
    long_name="global mean of the change of the net downward flux at the top",
)

toa_longwave_change = Diagnostic(
    name="toa_longwave_change",
    what="Change of the downward longwave flux at the top of the atmosphere",
    units="W m-2",
    formula="Global mean of −ΔL↑.",
    source=_CESS_1990,
    values=lambda response, settings: -_of_response(response, settings)("toa_upward_longwave"),
    long_name="global mean of the change of the downward longwave flux at the top",
)

toa_shortwave_change = Diagnostic(
    name="toa_shortwave_change",
    what="Change of the net downward shortwave flux at the top",
    units="W m-2",
    formula="Global mean of ΔS↓ − ΔS↑; ΔS↓ is 0 where S↓ is a forcing.",
    source=_CESS_1990,
    values=lambda response, settings: _toa_shortwave(response, settings, "toa_upward_shortwave"),
    long_name="global mean of the change of the net downward shortwave flux at the top",
)

toa_clear_sky_flux_change = Diagnostic(
    name="toa_clear_sky_flux_change",
    what="Change of the net downward clear-sky flux at the top",
    units="W m-2",
    formula="Global mean of ΔS↓ − ΔS↑ − ΔL↑ with the clear-sky fluxes.",
    source=_CESS_1990,
    values=_toa_net_clear_sky,
    long_name="global mean of the change of the net downward clear-sky flux at the top",
)

cloud_radiative_effect_change = Diagnostic(
    name="cloud_radiative_effect_change",
    what="Change of the cloud radiative effect at the top",
    units="W m-2",
    formula="`toa_net_flux_change` − `toa_clear_sky_flux_change`.",
    source=_CESS_1990,
    values=_cloud_effect,
    long_name="global mean of the change of the cloud effect at the top",
)

cess_feedback = _feedback(
    "cess_feedback",
    "Net downward flux change at the top per kelvin",
    toa_net_flux_change,
    "the net downward flux at the top of the atmosphere",
    ". Downward counts: it is negative where warming is damped.",
    row=Row("Cess, W/m²/K", "global"),
)

cess_feedback_longwave = _feedback(
    "cess_feedback_longwave",
    "Longwave part of the Cess feedback",
    toa_longwave_change,
    "the net downward longwave flux at the top of the atmosphere",
)

cess_feedback_shortwave = _feedback(
    "cess_feedback_shortwave",
    "Shortwave part of the Cess feedback",
    toa_shortwave_change,
    "the net downward shortwave flux at the top of the atmosphere",
)

cess_feedback_clear_sky = _feedback(
    "cess_feedback_clear_sky",
    "Cess feedback of the clear sky",
    toa_clear_sky_flux_change,
    "the net downward clear-sky flux at the top of the atmosphere",
)

cess_feedback_cloud = _feedback(
    "cess_feedback_cloud",
    "Change of the cloud radiative effect per kelvin",
    cloud_radiative_effect_change,
    "the cloud radiative effect at the top of the atmosphere",
    ": `cess_feedback` − `cess_feedback_clear_sky`. The masking of clear-sky changes by clouds is in it.",
)

energy_budget_residual = Diagnostic(
    name="energy_budget_residual",
    what="Change of the energy flux into the atmosphere that nothing takes up",
    units="W m-2",
    formula="Global mean of ΔR + ΔF: R net downward at the top; F net upward at the surface, S↑ − S↓ "
    "+ L↑ − L↓ + latent + sensible heat. The atmosphere stores next to nothing over years, so it "
    "should be 0.",
    source=_TRENBERTH_2009,
    values=lambda response, settings: (
        _surface_net(_of_response(response, settings), response, settings)
        + _toa_net(response, settings)
    ),
    long_name="global mean of the change of the net flux into the atmosphere",
)

water_budget_residual = Diagnostic(
    name="water_budget_residual",
    what="Change of evaporation minus precipitation",
    units="mm day-1",
    formula="Global mean of Δ(latent heat / 2.5e6 J kg-1) − ΔP. The atmosphere stores next to nothing "
    "over years, so it should be 0.",
    source=_TRENBERTH_2009,
    values=lambda response, settings: _water(_of_response(response, settings)),
    long_name="global mean of the change of evaporation minus precipitation",
)

baseline_toa_net_flux = Diagnostic(
    name="baseline_toa_net_flux",
    what="Net downward flux at the top of the atmosphere in the baseline",
    units="W m-2",
    dims="",
    formula="Global mean of S↓ − S↑ − L↑; S↓ where it is no output is the forcing's.",
    source=_TRENBERTH_2009,
    values=_baseline_toa_net,
    long_name="global mean of the net downward flux at the top of the atmosphere in the baseline",
)

baseline_energy_budget_residual = Diagnostic(
    name="baseline_energy_budget_residual",
    what="Energy flux into the baseline's atmosphere that nothing takes up",
    units="W m-2",
    dims="",
    formula="Global mean of R + F, as in `energy_budget_residual`.",
    source=_TRENBERTH_2009,
    values=lambda response, settings: (
        _surface_net(_of_baseline(response, settings), response, settings)
        + _baseline_toa_net(response, settings)
    ),
    long_name="global mean of the net flux into the atmosphere in the baseline",
)

baseline_water_budget_residual = Diagnostic(
    name="baseline_water_budget_residual",
    what="Evaporation minus precipitation in the baseline",
    units="mm day-1",
    dims="",
    formula="Global mean of latent heat / 2.5e6 J kg-1 − P.",
    source=_TRENBERTH_2009,
    values=lambda response, settings: _water(_of_baseline(response, settings)),
    long_name="global mean of the evaporation minus precipitation in the baseline",
)
