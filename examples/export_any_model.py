"""A model that respeval does not know becomes a checkpoint that it can inspect and run.

    respeval demo demo
    python examples/export_any_model.py demo -o exported

The model is a small U-Net of plain convolutions. Up to and including `export`, nothing here uses
respeval: that part belongs into the code base that the model comes from, and needs torch 2.9 or newer.
It writes model.pt2, the network as torch.export saves it, and model.json, which says what its channels
are (docs/readers.md). The U-Net sees a year of the planet for a minute or so: it shows the way, and is
no good emulator.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from torch import nn
from torch.nn import functional

PROGNOSTIC = [*(f"air_temperature_{i}" for i in range(8)), "specific_total_water_7"]
PROGNOSTIC += ["surface_temperature"]
DIAGNOSTIC = ["PRATEsfc", "ULWRFtoa", "USWRFtoa"]
FORCING = ["ocean_fraction", "land_fraction", "DSWRFtoa"]
BATCH_SIZE = 16


class Convolution(nn.Module):
    """3 x 3 on the sphere's grid: around the globe in longitude, edges repeated at the poles."""

    def __init__(self, num_inputs: int, num_outputs: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(num_inputs, num_outputs, 3)

    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        around = functional.pad(fields, (1, 1, 0, 0), mode="circular")
        padded = functional.pad(around, (0, 0, 1, 1), mode="replicate")
        return functional.gelu(self.convolution(padded))


class UNet(nn.Module):
    """Two levels; normalized fields [batch, channel, lat, lon] in and out."""

    def __init__(self, num_inputs: int, num_outputs: int, width: int = 32) -> None:
        super().__init__()
        self.first = Convolution(num_inputs, width)
        self.coarse = nn.Sequential(Convolution(width, 2 * width), Convolution(2 * width, width))
        self.fine = Convolution(2 * width, width)
        self.last = nn.Conv2d(width, num_outputs, 1)

    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        first = self.first(fields)
        coarse = self.coarse(functional.avg_pool2d(first, 2))
        back = functional.interpolate(coarse, scale_factor=2.0, mode="bilinear")
        fine = self.fine(torch.cat([first, back], dim=1))
        result: torch.Tensor = self.last(fine)
        return result


@dataclass(frozen=True)
class Samples:
    """A record of daily states, normalized: inputs of a day, and what the network shall give.

    scales: variable -> (mean, scale, scale of its change in a day).
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    scales: dict[str, tuple[float, float, float]]


def read_samples(record: xr.Dataset) -> Samples:
    """Prognostic variables are predicted as changes in a day, the others as they are."""
    scales, fields = {}, {}
    for name in PROGNOSTIC + DIAGNOSTIC + FORCING:
        values = torch.from_numpy(record[name].values).float()
        spread, change = float(values.std()), float(values.diff(dim=0).std())
        scales[name] = (float(values.mean()), spread or 1.0, change or 1.0)
        fields[name] = (values - scales[name][0]) / scales[name][1]
    inputs = torch.stack([fields[name][:-1] for name in PROGNOSTIC + FORCING], dim=1)
    changes = [fields[name].diff(dim=0) * scales[name][1] / scales[name][2] for name in PROGNOSTIC]
    targets = torch.stack([*changes, *(fields[name][1:] for name in DIAGNOSTIC)], dim=1)
    return Samples(inputs, targets, scales)


def train(network: nn.Module, samples: Samples, num_iterations: int) -> None:
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=num_iterations + 1)
    for iteration in range(num_iterations):
        chosen = torch.randint(len(samples.inputs), (BATCH_SIZE,))
        loss = functional.mse_loss(network(samples.inputs[chosen]), samples.targets[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if iteration % 50 == 0:
            print(f"iteration {iteration} of {num_iterations}: loss {loss.item():.3f}", flush=True)


def describe(record: xr.Dataset, samples: Samples) -> dict[str, Any]:
    """The manifest: everything about the network that its graph does not say."""

    def variables(names: list[str]) -> list[dict[str, str]]:
        return [
            {
                "name": n,
                "units": record[n].attrs["units"],
                "long_name": record[n].attrs["long_name"],
            }
            for n in names
        ]

    return {
        "format": "respeval-export/1",
        "architecture": "U-Net of plain convolutions",
        "grid": {
            "kind": "legendre-gauss",
            "latitude": record["lat"].values.tolist(),
            "longitude": record["lon"].values.tolist(),
        },
        "timestep_s": 86_400,
        "calendar": record["time"].dt.calendar,
        "prognostic": variables(PROGNOSTIC),
        "diagnostic": variables(DIAGNOSTIC),
        "forcing": variables(FORCING),
        "surface_temperature": "surface_temperature",
        "ocean_fraction": "ocean_fraction",
        "land_fraction": "land_fraction",
        "roles": {
            "near_surface_temperature": "air_temperature_7",
            "column_temperature": PROGNOSTIC[:8],
            "surface_level": "air_temperature_7",
            "upper_level": "air_temperature_2",
        },
        "normalization": {
            name: {"mean": mean, "scale": scale, "residual_scale": change}
            for name, (mean, scale, change) in samples.scales.items()
        },
        "prediction": "residual",
    }


def export(network: nn.Module, manifest: dict[str, Any], path: Path) -> None:
    """Write `path`, ending in .pt2, and its manifest beside it."""
    grid = manifest["grid"]
    shape = len(grid["latitude"]), len(grid["longitude"])
    example = torch.zeros(2, len(manifest["prognostic"]) + len(manifest["forcing"]), *shape)
    batch = torch.export.Dim("batch")
    program = torch.export.export(network.eval(), (example,), dynamic_shapes=({0: batch},))
    torch.export.save(program, path)
    path.with_suffix(".json").write_text(json.dumps(manifest, indent=1))


def respeval(*arguments: object) -> None:
    words = ["respeval", *map(str, arguments)]
    print("\n$", " ".join(words), flush=True)
    subprocess.run([sys.executable, "-m", *words], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("demo", type=Path, help="folder of `respeval demo`")
    parser.add_argument("-o", "--output", type=Path, default=Path("exported"))
    parser.add_argument("--iterations", type=int, default=600)
    parser.add_argument("--days", type=int, default=90)
    options = parser.parse_args()
    torch.manual_seed(0)
    with xr.open_dataset(options.demo / "training.nc") as opened:
        record = opened.load()
    samples = read_samples(record)
    network = UNet(samples.inputs.shape[1], samples.targets.shape[1])
    train(network, samples, options.iterations)
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "model.pt2"
    export(network, describe(record, samples), path)
    respeval("inspect", path)
    length = ["--days", options.days, "--spinup", "none"]
    respeval(
        "run", path, "--case", options.demo / "case.yaml", *length, "-o", options.output / "run"
    )


if __name__ == "__main__":
    main()
