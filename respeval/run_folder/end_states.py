"""The end of another run as initial conditions: each sample's baseline, from its restart files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from respeval.errors import InputError
from respeval.fields.calendar import parse_date, to_date, to_seconds
from respeval.fields.grid import Grid
from respeval.fields.initial import InitialConditions, choose_starts
from respeval.fields.notices import Notices
from respeval.fields.units import Conversion, Wanted, fit
from respeval.fields.variables import Variable
from respeval.run_folder.manifest import read_manifest, read_quarantined
from respeval.run_folder.names import MANIFEST
from respeval.run_folder.restart import Restart


def holds_run(location: str) -> bool:
    """Whether a location is the folder of a run."""
    try:
        return (Path(location) / MANIFEST).is_file()
    except (OSError, ValueError):  # a name that is too long, for example, or holds a NUL
        return False


def read_end_states(
    location: str,
    variables: Sequence[Variable],
    grid: Grid,
    start: Sequence[str] = (),
    notices: Notices | None = None,
) -> InitialConditions:
    """The states that a run's samples have come to in the baseline, or those whose dates `start` names.

    Samples that blew up are left out. Raises InputError where the run has no restart files, or its
    emulator had other prognostic variables or another grid.
    """
    folder = Path(location)
    manifest = read_manifest(folder)
    names, calendar, seconds = _state_of(folder, manifest)
    lacking = [variable.name for variable in variables if variable.name not in names]
    if lacking or len(names) != len(variables):
        raise InputError(
            f"{location} is a run with other prognostic variables ({', '.join(names)}); the emulator "
            f"needs {', '.join(variable.name for variable in variables)}"
        )
    if manifest["grid"] != str(grid):
        raise InputError(f"{location} is a run on another grid, {manifest['grid']}, than {grid}")
    restart = Restart.from_json(manifest.get("restart"), str(folder / MANIFEST))
    bad = {entry["sample"] for entry in read_quarantined(folder, manifest)}
    samples = [sample for sample in range(len(seconds)) if sample not in bad]
    dates = np.array(
        [seconds[s] + restart.step * manifest["timestep_s"] for s in samples], np.int64
    )
    chosen = choose_starts(location, dates, start, calendar)
    order = [names.index(variable.name) for variable in variables]
    fitted = _fitted(location, manifest, variables, notices or Notices())
    shapes = {"state": (len(names), *grid.shape)}
    states = []
    for row in chosen:
        member = samples[row] * len(manifest["groups"])  # of each sample the baseline comes first
        snapshot = restart.read(folder, member, member + 1, shapes)
        fields = snapshot.state[0, order].double().numpy()
        states.append(np.stack([fit_(f) for fit_, f in zip(fitted, fields, strict=True)]))
    return InitialConditions(np.stack(states), tuple(to_date(dates[i], calendar) for i in chosen))


def _fitted(
    location: str, manifest: Mapping[str, Any], variables: Sequence[Variable], notices: Notices
) -> list[Conversion]:
    """What makes a run's variables those of the emulator; earlier manifests say no units."""
    units = manifest.get("units")
    units = units if isinstance(units, Mapping) else {}
    return [
        fit(location, v.name, {"units": units.get(v.name, v.units)}, Wanted(v.units), notices)
        for v in variables
    ]


def _state_of(folder: Path, manifest: dict[str, Any]) -> tuple[list[str], str, list[int]]:
    """Names of the state's variables, the calendar, and the date of each sample's start, seconds."""
    try:
        names, calendar = [str(name) for name in manifest["prognostic"]], str(manifest["calendar"])
        seconds = [to_seconds(parse_date(date, calendar)) for date in manifest["start_dates"]]
        whole = type(manifest["timestep_s"]) is int and isinstance(manifest["groups"], list)
        if whole and seconds and manifest["grid"]:
            return names, calendar, seconds
    except (KeyError, TypeError, AttributeError):
        pass
    raise InputError(f"{folder / MANIFEST} does not say what state the run came to")
