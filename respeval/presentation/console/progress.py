"""A run on the terminal: what is planned, and its progress."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from respeval.diagnostics import DiagnosticSettings
from respeval.diagnostics.formulas.warming import land_ocean_warming_ratio
from respeval.distributed.comm import Comm
from respeval.fields.grid import SURFACES
from respeval.plan.execution import Execution, samples_at_once
from respeval.plan.plan import Plan, date_of
from respeval.presentation.console.terminal import CommandConsole
from respeval.rollout.guard import Fault
from respeval.rollout.segments import Segment
from respeval.rollout.sums import GroupSums
from respeval.runner import Reporter

#: Seconds between two lines of progress where the output is no terminal.
LINE_INTERVAL_S = 10.0

_YEAR_S = 365.0 * 86_400


class ConsoleReporter(Reporter):
    """Progress on the root: a live line on a terminal, else a plain line now and then."""

    def __init__(
        self,
        console: CommandConsole,
        running: RunningRatio,
        comm: Comm,
        execution: Execution | None = None,
    ) -> None:
        self._console, self._running = console, running
        self._comm, self._execution = comm, execution or Execution()
        self._bar: RunBar | None = None
        self._first_step = self._step = 0
        self._ratio = ""
        self._num_published = 0

    def planned(self, plan: Plan, first_step: int) -> None:
        """Say what will run and what SST change each group sees; start the clock."""
        self._plan, self._first_step, self._step = plan, first_step, first_step
        self._num_segments = plan.segments[-1].number if plan.segments else 0
        spec, case = plan.emulator.spec, plan.case
        numbers = f"in {plan.precision}"
        if self._execution.compile:
            numbers += ", compiled,"
        if self._execution.fast_transforms:
            numbers += " with fast transforms"
        self._console.print(
            f"{len(case.groups)} groups ({', '.join(case.groups)}) x {plan.num_samples} samples, "
            f"{plan.num_steps} steps of {spec.timestep_s / 3600:g} h from {plan.forcing.starts[0]}, "
            f"grid {spec.grid}, {numbers} on {self._processes()}",
            highlight=False,
        )
        comm = self._comm
        idle = comm.num_processes - comm.mesh.size * len(case.groups) * plan.num_samples
        if idle > 0:
            self._console.warn(
                f"{idle} of {comm.num_processes} processes have nothing to do: {len(case.groups)} "
                f"groups x {plan.num_samples} samples are {len(case.groups) * plan.num_samples} members"
            )
        if "weights" in spec.description:
            self._console.print(f"weights: {spec.description['weights']}", highlight=False)
        for change in plan.changes:
            self._console.print(str(change), highlight=False)
        for warning in plan.warnings:
            self._console.warn(warning)
        if first_step:
            self._console.print(
                f"going on after step {first_step} of {plan.num_steps}, {date_of(plan, first_step)}",
                highlight=False,
            )
        self._begin = self._last_line = time.monotonic()
        self._detail(plan)
        if self._console.has_bars:
            self._bar = RunBar(self._console, plan.num_steps)
            self._bar.move(first_step, self._describe(first_step)[:1])
            self._bar.start()

    def _detail(self, plan: Plan) -> None:
        """What computes, for -v."""
        import torch

        comm, execution = self._comm, self._execution
        threads, samples = torch.get_num_threads(), samples_at_once(plan, execution, comm)
        chosen = "as measured" if execution.samples_per_batch == "auto" else str(samples)
        self._console.detail(
            f"on {comm.device}, {threads} thread{'s' if threads > 1 else ''} of each process, torch "
            f"{torch.__version__}; samples stepped at once: {chosen}; steps of forcing read at once: "
            f"{execution.window_length or plan.forcing.window_length()}"
        )

    def _processes(self) -> str:
        """`4 processes, fields split 2x1`."""
        comm = self._comm
        count = f"{comm.num_processes} process{'es' if comm.num_processes > 1 else ''}"
        return f"{count}, fields split {comm.mesh}" if comm.mesh.is_split else count

    def stepped(self, step: int) -> None:
        """Move the bar."""
        self._step = step
        if self._bar is not None:
            self._bar.move(step, self._describe(step) if step % 8 == 0 else None)

    def quarantined(self, fault: Fault) -> None:
        """Say which sample leaves the means, and why."""
        self._console.warn(f"sample left out from here on: {fault}")

    def left_out(self, fault: Fault, samples: Collection[int]) -> None:
        """Say which perturbation leaves, why, and that other samples count again."""
        out = f"; out for another reason: {', '.join(map(str, sorted(samples)))}" if samples else ""
        self._console.warn(
            f"{fault.group} is left out of all results: it blew up in every sample that was left, "
            f"first in sample {fault.sample}, when {fault.variable} was missing or outside {fault.limits} at "
            f"{fault.date}; the samples that it had put out count again{out}"
        )

    def noticed(self, text: str) -> None:
        """Say it at once; it stands again below the table."""
        self._console.warn(text)

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
        if late or is_last:
            self._last_line = time.monotonic()
            show = self._console.print if self._bar is None else self._console.log_only
            show("  ".join(self._describe(segment.stop_step)), highlight=False)

    def _describe(self, step: int) -> list[str]:
        """Where the run is, how fast it is and what it finds."""
        elapsed = max(time.monotonic() - self._begin, 1e-9)
        speed = (step - self._first_step) / elapsed
        years_per_day = speed * self._plan.emulator.spec.timestep_s / _YEAR_S * 86_400
        left = (self._plan.num_steps - step) / speed if speed else float("nan")
        told = [
            f"segment {self._num_published} of {self._num_segments}",
            f"{date_of(self._plan, step).strftime('%Y-%m-%d')}  {speed:.1f} steps/s  "
            f"{years_per_day:,.0f} simulated years/day  {duration(left)} left",
        ]
        if self._ratio:
            band = next(iter(self._plan.case.bands))
            told.append(f"land/ocean ({band}): {self._ratio}")
        return told

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.move(self._step, self._describe(self._step))
            self._bar.stop()
            self._bar = None
        if self._step > self._first_step:
            spent = (time.monotonic() - self._begin) / (self._step - self._first_step)
            self._console.detail(f"a step took {spent:.3g} s, all that comes with it included")


class RunBar(Progress):
    """A bar with the segment before it, and lines below it that are as long as the terminal is wide."""

    def __init__(self, console: Console, num_steps: int) -> None:
        self._below: Sequence[str] = ()
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=console,
            expand=True,
            redirect_stdout=sys.stdout.isatty(),
        )
        self._own = self.add_task("", total=num_steps)

    def move(self, step: int, told: Sequence[str] | None = None) -> None:
        """So many steps are done; told: what stands before the bar, and the lines below it."""
        if told is not None:
            self._below = told[1:]
        self.update(self._own, completed=step, description=told[0] if told else None)

    def get_renderables(self) -> Iterator[RenderableType]:
        """See `Progress`."""
        yield from super().get_renderables()
        for line in self._below:
            yield Text(line, no_wrap=True, overflow="ellipsis")


def duration(seconds: float) -> str:
    """Hours, minutes and seconds: `1:02:03`."""
    if seconds != seconds:
        return "?"
    whole = int(seconds + 0.5)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


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
        self._is_there = np.ones(len(self._groups), bool)
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
        self._is_there &= count.sum(1) > 0  # a perturbation that blew up does not come back
        kept = np.flatnonzero(self._is_there)
        means = self._total[kept] / self._steps[kept, None, None]  # type: ignore[index]
        means = np.where(self._area > 0, means, np.nan)
        labels = [self._groups[k] for k in kept[1:]]
        response = xr.Dataset(
            {
                self._name: (("perturbation", "surface", "lat"), means[1:] - means[:1]),
                "area": (("surface", "lat"), self._area),
            },
            {"perturbation": labels, "surface": list(SURFACES), "lat": self._latitude},
        )
        ratio = land_ocean_warming_ratio(response, self._settings)
        return {
            label: {str(b): float(r) for b, r in zip(ratio["band"].values, row, strict=True)}
            for label, row in zip(labels, ratio.values, strict=True)
        }
