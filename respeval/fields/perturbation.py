"""Changes of the sea-surface temperature: how they are written, and pure functions on fields.

A perturbation is a pattern in K, [lat, lon], on the emulator's grid. It is added where the ocean
fraction lies strictly above the cutoff, to copies. Another kind is one more class here, and its place
in `Perturbation`: it says how it is written, what it is, and makes its pattern.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args

import numpy as np
from pydantic import BaseModel, Field

from respeval.errors import InputError
from respeval.fields.fractions import is_above
from respeval.fields.grid import FloatArray, Grid
from respeval.files.settings import STRICT

if TYPE_CHECKING:
    import torch

    from respeval.fields.notices import Notices

#: The group whose SST is left as it is; its place among the groups is always the first.
BASELINE = "baseline"

Scope = Literal["ocean", "field", "none"]

Longitude = Annotated[float, Field(ge=-360, le=720)]
Latitude = Annotated[float, Field(ge=-90, le=90)]

#: A change of SST, K; a whole width, degrees.
_Amplitude = Annotated[float, Field(description="Change of SST, K.")]
_Width = Annotated[float, Field(gt=0, le=360, description="Full width, degrees.")]


class SstPerturbation(BaseModel):
    """A change of SST, as the case file has it; `type` says which.

    usage: what follows `LABEL=` on the command line. first: the key of what stands there first.
    """

    model_config = STRICT
    usage: ClassVar[str]
    first: ClassVar[str] = "amplitude_K"

    @property
    def uniform_K(self) -> float | None:
        """The change, where it is the same everywhere over the ocean."""
        return None

    @abstractmethod
    def pattern(self, grid: Grid, notices: Notices | None = None) -> FloatArray:
        """The change everywhere, [lat, lon], K. Raises InputError where it can't be had.

        notices: what is noticed in a file that it is read from is told there.
        """


class UniformPerturbation(SstPerturbation):
    """The same change of SST everywhere over the ocean."""

    usage: ClassVar[str] = "uniform:KELVIN"

    type: Literal["uniform"] = "uniform"
    amplitude_K: _Amplitude

    def __str__(self) -> str:
        return f"uniform {self.amplitude_K:g} K"

    @property
    def uniform_K(self) -> float:
        """See `SstPerturbation`."""
        return self.amplitude_K

    def pattern(self, grid: Grid, notices: Notices | None = None) -> FloatArray:
        """See `SstPerturbation`."""
        return uniform_pattern(grid, self.amplitude_K)


class PatchPerturbation(SstPerturbation):
    """A cosine-squared patch of SST change; widths are full widths in degrees."""

    usage: ClassVar[str] = "patch:KELVIN,lat_center=…,lon_center=…,lat_width=…,lon_width=…"

    type: Literal["patch"] = "patch"
    amplitude_K: _Amplitude
    lat_center: Latitude
    lon_center: Longitude
    lat_width: _Width
    lon_width: _Width

    def __str__(self) -> str:
        return "patch"

    def pattern(self, grid: Grid, notices: Notices | None = None) -> FloatArray:
        """See `SstPerturbation`."""
        return patch_pattern(grid, **self.model_dump(exclude={"type"}))


class PatternPerturbation(SstPerturbation):
    """A field of SST change from a file, times `scale`."""

    usage: ClassVar[str] = "pattern:FILE,variable=NAME[,scale=…]"
    first: ClassVar[str] = "file"

    type: Literal["pattern"] = "pattern"
    file: str
    variable: str
    scale: float = 1.0

    def __str__(self) -> str:
        return "pattern"

    def pattern(self, grid: Grid, notices: Notices | None = None) -> FloatArray:
        """See `SstPerturbation`."""
        from respeval.fields.records import read_pattern

        return self.scale * read_pattern(self.file, self.variable, grid, notices)


Perturbation = Annotated[
    UniformPerturbation | PatchPerturbation | PatternPerturbation, Field(discriminator="type")
]

#: `type` -> the class.
PERTURBATIONS: dict[str, type[SstPerturbation]] = {
    kind.model_fields["type"].default: kind for kind in get_args(get_args(Perturbation)[0])
}


def usages() -> str:
    """How every kind is written on the command line: `LABEL=…, LABEL=… or LABEL=…`."""
    *others, last = (f"LABEL={kind.usage}" for kind in PERTURBATIONS.values())
    return f"{', '.join(others)} or {last}"


def parse_perturbation(text: str, flag: str = "--perturb") -> tuple[str, dict[str, Any]]:
    """`LABEL=uniform:4`, `LABEL=patch:2,lat_center=0,…` or `LABEL=pattern:FILE,variable=NAME`.

    Returns the label and the entry of the case file. Raises InputError for anything else.
    """
    label, separator, rest = text.partition("=")
    kind, _, options = rest.partition(":")
    if not separator or kind not in PERTURBATIONS:
        raise InputError(f"{flag} {text!r}: expected {usages()}")
    entry: dict[str, Any] = {"type": kind}
    for i, part in enumerate(options.split(",")):
        name, separator, value = part.partition("=")
        if not separator:
            name, value = PERTURBATIONS[kind].first, part
            if i > 0:
                raise InputError(f"{flag} {text!r}: expected NAME=VALUE, got {part!r}")
        if name.strip() in entry:
            raise InputError(f"{flag} {text!r}: {name.strip()} is given twice")
        entry[name.strip()] = value.strip()
    return label, entry


def uniform_pattern(grid: Grid, amplitude_K: float) -> FloatArray:
    """The same change everywhere, [lat, lon], K."""
    return np.full(grid.shape, float(amplitude_K))


def patch_pattern(
    grid: Grid,
    amplitude_K: float,
    lat_center: float,
    lon_center: float,
    lat_width: float,
    lon_width: float,
) -> FloatArray:
    """A cosine-squared patch, [lat, lon], K: Bloch-Johnson et al. (2024), eq. 1.

    A·cos²(π/2·Δlat/(lat_width/2))·cos²(π/2·Δlon/(lon_width/2)) inside the box, zero outside. Widths
    are full widths in degrees; longitude differences are taken the short way around.
    """
    distance_lat = (grid.latitude - lat_center) / (lat_width / 2)
    wrapped = (grid.longitude - lon_center + 180.0) % 360.0 - 180.0
    distance_lon = wrapped / (lon_width / 2)
    return amplitude_K * np.outer(_bump(distance_lat), _bump(distance_lon))


def _bump(distance: FloatArray) -> FloatArray:
    return np.where(np.abs(distance) <= 1.0, np.cos(0.5 * np.pi * distance) ** 2, 0.0)


def perturb_over_ocean(
    surface_temperature: torch.Tensor,
    ocean_fraction: torch.Tensor,
    pattern: torch.Tensor,
    cutoff: float,
) -> torch.Tensor:
    """Surface temperature plus the pattern where ocean fraction > cutoff (strictly), a new tensor.

    surface_temperature, ocean_fraction: [..., lat, lon], K and 1.
    pattern: broadcastable to them, K; a NaN over land does not reach the result.
    """
    changed = surface_temperature + pattern.to(surface_temperature)
    return changed.where(is_above(ocean_fraction, cutoff), surface_temperature)


def perturb_initial(
    surface_temperature: torch.Tensor,
    ocean_fraction: torch.Tensor,
    pattern: torch.Tensor,
    cutoff: float,
    scope: Scope,
) -> torch.Tensor:
    """A prognostic surface temperature at the start of a perturbed climate, a new tensor.

    scope: `ocean` changes what `perturb_over_ocean` changes, `field` adds the pattern to land too,
    `none` leaves the initial condition as it is. Shapes and units as in `perturb_over_ocean`.
    """
    if scope == "none":
        return surface_temperature.clone()
    if scope == "field":
        return surface_temperature + pattern.to(surface_temperature)
    return perturb_over_ocean(surface_temperature, ocean_fraction, pattern, cutoff)
