"""All diagnostics of a run or of a reference, with their statistics, and the flat summary."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from respeval.diagnostics.formulas.boxes import boxes_in
from respeval.diagnostics.formulas.drift import with_trend, yearly_means
from respeval.diagnostics.formulas.quantities import QUANTITIES, find_output
from respeval.diagnostics.formulas.regions import DiagnosticSettings, LeftOut, with_baseline
from respeval.diagnostics.formulas.registry import declared, known_diagnostics, known_trends
from respeval.diagnostics.output_means import means_with_statistics, output_means, warming_of_globe
from respeval.diagnostics.scalars import check_places, scalars, scalars_with_statistics
from respeval.diagnostics.seasons import seasonal
from respeval.diagnostics.statistics.totals import num_in_whole_years, parts_of_stack
from respeval.diagnostics.statistics.uncertainty import Units
from respeval.diagnostics.zonal import forced_in, zonal_response_of_maps, zonal_totals
from respeval.fields.grid import SURFACES
from respeval.fields.perturbation import BASELINE

#: Attribute of the diagnostics: how many samples a run has, those that have become one counted as one.
NUM_SAMPLES_COUNTED = "num_samples_counted"


@dataclass(frozen=True, eq=False)
class Replicated:
    """The diagnostics of a run, and what each of them is without one of the run's units.

    diagnostics: as of `diagnose`. without: name -> (perturbation, unit…, …), for every diagnostic but
    the zonal means; the unit is left out of both climates.
    """

    diagnostics: xr.Dataset
    without: xr.Dataset
    units: Units


def diagnose(zonal: xr.Dataset, settings: DiagnosticSettings) -> xr.Dataset:
    """Every diagnostic of a run that can be had, each with the `STATISTICS` of uncertainty.py.

    zonal: as in zonal.nc; outputs (group, sample, time, surface, lat), `count` (group, sample,
        time), `area` (surface, lat), `time_bnds`; maybe forcing (sample, time, surface, lat), which is
        read beside the outputs and is none.
    Returns `known_diagnostics` and, for every output, `NAME_mean` (perturbation,
    surface), `NAME_per_K` (perturbation, surface) and `NAME_zonal_mean` (perturbation, surface, lat),
    and beside each `NAME_stderr`,
    `NAME_low`, `NAME_high`, `NAME_num_effective` and `NAME_noise`. The unit is a year of a sample,
    in both climates; with fewer than two of them the statistics are NaN. `left_out` says why a
    diagnostic is missing. The attribute `NUM_SAMPLES_COUNTED` says how many samples there were in effect.
    Outputs may have further dimensions, such as one that numbers runs.
    Raises ValueError where a variable or the group `baseline` is missing.
    """
    return replicate(zonal, settings).diagnostics


def replicate(
    zonal: xr.Dataset, settings: DiagnosticSettings, *, zonal_means: bool = True
) -> Replicated:
    """What `diagnose` gives, with the replicates that its errors are made from.

    zonal_means: whether `NAME_zonal_mean` is among the diagnostics.
    """
    totals = zonal_totals(zonal)
    usual = totals.sel(surface=list(SURFACES)) if boxes_in(zonal) else totals
    units = Units.of(totals["count"])
    forced = forced_in(zonal)
    outputs = [str(name) for name in totals.data_vars if name not in ("count", *forced)]
    read = totals[[*read_by_diagnostics([*outputs, *forced], settings), "count"]]
    found, without = scalars_with_statistics(read, zonal, units, settings)
    found.update(
        _trends(read.drop_vars(forced, errors="ignore"), zonal, settings, dict(found.indexes))
    )
    found.update(seasonal(zonal, settings))
    warming = warming_of_globe(usual, zonal, settings)
    bytes_each = totals[outputs[0]].nbytes if outputs else 0
    for part in parts_of_stack(outputs, bytes_each):
        means, without_of_means = means_with_statistics(
            usual, zonal, units, part, zonal_means, warming
        )
        found.update(means)
        without.update(without_of_means)
    found.attrs[NUM_SAMPLES_COUNTED] = totals.sizes["sample"]
    return Replicated(found, without, units)


def diagnose_reference(maps: xr.Dataset, settings: DiagnosticSettings) -> xr.Dataset:
    """The same diagnostics of a response that is known as maps, without standard errors.

    maps: as in response.nc; outputs (perturbation, lat, lon), `ocean_mask`, `land_mask` and
        `area_weight` (lat, lon). Raises ValueError where a mask or the weights are missing.
    """
    core = zonal_response_of_maps(maps)
    diagnostics = scalars(core, settings)
    diagnostics.update(output_means(core, settings))
    return diagnostics


def _trends(
    totals: xr.Dataset,
    zonal: xr.Dataset,
    settings: DiagnosticSettings,
    indexes: dict[Hashable, Any],
) -> xr.Dataset:
    """The diagnostics of `known_trends` with their statistics. indexes: of the other diagnostics."""
    found: dict[str, xr.Variable] = {}
    coords: dict[Hashable, xr.DataArray] = {}
    whole = zonal.isel(time=slice(0, num_in_whole_years(zonal)))
    if whole.sizes["time"] < zonal.sizes["time"]:
        names = [name for name in totals.data_vars if name != "count"]
        totals = zonal_totals(whole[[*names, "count", "area", "time_bnds"]])
    yearly = yearly_means(totals, whole)
    for name, diagnostic in known_trends().items():
        try:
            values = diagnostic(yearly, settings)
        except LeftOut:
            continue
        check_places(name, values, indexes)
        found |= with_trend(name, values, yearly["decades"])
        coords |= {dim: values[dim] for dim in found[name].dims}
    return xr.Dataset(found, coords)


def left_out(outputs: Iterable[str], settings: DiagnosticSettings) -> dict[str, str]:
    """Diagnostics that a run with these outputs will not have: name -> reason. Needs no run.

    outputs: and the forcing that it keeps, see `fluxes_of_forcing`.
    """
    labels = list(settings.amplitudes_K) or ["-"]
    response = empty_response(read_by_diagnostics(outputs, settings), labels)
    yearly = response.rename(perturbation="group").assign_coords(group=[BASELINE, *labels[1:]])
    reasons: dict[str, str] = {}
    for diagnostics, core in ((known_diagnostics(), response), (known_trends(), yearly)):
        for name, diagnostic in diagnostics.items():
            try:
                diagnostic(core, settings)
            except LeftOut as reason:
                if not diagnostic.asked_for:
                    reasons[name] = str(reason)
    return reasons


def empty_response(outputs: Iterable[str], labels: Sequence[str]) -> xr.Dataset:
    """A zonal response of zeros on one circle: what diagnostics can be had of it needs no run."""
    shape = (len(labels), len(SURFACES), 1)
    zeros = xr.DataArray(np.zeros(shape), dims=("perturbation", "surface", "lat"))
    names = list(outputs)
    of_baseline = xr.Dataset({name: zeros[0] for name in names})
    response = with_baseline(xr.Dataset({name: zeros for name in names}), of_baseline)
    response = response.assign(area=zeros[0])
    return response.assign_coords(perturbation=list(labels), surface=list(SURFACES), lat=[0.0])


def read_by_diagnostics(outputs: Iterable[str], settings: DiagnosticSettings) -> list[str]:
    """The outputs that the diagnostics read: those whose replicates the scalars are made from."""
    roles, present = settings.roles, list(outputs)
    named = {roles.near_surface_temperature, roles.surface_level, roles.upper_level}
    named.update(roles.column_temperature)
    named.update(find_output(present, settings, quantity) for quantity in QUANTITIES)
    for diagnostic in declared().values():
        named.update(diagnostic.reads)
    return [name for name in present if name in named]
