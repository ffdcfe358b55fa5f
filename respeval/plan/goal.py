"""`--until`: a run that ends when its response is known as well as was asked."""

from __future__ import annotations

import math
from collections.abc import Sequence

import xarray as xr

from respeval.case.roles import settings_of
from respeval.diagnostics import (
    FEWEST_YEARS_TO_KNOW,
    DiagnosticSettings,
    Target,
    check_targets,
    empty_response,
    ends_year,
    length_years,
    main_diagnostics,
    num_units,
    parse_targets,
    read_by_diagnostics,
)
from respeval.distributed.comm import Comm
from respeval.plan.plan import Plan
from respeval.run_folder.joining import read_circles
from respeval.run_folder.output import Progress, RunOutput

#: No run ends before it has so many years and so many (sample, year) units: a spread that is estimated
#: from fewer is too often too small by chance, and that is when a run would end.
FEWEST_YEARS = 5
FEWEST_UNITS = 10


def check_goal(plan: Plan) -> None:
    """Raise InputError where the run of a plan will have no number that its case waits for."""
    empty = empty_response(
        [variable.name for variable in plan.emulator.spec.outputs], tuple(plan.case.perturbations)
    )
    check_targets(parse_targets(plan.case.until), empty, settings_of_plan(plan))


def goal_of(plan: Plan, output: RunOutput) -> Goal | None:
    """What the run of a plan waits for; None where it runs to its end."""
    targets = parse_targets(plan.case.until)
    if not targets:
        return None
    outputs = [variable.name for variable in plan.emulator.spec.outputs]
    return Goal(targets, settings_of_plan(plan), outputs, output)


def settings_of_plan(plan: Plan) -> DiagnosticSettings:
    """What the diagnostics of a plan's run are asked for."""
    spec = plan.emulator.spec
    return settings_of(plan.case, plan.roles, spec.levels_hPa, spec.surface_temperature)


def has_ended(progress: Progress, goal: Goal | None, comm: Comm) -> bool:
    """Whether a run has nothing left to do, its length or what it waited for being reached."""
    if progress.finished or goal is None or not progress.complete:
        return progress.finished
    return comm.on_root(goal.is_reached)


class Goal:
    """Whether a run has reached its targets, from the segments that it has published.

    Only the root has a folder to read; everywhere else nothing is ever reached.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        settings: DiagnosticSettings,
        outputs: Sequence[str],
        output: RunOutput,
    ) -> None:
        self._targets, self._settings = targets, settings
        self._names = read_by_diagnostics(outputs, settings)
        self._output = output
        self._circles: xr.Dataset | None = None
        self._read_steps = 0

    def is_reached(self) -> bool:
        """Whether a year ends with the last segment and all targets are reached by now.

        Raises InputError where a segment can't be read.
        """
        circles = self._read()
        if circles is None or not ends_year(circles):
            return False
        if not is_long_enough(circles):
            return False
        names = {target.name for target in self._targets}
        found = main_diagnostics(circles, self._settings, sorted(names))
        return all(target.is_reached(found) for target in self._targets)

    def _read(self) -> xr.Dataset | None:
        """The circle means of all segments so far; those that were read before are kept."""
        files, stop_step = self._output.files_from(self._read_steps)
        if files:
            parts = [read_circles(file, self._names) for file in files]
            before = [] if self._circles is None else [self._circles]
            self._circles = xr.concat(
                [*before, *parts], "time", data_vars="minimal", coords="minimal", compat="override"
            )
            self._read_steps = stop_step
        if self._circles is None:
            return None
        return self._circles.drop_sel(group=list(self._output.left_out))

    def outcome(self, diagnostics: xr.Dataset, zonal: xr.Dataset) -> list[str]:
        """What has become of the targets of a run that has ended: a line for each.

        diagnostics, zonal: as in the files of these names.
        """
        length = float(length_years(zonal, [zonal.sizes["time"]])[0])
        end = str(zonal["time_bnds"].values[-1, 1])[:10]
        long_enough = is_long_enough(zonal[[*self._names, "count", "area", "time_bnds"]])
        lines = []
        for target in self._targets:
            wanted = f"{100 * target.fraction:g} %"
            if not target.widths(diagnostics):
                lines.append(f"until: {target} was not waited for: {target.perturbation} blew up")
                continue
            if target.is_reached(diagnostics) and long_enough:
                widest = max(target.widths(diagnostics).values())
                found = f"known to {wanted} (±{100 * widest:.2g} %) after {length:.3g} years, {end}"
                lines.append(f"until: {target} is {found}")
            else:
                lines.append(f"until: {_not_reached(target, diagnostics, length, wanted)}")
        return lines


def is_long_enough(zonal: xr.Dataset) -> bool:
    """Whether a run is long enough to end for what its spread says.

    zonal: as in zonal.nc, of the outputs to tell samples by.
    """
    years, units = num_units(zonal)
    return years >= FEWEST_YEARS and units >= FEWEST_UNITS


def _not_reached(target: Target, diagnostics: xr.Dataset, length: float, wanted: str) -> str:
    widths = target.widths(diagnostics)
    years = target.years_left(diagnostics, length)
    number, width = max(widths.items(), key=lambda pair: _unknown_last(pair[1]))
    if width <= target.fraction or length < FEWEST_YEARS_TO_KNOW:
        return (
            f"{target} was not waited for: a run needs {FEWEST_YEARS} years and {FEWEST_UNITS} "
            "(sample, year) units before its spread can be trusted"
        )
    if math.isnan(width):
        return (
            f"{number} has no bounded interval: how long it takes to know it to {wanted} is unknown"
        )
    more = math.ceil(max(years.values()))
    return (
        f"{number} is known to ±{100 * width:.2g} %, not to {wanted}; about {more} more "
        f"year{'' if more == 1 else 's'} needed"
    )


def _unknown_last(width: float) -> float:
    return math.inf if math.isnan(width) else width
