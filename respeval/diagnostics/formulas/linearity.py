"""Whether the response grows as the change of SST does, from one amplitude to another."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from respeval.diagnostics.formulas.diagnostic import Diagnostic, Formula, Ratio
from respeval.diagnostics.formulas.per_kelvin import precipitation_change
from respeval.diagnostics.formulas.regions import DiagnosticSettings, LeftOut, global_warming
from respeval.diagnostics.formulas.warming import tropical_ocean_upper_warming


def _over(surface: str) -> Formula:
    return lambda response, settings: global_warming(response, settings, surface)


#: Quantity -> its response, whose linearity is told.
RESPONSES: Mapping[str, Formula] = {
    "global_warming": _over("all"),
    "land_warming": _over("land"),
    "ocean_warming": _over("ocean"),
    "tropical_ocean_upper_warming": tropical_ocean_upper_warming,
    "precipitation": precipitation_change,
}


def _per_sst_change(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """R_b / A_b of `linearity`, (perturbation, …, quantity); NaN where there is nothing to compare."""
    reference = reference_label(settings)
    labels = response["perturbation"].values
    amplitudes = [
        settings.amplitudes_K.get(str(label), np.nan) if label != reference else np.nan
        for label in labels
    ]
    divisor = xr.DataArray(np.array(amplitudes, np.float64), dims="perturbation")
    found = _responses(response, settings) / divisor.where(divisor != 0)
    return found.assign_attrs(comment=f"relative to {reference}")


def _of_reference(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """R_a / A_a of `linearity`, the same for every perturbation."""
    reference = reference_label(settings)
    if reference not in response["perturbation"].values:
        raise LeftOut(f"there is no response to {reference}")
    values = _responses(response, settings)
    own = values.sel(perturbation=reference, drop=True) / settings.amplitudes_K[reference]
    return own.expand_dims(perturbation=response["perturbation"].values).transpose(*values.dims)


linearity = Diagnostic(
    name="linearity",
    what="Response per kelvin of SST change over that of the smallest one",
    units="1",
    dims="perturbation, quantity",
    formula="(R_b / A_b) / (R_a / A_a): R global-mean responses to uniform SST changes of A kelvin, a "
    "the one with the smallest |A|. For 4 K against 2 K it is R(4) / R(2) / 2. 1 means linear; NaN "
    "for a itself and for perturbations that aren't uniform.",
    source="Bloch-Johnson et al. 2021, Geophys. Res. Lett. 48, e2020GL089074",
    values=Ratio(_per_sst_change, _of_reference),
    long_name="response per kelvin of SST change, relative to the smallest change",
)


def reference_label(settings: DiagnosticSettings) -> str:
    """The uniform perturbation with the smallest |A| > 0. Raises LeftOut where it is alone."""
    amplitudes = {label: a for label, a in settings.amplitudes_K.items() if a != 0}
    if len(set(amplitudes.values())) < 2:
        raise LeftOut("it needs uniform perturbations of two amplitudes")
    return min(amplitudes, key=lambda label: abs(amplitudes[label]))


def _responses(response: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    found: dict[str, xr.DataArray] = {}
    for name, function in RESPONSES.items():
        try:
            found[name] = function(response, settings)
        except LeftOut:
            continue
    if not found:
        raise LeftOut("none of the responses that it compares is there")
    whole = xr.concat(list(found.values()), dim=xr.Variable("quantity", list(found)))
    whole["quantity"].attrs["long_name"] = "what responds"
    return whole.transpose(..., "quantity")
