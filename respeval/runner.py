"""Drives a run: prepares it, steps it, reduces and publishes its segments, and analyses the files."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

import respeval
from respeval.accumulate import GroupSums, MemberSums, deal_members
from respeval.calendar import Duration, to_date, to_seconds
from respeval.checkpoints import open_checkpoint
from respeval.comm import Comm
from respeval.config import Case, PatchPerturbation, PatternPerturbation, UniformPerturbation
from respeval.emulator import Emulator, EmulatorSpec, Roles
from respeval.errors import BlowUpError, InputError
from respeval.forcing import Forcing
from respeval.output import (
    Layout,
    NoOutput,
    RunFolder,
    RunOutput,
)
from respeval.perturbation import (
    patch_pattern,
    perturb_initial,
    perturb_over_ocean,
    uniform_pattern,
)
from respeval.preflight import SstChange, inputs_out_of_range, measure_change, seen_sst
from respeval.records import read_initial_conditions, read_pattern
from respeval.rollout import RangeGuard, Rollout
from respeval.segments import Segment, plan_segments

#: Grids with fewer cells than this run faster on one thread than on several.
SMALL_GRID_CELLS = 64 * 128

#: Steps between two readings of the guard on a GPU, where reading makes the host wait.
GUARD_INTERVAL = 32


@dataclass(frozen=True)
class Execution:
    """How a run is computed; nothing here changes its results beyond rounding.

    window_length: steps of forcing read at once, None for about 64 MiB.
    samples_per_batch: samples stepped at once with all their groups; None for one on a CPU, where
        a small batch is fastest, and for all on a GPU.
    """

    window_length: int | None = None
    samples_per_batch: int | None = None


@dataclass(frozen=True)
class Plan:
    """A run, checked and ready: everything that is the same on every process."""

    case: Case
    emulator: Emulator
    forcing: Forcing
    initial: NDArray[np.float64]
    patterns: NDArray[np.float64]
    num_steps: int
    segments: tuple[Segment, ...]
    layout: Layout
    roles: Roles
    changes: tuple[SstChange, ...]
    warnings: tuple[str, ...]

    @property
    def num_samples(self) -> int:
        return len(self.forcing.starts)


class Reporter(Protocol):
    """What a run tells while it runs; on the root process alone."""

    def planned(self, plan: Plan) -> None: ...

    def stepped(self, step: int) -> None: ...

    def published(self, segment: Segment, means: GroupSums) -> None: ...


def merge_roles(spec: EmulatorSpec, case: Case) -> Roles:
    """The checkpoint's roles with the case's on top.

    Raises InputError where the case names an output that the emulator does not have.
    """
    given = case.roles
    changes: dict[str, Any] = {
        name: getattr(given, name)
        for name in ("near_surface_temperature", "surface_level", "upper_level")
        if getattr(given, name) is not None
    }
    if given.column_temperature is not None:
        changes["column_temperature"] = tuple(given.column_temperature)
    roles = replace(spec.roles, **changes)
    outputs = [variable.name for variable in spec.outputs]
    for role in changes:
        named = changes[role] if role == "column_temperature" else (changes[role],)
        for name in named:
            if name not in outputs:
                raise InputError(
                    f"roles.{role} names {name!r}, which is no output of the emulator (outputs: "
                    f"{', '.join(outputs)})"
                )
    return roles


def prepare(checkpoint: Path, case: Case) -> Plan:
    """Open and check everything that a run reads. Raises InputError in one line."""
    emulator = open_checkpoint(checkpoint, case.reader)
    return plan_run(emulator, case, str(checkpoint))


def plan_run(emulator: Emulator, case: Case, source: str) -> Plan:
    """The plan of a run with an emulator that is already loaded; `source` names it in messages."""
    spec = emulator.spec
    if spec.surface_temperature is None or spec.ocean_fraction is None:
        raise InputError(
            f"{source} reads no prescribed SST (it names no surface temperature and ocean "
            "fraction), so a change of SST can't reach it"
        )
    conditions = read_initial_conditions(
        case.initial_condition, [v.name for v in spec.prognostic], spec.grid, case.start
    )
    num_steps = case.duration.steps_from(conditions.dates[0], spec.timestep_s)
    dates = [date for date in conditions.dates for _ in range(case.num_realizations)]
    forcing = _open_forcing(spec, case, dates, num_steps)
    layout = _layout(spec, case, forcing)
    patterns = np.stack(
        [np.zeros(spec.grid.shape), *(_pattern(p, spec) for p in case.perturbations.values())]
    )
    for label, pattern in zip(case.perturbations, patterns[1:], strict=True):
        if not np.isfinite(pattern[layout.ocean_mask]).all():
            raise InputError(f"perturbations.{label}: the pattern is missing in cells of the ocean")
    start = forcing.starts[0]
    spinup = Duration.parse(case.spinup).steps_from(start, spec.timestep_s) if case.spinup else 0
    if spinup >= num_steps:
        raise InputError(
            f"spinup ({case.spinup}) leaves nothing of a run of {case.duration}; lengthen the run"
        )
    segments = plan_segments(start, spec.timestep_s, num_steps, case.segment, spinup)
    initial = np.repeat(conditions.state, case.num_realizations, axis=0)
    changes, warnings = _preflight(emulator, case, forcing, initial, patterns, layout)
    return Plan(
        case,
        emulator,
        forcing,
        initial,
        patterns,
        num_steps,
        tuple(segments),
        layout,
        merge_roles(spec, case),
        changes,
        warnings,
    )


def _open_forcing(spec: EmulatorSpec, case: Case, dates: Sequence[Any], num_steps: int) -> Forcing:
    aliases, roles = {}, {}
    for role in ("surface_temperature", "ocean_fraction"):
        name = getattr(spec, role)
        roles[name] = role
        aliases[name] = getattr(case.roles, role) or name
    # Where SST is prescribed, only the ocean's is read; an input of the network is read everywhere.
    inputs = [variable.name for variable in spec.forcing]
    ocean_only = spec.surface_temperature if spec.surface_temperature not in inputs else None
    return Forcing(
        case.forcing,
        spec.required_forcing,
        spec.grid,
        spec.timestep_s,
        dates,
        num_steps,
        aliases=aliases,
        roles=roles,
        repeat_year=case.repeat == "year",
        ocean_only=ocean_only,
        ocean_fraction=spec.ocean_fraction,
        ocean_cutoff=case.ocean_fraction_cutoff,
    )


def _layout(spec: EmulatorSpec, case: Case, forcing: Forcing) -> Layout:
    """Masks, weights and labels of a run; the masks are fixed before it starts."""
    ocean_fraction = forcing.mean_fraction(spec.ocean_fraction or "")
    assert ocean_fraction is not None
    ocean = ocean_fraction > case.ocean_fraction_cutoff
    named = case.roles.land_fraction or spec.land_fraction
    land_fraction = forcing.mean_fraction(named or "land_fraction")
    if land_fraction is None and case.roles.land_fraction:
        raise InputError(f"{case.forcing} has no {named!r} (roles.land_fraction)")
    land = ~ocean if land_fraction is None else land_fraction > 0.5
    return Layout(
        spec.grid,
        spec.outputs,
        case.groups,
        forcing.starts,
        forcing.calendar,
        ocean_fraction,
        ocean,
        land,
        spec.grid.area_weights(case.area_weights),
    )


def _pattern(
    perturbation: UniformPerturbation | PatchPerturbation | PatternPerturbation,
    spec: EmulatorSpec,
) -> NDArray[np.float64]:
    if isinstance(perturbation, UniformPerturbation):
        return uniform_pattern(spec.grid, perturbation.amplitude_K)
    if isinstance(perturbation, PatchPerturbation):
        return patch_pattern(spec.grid, **perturbation.model_dump(exclude={"type"}))
    field = read_pattern(perturbation.file, perturbation.variable, spec.grid)
    return perturbation.scale * field


def _preflight(
    emulator: Emulator,
    case: Case,
    forcing: Forcing,
    initial: NDArray[np.float64],
    patterns: NDArray[np.float64],
    layout: Layout,
) -> tuple[tuple[SstChange, ...], tuple[str, ...]]:
    """The SST change that each group really sees at the first step, and inputs out of range."""
    spec, cutoff = emulator.spec, case.ocean_fraction_cutoff
    fields = forcing.read(0, 1, [0], torch.float64).fields
    names = list(forcing.names)
    sst, ocean = names.index(spec.surface_temperature or ""), names.index(spec.ocean_fraction or "")
    prognostic = [variable.name for variable in spec.prognostic]
    state = torch.from_numpy(initial[0])
    at = prognostic.index(spec.surface_temperature or "") if spec.prescribes_sst else 0
    baseline = seen_sst(emulator, state[None, at], fields[-1:])
    changes, warnings = [], list[str]()
    for label, pattern in zip(case.perturbations, torch.from_numpy(patterns[1:]), strict=True):
        perturbed, started = fields.clone(), state.clone()
        perturbed[:, sst] = perturb_over_ocean(fields[:, sst], fields[:, ocean], pattern, cutoff)
        seen = seen_sst(emulator, state[None, at], perturbed[-1:])
        difference = (seen - baseline)[0].double().numpy()
        changes.append(
            measure_change(
                label, difference, layout.ocean_mask, layout.land_mask, layout.area_weight
            )
        )
        if spec.prescribes_sst:
            started[at] = perturb_initial(
                state[at], fields[0, ocean], pattern, cutoff, case.initial_condition_scope
            )
        inputs = torch.cat([started, perturbed[0, : len(spec.forcing)]])
        input_names = prognostic + [variable.name for variable in spec.forcing]
        found = inputs_out_of_range(emulator, input_names, inputs)
        warnings += [f"{label}: {phrase}" for phrase in found]
    return tuple(changes), tuple(warnings)


def header_of(plan: Plan, checkpoint: Path) -> dict[str, Any]:
    """What the manifest says of a run from its start."""
    packages = ("torch", "torch-harmonics", "xarray", "netCDF4", "numpy")
    return {
        "format": "respeval-run/1",
        "case_digest": plan.case.digest(),
        "checkpoint": str(checkpoint.resolve()),
        "checkpoint_sha256": _sha256(checkpoint),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "respeval": respeval.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in packages},
        },
        "groups": list(plan.case.groups),
        "num_samples": plan.num_samples,
        "num_steps": plan.num_steps,
        "timestep_s": plan.emulator.spec.timestep_s,
        "calendar": plan.forcing.calendar,
        "roles": {
            "near_surface_temperature": plan.roles.near_surface_temperature,
            "column_temperature": list(plan.roles.column_temperature),
            "surface_level": plan.roles.surface_level,
            "upper_level": plan.roles.upper_level,
        },
        "levels_hPa": list(plan.emulator.spec.levels_hPa),
        "sst_change": {
            change.label: {
                "mean_K": change.mean_K,
                "coast_K": _finite(change.coast_K),
                "area_share": change.area_share,
            }
            for change in plan.changes
        },
        "inputs_out_of_range": list(plan.warnings),
    }


def _finite(number: float) -> float | None:
    return number if np.isfinite(number) else None


def _sha256(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def open_output(plan: Plan, checkpoint: Path, folder: Path, comm: Comm) -> RunOutput:
    """Where this process's results go: the folder on the root, nowhere elsewhere."""
    if not comm.is_root:
        return NoOutput()
    header = header_of(plan, checkpoint)
    provenance = {
        "checkpoint": checkpoint.name,
        "checkpoint_sha256": header["checkpoint_sha256"],
        "case_digest": header["case_digest"],
        "history": f"{header['created']} respeval run",
    }
    layout = replace(plan.layout, provenance=provenance)
    return RunFolder(folder, header, layout, to_seconds(plan.forcing.starts[0]))


def default_threads(spec: EmulatorSpec, comm: Comm) -> int | None:
    """Threads of this process, None for torch's own choice.

    One under torchrun and on small grids, where threads wait for each other more than they work.
    """
    small = spec.grid.num_lat * spec.grid.num_lon < SMALL_GRID_CELLS
    return 1 if comm.num_processes > 1 or small else None


def execute(
    plan: Plan, output: RunOutput, comm: Comm, execution: Execution, reporter: Reporter
) -> None:
    """Run all segments and publish each one. Every process calls it.

    Raises BlowUpError where the state leaves the range of physical values; what was published stays.
    """
    output.begin(plan.case.to_yaml())
    reporter.planned(plan)
    case, num_groups = plan.case, len(plan.case.groups)
    members = deal_members(plan.num_samples, num_groups, comm.num_processes)[comm.rank]
    samples_per_batch = execution.samples_per_batch or (
        1 if comm.device.type == "cpu" else plan.num_samples
    )
    rollout = Rollout(
        plan.emulator.to(comm.device),
        plan.forcing,
        plan.initial,
        plan.patterns,
        members,
        plan.num_steps,
        case.ocean_fraction_cutoff,
        case.initial_condition_scope,
        case.seed,
        case.paired_noise,
        samples_per_batch * num_groups,
        execution.window_length or plan.forcing.window_length(),
        comm.device,
    )
    spec = plan.emulator.spec
    masks = torch.from_numpy(plan.layout.surface_masks()).to(comm.device)
    sums = MemberSums((len(members), len(spec.outputs), *spec.grid.shape), comm.device)
    guard = RangeGuard(spec, members, comm.device)
    interval = 1 if comm.device.type == "cpu" else GUARD_INTERVAL
    steps = rollout.steps()
    try:
        with torch.inference_mode():
            for segment in plan.segments:
                for step in range(segment.first_step, segment.stop_step):
                    if members:
                        _, outputs = next(steps)
                        sums.add(outputs)
                        guard.check(outputs, step)
                        if step % interval == 0 or step + 1 == segment.stop_step:
                            guard.raise_if_bad(case.groups, plan.forcing.starts)
                    reporter.stepped(step + 1)
                totals = GroupSums.encode(
                    sums, members, num_groups, plan.num_samples, masks, case.save_members
                )
                means = totals.unpack(comm.sum_to_root(totals.pack())).means()
                output.publish_segment(segment, means)
                reporter.published(segment, means)
                sums.reset()
    except BlowUpError as error:
        output.fail(str(error))
        raise
    finally:
        steps.close()


def date_of(plan: Plan, step: int) -> Any:
    """The first sample's date after this many steps."""
    start = to_seconds(plan.forcing.starts[0])
    return to_date(start + step * plan.emulator.spec.timestep_s, plan.forcing.calendar)
