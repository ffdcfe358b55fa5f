"""How a run's response agrees with that of a reference, output by output."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from respeval.analysis.known import CHUNKS, PLANE, KnownResponse, open_reference
from respeval.case.case import Sources, of_perturbations
from respeval.diagnostics import BASELINE, response_maps
from respeval.diagnostics.agreement import (
    AGREEMENT,
    REGIONS,
    Noise,
    agreement,
    compared_outputs,
    described_agreement,
)
from respeval.diagnostics.maps import CELL_VARIABLES
from respeval.errors import InputError
from respeval.fields.grid import Grid
from respeval.fields.notices import Notices
from respeval.fields.regrid import Conservative
from respeval.fields.units import Wanted, fit
from respeval.fields.variables import Variable
from respeval.files.netcdf import open_saved
from respeval.files.publish import finite_or_none
from respeval.run_folder.identity import other_samples
from respeval.run_folder.manifest import read_left_out, read_manifest
from respeval.run_folder.names import GROUP_MEANS, MANIFEST


def compare_with(
    folder: Path, response: xr.Dataset, sources: Sources, notices: Notices | None = None
) -> xr.Dataset:
    """The content of reference.nc: `NAME_STATISTIC` (perturbation, region) of every shared output.

    folder: of the run, with group_means.nc. response: as in its response.nc. A perturbation that blew up
    is not held against anything.
    The coarser of the two grids, that with fewer cells, is compared on. Attributes tell what was
    compared, and which outputs the reference lacks. Raises InputError where it can't be read, is not
    global, shares no output or perturbation with the run, or has other units.
    """
    labels = [str(label) for label in response["perturbation"].values]
    out = read_left_out(folder, read_manifest(folder)) if (folder / MANIFEST).is_file() else []
    blown = [fault["group"] for fault in out]
    by_source = _by_source(sources, [*labels, *blown], blown)
    if not by_source:
        raise InputError(
            f"what a reference was given for, {', '.join(blown)}, blew up in every sample"
        )
    with open_saved(folder / GROUP_MEANS, CHUNKS) as group_means:
        grid = Grid.from_coordinates(response["lat"].values, response["lon"].values)
        run = KnownResponse(str(folder), grid, response, group_means)
        notices = Notices() if notices is None else notices
        parts, shared = [], list[str]()
        for location, chosen in by_source.items():
            reference = open_reference(location, grid, notices)
            paired = _same_samples(folder, location)
            found, names = _compare(run, reference, chosen, paired, notices)
            parts.append(found)
            shared += [name for name in names if name not in shared]
        joined = xr.concat(parts, "perturbation", join="outer", combine_attrs="override")
        for name in joined.data_vars:
            if str(name).endswith("_within_noise"):
                flags = next(part[name].attrs for part in parts if name in part)
                joined[name] = joined[name].fillna(-1).astype(np.int8).assign_attrs(flags)
        joined["region"].attrs["long_name"] = "part of the globe"
        lacking = [name for name in _outputs_of(response) if name not in shared]
        told = {"reference": ", ".join(by_source), "compared_on": parts[0].attrs["compared_on"]}
        return joined.assign_attrs({**told, "not_shared": " ".join(lacking)})


def check_references(
    sources: Sources | None, labels: Sequence[str], outputs: Sequence[Variable], grid: Grid
) -> tuple[str, ...]:
    """Raise InputError where a run could not be held against its references; reads no responses.

    labels, outputs, grid: of the run. Returns what is to be told, a line each: what it
    will not be held against, and what is converted.
    """
    zeros = xr.DataArray(
        np.zeros((len(labels), 1, 1)), {"perturbation": list(labels)}, ("perturbation", *PLANE)
    )
    maps = {output.name: zeros.assign_attrs(units=output.units or "1") for output in outputs}
    run = KnownResponse("the run", grid, xr.Dataset(maps))
    notices = Notices()
    for location, chosen in _by_source(sources or {}, labels).items():
        reference = open_reference(location, grid, notices, with_numbers=False)
        shared, names = _shared(run, reference, chosen, list(maps))
        for name in names:
            _fitted(run, reference, name, notices)
        if reference.grid is not grid:
            Conservative(reference.grid, grid)  # which says so where what it needs is not there
        lacking = [label for label in chosen if label not in shared]
        if lacking:
            which = f"{', '.join(lacking)}, which {'are' if len(lacking) > 1 else 'is'}"
            notices.tell(f"{location} has no {which} held against nothing")
    return notices.texts


def _by_source(
    sources: Sources, labels: Sequence[str], without: Collection[str] = ()
) -> dict[str, list[str]]:
    """Reference -> the perturbations of these labels that are held against it."""
    found: dict[str, list[str]] = {}
    for label, location in of_perturbations(sources, labels).items():
        if label not in without:
            found.setdefault(location, []).append(label)
    return found


def summary_of_reference(found: xr.Dataset) -> dict[str, float | None]:
    """Flat keys for summary.json: `LABEL/reference/STATISTIC/REGION/OUTPUT`."""
    numbers: dict[str, float | None] = {}
    for label in found["perturbation"].values:
        for name in compared_outputs(found):
            for statistic in AGREEMENT:
                values = found[f"{name}_{statistic}"].sel(perturbation=label).values
                for region, number in zip(found["region"].values, values, strict=True):
                    key = f"{label}/reference/{statistic}/{region}/{name}"
                    numbers[key] = finite_or_none(number)
    return numbers


def _outputs_of(response: xr.Dataset) -> list[str]:
    return [n for n in map(str, response.data_vars) if f"{n}_stderr" in response]


def _same_samples(folder: Path, location: str) -> bool:
    """Whether the reference is a run whose samples, and so their weather, are those of this one."""
    if not (Path(location) / MANIFEST).is_file():
        return False
    return not other_samples(read_manifest(folder), read_manifest(Path(location)))


def _compare(
    run: KnownResponse,
    reference: KnownResponse,
    labels: Sequence[str],
    paired: bool,
    notices: Notices,
) -> tuple[xr.Dataset, list[str]]:
    """The agreement of these perturbations, and the outputs that were compared."""
    labels, names = _shared(run, reference, labels, _outputs_of(run.maps))
    areas = run.maps[list(CELL_VARIABLES)]
    fitted = {name: _fitted(run, reference, name, notices) for name in names}
    run, reference = run.only(names), reference.only(names).times(fitted)
    coarser = run.grid.num_lat * run.grid.num_lon <= reference.grid.num_lat * reference.grid.num_lon
    if reference.grid is not run.grid:
        if coarser:
            reference = reference.on(run.grid)
        else:
            run = run.on(reference.grid)
            areas = run.maps[list(CELL_VARIABLES)]
    weights = _weights(run, reference, names, labels, _region_areas(areas))
    noise = [_noise(part, labels, weights) for part in (run, reference)]
    together = {
        name: Noise(own.cells + other.cells, own.means + other.means)
        for (name, own), other in zip(noise[0].items(), noise[1].values(), strict=True)
    }
    if paired and _count_alike(run, reference, labels):
        together = _noise(_difference(run, reference, names, labels), labels, weights)
    found: dict[str, xr.DataArray] = {}
    for name in names:
        response, other = (known.response(name, labels) for known in (run, reference))
        all_noise = (noise[0][name], noise[1][name], together[name])
        own = agreement(response, other, weights[name], all_noise)
        found |= described_agreement(own, name, _attributes(run, name))
    return xr.Dataset(found, attrs={"compared_on": str(run.grid)}), names


def _shared(
    run: KnownResponse, reference: KnownResponse, labels: Sequence[str], outputs: Sequence[str]
) -> tuple[list[str], list[str]]:
    """The perturbations and the outputs of a run that a reference has too.

    Raises InputError where there is none.
    """
    labels = _shared_labels(run, reference, labels)
    present = reference.outputs()
    names = [name for name in outputs if name in present]
    if not names:
        raise InputError(
            f"{reference.where} shares no output with the run (the run has: {', '.join(outputs)}; it has: "
            f"{', '.join(present) or 'none'})"
        )
    return labels, names


def _shared_labels(
    run: KnownResponse, reference: KnownResponse, labels: Sequence[str]
) -> list[str]:
    if "perturbation" not in reference.maps.dims:
        return list(labels)
    theirs = [str(label) for label in reference.maps["perturbation"].values]
    shared = [label for label in labels if label in theirs]
    if not shared:
        raise InputError(
            f"{reference.where} has no perturbation of the run (it has: {', '.join(theirs)}; the run: "
            f"{', '.join(labels)}); give them the same names, or leave it out with --reference none"
        )
    return shared


def _fitted(run: KnownResponse, reference: KnownResponse, name: str, notices: Notices) -> float:
    """What a reference's response is multiplied by to be in the run's units, and told once.

    Raises InputError where the units are those of another quantity.
    """
    wanted = Wanted(
        str(run.maps[name].attrs.get("units", "")), "change", "the run's response is in"
    )
    return fit(reference.where, name, reference.maps[name].attrs, wanted, notices).factor


def _attributes(run: KnownResponse, name: str) -> dict[str, str]:
    told = dict(run.maps[name].attrs)
    return {**told, "long_name": str(told.get("long_name", name)).removeprefix("response of ")}


def _region_areas(cells: xr.Dataset) -> xr.DataArray:
    """Areas of the cells of each region, (region, lat, lon)."""
    area = cells["area_weight"]
    parts = [area, area.where(cells["land_mask"] == 1, 0), area.where(cells["ocean_mask"] == 1, 0)]
    return xr.concat(parts, xr.Variable("region", list(REGIONS)))


def _weights(
    run: KnownResponse,
    reference: KnownResponse,
    names: Sequence[str],
    labels: Sequence[str],
    area: xr.DataArray,
) -> dict[str, xr.DataArray]:
    """Output -> weights (region, lat, lon) of the cells where both know it; each region's sum is 1."""
    found = {}
    for name in names:
        response, other = (part.response(name, labels) for part in (run, reference))
        known = area.where((response.notnull() & other.notnull()).all("perturbation"), 0.0)
        total = known.sum(PLANE)
        found[name] = known / total.where(total > 0)
    return found


def _noise(
    known: KnownResponse, labels: Sequence[str], weights: Mapping[str, xr.DataArray]
) -> dict[str, Noise]:
    """Output -> sampling variances of its response, and of the response's means over the regions."""
    coords = {"perturbation": list(labels), "region": list(REGIONS)}
    none = xr.DataArray(np.zeros((len(labels), len(REGIONS))), coords)
    circles = None
    if known.means is not None:
        circles = response_maps(_regions_as_circles(known.means, weights)).isel(lon=0, drop=True)
        circles = circles.rename(lat="region").sel(perturbation=list(labels)).assign_coords(coords)
    found = {}
    for name, weight in weights.items():
        if f"{name}_stderr" in known.maps:
            cells = known.response(f"{name}_stderr", labels) ** 2
        else:
            cells = xr.zeros_like(known.response(name, labels))
        means = none if circles is None else circles[f"{name}_stderr"] ** 2
        found[name] = Noise(cells, means.where(weight.notnull().all(PLANE)))
    return found


def _regions_as_circles(means: xr.Dataset, weights: Mapping[str, xr.DataArray]) -> xr.Dataset:
    """Group means of outputs over regions, as those of a grid of one cell for each region."""
    zeros = xr.DataArray(np.zeros((len(REGIONS), 1)), dims=PLANE)
    circles = means[["count", "time_bnds"]].assign(dict.fromkeys(CELL_VARIABLES, zeros))
    for name, weight in weights.items():
        values = means[name].where((weight > 0).any("region"), 0.0)
        values = (values * weight.fillna(0.0)).sum(PLANE, skipna=False)
        circles[name] = values.rename(region="lat").drop_vars("lat").expand_dims(lon=1, axis=-1)
    return circles


def _count_alike(run: KnownResponse, reference: KnownResponse, labels: Sequence[str]) -> bool:
    """Whether no sample of one run blew up that counts in the other."""
    if run.means is None or reference.means is None:
        return False
    groups = [BASELINE, *labels]
    own, other = (means["count"].sel(group=groups) for means in (run.means, reference.means))
    return own.shape == other.shape and bool((own.values == other.values).all())


def _difference(
    run: KnownResponse, reference: KnownResponse, names: Sequence[str], labels: Sequence[str]
) -> KnownResponse:
    """The difference of two runs of the same samples, group by group and segment by segment."""
    assert run.means is not None
    assert reference.means is not None
    kept, groups = [*names, "count", "time_bnds", *CELL_VARIABLES], [BASELINE, *labels]
    own, other = (means[kept].sel(group=groups) for means in (run.means, reference.means))
    other = other[list(names)].assign_coords(time=own["time"])
    both = own.assign({name: own[name] - other[name] for name in names})
    return KnownResponse(run.where, run.grid, response_maps(both), both)
