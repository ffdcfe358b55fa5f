"""The whitening A/B that trains: one emulator of the planet, continued under several arms.

    respeval demo demo
    python examples/whitening_ab.py demo -o whitening

For every seed a stochastic emulator is trained with the plain loss; then each arm continues from
the same weights, on the same batches with the same noise, and differs in nothing but the spectral
term of its loss. After every epoch the emulator is compared with the planet's own record
(`demo/training.nc`): power at the smallest scales one day and ten days ahead, CRPS and RMSE. At the
end the table also shows what the gain costs: the spread at large scales and the response to +4 K.

Without the common plain training, and with a learning rate as high as there, runs diverge.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from respeval.checkpoints.native import NativeEmulator
from respeval.distributed.comm import Comm
from respeval.emulator.noise import CounterNoise
from respeval.fields.transform import SphericalTransform
from respeval.loss_probe.arms import Arm, parse_arms
from respeval.loss_probe.loss import LossWeights, ensemble_loss, full_truncation
from respeval.loss_probe.plan import ProbeSettings, plan_probe
from respeval.loss_probe.probing import ProbeReporter, run_probe
from respeval.loss_probe.profile import make_profile
from respeval.loss_probe.scores import crps, mean_power
from respeval.planet.assess import assess
from respeval.planet.climate import PROGNOSTIC
from respeval.planet.emulator import PlanetEmulator
from respeval.planet.samples import Sampler
from respeval.planet.training import (
    PRESETS,
    TrainingSettings,
    learning_rate_factor,
    predict,
    untrained_emulator,
)
from respeval.plotting.gradient import set_logarithmic
from respeval.plotting.style import (
    FONT_SIZE,
    legend_below,
    line_colors,
    make_panels,
    save,
    set_letters,
    set_title,
)

PRETRAIN_WEIGHTS = LossWeights(crps=0.9, energy_score=0.1)
ARM_WEIGHTS = LossWeights(crps=0.1, energy_score=0.9)
ARM_LEARNING_RATE = 0.003
ROLLOUT_DAYS = 10
NUM_STARTS = 24
NUM_MEMBERS = 2
NUM_WEATHER = 9  # the first outputs: eight temperatures and humidity
BATCHES_APART = 100_000  # the arms' batches are drawn by another seed than the common training's

console = Console(soft_wrap=True, width=110)


@dataclasses.dataclass(frozen=True)
class Record:
    """Held-out truth: NUM_STARTS windows of the planet's record.

    outputs: [start, day, output, lat, lon]; forcing: [start, day, forcing, lat, lon].
    """

    outputs: torch.Tensor
    forcing: torch.Tensor

    @classmethod
    def read(cls, path: Path, spec: Any) -> Record:
        with xr.open_dataset(path, decode_times=False) as record:
            num_starts = record.sizes["time"] - ROLLOUT_DAYS
            starts = np.linspace(0, num_starts - 1, NUM_STARTS).astype(int)
            rows = starts[:, None] + np.arange(ROLLOUT_DAYS + 1)

            def stack(names: list[str]) -> torch.Tensor:
                fields = [record[name].transpose("time", "lat", "lon").values for name in names]
                return torch.from_numpy(np.stack(fields, axis=1)[rows].astype(np.float32))

            return cls(stack([v.name for v in spec.outputs]), stack(list(spec.required_forcing)))


def train(
    emulator: NativeEmulator,
    sampler: Sampler,
    arm: Arm,
    weights: LossWeights,
    learning_rate: float,
    num_iterations: int,
    seed: int,
) -> Iterator[int]:
    """Train in place; yields after every iteration. Equal seeds draw equal batches and noise."""
    grid = emulator.spec.grid
    degrees = full_truncation(grid)
    transform = SphericalTransform(grid, degrees, degrees, torch.float32)
    parameters = [p for p in emulator.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=learning_rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda i: learning_rate_factor(i, num_iterations)
    )
    for iteration in range(num_iterations):
        samples = sampler.draw(16)
        members = torch.stack(predict(emulator, samples, seed, iteration))
        ensemble = emulator.normalize_outputs(members)
        target = emulator.normalize_outputs(samples.outputs)
        loss = ensemble_loss(ensemble, target, transform, arm, weights)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        yield iteration


@torch.no_grad()
def evaluate(emulator: NativeEmulator, record: Record) -> dict[str, Any]:
    """Scores one day ahead and power by degree one and ten days ahead, against the record.

    bias: (generated - target) / target power in the highest eighth of the degrees, for each output
        that the weather drives.
    """
    spec = emulator.spec
    degrees = full_truncation(spec.grid)
    transform = SphericalTransform(spec.grid, degrees, degrees, torch.float32)
    num_prognostic = len(spec.prognostic)
    streams = [(start, member) for member in range(NUM_MEMBERS) for start in range(NUM_STARTS)]
    state = record.outputs[:, 0, :num_prognostic].repeat(NUM_MEMBERS, 1, 1, 1)
    found: dict[str, Any] = {}
    for day in range(1, ROLLOUT_DAYS + 1):
        now, following = (
            record.forcing[:, day - 1 + i].repeat(NUM_MEMBERS, 1, 1, 1) for i in (0, 1)
        )
        outputs = emulator.step(state, now, following, CounterNoise(12345, streams, day))
        state = outputs[:, :num_prognostic]
        if day not in (1, ROLLOUT_DAYS):
            continue
        shape = (NUM_MEMBERS, NUM_STARTS, *outputs.shape[1:])
        ensemble = emulator.normalize_outputs(outputs).reshape(shape)
        target = emulator.normalize_outputs(record.outputs[:, day])
        generated = mean_power(transform.forward(ensemble)).mean(dim=(0, 1))
        truth = mean_power(transform.forward(target)).mean(dim=0)
        high = slice(degrees - degrees // 8, degrees)
        bias = (generated[:, high] - truth[:, high]).mean(-1) / truth[:, high].mean(-1)
        key = "one_step" if day == 1 else "rollout"
        found[f"{key}_bias"] = bias[:NUM_WEATHER].tolist()
        found[f"{key}_power_ratio"] = (generated / truth)[:NUM_WEATHER].mean(0).tolist()
        if day == 1:
            error = ensemble.mean(0) - target
            spread = mean_power(transform.forward(ensemble[0] - ensemble[1])).mean(0) / 2
            missed = mean_power(transform.forward(error)).mean(0)
            low = slice(1, 1 + degrees // 8)
            found["crps"] = float(crps(ensemble, target, 1.0).mean())
            found["rmse"] = float(error.square().mean().sqrt())
            # An ideal ensemble of two: the squared error of its mean is 3/2 of a member's variance.
            ratio = 1.5 * spread[:, low].sum(-1) / missed[:, low].sum(-1)
            found["low_degree_spread_skill"] = float(ratio.sqrt().mean())
    return found


def signal_to_noise(emulator: NativeEmulator, arm: Arm, data: Path) -> list[float]:
    """Signal-to-noise of the filters' gradients by degree under one arm's loss, mean over layers."""
    settings = ProbeSettings(arms=(arm,), num_batches=8, weights=ARM_WEIGHTS)
    plan = plan_probe(emulator, settings, str(data), None, Path("the emulator in training"))
    profile = make_profile(run_probe(plan, Comm(), ProbeReporter()), plan.filters, settings.arms)
    return np.nanmean(profile.grad_snr[0], axis=0).tolist()  # type: ignore[no-any-return]


def run_seed(seed: int, arms: tuple[Arm, ...], options: argparse.Namespace) -> dict[str, Any]:
    """All arms of one seed: {arm: {"epochs": [scores], "snr": {...}, "response": {...}}}."""
    planet = PlanetEmulator()
    settings: TrainingSettings = dataclasses.replace(PRESETS["stochastic"], seed=seed)
    sampler = Sampler(planet, settings.samples, seed)
    emulator = untrained_emulator(planet.spec, sampler.draw(settings.num_statistics), settings)
    plain = parse_arms(["none"])[0]
    started = time.monotonic()
    for _ in train(
        emulator,
        sampler,
        plain,
        PRETRAIN_WEIGHTS,
        settings.learning_rate,
        options.pretrain,
        seed,
    ):
        pass
    console.print(
        f"seed {seed}: plain training of {options.pretrain} iterations took "
        f"{time.monotonic() - started:.0f} s"
    )
    data = options.demo / "training.nc"
    record = Record.read(data, emulator.spec)
    common = {key: value.clone() for key, value in emulator.state_dict().items()}
    results: dict[str, Any] = {}
    for arm in arms:
        emulator.load_state_dict(common)
        epochs = [evaluate(emulator, record)]
        snr = {"start": signal_to_noise(emulator, arm, data)}
        batches = Sampler(planet, settings.samples, seed + BATCHES_APART)
        length = options.epochs * options.epoch_length
        for iteration in train(
            emulator, batches, arm, ARM_WEIGHTS, ARM_LEARNING_RATE, length, seed + BATCHES_APART
        ):
            if (iteration + 1) % options.epoch_length == 0:
                epochs.append(evaluate(emulator, record))
        snr["end"] = signal_to_noise(emulator, arm, data)
        results[str(arm)] = {"epochs": epochs, "snr": snr, "response": respond(emulator)}
        last = epochs[-1]
        console.print(
            f"seed {seed}, {arm}: power bias at ten days {np.mean(last['rollout_bias']):+.3f} "
            f"(before {np.mean(epochs[0]['rollout_bias']):+.3f}), CRPS {last['crps']:.4f}, "
            f"{time.monotonic() - started:.0f} s"
        )
    return results


def respond(emulator: NativeEmulator) -> dict[str, float]:
    """Errors of the response to +4 K against the planet's truth; NaN where the emulator blows up."""
    try:
        found, truth = assess(emulator, 4.0, num_years=1)
    except ValueError:
        return {"worst_ratio_error": math.nan, "worst_column_error_K": math.nan}
    ratios = [
        abs(found.land_ocean_ratio[band] / truth.land_ocean_ratio[band] - 1)
        for band in truth.land_ocean_ratio
    ]
    column = [abs(a - b) for a, b in zip(found.column_K, truth.column_K, strict=True)]
    return {"worst_ratio_error": max(ratios), "worst_column_error_K": max(column)}


def first_below(run: dict[str, Any], reference: dict[str, Any]) -> float:
    """First epoch whose power bias at ten days is at most the reference's last; NaN if none is."""
    goal = np.mean(reference["epochs"][-1]["rollout_bias"])
    reached = [np.mean(epoch["rollout_bias"]) <= goal for epoch in run["epochs"]]
    return float(np.argmax(reached)) if any(reached) else math.nan


def show(results: dict[str, Any]) -> None:
    """The table: means over seeds ± half the range of the seeds."""
    arms = list(next(iter(results.values())))
    table = Table(
        title="After the last epoch: mean over seeds ± half their range", title_justify="left"
    )
    table.add_column("quantity")
    table.add_column("before", justify="right")
    for arm in arms:
        table.add_column(arm, justify="right")

    def cell(values: list[float], form: str) -> str:
        half = 0.5 * (max(values) - min(values))
        spread = f" ± {half:{form.lstrip('+')}}" if len(values) > 1 else ""
        return f"{np.mean(values):{form}}{spread}"

    def epoch(key: str, form: str, title: str) -> None:
        def value(seed: Any, arm: str, at: int) -> float:
            return float(np.mean(seed[arm]["epochs"][at][key]))

        before = cell([value(s, arms[0], 0) for s in results.values()], form)
        after = [cell([value(s, arm, -1) for s in results.values()], form) for arm in arms]
        table.add_row(title, before, *after)

    cells = [
        cell([first_below(s[arm], s[arms[0]]) for s in results.values()], ".1f") for arm in arms
    ]
    table.add_row(f"epoch with {arms[0]}'s last bias", "", *cells)
    epoch("rollout_bias", "+.2f", "high-l power bias, day 10")
    epoch("one_step_bias", "+.2f", "high-l power bias, day 1")
    epoch("crps", ".4f", "CRPS, day 1")
    epoch("rmse", ".4f", "RMSE, day 1")
    epoch("low_degree_spread_skill", ".2f", "spread/error, low l")
    for key, title in (
        ("worst_ratio_error", "+4 K: ratio, error"),
        ("worst_column_error_K", "+4 K: column, error (K)"),
    ):
        cells = [cell([s[arm]["response"][key] for s in results.values()], ".2f") for arm in arms]
        table.add_row(title, "", *cells)
    for when in ("start", "end"):
        cells = []
        for arm in arms:
            ends = []
            for seed in results.values():
                snr = np.array(seed[arm]["snr"][when])
                eighth = max(1, (len(snr) - 1) // 8)
                ends.append(float(snr[-eighth:].mean() / snr[1 : 1 + eighth].mean()))
            cells.append(cell(ends, ".2f"))
        table.add_row(f"SNR, high/low l, {when}", "", *cells)
    console.print(table)


def show_variables(results: dict[str, Any]) -> None:
    """The power bias of the smallest scales on day 10, output by output, mean over seeds."""
    arms = list(next(iter(results.values())))
    table = Table(title="High-l power bias on day 10, by output", title_justify="left")
    table.add_column("output")
    for heading in ("before", *arms):
        table.add_column(heading, justify="right")
    columns = [(arms[0], 0), *((arm, -1) for arm in arms)]
    means = [
        np.mean([seed[arm]["epochs"][at]["rollout_bias"] for seed in results.values()], axis=0)
        for arm, at in columns
    ]
    for i, name in enumerate(PROGNOSTIC[:NUM_WEATHER]):
        table.add_row(name, *(f"{mean[i]:+.2f}" for mean in means))
    console.print(table)


def draw(results: dict[str, Any], path: Path) -> Figure:
    """Power bias and CRPS against epochs, power ratio and signal-to-noise by degree.

    Colours and order of the arms are those of `gradient_profile`.
    """
    figure, panels = make_panels(2, 2, 5.4)
    bias, skill, power, snr = panels
    arms = list(next(iter(results.values())))
    for arm, color in zip(arms, line_colors(len(arms)), strict=True):
        runs = [seed[arm] for seed in results.values()]
        for panel, key in ((bias, "rollout_bias"), (skill, "crps")):
            lines = np.array([[np.mean(e[key]) for e in run["epochs"]] for run in runs])
            panel.plot(lines.T, color=color, lw=0.7, alpha=0.5)
            panel.plot(lines.mean(0), color=color, lw=2, label=arm)
        ratio = np.array([run["epochs"][-1]["rollout_power_ratio"] for run in runs])
        power.plot(ratio.T, color=color, lw=0.7, alpha=0.5)
        power.plot(ratio.mean(0), color=color, lw=2)
        for when, style in (("start", ":"), ("end", "-")):
            lines = np.array([run["snr"][when] for run in runs]).mean(0)
            snr.plot(lines, style, color=color, lw=2)
    bias.axhline(0, color="0.6", lw=1)
    power.axhline(1, color="0.6", lw=1)
    set_logarithmic(snr)
    epoch, degree = "Epoch", "Spherical-harmonic degree"
    for panel, title, remark, below, beside in (
        (bias, "Smallest scales", "day 10", epoch, "Power bias"),
        (skill, "Skill", "day 1", epoch, "CRPS (normalized)"),
        (power, "Power", "last epoch, day 10", degree, "Power / target"),
        (snr, "Filters' gradient", "", degree, "Signal to noise"),
    ):
        set_title(panel, title, remark)
        panel.set_xlabel(below, fontsize=FONT_SIZE)
        panel.set_ylabel(beside, fontsize=FONT_SIZE)
    set_letters(panels)
    if len(results) > 1:
        bias.plot([], [], color="0.35", lw=0.7, label="seed")
        bias.plot([], [], color="0.35", lw=2, label="mean of seeds")
    bias.plot([], [], ":", color="0.35", lw=2, label="at the start")
    legend_below(figure, bias, num_columns=3)
    save(figure, path)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("demo", type=Path, help="folder that `respeval demo` made")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the results")
    parser.add_argument("--arm", action="append", help="default: none, gamma 0.5, gamma 1")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--pretrain", type=int, default=300, help="iterations of plain training")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--epoch-length", type=int, default=25, help="iterations of an epoch")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.output.mkdir(parents=True, exist_ok=True)
    arms = parse_arms(options.arm or ["none", "per_sample:gamma=0.5", "per_sample:gamma=1.0"])
    results = {str(seed): run_seed(seed, arms, options) for seed in options.seeds}
    (options.output / "whitening_ab.json").write_text(json.dumps(results, indent=1))
    show(results)
    show_variables(results)
    draw(results, options.output / "whitening_ab.png")
    console.print(f"results: {options.output}")


if __name__ == "__main__":
    main()
