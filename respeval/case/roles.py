"""Which variable plays which part: what the checkpoint says, with the case's words on top."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from respeval.case.case import Case
from respeval.diagnostics import NAMED_IN_ROLES, DiagnosticSettings
from respeval.emulator.contract import EmulatorSpec
from respeval.errors import InputError
from respeval.fields.variables import Roles


def merge_roles(spec: EmulatorSpec, case: Case) -> Roles:
    """The checkpoint's roles with the case's on top.

    Raises InputError where the case names an output that the emulator does not have.
    """
    given = case.roles
    changes: dict[str, Any] = {
        name: getattr(given, name)
        for name in (role.name for role in fields(Roles))
        if getattr(given, name) is not None
    }
    column = changes.pop("column_temperature", None)
    if column is not None:
        changes["column_temperature"] = tuple(column)
    roles = replace(spec.roles, **changes)
    outputs = [variable.name for variable in spec.outputs]
    quantities = {name: getattr(given, name) for name in NAMED_IN_ROLES if getattr(given, name)}
    for role, value in {**changes, **quantities}.items():
        named = value if role == "column_temperature" else (value,)
        for name in named:
            if name not in outputs:
                raise InputError(
                    f"roles.{role} names {name!r}, which is no output of the emulator (outputs: "
                    f"{', '.join(outputs)})"
                )
    return roles


def settings_of(
    case: Case, roles: Roles, levels_hPa: Sequence[float], surface_temperature: str | None = None
) -> DiagnosticSettings:
    """What the diagnostics of a run are asked for."""
    known = tuple(levels_hPa) if len(levels_hPa) == len(roles.column_temperature) else ()
    named = {quantity: getattr(case.roles, quantity) for quantity in NAMED_IN_ROLES}
    return DiagnosticSettings(
        roles,
        case.bands,
        case.tropical_lat_max,
        known,
        {quantity: name for quantity, name in named.items() if name is not None},
        case.amplitudes_K,
        surface_temperature,
        case.sst_boxes,
    )
