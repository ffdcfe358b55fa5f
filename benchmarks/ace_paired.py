"""One paired run of an ACE checkpoint against the two fme inference runs that it replaces.

Whole processes, from their start to their last file, alternating in one run: fme's inference of the
baseline, then of +4 K, against `respeval run` of both. Needs `make ace-venv`:

    .venv-ace/bin/python benchmarks/ace_paired.py
"""

from __future__ import annotations

import argparse
import datetime
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from fme.ace.stepper.single_module import StepperConfig
from fme.core.coordinates import HybridSigmaPressureCoordinate, LatLonCoordinates
from fme.core.dataset_info import DatasetInfo
from fme.core.step.step import StepSelector

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "ace"))
from ace_files import AceFiles, environment, fme_inference_command

NUM_LEVELS = 8
INTERFACES_AK = (0.0, 5120.0, 13881.0, 19344.0, 20087.0, 15597.0, 8880.0, 3057.0, 0.0)
INTERFACES_BK = (0.0, 0.0, 0.0054, 0.0597, 0.2035, 0.4384, 0.6807, 0.8739, 1.0)

#: Variable or its prefix -> (mean, scale).
SCALES = {
    "PRESsfc": (1.0e5, 2.0e3),
    "surface_temperature": (280.0, 20.0),
    "air_temperature": (260.0, 15.0),
    "specific_total_water": (3.0e-3, 2.0e-3),
    "eastward_wind": (5.0, 10.0),
    "northward_wind": (0.0, 8.0),
    "TMP2m": (280.0, 20.0),
    "LHTFLsfc": (80.0, 60.0),
    "SHTFLsfc": (15.0, 40.0),
    "PRATEsfc": (3.0e-5, 5.0e-5),
    "ULWRFtoa": (230.0, 40.0),
    "USWRFtoa": (90.0, 80.0),
    "DSWRFtoa": (340.0, 300.0),
    "HGTsfc": (300.0, 700.0),
    "land_fraction": (0.4, 0.5),
    "ocean_fraction": (0.6, 0.5),
    "sea_ice_fraction": (0.05, 0.2),
}
LEVELED = ("air_temperature", "specific_total_water", "eastward_wind", "northward_wind")
PROGNOSTIC = [
    "PRESsfc",
    "surface_temperature",
    *(f"{name}_{level}" for name in LEVELED for level in range(NUM_LEVELS)),
]
FORCING = ["DSWRFtoa", "HGTsfc", "land_fraction", "ocean_fraction", "sea_ice_fraction"]
DIAGNOSTIC = ["TMP2m", "LHTFLsfc", "SHTFLsfc", "PRATEsfc", "ULWRFtoa", "USWRFtoa"]


def scales(name: str) -> tuple[float, float]:
    return next(value for prefix, value in SCALES.items() if name.startswith(prefix))


def coordinates(num_lat: int, num_lon: int) -> tuple[np.ndarray, np.ndarray]:
    latitude = np.degrees(np.arcsin(np.polynomial.legendre.leggauss(num_lat)[0]))
    return latitude, np.arange(num_lon) * 360.0 / num_lon


def write_checkpoint(path: Path, shape: tuple[int, int], embed_dim: int, num_layers: int) -> None:
    """An untrained deterministic SFNO of ACE2's variables, as fme stores it."""
    names = PROGNOSTIC + FORCING + DIAGNOSTIC
    normalization = {
        "means": {name: scales(name)[0] for name in names},
        "stds": {name: scales(name)[1] for name in names},
    }
    settings = {
        "builder": {
            "type": "SphericalFourierNeuralOperatorNet",
            "config": {
                "embed_dim": embed_dim,
                "num_layers": num_layers,
                "scale_factor": 1,
                "operator_type": "dhconv",
            },
        },
        "in_names": PROGNOSTIC + FORCING,
        "out_names": PROGNOSTIC + DIAGNOSTIC,
        "normalization": {"network": normalization, "loss": normalization},
        "ocean": {
            "surface_temperature_name": "surface_temperature",
            "ocean_fraction_name": "ocean_fraction",
        },
        "corrector": {"type": "atmosphere_corrector", "config": {"conserve_dry_air": True}},
    }
    latitude, longitude = (torch.tensor(c, dtype=torch.float32) for c in coordinates(*shape))
    described = DatasetInfo(
        horizontal_coordinates=LatLonCoordinates(lat=latitude, lon=longitude),
        vertical_coordinate=HybridSigmaPressureCoordinate(
            ak=torch.tensor(INTERFACES_AK), bk=torch.tensor(INTERFACES_BK)
        ),
        timestep=datetime.timedelta(hours=6),
    )
    torch.manual_seed(0)
    step = StepSelector(type="single_module", config=settings)
    stepper = StepperConfig(step=step).get_stepper(described)
    torch.save({"stepper": stepper.get_state()}, path)


def write_data(folder: Path, shape: tuple[int, int], num_steps: int) -> None:
    """Smooth random fields in fme's layout: forcing/2001.nc and initial.nc."""
    latitude, longitude = coordinates(*shape)
    generator = np.random.default_rng(0)
    ripple = np.sin(np.radians(latitude))[:, None] * np.cos(2 * np.radians(longitude))
    times = xr.DataArray(
        6.0 * np.arange(num_steps + 1),
        dims="time",
        attrs={"units": "hours since 2001-01-01", "calendar": "noleap"},
    )
    record = xr.Dataset(coords={"time": times, "lat": latitude, "lon": longitude})
    for name in [*PROGNOSTIC, *FORCING]:
        mean, scale = scales(name)
        moving = generator.standard_normal((num_steps + 1, 1, 1))
        field = mean + scale * (0.5 * ripple + 0.1 * moving)
        if name.endswith("_fraction"):
            field = np.broadcast_to(
                (ripple > 0) == (name == "ocean_fraction"), moving.shape[:1] + shape
            )
            field = 0.0 * field if name == "sea_ice_fraction" else 1.0 * field
        record[name] = (("time", "lat", "lon"), field.astype(np.float32))
    for k, (ak, bk) in enumerate(zip(INTERFACES_AK, INTERFACES_BK, strict=True)):
        record[f"ak_{k}"], record[f"bk_{k}"] = ak, bk
    (folder / "forcing").mkdir()
    record[
        [*FORCING, "surface_temperature", *(n for n in record if n[:3] in ("ak_", "bk_"))]
    ].to_netcdf(folder / "forcing" / "2001.nc")
    initial = record[PROGNOSTIC].isel(time=[0])
    path = AceFiles(folder).initial_conditions
    path.parent.mkdir()
    initial.swap_dims(time="sample").to_netcdf(path)


def timed(command: list[str]) -> np.ndarray:
    """Seconds of a whole process on one thread: on the clock, and of the processor."""
    started, used = time.perf_counter(), children_seconds()
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr[-3000:]}")
    return np.array([time.perf_counter() - started, children_seconds() - used])


def children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def fme_seconds(study: Path, folder: Path, num_steps: int) -> np.ndarray:
    """Two inference runs after each other, as is usual today; each writes its monthly means."""
    warming = [{"type": "constant", "config": {"amplitude": 4.0}}]
    total = np.zeros(2)
    for label, perturbations in (("baseline", []), ("p4K", warming)):
        command = fme_inference_command(
            *(AceFiles(study), study / "ckpt.tar", folder / label, num_steps),
            sst_perturbations=perturbations,
            data_writer={"save_prediction_files": False, "save_monthly_files": True},
        )
        total += timed(command)
    return total


def respeval_seconds(study: Path, folder: Path, num_steps: int) -> np.ndarray:
    options = [
        f"--forcing={study / 'forcing'}",
        f"--initial-condition={AceFiles(study).initial_conditions}",
        f"--steps={num_steps}",
        f"--output={folder}",
    ]
    return timed([sys.executable, "-m", "respeval", "run", str(study / "ckpt.tar"), *options])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--shape", type=int, nargs=2, default=(45, 90), metavar=("LAT", "LON"))
    parser.add_argument("--embed-dim", type=int, default=64)
    parser.add_argument("--num-layers", type=int, default=4)
    options = parser.parse_args()
    shape = (options.shape[0], options.shape[1])
    with tempfile.TemporaryDirectory() as name:
        study = Path(name)
        write_checkpoint(study / "ckpt.tar", shape, options.embed_dim, options.num_layers)
        write_data(study, shape, options.steps)
        ratios = []
        for number in range(options.rounds):
            apart = fme_seconds(study, study / f"fme{number}", options.steps)
            paired = respeval_seconds(study, study / f"respeval{number}", options.steps)
            ratios.append(paired / apart)
            print(
                f"round {number + 1}: two fme runs {apart[0]:.1f} s ({apart[1]:.1f} of the processor), one "
                f"respeval run {paired[0]:.1f} s ({paired[1]:.1f}), ratio {ratios[-1][0]:.2f} "
                f"({ratios[-1][1]:.2f})",
                flush=True,
            )
        on_clock, of_processor = np.median(ratios, axis=0)
        low, high = np.min(ratios, axis=0)[0], np.max(ratios, axis=0)[0]
        print(
            f"{shape[0]} x {shape[1]}, embed {options.embed_dim}, {options.num_layers} layers, "
            f"{options.steps} steps: median ratio {on_clock:.2f} ({low:.2f} to {high:.2f}), of processor "
            f"time {of_processor:.2f}; goal 0.60"
        )


if __name__ == "__main__":
    main()
