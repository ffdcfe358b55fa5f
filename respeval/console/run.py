"""A run on the terminal: its progress, and what is in a checkpoint."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import RenderableType

    from respeval.emulator.contract import Emulator, EmulatorSpec
    from respeval.plan.plan import Plan
    from respeval.results import RunningRatio
    from respeval.rollout.guard import Fault
    from respeval.rollout.segments import Segment
    from respeval.rollout.sums import GroupSums

#: Seconds between two lines of progress where the output is no terminal.
LINE_INTERVAL_S = 10.0

_YEAR_S = 365.0 * 86_400


class SilentReporter:
    """The reporter of every process but the root."""

    def planned(self, plan: Plan, first_step: int) -> None:
        pass

    def stepped(self, step: int) -> None:
        pass

    def published(self, segment: Segment, means: GroupSums) -> None:
        pass

    def quarantined(self, fault: Fault) -> None:
        pass

    def close(self) -> None:
        pass


class ConsoleReporter:
    """Progress on the root: a live line on a terminal, else a plain line now and then."""

    def __init__(
        self, console: Console, running: RunningRatio, num_processes: int, is_compiled: bool = False
    ) -> None:
        self._console, self._running = console, running
        self._num_processes, self._is_compiled = num_processes, is_compiled
        self._progress: Progress | None = None
        self._ratio = ""
        self._num_published = 0

    def planned(self, plan: Plan, first_step: int) -> None:
        """Say what will run and what SST change each group sees; start the clock."""
        from respeval.plan.plan import date_of

        self._plan, self._first_step = plan, first_step
        self._num_segments = plan.segments[-1].number if plan.segments else 0
        spec, case = plan.emulator.spec, plan.case
        numbers = f"in {plan.precision}{', compiled,' if self._is_compiled else ''}"
        self._console.print(
            f"{len(case.groups)} groups ({', '.join(case.groups)}) x {plan.num_samples} samples, "
            f"{plan.num_steps} steps of {spec.timestep_s / 3600:g} h from {plan.forcing.starts[0]}, "
            f"grid {spec.grid}, {numbers} on {self._num_processes} process"
            f"{'es' if self._num_processes > 1 else ''}",
            highlight=False,
        )
        if "weights" in spec.description:
            self._console.print(f"weights: {spec.description['weights']}", highlight=False)
        for change in plan.changes:
            self._console.print(str(change), highlight=False)
        for warning in plan.warnings:
            self._console.print(f"warning: {warning}", style="yellow")
        if first_step:
            self._console.print(
                f"going on after step {first_step} of {plan.num_steps}, {date_of(plan, first_step)}",
                highlight=False,
            )
        self._begin = self._last_line = time.monotonic()
        if self._console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TimeElapsedColumn(),
                console=self._console,
            )
            self._task = self._progress.add_task("", total=plan.num_steps)
            self._progress.start()

    def stepped(self, step: int) -> None:
        """Move the bar."""
        if self._progress is not None:
            description = self._describe(step) if step % 8 == 0 else None
            self._progress.update(self._task, completed=step, description=description)

    def quarantined(self, fault: Fault) -> None:
        """Say which sample leaves the means, and why."""
        self._console.print(f"warning: sample left out from here on: {fault}", style="yellow")

    def published(self, segment: Segment, means: GroupSums) -> None:
        """Take the segment into the running ratio and tell it."""
        self._num_published = segment.number
        if not segment.spinup:
            ratios = self._running.add(means.zonal.cpu().numpy(), means.zonal_count.cpu().numpy())
            self._ratio = ", ".join(
                f"{label} {next(iter(bands.values())):.2f}" for label, bands in ratios.items()
            )
        is_last = segment.number == self._num_segments
        late = time.monotonic() - self._last_line > LINE_INTERVAL_S
        if self._progress is None and (late or is_last):
            self._last_line = time.monotonic()
            text = self._describe(segment.stop_step)
            self._console.print(text, highlight=False)

    def _describe(self, step: int) -> str:
        from respeval.plan.plan import date_of

        elapsed = max(time.monotonic() - self._begin, 1e-9)
        speed = (step - self._first_step) / elapsed
        years_per_day = speed * self._plan.emulator.spec.timestep_s / _YEAR_S * 86_400
        left = (self._plan.num_steps - step) / speed if speed else float("nan")
        text = (
            f"segment {self._num_published} of {self._num_segments}  "
            f"{date_of(self._plan, step).strftime('%Y-%m-%d')}  {speed:.1f} steps/s  "
            f"{years_per_day:,.0f} simulated years/day  {duration(left)} left"
        )
        if self._ratio:
            band = next(iter(self._plan.case.bands))
            text += f"  land/ocean ({band}): {self._ratio}"
        return text

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def duration(seconds: float) -> str:
    """Hours, minutes and seconds: `1:02:03`."""
    if seconds != seconds:
        return "?"
    whole = int(seconds + 0.5)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def inspection_tables(checkpoint: Path, emulator: Emulator) -> list[RenderableType]:
    """What a checkpoint is, its variables by role, its filters, and the data that a run needs."""
    from torch import nn

    from respeval.loss_probe.filters import find_filters

    spec = emulator.spec
    parts: list[RenderableType] = [_facts_table(checkpoint, emulator), _variables_table(spec)]
    filters = find_filters(emulator) if isinstance(emulator, nn.Module) else []
    if filters:
        table = Table(title="Spectral filters", title_justify="left")
        for heading in ("parameter", "shape", "type", "degrees"):
            table.add_column(heading, overflow="fold")
        for found in filters:
            shape = " x ".join(str(size) for size in found.parameter.shape)
            kind = str(found.parameter.dtype).removeprefix("torch.")
            table.add_row(found.name, shape, kind, str(found.num_degrees))
        parts.append(table)
    initial = ", ".join(variable.name for variable in spec.prognostic)
    parts.append(
        "A run needs\n"
        f"  initial_condition: {initial}\n"
        "                     dimensions (sample, lat, lon), time(sample)\n"
        f"  forcing:           {', '.join(spec.files_forcing)}\n"
        f"                     dimensions (time, lat, lon), every {spec.timestep_s / 3600:g} h, from "
        "the initial condition's date to the end of the last step"
    )
    return parts


def _facts_table(checkpoint: Path, emulator: Emulator) -> Table:
    from respeval.emulator.computing import num_parameters

    spec = emulator.spec
    table = Table(title=str(checkpoint), title_justify="left", show_header=False)
    table.add_row("architecture", spec.architecture)
    table.add_row("grid", str(spec.grid))
    calendar = f", calendar {spec.calendar}" if spec.calendar else ""
    table.add_row("time step", f"{spec.timestep_s / 3600:g} h{calendar}")
    noise = f"stochastic, {spec.num_noise_channels} noise channels"
    table.add_row("noise", noise if spec.num_noise_channels else "deterministic")
    table.add_row("surface temperature", _sst_rule(spec))
    roles = spec.roles
    table.add_row("near-surface temperature", roles.near_surface_temperature or "not named")
    table.add_row("surface, upper level", f"{roles.surface_level}, {roles.upper_level}")
    table.add_row("column, top to surface", ", ".join(roles.column_temperature) or "not named")
    count = num_parameters(emulator)
    if count is not None:
        table.add_row("parameters", f"{count:,} real numbers")
    for heading, text in spec.description.items():
        table.add_row(heading, text)
    return table


def _sst_rule(spec: EmulatorSpec) -> str:
    if spec.surface_temperature is None:
        return "not prescribed"
    if spec.interpolates_sst:
        return f"{spec.surface_temperature}, prescribed in the proportion of {spec.ocean_fraction}"
    if spec.prescribes_sst:
        return f"{spec.surface_temperature}, prescribed where {spec.ocean_fraction} > 0.5"
    return f"{spec.surface_temperature}, an input only"


def _variables_table(spec: EmulatorSpec) -> Table:
    table = Table(title="Variables", title_justify="left")
    for heading in ("role", "name", "units", "long name"):
        table.add_column(heading)
    for role, variables in (
        ("prognostic", spec.prognostic),
        ("diagnostic", spec.diagnostic),
        ("forcing", spec.forcing),
    ):
        for i, variable in enumerate(variables):
            last = i == len(variables) - 1
            table.add_row(
                role if i == 0 else "",
                variable.name,
                variable.units,
                variable.long_name,
                end_section=last,
            )
    return table
