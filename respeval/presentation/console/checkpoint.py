"""Tables of what is in a checkpoint, and what data it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import RenderableType

    from respeval.emulator.contract import Emulator, EmulatorSpec


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
    return [*parts, _needs_table(spec)]


def _needs_table(spec: EmulatorSpec) -> Table:
    """The data that a run needs."""
    initial = ", ".join(variable.name for variable in spec.prognostic)
    table = Table(
        title="A run needs", title_justify="left", box=None, show_header=False, padding=(0, 0, 0, 2)
    )
    table.add_row("initial_condition:", initial)
    table.add_row("", "dimensions (sample, lat, lon), time(sample)")
    table.add_row("forcing:", ", ".join(spec.files_forcing))
    table.add_row(
        "",
        f"dimensions (time, lat, lon), every {spec.timestep_s / 3600:g} h, from the initial condition's "
        "date to the end of the last step",
    )
    return table


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
    table.add_row("split over processes", _told_of_split(emulator))
    for heading, text in spec.description.items():
        table.add_row(heading, text)
    return table


def _told_of_split(emulator: Emulator) -> str:
    from respeval.emulator.splitting import check_split, most_parts
    from respeval.errors import InputError

    most = most_parts(emulator)
    if most is not None:
        return (
            f"at most {most[0]}x{most[1]} parts (--spatial): rows and degrees, columns and orders"
        )
    try:
        check_split(emulator, 2, 1, "it")
    except InputError as error:
        return str(error).partition(";")[0]
    return "yes"


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
    for heading in ("role", "name", "units"):
        table.add_column(heading, no_wrap=True)
    table.add_column("long name")
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
