"""Trains small emulators of the planet: a `NativeEmulator` on single steps of `samples.Sampler`.

A deterministic emulator is trained on the mean of the next day over all noise, which the planet can
give. That is what a squared error converges to in any case; with one noisy draw per state, most of
the loss is noise, and the response is further from the truth after as many iterations.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch

from respeval.checkpoints.manifest import (
    GridSettings,
    Normalization,
    RoleSettings,
    VariableSettings,
)
from respeval.checkpoints.native import (
    Architecture,
    Manifest,
    NativeEmulator,
    SfnoArguments,
    TransformSettings,
)
from respeval.emulator.contract import EmulatorSpec
from respeval.emulator.noise import CounterNoise
from respeval.fields.variables import Roles, Variable
from respeval.planet.emulator import CALENDAR, PlanetEmulator
from respeval.planet.samples import Sampler, Samples, SampleSettings

REPORT_EVERY = 100
WARMUP_ITERATIONS = 20
ENSEMBLE_SIZE = 2
#: Weight of the errors of `Sampler.smooth`ed fields: a response is a matter of large scales.
LARGE_SCALE_WEIGHT = 2.0
#: Most of the reflected sunlight's variance is the Sun's; its loss is scaled by what is left.
LOSS_SCALE = {"USWRFtoa": 0.2}


@dataclass(frozen=True)
class TrainingSettings:
    """How an emulator is trained; `num_noise_channels` > 0 makes it stochastic, on a CRPS."""

    samples: SampleSettings = field(default_factory=lambda: SampleSettings(noisy_outputs=False))
    embed_dim: int = 32
    num_layers: int = 2
    mlp_ratio: float = 2.0
    pos_embed: Literal["none", "learnable lat", "learnable latlon"] = "learnable latlon"
    num_iterations: int = 600
    batch_size: int = 16
    learning_rate: float = 0.015
    num_noise_channels: int = 0
    num_statistics: int = 512
    seed: int = 0


PRESETS = {
    "perturbed_sst": TrainingSettings(),
    "present_day": TrainingSettings(
        samples=SampleSettings(offset_K=(0.0, 0.0), pattern_K=0.0, noisy_outputs=False)
    ),
    "stochastic": TrainingSettings(
        samples=SampleSettings(), num_noise_channels=12, num_iterations=1000
    ),
}


def train(
    planet: PlanetEmulator, settings: TrainingSettings, report: Callable[[str], None]
) -> NativeEmulator:
    """An emulator of `planet`, in evaluation mode; equal settings give equal weights.

    `report` gets a line about the loss from time to time. Adam with a warm-up and cosine decay.
    """
    started = time.process_time()
    sampler = Sampler(planet, settings.samples, settings.seed)
    emulator = untrained_emulator(planet.spec, sampler.draw(settings.num_statistics), settings)
    weights = [weight for weight in emulator.parameters() if weight.requires_grad]
    optimizer = torch.optim.Adam(weights, lr=settings.learning_rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda i: learning_rate_factor(i, settings.num_iterations)
    )
    for iteration in range(settings.num_iterations):
        samples = sampler.draw(settings.batch_size)
        members = predict(emulator, samples, settings.seed, iteration)
        loss = score(emulator, members, samples.outputs, sampler.smooth)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        if (iteration + 1) % REPORT_EVERY == 0:
            spent = time.process_time() - started
            report(f"iteration {iteration + 1}: loss {loss.item():.4f}, {spent:.0f} CPU seconds")
    return emulator.eval()


def learning_rate_factor(iteration: int, num_iterations: int) -> float:
    """Linear warm-up, then half a cosine down to a thousandth."""
    warm = min(1.0, (iteration + 1) / WARMUP_ITERATIONS)
    return warm * 0.5 * (1.0 + math.cos(math.pi * iteration / num_iterations)) + 1e-3


def untrained_emulator(
    spec: EmulatorSpec, pool: Samples, settings: TrainingSettings
) -> NativeEmulator:
    """The emulator before training: normalization and climatology from `pool`, random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        emulator = NativeEmulator(make_manifest(spec, pool, settings))
    means = pool.outputs.double().mean(dim=0)
    with torch.no_grad():
        for variable, mean in zip(spec.outputs, means, strict=True):
            emulator.climatology[variable.name].copy_(mean)
    return emulator


def predict(
    emulator: NativeEmulator, samples: Samples, seed: int, iteration: int
) -> list[torch.Tensor]:
    """Outputs of one member, or of `ENSEMBLE_SIZE` where the emulator is stochastic."""
    num_members = ENSEMBLE_SIZE if emulator.spec.num_noise_channels else 1
    members = []
    for member in range(num_members):
        streams = [(sample, member) for sample in range(len(samples.state))]
        noise = CounterNoise(seed, streams, iteration)
        members.append(emulator.step(samples.state, samples.forcing, samples.next_forcing, noise))
    return members


def score(
    emulator: NativeEmulator,
    members: Sequence[torch.Tensor],
    target: torch.Tensor,
    smooth: Callable[[torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """Area mean of the squared error, or of the fair CRPS of two members, in units of a day's change.

    The same score of the smoothed errors is added with `LARGE_SCALE_WEIGHT`.
    """
    area = torch.as_tensor(emulator.spec.grid.area_weights()).to(target)
    scale = _loss_scale(emulator)
    errors = [(member - target) / scale for member in members]
    total = target.new_zeros(())
    for weight, filtered in ((1.0, errors), (LARGE_SCALE_WEIGHT, [smooth(e) for e in errors])):
        if len(filtered) == 1:
            distance = filtered[0].square()
        else:
            first, second = filtered
            distance = 0.5 * (first.abs() + second.abs() - (first - second).abs())
        total = total + weight * (distance.to(target) * area).sum(dim=(-2, -1)).mean()
    return total


def _loss_scale(emulator: NativeEmulator) -> torch.Tensor:
    """[output, 1, 1], physical units: the day's change of the state, the spread of a diagnostic."""
    norms = emulator.manifest.normalization
    scales = [
        (norms[v.name].residual_scale or norms[v.name].scale) * LOSS_SCALE.get(v.name, 1.0)
        for v in emulator.spec.outputs
    ]
    return torch.tensor(scales)[:, None, None]


def make_manifest(spec: EmulatorSpec, pool: Samples, settings: TrainingSettings) -> Manifest:
    """The manifest of an emulator of `spec`, with the statistics of `pool`."""
    num_degrees = min(spec.grid.num_lat, spec.grid.num_lon // 2)
    arguments = SfnoArguments(
        embed_dim=settings.embed_dim,
        num_layers=settings.num_layers,
        mlp_ratio=settings.mlp_ratio,
        pos_embed=settings.pos_embed,
    )
    return Manifest(
        architecture=Architecture(
            name="sfno",
            arguments=arguments,
            transform=TransformSettings(
                lmax=num_degrees, mmax=num_degrees, grid="legendre-gauss", norm="ortho"
            ),
        ),
        grid=GridSettings(
            kind=spec.grid.kind,
            latitude=spec.grid.latitude.tolist(),
            longitude=spec.grid.longitude.tolist(),
        ),
        timestep_s=spec.timestep_s,
        calendar=CALENDAR,
        prognostic=_describe(spec.prognostic),
        diagnostic=_describe(spec.diagnostic),
        forcing=_describe(spec.forcing),
        surface_temperature=spec.surface_temperature,
        ocean_fraction=spec.ocean_fraction,
        land_fraction=spec.land_fraction,
        roles=_roles(spec.roles),
        normalization=_statistics(spec, pool),
        climatology=[variable.name for variable in spec.outputs],
        split_surface_temperature=True,
        prediction="residual",
        num_noise_channels=settings.num_noise_channels,
        levels_hPa=list(spec.levels_hPa),
        training=_provenance(settings),
    )


def _describe(variables: Sequence[Variable]) -> list[VariableSettings]:
    return [VariableSettings(name=v.name, units=v.units, long_name=v.long_name) for v in variables]


def _roles(roles: Roles) -> RoleSettings:
    return RoleSettings(
        near_surface_temperature=roles.near_surface_temperature,
        column_temperature=list(roles.column_temperature),
        surface_level=roles.surface_level,
        upper_level=roles.upper_level,
    )


def _provenance(settings: TrainingSettings) -> dict[str, str | float | int]:
    low, high = settings.samples.offset_K
    return {
        "planet": "respeval.planet",
        "sst_change_K": f"{low:g} to {high:g}",
        "targets": "noisy" if settings.samples.noisy_outputs else "mean over noise",
        "loss": "fair CRPS" if settings.num_noise_channels else "squared error",
        "num_iterations": settings.num_iterations,
        "batch_size": settings.batch_size,
        "learning_rate": settings.learning_rate,
        "seed": settings.seed,
    }


def _statistics(spec: EmulatorSpec, pool: Samples) -> dict[str, Normalization]:
    """Means, spreads about the climatology of each cell, and spreads of a day's change."""
    outputs, forcing = pool.outputs.double(), pool.forcing.double()
    anomaly = outputs - outputs.mean(dim=0)
    change = outputs[:, : len(spec.prognostic)] - pool.state.double()
    norms = {
        variable.name: Normalization(
            mean=float(outputs[:, i].mean()),
            scale=float(anomaly[:, i].std()),
            residual_scale=float(change[:, i].std()) if i < len(spec.prognostic) else None,
        )
        for i, variable in enumerate(spec.outputs)
    }
    return norms | {
        variable.name: Normalization(
            mean=float(forcing[:, i].mean()), scale=float(forcing[:, i].std())
        )
        for i, variable in enumerate(spec.forcing)
    }
