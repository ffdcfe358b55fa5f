"""What the folder of a finished run is asked: settings, sources, the truth, the numbers to know first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr
from pydantic import TypeAdapter, ValidationError

from respeval.case.case import Sources
from respeval.case.file import load_case
from respeval.case.roles import settings_of
from respeval.checkpoints.manifest import RoleSettings
from respeval.diagnostics import NAMED_IN_ROLES, DiagnosticSettings, diagnose_reference
from respeval.diagnostics.numbers import RATIOS_KNOWN, key_of, parts_of_key
from respeval.errors import InputError
from respeval.files.netcdf import open_saved
from respeval.files.text import parse_json, read_document
from respeval.run_folder.manifest import read_left_out, read_manifest, read_quarantined
from respeval.run_folder.names import CASE, DIAGNOSTICS_FILE, SUMMARY, WARNINGS

#: Maps of the true response to a run's perturbations, as response.nc has them; of a demo's runs.
TRUTH = "truth.nc"

#: Attribute of diagnostics.nc.
_TROPICS = "tropical_lat_max"

_LAND_OCEAN, _VERTICAL = RATIOS_KNOWN


def settings_of_folder(folder: Path, overrides: Mapping[str, Any]) -> DiagnosticSettings:
    """The settings of a finished run, with other bands, another `tropical_lat_max`, other roles.

    Raises InputError where the folder holds no run or an override is not valid.
    """
    manifest = read_manifest(folder)
    case = load_case(folder / CASE, overrides)
    try:
        stored = RoleSettings.model_validate(manifest.get("roles"))
        levels = TypeAdapter(list[float]).validate_python(manifest.get("levels_hPa") or [])
    except ValidationError:
        raise InputError(
            f"{folder}: its manifest's roles and levels_hPa can't be read; give the run's command again"
        ) from None
    given, kept = overrides.get("roles", {}), list(RoleSettings.model_fields)
    for role in given:
        if role not in (*kept, *NAMED_IN_ROLES):
            raise InputError(
                f"role {role!r} was fixed when the run began; diagnose takes: "
                f"{', '.join((*kept, *NAMED_IN_ROLES))}"
            )
    stored = stored.model_copy(update={role: given[role] for role in kept if role in given})
    known = manifest.get("surface_temperature")
    surface_temperature = known if isinstance(known, str) else None
    return settings_of(case, stored.roles(), levels, surface_temperature)


def sources_of_folder(folder: Path, overrides: Mapping[str, Any]) -> Sources | None:
    """What a finished run is held against: what is given, else what its case names."""
    return load_case(folder / CASE, overrides).reference


def regions_of_folder(folder: Path) -> dict[str, Any]:
    """`bands` and `tropical_lat_max` that a run's diagnostics.nc was made with, as far as it says."""
    with open_saved(folder / DIAGNOSTICS_FILE) as diagnostics:
        found: dict[str, Any] = {}
        if "band" in diagnostics.coords:
            edges = (diagnostics[name].values for name in ("band", "band_low", "band_high"))
            found["bands"] = {
                str(b): [float(lo), float(hi)] for b, lo, hi in zip(*edges, strict=True)
            }
        if _TROPICS in diagnostics.attrs:
            found[_TROPICS] = float(diagnostics.attrs[_TROPICS])
        return found


def truth_of_folder(folder: Path, settings: DiagnosticSettings) -> xr.Dataset | None:
    """Diagnostics of the true response, where the folder of a run holds it.

    Raises InputError where the file is not what a demo writes.
    """
    path = folder / TRUTH
    if not path.exists():
        return None
    with open_saved(path) as truth:
        try:
            return diagnose_reference(truth.load(), settings)
        except (ValueError, KeyError) as error:
            raise InputError(f"{path} holds no true response ({error}); remove it") from None


def told_quarantined(folder: Path) -> list[str]:
    """What of a run blew up and left the means, perturbations and samples: where, when and which
    variable first."""
    manifest = read_manifest(folder)
    groups = [
        f"{entry['group']}, which blew up in every sample that was left: first in sample "
        f"{entry['sample']} at {entry['date']} (step {entry['step']}), when {entry['variable']} was missing "
        f"or outside {entry['limits']}; it is in no result"
        for entry in read_left_out(folder, manifest)
    ]
    return groups + [
        f"sample {entry['sample']} from the segment of {entry['date']} (step {entry['step']}) on: "
        f"{entry['variable']} of group {entry['group']} was missing or outside {entry['limits']}"
        for entry in read_quarantined(folder, manifest)
    ]


def warnings_of_folder(folder: Path) -> list[str]:
    """What a finished run warns of, as its summary.json has it; nothing of a run without a summary.

    Raises InputError where the summary can't be read.
    """
    path = folder / SUMMARY
    if not path.is_file():
        return []
    try:
        return [str(text) for text in parse_json(read_document(path, "summary")).get(WARNINGS, [])]
    except (ValueError, AttributeError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} can't be read ({error}); respeval diagnose makes it anew"
        ) from None


def main_numbers(folder: Path) -> dict[str, tuple[float | None, float | None]]:
    """The numbers of a finished run to know first, each with its standard error.

    Keys: `LABEL land/ocean BAND`, the warming ratio in the first band, and `LABEL vertical`, the
    tropical ocean's. Raises InputError where the folder has no summary that can be read.
    """
    path = folder / SUMMARY
    try:
        summary_of_run = json.loads(path.read_text(encoding="utf-8"))
        found: dict[str, tuple[float | None, float | None]] = {}
        for key, value in summary_of_run.items():
            label, name, place = parts_of_key(key)
            stderr = summary_of_run.get(key_of(label, f"{name}_stderr", place))
            if name == _LAND_OCEAN and not any(k.startswith(f"{label} land/") for k in found):
                found[f"{label} land/ocean {place[0]}"] = value, stderr
            elif name == _VERTICAL:
                found[f"{label} vertical"] = value, stderr
        return found
    except (OSError, ValueError, AttributeError, IndexError) as error:
        raise InputError(f"{path} can't be read ({error})") from None
