"""Weights of torch-harmonics' SFNO become a native checkpoint, from the code base that trained them.

    python examples/write_native_checkpoint.py -o native

Nothing here uses respeval but the last lines, which show what it makes of the file: a checkpoint is a
dictionary of three entries that torch.save writes (docs/readers.md). The network here has random weights,
where yours are trained.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch_harmonics.examples.models.sfno import SphericalFourierNeuralOperator

NUM_LAT, NUM_LON = 24, 48

#: What respeval gives the network's class; what is left out has torch-harmonics' value in docs/readers.md.
ARGUMENTS = {"embed_dim": 16, "num_layers": 2, "mlp_ratio": 2.0}

PROGNOSTIC = ["T_0", "T_1", "ts"]
DIAGNOSTIC = ["rain"]
FORCING = ["ocean_fraction", "sunlight"]


def make_network() -> SphericalFourierNeuralOperator:
    """The network as respeval builds it: these arguments are the same in every native checkpoint."""
    return SphericalFourierNeuralOperator(
        img_size=(NUM_LAT, NUM_LON),
        grid="legendre-gauss",
        grid_internal="legendre-gauss",
        scale_factor=1,
        in_chans=len(PROGNOSTIC) + len(FORCING),
        out_chans=len(PROGNOSTIC) + len(DIAGNOSTIC),
        encoder_layers=1,
        residual_prediction=False,
        normalization_layer="none",
        pos_embed="none",
        **ARGUMENTS,
    )


def describe() -> dict[str, Any]:
    """The manifest: everything about the network that its weights do not say."""
    nodes, _ = np.polynomial.legendre.leggauss(NUM_LAT)
    degrees = min(NUM_LAT, NUM_LON // 2)  # what the network's transforms keep

    def variable(name: str, units: str, long_name: str) -> dict[str, str]:
        return {"name": name, "units": units, "long_name": long_name}

    return {
        "architecture": {
            "name": "sfno",
            "arguments": ARGUMENTS,
            "transform": {"lmax": degrees, "mmax": degrees, "grid": "legendre-gauss"},
        },
        "grid": {
            "kind": "legendre-gauss",
            "latitude": np.degrees(np.arcsin(nodes[::-1])).tolist(),  # north to south
            "longitude": (np.arange(NUM_LON) * 360.0 / NUM_LON).tolist(),
        },
        "timestep_s": 21_600,
        "calendar": "noleap",
        "prognostic": [
            variable("T_0", "K", "temperature at 200 hPa"),
            variable("T_1", "K", "temperature at 1000 hPa"),
            variable("ts", "K", "surface temperature"),
        ],
        "diagnostic": [variable("rain", "kg m-2 s-1", "precipitation")],
        "forcing": [
            variable("ocean_fraction", "1", "share of ocean"),
            variable("sunlight", "W m-2", "downward shortwave flux at the top of the atmosphere"),
        ],
        "surface_temperature": "ts",
        "ocean_fraction": "ocean_fraction",
        "roles": {
            "near_surface_temperature": "T_1",
            "column_temperature": ["T_0", "T_1"],
            "surface_level": "T_1",
            "upper_level": "T_0",
        },
        "levels_hPa": [200.0, 1000.0],
        "normalization": {
            "T_0": {"mean": 220.0, "scale": 9.0, "residual_scale": 0.8},
            "T_1": {"mean": 285.0, "scale": 15.0, "residual_scale": 1.2},
            "ts": {"mean": 287.0, "scale": 16.0, "residual_scale": 1.5},
            "rain": {"mean": 3e-5, "scale": 5e-5},
            "ocean_fraction": {"mean": 0.66, "scale": 0.46},
            "sunlight": {"mean": 300.0, "scale": 150.0},
        },
        "prediction": "residual",
        "climatology": ["ts"],  # its mean is a field, which lies beside the weights
    }


def write(path: Path, network: torch.nn.Module, climatology: dict[str, torch.Tensor]) -> None:
    """One file: `format`, the manifest as JSON, and all tensors under their names in the emulator."""
    weights = {f"network.{name}": value for name, value in network.state_dict().items()}
    fields = {f"climatology.{name}": field.float() for name, field in climatology.items()}
    content = {
        "format": "respeval/1",
        "manifest": json.dumps(describe()),
        "state_dict": {**weights, **fields},
    }
    torch.save(content, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("native"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    latitude = torch.linspace(90, -90, NUM_LAT).deg2rad()
    mean = (260.0 + 40.0 * latitude.cos())[:, None].expand(NUM_LAT, NUM_LON)  # K
    path = options.output / "model.pt"
    write(path, make_network(), {"ts": mean.contiguous()})
    subprocess.run([sys.executable, "-m", "respeval", "inspect", str(path)], check=True)


if __name__ == "__main__":
    main()
