"""The section of a run, from its folder."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import xarray as xr

from respeval.analysis.finished_runs import Run
from respeval.analysis.folder import (
    settings_of_folder,
    told_quarantined,
    truth_of_folder,
    warnings_of_folder,
)
from respeval.diagnostics import DiagnosticSettings, length_years
from respeval.diagnostics.zonal import zonal_totals
from respeval.errors import InputError
from respeval.files.netcdf import open_saved
from respeval.files.text import read_document
from respeval.presentation.report.agreement import agreement_table
from respeval.presentation.report.figures import read_figures
from respeval.presentation.report.numbers import diagnostics_table, main_table, outputs_table
from respeval.presentation.report.parts import Section, Table
from respeval.presentation.report.published import published_table
from respeval.presentation.report.statements import agreement_statement
from respeval.presentation.report.told import Told, chosen_label
from respeval.run_folder.manifest import VERSIONS, read_manifest, read_quarantined
from respeval.run_folder.names import CASE, DIAGNOSTICS_FILE, REFERENCE, RUNNING, ZONAL

#: A case file is not larger.
_MOST_BYTES_OF_CASE = 2**20

_MOST_STARTS = 4

_YEAR_S = 365.25 * 86_400


@dataclass(frozen=True, eq=False)
class OpenedRun:
    """A run and what its folder holds. truth: the diagnostics of the true response, where it is known."""

    run: Run
    manifest: Mapping[str, Any]
    diagnostics: xr.Dataset
    settings: DiagnosticSettings
    truth: xr.Dataset | None


def open_run(run: Run) -> OpenedRun:
    """Raises InputError where a file of its folder can't be read."""
    folder = run.folder
    with open_saved(folder / DIAGNOSTICS_FILE) as opened:
        diagnostics = opened.load()
    settings = settings_of_folder(folder, {})
    truth = truth_of_folder(folder, settings)
    return OpenedRun(run, read_manifest(folder), diagnostics, settings, truth)


def run_section(opened: OpenedRun, literature: bool = True) -> Section:
    """What a run's folder says of it. literature: whether to tell what is published of models.

    Raises InputError where a file of the folder can't be read.
    """
    run, folder, manifest = opened.run, opened.run.folder, opened.manifest
    figures = read_figures(folder)
    notes = [f"Left out of the means: {told}" for told in told_quarantined(folder)]
    if not figures:
        notes.append("There are no figures; respeval diagnose draws them.")
    return Section(
        "run",
        run.name,
        tuple(_facts(run, manifest)),
        notes,
        [table for table in _tables(opened, literature) if table.rows],
        figures,
        tuple(_provenance(manifest, opened.diagnostics.attrs)),
        [(CASE, read_document(folder / CASE, "case file", _MOST_BYTES_OF_CASE))],
        warnings_of_folder(folder),
    )


def _tables(opened: OpenedRun, literature: bool) -> list[Table]:
    diagnostics, truth, folder = opened.diagnostics, opened.truth, opened.run.folder
    with one_reason(folder):
        tables = [main_table(diagnostics, truth)]
        if literature:
            tables.append(published_table(diagnostics))
        tables += [table(diagnostics, truth) for table in (diagnostics_table, outputs_table)]
        agreement = agreement_table(folder)
        return tables if agreement is None else [*tables, agreement]


def told_of_run(opened: OpenedRun) -> Told:
    """What a headline knows of a run. Raises InputError where a file of it can't be read."""
    folder, diagnostics = opened.run.folder, opened.diagnostics
    with one_reason(folder):
        left, years = None, math.nan
        if (folder / RUNNING).is_file():
            with open_saved(folder / RUNNING) as running:
                left = running.isel(time=-1).load()
        with open_saved(folder / ZONAL) as zonal:
            times = zonal[["time_bnds"]].load()
            years = float(length_years(times, [times.sizes["time"]])[0])
            num_samples, num_counted = zonal.sizes["sample"], _num_counted(zonal, opened.settings)
        told = Told(
            opened.run.name,
            diagnostics,
            opened.truth,
            amplitudes_K=opened.settings.amplitudes_K,
            years=years,
            years_left=left,
            num_samples=num_samples,
            num_counted=num_counted,
            left_out=opened.run.left_out,
            num_quarantined=len(read_quarantined(folder, opened.manifest)),
        )
        return replace(told, agreement=_agreement(opened, chosen_label([told])))


def _num_counted(zonal: xr.Dataset, settings: DiagnosticSettings) -> int:
    """How many samples there are in effect, by the near-surface temperature or else by all outputs."""
    name = settings.roles.near_surface_temperature
    own = [name, "count", "area", "time_bnds"]
    return zonal_totals(zonal[own] if name in zonal else zonal).sizes["sample"]


def _agreement(opened: OpenedRun, label: str) -> str:
    path, name = opened.run.folder / REFERENCE, opened.settings.roles.near_surface_temperature
    if not path.is_file() or name is None:
        return ""
    with open_saved(path) as found:
        return agreement_statement(found, name, label)


@contextmanager
def one_reason(folder: Path) -> Iterator[None]:
    """Say in one line that a folder's results are not what a run writes, where they are not."""
    try:
        yield
    except (KeyError, ValueError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{folder}: its results are not what a run writes ({error}); respeval diagnose makes them anew"
        ) from None


def _facts(run: Run, manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What was run."""
    yield "Checkpoint", run.checkpoint
    description = _mapping(manifest.get("checkpoint_description"))
    yield from ((_words(key), str(value)) for key, value in description.items())
    seen = _mapping(manifest.get("sst_change"))
    blown = [_mapping(fault).get("group") for fault in _list(manifest.get("quarantined_groups"))]
    for label in _list(manifest.get("groups")):
        change = _mapping(seen.get(label))
        told = "unperturbed"
        if change:
            told = f"SST {_number(change, 'mean_K'):+.2f} K over ocean as the emulator sees it"
        left = "; left out, it blew up in every sample" if label in blown else ""
        yield f"Experiment {label}", f"{told}{left}"
    yield "Length", _length(manifest)
    starts = list(dict.fromkeys(map(str, _list(manifest.get("start_dates")))))
    more = ", …" if len(starts) > _MOST_STARTS else ""
    begin = f", from {', '.join(starts[:_MOST_STARTS])}{more}" if starts else ""
    yield "Samples", f"{manifest.get('num_samples', 'unknown')}{begin}"
    if "grid" in manifest:
        yield "Grid", str(manifest["grid"])


def _length(manifest: Mapping[str, Any]) -> str:
    """Of what was run, which is less than what was planned where a run knew enough."""
    segments = _list(manifest.get("segments"))
    step_s = _number(manifest, "timestep_s")
    steps = _number(
        _mapping(segments[-1]) if segments else manifest, "stop_step" if segments else "num_steps"
    )
    spinup = _mapping(manifest.get("case")).get("spinup")
    years = steps * step_s / _YEAR_S
    length = f"{years:.1f} years" if years >= 1 else f"{steps * step_s / 86_400:g} days"
    return f"{length} ({steps:,.0f} steps of {step_s / 3600:g} h), spin-up: {spinup or 'none'}"


def _provenance(
    manifest: Mapping[str, Any], attributes: Mapping[Any, Any]
) -> Iterator[tuple[str, str]]:
    """Where the numbers come from."""
    keys = ("created", "checkpoint", "checkpoint_sha256", "case_digest", "initial_condition_sha256")
    yield from ((_words(key), str(manifest[key])) for key in keys if key in manifest)
    forcing = _mapping(manifest.get("forcing"))
    for name, size in _mapping(forcing.get("files")).items():
        yield f"Forcing {name}", "a store" if size is None else f"{size} bytes"
    yield from _versions(manifest)
    for name, digest in _mapping(manifest.get("results")).items():
        yield f"SHA-256 of {name}", str(digest)
    if "history" in attributes:
        yield "Command", str(attributes["history"])


def _versions(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Of each package, and from which segment on where a run went on under others."""
    ranges = [_mapping(entry) for entry in _list(manifest.get(VERSIONS))]
    for name, version in _mapping(manifest.get("versions")).items():
        told: list[str] = []
        for entry in ranges:
            own = str(_mapping(entry.get("versions")).get(name, "none"))
            if not told or told[-1].partition(" ")[0] != own:
                told.append(f"{own} from segment {entry.get('from_segment')} on")
        yield f"Version of {name}", ", ".join(told) if len(told) > 1 else str(version)


def _words(key: str) -> str:
    words = key.replace("_", " ").replace("sha256", "SHA-256")
    return words[:1].upper() + words[1:]


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(values: Mapping[str, Any], key: str) -> float:
    value = values.get(key)
    return float(value) if isinstance(value, int | float) else float("nan")
