"""Where the ACE fixtures lie, and what `fme` itself makes of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr
import yaml

from tests.support.ace.make_fixtures import FME_ENVIRONMENT


@dataclass(frozen=True)
class AceFiles:
    """The files of make_fixtures.py; it tells what is in them."""

    folder: Path

    @property
    def forcing_folder(self) -> Path:
        """Of yearly files."""
        return self.folder / "forcing"

    @property
    def training_folder(self) -> Path:
        """Of yearly files."""
        return self.folder / "training_data"

    @property
    def forcing(self) -> str:
        """A glob of yearly files."""
        return str(self.forcing_folder / "forcing_*.nc")

    @property
    def training_data(self) -> str:
        """A glob of yearly files."""
        return str(self.training_folder / "*.nc")

    @property
    def initial_conditions(self) -> Path:
        return self.folder / "initial_conditions" / "ic_2000.nc"

    def checkpoint(self, name: str, kind: str = "ckpt") -> Path:
        """ckpt.tar of a model, or best_ckpt.tar; `name` is a key of train_configs.models()."""
        return self.folder / "models" / name / "training_checkpoints" / f"{kind}.tar"

    def train_config(self, name: str) -> dict[str, Any]:
        """What `fme` was told to train the model."""
        config: dict[str, Any] = yaml.safe_load(
            (self.folder / "models" / name / "train.yaml").read_text()
        )
        return config


def environment() -> dict[str, str]:
    """One thread on the CPU, without wandb, and nothing that tells fme of other processes."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FME_")}
    return kept | FME_ENVIRONMENT


def fme_inference_command(
    files: AceFiles,
    checkpoint: Path,
    out: Path,
    num_steps: int,
    *,
    samples: Sequence[int] = (0,),
    sst_perturbations: Sequence[dict[str, Any]] = (),
    **options: Any,
) -> list[str]:
    """The command of one `python -m fme.ace.inference`, whose configuration is written to `out`.

    `samples` picks initial conditions; `sst_perturbations` are fme's own, such as
    {"type": "constant", "config": {"amplitude": 4.0}}; `options` are further keys of its
    configuration (labels, seed, n_ensemble_per_ic, ...). `out` gets all that fme writes.
    """
    loader: dict[str, Any] = {"dataset": {"data_path": str(files.forcing_folder)}}
    if sst_perturbations:
        loader["perturbations"] = {"sst": list(sst_perturbations)}
    config = {
        "experiment_dir": str(out),
        "n_forward_steps": num_steps,
        "forward_steps_in_memory": min(num_steps, 20),
        "checkpoint_path": str(checkpoint),
        "initial_condition": {
            "path": str(files.initial_conditions),
            "start_indices": {"list": list(samples)},
        },
        "forcing_loader": loader,
        "data_writer": {"save_prediction_files": True, "save_monthly_files": False},
        "logging": {"log_to_wandb": False, "log_to_file": False},
        **options,
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "inference.yaml").write_text(yaml.safe_dump(config))
    return [sys.executable, "-m", "fme.ace.inference", str(out / "inference.yaml")]


def run_fme_inference(
    files: AceFiles, checkpoint: Path, out: Path, num_steps: int, **options: Any
) -> xr.Dataset:
    """Every output (sample, time, lat, lon), float32, of `fme_inference_command`."""
    run(fme_inference_command(files, checkpoint, out, num_steps, **options))
    return xr.open_dataset(out / "autoregressive_predictions.nc", decode_timedelta=False).load()


def run_respeval(
    files: AceFiles,
    checkpoint: Path,
    out: Path,
    num_steps: int,
    *options: str,
    samples: Sequence[int] = (0,),
    num_processes: int = 1,
) -> str:
    """What `respeval run` of the same data said, under torchrun where it has several processes."""
    out.parent.mkdir(parents=True, exist_ok=True)
    initial = out.with_name(f"{out.name}_initial.nc")
    with xr.open_dataset(files.initial_conditions, decode_times=False) as opened:
        opened.isel(sample=list(samples)).to_netcdf(initial)
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={num_processes}"]
    return run(
        [
            *(sys.executable, *(launcher if num_processes > 1 else [])),
            *("-m", "respeval", "run", str(checkpoint), f"--forcing={files.forcing_folder}"),
            *(f"--initial-condition={initial}", f"--steps={num_steps}", f"--output={out}"),
            *options,
        ]
    )


def run(command: Sequence[str]) -> str:
    """All that a command said that ran to its end; a failure shows it."""
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stderr + done.stdout
