"""Makes the planet's checkpoints again: `python -m respeval.planet.train OUT_DIR`."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from respeval.checkpoints.native import save_checkpoint
from respeval.fields.grid import Grid
from respeval.planet.assess import assess, one_step_error
from respeval.planet.emulator import PlanetEmulator
from respeval.planet.samples import Sampler, SampleSettings
from respeval.planet.shipped import SHIPPED_CHECKPOINTS
from respeval.planet.training import PRESETS, TrainingSettings, predict, train


def make_checkpoint(
    name: str,
    settings: TrainingSettings,
    folder: Path,
    num_years: int,
    report: Callable[[str], None],
) -> None:
    """Train one preset, write `folder/name.pt`, and report its errors if `num_years` > 0."""
    planet = PlanetEmulator(Grid.legendre_gauss(24, 48))
    report(f"{name}: training")
    started = time.process_time()
    emulator = train(planet, settings, report)
    path = folder / f"{name}.pt"
    save_checkpoint(path, emulator)
    spent = time.process_time() - started
    report(f"{path}: {path.stat().st_size / 1e6:.2f} MB, {spent:.0f} CPU seconds")
    if num_years == 0:
        return
    for label, offset_K in (("present", (0.0, 0.0)), ("-2 to +6 K", (-2.0, 6.0))):
        drawn = SampleSettings(offset_K=offset_K, jump_share=0.0, noisy_outputs=False)
        samples = Sampler(planet, drawn, seed=10_000).draw(64)
        with torch.no_grad():
            predicted = predict(emulator, samples, seed=10_000, iteration=0)[0]
        errors = one_step_error(emulator, samples.outputs, predicted)
        report(f"one-step error over spread, {label}: " + " ".join(f"{e:.3f}" for e in errors))
    for amplitude_K in (2.0, 4.0):
        found, truth = assess(emulator, amplitude_K, num_years)
        report(f"p{amplitude_K:g}K, emulator (truth): {found.describe_against(truth)}")


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m respeval.planet.train", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the .pt files go")
    parser.add_argument("--only", choices=sorted(PRESETS), help="default: the shipped ones")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--iterations", type=int, help="default: the preset's")
    parser.add_argument("--assess-years", type=int, default=2, help="0 leaves the check out")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    torch.set_num_threads(1)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    for name in [chosen.only] if chosen.only else SHIPPED_CHECKPOINTS:
        settings = dataclasses.replace(PRESETS[name], seed=chosen.seed)
        if chosen.iterations:
            settings = dataclasses.replace(settings, num_iterations=chosen.iterations)
        make_checkpoint(name, settings, chosen.folder, chosen.assess_years, logging.info)


if __name__ == "__main__":
    main(sys.argv[1:])
