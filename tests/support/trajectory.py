"""Writes tests/data/trajectory.npz: `python -m tests.support.trajectory`, under either torch-harmonics.

The file holds what the shipped checkpoints give after some steps from a smooth analytic state, so
that a trajectory can be compared across versions of torch-harmonics.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from respeval.checkpoints.native import load_checkpoint
from respeval.emulator.noise import CounterNoise
from respeval.planet import SHIPPED_CHECKPOINTS, shipped_checkpoint
from tests.support import ROOT

NUM_STEPS = 30
FILE = ROOT / "tests" / "data" / "trajectory.npz"


def trajectory(name: str) -> NDArray[np.float32]:
    """Outputs of a shipped checkpoint at every tenth step and some cells, [step, output, lat, lon].

    In units of each output's normalization scale.
    """
    emulator = load_checkpoint(shipped_checkpoint(name))
    spec = emulator.spec
    scales = np.array([spec.normalization[variable.name][1] for variable in spec.outputs])
    latitude = np.radians(spec.grid.latitude)[:, None]
    wave = np.cos(latitude) ** 2 * np.cos(3 * np.radians(spec.grid.longitude))
    fields = []
    for variable in spec.prognostic:
        mean, scale = spec.normalization[variable.name]
        fields.append(mean + 0.5 * scale * wave)
    forced = {
        "ocean_fraction": (wave > -0.2).astype(float),
        "land_fraction": (wave <= -0.2).astype(float),
        "DSWRFtoa": 420.0 * np.cos(latitude) + 0.0 * wave,
        "surface_temperature": 300.0 - 30.0 * np.sin(latitude) ** 2 + wave,
    }
    forcing = torch.tensor(
        np.stack([forced[n] for n in spec.required_forcing]), dtype=torch.float32
    )
    state = torch.tensor(np.stack(fields), dtype=torch.float32)[None]
    kept = []
    with torch.inference_mode():
        for step in range(NUM_STEPS):
            noise = CounterNoise(0, [(0, 0)], step)
            outputs = emulator.step(state, forcing[None], forcing[None], noise)
            state = outputs[:, : len(spec.prognostic)]
            if (step + 1) % 10 == 0:
                kept.append(outputs[0].numpy())
    units = np.stack(kept).astype(np.float64) / scales[:, None, None]
    return units[:, :, ::2, ::4].astype(np.float32)


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    np.savez_compressed(FILE, **{name: trajectory(name) for name in SHIPPED_CHECKPOINTS})
