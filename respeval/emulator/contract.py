"""What an emulator is to the rest of respeval: its names, its grid, its needs, and one step.

A reader in `checkpoints/` turns a file into an object with the `Emulator` protocol; the bundled
planet does so without a file. Fields travel stacked, [member, variable, lat, lon], in the order that
the `EmulatorSpec` states.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from respeval.emulator.noise import NoiseSource
from respeval.fields.grid import FloatArray, Grid
from respeval.fields.variables import DerivedForcing, HybridLevels, Roles, Variable

if TYPE_CHECKING:
    import torch


#: Numbers that a network may be asked to compute in; see `respeval.emulator.computing`.
Precision = Literal["float32", "tf32", "bfloat16"]

#: Emulators prescribe surface temperature where ocean fraction is strictly above this.
OCEAN_CUTOFF = 0.5


@dataclass(frozen=True)
class EmulatorSpec:
    """Everything about an emulator that can be known without running it.

    prognostic: variables of the state; outputs that are inputs of the next step.
    diagnostic: further outputs.
    forcing: variables that are read from the forcing at the start of a step.
    surface_temperature: the variable that an SST perturbation changes; it is prescribed over ocean
        where it is prognostic, and plain input where it is in `forcing`.
    interpolates_sst: whether prescribing is weighted with ocean fraction, rather than done where it
        is above `OCEAN_CUTOFF`; SST is then read everywhere.
    ocean_fraction, land_fraction: forcing variables that tell ocean and land, fractions of 1.
    derived_forcing: those of `required_forcing` that no file has to hold.
    forcing_at_end: those of `forcing` that at a step's end go with its outputs, as means over the step
        do that are labelled by its end; the others go with them at its start.
    calendar: of the training data; None where the checkpoint does not say it.
    normalization: variable -> (mean, scale), both in the variable's units; a mean may be a field
        [lat, lon].
    loss_normalization: the same for the outputs that the training's loss scores, where it has units
        of its own or leaves outputs out; empty: every output, in those of `normalization`.
    num_noise_channels: 0 for a deterministic emulator.
    hybrid_levels: how the layers of `roles.column_temperature` lie, where the checkpoint says it.
    description: what else the checkpoint says of itself, for people to read, by heading.
    """

    architecture: str
    grid: Grid
    timestep_s: int
    calendar: str | None
    prognostic: tuple[Variable, ...]
    diagnostic: tuple[Variable, ...]
    forcing: tuple[Variable, ...]
    surface_temperature: str | None
    ocean_fraction: str | None
    land_fraction: str | None = None
    roles: Roles = Roles()
    normalization: Mapping[str, tuple[float | FloatArray, float]] = field(default_factory=dict)
    loss_normalization: Mapping[str, tuple[float | FloatArray, float]] = field(default_factory=dict)
    num_noise_channels: int = 0
    precision: Literal["float32", "float64"] = "float32"
    levels_hPa: tuple[float, ...] = ()
    hybrid_levels: HybridLevels | None = None
    interpolates_sst: bool = False
    derived_forcing: tuple[DerivedForcing, ...] = ()
    forcing_at_end: tuple[str, ...] = ()
    description: Mapping[str, str] = field(default_factory=dict)

    @property
    def outputs(self) -> tuple[Variable, ...]:
        """Every output in the order of the emulator's result: prognostic, then diagnostic."""
        return self.prognostic + self.diagnostic

    @property
    def loss_outputs(self) -> tuple[Variable, ...]:
        """The outputs that the training's loss scores, in the order of `outputs`."""
        scored = self.loss_normalization
        return tuple(v for v in self.outputs if not scored or v.name in scored)

    @property
    def prescribes_sst(self) -> bool:
        """Whether surface temperature is part of the state and replaced over ocean at every step."""
        return self.surface_temperature in [variable.name for variable in self.prognostic]

    @property
    def required_forcing(self) -> tuple[str, ...]:
        """Names to read from the forcing, in the order in which `Emulator.step` gets them."""
        names = [variable.name for variable in self.forcing]
        for name in (self.surface_temperature, self.ocean_fraction):
            if name is not None and name not in names:
                names.append(name)
        return tuple(names)

    @property
    def files_forcing(self) -> tuple[str, ...]:
        """Names that the forcing's files must hold for `required_forcing`."""
        derived = {entry.name: entry.needs for entry in self.derived_forcing}
        names: list[str] = []
        for name in self.required_forcing:
            names.extend(n for n in derived.get(name, (name,)) if n not in names)
        return tuple(names)

    @property
    def units(self) -> Mapping[str, str]:
        """Every variable's units, those too that files hold; empty where the checkpoint has none."""
        named = {variable.name: variable.units for variable in self.outputs + self.forcing}
        fractions = [name for name in (self.ocean_fraction, self.land_fraction) if name]
        return {**named, **dict.fromkeys(fractions, "1")}

    def variable(self, name: str) -> Variable:
        """The variable of this name. Raises KeyError where the emulator has none."""
        for candidate in self.outputs + self.forcing:
            if candidate.name == name:
                return candidate
        raise KeyError(name)


class Emulator(Protocol):
    """A model that can be stepped. The caller owns gradient mode, precision of matmuls and seed.

    An emulator may have more: `companions`, paths of files that belong to its checkpoint; `network`,
    the torch module that its steps call, or a ModuleList of those, to run in bfloat16 or compiled. To be
    probed it is a torch module; where its modules lost their classes, `module_classes` has them, path
    -> (defining module, class), and `probe_hint` says how a checkpoint that can't be probed becomes
    one that can.

    One that can be split over processes has `most_parts`, the most parts in latitude and in longitude,
    and `localize(mesh)`, which makes it one, in place and before `to`, whose fields are this process's
    block (`Mesh.tile`); its spec stays that of the whole globe. `split_hindrance` says why another
    can't be.
    """

    @property
    def spec(self) -> EmulatorSpec: ...

    def to(self, device: torch.device) -> Emulator:
        """The emulator with its tensors on `device`; may be the same object."""
        ...

    def prescribe(
        self, surface_temperature: torch.Tensor, next_forcing: torch.Tensor
    ) -> torch.Tensor:
        """Surface temperature [member, lat, lon] with the ocean's replaced from `next_forcing`."""
        ...

    def conserve(
        self, state: torch.Tensor, forcing: torch.Tensor, next_forcing: torch.Tensor
    ) -> torch.Tensor | None:
        """Numbers of each initial state that all its steps need, [member, number]; usually None.

        An emulator that holds a global total at its initial value, such as the mass of dry air, says
        it here. Arguments as in `step`, at the first step.
        """
        ...

    def step(
        self,
        state: torch.Tensor,
        forcing: torch.Tensor,
        next_forcing: torch.Tensor,
        noise: NoiseSource,
        conserved: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """One time step.

        state: [member, prognostic, lat, lon] at time t, physical units.
        forcing, next_forcing: [member, required_forcing, lat, lon] at t and at t + timestep.
        conserved: what `conserve` said of the initial states; None where `state` is initial itself.
        Returns outputs [member, output, lat, lon] at t + timestep, physical units; the first
        `len(spec.prognostic)` of them are the next state. Arguments are not changed.
        """
        ...
