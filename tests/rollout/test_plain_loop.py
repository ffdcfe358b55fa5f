"""A run's numbers, to the last bit, against the same loop in its plainest form.

One dictionary of fields per sample, one variable after the other, one time of the forcing read at
each step, float64 sums with a loop over members: slow, and easy to believe. Only the network is the
emulator's own, and the way from bits to normal numbers (tests/emulator/test_box_muller.py).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
import xarray as xr

from respeval.case.file import load_case
from respeval.checkpoints.native import NativeEmulator, load_checkpoint, save_checkpoint
from respeval.emulator.box_muller import normal_pairs
from respeval.files.netcdf import open_saved
from respeval.plan.plan import prepare
from tests.support.studies import GRID, manifest, run, write_study

WARMING_K = {"baseline": 0.0, "p2K": 2.0, "p4K": 4.0}
NUM_SAMPLES, NUM_STEPS, SEGMENT = 2, 13, 5

Fields = dict[str, torch.Tensor]  # of one sample: variable -> [group, lat, lon]


def single(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float32)


class PlainLoop:
    """The whole run, held in memory."""

    def __init__(self, checkpoint: Path) -> None:
        self.emulator = load_checkpoint(checkpoint)
        self.manifest = self.emulator.manifest
        self.record = xr.load_dataset(checkpoint.parent / "forcing.nc", decode_times=False)
        self.initial = xr.load_dataset(checkpoint.parent / "initial.nc", decode_times=False)
        self.prognostic = [v.name for v in self.manifest.prognostic]
        self.outputs = self.prognostic + [v.name for v in self.manifest.diagnostic]

    def forced(self, name: str, time: int) -> torch.Tensor:
        """A forcing variable at a time, the SST of each group with its own warming."""
        field = self.record[name].values
        now = torch.from_numpy(np.array(field[time] if field.ndim == 3 else field)).float()
        members = []
        for warming_K in WARMING_K.values():
            own = now.clone()
            if name == "skin":
                sea = self.record["ocean_fraction"].values > 0.5
                own[torch.from_numpy(sea)] += single(warming_K)
            members.append(own)
        return torch.stack(members)

    def start(self, sample: int) -> Fields:
        sea = torch.from_numpy(self.record["ocean_fraction"].values > 0.5)
        state = {}
        for name in self.prognostic:
            field = torch.from_numpy(self.initial[name].values[sample]).float()
            state[name] = torch.stack([field.clone() for _ in WARMING_K])
        for group, warming_K in enumerate(WARMING_K.values()):
            state["skin"][group][sea] += single(warming_K)
        return state

    def mean(self, name: str) -> torch.Tensor:
        if name in self.emulator.climatology:
            return self.emulator.climatology[name].detach()
        return single(self.manifest.normalization[name].mean)

    def scale(self, name: str) -> torch.Tensor:
        return single(self.manifest.normalization[name].scale)

    def step(self, state: Fields, sample: int, number: int) -> Fields:
        sea = self.forced("ocean_fraction", number) > 0.5
        channels = []
        for name in [*self.prognostic, *(v.name for v in self.manifest.forcing)]:
            field = state[name] if name in state else self.forced(name, number)
            channel = (field - self.mean(name)) / self.scale(name)
            if name == "skin" and self.manifest.split_surface_temperature:
                channels += [channel * sea, channel * ~sea]
            else:
                channels.append(channel)
        if self.manifest.num_noise_channels:
            bits = np.random.Philox(key=[0, sample], counter=[0, 0, 0, number])
            shape = (self.manifest.num_noise_channels, *GRID.shape)
            words = bits.random_raw(math.prod(shape) // 2).view(np.int64)
            drawn = normal_pairs(words, np).astype(np.float32).reshape(shape)
            channels += [torch.from_numpy(one).expand(len(sea), -1, -1) for one in drawn]
        assert GRID.north_to_south
        predicted = self.emulator.network(torch.stack(channels, dim=1))
        outputs = {}
        for i, name in enumerate(self.outputs):
            if self.manifest.prediction == "residual" and name in self.prognostic:
                change = predicted[:, i] * single(
                    self.manifest.normalization[name].residual_scale or 1.0
                )
                outputs[name] = state[name] + change
            else:
                outputs[name] = predicted[:, i] * self.scale(name) + self.mean(name)
        sst = self.forced("skin", number + 1)
        outputs["skin"] = torch.where(sea, sst, outputs["skin"])
        return outputs

    def segments(self) -> list[dict[str, np.ndarray]]:
        """Mean [group, lat, lon] of every output over the samples and steps of each segment."""
        states = [self.start(sample) for sample in range(NUM_SAMPLES)]
        found = []
        for first in range(0, NUM_STEPS, SEGMENT):
            steps = range(first, min(first + SEGMENT, NUM_STEPS))
            totals = [
                {n: np.zeros((len(WARMING_K), *GRID.shape)) for n in self.outputs} for _ in states
            ]
            for number in steps:
                for sample, state in enumerate(states):
                    outputs = self.step(state, sample, number)
                    for name in self.outputs:
                        totals[sample][name] += outputs[name].numpy().astype(np.float64)
                    states[sample] = {name: outputs[name] for name in self.prognostic}
            count = NUM_SAMPLES * len(steps)
            found.append({name: sum(t[name] for t in totals) / count for name in self.outputs})
        return found


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "all options": {
        "prediction": "residual",
        "split_surface_temperature": True,
        "num_noise_channels": 2,
        "climatology": ["air_temperature_0", "rain", "sunlight"],
    },
}


def study(folder: Path, changes: dict[str, Any]) -> Path:
    checkpoint = write_study(folder, days=NUM_STEPS, segment=f"{SEGMENT} steps")
    initial = xr.load_dataset(folder / "initial.nc", decode_times=False)
    initial = initial.isel(sample=slice(0, NUM_SAMPLES))
    (folder / "initial.nc").unlink()
    initial.to_netcdf(folder / "initial.nc")
    torch.manual_seed(0)
    emulator = NativeEmulator(manifest(**changes))
    with torch.no_grad():
        emulator.network.decoder[0].weight.mul_(0.1)  # type: ignore[operator, union-attr]
        for name, mean in emulator.climatology.items():
            settings = emulator.manifest.normalization[name]
            mean.copy_(settings.mean + settings.scale * torch.rand(GRID.shape))
    save_checkpoint(checkpoint, emulator)
    return checkpoint


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_is_the_plain_loop_to_the_last_bit(
    tmp_path: Path, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("respeval.analysis.results.Pictures", MagicMock())
    checkpoint = study(tmp_path / "study", VARIANTS[variant])
    out = run(prepare(checkpoint, load_case(checkpoint.parent / "case.yaml", {})), tmp_path / "out")
    with torch.no_grad():
        expected = PlainLoop(checkpoint).segments()
    files = sorted((out / "segments").glob("*.nc"))
    assert len(files) == len(expected) == 3
    for path, means in zip(files, expected, strict=True):
        with open_saved(path) as segment:
            assert list(segment["group"].values) == list(WARMING_K)
            for name, mean in means.items():
                got = segment[name].isel(time=0).values
                assert got.tobytes() == mean.tobytes(), (path.name, name)
