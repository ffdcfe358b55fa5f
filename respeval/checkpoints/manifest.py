"""The manifest of a network: its variables by role, units, grid, time step and normalization."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from respeval.emulator.contract import EmulatorSpec
from respeval.errors import InputError
from respeval.fields.calendar import canonical_calendar
from respeval.fields.grid import FloatArray, Grid, GridKind
from respeval.fields.variables import Roles, Variable
from respeval.files.text import parse_json


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class GridSettings(Frozen):
    kind: GridKind
    latitude: list[float]
    longitude: list[float]


#: Most cells of a grid, some 5 km wide: larger ones are a mistake or a trap.
MAX_CELLS = 2**25

#: A year is the longest step.
_MAX_TIMESTEP_S = 366 * 86_400

#: What the files of a run call other things, and what they add to a variable's name.
_TAKEN_LIST = (
    "time lat lon bnds sample group surface area count count_zonal area_weight "
    "mean_ocean_fraction ocean_mask land_mask start_date perturbation band level"
)
_TAKEN = frozenset(_TAKEN_LIST.split())
_ENDINGS = ("_bnds", "_zonal", "_members", "_stderr", "_pvalue")


def _check_name(name: str) -> str:
    """A name that a netCDF variable can have."""
    if (
        not re.fullmatch(r"[^\W\d][^/]{0,200}", name)
        or not name.isprintable()
        or name != name.strip()
    ):
        raise ValueError(f"{name[:60]!r} can't name a variable of a netCDF file")
    return name


def _check_text(text: str) -> str:
    """Text that a netCDF attribute can have."""
    if not text.isprintable():
        raise ValueError("expected one line of text")
    return text


Name = Annotated[str, AfterValidator(_check_name)]
Text = Annotated[str, Field(max_length=2000), AfterValidator(_check_text)]


class VariableSettings(Frozen):
    name: Name
    units: Text
    long_name: Text


class Normalization(Frozen):
    """(x - mean) / scale; a residual prediction is multiplied by `residual_scale`."""

    mean: float
    scale: Annotated[float, Field(gt=0)]
    residual_scale: Annotated[float, Field(gt=0)] | None = None


class RoleSettings(Frozen):
    """The fields of `Roles`, as JSON has them."""

    near_surface_temperature: str | None = None
    column_temperature: list[str] = []
    surface_level: str | None = None
    upper_level: str | None = None

    def roles(self) -> Roles:
        """The roles for an emulator's spec."""
        return Roles(**{**self.model_dump(), "column_temperature": tuple(self.column_temperature)})


class ModelManifest(Frozen):
    """What a network's checkpoint says of it, whatever the network is.

    split_surface_temperature: ocean and land surface temperature enter as two channels.
    levels_hPa: nominal pressure of `roles.column_temperature`.
    training: how the weights were made, free text by key.
    """

    grid: GridSettings
    timestep_s: Annotated[int, Field(ge=1, le=_MAX_TIMESTEP_S)]
    calendar: str
    prognostic: Annotated[list[VariableSettings], Field(min_length=1)]
    diagnostic: list[VariableSettings] = []
    forcing: list[VariableSettings] = []
    surface_temperature: str | None = None
    ocean_fraction: str | None = None
    land_fraction: str | None = None
    roles: RoleSettings = RoleSettings()
    normalization: dict[str, Normalization]
    split_surface_temperature: bool = False
    prediction: Literal["full", "residual"]
    num_noise_channels: Annotated[int, Field(ge=0, le=10_000)] = 0
    levels_hPa: list[float] = []
    training: dict[str, str | float | int] = {}

    @model_validator(mode="after")
    def _check_names(self) -> ModelManifest:
        names = [v.name for v in self.prognostic + self.diagnostic + self.forcing]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"variables named twice: {', '.join(twice)}")
        outputs = [v.name for v in self.prognostic + self.diagnostic]
        taken = [name for name in outputs if name in _TAKEN or name.endswith(_ENDINGS)]
        if taken:
            raise ValueError(f"{taken[0]!r} is what a run's files call something else; rename it")
        if len(self.grid.latitude) * len(self.grid.longitude) > MAX_CELLS:
            raise ValueError(f"the grid has more than {MAX_CELLS:,} cells")
        missing = [name for name in names if name not in self.normalization]
        if missing:
            raise ValueError(f"normalization lacks {', '.join(missing)}")
        if self.prediction == "residual":
            for variable in self.prognostic:
                if self.normalization[variable.name].residual_scale is None:
                    raise ValueError(f"normalization of {variable.name} lacks residual_scale")
        if (self.surface_temperature is None) != (self.ocean_fraction is None):
            raise ValueError("surface_temperature and ocean_fraction must be named together")
        canonical_calendar(self.calendar)
        self._check_roles()
        unknown = [name for name in self.climatology_names() if name not in names]
        if unknown:
            raise ValueError(f"climatology names unknown variables: {', '.join(unknown)}")
        if self.split_surface_temperature:
            forcing = [v.name for v in self.forcing]
            if self.surface_temperature not in names or self.ocean_fraction not in forcing:
                raise ValueError(
                    "split_surface_temperature needs surface_temperature among the variables and "
                    "ocean_fraction in forcing"
                )
        return self

    def _check_roles(self) -> None:
        outputs = [v.name for v in self.prognostic + self.diagnostic]
        roles = self.roles
        named = [roles.near_surface_temperature, roles.surface_level, roles.upper_level]
        for name in [*roles.column_temperature, *(name for name in named if name is not None)]:
            if name not in outputs:
                raise ValueError(f"roles name {name!r}, which is no output")
        if self.levels_hPa and len(self.levels_hPa) != len(roles.column_temperature):
            raise ValueError("levels_hPa needs one pressure for each of roles.column_temperature")

    def architecture_name(self) -> str:
        """What `EmulatorSpec.architecture` says."""
        raise NotImplementedError

    def climatology_names(self) -> Iterable[str]:
        """Variables whose mean is a field."""
        raise NotImplementedError

    def climatology_field(self, name: str) -> FloatArray | None:
        """A variable's mean [lat, lon], in its units; None where it is kept with the weights."""
        return None

    def num_network_inputs(self) -> int:
        """Channels that the network gets: prognostic, forcing, the second surface, noise."""
        surfaces = int(self.split_surface_temperature)
        return len(self.prognostic) + len(self.forcing) + surfaces + self.num_noise_channels

    def num_network_outputs(self) -> int:
        """Channels that the network gives: prognostic, diagnostic."""
        return len(self.prognostic) + len(self.diagnostic)

    def spec(self) -> EmulatorSpec:
        """The emulator's description. Raises ValueError where the grid is none."""
        grid = Grid(self.grid.latitude, self.grid.longitude, self.grid.kind)  # type: ignore[arg-type]
        return EmulatorSpec(
            architecture=self.architecture_name(),
            grid=grid,
            timestep_s=self.timestep_s,
            calendar=self.calendar,
            prognostic=_variables(self.prognostic),
            diagnostic=_variables(self.diagnostic),
            forcing=_variables(self.forcing),
            surface_temperature=self.surface_temperature,
            ocean_fraction=self.ocean_fraction,
            land_fraction=self.land_fraction,
            roles=self.roles.roles(),
            normalization={k: (v.mean, v.scale) for k, v in self.normalization.items()},
            num_noise_channels=self.num_noise_channels,
            levels_hPa=tuple(self.levels_hPa),
        )


def _variables(settings: list[VariableSettings]) -> tuple[Variable, ...]:
    return tuple(Variable(v.name, v.units, v.long_name) for v in settings)


M = TypeVar("M", bound=ModelManifest)


def parse_manifest(kind: type[M], text: object, path: Path) -> M:
    """The manifest of a checkpoint, JSON. Raises InputError with the faulty entry's name."""
    if not isinstance(text, str):
        raise InputError(f"{path} has no manifest (JSON text)")
    try:
        return kind.model_validate(parse_json(text))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "manifest"
        message = str(first["msg"]).removeprefix("Value error, ")
        raise InputError(f"{path}: manifest entry {where}: {message}") from None
    except ValueError as error:
        raise InputError(f"{path}: its manifest is no JSON ({error})") from None
