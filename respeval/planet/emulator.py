"""The planet itself as an `Emulator`: no learning, and a response that is known in closed form."""

from __future__ import annotations

import torch

from respeval.distributed.mesh import Mesh
from respeval.emulator.contract import OCEAN_CUTOFF, EmulatorSpec
from respeval.emulator.noise import NoiseSource
from respeval.fields.fractions import is_above
from respeval.fields.grid import Grid
from respeval.planet.climate import (
    FLUXES,
    FORCING,
    LEVELS_HPA,
    PROGNOSTIC,
    ROLES,
    SURFACE,
    VARIABLES,
    Climate,
)
from respeval.planet.weather import NUM_CHANNELS, Weather

TIMESTEP_S = 86400
CALENDAR = "noleap"
LAND_MEMORY_DAYS = 15.0
LAND_FEELS_WEATHER = 0.5


def planet_spec(grid: Grid) -> EmulatorSpec:
    """The planet's description as an emulator on this grid."""
    return EmulatorSpec(
        architecture="planet",
        grid=grid,
        timestep_s=TIMESTEP_S,
        calendar=CALENDAR,
        prognostic=tuple(VARIABLES[name] for name in PROGNOSTIC),
        diagnostic=tuple(VARIABLES[name] for name in FLUXES),
        forcing=tuple(VARIABLES[name] for name in FORCING),
        surface_temperature=SURFACE,
        ocean_fraction="ocean_fraction",
        land_fraction="land_fraction",
        roles=ROLES,
        num_noise_channels=NUM_CHANNELS,
        precision="float64",
        levels_hPa=LEVELS_HPA,
    )


class PlanetEmulator:
    """One day of the planet: the atmosphere's distance from equilibrium decays and is kicked.

    x' = E + P (x - E) + noise, where the equilibrium E belongs to the surface and the insolation at
    the start of the step. The land's temperature relaxes to its own equilibrium. It is Markov in its
    outputs, and linear in everything but the prescribed SST.
    """

    def __init__(self, grid: Grid | None = None, device: torch.device | None = None) -> None:
        self.spec = planet_spec(grid or Grid.legendre_gauss(24, 48))
        self.climate = Climate(self.spec.grid, device)
        self.weather = Weather(self.spec.grid, device)
        self._at = {name: i for i, name in enumerate(self.spec.required_forcing)}
        self._mesh = Mesh()

    def to(self, device: torch.device) -> PlanetEmulator:
        """The planet with its tensors on `device`."""
        planet = PlanetEmulator(self.spec.grid, device)
        planet.localize(self._mesh)
        return planet

    @property
    def most_parts(self) -> tuple[int, int]:
        """See `Emulator`; its transforms have as many degrees as orders."""
        grid, degrees = self.spec.grid, self.weather.num_degrees
        return min(grid.num_lat, degrees), min(grid.num_lon, degrees)

    def localize(self, mesh: Mesh) -> None:
        """See `Emulator`."""
        if mesh.is_split:
            self._mesh = mesh
            self.climate.localize(mesh)
            self.weather.localize(mesh)

    def prescribe(
        self, surface_temperature: torch.Tensor, next_forcing: torch.Tensor
    ) -> torch.Tensor:
        """See `Emulator.prescribe`."""
        ocean = is_above(next_forcing[:, self._at["ocean_fraction"]], OCEAN_CUTOFF)
        return torch.where(ocean, next_forcing[:, self._at[SURFACE]], surface_temperature)

    def conserve(
        self, state: torch.Tensor, forcing: torch.Tensor, next_forcing: torch.Tensor
    ) -> torch.Tensor | None:
        """None: a step needs nothing of the initial state; see `Emulator.conserve`."""
        return None

    def step(
        self,
        state: torch.Tensor,
        forcing: torch.Tensor,
        next_forcing: torch.Tensor,
        noise: NoiseSource,
        conserved: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """See `Emulator.step`; one draw of `weather.noise_shape` per step."""
        kick = self.weather.innovation(noise.normal(*self.weather.noise_shape))
        return self.advance(state, forcing, next_forcing, kick)

    def advance(
        self,
        state: torch.Tensor,
        forcing: torch.Tensor,
        next_forcing: torch.Tensor,
        kick: torch.Tensor | float,
    ) -> torch.Tensor:
        """`step` with the noise of the day given, [member, 9, lat, lon] of unit variance, or 0."""
        climate = self.climate
        atmosphere, surface = state[:, :-1].double(), state[:, -1].double()
        toward = climate.equilibrium(surface, forcing[:, self._at["DSWRFtoa"]].double())
        amplitude = climate.weather_amplitude
        weather = (atmosphere - toward.atmosphere) / amplitude
        atmosphere = toward.atmosphere + amplitude * (self.weather.relax(weather) + kick)
        near_ground = weather[:, 7] * amplitude[7]
        pull = toward.land_surface + LAND_FEELS_WEATHER * near_ground - surface
        land = surface + pull / LAND_MEMORY_DAYS
        surface = self.prescribe(land, next_forcing.double())
        return climate.outputs(atmosphere, surface, toward)
