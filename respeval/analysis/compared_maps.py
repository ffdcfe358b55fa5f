"""The response maps of one output of many runs and of their reference, on one grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from respeval.analysis.compared_reference import REFERENCE_NAME, Reference, factor_to
from respeval.analysis.finished_runs import Run
from respeval.analysis.known import PLANE, KnownResponse, known_in_order, open_reference
from respeval.diagnostics.maps import CELL_VARIABLES
from respeval.errors import InputError
from respeval.fields.grid import BoolArray, Grid
from respeval.fields.notices import Notices
from respeval.files.netcdf import open_saved
from respeval.files.settings import nearest_names
from respeval.run_folder.names import MANIFEST, RESPONSE

#: After an output's name: whether a test has found its response not significant.
NOT_SIGNIFICANT = "_not_significant"

_TESTED = ("_significant", "_pvalue")


@dataclass(frozen=True, eq=False)
class _Part:
    """Responses of one map, (perturbation, lat, lon) of these labels, and its name.

    factor: into the units of the first run.
    """

    map: str
    known: KnownResponse
    labels: tuple[str, ...]
    factor: float = 1.0


def outputs_of_runs(runs: Sequence[Run]) -> list[str]:
    """The outputs whose response some of these runs have; runs without response.nc have none."""
    found: dict[str, None] = {}
    for run in runs:
        try:
            with open_saved(run.folder / RESPONSE) as response:
                found |= {str(n): None for n in response.data_vars if f"{n}_stderr" in response}
        except InputError:
            continue
    return list(found)


def check_maps(names: Sequence[str], runs: Sequence[Run]) -> None:
    """Raise InputError where no run has the response of one of these outputs."""
    known = outputs_of_runs(runs) if names else []
    for name in names:
        if name not in known:
            near = nearest_names(name, known)
            hint = f"did you mean {near}?" if near else f"they have {', '.join(known) or 'none'}"
            raise InputError(f"--map {name}: no run has an output of this name; {hint}")


def maps_of_runs(
    runs: Sequence[Run],
    reference: Reference | None,
    name: str,
    labels: Sequence[str],
    tell: Callable[[str], None] = lambda remark: None,
) -> xr.Dataset:
    """The responses of an output as maps, the reference's first: NAME (map, perturbation, lat, lon).

    All are on the grid of those that has the fewest cells, and in the units of the first run that has
    the output; NaN where a map lacks a perturbation. Beside it are `NAME_not_significant`, bool, of the
    same dimensions, and `area_weight`, `ocean_mask` and `mean_ocean_fraction` (lat, lon). The attribute
    `reference_name` is there if the first map is a reference's.
    tell: called with a line for what is left out or regridded.
    Raises InputError where no run's map can be read, or not that of a reference that is asked for.
    """
    parts: list[_Part] = []
    for run in runs:
        try:
            parts.append(_part_of_run(run, name, labels, parts, tell))
        except InputError as reason:
            tell(f"left out of the maps of {name}: {reason}")
    if not parts:
        raise InputError(f"there is no map of {name} that can be read")
    known: list[_Part] = []
    if reference is not None:
        try:
            known = list(_parts_of_reference(reference, name, labels, parts[0], tell))
        except InputError as reason:
            if reference.asked:
                raise
            tell(f"no reference in the maps of {name}: {reason}")
    maps = _on_one_grid([*known, *parts], name, list(labels), tell)
    return maps.assign_attrs({REFERENCE_NAME: known[0].map} if known else {})


def _part_of_run(
    run: Run,
    name: str,
    labels: Sequence[str],
    before: Sequence[_Part],
    tell: Callable[[str], None],
) -> _Part:
    """The map of a run, its cells in the order of the first one's where they are the same."""
    with open_saved(run.folder / RESPONSE) as response:
        if name not in response:
            raise InputError(f"{run.folder} has no {name}")
        wanted = [name, *(f"{name}{end}" for end in _TESTED), *CELL_VARIABLES]
        kept = response[[n for n in wanted if n in response]].load()
    grid = Grid.from_coordinates(kept["lat"].values, kept["lon"].values)
    known = KnownResponse(str(run.folder), grid, kept)
    if before:
        known = known_in_order(known, before[0].known.grid)
    theirs = [str(label) for label in kept["perturbation"].values]
    shared = tuple(label for label in labels if label in theirs)
    if not shared:
        raise InputError(f"{run.folder} has none of the perturbations {', '.join(labels)}")
    return _Part(run.name, known, shared, _factor(before, known, name, tell))


def _factor(
    before: Sequence[_Part], known: KnownResponse, name: str, tell: Callable[[str], None]
) -> float:
    if not before:
        return 1.0
    notices = Notices()
    factor = factor_to(before[0].known.maps[name], known, name, notices)
    for text in notices.texts:
        tell(text)
    return factor


def _parts_of_reference(
    reference: Reference,
    name: str,
    labels: Sequence[str],
    first: _Part,
    tell: Callable[[str], None],
) -> Iterator[_Part]:
    """A part for each file. Raises InputError where none has the output and a perturbation."""
    by_location: dict[str, list[str]] = {}
    for label, location in reference.locations(labels).items():
        by_location.setdefault(location, []).append(label)
    is_there = False
    for location, chosen in by_location.items():
        of_run = f"{location}/{RESPONSE}"
        is_run = (Path(location) / MANIFEST).is_file()
        known = open_reference(of_run if is_run else location, first.known.grid)
        if "perturbation" in known.maps.dims:
            theirs = [str(label) for label in known.maps["perturbation"].values]
            chosen = [label for label in chosen if label in theirs]
        if name in known.outputs() and chosen:
            is_there = True
            factor = _factor([first], known, name, tell)
            yield _Part(reference.name, known.only([name]), tuple(chosen), factor)
    if not is_there:
        raise InputError(f"{reference.text()} has no {name} of {', '.join(labels)}")


def _on_one_grid(
    parts: Sequence[_Part], name: str, labels: Sequence[str], tell: Callable[[str], None]
) -> xr.Dataset:
    """The maps of all parts, their dots, and what the cells are."""
    grid = min((part.known.grid for part in parts), key=lambda one: one.num_lat * one.num_lon)
    maps = list(dict.fromkeys(part.map for part in parts))
    values = np.full((len(maps), len(labels), *grid.shape), np.nan)
    dots = np.zeros(values.shape, np.bool_)
    for part in parts:
        known = known_in_order(part.known, grid)
        if known.grid is not grid:
            tell(f"{known.where} is on {known.grid}; its map of {name} is brought to {grid}")
            known = KnownResponse(known.where, known.grid, known.maps[[name]]).on(grid)
        at = maps.index(part.map), [labels.index(label) for label in part.labels]
        values[at] = known.response(name, part.labels).values * part.factor
        dots[at] = _not_significant(known, name, part.labels)
    of_runs = [part.known for part in parts if set(CELL_VARIABLES) <= set(part.known.maps)]
    dims = ("map", "perturbation", *PLANE)
    variables = {
        name: (dims, values, of_runs[0].maps[name].attrs),
        f"{name}{NOT_SIGNIFICANT}": (dims, dots),
    }
    plane = {"lat": grid.latitude, "lon": grid.longitude}
    named = {"map": maps, "perturbation": list(labels)}
    return xr.Dataset(variables, {**named, **plane}).assign(_cells(of_runs, grid))


def _not_significant(known: KnownResponse, name: str, labels: Sequence[str]) -> BoolArray:
    """Cells that a test has found not significant, [perturbation, lat, lon]; none of a regridded map."""
    if any(f"{name}{end}" not in known.maps for end in _TESTED):
        return np.zeros((len(labels), *known.grid.shape), np.bool_)
    significant, p = (known.response(f"{name}{end}", labels).values for end in _TESTED)
    return np.asarray(np.isfinite(p) & (significant != 1))


def _cells(of_runs: Sequence[KnownResponse], grid: Grid) -> dict[str, xr.DataArray]:
    """`CELL_VARIABLES` of the first run on this grid, or else the first run's, regridded."""
    names = list(CELL_VARIABLES)
    for known in of_runs:
        if known_in_order(known, grid).grid is grid:
            return dict(known_in_order(known, grid).maps[names].data_vars)  # type: ignore[arg-type]
    maps = of_runs[0].maps[names]
    cells = KnownResponse(of_runs[0].where, of_runs[0].grid, maps).on(grid).maps
    masks = {mask: (cells[mask] > 0.5).astype(np.int8) for mask in ("ocean_mask", "land_mask")}
    area = xr.DataArray(grid.area_weights(), dims=PLANE)
    return {**masks, "area_weight": area, "mean_ocean_fraction": cells["mean_ocean_fraction"]}
