"""Runs of two stochastic emulators: the planet in this process, a small ACE checkpoint by commands."""

from __future__ import annotations

import inspect
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from benchmarks.pairing import BAND, NAME
from benchmarks.processes import environment, timed
from respeval.api.one_run import Wish, run_plan
from respeval.api.session import Session
from respeval.case.file import load_case
from respeval.distributed.comm import Comm
from respeval.emulator.noise import CounterNoise
from respeval.fields.grid import Grid
from respeval.plan.execution import Threads
from respeval.plan.plan import plan_run
from respeval.planet.climate import PROGNOSTIC
from respeval.planet.datasets import make_forcing, make_initial_conditions
from respeval.planet.emulator import PlanetEmulator
from respeval.presentation.console.terminal import make_console
from tests.support.ace.files import AceFiles, fme_inference_command
from tests.support.ace.make_fixtures import FME_ENVIRONMENT
from tests.support.ace.make_fixtures import FOLDER as ACE_FIXTURES

#: Left out of the means: the land of the planet remembers 15 days.
SPINUP_MONTHS, SPINUP_DAYS = 3, 90
SPINUP_YEARS = SPINUP_DAYS / 365

#: What a run waits for that ends by itself, and its greatest length.
UNTIL, LONGEST_YEARS = f"{NAME}/{BAND}:0.05", 40


@dataclass(frozen=True)
class Asked:
    """A run: which of the initial conditions, years after the spin-up, and what makes the pair.

    until: whether the run may end before, see `UNTIL`.
    """

    samples: range
    years: int
    paired_noise: bool = True
    until: bool = False

    @property
    def days(self) -> int:
        return SPINUP_DAYS + 365 * self.years


class Study(ABC):
    """A stochastic emulator with a year of forcing, and initial conditions that differ in their weather."""

    name: str
    initial: Path

    @abstractmethod
    def run(self, out: Path, asked: Asked, seed: int = 0, at_once: bool = False) -> float:
        """Run and analyse; processor seconds of all of it. at_once: all samples in one batch, faster."""

    @abstractmethod
    def by_hand_s(self, folder: Path, num_days: int) -> float:
        """Processor seconds of two runs of so many days, one of each climate, without any analysis."""

    def options(self, out: Path, asked: Asked, seed: int) -> dict[str, Any]:
        """Keys of the case, but the forcing."""
        own = out.with_name(f"{out.name}_initial.nc")
        with xr.open_dataset(self.initial, decode_times=False) as every:
            every.isel(sample=list(asked.samples)).to_netcdf(own)
        return {
            "initial_condition": str(own),
            "days": asked.days,
            "spinup": f"{SPINUP_MONTHS} months",
            "repeat": "year",
            "seed": seed,
            "paired_noise": asked.paired_noise,
            "until": [UNTIL] if asked.until else [],
        }


class PlanetStudy(Study):
    """The planet itself. Its seconds are without a process's start."""

    name = "planet"

    def __init__(self, folder: Path, num_samples: int) -> None:
        self._planet = PlanetEmulator(Grid.legendre_gauss(12, 24))
        self._forcing = make_forcing(self._planet.spec.grid, 1)
        self.forcing_file, self.initial = folder / "forcing.nc", folder / "initial.nc"
        folder.mkdir()
        self._forcing.to_netcdf(self.forcing_file)
        make_initial_conditions(self._forcing, num_samples).to_netcdf(self.initial)

    def run(self, out: Path, asked: Asked, seed: int = 0, at_once: bool = False) -> float:
        """See `Study.run`."""
        begun = time.process_time()
        options = {**self.options(out, asked, seed), "forcing": str(self.forcing_file)}
        options["perturbations"] = {"p4K": {"type": "uniform", "amplitude_K": 4.0}}
        plan = plan_run(self._planet, load_case(None, options), "the planet")
        wish = Wish(compute={"samples_per_batch": len(asked.samples) if at_once else None})
        session = Session(Comm(), Threads(1), make_console(is_root=False))
        # The planet has no file but the one that it is written in.
        run_plan(plan, Path(inspect.getfile(PlanetEmulator)), out, wish, session)
        return time.process_time() - begun

    def by_hand_s(self, folder: Path, num_days: int) -> float:
        """See `Study.by_hand_s`: the steps alone, on forcing in memory."""
        names = self._planet.spec.required_forcing
        days = torch.as_tensor(np.stack([self._forcing[name].values for name in names], axis=1))
        with xr.open_dataset(self.initial, decode_times=False) as initial:
            start = np.stack([initial[name].values[:1] for name in PROGNOSTIC], axis=1)
        begun = time.process_time()
        with torch.inference_mode():
            for climate in range(2):
                state = torch.as_tensor(start)
                for step in range(num_days):
                    now, following = (days[(step + i) % 365][None] for i in range(2))
                    noise = CounterNoise(0, [(climate, 0)], step)
                    outputs = self._planet.step(state, now, following, noise)
                    state = outputs[:, : len(PROGNOSTIC)]
        return time.process_time() - begun


class AceStudy(Study):
    """The stochastic checkpoint of the tests. Its seconds are those of whole processes."""

    name = "ACE"

    def __init__(self, folder: Path, num_samples: int, python: Path) -> None:
        self._python, self._files = str(python), AceFiles(folder)
        self._checkpoint = AceFiles(ACE_FIXTURES).checkpoint("stochastic")
        self.initial = self._files.initial_conditions
        for arguments in (
            ("tests.support.ace.make_fixtures",),
            ("benchmarks.ace_year", str(folder), str(num_samples)),
        ):
            timed([self._python, "-m", *arguments], environment(FME_ENVIRONMENT))

    def run(self, out: Path, asked: Asked, seed: int = 0, at_once: bool = False) -> float:
        """See `Study.run`."""
        options = self.options(out, asked, seed)
        command = [
            *(self._python, "-m", "respeval", "run", str(self._checkpoint), f"--output={out}"),
            *(f"--forcing={self._files.forcing_folder}", "--threads=1"),
            *("--paired-noise" if options.pop("paired_noise") else "--no-paired-noise",),
            *(f"--until={target}" for target in options.pop("until")),
            *(f"--{key.replace('_', '-')}={value}" for key, value in options.items()),
            *([f"--samples-per-batch={len(asked.samples)}"] if at_once else []),
        ]
        return timed(command, environment(FME_ENVIRONMENT)).processor_s

    def by_hand_s(self, folder: Path, num_days: int) -> float:
        """See `Study.by_hand_s`: `python -m fme.ace.inference`, monthly means written."""
        total = 0.0
        for number, amplitude in enumerate((None, 4.0)):
            change = {"type": "constant", "config": {"amplitude": amplitude}}
            command = fme_inference_command(
                *(self._files, self._checkpoint, folder / f"{num_days}_{number}", 4 * num_days),
                samples=[number],
                sst_perturbations=[] if amplitude is None else [change],
                data_writer={"save_prediction_files": False, "save_monthly_files": True},
            )
            run = timed([self._python, *command[1:]], environment(FME_ENVIRONMENT))
            total += run.processor_s
        return total
