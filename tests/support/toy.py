"""An emulator whose exact trajectory is known, its plans, and one that is interrupted on the way."""

from __future__ import annotations

import json
import math
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from respeval.case.file import load_case
from respeval.distributed.comm import Comm
from respeval.distributed.stop import StopSignals
from respeval.emulator.contract import EmulatorSpec
from respeval.emulator.noise import NoiseSource
from respeval.errors import StoppedError
from respeval.fields.variables import Roles, Variable
from respeval.plan.plan import Plan, plan_run
from tests.support import studies
from tests.support.studies import GRID, run

MEMORY, COUPLING, DRIFT = 0.8, 0.3, 0.01


class Toy:
    """air' = 0.8 air + 0.3 skin + noise; skin' = skin + 0.01 K over land, prescribed over ocean."""

    def __init__(
        self, noise_K: float = 0.0, forced_only: bool = False, limit: bool = False
    ) -> None:
        air, skin = Variable("air", "K", "air temperature"), Variable("skin", "K", "skin")
        ocean = Variable("ocean_fraction", "1", "ocean fraction")
        self.noise_K, self.forced_only = noise_K, forced_only
        self.batches: list[int] = []
        self.spec = EmulatorSpec(
            architecture="toy",
            grid=GRID,
            timestep_s=86_400,
            calendar="noleap",
            prognostic=(air,) if forced_only else (air, skin),
            diagnostic=(Variable("double", "K", "twice the air temperature"),),
            forcing=(ocean, skin) if forced_only else (ocean,),
            surface_temperature="skin",
            ocean_fraction="ocean_fraction",
            land_fraction="land_fraction",
            roles=Roles("air", ("air",), "air", "air"),
            normalization={"air": (1000.0, 7.0)} if limit else {},
            num_noise_channels=1,
            precision="float64",
        )

    def to(self, device: torch.device) -> Toy:
        return self

    def prescribe(self, skin: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
        names = self.spec.required_forcing
        ocean = following[:, names.index("ocean_fraction")] > 0.5
        return torch.where(ocean, following[:, names.index("skin")], skin)

    def conserve(self, state: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor | None:
        return None

    def step(
        self,
        state: torch.Tensor,
        forcing: torch.Tensor,
        following: torch.Tensor,
        noise: NoiseSource,
        conserved: torch.Tensor | None = None,
    ) -> torch.Tensor:
        self.batches.append(len(state))
        air = state[:, 0]
        skin = forcing[:, 1] if self.forced_only else state[:, 1]
        drawn = noise.normal(*GRID.shape).double()
        air = MEMORY * air + COUPLING * skin + self.noise_K * drawn
        if self.forced_only:
            return torch.stack([air, 2 * air], dim=1)
        return torch.stack([air, self.prescribe(skin + DRIFT, following), 2 * air], dim=1)


def study(
    folder: Path, fraction: np.ndarray | None = None, days: tuple[int, ...] = (0, 0, 0)
) -> Path:
    """forcing.nc and initial.nc for the toy."""
    folder.mkdir(parents=True, exist_ok=True)
    record = studies.forcing(num_times=120)
    if fraction is not None:
        record["ocean_fraction"] = (("lat", "lon"), fraction)
        record["land_fraction"] = (("lat", "lon"), 1.0 - fraction)
    record.to_netcdf(folder / "forcing.nc")
    studies.initial(days=days).rename(air_temperature_0="air").to_netcdf(folder / "initial.nc")
    return folder


def plan(folder: Path, emulator: Toy, **case: Any) -> Plan:
    options = {
        "forcing": str(folder / "forcing.nc"),
        "initial_condition": str(folder / "initial.nc"),
        "days": 75,
        "perturbations": {
            "p4K": {"type": "uniform", "amplitude_K": 4.0},
            "m1K": {"type": "uniform", "amplitude_K": -1.0},
        },
    }
    if "steps" in case:
        del options["days"]
    return plan_run(emulator, load_case(None, {**options, **case}), "the toy")


class Spoiled(Toy):
    """From the step on that `at` says for a sample its member of a group is missing in one cell."""

    def __init__(self, group: int = 1, **at: int) -> None:
        super().__init__(noise_K=0.5)
        self.group = group
        self.at = {int(name.removeprefix("sample")): step for name, step in at.items()}

    def step(self, state: torch.Tensor, *rest: Any) -> torch.Tensor:
        outputs = super().step(state, *rest)
        noise = rest[2]
        for row, (sample, _) in enumerate(noise.streams):
            if row % 3 == self.group and noise.step == self.at.get(sample, -1) - 1:
                outputs[row, 0, 3, 4] = math.nan
        return outputs


class Interrupted(Toy):
    """Sends a real signal to this process within the given step; it has numbers to conserve."""

    def __init__(self, at_step: int | None = None, number: int = signal.SIGTERM) -> None:
        super().__init__(noise_K=0.5)
        self.at_step, self.number = at_step, number
        self.conserved_of_members = 0

    def conserve(self, state: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor | None:
        self.conserved_of_members += len(state)
        return state.mean(dim=(-2, -1))

    def step(
        self,
        state: torch.Tensor,
        forcing: torch.Tensor,
        following: torch.Tensor,
        noise: Any,
        conserved: torch.Tensor | None = None,
    ) -> torch.Tensor:
        assert conserved is not None
        outputs = super().step(state, forcing, following, noise)
        if noise.step == self.at_step:
            os.kill(os.getpid(), self.number)
            self.at_step = None
        return outputs + 1e-3 * conserved.mean(dim=-1)[:, None, None, None]


def stopped(planned: Plan, folder: Path, comm: Comm | None = None) -> str:
    """Run until the emulator's own signal stops it; returns the message."""
    with StopSignals() as signals, pytest.raises(StoppedError) as caught:
        run(planned, folder, signals=signals, comm=comm)
    return str(caught.value)


def manifest_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return content
