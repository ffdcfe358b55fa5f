"""What many runs are held against: the reference that a user names, or the one that the runs know."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from respeval.analysis.finished_runs import Run
from respeval.analysis.folder import TRUTH, settings_of_folder, sources_of_folder
from respeval.analysis.known import KnownResponse, open_reference
from respeval.case.case import Sources, check_sources
from respeval.case.options import NONE
from respeval.diagnostics import DiagnosticSettings, diagnose, diagnose_reference
from respeval.diagnostics.maps import CELL_VARIABLES
from respeval.errors import InputError
from respeval.fields.grid import Grid
from respeval.fields.notices import Notices
from respeval.fields.units import Wanted, alike, fit
from respeval.files.hashing import sha256_of
from respeval.files.netcdf import open_saved
from respeval.run_folder.names import MANIFEST, RESPONSE, ZONAL

#: After a diagnostic's name: what it is of the reference.
REFERENCE_SUFFIX = "_reference"

#: Attributes of a comparison: what its reference is called, and where it is.
REFERENCE_NAME, REFERENCE_SOURCE = "reference_name", "reference"

_CELLS = ("ocean_mask", "land_mask", "area_weight")


@dataclass(frozen=True)
class Reference:
    """What runs are held against. asked: by the user, so that a fault of it ends the command."""

    name: str
    sources: Sources
    asked: bool = True

    def locations(self, labels: Sequence[str]) -> dict[str, str]:
        """Perturbation -> file or folder, of those of these perturbations that there are."""
        if isinstance(self.sources, str):
            return dict.fromkeys(labels, self.sources)
        return {label: self.sources[label] for label in labels if label in self.sources}

    def text(self) -> str:
        """Where it is."""
        if isinstance(self.sources, str):
            return self.sources
        return ", ".join(f"{label}={location}" for label, location in self.sources.items())


def reference_of_runs(
    runs: Sequence[Run],
    asked: Sources | None,
    labels: Sequence[str],
    tell: Callable[[str], None] = lambda remark: None,
) -> Reference | None:
    """The reference that is asked for; without a wish the one that all runs know that know one.

    A run knows the truth in its folder, or else what its case names. Files with equal content are the
    same. asked: "none" for none. labels: perturbations of the first run. tell: called with a line where
    the runs know different ones, and none is taken.
    Raises InputError where one that is asked for is not there or of no perturbation.
    """
    names = [run.name for run in runs]
    if asked is not None:
        if not isinstance(asked, str):
            asked = {label: where for label, where in asked.items() if where != NONE}
        if not asked or asked == NONE:
            return None
        check_sources(asked, labels)
        return Reference(_name_of(asked, names), asked)
    known = {run.name: sources for run in runs if (sources := _known_to(run)) is not None}
    contents = {name: _as_text(sources) for name, sources in known.items()}
    if len(set(contents.values())) > 1:
        contents = {name: _identity(sources) for name, sources in known.items()}
    if not known:
        return None
    first = next(iter(known))
    others = [name for name, content in contents.items() if content != contents[first]]
    if others:
        tell(
            f"no reference: {first} and {others[0]} know different ones; choose with --reference, or "
            "--reference none"
        )
        return None
    return Reference(_name_of(known[first], names), known[first], asked=False)


def _known_to(run: Run) -> Sources | None:
    if (run.folder / TRUTH).is_file():
        return str(run.folder / TRUTH)
    try:
        return sources_of_folder(run.folder, {})
    except InputError:  # which the comparison itself will tell
        return None


def _as_text(sources: Sources) -> str:
    return sources if isinstance(sources, str) else repr(sorted(sources.items()))


def _identity(sources: Sources) -> str:
    """Equal for equal contents, wherever their files are."""
    if isinstance(sources, str):
        return _content(sources)
    return repr(sorted((label, _content(where)) for label, where in sources.items()))


def _content(location: str) -> str:
    try:
        return sha256_of(location) if Path(location).is_file() else location
    except OSError:
        return location


def _name_of(sources: Sources, others: Sequence[str]) -> str:
    """What tables and figures call a reference: not like one of the runs."""
    where = {sources} if isinstance(sources, str) else set(sources.values())
    name = Path(where.pop()).name if len(where) == 1 else "reference"
    name = name.removesuffix(".nc").removesuffix(".zarr") or "reference"
    return f"reference {name}" if name in others else name


def with_reference(
    comparison: xr.Dataset,
    reference: Reference,
    first: Run,
    regions: Mapping[str, Any],
    names: Sequence[str],
    tell: Callable[[str], None],
) -> xr.Dataset:
    """The comparison with `NAME_reference` (perturbation, …) of these diagnostics, as far as it is known.

    Attributes `reference_name` and `reference` tell what it is of. tell: called with a line for what is
    noticed; where a reference that nobody asked for can't be read, for that, and nothing is added.
    """
    settings = settings_of_folder(first.folder, regions)
    labels = [str(label) for label in comparison["perturbation"].values]
    by_location: dict[str, list[str]] = {}
    for label, location in reference.locations(labels).items():
        by_location.setdefault(location, []).append(label)
    notices, found = Notices(), dict[str, xr.DataArray]()
    try:
        for location, chosen in by_location.items():
            known = _diagnostics(location, first, settings, regions, chosen, notices)
            for name in names:
                own = _like(comparison[name].isel(run=0, drop=True), known, name, chosen, tell)
                if own is not None:
                    found[name] = found[name].fillna(own) if name in found else own
        if not found:
            raise InputError(
                f"{reference.text()} tells of no diagnostic and perturbation of {first.folder}"
            )
    except InputError as reason:
        if reference.asked:
            raise
        tell(f"no reference: {reason}")
        return comparison
    for text in notices.texts:
        tell(text)
    added = {f"{name}{REFERENCE_SUFFIX}": values for name, values in found.items()}
    told = {REFERENCE_NAME: reference.name, REFERENCE_SOURCE: reference.text()}
    return comparison.assign(added).assign_attrs(told)


def _like(
    like: xr.DataArray,
    known: xr.Dataset,
    name: str,
    labels: Sequence[str],
    tell: Callable[[str], None],
) -> xr.DataArray | None:
    """A diagnostic of the reference at the places of the runs'; None where it has none."""
    if name not in known or set(known[name].dims) != set(like.dims):
        return None
    if not alike(like.attrs, known[name].attrs):
        tell(
            f"the reference's {name} is left out: it is in {known[name].attrs.get('units', '1')}, that of "
            f"the first run in {like.attrs.get('units', '1')}"
        )
        return None
    values = known[name].drop_attrs(deep=False)
    present = [label for label in map(str, values["perturbation"].values) if label in labels]
    values = values.sel(perturbation=present)
    values = values.reindex({dim: like[dim].values for dim in like.dims}).transpose(*like.dims)
    if not np.isfinite(values.values).any():
        return None
    kept = {key: like.attrs[key] for key in ("units", "units_metadata") if key in like.attrs}
    kept["long_name"] = f"reference value of {like.attrs.get('long_name', name)}"
    return xr.DataArray(np.asarray(values.values, np.float64), like.coords, like.dims, attrs=kept)


def _diagnostics(
    location: str,
    first: Run,
    settings: DiagnosticSettings,
    regions: Mapping[str, Any],
    labels: Sequence[str],
    notices: Notices,
) -> xr.Dataset:
    """Diagnostics of another run, or of the responses in a file."""
    folder = Path(location)
    if (folder / MANIFEST).is_file():
        with open_saved(folder / ZONAL) as zonal:
            return diagnose(zonal, settings_of_folder(folder, regions))
    with open_saved(first.folder / RESPONSE) as response:
        grid = Grid.from_coordinates(response["lat"].values, response["lon"].values)
        known = open_reference(location, grid, notices)
        maps = _maps_in_units(known, response, labels, notices)
        own = known.maps.data_vars
        if all(name in own for name in _CELLS):
            cells = known.maps[list(_CELLS)]
        else:
            maps = (
                maps
                if known.grid is grid
                else KnownResponse(location, known.grid, maps).on(grid).maps
            )
            cells = response[list(CELL_VARIABLES)].load()
    try:
        return diagnose_reference(maps.assign(cells.data_vars), settings)
    except (ValueError, KeyError) as error:
        raise InputError(f"{location} holds no response that can be diagnosed ({error})") from None


def _maps_in_units(
    known: KnownResponse, response: xr.Dataset, labels: Sequence[str], notices: Notices
) -> xr.Dataset:
    """The responses of a file that a run has too, in the run's units, with the baseline where it is known."""
    theirs = known.maps["perturbation"].values if "perturbation" in known.maps.dims else labels
    shared = [label for label in labels if label in set(map(str, theirs))]
    found: dict[str, xr.DataArray] = {}
    outputs = known.outputs()
    for name in (str(n) for n in response.data_vars if f"{n}_stderr" in response):
        if name not in outputs or not shared:
            continue
        factor = factor_to(response[name], known, name, notices)
        own = response[name].attrs
        found[name] = (known.response(name, shared) * factor).assign_attrs(own)
        same = known.maps[name].attrs.get("units") == response[name].attrs.get("units")
        if f"{name}_baseline" in known.maps and same:
            found[f"{name}_baseline"] = known.maps[f"{name}_baseline"].load()
    if not found:
        raise InputError(
            f"{known.where} shares no output and perturbation with {', '.join(labels)}"
        )
    return xr.Dataset(found)


def factor_to(like: xr.DataArray, known: KnownResponse, name: str, notices: Notices) -> float:
    """What a known response is multiplied by to be in the units of `like`.

    Raises InputError where the units are those of another quantity.
    """
    wanted = Wanted(str(like.attrs.get("units", "")), "change", "the first run's response is in")
    return fit(known.where, name, known.maps[name].attrs, wanted, notices).factor
