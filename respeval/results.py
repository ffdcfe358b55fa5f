"""From the saved means of a run to its response, diagnostics, summary and figures; no model."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import BaseModel, TypeAdapter, ValidationError

from respeval.case.file import load_case
from respeval.case.roles import settings_of
from respeval.diagnostics import (
    DIAGNOSTICS,
    NAMED_IN_ROLES,
    DiagnosticSettings,
    diagnose,
    diagnose_reference,
    response_maps,
    running,
    summary,
    with_hybrid_levels,
    with_period,
    years_summary,
)
from respeval.errors import InputError
from respeval.fields.grid import SURFACES
from respeval.fields.variables import HybridLevels, Roles
from respeval.files.checksums import Verification
from respeval.files.netcdf import describe_file, open_saved, write_netcdf
from respeval.files.publish import make_inner_folder, remove_files, write_json
from respeval.files.settings import STRICT
from respeval.plotting import Pictures
from respeval.reference import Sources, compare_with, summary_of_reference
from respeval.run_folder.manifest import read_manifest, read_quarantined
from respeval.run_folder.names import (
    CASE,
    DIAGNOSTICS_FILE,
    FIGURES,
    GROUP_MEANS,
    REFERENCE,
    RESPONSE,
    RUNNING,
    SUMMARY,
    ZONAL,
)

#: Maps of the true response to a run's perturbations, as response.nc has them; of a demo's runs.
TRUTH = "truth.nc"

#: Attribute of diagnostics.nc.
_TROPICS = "tropical_lat_max"

_LAND_OCEAN, _VERTICAL = "land_ocean_warming_ratio", "vertical_warming_ratio_tropical_ocean"


#: What to do about a result that is none.
_ANEW = "remove it and give the run's command again, which makes it anew from the segments"


class _StoredRoles(BaseModel):
    """What the manifest says of the roles."""

    model_config = STRICT

    near_surface_temperature: str | None = None
    column_temperature: list[str] = []
    surface_level: str | None = None
    upper_level: str | None = None


@dataclass(frozen=True)
class Results:
    """What the analysis of a run gives: diagnostics.nc's content and the figures' paths."""

    diagnostics: xr.Dataset
    figures: tuple[Path, ...]


def settings_of_folder(folder: Path, overrides: Mapping[str, Any]) -> DiagnosticSettings:
    """The settings of a finished run, with other bands, another `tropical_lat_max`, other roles.

    Raises InputError where the folder holds no run or an override is not valid.
    """
    manifest = read_manifest(folder)
    case = load_case(folder / CASE, overrides)
    try:
        stored = _StoredRoles.model_validate(manifest.get("roles"))
        levels = TypeAdapter(list[float]).validate_python(manifest.get("levels_hPa") or [])
    except ValidationError:
        raise InputError(
            f"{folder}: its manifest's roles and levels_hPa can't be read; give the run's command again"
        ) from None
    given, kept = overrides.get("roles", {}), list(_StoredRoles.model_fields)
    for role in given:
        if role not in (*kept, *NAMED_IN_ROLES):
            raise InputError(
                f"role {role!r} was fixed when the run began; diagnose takes: "
                f"{', '.join((*kept, *NAMED_IN_ROLES))}"
            )
    stored = stored.model_copy(update={role: given[role] for role in kept if role in given})
    roles = Roles(
        stored.near_surface_temperature,
        tuple(stored.column_temperature),
        stored.surface_level,
        stored.upper_level,
    )
    return settings_of(case, roles, levels)


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


def analyse(
    folder: Path,
    settings: DiagnosticSettings,
    reference: xr.Dataset | None = None,
    reference_name: str = "reference",
    sources: Sources | None = None,
    verification: Verification | None = None,
) -> Results:
    """Write response.nc, diagnostics.nc, running.nc, summary.json and the figures from the saved means.

    reference: diagnostics of a known response, drawn beside the run's under `reference_name`; the
        truth, where the folder holds it and nothing else is given.
    sources: what the response is held against in reference.nc, which is written only then.
    verification: of the folder's files. No file is opened before it is known to be whole, and nothing
        is written before all are.
    """
    verification = verification or Verification(folder)
    if reference is None:
        known = truth_of_folder(folder, settings)
        reference, reference_name = known, reference_name if known is None else "truth"
    verification.wait_for(ZONAL)
    with open_saved(folder / ZONAL) as zonal:
        _check_means(zonal, folder / ZONAL, ("group", "sample", "time", "surface", "lat"))
        diagnostics = diagnose(zonal, settings)
        describe_file(diagnostics, zonal, "diagnostics of the response")
        diagnostics.attrs[_TROPICS] = settings.tropical_lat_max
        along = running(zonal, diagnostics, settings)
        describe_file(along, zonal, "diagnostics of the response against the length of the run")
        series = _shown_along(zonal, settings.roles).load()
    pictures = Pictures(settings.roles, reference, reference_name)
    pictures.plan_diagnostics(series, diagnostics, along)
    pictures.draw(lambda: verification.is_told(GROUP_MEANS))
    verification.wait_for(GROUP_MEANS)
    with open_saved(folder / GROUP_MEANS) as group_means:
        _check_means(group_means, folder / GROUP_MEANS, ("group", "time", "lat", "lon"))
        response = response_maps(group_means)
        describe_file(response, group_means, "response of every output")
        response = with_period(response, group_means)
        verification.finish()
        agreement = None
        if sources is not None:
            agreement = hold_against(folder, response, group_means, sources)
    pictures.plan_maps(response, agreement)
    # What is drawn meanwhile is in memory: netCDF is not to be called by two threads.
    with _short_turns(), ThreadPoolExecutor(1) as beside:
        written = beside.submit(_write, folder, response, diagnostics, along, agreement)
        pictures.draw()
        written.result()
    make_inner_folder(folder / FIGURES)
    figures = pictures.write(folder / FIGURES)
    return Results(diagnostics, tuple(figures))


@contextlib.contextmanager
def _short_turns() -> Iterator[None]:
    """Threads of Python code wait shorter for each other: one that writes does so thousands of times."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(2e-4)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


def _shown_along(zonal: xr.Dataset, roles: Roles) -> xr.Dataset:
    """What the figures show of zonal.nc."""
    names = [roles.near_surface_temperature, "area", "count", "time_bnds"]
    return zonal[[name for name in names if name in zonal]]


def _write(
    folder: Path,
    response: xr.Dataset,
    diagnostics: xr.Dataset,
    along: xr.Dataset,
    agreement: xr.Dataset | None,
) -> None:
    """The results but the figures and reference.nc."""
    if agreement is None:
        remove_reference(folder)
    write_netcdf(response, folder / RESPONSE)
    write_netcdf(with_hybrid_levels(diagnostics, _hybrid_levels(folder)), folder / DIAGNOSTICS_FILE)
    write_netcdf(along, folder / RUNNING)
    numbers = summary_of_reference(agreement) if agreement is not None else {}
    told = told_quarantined(folder)
    write_json(
        folder / SUMMARY,
        {
            **summary(diagnostics),
            **years_summary(along),
            **numbers,
            **({"quarantined": told} if told else {}),
        },
    )


def hold_against(
    folder: Path, response: xr.Dataset, means: xr.Dataset, sources: Sources
) -> xr.Dataset:
    """Write reference.nc, and return its content."""
    agreement = with_period(compare_with(folder, response, sources), means)
    told = dict(agreement.attrs)
    describe_file(agreement, means, "agreement of the response with a reference")
    agreement.attrs |= told
    write_netcdf(agreement, folder / REFERENCE)
    return agreement


def remove_reference(folder: Path) -> None:
    """Remove what an earlier analysis told of a reference."""
    figures = (folder / FIGURES / f"reference.{kind}" for kind in ("png", "pdf"))
    remove_files([folder / REFERENCE, *figures])


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


def _hybrid_levels(folder: Path) -> HybridLevels | None:
    """The layers' edges as the manifest has them; None where it has none, or what are none."""
    try:
        found = TypeAdapter(HybridLevels | None).validate_python(
            read_manifest(folder).get("hybrid_levels")
        )
    except ValidationError:
        return None
    return found if found is not None and len(found.ap_Pa) == len(found.b) else None


def _check_means(means: xr.Dataset, path: Path, dims: tuple[str, ...]) -> None:
    """Raise InputError where a file of means is not what a run writes: its axes, its numbers.

    dims: of each output.
    """
    for name in dims:
        if name not in means.coords or means[name].dims != (name,):
            raise InputError(f"{path} has no coordinate {name!r}; {_ANEW}")
    for variable in means.drop_vars(
        ["start_date", "time_bnds"], errors="ignore"
    ).data_vars.values():
        if variable.dtype.kind not in "fiub":
            raise InputError(f"{path}: {variable.name} holds no numbers; {_ANEW}")
    if not any(set(variable.dims) == set(dims) for variable in means.data_vars.values()):
        raise InputError(f"{path} has no output of an emulator; {_ANEW}")


def told_quarantined(folder: Path) -> list[str]:
    """The samples of a run that blew up and left the means: where, when and which variable first."""
    return [
        f"sample {entry['sample']} from the segment of {entry['date']} (step {entry['step']}) on: "
        f"{entry['variable']} of group {entry['group']} was missing or outside {entry['limits']}"
        for entry in read_quarantined(folder, read_manifest(folder))
    ]


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
            label, _, rest = key.partition("/")
            name, *place = rest.split("/")
            stderr = summary_of_run.get("/".join([label, f"{name}_stderr", *place]))
            if name == _LAND_OCEAN and not any(k.startswith(f"{label} land/") for k in found):
                found[f"{label} land/ocean {place[0]}"] = value, stderr
            elif name == _VERTICAL:
                found[f"{label} vertical"] = value, stderr
        return found
    except (OSError, ValueError, AttributeError, IndexError) as error:
        raise InputError(f"{path} can't be read ({error})") from None


class RunningRatio:
    """The land/ocean warming ratio of the segments so far, for the eye while a run goes on.

    area: [surface, lat], as in zonal.nc.
    """

    def __init__(
        self,
        settings: DiagnosticSettings,
        outputs: Sequence[str],
        groups: Sequence[str],
        latitude: NDArray[np.float64],
        area: NDArray[np.float64],
    ) -> None:
        self._settings, self._groups = settings, list(groups)
        self._name = settings.roles.near_surface_temperature or ""
        self._column = list(outputs).index(self._name) if self._name in outputs else None
        self._latitude, self._area = latitude, area[: len(SURFACES)]
        self._total: NDArray[np.float64] | float = 0.0
        self._steps: NDArray[np.float64] | float = 0.0

    def add(
        self, zonal: NDArray[np.float64], count: NDArray[np.float64]
    ) -> dict[str, dict[str, float]]:
        """Add a segment's circle means [group, sample, surface, output, lat] and counts [group,
        sample]; returns perturbation -> band -> ratio, empty where there is no such temperature."""
        if self._column is None:
            return {}
        steps = count[:, :, None, None]
        circles = zonal[:, :, : len(SURFACES), self._column]
        totals = np.where(steps > 0, circles, 0.0) * steps
        self._total = self._total + totals.sum(1)
        self._steps = self._steps + count.sum(1)
        means = self._total / self._steps[:, None, None]  # type: ignore[index]
        means = np.where(self._area > 0, means, np.nan)
        response = xr.Dataset(
            {
                self._name: (("perturbation", "surface", "lat"), means[1:] - means[:1]),
                "area": (("surface", "lat"), self._area),
            },
            {"perturbation": self._groups[1:], "surface": list(SURFACES), "lat": self._latitude},
        )
        ratio = DIAGNOSTICS["land_ocean_warming_ratio"](response, self._settings)
        return {
            str(label): {str(b): float(r) for b, r in zip(ratio["band"].values, row, strict=True)}
            for label, row in zip(self._groups[1:], ratio.values, strict=True)
        }
