"""Write an untrained ACE checkpoint with its data: `python -m benchmarks.ace_study FOLDER SIZE-as-JSON`.

Run by the interpreter of an environment with fme.
"""

from __future__ import annotations

import datetime
import json
import sys
from pathlib import Path

import torch
from fme.ace.stepper.single_module import StepperConfig
from fme.core.coordinates import HybridSigmaPressureCoordinate, LatLonCoordinates
from fme.core.dataset_info import DatasetInfo
from fme.core.step.step import StepSelector

from benchmarks.studies import (
    DIAGNOSTIC,
    FORCING,
    INTERFACES_AK,
    INTERFACES_BK,
    PROGNOSTIC,
    TIMESTEP_S,
    Size,
    scales,
    write_data,
)


def write_checkpoint(path: Path, size: Size) -> None:
    """A deterministic SFNO of ACE2's variables, as fme stores it."""
    names = [*PROGNOSTIC, *FORCING, *DIAGNOSTIC]
    normalization = {
        "means": {name: scales(name)[0] for name in names},
        "stds": {name: scales(name)[1] for name in names},
    }
    settings = {
        "builder": {
            "type": "SphericalFourierNeuralOperatorNet",
            "config": {
                "embed_dim": size.embed_dim,
                "num_layers": size.num_layers,
                "scale_factor": 1,
                "operator_type": "dhconv",
            },
        },
        "in_names": [*PROGNOSTIC, *FORCING],
        "out_names": [*PROGNOSTIC, *DIAGNOSTIC],
        "normalization": {"network": normalization, "loss": normalization},
        "ocean": {
            "surface_temperature_name": "surface_temperature",
            "ocean_fraction_name": "ocean_fraction",
        },
        "corrector": {"type": "atmosphere_corrector", "config": {"conserve_dry_air": True}},
    }
    latitude, longitude = (
        torch.tensor(axis, dtype=torch.float32)
        for axis in (size.grid.latitude, size.grid.longitude)
    )
    described = DatasetInfo(
        horizontal_coordinates=LatLonCoordinates(lat=latitude, lon=longitude),
        vertical_coordinate=HybridSigmaPressureCoordinate(
            ak=torch.tensor(INTERFACES_AK), bk=torch.tensor(INTERFACES_BK)
        ),
        timestep=datetime.timedelta(seconds=TIMESTEP_S),
    )
    torch.manual_seed(0)
    step = StepSelector(type="single_module", config=settings)
    stepper = StepperConfig(step=step).get_stepper(described)
    torch.save({"stepper": stepper.get_state()}, path)


def main() -> None:
    folder, described = Path(sys.argv[1]), json.loads(sys.argv[2])
    size = Size(**{**described, "shape": tuple(described["shape"])})
    write_data(folder, size)
    write_checkpoint(folder / "ckpt.tar", size)


if __name__ == "__main__":
    main()
