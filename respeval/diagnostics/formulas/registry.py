"""Every diagnostic of a response by its name, and those whose interval is a ratio's.

`catalog.py` reads the functions' docstrings: the first line is "what, units, (dimensions)."; then
come the formula and, after "Source:", where it is from.
"""

from __future__ import annotations

from collections.abc import Mapping

from respeval.diagnostics.formulas import (
    boxes,
    drift,
    energy,
    hemispheres,
    humidity,
    linearity,
    per_kelvin,
    warming,
)
from respeval.diagnostics.formulas.regions import Diagnostic, global_warming

#: Name in diagnostics.nc -> function. A new scalar diagnostic is one more line here.
DIAGNOSTICS: Mapping[str, Diagnostic] = {
    "land_warming": warming.land_warming,
    "ocean_warming": warming.ocean_warming,
    "land_ocean_warming_ratio": warming.land_ocean_warming_ratio,
    "tropical_ocean_surface_warming": warming.tropical_ocean_surface_warming,
    "tropical_ocean_upper_warming": warming.tropical_ocean_upper_warming,
    "vertical_warming_ratio_tropical_ocean": warming.vertical_warming_ratio_tropical_ocean,
    "column_warming": warming.column_warming,
    "zonal_mean_warming": warming.zonal_mean_warming,
    "polar_warming": per_kelvin.polar_warming,
    "arctic_warming": per_kelvin.arctic_warming,
    "antarctic_warming": per_kelvin.antarctic_warming,
    "polar_amplification": per_kelvin.polar_amplification,
    "arctic_amplification": per_kelvin.arctic_amplification,
    "antarctic_amplification": per_kelvin.antarctic_amplification,
    "precipitation_change": per_kelvin.precipitation_change,
    "precipitation_change_per_K": per_kelvin.precipitation_change_per_K,
    "water_path_change": per_kelvin.water_path_change,
    "water_path_change_per_K": per_kelvin.water_path_change_per_K,
    "toa_net_flux_change": energy.toa_net_flux_change,
    "toa_longwave_change": energy.toa_longwave_change,
    "toa_shortwave_change": energy.toa_shortwave_change,
    "toa_clear_sky_flux_change": energy.toa_clear_sky_flux_change,
    "cloud_radiative_effect_change": energy.cloud_radiative_effect_change,
    "cess_feedback": energy.cess_feedback,
    "cess_feedback_longwave": energy.cess_feedback_longwave,
    "cess_feedback_shortwave": energy.cess_feedback_shortwave,
    "cess_feedback_clear_sky": energy.cess_feedback_clear_sky,
    "cess_feedback_cloud": energy.cess_feedback_cloud,
    "energy_budget_residual": energy.energy_budget_residual,
    "water_budget_residual": energy.water_budget_residual,
    "baseline_toa_net_flux": energy.baseline_toa_net_flux,
    "baseline_energy_budget_residual": energy.baseline_energy_budget_residual,
    "baseline_water_budget_residual": energy.baseline_water_budget_residual,
    "humidity_change": humidity.humidity_change,
    "relative_humidity_change": humidity.relative_humidity_change,
    "land_warming_by_hemisphere": hemispheres.land_warming_by_hemisphere,
    "ocean_warming_by_hemisphere": hemispheres.ocean_warming_by_hemisphere,
    "land_ocean_warming_ratio_by_hemisphere": hemispheres.land_ocean_warming_ratio_by_hemisphere,
    "box_land_warming": boxes.box_land_warming,
    "box_ocean_warming": boxes.box_ocean_warming,
    "box_land_ocean_warming_ratio": boxes.box_land_ocean_warming_ratio,
    "linearity": linearity.linearity,
}

#: Trends, of means of whole years (`drift.yearly_means`) rather than of a response: name -> values
#: (…, sample, year) whose slope it is.
TRENDS: Mapping[str, Diagnostic] = {
    "baseline_drift": drift.baseline_drift,
    "response_drift": drift.response_drift,
}

#: Ratio -> its numerator and its denominator, which Fieller's interval is made from.
RATIOS: Mapping[str, tuple[Diagnostic, Diagnostic]] = {
    "land_ocean_warming_ratio": (warming.land_warming, warming.ocean_warming),
    "vertical_warming_ratio_tropical_ocean": (
        warming.tropical_ocean_upper_warming,
        warming.tropical_ocean_surface_warming,
    ),
    "polar_amplification": (per_kelvin.polar_warming, global_warming),
    "arctic_amplification": (per_kelvin.arctic_warming, global_warming),
    "antarctic_amplification": (per_kelvin.antarctic_warming, global_warming),
    "precipitation_change_per_K": (per_kelvin.precipitation_change, global_warming),
    "water_path_change_per_K": (per_kelvin.water_path_change, global_warming),
    "cess_feedback": (energy.toa_net_flux_change, global_warming),
    "cess_feedback_longwave": (energy.toa_longwave_change, global_warming),
    "cess_feedback_shortwave": (energy.toa_shortwave_change, global_warming),
    "cess_feedback_clear_sky": (energy.toa_clear_sky_flux_change, global_warming),
    "cess_feedback_cloud": (energy.cloud_radiative_effect_change, global_warming),
    "land_ocean_warming_ratio_by_hemisphere": (
        hemispheres.land_warming_by_hemisphere,
        hemispheres.ocean_warming_by_hemisphere,
    ),
    "box_land_ocean_warming_ratio": (boxes.box_land_warming, boxes.box_ocean_warming),
    "linearity": (linearity.response_per_sst_change, linearity.reference_response),
}
