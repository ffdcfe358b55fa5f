"""The monthly means of every member in a run's folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import cftime
import netCDF4
import numpy as np

from respeval.aimip.request import EXPERIMENTS
from respeval.errors import InputError
from respeval.fields.calendar import add_months, decode_seconds, to_date
from respeval.fields.grid import FloatArray, Grid
from respeval.run_folder.manifest import (
    read_left_out,
    read_manifest,
    read_quarantined,
    verify_folder,
)
from respeval.run_folder.names import MEMBER_SUFFIX


@dataclass(frozen=True)
class Month:
    """A month's means: row `row` of a segments' file. start, end: firsts of months, 00 h."""

    path: Path
    row: int
    start: cftime.datetime
    end: cftime.datetime


@dataclass(frozen=True)
class SavedMembers:
    """What a run's folder says of its members.

    experiments: AIMIP's name -> index of the group. samples: indices of those that are whole.
    units: output -> units. levels_hPa: number of a model layer -> nominal pressure.
    remarks: what is left out, and other things to know, a line each.
    """

    folder: Path
    months: tuple[Month, ...]
    experiments: Mapping[str, int]
    samples: tuple[int, ...]
    units: Mapping[str, str]
    levels_hPa: Mapping[int, float]
    grid: Grid
    calendar: str
    checkpoint_sha256: str
    remarks: tuple[str, ...]

    def fields(
        self, names: Sequence[str], members: Sequence[tuple[int, int]]
    ) -> Iterator[tuple[Month, FloatArray]]:
        """Each month with these outputs of these members (group, sample), [member, output, lat, lon].

        A file is opened once, and its chunks hold all members, so ask for all of them together.
        """
        groups, samples = zip(*members, strict=True)
        for path, months in groupby(self.months, key=lambda month: month.path):
            with netCDF4.Dataset(path) as opened:
                opened.set_auto_mask(False)
                variables = [opened.variables[name + MEMBER_SUFFIX] for name in names]
                for month in months:
                    every = [np.asarray(v[:, :, month.row], np.float64) for v in variables]
                    yield month, np.stack([field[groups, samples] for field in every], axis=1)


def open_members(folder: Path, with_spinup: bool) -> SavedMembers:
    """The members of a finished run of monthly segments, held against its checksums first.

    Raises InputError where the folder holds no such run.
    """
    manifest = read_manifest(folder)
    case = manifest.get("case")
    if not isinstance(case, dict):
        raise InputError(f"{folder}: its manifest has no case; was it written by this version?")
    _check_case(folder, manifest, case)
    verify_folder(folder)
    entries = [entry for entry in manifest["segments"] if with_spinup or not entry["spinup"]]
    left = len(manifest["segments"]) - len(entries)
    remarks = [_SPINUP] if left else []
    paths = [folder / entry["file"] for entry in entries]
    months, partial = _months(paths)
    remarks += [f"left out: {text}, which is no whole month" for text in partial]
    if not months:
        raise InputError(f"{folder} holds no whole month outside its spin-up")
    first = _Described.of(months[0].path)
    if len(set(first.starts)) > 1:
        raise InputError(
            f"{folder}: its samples start on different dates ({min(first.starts)} to "
            f"{max(first.starts)}), so that their months differ; give all initial conditions one date"
        )
    blown = {fault["group"] for fault in read_left_out(folder, manifest)}
    experiments, others = _experiments(folder, case, blown)
    faults = {fault["sample"] for fault in read_quarantined(folder, manifest)}
    samples = tuple(s for s in range(len(first.starts)) if s not in faults)
    remarks += others + [f"left out: sample {sample}, which blew up" for sample in sorted(faults)]
    if case.get("initial_condition_scope") != "none" and len(experiments) > 1:
        remarks.append(
            "note: initial_condition_scope is not none; AIMIP asks for identical initial conditions"
        )
    return SavedMembers(
        folder,
        months,
        experiments,
        samples,
        first.units,
        _levels(manifest),
        Grid.from_coordinates(first.latitude, first.longitude),
        first.calendar,
        str(manifest.get("checkpoint_sha256", "")),
        tuple(remarks),
    )


_SPINUP = (
    "left out: the spin-up; AIMIP asks for the whole period from 197810 on, so give no --no-spinup for "
    "a submission"
)


def _check_case(folder: Path, manifest: Mapping[str, Any], case: Mapping[str, Any]) -> None:
    if manifest.get("status") != "finished":
        raise InputError(
            f"{folder}: its run is {manifest.get('status')}, not finished; give its command again first"
        )
    if not case.get("save_members"):
        raise InputError(
            f"{folder} keeps no means of single members, because its case has save_members: false; run "
            "it again with --save-members (or --protocol aimip)"
        )
    if case.get("segment") != "month":
        raise InputError(
            f"{folder} has segments of {case.get('segment')}, and AIMIP asks for monthly means; run it "
            "again with --segment month"
        )


@dataclass(frozen=True)
class _Described:
    """What a segments' file says of its cells, samples and outputs."""

    latitude: FloatArray
    longitude: FloatArray
    starts: tuple[str, ...]
    calendar: str
    units: dict[str, str]

    @classmethod
    def of(cls, path: Path) -> _Described:
        with netCDF4.Dataset(path) as opened:
            found = opened.variables
            units = {
                name.removesuffix(MEMBER_SUFFIX): str(variable.units)
                for name, variable in found.items()
                if name.endswith(MEMBER_SUFFIX)
            }
            if not units:
                raise InputError(f"{path} holds no means of single members")
            return cls(
                np.asarray(found["lat"][:], np.float64),
                np.asarray(found["lon"][:], np.float64),
                tuple(map(str, found["start_date"][:])),
                str(found["time"].calendar),
                units,
            )


def _months(paths: Sequence[Path]) -> tuple[tuple[Month, ...], list[str]]:
    """The whole months of these files in their order, and the periods that are none."""
    months, partial = [], []
    for path in paths:
        with netCDF4.Dataset(path) as opened:
            time = opened.variables["time"]
            bounds = np.asarray(opened.variables["time_bnds"][:], np.float64)
            units, calendar = str(time.units), str(time.calendar)
        seconds = decode_seconds(bounds, units, calendar)
        for row, (low, high) in enumerate(seconds):
            start, end = to_date(low, calendar), to_date(high, calendar)
            at_start = (start.day, start.hour, start.minute, start.second) == (1, 0, 0, 0)
            if at_start and end == add_months(start, 1):
                months.append(Month(path, row, start, end))
            else:
                partial.append(f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}")
    return tuple(months), partial


def _experiments(
    folder: Path, case: Mapping[str, Any], blown: Set[str]
) -> tuple[dict[str, int], list[str]]:
    """AIMIP's experiments -> index of the group that is one; lines on the groups that are none.

    blown: labels of those that blew up in every sample.
    """
    by_amplitude = {amplitude: name for name, amplitude in EXPERIMENTS.items() if amplitude}
    found, remarks = {"aimip": 0}, []
    for group, (label, entry) in enumerate(case["perturbations"].items(), start=1):
        name = by_amplitude.get(entry["amplitude_K"]) if entry["type"] == "uniform" else None
        if label in blown:
            remarks.append(f"left out: {label}, which blew up in every sample")
        elif name is None:
            remarks.append(f"left out: {label}, which is no experiment of AIMIP (uniform 2 or 4 K)")
        elif name in found:
            raise InputError(f"{folder} has two experiments {name}: {label} is the second")
        else:
            found[name] = group
    return found, remarks


def _levels(manifest: Mapping[str, Any]) -> dict[int, float]:
    """Nominal pressures by the number at the end of the column temperatures' names."""
    column = manifest.get("roles", {}).get("column_temperature") or []
    pressures = manifest.get("levels_hPa") or []
    if len(column) != len(pressures):
        return {}
    numbers = [name.rpartition("_")[2] for name in column]
    return {
        int(number): float(pressure)
        for number, pressure in zip(numbers, pressures, strict=True)
        if number.isdigit()
    }
