"""The indices of a run, and the maps that are regressed on them, from its folder."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from respeval.diagnostics import (
    REGRESSIONS,
    DiagnosticSettings,
    Indices,
    LeftOut,
    box_means,
    box_weights,
    indices_of,
    names_of_indices,
    regression_maps,
    starts_after_first,
    surface_temperature_of,
    why_no_regressions,
)
from respeval.files.netcdf import describe_file, open_saved
from respeval.files.publish import remove_files
from respeval.plotting import INDEX_FIGURES
from respeval.run_folder.manifest import read_manifest, read_segments
from respeval.run_folder.names import (
    FIGURES,
    GROUP_MEANS,
    INDICES,
    MEMBER_SUFFIX,
    ZONAL,
    ZONAL_SUFFIX,
)
from respeval.run_folder.names import REGRESSIONS as REGRESSIONS_FILE

#: Samples that start this much apart have the same months, but for their ends.
_ALIKE = datetime.timedelta(days=15)

_NO_MEMBERS = (
    "samples start more than half a month apart, and the run keeps no members (save_members: true), which "
    "each have dates of their own"
)


@dataclass(frozen=True, eq=False)
class Modes:
    """What indices.nc and regressions.nc hold, None of one that a run has not; and why not, by name."""

    series: xr.Dataset | None
    maps: xr.Dataset | None
    left_out: Mapping[str, str]


def modes_of(folder: Path, means: xr.Dataset, settings: DiagnosticSettings) -> Modes:
    """The indices and regression maps of a run.

    means: as in group_means.nc. Raises InputError where one of the case's boxes has no ocean cell or a
    segment can't be read.
    """
    indices = _indices(folder, means, settings)
    left, maps = dict(indices.left_out), None
    try:
        maps = regression_maps(means, indices)
        describe_file(maps, means, "regression of every output on the Nino 3.4 index")
    except LeftOut as reason:
        left[REGRESSIONS] = str(reason)
    if indices.series is not None:
        describe_file(indices.series, means, "indices of sea surface temperature")
    return Modes(indices.series, maps, left)


def modes_left_out(folder: Path, settings: DiagnosticSettings) -> dict[str, str]:
    """The indices that a finished run has not: name -> why."""
    with open_saved(folder / GROUP_MEANS) as means:
        indices = _indices(folder, means, settings)
    why = why_no_regressions(indices)
    return {**indices.left_out, **({} if why is None else {REGRESSIONS: why})}


def remove_modes(folder: Path, modes: Modes) -> None:
    """Remove what an earlier analysis had and this one has not."""
    gone = []
    for found, file, figure in zip(
        (modes.series, modes.maps), (INDICES, REGRESSIONS_FILE), INDEX_FIGURES, strict=True
    ):
        if found is None:
            figures = (folder / FIGURES / f"{figure}.{kind}" for kind in ("png", "pdf"))
            gone += [folder / file, *figures]
    remove_files(gone)


def _indices(folder: Path, means: xr.Dataset, settings: DiagnosticSettings) -> Indices:
    with open_saved(folder / ZONAL) as zonal:
        delays = starts_after_first(zonal)
    if max(delays) - min(delays) <= _ALIKE:
        return indices_of(means, settings)
    of_members = _box_means_of_members(folder, means, settings)
    if of_members is None:
        return Indices(None, dict.fromkeys(names_of_indices(settings), _NO_MEMBERS))
    return indices_of(means, settings, of_members)


def _box_means_of_members(
    folder: Path, means: xr.Dataset, settings: DiagnosticSettings
) -> xr.DataArray | None:
    """Box means of every member's SST from the segments, (group, sample, time, box), NaN of samples that
    blew up; None where the segments have no members or there is no SST."""
    try:
        name = surface_temperature_of(means, settings) + MEMBER_SUFFIX
    except LeftOut:
        return None
    weights, labels = box_weights(means, settings), means["group"].values
    parts = []
    for entry in read_segments(folder, read_manifest(folder)):
        if entry["spinup"]:
            continue
        with open_saved(folder / entry["file"], decode_times=False) as segment:
            if name not in segment:
                return None
            own = segment[[name, f"count{ZONAL_SUFFIX}"]].sel(group=labels)
            counts = own[f"count{ZONAL_SUFFIX}"] > 0
            parts.append(box_means(own[name], weights).where(counts.variable))
    joined = xr.concat(parts, "time")
    known: xr.DataArray = joined.notnull()
    return joined.where(known.all(("time", "box")))
