"""From a checkpoint and a case to a plan: everything that a run reads, opened and checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from respeval.case.case import BoxMask, Case, check_sources
from respeval.case.protocol import check_samples
from respeval.case.roles import merge_roles, settings_of
from respeval.checkpoints import Checkpoint, InMemory, open_checkpoint
from respeval.diagnostics import fluxes_of_forcing
from respeval.emulator.contract import OCEAN_CUTOFF, Emulator, EmulatorSpec
from respeval.errors import InputError
from respeval.fields.calendar import Duration, canonical_calendar, in_calendar, to_date, to_seconds
from respeval.fields.forcing import Forcing
from respeval.fields.fractions import LAND_CUTOFF, is_above
from respeval.fields.grid import in_band, in_box
from respeval.fields.initial import InitialConditions, read_initial_conditions
from respeval.fields.notices import Notices
from respeval.fields.ranges import RangeCheck, Usual, usual
from respeval.fields.records import OpenedRecords, read_pattern
from respeval.fields.units import SHARE_OF_CELL
from respeval.fields.variables import Roles
from respeval.plan.sst_change import SstChange, preflight
from respeval.rollout.forced import ForcedFlux
from respeval.rollout.segments import Segment, plan_segments
from respeval.run_folder.end_states import holds_run, read_end_states
from respeval.run_folder.layout import Layout


@dataclass(frozen=True)
class Plan:
    """A run, checked and ready: everything that is the same on every process.

    notices: the run's warnings, those too that come while its forcing is read.
    """

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
    notices: Notices

    @property
    def num_samples(self) -> int:
        return len(self.forcing.starts)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What this process has noticed so far."""
        return self.notices.texts

    @property
    def precision(self) -> str:
        """The numbers that the network computes in."""
        own = self.emulator.spec.precision
        return own if own != "float32" else self.case.precision


def prepare(
    checkpoint: Checkpoint, case: Case, trust: bool = False, opened: OpenedRecords | None = None
) -> Plan:
    """Open and check everything that a run reads. Raises InputError in one line.

    trust: whether code that the checkpoint holds may run. opened: records that other runs read too.
    """
    emulator = open_checkpoint(checkpoint, case.reader, trust)
    plan = plan_run(emulator, case, str(checkpoint), opened)
    if isinstance(checkpoint, InMemory) and not checkpoint.has_weights:
        plan.notices.tell(
            f"{checkpoint} has no weights (no state_dict) to tell it from others of its class: a run of any "
            "of them goes on in this folder"
        )
    return plan


def plan_run(
    emulator: Emulator,
    case: Case,
    source: str,
    opened: OpenedRecords | None = None,
    notices: Notices | None = None,
) -> Plan:
    """The plan of a run with an emulator that is already loaded; `source` names it in messages.

    notices: what was noticed when it was loaded; the run goes on with them.
    """
    spec = emulator.spec
    if spec.surface_temperature is None or spec.ocean_fraction is None:
        raise InputError(
            f"{source} reads no prescribed SST (it names no surface temperature and ocean "
            "fraction), so a change of SST can't reach it"
        )
    notices = Notices() if notices is None else notices
    ranges = RangeCheck(usual_ranges(spec), notices, case.allow_out_of_range)
    conditions = _initial_conditions(spec, case, opened, ranges)
    if case.num_realizations > 1 and not spec.num_noise_channels:
        raise InputError(
            f"num_realizations is {case.num_realizations}, but {source} is deterministic: its "
            "realizations would be equal, and standard errors wrong"
        )
    dates = [date for date in conditions.dates for _ in range(case.num_realizations)]
    check_samples(case.protocol, dates)
    check_sources(case.reference, case.groups[1:])
    forcing = _open_forcing(spec, case, dates, opened, ranges)
    layout = _layout(spec, case, forcing, notices)
    _check_sst_boxes(case, layout)
    patterns = _patterns(spec, case, layout, notices)
    segments = _segments(spec, case, forcing)
    initial = np.repeat(conditions.state, case.num_realizations, axis=0)
    known = ranges.usual[spec.surface_temperature]
    changes = preflight(emulator, case, forcing, initial, patterns, layout, notices, known)
    for change in changes:
        if change.area_share == 0:
            raise InputError(
                f"perturbations.{change.label} changes SST in no cell of the grid ({spec.grid})"
            )
    for told in _remarks(spec, case, forcing, layout):
        notices.tell(told)
    return Plan(
        case,
        emulator,
        forcing,
        initial,
        patterns,
        forcing.num_steps,
        segments,
        layout,
        merge_roles(spec, case),
        changes,
        notices,
    )


def _patterns(
    spec: EmulatorSpec, case: Case, layout: Layout, notices: Notices
) -> NDArray[np.float64]:
    """SST change of each group [group, lat, lon], K. Raises InputError where one is missing in cells
    that it is added in."""
    made = [change.pattern(spec.grid, notices) for change in case.perturbations.values()]
    needed = layout.ocean_mask if case.initial_condition_scope != "field" else np.True_
    for label, pattern in zip(case.perturbations, made, strict=True):
        missing = int((~np.isfinite(pattern) & needed).sum())
        if missing:
            raise InputError(
                f"perturbations.{label}: the pattern is missing in {missing} cells where it is added; "
                "fill them, with 0 where SST is to stay"
            )
    return np.nan_to_num(np.stack([np.zeros(spec.grid.shape), *made]))


def _segments(spec: EmulatorSpec, case: Case, forcing: Forcing) -> tuple[Segment, ...]:
    """Raises InputError where the spin-up leaves nothing."""
    start, num_steps = forcing.starts[0], forcing.num_steps
    spinup = Duration.parse(case.spinup).steps_from(start, spec.timestep_s) if case.spinup else 0
    if spinup >= num_steps:
        raise InputError(
            f"spinup ({case.spinup}) leaves nothing of a run of {case.duration}; lengthen the run, or give "
            "--spinup none"
        )
    return tuple(plan_segments(start, spec.timestep_s, num_steps, case.segment, spinup))


def _remarks(spec: EmulatorSpec, case: Case, forcing: Forcing, layout: Layout) -> Iterator[str]:
    """What to know of bands, masks and calendars."""
    for name, (low, high) in case.bands.items():
        if not in_band(spec.grid.latitude, low, high).any():
            yield f"band {name} [{low:g}, {high:g}) holds no latitude of the grid"
    yield from _told_of_masks(layout, case.ocean_fraction_cutoff)
    first = np.array([to_seconds(forcing.starts[0])])
    wanted = canonical_calendar(spec.calendar) if spec.calendar else forcing.calendar
    if in_calendar(first, forcing.calendar, wanted) is None:
        yield f"the forcing's calendar is {forcing.calendar}, the emulator's {spec.calendar}"


def usual_ranges(spec: EmulatorSpec) -> dict[str, Usual]:
    """What is usual of all that an emulator reads: of its states, of all outputs, and of its forcing."""
    units = spec.units
    names = [variable.name for variable in spec.outputs] + list(spec.required_forcing)
    known = {name: usual(name, units.get(name, ""), spec.normalization.get(name)) for name in names}
    for name in (spec.ocean_fraction, spec.land_fraction):
        if name is not None:
            known[name] = Usual("1", low=-0.01, high=1.01)
    return known


def _initial_conditions(
    spec: EmulatorSpec, case: Case, opened: OpenedRecords | None, ranges: RangeCheck
) -> InitialConditions:
    location = case.initial_condition
    asked = location, spec.prognostic, spec.grid, case.start
    if holds_run(location):  # what an emulator came to is no file in another unit
        conditions, ranges = read_end_states(*asked, ranges.notices), replace(ranges, allow=True)
    else:
        conditions = read_initial_conditions(*asked, opened, ranges.notices)
    for row, variable in enumerate(spec.prognostic):
        states = conditions.state[:, row]
        ranges.check(location, variable.name, states, lambda k: f"at {conditions.dates[k]}")
    return conditions


def _open_forcing(
    spec: EmulatorSpec,
    case: Case,
    dates: Sequence[Any],
    opened: OpenedRecords | None,
    ranges: RangeCheck,
) -> Forcing:
    aliases, roles = {}, {}
    for role in ("surface_temperature", "ocean_fraction"):
        name = getattr(spec, role)
        roles[name] = role
        aliases[name] = getattr(case.roles, role) or name
    # Where SST is prescribed, only the ocean's is read; an input of the network is read everywhere.
    inputs = [variable.name for variable in spec.forcing]
    everywhere = spec.interpolates_sst or spec.surface_temperature in inputs
    return Forcing(
        case.forcing,
        spec.required_forcing,
        spec.grid,
        spec.timestep_s,
        dates,
        case.duration,
        aliases=aliases,
        roles=roles,
        units=spec.units,
        repeat_year=case.repeat == "year",
        derived=spec.derived_forcing,
        ocean_only=None if everywhere else spec.surface_temperature,
        ocean_fraction=spec.ocean_fraction,
        ocean_cutoff=min(case.ocean_fraction_cutoff, OCEAN_CUTOFF),
        opened=opened,
        notices=ranges.notices,
        ranges=ranges,
    )


def _layout(spec: EmulatorSpec, case: Case, forcing: Forcing, notices: Notices) -> Layout:
    """Masks, weights and labels of a run; the masks are fixed before it starts."""
    ocean_fraction = forcing.mean_fraction(spec.ocean_fraction or "")
    assert ocean_fraction is not None
    _check_known("ocean", ocean_fraction, spec, case)
    ocean = is_above(ocean_fraction, case.ocean_fraction_cutoff)
    if not ocean.any():
        raise InputError(
            f"{case.forcing}: no cell has an ocean fraction above {case.ocean_fraction_cutoff:g}, so "
            "a change of SST can't reach the emulator"
        )
    named = case.roles.land_fraction or spec.land_fraction
    land_fraction = forcing.mean_fraction(named or "land_fraction")
    if land_fraction is None and case.roles.land_fraction:
        raise InputError(f"{case.forcing} has no {named!r} (roles.land_fraction)")
    if land_fraction is not None:
        _check_known("land", land_fraction, spec, case)
    for name, fraction in (("ocean", ocean_fraction), ("land", land_fraction)):
        if fraction is not None and not -0.01 <= fraction.min() <= fraction.max() <= 1.01:
            raise InputError(
                f"{case.forcing}: the {name} fraction reaches from {fraction.min():g} to "
                f"{fraction.max():g}; expected fractions of 1"
            )
    land = ~ocean if land_fraction is None else is_above(land_fraction, LAND_CUTOFF)
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
        boxes=_land_boxes(spec, case, land, notices),
        fluxes=_forced_fluxes(spec, case),
    )


def _forced_fluxes(spec: EmulatorSpec, case: Case) -> tuple[ForcedFlux, ...]:
    """Forcing that the diagnostics need beside the outputs."""
    settings = settings_of(case, merge_roles(spec, case), spec.levels_hPa, spec.surface_temperature)
    outputs = [variable.name for variable in spec.outputs]
    forcing = {variable.name: variable.units for variable in spec.forcing}
    names = fluxes_of_forcing(outputs, forcing, settings)
    return tuple(ForcedFlux(spec.variable(n), n in spec.forcing_at_end) for n in names)


def _check_known(name: str, fraction: NDArray[np.float64], spec: EmulatorSpec, case: Case) -> None:
    """Raise InputError where a mean fraction is missing in a cell."""
    missing = ~np.isfinite(fraction)
    if missing.any():
        row, column = (int(axis[0]) for axis in np.nonzero(missing))
        raise InputError(
            f"{case.forcing}: the {name} fraction is missing in {int(missing.sum())} of {missing.size} "
            f"cells, first at latitude {spec.grid.latitude[row]:.2f}, longitude "
            f"{spec.grid.longitude[column]:.2f}; every cell needs one"
        )


def _told_of_masks(layout: Layout, cutoff: float) -> list[str]:
    """What to know of the masks of land and ocean."""
    both = int((layout.land_mask & layout.ocean_mask).sum())
    told = []
    if both:
        told.append(
            f"{both:,} cell{'s are' if both > 1 else ' is'} land and ocean at once (ocean fraction above "
            f"{cutoff:g}, land fraction above {LAND_CUTOFF:g}) and count in the means of both"
        )
    if not layout.land_mask.any():
        told.append(
            "no cell of the grid is land: what is told of land, and over land, is missing in the results"
        )
    return told


def _land_boxes(
    spec: EmulatorSpec, case: Case, land: NDArray[np.bool_], notices: Notices
) -> dict[str, NDArray[np.bool_]]:
    """Cells of each land box. Raises InputError where one has no land."""
    found = {}
    for name, box in (case.land_boxes or {}).items():
        if isinstance(box, BoxMask):
            pattern = read_pattern(box.file, box.variable, spec.grid, notices, SHARE_OF_CELL)
            cells = is_above(pattern, LAND_CUTOFF)
        else:
            cells = in_box(spec.grid, box[:2], box[2:])
        if not (cells & land).any():
            raise InputError(f"land_boxes.{name} holds no land cell of the grid ({spec.grid})")
        found[name] = cells
    return found


def _check_sst_boxes(case: Case, layout: Layout) -> None:
    """Raise InputError where a box of SST has no ocean."""
    sea = layout.ocean_mask & (layout.area_weight > 0)
    for name, box in case.sst_boxes.items():
        if not (in_box(layout.grid, box[:2], box[2:]) & sea).any():
            raise InputError(f"sst_boxes.{name} holds no ocean cell of the grid ({layout.grid})")


def date_of(plan: Plan, step: int) -> Any:
    """The first sample's date after this many steps."""
    start = to_seconds(plan.forcing.starts[0])
    return to_date(start + step * plan.emulator.spec.timestep_s, plan.forcing.calendar)
