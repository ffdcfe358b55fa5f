"""Train the small genuine ACE checkpoints of the tests, and write the data that they need.

    python -m tests.support.ace.make_fixtures       (`make ace` calls it)

needs the environment of `make ace-venv` and nothing else; about a minute on two cores. The folder
.ace-fixtures is left as it is where the same scripts and packages made it:

    training_data/YEAR.nc            everything, (time, lat, lon); HGTsfc (lat, lon), global_mean_co2 (time)
    forcing/forcing_YEAR.nc          forcing variables, surface temperature, hybrid coordinate
    initial_conditions/ic_2000.nc    prognostic variables of four dates, (sample, lat, lon), time (sample)
    statistics/*.nc                  means and scales of the normalization
    models/NAME/train.yaml           what train_configs.py says of the model
    models/NAME/training_checkpoints/ckpt.tar, best_ckpt.tar
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support import ROOT

if TYPE_CHECKING:
    import xarray as xr

HERE = Path(__file__).resolve().parent
FOLDER = ROOT / ".ace-fixtures"
MADE_FROM = [*(HERE / f"{name}.py" for name in ("climate", "train_configs", "make_fixtures"))]
#: For every process that runs fme: the CPU even where there is a GPU, and nothing sent anywhere.
FME_ENVIRONMENT = {"FME_FORCE_CPU": "1", "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1"}
KEY_FILE = "made_from.txt"
NUM_EPOCHS = 5
NUM_PROCESSES = 2
#: Steps of the data: the first days of October and November, mid-December, New Year.
INITIAL_STEPS = [0, 124, 300, 368]


def key() -> str:
    """A checksum of everything that the fixtures depend on."""
    sources = [*MADE_FROM, ROOT / "requirements-ace.lock"]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()


def is_current() -> bool:
    """Whether the folder was made, to its end, by these very scripts and packages."""
    made_from = FOLDER / KEY_FILE
    return made_from.is_file() and made_from.read_text() == key()


def write_data() -> None:
    """Training data, forcing, initial conditions and statistics, in the layouts of ACE2's."""
    from tests.support.ace import climate

    state = climate.make_climate()
    hybrid = [name for name in state if str(name).startswith(("ak_", "bk_"))]
    forcing = [*climate.FORCING, "surface_temperature", *hybrid]
    write_yearly(state, FOLDER / "training_data", "")
    write_yearly(state[forcing], FOLDER / "forcing", "forcing_")
    initial = state[climate.PROGNOSTIC].isel(time=INITIAL_STEPS).swap_dims(time="sample")
    (FOLDER / "initial_conditions").mkdir()
    initial.to_netcdf(FOLDER / "initial_conditions" / "ic_2000.nc")
    write_statistics(state.drop_vars(hybrid), FOLDER / "statistics")


def write_yearly(state: xr.Dataset, folder: Path, prefix: str) -> None:
    """PREFIX2000.nc and so on; what has no time dimension is in every file."""
    folder.mkdir(parents=True)
    years = state["time"].dt.year
    for year in sorted(set(years.values.tolist())):
        file = folder / f"{prefix}{year}.nc"
        state.isel(time=(years == year).values).to_netcdf(file)


def write_statistics(state: xr.Dataset, folder: Path) -> None:
    """Means, standard deviations, and standard deviations of the change over one step."""
    folder.mkdir()
    state.mean().to_netcdf(folder / "centering.nc")
    state.std().to_netcdf(folder / "scaling-full-field.nc")
    change = state.drop_vars("HGTsfc").diff("time").std()
    change.assign(HGTsfc=1.0).to_netcdf(folder / "scaling-residual.nc")


def train(name: str) -> None:
    """`python -m fme.ace.train` in a process of its own; raises RuntimeError with the end of its log."""
    import yaml

    from tests.support.ace import train_configs

    start = time.monotonic()
    target = FOLDER / "models" / name
    target.mkdir(parents=True)
    config = target / "train.yaml"
    config.write_text(yaml.safe_dump(train_configs.train_config(FOLDER, name, NUM_EPOCHS)))
    command = [sys.executable, "-m", "fme.ace.train", str(config)]
    done = subprocess.run(
        command,
        env=os.environ | FME_ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    (target / "train.log").write_text(done.stdout)
    if done.returncode != 0:
        raise RuntimeError(f"training {name} failed:\n{done.stdout[-4000:]}")
    print(f"trained {name}: {time.monotonic() - start:.0f} s", flush=True)


def main() -> None:
    if is_current():
        return
    from tests.support.ace import train_configs

    made_from = key()
    print(f"making the ACE fixtures in {FOLDER.name}", flush=True)
    shutil.rmtree(FOLDER, ignore_errors=True)
    write_data()
    with ThreadPoolExecutor(NUM_PROCESSES) as pool:
        list(pool.map(train, train_configs.models()))
    (FOLDER / KEY_FILE).write_text(made_from)


if __name__ == "__main__":
    main()
