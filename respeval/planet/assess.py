"""How far an emulator's response is from the planet's truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr

from respeval.emulator.contract import Emulator
from respeval.emulator.noise import CounterNoise
from respeval.fields.grid import (
    DEFAULT_BANDS,
    TROPICAL_LAT_MAX,
    BoolArray,
    FloatArray,
    Grid,
    in_band,
)
from respeval.planet.climate import FORCING, PROGNOSTIC, SURFACE, TEMPERATURES
from respeval.planet.datasets import make_forcing, make_initial_conditions
from respeval.planet.truth import true_response

UPPER_LEVEL = 2


@dataclass(frozen=True)
class Response:
    """Land/ocean warming ratio by band, tropical-ocean vertical ratio, global warming by level (K)."""

    land_ocean_ratio: dict[str, float]
    vertical_ratio: float
    column_K: tuple[float, ...]

    def describe_against(self, truth: Response) -> str:
        """One line: each number beside the truth's, and the largest error of the column."""
        ratios = ", ".join(
            f"{band} {ratio:.3f} ({truth.land_ocean_ratio[band]:.3f})"
            for band, ratio in self.land_ocean_ratio.items()
        )
        worst = max(abs(a - b) for a, b in zip(self.column_K, truth.column_K, strict=True))
        return (
            f"land/ocean {ratios}; vertical {self.vertical_ratio:.3f} "
            f"({truth.vertical_ratio:.3f}); worst column error {worst:.3f} K"
        )


def assess(
    emulator: Emulator, amplitude_K: float = 4.0, num_years: int = 2, seed: int = 0
) -> tuple[Response, Response]:
    """The emulator's response to a uniform SST change and the planet's, after a year of spin-up.

    Raises ValueError where the emulator blows up.
    """
    grid = emulator.spec.grid
    forcing = make_forcing(grid, num_years + 1, seed=seed)
    counted = forcing.isel(time=slice(365, None))
    truth = true_response(counted, {"change": np.full(grid.shape, amplitude_K)})
    maps = np.stack([truth[name].values[0] for name in TEMPERATURES])
    land, ocean = truth["land_mask"].values > 0, truth["ocean_mask"].values > 0
    means = rollout_means(emulator, forcing, amplitude_K, num_spinup=365, seed=seed)
    found = (means[1] - means[0])[: len(TEMPERATURES)]
    return summarize(grid, found, land, ocean), summarize(grid, maps, land, ocean)


def rollout_means(
    emulator: Emulator, forcing: xr.Dataset, amplitude_K: float, num_spinup: int, seed: int = 0
) -> FloatArray:
    """Time means [2, output, lat, lon] of a baseline and a run with the ocean `amplitude_K` warmer."""
    stacked = np.stack([forcing[name].values for name in (*FORCING, SURFACE)], axis=1)
    initial = make_initial_conditions(forcing, num_samples=1, seed=seed)
    state = torch.as_tensor(np.stack([initial[name].values[0] for name in PROGNOSTIC]))
    change = torch.tensor([0.0, amplitude_K])[:, None, None] * torch.as_tensor(stacked[0, 0] > 0.5)
    state = state.repeat(2, 1, 1, 1)
    state[:, -1] += change
    total = torch.zeros((), dtype=torch.float64)
    num_steps = len(stacked) - 1
    with torch.no_grad():
        for step in range(num_steps):
            now, following = (_changed(stacked[step + i], change) for i in (0, 1))
            noise = CounterNoise(seed, [(0, 0), (0, 0)], step)
            outputs = emulator.step(state, now, following, noise)
            if not bool(torch.isfinite(outputs).all()):
                raise ValueError(f"the emulator blew up in step {step}")
            state = outputs[:, : len(PROGNOSTIC)]
            if step >= num_spinup:
                total = total + outputs.double()
    return np.asarray((total / (num_steps - num_spinup)).numpy())


def _changed(day: FloatArray, change: torch.Tensor) -> torch.Tensor:
    """Forcing [2, required_forcing, lat, lon] of a day with the SST changed in each member."""
    forcing = torch.as_tensor(day).repeat(2, 1, 1, 1)
    forcing[:, -1] += change
    return forcing


def summarize(grid: Grid, warming: FloatArray, land: BoolArray, ocean: BoolArray) -> Response:
    """The response's numbers from maps of warming [level, lat, lon], K."""
    area = grid.area_weights()

    def mean(field: FloatArray, cells: BoolArray) -> float:  # NaN where there is no cell
        weights = np.where(cells, area, 0.0)
        total = weights.sum()
        return float((field * weights).sum() / total) if total > 0.0 else float("nan")

    near_surface = warming[-1]
    ratios = {}
    for name, (low, high) in DEFAULT_BANDS.items():
        band = in_band(grid.latitude, low, high)[:, None]
        ratios[name] = mean(near_surface, band & land) / mean(near_surface, band & ocean)
    tropical = in_band(grid.latitude, 0.0, TROPICAL_LAT_MAX)[:, None] & ocean
    everywhere = np.ones(grid.shape, dtype=np.bool_)
    return Response(
        land_ocean_ratio=ratios,
        vertical_ratio=mean(warming[UPPER_LEVEL], tropical) / mean(near_surface, tropical),
        column_K=tuple(mean(level, everywhere) for level in warming),
    )


def one_step_error(emulator: Emulator, truth: torch.Tensor, predicted: torch.Tensor) -> FloatArray:
    """Root-mean-square error of each output over its spread about the mean map, [output]."""
    area = torch.as_tensor(emulator.spec.grid.area_weights())
    spread = (truth - truth.mean(dim=0)).double().square().mean(dim=0)
    error = (predicted - truth).double().square().mean(dim=0)
    ratio = (error * area).sum(dim=(-2, -1)) / (spread * area).sum(dim=(-2, -1))
    return np.asarray(ratio.sqrt().numpy())
