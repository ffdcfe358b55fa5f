"""The planet's equilibrium: which state the weather relaxes to under a surface and an insolation.

Everything nonlinear is a function of the prescribed SST alone, and the land's temperature and the
weather enter linearly. So the time mean of the state is the equilibrium averaged over the forcing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from respeval.distributed.mesh import Mesh
from respeval.fields.grid import FloatArray, Grid
from respeval.fields.variables import Roles, Variable
from respeval.planet.geography import Geography
from respeval.planet.insolation import DAYS_PER_YEAR, annual_mean_insolation, daily_insolation
from respeval.planet.sea import annual_mean_sst
from respeval.planet.thermodynamics import (
    HEAT_CAPACITY,
    LATENT_HEAT,
    moist_adiabat,
    saturation_humidity,
)
from respeval.planet.weather import Smoother, finest_radius

LEVELS_HPA = (25.0, 95.0, 230.0, 360.0, 520.0, 680.0, 850.0, 960.0)
TEMPERATURES = tuple(f"air_temperature_{level}" for level in range(len(LEVELS_HPA)))
HUMIDITY = "specific_total_water_7"
SURFACE = "surface_temperature"
FLUXES = ("PRATEsfc", "ULWRFtoa", "USWRFtoa")
FORCING = ("ocean_fraction", "land_fraction", "DSWRFtoa")

VARIABLES = {
    name: Variable(name, "K", f"air temperature at about {pressure:g} hPa")
    for name, pressure in zip(TEMPERATURES, LEVELS_HPA, strict=True)
} | {
    variable.name: variable
    for variable in (
        Variable(HUMIDITY, "kg/kg", f"specific total water at about {LEVELS_HPA[-1]:g} hPa"),
        Variable(SURFACE, "K", "surface temperature"),
        Variable("PRATEsfc", "kg/m**2/s", "precipitation rate"),
        Variable("ULWRFtoa", "W/m**2", "upward longwave flux at the top of the atmosphere"),
        Variable("USWRFtoa", "W/m**2", "upward shortwave flux at the top of the atmosphere"),
        Variable("ocean_fraction", "1", "share of the cell that is ocean"),
        Variable("land_fraction", "1", "share of the cell that is land"),
        Variable("DSWRFtoa", "W/m**2", "downward shortwave flux at the top of the atmosphere"),
    )
}
PROGNOSTIC = (*TEMPERATURES, HUMIDITY, SURFACE)
ROLES = Roles(TEMPERATURES[-1], TEMPERATURES, TEMPERATURES[-1], TEMPERATURES[2])

RELATIVE_HUMIDITY = 0.8
OCEAN_INFLUENCE_DEGREES = 12.0
TROPICS_DEGREES = 25.0
LAPSE_RATE = 6.0e-3  # K/m
SCALE_HEIGHT = 7600.0  # m
#: Share of each level's equilibrium that is the surface below, and that is the troposphere's.
LOCAL_SHARE = (0.0, 0.0, 0.0, 0.0, 0.05, 0.2, 0.5, 0.9)
TROPOSPHERE_IN_TROPICS = (0.0, 0.0, 0.78, 1.0, 1.0, 1.0, 1.0, 1.0)
TROPOSPHERE_POLEWARD = (0.0, 0.0, 0.3, 0.8, 1.0, 1.0, 1.0, 1.0)
STRATOSPHERE_K = (222.0, 208.0, 216.0, 220.0, 220.0, 220.0, 220.0, 220.0)
STRATOSPHERE_SEASON = (0.03, 0.02, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)  # K per W/m**2
LAND_SEASON = 0.055  # K per W/m**2
OUTGOING_BY_LEVEL = (0.0, 0.0, 0.10, 0.20, 0.25, 0.25, 0.25, 0.25)  # W/m**2/K
WEATHER_K = (1.2, 1.2, 1.6, 1.8, 1.8, 1.7, 1.8, 2.0)


@dataclass(frozen=True, eq=False)
class Equilibrium:
    """What the state relaxes to.

    atmosphere: [member, 9, lat, lon], temperature levels (K) and humidity (kg/kg).
    land_surface: [member, lat, lon], K, of land alone; what it is over ocean has no meaning.
    precipitation: [member, lat, lon], kg/m**2/s.
    shortwave: [member, lat, lon], upward at the top, W/m**2.
    """

    atmosphere: torch.Tensor
    land_surface: torch.Tensor
    precipitation: torch.Tensor
    shortwave: torch.Tensor


class Climate:
    """Equilibria on one grid, in float64. Fields are [member, lat, lon] unless said otherwise."""

    def __init__(self, grid: Grid, device: torch.device | None = None) -> None:
        self.grid = grid
        self.geography = Geography.on(grid)
        self._device = device
        self._adiabat_base, self._adiabat = self._make_adiabats()
        self.ocean = torch.as_tensor(self.geography.ocean, device=device)
        finest = finest_radius(grid)
        self._near = Smoother(grid, max(OCEAN_INFLUENCE_DEGREES, finest), device)
        self._wide = Smoother(grid, max(TROPICS_DEGREES, finest), device)
        warm = np.exp(-0.5 * (grid.latitude / 12.0) ** 2)[:, None]
        self._ocean = self.ocean.to(torch.float64)
        self._warm_ocean = self._ocean * self._map(warm)
        self._near_ocean = self._near(self._ocean)
        self._wide_ocean = self._wide(self._warm_ocean)
        poleward = np.abs(grid.latitude)[:, None]
        self._tropical = self._map(1.0 / (1.0 + np.exp((poleward - 30.0) / 4.0)))
        self._humidity_ratio = self._map(self.geography.humidity_ratio)
        self._land_offset = self._map(self.geography.land_offset_K)
        self._rain = self._map(self.geography.precipitation)
        self._albedo = self._map(self.geography.albedo)
        self._mean_insolation = self._map(annual_mean_insolation(grid.latitude)[:, None])
        darkest = daily_insolation(grid.latitude, np.arange(float(DAYS_PER_YEAR))).min(axis=0)
        # A coefficient without season: one with the Sun's would correlate with the weather's lag.
        self._cloud_reflection = 0.03 * self._albedo * self._map(darkest[:, None])
        land = self._map(self.geography.land_fraction)
        self._land_season = LAND_SEASON * self._near(land).clamp(0.0, 1.0)
        self._reference_sst = self._map(annual_mean_sst(grid))[None]
        self._reference_near = self._near_sst(self._reference_sst)
        self._reference_tropics = self._tropical_sst(self._reference_sst)
        self._reference_humidity = self._sea_humidity(self._reference_near)
        self.weather_amplitude = self._weather_amplitude()

    def localize(self, mesh: Mesh) -> None:
        """Work on this process's block of fields."""
        tile = mesh.tile(self.grid.shape, self.grid.north_to_south)
        for name, value in vars(self).items():
            if isinstance(value, torch.Tensor) and value.shape[-2:] == self.grid.shape:
                setattr(self, name, tile.of(value).clone())
        self._near.localize(mesh)
        self._wide.localize(mesh)

    def _map(self, values: FloatArray) -> torch.Tensor:
        whole = np.array(np.broadcast_to(values, self.grid.shape))
        return torch.as_tensor(whole, dtype=torch.float64, device=self._device)

    def _by_level(self, values: tuple[float, ...]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float64, device=self._device)[:, None, None]

    def _make_adiabats(self) -> tuple[torch.Tensor, torch.Tensor]:
        base = np.arange(240.0, 340.01, 0.25)
        table = moist_adiabat(base, np.array(LEVELS_HPA[2:]) * 100.0, steps=40)
        return (
            torch.as_tensor(base, device=self._device),
            torch.as_tensor(table, device=self._device),
        )

    def adiabat(self, base: torch.Tensor) -> torch.Tensor:
        """Levels 2 to 7 of the saturated adiabat, [member, 6, lat, lon], K, from 1000 hPa.

        Linear between entries of a table a quarter of a kelvin apart, and beyond its ends.
        """
        spacing = float(self._adiabat_base[1] - self._adiabat_base[0])
        position = (base - self._adiabat_base[0]) / spacing
        below = position.floor().clamp(0, self._adiabat_base.numel() - 2)
        share = (position - below)[..., None]
        index = below.long()
        values = self._adiabat[index] * (1.0 - share) + self._adiabat[index + 1] * share
        return values.movedim(-1, 1)

    def _near_sst(self, surface: torch.Tensor) -> torch.Tensor:
        """SST of the ocean nearby."""
        return self._near(self._ocean * surface) / self._near_ocean

    def _tropical_sst(self, surface: torch.Tensor) -> torch.Tensor:
        """SST that convection in the tropics feels."""
        return self._wide(self._warm_ocean * surface) / self._wide_ocean

    def _sea_humidity(self, sst: torch.Tensor) -> torch.Tensor:
        return RELATIVE_HUMIDITY * saturation_humidity(sst)

    def land_equilibrium(self, near_sst: torch.Tensor, insolation: torch.Tensor) -> torch.Tensor:
        """Land surface temperature of constant moist static energy, K.

        Byrne and O'Gorman (2013, 2018): cp T + L q changes alike over land and the ocean nearby, and
        the land's humidity q stays a fixed share of the ocean's. A seasonal term follows insolation.
        """
        humidity = self._sea_humidity(near_sst)
        drying = (1.0 - self._humidity_ratio) * LATENT_HEAT / HEAT_CAPACITY
        constrained = near_sst + drying * (humidity - self._reference_humidity)
        season = self._land_season * (insolation - self._mean_insolation)
        return constrained + self._land_offset + season

    def equilibrium(self, surface: torch.Tensor, insolation: torch.Tensor) -> Equilibrium:
        """Equilibrium under this surface temperature (ocean's prescribed, land's actual), both K."""
        near, tropics = self._near_sst(surface), self._tropical_sst(surface)
        temperature = self._column(surface, tropics, insolation)
        humidity = torch.where(
            self.ocean,
            self._sea_humidity(surface),
            self._humidity_ratio * self._sea_humidity(near),
        )
        warming = tropics - self._reference_tropics
        contrast = (near - self._reference_near) - warming
        excess = self._ocean * (surface - self._reference_sst - warming)
        return Equilibrium(
            atmosphere=torch.cat([temperature, humidity[:, None]], dim=1),
            land_surface=self.land_equilibrium(near, insolation),
            precipitation=self._rain * (1.0 + 0.025 * warming + 0.04 * contrast),
            shortwave=insolation * (self._albedo - 0.004 * excess - 0.001 * warming),
        )

    def settled(self, surface: torch.Tensor, insolation: torch.Tensor) -> torch.Tensor:
        """All outputs at equilibrium, land included, [member, output, lat, lon].

        surface: only its ocean cells count.
        """
        land = self.land_equilibrium(self._near_sst(surface), insolation)
        whole = torch.where(self.ocean, surface, land)
        found = self.equilibrium(whole, insolation)
        return self.outputs(found.atmosphere, whole, found)

    def outputs(
        self, atmosphere: torch.Tensor, surface: torch.Tensor, toward: Equilibrium
    ) -> torch.Tensor:
        """Prognostic and diagnostic variables, [member, output, lat, lon]; affine in the weather."""
        weather = (atmosphere - toward.atmosphere) / self.weather_amplitude
        ascent = (weather[:, 4] + weather[:, 8]) / 2.0
        rain = toward.precipitation + 0.2 * self._rain * ascent
        slopes = self._by_level(OUTGOING_BY_LEVEL)
        outgoing = 212.0 + (slopes * (atmosphere[:, :-1] - 255.0)).sum(dim=1) - 4.0 * ascent
        shortwave = toward.shortwave + self._cloud_reflection * ascent
        fluxes = torch.stack([rain, outgoing, shortwave], dim=1)
        return torch.cat([atmosphere, surface[:, None], fluxes], dim=1)

    def _column(
        self, surface: torch.Tensor, tropics: torch.Tensor, insolation: torch.Tensor
    ) -> torch.Tensor:
        """Equilibrium temperature of every level, [member, 8, lat, lon], K."""
        heights = SCALE_HEIGHT * np.log(1000.0 / np.array(LEVELS_HPA))
        cooling = self._by_level(tuple(LAPSE_RATE * heights))
        adiabat = self.adiabat(tropics - 1.0)
        adiabat = torch.cat([torch.zeros_like(adiabat[:, :2]), adiabat], dim=1)
        lapse = self._near(surface)[:, None] - cooling
        warm = self._by_level(TROPOSPHERE_IN_TROPICS) * self._tropical
        cold = self._by_level(TROPOSPHERE_POLEWARD) * (1.0 - self._tropical)
        season = (insolation - self._mean_insolation)[:, None]
        above = self._by_level(STRATOSPHERE_K) + self._by_level(STRATOSPHERE_SEASON) * season
        column = warm * adiabat + cold * lapse + (1.0 - warm - cold) * above
        local = self._by_level(LOCAL_SHARE)
        return local * (surface[:, None] - cooling) + (1.0 - local) * column

    def _weather_amplitude(self) -> torch.Tensor:
        """Standard deviation scale of the weather, [9, lat, lon]: K, and kg/kg for humidity."""
        storms = self._map(self.geography.storminess)
        kelvins = self._by_level(WEATHER_K) * storms
        moist = 0.08 * self._reference_humidity[0] * (0.7 + 0.3 * storms)
        return torch.cat([kelvins, moist[None]], dim=0)
