"""Training learns, and the shipped checkpoints are what the issue of their making asked for."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from respeval.checkpoints.native import load_checkpoint
from respeval.fields.grid import Grid
from respeval.planet import SHIPPED_CHECKPOINTS, shipped_checkpoint
from respeval.planet.assess import assess, one_step_error
from respeval.planet.climate import PROGNOSTIC
from respeval.planet.emulator import PlanetEmulator
from respeval.planet.samples import Sampler, SampleSettings
from respeval.planet.training import (
    ENSEMBLE_SIZE,
    PRESETS,
    TrainingSettings,
    predict,
    score,
    train,
    untrained_emulator,
)

GRID = Grid.legendre_gauss(8, 16)
SHORT = TrainingSettings(embed_dim=16, num_iterations=60, batch_size=8, num_statistics=64)


def silent(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def planet() -> PlanetEmulator:
    return PlanetEmulator(GRID)


def held_out_score(planet: PlanetEmulator, settings: TrainingSettings, trained: bool) -> float:
    sampler = Sampler(planet, settings.samples, settings.seed)
    emulator = untrained_emulator(planet.spec, sampler.draw(settings.num_statistics), settings)
    if trained:
        emulator = train(planet, settings, silent)
    samples = Sampler(planet, settings.samples, seed=99).draw(32)
    with torch.no_grad():
        members = predict(emulator, samples, seed=99, iteration=0)
        return float(score(emulator, members, samples.outputs, sampler.smooth))


def test_shortened_training_learns_and_is_deterministic(planet: PlanetEmulator) -> None:
    """Far better than persistence, whose score is 1 + 2 x (share of large scales) by construction."""
    settings = SHORT
    samples = Sampler(planet, settings.samples, seed=99).draw(32)
    sampler = Sampler(planet, settings.samples, settings.seed)
    emulator = untrained_emulator(planet.spec, sampler.draw(settings.num_statistics), settings)
    fluxes = samples.outputs[:, len(PROGNOSTIC) :].mean(dim=0).expand(32, -1, -1, -1)
    persistent = torch.cat([samples.state, fluxes], dim=1)
    persistence = float(score(emulator, [persistent], samples.outputs, sampler.smooth))
    untrained = held_out_score(planet, settings, trained=False)
    trained = held_out_score(planet, settings, trained=True)
    assert trained < 0.5 * min(persistence, untrained)
    assert held_out_score(planet, settings, trained=True) == trained


def test_stochastic_training_learns_and_spreads(planet: PlanetEmulator) -> None:
    samples = SampleSettings()
    settings = dataclasses.replace(SHORT, samples=samples, num_noise_channels=4, num_iterations=40)
    untrained = held_out_score(planet, settings, trained=False)
    assert held_out_score(planet, settings, trained=True) < 0.7 * untrained


def test_score_of_two_members_is_the_fair_crps(planet: PlanetEmulator) -> None:
    """Members drawn as the target is: E|x - y| / 2 = 1 / sqrt(pi) for standard normals."""
    settings = dataclasses.replace(SHORT, num_noise_channels=1)
    sampler = Sampler(planet, settings.samples, 0)
    emulator = untrained_emulator(planet.spec, sampler.draw(16), settings)
    generator = torch.Generator().manual_seed(0)
    shape = (400, len(planet.spec.outputs), *GRID.shape)
    drawn = torch.randn(ENSEMBLE_SIZE + 1, *shape, generator=generator)
    norms = emulator.manifest.normalization
    scale = torch.tensor(
        [norms[v.name].residual_scale or norms[v.name].scale for v in planet.spec.outputs]
    )
    scale[-1] *= 0.2
    fields = drawn * scale[:, None, None]
    found = float(score(emulator, list(fields[1:]), fields[0], torch.zeros_like))
    assert found == pytest.approx(1.0 / np.sqrt(np.pi), rel=0.02)


def test_present_climate_has_no_sst_change_and_jumps_leave_the_air_behind(
    planet: PlanetEmulator,
) -> None:
    present = Sampler(planet, PRESETS["present_day"].samples, seed=0).draw(64)
    warmer = Sampler(planet, PRESETS["perturbed_sst"].samples, seed=0).draw(64)
    ocean = planet.climate.ocean
    sst = [samples.state[:, 9, ocean].mean(dim=1) for samples in (present, warmer)]
    assert sst[0].std() < 1.0
    assert 1.5 < sst[1].std() < 3.5
    jumping = dataclasses.replace(PRESETS["perturbed_sst"].samples, jump_share=1.0)
    jumped = Sampler(planet, jumping, seed=0).draw(64)
    gaps = [
        (s.state[:, 7, ocean] - s.state[:, 9, ocean]).mean(dim=1).std() for s in (warmer, jumped)
    ]
    assert gaps[1] > 1.5 * gaps[0]


@pytest.mark.parametrize("name", SHIPPED_CHECKPOINTS)
def test_shipped_checkpoint_is_small_and_good_today(name: str) -> None:
    """One step in the present climate explains all but a few per cent of each output's variance."""
    path = shipped_checkpoint(name)
    assert path.stat().st_size < 0.7e6
    emulator = load_checkpoint(path)
    planet = PlanetEmulator(emulator.spec.grid)
    drawn = dataclasses.replace(PRESETS["present_day"].samples, jump_share=0.0)
    samples = Sampler(planet, drawn, seed=4321).draw(24)
    with torch.no_grad():
        predicted = predict(emulator, samples, seed=0, iteration=0)[0]
    error = one_step_error(emulator, samples.outputs, predicted)
    assert error[: len(PROGNOSTIC)].max() < 0.1
    assert error.max() < 0.25


def test_shipped_checkpoints_tell_why_the_tool_exists() -> None:
    """Under +4 K the one is within 10 % of the truth and 0.15 K in the column; the other is wrong."""
    good, truth = assess(load_checkpoint(shipped_checkpoint("perturbed_sst")), num_years=1)
    for band, ratio in truth.land_ocean_ratio.items():
        assert good.land_ocean_ratio[band] == pytest.approx(ratio, rel=0.1)
    assert good.vertical_ratio == pytest.approx(truth.vertical_ratio, rel=0.1)
    assert np.abs(np.array(good.column_K) - truth.column_K).max() < 0.15
    wrong, _ = assess(load_checkpoint(shipped_checkpoint("present_day")), num_years=1)
    for band, ratio in truth.land_ocean_ratio.items():
        assert wrong.land_ocean_ratio[band] < 0.8 * ratio


def test_assessing_the_planet_itself_finds_the_truth() -> None:
    """The check of the check, up to the memory of the ends of its year."""
    found, truth = assess(PlanetEmulator(Grid.legendre_gauss(12, 24)), num_years=1)
    for band, ratio in truth.land_ocean_ratio.items():
        assert found.land_ocean_ratio[band] == pytest.approx(ratio, abs=0.005)
    assert found.vertical_ratio == pytest.approx(truth.vertical_ratio, abs=0.005)
    np.testing.assert_allclose(found.column_K, truth.column_K, atol=0.01)


def test_unknown_shipped_checkpoint_is_refused() -> None:
    with pytest.raises(ValueError, match=r"perturbed_sst, present_day"):
        shipped_checkpoint("future")


def test_shipped_checkpoints_are_plain_files() -> None:
    assert all(isinstance(shipped_checkpoint(name), Path) for name in SHIPPED_CHECKPOINTS)
