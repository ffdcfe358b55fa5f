"""What a field is called, and which part it plays: variables, roles, levels, derived forcing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from respeval.fields.grid import FloatArray

if TYPE_CHECKING:
    import cftime


@dataclass(frozen=True)
class Variable:
    """A field's name in files and its description: units as CF writes them, a long name."""

    name: str
    units: str
    long_name: str


@dataclass(frozen=True)
class DerivedForcing:
    """A forcing that is computed from the date instead of being read, such as insolation.

    name: as the emulator calls it; needs: variables to read for it.
    compute: dates [time] and fields of `needs`, each [time, lat, lon] -> field [time, lat, lon].
    """

    name: str
    needs: tuple[str, ...]
    compute: Callable[[Sequence[cftime.datetime], Mapping[str, FloatArray]], FloatArray]


#: Parts that variables of the forcing play; the case may say what files call them.
FORCING_ROLES = ("surface_temperature", "ocean_fraction", "land_fraction")


@dataclass(frozen=True)
class Roles:
    """Which variables the diagnostics read; None or empty where the emulator has no such variable.

    near_surface_temperature: land and ocean warming.
    column_temperature: temperature levels, top to surface.
    surface_level, upper_level: the two levels of the vertical warming ratio.
    """

    near_surface_temperature: str | None = None
    column_temperature: tuple[str, ...] = ()
    surface_level: str | None = None
    upper_level: str | None = None


@dataclass(frozen=True)
class HybridLevels:
    """Edges of the model's layers, top to surface: the pressure there is ap + b·ps.

    ap_Pa, b: [layer + 1]; ps is the pressure at the surface.
    """

    ap_Pa: tuple[float, ...]
    b: tuple[float, ...]
