"""A gradient probe on the terminal: its progress, and the table at its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence

import xarray as xr
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

from respeval.diagnostics.numbers import decimals_of
from respeval.loss_probe.activations import CHOICES, Recompute
from respeval.loss_probe.footprint import Footprint
from respeval.loss_probe.plan import ProbePlan
from respeval.loss_probe.probing import ProbeReporter
from respeval.loss_probe.summary import ends, told_of_batches
from respeval.presentation.console.parts import FURTHER, in_parts
from respeval.presentation.console.progress import duration
from respeval.presentation.console.sweep import amount
from respeval.presentation.console.terminal import CommandConsole

#: Seconds between two lines of progress where the output is no terminal.
LINE_INTERVAL_S = 10.0

_AGAIN: dict[Recompute, str] = {
    "nothing": "nothing runs again",
    "blocks": "each block of the network runs again",
    "trajectories": "each trajectory runs again, block by block",
}

Number = float | list[float] | None


class ConsoleProbeReporter(ProbeReporter):
    """Progress on the root by batch: a live bar on a terminal, else a plain line now and then.

    num_dealt_to: groups of processes that batches are dealt to.
    """

    def __init__(self, console: CommandConsole, num_dealt_to: int) -> None:
        self._console, self._num_dealt_to = console, num_dealt_to
        self._progress: Progress | None = None
        self._done = 0

    def planned(self, plan: ProbePlan) -> None:
        """Say what will be probed; start the clock."""
        settings, pairs = plan.settings, plan.pairs
        members = plan.ensemble.num_members
        self._console.print(
            f"arms: {', '.join(str(arm) for arm in settings.arms)}; spectral filters: "
            f"{len(plan.filters)}; batches: {pairs.num_batches} of {pairs.batch_size} pairs from "
            f"{plan.location}; members: {members}"
            + ("" if members > 1 else ", so no score has a spread term"),
            highlight=False,
        )
        spec, file = plan.emulator.spec, settings.loss_config
        left = [v.name for v in spec.outputs if v not in spec.loss_outputs]
        self._console.print(
            f"loss: {settings.weights}"
            + (f", from {file}" if file else "")
            + (f"; without {', '.join(left)}" if left else ""),
            highlight=False,
        )
        # Batches are dealt in turn, so the root's last one is the last but a few of all.
        self._total = -(-pairs.num_batches // self._num_dealt_to)
        self._begin = self._last_line = time.monotonic()
        if self._console.has_bars:
            columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self._progress = Progress(
                "batches", *columns, console=self._console, redirect_stdout=sys.stdout.isatty()
            )
            self._task = self._progress.add_task("", total=self._total)
            self._progress.start()

    def sized(self, footprint: Footprint, recompute: Recompute, free: int) -> None:
        """Say what does not fit into memory and runs again."""
        if recompute != CHOICES[0]:
            needed, whole = footprint.memory(recompute), footprint.memory(CHOICES[0])
            self._console.print(
                f"memory: {amount(needed)}, as {_AGAIN[recompute]} on the way back; to keep all takes "
                f"{amount(whole)}, and {amount(free)} are free",
                highlight=False,
            )

    def probed(self, batch: int) -> None:
        """Count a batch of this process."""
        self._done += 1
        if self._progress is not None:
            self._progress.update(self._task, completed=self._done)
        if time.monotonic() - self._last_line > LINE_INTERVAL_S or self._done == self._total:
            self._last_line = time.monotonic()
            show = self._console.print if self._progress is None else self._console.log_only
            show(f"batch {self._done} of {self._total}", highlight=False)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
        if self._done:
            spent = (time.monotonic() - self._begin) / self._done
            self._console.detail(f"a batch took {spent:.3g} s, all that comes with it included")


def footprint_table(
    plan: ProbePlan, footprint: Footprint, free: int, num_dealt_to: int, chosen: Recompute
) -> Table:
    """What a probe would take, by what runs again on the way back; the chosen way is marked."""
    table = Table(title=f"A probe of {plan.checkpoint} would take", title_justify="left")
    table.add_column("on the way back")
    for heading in ("memory", "time"):
        table.add_column(heading, justify="right")
    table.add_column("")
    rounds = -(-plan.pairs.num_batches // num_dealt_to)
    for recompute in CHOICES:
        needed = footprint.memory(recompute)
        remark = "taken" if recompute == chosen else "" if needed <= free else "does not fit"
        time_ = duration(rounds * footprint.seconds(recompute))
        table.add_row(_AGAIN[recompute], amount(needed), time_, remark)
    return table


#: Rows from summary.json: (what, name, format, whether the interval is shown, which then gives the digits).
_SUMMARY_ROWS = (
    ("loss", "loss", ".4f", False),
    ("gradient RMS, low", "gradient_rms_low", ".2e", False),
    ("gradient RMS, high", "gradient_rms_high", ".2e", False),
    ("low / high ratio", "gradient_low_to_high_ratio", ".1f", True),
    ("rank correlation with l", "gradient_rank_correlation", "+.3f", False),
    ("log-log slope", "gradient_log_slope", "+.2f", True),
)

#: Decimal places at most.
_MOST_DECIMALS = 6

#: Differences from the first arm, as above.
_DIFFERENCE_ROWS = (
    ("ratio, minus first arm", "gradient_low_to_high_ratio", "+.1f", True),
    ("slope, minus first arm", "gradient_log_slope", "+.2f", True),
)

#: Rows from gradient_profile.nc: (what, variable, format), at low and high degrees.
_PROFILE_ROWS = (
    ("signal to noise", "grad_snr", ".2f"),
    ("relative update", "relative_update", ".1e"),
    ("whitening factor", "whitening_factor", ".2f"),
    ("spectral term", "energy_share", ".1%"),
)


def probe_tables(
    summary: Mapping[str, Number], profile: xr.Dataset, title: str, width: int
) -> list[Table]:
    """The probe's statistics as of `probe_table`, as many arms as fit into so many characters in a table."""
    every = [str(arm) for arm in profile["arm"].values]

    def table_of(arms: Sequence[str], further: bool) -> Table:
        some = profile.sel(arm=arms)
        return probe_table(summary, some, title + (FURTHER if further else ""), every)

    return in_parts(every, table_of, width)


def probe_table(
    summary: Mapping[str, Number], profile: xr.Dataset, title: str, every: Sequence[str] = ()
) -> Table:
    """The probe's statistics, one column per arm, with 95 % intervals over batches.

    summary: as in summary.json; profile: as in gradient_profile.nc. every: all arms, of which the table has
    those of the profile; the first is what others differ from.
    """
    arms = [str(arm) for arm in profile["arm"].values]
    every = every or arms
    table = Table(title=title, title_justify="left")
    table.add_column("spectral filters", no_wrap=True)
    for arm in arms:
        heading = arm.replace(":", ":\n").replace(",", ",\n") if len(every) > 3 else arm
        table.add_column(heading, justify="right", no_wrap=True)
    for rows, suffix in ((_SUMMARY_ROWS, ""), (_DIFFERENCE_ROWS, f"_minus_{every[0]}")):
        if suffix and arms == [every[0]]:
            continue
        for what, name, style, sure in rows:
            keys = [f"{arm}/{name}{suffix}" for arm in arms]
            styles = [_style(summary, key, style) if sure else style for key in keys]
            shown = list(zip(keys, styles, strict=True))
            table.add_row(what, *(_value(summary, *each) for each in shown))
            intervals = [_interval(summary, *each) for each in shown]
            if sure and any(intervals):
                table.add_row("  95 % interval", *intervals, style="dim")
        table.add_section()
    for what, cells in _profile_rows(profile):
        table.add_row(what, *cells)
    table.caption, table.caption_justify = told_of_batches(profile.sizes["batch"]), "left"
    return table


def _value(summary: Mapping[str, Number], key: str, style: str) -> str:
    """The number, nothing where the table has no such entry, a dash where it does not exist."""
    value = summary.get(key)
    if key not in summary:
        return ""
    return format(value, style) if isinstance(value, float | int) else "-"


def _interval(summary: Mapping[str, Number], key: str, style: str) -> str:
    edges = summary.get(f"{key}_interval")
    return " to ".join(format(e, style) for e in edges) if isinstance(edges, list) else ""


def _style(summary: Mapping[str, Number], key: str, style: str) -> str:
    """The format of a number with the digits that its interval leaves, where it has one."""
    value, edges = summary.get(key), summary.get(f"{key}_interval")
    if not isinstance(value, float) or not isinstance(edges, list):
        return style
    sign = "+" if style.startswith("+") else ""
    return f"{sign}.{min(_MOST_DECIMALS, decimals_of(value, *edges))}f"


def _profile_rows(profile: xr.Dataset) -> Iterator[tuple[str, list[str]]]:
    """(what, cells of the arms): means over the lowest and the highest eighth of the degrees."""
    for what, name, style in _PROFILE_ROWS:
        values = profile[name]
        if "layer" in values.dims:
            values = values.mean("layer", skipna=False)
        known = values.dropna("degree", how="all")
        for where, part in zip(("low", "high"), ends(known.sizes["degree"]), strict=True):
            some = known.isel(degree=part)
            found = some.sum("degree") if name == "energy_share" else some.mean("degree")
            cells = [format(float(v), style) if v == v else "-" for v in found.values]
            yield f"{what}, {where}", cells
