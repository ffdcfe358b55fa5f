"""The global energy and water budgets: feedbacks at the top, and what should add up to nothing.

A global mean is that of the response, or, in diagnostics called `baseline_…`, of the baseline itself.
"""

from __future__ import annotations

from collections.abc import Callable

import xarray as xr

from respeval.diagnostics.formulas.per_kelvin import per_K
from respeval.diagnostics.formulas.quantities import find_output, output_with
from respeval.diagnostics.formulas.regions import (
    DiagnosticSettings,
    LeftOut,
    in_baseline,
    region_mean,
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


def toa_net_flux_change(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Change of the net downward flux at the top of the atmosphere, W m-2, (perturbation).

    Global mean of ΔR = ΔS↓ − ΔS↑ − ΔL↑; ΔS↓ is 0 where S↓ is a forcing, which is the same in every
    climate.

    Source: Cess et al. 1990, J. Geophys. Res. 95, 16601-16615.
    """
    return _flux(_toa_net(response, settings), "change of the net downward flux at the top")


def toa_longwave_change(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Change of the downward longwave flux at the top of the atmosphere, W m-2, (perturbation).

    Global mean of −ΔL↑.

    Source: Cess et al. 1990, J. Geophys. Res. 95, 16601-16615.
    """
    value = -_of_response(response, settings)("toa_upward_longwave")
    return _flux(value, "change of the downward longwave flux at the top")


def toa_shortwave_change(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Change of the net downward shortwave flux at the top, W m-2, (perturbation).

    Global mean of ΔS↓ − ΔS↑; ΔS↓ is 0 where S↓ is a forcing.

    Source: Cess et al. 1990, J. Geophys. Res. 95, 16601-16615.
    """
    value = _toa_shortwave(response, settings, "toa_upward_shortwave")
    return _flux(value, "change of the net downward shortwave flux at the top")


def toa_clear_sky_flux_change(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Change of the net downward clear-sky flux at the top, W m-2, (perturbation).

    Global mean of ΔS↓ − ΔS↑ − ΔL↑ with the clear-sky fluxes.

    Source: Cess et al. 1990, J. Geophys. Res. 95, 16601-16615.
    """
    shortwave = _toa_shortwave(response, settings, "toa_upward_shortwave_clear_sky")
    value = shortwave - _of_response(response, settings)("toa_upward_longwave_clear_sky")
    return _flux(value, "change of the net downward clear-sky flux at the top")


def cloud_radiative_effect_change(
    response: xr.Dataset, settings: DiagnosticSettings
) -> xr.DataArray:
    """Change of the cloud radiative effect at the top, W m-2, (perturbation).

    `toa_net_flux_change` − `toa_clear_sky_flux_change`.

    Source: Cess et al. 1990, J. Geophys. Res. 95, 16601-16615.
    """
    clear = toa_clear_sky_flux_change(response, settings)
    return _flux(
        toa_net_flux_change(response, settings) - clear, "change of the cloud effect at the top"
    )


def cess_feedback(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Net downward flux change at the top per kelvin, W m-2 K-1, (perturbation).

    `toa_net_flux_change` / global-mean response of near-surface temperature. Downward counts: it is
    negative where warming is damped.

    Source: Cess et al. 1990, J. Geophys. Res. 95, 16601-16615.
    """
    return _feedback(toa_net_flux_change(response, settings), response, settings, "")


def cess_feedback_longwave(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Longwave part of the Cess feedback, W m-2 K-1, (perturbation).

    `toa_longwave_change` / global-mean response of near-surface temperature.

    Source: Cess et al. 1990, J. Geophys. Res. 95, 16601-16615.
    """
    return _feedback(toa_longwave_change(response, settings), response, settings, "longwave ")


def cess_feedback_shortwave(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Shortwave part of the Cess feedback, W m-2 K-1, (perturbation).

    `toa_shortwave_change` / global-mean response of near-surface temperature.

    Source: Cess et al. 1990, J. Geophys. Res. 95, 16601-16615.
    """
    return _feedback(toa_shortwave_change(response, settings), response, settings, "shortwave ")


def cess_feedback_clear_sky(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Cess feedback of the clear sky, W m-2 K-1, (perturbation).

    `toa_clear_sky_flux_change` / global-mean response of near-surface temperature.

    Source: Cess et al. 1990, J. Geophys. Res. 95, 16601-16615.
    """
    change = toa_clear_sky_flux_change(response, settings)
    return _feedback(change, response, settings, "clear-sky ")


def cess_feedback_cloud(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Change of the cloud radiative effect per kelvin, W m-2 K-1, (perturbation).

    `cloud_radiative_effect_change` / global-mean response of near-surface temperature:
    `cess_feedback` − `cess_feedback_clear_sky`. The masking of clear-sky changes by clouds is in it.

    Source: Cess et al. 1990, J. Geophys. Res. 95, 16601-16615.
    """
    change = cloud_radiative_effect_change(response, settings)
    return _feedback(change, response, settings, "cloud ")


def energy_budget_residual(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Change of the energy flux into the atmosphere that nothing takes up, W m-2, (perturbation).

    Global mean of ΔR + ΔF: R net downward at the top; F net upward at the surface, S↑ − S↓ + L↑ − L↓
    + latent + sensible heat. The atmosphere stores next to nothing over years, so it should be 0.

    Source: Trenberth, Fasullo and Kiehl 2009, Bull. Amer. Meteor. Soc. 90, 311-323.
    """
    surface = _surface_net(_of_response(response, settings), response, settings)
    return _flux(
        _toa_net(response, settings) + surface, "change of the net flux into the atmosphere"
    )


def baseline_toa_net_flux(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Net downward flux at the top of the atmosphere in the baseline, W m-2, ().

    Global mean of S↓ − S↑ − L↑; S↓ has to be an output.

    Source: Trenberth, Fasullo and Kiehl 2009, Bull. Amer. Meteor. Soc. 90, 311-323.
    """
    value = _baseline_toa_net(response, settings)
    return _flux(value, "net downward flux at the top of the atmosphere in the baseline")


def baseline_energy_budget_residual(
    response: xr.Dataset, settings: DiagnosticSettings
) -> xr.DataArray:
    """Energy flux into the baseline's atmosphere that nothing takes up, W m-2, ().

    Global mean of R + F, as in `energy_budget_residual`.

    Source: Trenberth, Fasullo and Kiehl 2009, Bull. Amer. Meteor. Soc. 90, 311-323.
    """
    surface = _surface_net(_of_baseline(response, settings), response, settings)
    value = _baseline_toa_net(response, settings) + surface
    return _flux(value, "net flux into the atmosphere in the baseline")


def water_budget_residual(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Change of evaporation minus precipitation, mm day-1, (perturbation).

    Global mean of Δ(latent heat / 2.5e6 J kg-1) − ΔP. The atmosphere stores next to nothing over
    years, so it should be 0.

    Source: Trenberth, Fasullo and Kiehl 2009, Bull. Amer. Meteor. Soc. 90, 311-323.
    """
    return _water(_of_response(response, settings), "change of evaporation minus precipitation")


def baseline_water_budget_residual(
    response: xr.Dataset, settings: DiagnosticSettings
) -> xr.DataArray:
    """Evaporation minus precipitation in the baseline, mm day-1, ().

    Global mean of latent heat / 2.5e6 J kg-1 − P.

    Source: Trenberth, Fasullo and Kiehl 2009, Bull. Amer. Meteor. Soc. 90, 311-323.
    """
    means = _of_baseline(response, settings)
    return _water(means, "evaporation minus precipitation in the baseline")


def _of_response(response: xr.Dataset, settings: DiagnosticSettings) -> _Means:
    return lambda quantity: region_mean(response, output_with(response, settings, quantity), "all")


def _of_baseline(response: xr.Dataset, settings: DiagnosticSettings) -> _Means:
    def mean(quantity: str) -> xr.DataArray:
        name = output_with(response, settings, quantity)
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


def _baseline_toa_net(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    means = _of_baseline(response, settings)
    if _holds(response, settings, "toa_net_flux"):
        return means("toa_net_flux")
    absorbed = means("toa_downward_shortwave") - means("toa_upward_shortwave")
    return absorbed - means("toa_upward_longwave")


def _surface_net(means: _Means, response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Net upward flux at the surface, radiation and heat."""
    if _holds(response, settings, "surface_net_flux"):
        return means("surface_net_flux")
    upward = sum((means(quantity) for quantity in _UPWARD_AT_SURFACE), xr.DataArray(0.0))
    return upward - sum((means(quantity) for quantity in _DOWNWARD_AT_SURFACE), xr.DataArray(0.0))


def _water(means: _Means, what: str) -> xr.DataArray:
    evaporation = means("latent_heat") / LATENT_HEAT
    value = _DAY_S * (evaporation - means("precipitation_rate"))
    return value.assign_attrs(
        units="mm day-1",
        long_name=f"global mean of the {what}",
        cell_methods="time: mean area: mean",
    )


def _flux(value: xr.DataArray, what: str) -> xr.DataArray:
    return value.assign_attrs(
        units="W m-2", long_name=f"global mean of the {what}", cell_methods="time: mean area: mean"
    )


def _feedback(
    change: xr.DataArray, response: xr.Dataset, settings: DiagnosticSettings, part: str
) -> xr.DataArray:
    what = f"change of the net downward {part}flux at the top of the atmosphere"
    if part == "cloud ":
        what = "change of the cloud radiative effect at the top of the atmosphere"
    found = per_K(change, response, settings, what, "W m-2")
    return found.assign_attrs(comment="downward positive: negative where warming is damped")
