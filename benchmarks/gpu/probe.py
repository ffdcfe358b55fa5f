"""Four arms of one gradient probe against four probes of one arm each, on the device."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from benchmarks.frame import Goal, Outcome, Table, spread
from benchmarks.gpu.part import Part
from benchmarks.gpu.setting import Setting
from benchmarks.probe import ARMS
from benchmarks.studies import DIAGNOSTIC, FORCING, PROGNOSTIC, START, TIMESTEP_S, Size, scales
from respeval.checkpoints import open_checkpoint
from respeval.files.netcdf import write_netcdf
from respeval.loss_probe.arms import parse_arms
from respeval.loss_probe.plan import ProbeSettings, plan_probe
from respeval.loss_probe.probing import ProbeReporter, run_probe
from respeval.plan.memory import measure_peak

NUM_BATCHES = 3

#: As on a CPU.
LIMIT = 0.75


def write_states(path: Path, size: Size, num_times: int) -> None:
    """Consecutive states of all variables: noise about their means."""
    grid, draw = size.grid, np.random.default_rng(0)
    hours = np.arange(num_times) * (TIMESTEP_S / 3600.0)
    time = xr.DataArray(
        hours, dims="time", attrs={"units": f"hours since {START}", "calendar": "noleap"}
    )
    states = xr.Dataset(coords={"time": time, "lat": grid.latitude, "lon": grid.longitude})
    for name in (*PROGNOSTIC, *DIAGNOSTIC, *FORCING):
        mean, scale, units = scales(name)
        field = mean + scale * draw.standard_normal((num_times, *size.shape))
        if name.endswith("_fraction"):
            field = np.broadcast_to(0.5 + 0.5 * np.sign(field - mean), field.shape)
        states[name] = (("time", "lat", "lon"), field.astype(np.float32), {"units": units})
    write_netcdf(states, path)


@dataclass(frozen=True)
class Found:
    """batches: how many, and of how many pairs. together, apart: seconds. peak_bytes: of four arms."""

    batches: str
    together: list[float]
    apart: list[float]
    peak_bytes: int


def measure(setting: Setting, size: Size) -> Found:
    num_batches, batch_size = 1 if setting.quick else NUM_BATCHES, 2 if size.shape[0] < 100 else 1
    data = setting.folder / f"states_{size.shape[0]}.nc"
    checkpoint = setting.study(size) / "sfno.pt"
    write_states(data, size, num_batches * batch_size + 1)
    emulator = open_checkpoint(checkpoint, {})

    def seconds(arms: Sequence[str]) -> float:
        settings = ProbeSettings(
            arms=parse_arms(list(arms)),
            num_batches=num_batches,
            batch_size=batch_size,
            input_noise=0.1,
        )
        plan = plan_probe(emulator, settings, str(data), None, checkpoint)
        return setting.seconds(lambda: run_probe(plan, setting.comm, ProbeReporter()))

    seconds(ARMS[:1])  # what only the first one pays
    peak, _ = measure_peak(setting.device, lambda: seconds(ARMS))
    pairs = setting.alternate(2, lambda: seconds(ARMS), lambda: sum(seconds([a]) for a in ARMS))
    together, apart = ([pair[i] for pair in pairs] for i in (0, 1))
    return Found(f"{num_batches} of {batch_size}", together, apart, peak)


def run(setting: Setting) -> Iterator[Outcome]:
    rows, goals, numbers = [], list[Goal](), dict[str, Any]()
    for heading, size in setting.sizes.items():
        found = measure(setting, size)
        ratios = [one / four for one, four in zip(found.together, found.apart, strict=True)]
        times = (spread(found.together), spread(found.apart), spread(ratios))
        rows.append((heading, found.batches, *times, f"{found.peak_bytes / 2**30:.2f}"))
        what = f"{heading}: four arms over four probes"
        goals.append(Goal(what, statistics.median(ratios), LIMIT))
        numbers[heading] = asdict(found)
        header = ("grid", "batches", "one probe, s", "four probes, s", "ratio", "memory, GiB")
        yield Outcome([Table("Four arms", header, rows)], list(goals), (), numbers)


PART = Part(
    "Gradient probe",
    "Four arms on one forward pass against four probes of one arm each, two members, on untrained networks; "
    "loading and planning are left out. Memory is the most that torch had allocated on the device with four "
    "arms.",
    70.0,
    run,
)
