"""Small studies on real files: a random native checkpoint with its forcing and initial conditions."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
import yaml

from respeval.analysis.results import analyse
from respeval.case.roles import settings_of
from respeval.checkpoints.exported.reader import ExportManifest, save_exported
from respeval.checkpoints.native import Manifest, NativeEmulator, load_checkpoint, save_checkpoint
from respeval.distributed.comm import Comm
from respeval.distributed.stop import StopSignals
from respeval.fields.calendar import to_seconds
from respeval.fields.grid import Grid
from respeval.plan.execution import Execution
from respeval.plan.plan import Plan
from respeval.plan.resume import go_on, read_snapshot
from respeval.run_folder.folder import RunFolder
from respeval.runner import Reporter, execute

GRID = Grid.legendre_gauss(8, 16)
DAY_S = 86_400


def variable(name: str, units: str = "K") -> dict[str, str]:
    return {"name": name, "units": units, "long_name": name.replace("_", " ")}


def manifest(grid: Grid = GRID, **changes: Any) -> Manifest:
    """A small SFNO with two temperature levels, surface temperature and precipitation."""
    degrees = min(grid.num_lat, grid.num_lon // 2)
    norm = {"mean": 280.0, "scale": 10.0, "residual_scale": 1.0}
    content: dict[str, Any] = {
        "architecture": {
            "name": "sfno",
            "arguments": {"embed_dim": 4, "num_layers": 2},
            "transform": {"lmax": degrees, "mmax": degrees, "grid": grid.kind},
        },
        "grid": {
            "kind": grid.kind,
            "latitude": grid.latitude.tolist(),
            "longitude": grid.longitude.tolist(),
        },
        "timestep_s": DAY_S,
        "calendar": "noleap",
        "prognostic": [variable(n) for n in ("air_temperature_0", "air_temperature_1", "skin")],
        "diagnostic": [variable("rain", "kg m-2 s-1")],
        "forcing": [variable("ocean_fraction", "1"), variable("sunlight", "W m-2")],
        "surface_temperature": "skin",
        "ocean_fraction": "ocean_fraction",
        "land_fraction": "land_fraction",
        "roles": {
            "near_surface_temperature": "air_temperature_1",
            "column_temperature": ["air_temperature_0", "air_temperature_1"],
            "surface_level": "air_temperature_1",
            "upper_level": "air_temperature_0",
        },
        "normalization": {
            "air_temperature_0": norm,
            "air_temperature_1": norm,
            "skin": norm,
            "rain": {"mean": 3e-5, "scale": 1e-5},
            "ocean_fraction": {"mean": 0.5, "scale": 0.5},
            "sunlight": {"mean": 300.0, "scale": 150.0},
        },
        "prediction": "full",
        "num_noise_channels": 0,
    }
    return Manifest.model_validate({**content, **changes})


def export_manifest(grid: Grid = GRID, **changes: Any) -> ExportManifest:
    """The manifest of an exported network with the variables of `manifest`."""
    content = manifest(grid).model_dump(exclude={"architecture", "climatology"}, exclude_unset=True)
    return ExportManifest.model_validate({"format": "respeval-export/1", **content, **changes})


def export_native(native: Path, path: Path) -> Path:
    """Export the network of a native checkpoint, with the same manifest beside it."""
    emulator = load_checkpoint(native)
    content = emulator.manifest.model_dump(
        exclude={"architecture", "climatology"}, exclude_unset=True
    )
    fields = {name: mean.tolist() for name, mean in emulator.climatology.items()}
    named = {"format": "respeval-export/1", "architecture": "sfno", "climatology": fields}
    save_exported(path, emulator.network, ExportManifest.model_validate(content | named))
    return path


def checkpoint(path: Path, seed: int = 0, **changes: Any) -> Path:
    """Write a native checkpoint with small random weights."""
    torch.manual_seed(seed)
    emulator = NativeEmulator(manifest(**changes))
    with torch.no_grad():  # weak enough for a rollout to settle
        emulator.network.decoder[0].weight.mul_(0.1)  # type: ignore[operator, union-attr]
    save_checkpoint(path, emulator)
    return path


def ocean_fraction(grid: Grid) -> np.ndarray:
    """Ocean in half of the longitudes, one coastal column at 0.6 and one at exactly 0.5."""
    fraction = np.zeros(grid.shape)
    fraction[:, : grid.num_lon // 2] = 1.0
    fraction[:, 0] = 0.6
    fraction[:, grid.num_lon // 2 - 1] = 0.5
    return fraction


def forcing(
    grid: Grid = GRID, num_times: int = 91, start: str = "2001-01-01", calendar: str = "noleap"
) -> xr.Dataset:
    """Daily forcing: a travelling SST, an ocean fraction, a season of sunlight."""
    time = np.arange(num_times, dtype=np.float64)
    longitude = np.radians(grid.longitude)
    latitude = np.radians(grid.latitude)[:, None]
    phase = longitude - 0.1 * time[:, None, None]
    sst = 285.0 + 10.0 * np.cos(latitude) + 2.0 * np.sin(phase)
    sunlight = 300.0 + 100.0 * np.sin(latitude) * np.cos(time / 58.0)[:, None, None]
    shape = (num_times, *grid.shape)
    return xr.Dataset(
        {
            "skin": (("time", "lat", "lon"), np.broadcast_to(sst, shape), {"units": "K"}),
            "sunlight": (
                ("time", "lat", "lon"),
                np.broadcast_to(sunlight, shape),
                {"units": "W m-2"},
            ),
            "ocean_fraction": (("lat", "lon"), ocean_fraction(grid), {"units": "1"}),
            "land_fraction": (("lat", "lon"), 1.0 - ocean_fraction(grid), {"units": "1"}),
        },
        {
            "time": ("time", time, {"units": f"days since {start}", "calendar": calendar}),
            "lat": ("lat", grid.latitude, {"units": "degrees_north"}),
            "lon": ("lon", grid.longitude, {"units": "degrees_east"}),
        },
    )


def initial(
    grid: Grid = GRID, days: tuple[int, ...] = (0, 0, 0), start: str = "2001-01-01"
) -> xr.Dataset:
    """One random state for each day after `start`."""
    draw = np.random.default_rng(1).normal(280.0, 5.0, (3, len(days), *grid.shape))
    names = ("air_temperature_0", "air_temperature_1", "skin")
    return xr.Dataset(
        {name: (("sample", "lat", "lon"), draw[i], {"units": "K"}) for i, name in enumerate(names)},
        {
            "time": (
                "sample",
                np.array(days, np.float64),
                {"units": f"days since {start}", "calendar": "noleap"},
            ),
            "lat": ("lat", grid.latitude),
            "lon": ("lon", grid.longitude),
        },
    )


def write_study(
    folder: Path, num_samples: int = 3, num_times: int = 91, grid: Grid = GRID, **case: Any
) -> Path:
    """A folder with tiny.pt, forcing.nc, initial.nc and case.yaml; returns the checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    forcing(grid, num_times=num_times).to_netcdf(folder / "forcing.nc")
    initial(grid, days=(0,) * num_samples).to_netcdf(folder / "initial.nc")
    content: dict[str, Any] = {
        "forcing": "forcing.nc",
        "initial_condition": "initial.nc",
        "days": 75,
        "perturbations": {
            "p4K": {"type": "uniform", "amplitude_K": 4.0},
            "p2K": {"type": "uniform", "amplitude_K": 2.0},
        },
        "bands": {"tropics": [0, 30], "midlatitudes": [30, 60]},
        "tropical_lat_max": 30,
    }
    (folder / "case.yaml").write_text(yaml.safe_dump({**content, **case}))
    return checkpoint(folder / "tiny.pt", grid=grid)


def run(
    planned: Plan,
    folder: Path,
    execution: Execution | None = None,
    signals: StopSignals | None = None,
    comm: Comm | None = None,
) -> Path:
    """Execute a plan in this process and analyse it, as `respeval run` does; returns the folder."""
    comm = comm or Comm()
    layout = dataclasses.replace(planned.layout, provenance={"checkpoint": "test"})
    header = {
        "case_digest": planned.case.digest(),
        "checkpoint_sha256": "-",
        "roles": dataclasses.asdict(planned.roles),
    }
    output = RunFolder(folder, header, layout, to_seconds(planned.forcing.starts[0]))
    progress = output.open()
    assert not progress.finished
    try:
        begin = read_snapshot(planned, folder, progress, comm)
        planned = go_on(planned, folder, progress, comm)
        execution, told = execution or Execution(), progress.quarantined
        execute(planned, output, comm, execution, Reporter(), signals, begin, told)
        output.join()
        analyse(folder, settings_of(planned.case, planned.roles, planned.emulator.spec.levels_hPa))
        output.finish()
    finally:
        output.close()
    return folder


def numbers(folder: Path) -> dict[str, np.ndarray]:
    """All numbers of a finished run: `file/variable`, those of the segments too."""
    found = {}
    for path in sorted(folder.glob("**/*.nc")):
        with xr.open_dataset(path, decode_times=False) as dataset:
            for name in dataset.variables:
                values = dataset[name].values
                texts = values.dtype.kind == "O"
                key = f"{path.relative_to(folder)}/{name}"
                found[key] = values.astype(str) if texts else values
    return found


def assert_equal_runs(folder: Path, expected: Path, but: str | None = None) -> None:
    """Two finished runs have the same files with the same numbers, to the last bit.

    but: a variable that may differ.
    """
    got, wanted = numbers(folder), numbers(expected)
    assert got.keys() == wanted.keys()
    assert any(name.startswith("segments/") for name in wanted)
    for name, values in wanted.items():
        if but is None or not name.endswith(f"/{but}"):
            assert got[name].dtype == values.dtype, name
            assert got[name].tobytes() == values.tobytes(), name
    assert (folder / "summary.json").read_bytes() == (expected / "summary.json").read_bytes()


def training_states(num_times: int) -> xr.Dataset:
    """Consecutive states and forcing of the study, day by day, for a gradient probe."""
    days = initial(days=tuple(range(num_times)))
    time = days["time"].values
    days["rain"] = days["skin"] * 1e-7
    days["rain"].attrs["units"] = "kg m-2 s-1"
    states = days.drop_vars(["skin", "time"]).rename(sample="time")
    states = states.assign_coords(time=("time", time))
    return xr.merge([forcing(num_times=num_times), states], compat="override")
