"""Checkpoints and data to measure with: an untrained SFNO with ACE2's variables, smooth random fields.

An untrained network costs what a trained one does; its last weights are small, so that it settles.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from respeval.case.file import load_case
from respeval.checkpoints.native import Manifest, NativeEmulator, save_checkpoint
from respeval.fields.grid import Grid
from respeval.plan.plan import Plan, prepare

NUM_LEVELS = 8
TIMESTEP_S = 21_600
START = "2001-01-01"

#: Variable or its prefix -> (mean, scale, units).
SCALES = {
    "PRESsfc": (1.0e5, 2.0e3, "Pa"),
    "surface_temperature": (280.0, 20.0, "K"),
    "air_temperature": (260.0, 15.0, "K"),
    "specific_total_water": (3.0e-3, 2.0e-3, "kg kg-1"),
    "eastward_wind": (5.0, 10.0, "m s-1"),
    "northward_wind": (0.0, 8.0, "m s-1"),
    "TMP2m": (280.0, 20.0, "K"),
    "LHTFLsfc": (80.0, 60.0, "W m-2"),
    "SHTFLsfc": (15.0, 40.0, "W m-2"),
    "PRATEsfc": (3.0e-5, 5.0e-5, "kg m-2 s-1"),
    "ULWRFtoa": (230.0, 40.0, "W m-2"),
    "USWRFtoa": (90.0, 80.0, "W m-2"),
    "DSWRFtoa": (340.0, 300.0, "W m-2"),
    "HGTsfc": (300.0, 700.0, "m"),
    "land_fraction": (0.4, 0.5, "1"),
    "ocean_fraction": (0.6, 0.5, "1"),
    "sea_ice_fraction": (0.05, 0.2, "1"),
}
LEVELED = ("air_temperature", "specific_total_water", "eastward_wind", "northward_wind")
PROGNOSTIC = (
    "PRESsfc",
    "surface_temperature",
    *(f"{name}_{level}" for name in LEVELED for level in range(NUM_LEVELS)),
)
FORCING = ("DSWRFtoa", "HGTsfc", "land_fraction", "ocean_fraction", "sea_ice_fraction")
DIAGNOSTIC = ("TMP2m", "LHTFLsfc", "SHTFLsfc", "PRATEsfc", "ULWRFtoa", "USWRFtoa")


def scales(name: str) -> tuple[float, float, str]:
    return next(value for prefix, value in SCALES.items() if name.startswith(prefix))


@dataclass(frozen=True)
class Size:
    """What is measured with: grid and network, and the steps and segments of a run."""

    shape: tuple[int, int]
    embed_dim: int
    num_layers: int
    num_steps: int
    segment: str
    num_samples: int = 1

    def __str__(self) -> str:
        samples = f", {self.num_samples} samples" if self.num_samples > 1 else ""
        return (
            f"{self.shape[0]} x {self.shape[1]}, embed {self.embed_dim}, {self.num_layers} layers, "
            f"{self.num_steps} steps in segments of {self.segment}{samples}"
        )

    @property
    def grid(self) -> Grid:
        return Grid.legendre_gauss(*self.shape)

    def start_dates(self) -> list[str]:
        """Dates of the samples in the file of initial conditions, one after every step."""
        hours = [number * TIMESTEP_S // 3600 for number in range(self.num_samples)]
        return [f"2001-01-{1 + hour // 24:02d} {hour % 24:02d}:00" for hour in hours]


def write_native(path: Path, size: Size) -> Path:
    """A native checkpoint of ACE2's variables with random weights."""
    grid = size.grid
    degrees = min(grid.num_lat, grid.num_lon // 2)

    def described(names: tuple[str, ...]) -> list[dict[str, str]]:
        return [{"name": name, "units": scales(name)[2], "long_name": name} for name in names]

    columns = [f"air_temperature_{level}" for level in range(NUM_LEVELS)]
    content: dict[str, Any] = {
        "architecture": {
            "name": "sfno",
            "arguments": {"embed_dim": size.embed_dim, "num_layers": size.num_layers},
            "transform": {"lmax": degrees, "mmax": degrees, "grid": grid.kind},
        },
        "grid": {
            "kind": grid.kind,
            "latitude": grid.latitude.tolist(),
            "longitude": grid.longitude.tolist(),
        },
        "timestep_s": TIMESTEP_S,
        "calendar": "noleap",
        "prognostic": described(PROGNOSTIC),
        "diagnostic": described(DIAGNOSTIC),
        "forcing": described(FORCING),
        "surface_temperature": "surface_temperature",
        "ocean_fraction": "ocean_fraction",
        "land_fraction": "land_fraction",
        "roles": {
            "near_surface_temperature": "TMP2m",
            "column_temperature": columns,
            "surface_level": columns[-1],
            "upper_level": columns[2],
        },
        "normalization": {
            name: {"mean": scales(name)[0], "scale": scales(name)[1]}
            for name in (*PROGNOSTIC, *DIAGNOSTIC, *FORCING)
        },
        "prediction": "full",
        "num_noise_channels": 0,
    }
    torch.manual_seed(0)
    emulator = NativeEmulator(Manifest.model_validate(content))
    with torch.no_grad():
        emulator.network.decoder[0].weight.mul_(0.01)  # type: ignore[operator, union-attr]
    save_checkpoint(path, emulator)
    return path


def write_data(folder: Path, size: Size) -> None:
    """forcing/2001.nc and initial_conditions/ic_2000.nc, smooth random fields in fme's layout."""
    grid, num_times = size.grid, size.num_steps + size.num_samples
    generator = np.random.default_rng(0)
    ripple = np.sin(np.radians(grid.latitude))[:, None] * np.cos(2 * np.radians(grid.longitude))
    hours = np.arange(num_times) * (TIMESTEP_S / 3600.0)
    time = xr.DataArray(
        hours, dims="time", attrs={"units": f"hours since {START}", "calendar": "noleap"}
    )
    coordinates = {"time": time, "lat": grid.latitude, "lon": grid.longitude}
    forcing, initial = xr.Dataset(coords=coordinates), xr.Dataset(coords=coordinates)
    for name in (*PROGNOSTIC, *FORCING):
        mean, scale, _ = scales(name)
        moving = generator.standard_normal((num_times, 1, 1))
        if name.endswith("_fraction"):
            covered = (ripple > 0) == (name == "ocean_fraction")
            fixed = covered * float(name != "sea_ice_fraction")
            field = np.broadcast_to(fixed, (num_times, *size.shape))
        else:
            kept = slice(None) if name in (*FORCING, "surface_temperature") else slice(0, 1)
            field = mean + scale * (0.5 * ripple + 0.1 * moving[kept])
        field = field.astype(np.float32)
        if name in (*FORCING, "surface_temperature"):
            forcing[name] = (("time", "lat", "lon"), field)
        if name in PROGNOSTIC:
            first = np.broadcast_to(field[:1], (num_times, *size.shape))
            initial[name] = (("time", "lat", "lon"), first)
    (folder / "forcing").mkdir(parents=True)
    forcing.assign(_interfaces()).to_netcdf(folder / "forcing" / "2001.nc")
    (folder / "initial_conditions").mkdir()
    starts = initial.isel(time=slice(0, size.num_samples)).swap_dims(time="sample")
    starts.to_netcdf(folder / "initial_conditions" / "ic_2000.nc")


def write_training(folder: Path, size: Size) -> Path:
    """training.nc: consecutive states with all variables, for a probe of one pair."""
    grid, generator = size.grid, np.random.default_rng(1)
    hours = np.arange(3) * (TIMESTEP_S / 3600.0)
    time = xr.DataArray(
        hours, dims="time", attrs={"units": f"hours since {START}", "calendar": "noleap"}
    )
    record = xr.Dataset(coords={"time": time, "lat": grid.latitude, "lon": grid.longitude})
    for name in (*PROGNOSTIC, *FORCING, *DIAGNOSTIC):
        mean, scale, units = scales(name)
        drawn = generator.standard_normal((3, *size.shape), dtype=np.float32)
        field = np.clip(drawn, 0, 1) if name.endswith("_fraction") else mean + scale * drawn
        record[name] = (("time", "lat", "lon"), field.astype(np.float32), {"units": units})
    record.to_netcdf(folder / "training.nc")
    return folder / "training.nc"


#: Of ACE2's hybrid levels, Pa and 1; fme reads them beside the forcing.
INTERFACES_AK = (0.0, 5120.0, 13881.0, 19344.0, 20087.0, 15597.0, 8880.0, 3057.0, 0.0)
INTERFACES_BK = (0.0, 0.0, 0.0054, 0.0597, 0.2035, 0.4384, 0.6807, 0.8739, 1.0)


def _interfaces() -> dict[str, float]:
    columns = {"ak": INTERFACES_AK, "bk": INTERFACES_BK}
    return {
        f"{name}_{k}": value for name, values in columns.items() for k, value in enumerate(values)
    }


def options_of(folder: Path, size: Size, **changes: Any) -> dict[str, Any]:
    """The case of a run over these data: one perturbed climate, or those of `changes`."""
    return {
        "forcing": str(folder / "forcing"),
        "initial_condition": str(folder / "initial_conditions" / "ic_2000.nc"),
        "steps": size.num_steps,
        "segment": size.segment,
        "perturbations": {"p4K": {"type": "uniform", "amplitude_K": 4.0}},
        **changes,
    }


def native_study(folder: Path, size: Size) -> Path:
    """A native checkpoint with the data that it needs; returns the checkpoint."""
    write_data(folder, size)
    return write_native(folder / "sfno.pt", size)


def run_command(checkpoint: Path, size: Size, folder: Path) -> list[str]:
    """Arguments of `respeval` for a run of `native_study`, or of one that ace_study.py wrote."""
    study = checkpoint.parent
    return [
        *("run", str(checkpoint), f"--output={folder}", "--threads=1"),
        f"--forcing={study / 'forcing'}",
        f"--initial-condition={study / 'initial_conditions' / 'ic_2000.nc'}",
        *(f"--start-date={date}" for date in size.start_dates()),
        f"--steps={size.num_steps}",
        f"--segment={size.segment}",
    ]


def native_plan(folder: Path, size: Size, **changes: Any) -> Plan:
    """The plan of a run of `native_study`."""
    return prepare(folder / "sfno.pt", load_case(None, options_of(folder, size, **changes)))
