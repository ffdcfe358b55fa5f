"""Results as JSON on stdout, for programs: what --json asks for."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from respeval.presentation.console.streams import streams

if TYPE_CHECKING:
    import xarray as xr

    from respeval.aimip import Report
    from respeval.diagnostics import Entry as DiagnosticEntry
    from respeval.emulator.contract import Emulator
    from respeval.loss_probe.activations import Recompute
    from respeval.loss_probe.footprint import Footprint
    from respeval.plan.estimate import Estimate
    from respeval.run_folder.sweep import Entry, Status


def answer(content: Callable[[], Any]) -> None:
    """Write what a command found as strict JSON, where --json asks for it; else content is not made."""
    if streams().as_json:
        text = json.dumps(plain(content()), indent=2, allow_nan=False)
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def plain(value: Any) -> Any:
    """The same in JSON's types; what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def _summary_of(folder: Path) -> Any:
    from respeval.files.text import parse_json, read_document
    from respeval.run_folder.names import SUMMARY

    return parse_json(read_document(folder / SUMMARY, "summary"))


def probe_content(folder: Path, figure: Path) -> dict[str, Any]:
    """A probe: its folder, its figure, and all of summary.json, which must be there."""
    return {"folder": folder, "figure": figure, "summary": _summary_of(folder)}


def run_content(folder: Path, status: Status, checkpoint: Path | None = None) -> dict[str, Any]:
    """One run: its folder, what became of it, what its means leave out, and all of summary.json.

    Raises InputError where the folder can't be read.
    """
    from respeval.analysis.folder import told_quarantined

    own = {} if checkpoint is None else {"checkpoint": checkpoint}
    return {
        **own,
        "folder": folder,
        "status": status.value,
        "left_out": told_quarantined(folder),
        "summary": _summary_of(folder),
    }


def sweep_content(folder: Path, entries: Iterable[Entry]) -> dict[str, Any]:
    """Every checkpoint of a sweep in order; summary is null where a run has none."""
    from respeval.errors import InputError
    from respeval.run_folder.sweep import Status

    checkpoints = []
    for entry in entries:
        found: dict[str, Any] = {"left_out": [], "summary": None}
        if entry.status in (Status.FINISHED, Status.ALREADY_FINISHED):
            try:
                found = run_content(entry.folder, entry.status)
            except InputError as error:
                found["unread"] = str(error)
        own = {
            "checkpoint": entry.checkpoint,
            "folder": entry.folder,
            "status": entry.status.value,
            "reason": entry.reason,
        }
        checkpoints.append({**own, **found})
    return {"folder": folder, "checkpoints": checkpoints}


def estimates_content(folder: Path, estimates: Sequence[Estimate]) -> dict[str, Any]:
    """What would run: bytes, seconds and steps of every checkpoint; see `Estimate`."""
    rows = []
    for estimate in estimates:
        row = asdict(estimate)
        row["seconds"] = estimate.seconds
        if estimate.disk is not None:
            row["disk"]["needed"] = estimate.disk.needed
        rows.append(row)
    return {"folder": folder, "checkpoints": rows}


def comparison_content(comparison: xr.Dataset) -> dict[str, Any]:
    """Flat numbers of every run, called as in summary.json, and its differences from the first run.

    comparison: as of `compare_runs`. `LABEL/NAME_difference/PLACE` has `_stderr`, `_low`, `_high` and
    `_pvalue` too. paired: perturbation -> whether its difference is of pairs, null for the first run.
    """
    from respeval.analysis.comparison import diagnostics_of
    from respeval.diagnostics import DIFFERENCE
    from respeval.diagnostics.numbers import by_place, key_of, places

    ends = ("", "_stderr", "_low", "_high")
    suffixes = (*ends, *(f"{DIFFERENCE}{end}" for end in (*ends, "_pvalue")))
    labels = [str(label) for label in comparison["perturbation"].values]
    runs: list[dict[str, Any]] = [
        {"run": str(run), "paired": {}, "numbers": {}} for run in comparison["run"].values
    ]
    for r, run in enumerate(runs):
        if "epoch" in comparison.coords:
            run["epoch"] = float(comparison["epoch"].values[r])
        kinds = comparison["paired"].values[r]
        run["paired"] = {
            label: (False, True, None)[kind] for label, kind in zip(labels, kinds, strict=True)
        }
    for name in diagnostics_of(comparison):
        where = [tuple(place.values()) for place in places(comparison[name])]
        for suffix in suffixes:
            values = by_place(comparison, name, suffix)
            for r, run in enumerate(runs):
                for p, label in enumerate(labels):
                    keys = (key_of(label, f"{name}{suffix}", place) for place in where)
                    run["numbers"].update(zip(keys, map(float, values[r, p]), strict=True))
    return {"runs": runs, "reference": _reference_content(comparison, labels)}


def _reference_content(comparison: xr.Dataset, labels: Sequence[str]) -> dict[str, Any] | None:
    """What runs are held against; None where that is nothing."""
    from respeval.analysis.compared_reference import (
        REFERENCE_NAME,
        REFERENCE_SOURCE,
        REFERENCE_SUFFIX,
    )
    from respeval.analysis.comparison import diagnostics_of
    from respeval.diagnostics.numbers import by_place, key_of, places

    if REFERENCE_NAME not in comparison.attrs:
        return None
    numbers: dict[str, float] = {}
    chosen = comparison.isel(run=0)
    for name in diagnostics_of(comparison):
        where = [tuple(place.values()) for place in places(comparison[name])]
        values = by_place(chosen, name, REFERENCE_SUFFIX)
        for p, label in enumerate(labels):
            keys = (key_of(label, name, place) for place in where)
            numbers.update(zip(keys, map(float, values[p]), strict=True))
    source = comparison.attrs[REFERENCE_SOURCE]
    return {"name": comparison.attrs[REFERENCE_NAME], "source": source, "numbers": numbers}


def inspection_content(checkpoint: Path, emulator: Emulator) -> dict[str, Any]:
    """What is in a checkpoint, and the data that a run needs."""
    from torch import nn

    from respeval.emulator.computing import num_parameters
    from respeval.emulator.splitting import most_parts
    from respeval.loss_probe.filters import find_filters

    spec = emulator.spec
    groups = (
        ("prognostic", spec.prognostic),
        ("diagnostic", spec.diagnostic),
        ("forcing", spec.forcing),
    )
    filters = find_filters(emulator) if isinstance(emulator, nn.Module) else []
    return {
        "checkpoint": checkpoint,
        "architecture": spec.architecture,
        "grid": {
            "num_lat": spec.grid.num_lat,
            "num_lon": spec.grid.num_lon,
            "kind": spec.grid.kind,
            "north_to_south": spec.grid.north_to_south,
        },
        "timestep_s": spec.timestep_s,
        "calendar": spec.calendar,
        "num_noise_channels": spec.num_noise_channels,
        "surface_temperature": spec.surface_temperature,
        "prescribes_sst": spec.prescribes_sst,
        "roles": asdict(spec.roles),
        "num_parameters": num_parameters(emulator),
        "most_parts": most_parts(emulator),
        "description": spec.description,
        "variables": {role: [asdict(v) for v in variables] for role, variables in groups},
        "spectral_filters": [
            {
                "parameter": found.name,
                "shape": list(found.parameter.shape),
                "type": str(found.parameter.dtype).removeprefix("torch."),
                "num_degrees": found.num_degrees,
            }
            for found in filters
        ],
        "needs": {
            "initial_condition": [variable.name for variable in spec.prognostic],
            "forcing": spec.files_forcing,
        },
    }


def footprint_content(
    footprint: Footprint, free: int, rounds: int, chosen: Recompute
) -> dict[str, Any]:
    """What a probe would take by what runs again on the way back, in bytes and seconds."""
    from respeval.loss_probe.activations import CHOICES

    ways = {
        each: {"memory": footprint.memory(each), "seconds": rounds * footprint.seconds(each)}
        for each in CHOICES
    }
    return {"recompute": ways, "chosen": chosen, "free": free}


def catalog_content(
    entries: Iterable[DiagnosticEntry], statistics: Mapping[str, str]
) -> dict[str, Any]:
    """Every diagnostic in words, and what stands beside each."""
    names = ("name", "what", "units", "dims", "formula", "source")
    described = [{name: getattr(entry, name) for name in names} for entry in entries]
    return {"diagnostics": described, "statistics": statistics}


def submission_content(reports: Iterable[Report]) -> dict[str, Any]:
    """What a submission holds and lacks, by model."""
    models = []
    for report in reports:
        cells: dict[str, dict[str, str]] = {}
        for (variable, experiment), found in report.cells.items():
            cells.setdefault(variable, {})[experiment] = found
        models.append(
            {
                "title": report.title,
                "num_files": report.num_files,
                "variables": cells,
                "lacks": report.lacks,
                "notes": report.notes,
            }
        )
    return {"models": models}
