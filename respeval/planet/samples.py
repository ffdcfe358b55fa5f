"""Training samples: states near the planet's equilibrium under many seas, and the day after."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from respeval.planet.climate import FORCING
from respeval.planet.emulator import PlanetEmulator
from respeval.planet.insolation import DAYS_PER_YEAR, daily_insolation
from respeval.planet.sea import anomaly_patterns, seasonal_sst
from respeval.planet.weather import NUM_CHANNELS, Smoother

DayArray = NDArray[np.int64]

LAND_DEVIATION_K = 1.5
KICK = 1.5  # standard deviations of the weather
LARGE_SCALE_DEGREES = 20.0


@dataclass(frozen=True)
class SampleSettings:
    """What the states are drawn from.

    offset_K: range of the SST changes; (0, 0) is the present climate alone.
    pattern_K: amplitude of large-scale patterns added to the uniform change, inside its range.
    jump_share: share of samples whose atmosphere still sits at another SST change.
    kick_share: share of samples that are kicked off equilibrium on large scales.
    noisy_outputs: whether the day after has its own noise; without it `outputs` is the mean over
        all noise, which the planet knows exactly and a squared error learns much faster.
    """

    offset_K: tuple[float, float] = (-2.0, 6.0)
    pattern_K: float = 1.5
    jump_share: float = 0.1
    kick_share: float = 0.1
    noisy_outputs: bool = True


@dataclass(frozen=True, eq=False)
class Samples:
    """One step of many states, float32.

    state: [sample, prognostic, lat, lon]; forcing, next_forcing: [sample, required_forcing, lat,
    lon]; outputs: [sample, output, lat, lon], a day after `state`.
    """

    state: torch.Tensor
    forcing: torch.Tensor
    next_forcing: torch.Tensor
    outputs: torch.Tensor


class Sampler:
    """Draws samples; equal seeds give equal samples.

    smooth: what large scales are, for the random patterns here and for a loss.
    """

    def __init__(self, planet: PlanetEmulator, settings: SampleSettings, seed: int) -> None:
        grid = planet.spec.grid
        self.smooth = Smoother(grid, LARGE_SCALE_DEGREES)
        self._planet, self._settings = planet, settings
        self._generator = np.random.default_rng(seed)
        rough = np.random.default_rng(0).standard_normal((64, *grid.shape))
        self._smooth_spread = float(self.smooth(torch.as_tensor(rough)).std())
        days = np.arange(float(DAYS_PER_YEAR))
        self._sst = seasonal_sst(grid, days)
        self._insolation = daily_insolation(grid.latitude, days)
        self._patterns = anomaly_patterns(grid)

    def draw(self, num_samples: int) -> Samples:
        """`num_samples` independent samples."""
        planet, settings = self._planet, self._settings
        present, days = self._present(num_samples)
        change = self._change(num_samples)
        forcing, following = (
            self._forcing(sst + change * planet.climate.ocean, day)
            for sst, day in zip(present, days, strict=True)
        )
        state = self._state(present[0], change, forcing)
        kick: torch.Tensor | float = 0.0
        if settings.noisy_outputs:
            kick = planet.weather.innovation(self._normal(num_samples, *planet.weather.noise_shape))
        outputs = planet.advance(state, forcing, following, kick)
        return Samples(state.float(), forcing.float(), following.float(), outputs.float())

    def _state(
        self, present: torch.Tensor, change: torch.Tensor, forcing: torch.Tensor
    ) -> torch.Tensor:
        """States [sample, prognostic, lat, lon] near equilibrium, some on their way from another.

        A jump leaves the atmosphere anywhere between the equilibria of two SST changes.
        """
        planet, settings, num_samples = self._planet, self._settings, len(present)
        other = self._where(settings.jump_share, self._change(num_samples), change)
        share = torch.as_tensor(self._generator.uniform(0.0, 1.0, (num_samples, 1, 1)))
        earlier = present + other * share + change * (1.0 - share)
        settled = planet.climate.settled(earlier, forcing[:, FORCING.index("DSWRFtoa")])
        state = settled[:, : len(planet.spec.prognostic)]
        weather = planet.weather.stationary(self._normal(num_samples, *planet.weather.noise_shape))
        off = KICK * self._smooth_fields(num_samples, NUM_CHANNELS)
        weather = weather + self._where(settings.kick_share, off, torch.zeros_like(off))
        atmosphere = state[:, :-1] + planet.climate.weather_amplitude * weather
        deviation = LAND_DEVIATION_K * self._smooth_fields(num_samples, 1)[:, 0]
        surface = planet.prescribe(state[:, -1] + deviation, forcing)
        return torch.cat([atmosphere, surface[:, None]], dim=1)

    def _present(self, num_samples: int) -> tuple[list[torch.Tensor], list[DayArray]]:
        """Present-day SST [sample, lat, lon] and day of the year, at the step's start and end."""
        day = self._generator.integers(0, DAYS_PER_YEAR, num_samples)
        amplitudes = self._generator.standard_normal((num_samples, len(self._patterns)))
        slow = np.einsum("sp,pij->sij", amplitudes, self._patterns)
        both = [day, (day + 1) % DAYS_PER_YEAR]
        return [torch.as_tensor(self._sst[when] + slow) for when in both], both

    def _change(self, num_samples: int) -> torch.Tensor:
        """SST change [sample, lat, lon], K: uniform plus, for half of them, a pattern."""
        low, high = self._settings.offset_K
        uniform = torch.as_tensor(self._generator.uniform(low, high, (num_samples, 1, 1)))
        pattern = self._settings.pattern_K * self._smooth_fields(num_samples, 1)[:, 0]
        pattern = self._where(0.5, pattern, torch.zeros_like(pattern))
        return (uniform + pattern).clamp(low, high)

    def _forcing(self, sst: torch.Tensor, day: DayArray) -> torch.Tensor:
        geography = self._planet.climate.geography
        fixed = [geography.ocean_fraction, geography.land_fraction]
        insolation = torch.as_tensor(self._insolation[day])[:, :, None].expand_as(sst)
        columns = [torch.as_tensor(values).expand_as(sst) for values in fixed]
        return torch.stack([*columns, insolation, sst], dim=1)

    def _where(self, share: float, some: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        chosen = torch.as_tensor(self._generator.random(len(some)) < share)
        return torch.where(chosen.view(-1, *[1] * (some.ndim - 1)), some, others)

    def _smooth_fields(self, *shape: int) -> torch.Tensor:
        """Large-scale random fields [*shape, lat, lon] of about unit variance."""
        rough = self._normal(*shape, *self._planet.spec.grid.shape)
        return self.smooth(rough) / self._smooth_spread

    def _normal(self, *shape: int) -> torch.Tensor:
        return torch.as_tensor(self._generator.standard_normal(shape))
