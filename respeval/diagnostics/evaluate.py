"""All diagnostics of a run or of a reference, with their standard errors, and the flat summary."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from respeval.diagnostics.jackknife import (
    describe_standard_error,
    leave_one_out,
    occupied_units,
    standard_error,
)
from respeval.diagnostics.scalars import DIAGNOSTICS, DiagnosticSettings, LeftOut
from respeval.diagnostics.totals import (
    STACK_DIM,
    parts_of_stack,
    response_of_totals,
    stack,
)
from respeval.diagnostics.zonal import (
    SURFACES,
    with_area,
    zonal_response_of_maps,
    zonal_totals,
)

#: What the mean of an output over a surface is called in the summary.
MEAN_LABELS = {"all": "global_mean", "land": "land_mean", "ocean": "ocean_mean"}


def diagnose(zonal: xr.Dataset, settings: DiagnosticSettings) -> xr.Dataset:
    """Every diagnostic of a run that can be had, each with `NAME_stderr`.

    zonal: as in zonal.nc; outputs (group, sample, time, surface, lat), `count` (group, sample,
        time), `area` (surface, lat), `time_bnds` (time, bnds).
    Returns the diagnostics of `DIAGNOSTICS` and, for every output, `NAME_mean` (perturbation,
    surface) and `NAME_zonal_mean` (perturbation, surface, lat). The error is the jackknife over
    (sample, year) units of paired differences. `left_out` says why a diagnostic is missing.
    Raises ValueError where a variable or the group `baseline` is missing.
    """
    totals = zonal_totals(zonal)
    outputs = [str(name) for name in totals.data_vars if name != "count"]
    diagnostics = _with_errors(
        totals, zonal, _read_by_diagnostics(outputs, settings), lambda core: scalars(core, settings)
    )
    found = {str(name): value for name, value in diagnostics.data_vars.items()}
    bytes_each = totals[outputs[0]].nbytes if outputs else 0
    for part in parts_of_stack(outputs, bytes_each):
        found |= _means_with_errors(totals, zonal, part)
    return xr.Dataset(found)


def diagnose_reference(maps: xr.Dataset, settings: DiagnosticSettings) -> xr.Dataset:
    """The same diagnostics of a response that is known as maps, without standard errors.

    maps: as in response.nc; outputs (perturbation, lat, lon), `ocean_mask`, `land_mask` and
        `area_weight` (lat, lon). Raises ValueError where a mask or the weights are missing.
    """
    core = zonal_response_of_maps(maps)
    diagnostics = scalars(core, settings)
    diagnostics.update(output_means(core))
    return diagnostics


def scalars(response: xr.Dataset, settings: DiagnosticSettings) -> xr.Dataset:
    """The diagnostics of `DIAGNOSTICS` that a zonal response allows; the others are left out."""
    values: dict[str, xr.DataArray] = {}
    for name, function in DIAGNOSTICS.items():
        try:
            values[name] = function(response, settings)
        except LeftOut:
            continue
    return xr.Dataset(values)


def output_means(response: xr.Dataset) -> xr.Dataset:
    """Mean response of every output over each surface, and its zonal mean, in its own units.

    `NAME_mean` (perturbation, …, surface): Σ area·x / Σ area; NaN where the surface has no cell.
    `NAME_zonal_mean` (perturbation, …, surface, lat): the zonal response itself.
    """
    area = response["area"]
    means: dict[str, xr.DataArray] = {}
    for name, value in response.drop_vars("area").data_vars.items():
        means |= _described_means(str(name), value.attrs, surface_means(value, area), value)
    return xr.Dataset(means)


def surface_means(value: xr.DataArray, area: xr.DataArray) -> xr.DataArray:
    """Σ area·x / Σ area of a zonal response (…, surface, lat): (…, surface)."""
    whole = area.sum("lat").where(area.sum("lat") > 0)
    mean: xr.DataArray = (value * area).where(area > 0, 0.0).sum("lat", skipna=False) / whole
    return mean.transpose(..., "surface")


def _described_means(
    name: str, attributes: Mapping[Hashable, Any], mean: xr.DataArray, zonal_mean: xr.DataArray
) -> dict[str, xr.DataArray]:
    """An output's two means under their names, with what CF wants to know of them."""
    units, quantity = attributes.get("units", "1"), attributes.get("long_name", name)
    return {
        f"{name}_mean": mean.assign_attrs(
            units=units,
            long_name=f"mean response of {quantity}",
            cell_methods="time: mean area: mean",
        ),
        f"{name}_zonal_mean": zonal_mean.transpose(..., "surface", "lat").assign_attrs(
            units=units,
            long_name=f"zonal-mean response of {quantity}",
            cell_methods="time: mean longitude: mean",
        ),
    }


def _means_with_errors(
    totals: xr.Dataset, zonal: xr.Dataset, names: Sequence[str]
) -> dict[str, xr.DataArray]:
    """`output_means` of these outputs with the jackknife errors, all outputs at once."""
    count, area = totals["count"], zonal["area"].compute()
    stacked = xr.Dataset({"all": stack({name: totals[name] for name in names}), "count": count})
    zonal_means = response_of_totals(stacked.sum(("sample", "year"), skipna=False))["all"]
    left = response_of_totals(leave_one_out(stacked))["all"]
    errors = standard_error(
        xr.Dataset({"mean": surface_means(left, area), "zonal_mean": left}), occupied_units(count)
    )
    values = {"mean": surface_means(zonal_means, area), "zonal_mean": zonal_means}
    found: dict[str, xr.DataArray] = {}
    for i, name in enumerate(names):
        mean, zonal_mean = (values[kind].isel({STACK_DIM: i}, drop=True) for kind in values)
        for full_name, value in _described_means(name, zonal[name].attrs, mean, zonal_mean).items():
            kind = full_name.removeprefix(f"{name}_")
            stderr = errors[kind].isel({STACK_DIM: i}, drop=True).transpose(*value.dims)
            found[full_name] = value.assign_attrs(ancillary_variables=f"{full_name}_stderr")
            found[f"{full_name}_stderr"] = describe_standard_error(stderr, of=value)
    return found


def left_out(outputs: Iterable[str], settings: DiagnosticSettings) -> dict[str, str]:
    """Diagnostics that a run with these outputs will not have: name -> reason. Needs no run."""
    shape = (1, len(SURFACES), 1)
    zeros = xr.DataArray(np.zeros(shape), dims=("perturbation", "surface", "lat"))
    response = xr.Dataset({name: zeros for name in outputs})
    response = response.assign(area=zeros[0]).assign_coords(surface=list(SURFACES), lat=[0.0])
    reasons: dict[str, str] = {}
    for name, function in DIAGNOSTICS.items():
        try:
            function(response, settings)
        except LeftOut as reason:
            reasons[name] = str(reason)
    return reasons


def summary(diagnostics: xr.Dataset) -> dict[str, float | None]:
    """Flat keys and numbers for summary.json; what is not finite becomes None (JSON's null).

    `LABEL/NAME` of a scalar, `LABEL/NAME/BAND` by band, `LABEL/NAME/VARIABLE` by level;
    `LABEL/global_mean/NAME`, `LABEL/land_mean/NAME` and `LABEL/ocean_mean/NAME` of the outputs.
    Standard errors: `_stderr` after the diagnostic's name, as in `LABEL/land_warming_stderr/BAND`
    and `LABEL/global_mean_stderr/NAME`. Zonal means are left out.
    """
    numbers: dict[str, float | None] = {}
    for label in diagnostics["perturbation"].values:
        for name, value in diagnostics.sel(perturbation=label, drop=True).data_vars.items():
            if value.ndim == 0:
                numbers[f"{label}/{name}"] = _finite(value.item())
            elif value.dims in (("band",), ("level",)):
                for place, number in zip(value[value.dims[0]].values, value.values, strict=True):
                    numbers[f"{label}/{name}/{place}"] = _finite(number)
            elif value.dims == ("surface",):
                output, is_error, _ = str(name).rpartition("_mean_stderr")
                output = output if is_error else str(name).removesuffix("_mean")
                for surface, number in zip(value["surface"].values, value.values, strict=True):
                    mean = MEAN_LABELS[surface] + ("_stderr" if is_error else "")
                    numbers[f"{label}/{mean}/{output}"] = _finite(number)
    return numbers


def _finite(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None


def _read_by_diagnostics(outputs: Iterable[str], settings: DiagnosticSettings) -> list[str]:
    """The outputs that the roles name: those that the replicates of the scalars are needed for."""
    roles = settings.roles
    named = {roles.near_surface_temperature, roles.surface_level, roles.upper_level}
    named.update(roles.column_temperature)
    return [name for name in outputs if name in named]


def _with_errors(
    totals: xr.Dataset,
    zonal: xr.Dataset,
    names: list[str],
    evaluate: Callable[[xr.Dataset], xr.Dataset],
) -> xr.Dataset:
    """`evaluate` on the response of these outputs, and the jackknife error of all it returns."""
    chosen = totals[[*names, "count"]]
    everything = chosen.sum(("sample", "year"), skipna=False)
    values = evaluate(with_area(response_of_totals(everything), zonal))
    if not values.data_vars:
        return values
    replicates = evaluate(with_area(response_of_totals(leave_one_out(chosen)), zonal))
    errors = standard_error(replicates, occupied_units(totals["count"]))
    result = values.copy()
    for name, value in values.data_vars.items():
        stderr = errors[name].transpose(*value.dims)
        result[name] = value.assign_attrs(ancillary_variables=f"{name}_stderr")
        result[f"{name}_stderr"] = describe_standard_error(stderr, of=value)
    return result
