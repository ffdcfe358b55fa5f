"""The diagnostics of many runs in one dataset, with their differences to the first run.

Of a run only zonal.nc is read, and only its numbers are kept; the replicates of its units are gone
before the next one's are made, but for the first run's. So memory hardly grows with the runs.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any

import numpy as np
import xarray as xr
from dask.base import compute
from dask.delayed import delayed

from respeval.analysis.compared_reference import reference_of_runs, with_reference
from respeval.analysis.finished_runs import Run
from respeval.analysis.folder import regions_of_folder, settings_of_folder
from respeval.case.case import Sources
from respeval.diagnostics import DIFFERENCE, STATISTICS, Replicated, differences, replicate
from respeval.errors import InputError
from respeval.fields.grid import FloatArray
from respeval.fields.units import alike
from respeval.files.netcdf import global_attributes, open_saved
from respeval.run_folder.names import ZONAL

#: Runs for which another process pays: it takes seconds to start, a run about one.
_RUNS_PER_WORKER = 12

#: Tasks that wait for a process, so that none idles while results are taken.
_TASKS_PER_WORKER = 4

#: Values of `paired`.
INDEPENDENT, PAIRED, NO_DIFFERENCE = 0, 1, 2


@dataclass(frozen=True)
class Wishes:
    """What a user asks of a comparison.

    diagnostics, perturbations: what tables and figures show; none: the usual ones.
    regions: `bands` and `tropical_lat_max`, where not those of the first run's diagnostics.nc.
    num_workers: processes; None chooses by the number of runs.
    reference: what the runs are held against; None: what they know themselves, "none": nothing.
    """

    diagnostics: Sequence[str] = ()
    perturbations: Sequence[str] = ()
    regions: Mapping[str, Any] = field(default_factory=dict)
    num_workers: int | None = None
    reference: Sources | None = None


@dataclass(frozen=True, eq=False)
class _Numbers:
    """What is kept of a run: name -> (perturbation, …) in the shape of the first run's; perturbation
    -> whether its units were paired; what there is to tell. No values: the run is left out."""

    values: Mapping[str, FloatArray]
    paired: Mapping[str, bool]
    remark: str = ""


def compare_runs(
    runs: Sequence[Run],
    wishes: Wishes,
    tell: Callable[[str], None] = lambda remark: None,
    count: Callable[[], object] = lambda: None,
) -> xr.Dataset:
    """Every diagnostic that the first run has, but none by latitude, of all runs: (run, perturbation, …).

    Perturbations, levels and outputs are those of the first run, NaN where another one lacks them.
    Beside each NAME stand its statistics, NAME_difference (this run minus the first) and its own;
    `paired` (run, perturbation) says how that was had. `epoch` (run) is there if any run has one.
    NAME_reference (perturbation, …), without `run`, is what the reference says, where there is one
    and it tells of NAME; the attributes `reference_name` and `reference` say what it is.
    tell: called in the end with a line for what is left out, such as runs that can't be read.
    count: called when a run is done.
    Raises InputError where the first can't be read or lacks what is to be shown, nothing is left
    to compare it with, or a reference that is asked for can't be read.
    """
    regions = {**regions_of_folder(runs[0].folder), **wishes.regions}
    first = _replicated(runs[0], regions)
    labels = [str(label) for label in first.diagnostics["perturbation"].values]
    of_itself = differences(first, first, dict.fromkeys(labels, True)).drop_vars("paired")
    by_latitude = [name for name, v in first.diagnostics.data_vars.items() if "lat" in v.dims]
    template = first.diagnostics.drop_vars(by_latitude).assign(of_itself.data_vars)
    _check_names("--perturbation", wishes.perturbations, labels)
    _check_names("--diagnostics", wishes.diagnostics, diagnostics_of(template))
    reference = reference_of_runs(runs, wishes.reference, labels, tell)
    none = {str(name): np.full(v.shape, np.nan) for name, v in of_itself.data_vars.items()}
    kept, found = [runs[0]], [_Numbers(_values(first.diagnostics) | none, {})]
    count()
    remarks = []
    for run, numbers in zip(runs[1:], _all_numbers(first, runs[1:], regions, wishes), strict=True):
        if numbers.values:
            kept.append(run)
            found.append(numbers)
        if numbers.remark:
            remarks.append(numbers.remark)
        count()
    if len(runs) > 1 and len(kept) == 1:
        raise InputError(f"there is nothing to compare {runs[0].folder} with: {remarks[0]}")
    for remark in remarks:
        tell(f"left out: {remark}")
    joined = _joined(template, kept, found)
    if reference is None:
        return joined
    return with_reference(joined, reference, runs[0], regions, diagnostics_of(joined), tell)


def _check_names(option: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=len(known), cutoff=0.0)
            has = ", ".join(near)
            raise InputError(f"{option} {name}: the first run has no such; it has {has}")


def diagnostics_of(comparison: xr.Dataset) -> list[str]:
    """The diagnostics of a comparison, without their statistics and differences."""
    return [
        str(name) for name in comparison.data_vars if f"{name}{DIFFERENCE}" in comparison.data_vars
    ]


def _all_numbers(
    first: Replicated, runs: Sequence[Run], regions: Mapping[str, Any], wishes: Wishes
) -> Iterator[_Numbers]:
    """The numbers of these runs in order, a few at a time, made when they are asked for."""
    usual = max(1, min(len(os.sched_getaffinity(0)), len(runs) // _RUNS_PER_WORKER))
    num_workers = wishes.num_workers or usual
    if num_workers == 1:
        yield from (_numbers(first, run, regions) for run in runs)
        return
    length = num_workers * _TASKS_PER_WORKER
    with ProcessPoolExecutor(num_workers, get_context("spawn")) as pool:
        for begin in range(0, len(runs), length):
            part = runs[begin : begin + length]
            tasks = [delayed(_numbers)(first, run, regions) for run in part]
            try:
                numbers = compute(*tasks, scheduler="processes", pool=pool)  # type: ignore[no-untyped-call]
            except BrokenProcessPool:
                raise InputError(
                    "a process that reads runs was killed (for its memory?); give fewer --workers "
                    f"than {num_workers}"
                ) from None
            yield from numbers


def _numbers(first: Replicated, run: Run, regions: Mapping[str, Any]) -> _Numbers:
    try:
        other = _replicated(run, regions)
    except InputError as reason:
        return _Numbers({}, {}, str(reason))
    labels, theirs = (
        [str(label) for label in of.diagnostics["perturbation"].values] for of in (first, other)
    )
    more = [label for label in theirs if label not in labels]
    if len(more) == len(theirs):
        ours = ", ".join(labels)
        remark = f"{run.folder} has {', '.join(theirs)}, and none of the first run's {ours}"
        return _Numbers({}, {}, remark)
    remark = f"of {run.name} {', '.join(more)}, which the first run lacks" if more else ""
    found = differences(first, other, dict.fromkeys(labels, run.unpaired is None))
    paired = dict(zip(map(str, found["perturbation"].values), found["paired"].values, strict=True))
    whole = {
        dim: first.diagnostics[dim].values
        for dim in ("perturbation", "level", "box", "quantity")
        if dim in first.diagnostics.dims and dim in other.diagnostics.dims
    }
    values = _values(other.diagnostics.reindex(whole)) | _values(
        found.drop_vars("paired").reindex(whole)
    )
    foreign = _in_other_units(first.diagnostics, other.diagnostics)
    if foreign:
        named = ", ".join(sorted(foreign - {f"{n}_{s}" for n in foreign for s in STATISTICS}))
        units = f"of {run.name} {named}, in other units than the first run's"
        remark = f"{remark}; {units}" if remark else units
    kept = {
        name: numbers
        for name, numbers in values.items()
        if name not in foreign and name.partition(DIFFERENCE)[0] not in foreign
    }
    return _Numbers(kept, paired, remark)


def _in_other_units(first: xr.Dataset, other: xr.Dataset) -> set[str]:
    """The diagnostics of another run whose units are not those of the first one's."""
    return {
        str(name)
        for name, values in first.data_vars.items()
        if name in other and not alike(values.attrs, other[name].attrs)
    }


def _replicated(run: Run, regions: Mapping[str, Any]) -> Replicated:
    settings = settings_of_folder(run.folder, regions)
    with open_saved(run.folder / ZONAL) as zonal:
        return replicate(zonal, settings, zonal_means=False)


def _values(dataset: xr.Dataset) -> dict[str, FloatArray]:
    return {str(name): np.asarray(values.values) for name, values in dataset.data_vars.items()}


def _joined(template: xr.Dataset, runs: Sequence[Run], found: Sequence[_Numbers]) -> xr.Dataset:
    variables: dict[str, Any] = {}
    for name, like in template.data_vars.items():
        missing = np.full(like.shape, np.nan)
        rows = [numbers.values.get(str(name), missing) for numbers in found]
        same = [row if row.shape == like.shape else missing for row in rows]
        variables[str(name)] = (("run", *like.dims), np.stack(same), like.attrs)
    labels = template["perturbation"].values
    kinds = [[int(numbers.paired.get(str(p), NO_DIFFERENCE)) for p in labels] for numbers in found]
    variables["paired"] = (
        ("run", "perturbation"),
        np.array(kinds, dtype=np.int8),
        {
            "long_name": "how the differences to the first run were had",
            "units": "1",
            "flag_values": np.array([INDEPENDENT, PAIRED, NO_DIFFERENCE], dtype=np.int8),
            "flag_meanings": "independent_samples paired_samples no_difference",
        },
    )
    coords = template.drop_vars("lat", errors="ignore").coords
    joined = xr.Dataset(variables, {**coords, **_coordinates(runs)})
    joined.attrs = global_attributes("diagnostics of many runs", {})
    return joined


def _coordinates(runs: Iterable[Run]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "run": ("run", [run.name for run in runs], {"long_name": "name of the run"}),
        "folder": ("run", [str(run.folder) for run in runs], {"long_name": "folder of the run"}),
        "checkpoint": ("run", [run.checkpoint for run in runs], {"long_name": "checkpoint file"}),
    }
    epochs = [np.nan if run.epoch is None else float(run.epoch) for run in runs]
    if not np.isnan(epochs).all():
        about = {"long_name": "epochs of training of the checkpoint", "units": "1"}
        found["epoch"] = ("run", epochs, about)
    return found
