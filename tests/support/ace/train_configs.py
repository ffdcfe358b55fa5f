"""The `fme` training configurations of the checkpoints that the tests read.

Four small models that together have what the reader must cope with:

    deterministic  SphericalFourierNeuralOperatorNet as in ACE2: all correctors, forcing of the next step
    stochastic     NoiseConditionedSFNO, ensemble loss (CRPS and energy score), grouped filters
    labels         NoiseConditionedSFNO conditioned on the data set's label, isotropic noise
    interpolate    SFNO-v0.1.0: fractional ocean, insolation computed by fme itself
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.ace import climate

VALIDATION_START = "2001-02-15T00:00:00"
#: Label of a data set -> its file.
LABELS = {"autumn": "2000.nc", "winter": "2001.nc"}

OCEAN = {
    "surface_temperature_name": "surface_temperature",
    "ocean_fraction_name": "ocean_fraction",
}
WATER = [name for name in climate.LAYERS if name.startswith("specific_total_water")]
CORRECTOR = {
    "type": "atmosphere_corrector",
    "config": {
        "conserve_dry_air": True,
        "zero_global_mean_moisture_advection": True,
        "moisture_budget_correction": "advection_and_precipitation",
        "force_positive_names": [*WATER, "PRATEsfc", "LHTFLsfc"],
    },
}
POSITIVE_ONLY = {
    "type": "atmosphere_corrector",
    "config": {"force_positive_names": [*WATER, "PRATEsfc"]},
}
ENSEMBLE_LOSS = {
    "loss": {
        "type": "EnsembleLoss",
        "kwargs": {"crps_weight": 0.9, "energy_score_weight": 0.1},
    },
    "n_ensemble": 2,
}
PLAIN_LOSS = {"loss": {"type": "MSE"}}

NOISE_CONDITIONED = {
    "embed_dim": 16,
    "noise_embed_dim": 8,
    "num_layers": 2,
    "filter_num_groups": 2,
    "pos_embed": False,
    "normalize_big_skip": True,
    "affine_norms": True,
}


def models() -> dict[str, dict[str, Any]]:
    """Model name -> what sets it apart from the others."""
    return {
        "deterministic": {
            "builder": {
                "type": "SphericalFourierNeuralOperatorNet",
                "config": {"embed_dim": 16, "num_layers": 2, "operator_type": "dhconv"},
            },
            "step": {"corrector": CORRECTOR, "next_step_forcing_names": ["DSWRFtoa"]},
            "training": PLAIN_LOSS,
        },
        "stochastic": {
            "builder": {
                "type": "NoiseConditionedSFNO",
                "config": NOISE_CONDITIONED | {"context_pos_embed_dim": 4},
            },
            "step": {"corrector": CORRECTOR, "next_step_forcing_names": ["DSWRFtoa"]},
            "training": ENSEMBLE_LOSS,
        },
        "labels": {
            "builder": {
                "type": "NoiseConditionedSFNO",
                "conditional": True,
                "config": NOISE_CONDITIONED | {"noise_type": "isotropic", "label_embed_dim": 3},
            },
            "step": {"corrector": POSITIVE_ONLY},
            "training": ENSEMBLE_LOSS,
        },
        "interpolate": {
            "builder": {
                "type": "SFNO-v0.1.0",
                "config": {"embed_dim": 16, "num_layers": 2, "scale_factor": 1},
            },
            "step": {
                "corrector": POSITIVE_ONLY,
                "ocean": OCEAN | {"interpolate": True},
            },
            "stepper": {
                "derived_forcings": {
                    "insolation": {
                        "insolation_name": "DSWRFtoa",
                        "solar_constant": {"value": climate.SOLAR_CONSTANT},
                    }
                }
            },
            "training": PLAIN_LOSS,
        },
    }


def data_sets(folder: Path, name: str) -> dict[str, dict[str, Any]]:
    """What a model is trained on, and what it is validated on; one data set per label."""
    plain = {"data_path": str(folder / "training_data")}
    before, after = {"stop_time": VALIDATION_START}, {"start_time": VALIDATION_START}
    if name != "labels":
        return {"train": plain | {"subset": before}, "validation": plain | {"subset": after}}
    labelled = [plain | {"file_pattern": file, "labels": [label]} for label, file in LABELS.items()]
    return {"train": {"concat": labelled}, "validation": labelled[-1] | {"subset": after}}


def step_config(folder: Path, name: str) -> dict[str, Any]:
    """The network with its variables, normalization, ocean and corrector."""
    model = models()[name]
    statistics = folder / "statistics"
    normalization = {
        kind: {
            "global_means_path": str(statistics / "centering.nc"),
            "global_stds_path": str(statistics / f"scaling-{scaling}.nc"),
        }
        for kind, scaling in (("network", "full-field"), ("residual", "residual"))
    }
    return {
        "builder": model["builder"],
        "in_names": [*climate.FORCING, *climate.PROGNOSTIC],
        "out_names": [*climate.PROGNOSTIC, *climate.DIAGNOSTIC],
        "normalization": normalization,
        "ocean": OCEAN,
        **model["step"],
    }


def train_config(folder: Path, name: str, num_epochs: int) -> dict[str, Any]:
    """The configuration of `python -m fme.ace.train`; `folder` holds the data and gets the model."""
    model = models()[name]
    data = data_sets(folder, name)
    metrics_off = {key: {"enabled": False} for key in ("snapshot", "mean_map", "power_spectrum")}
    return {
        "experiment_dir": str(folder / "models" / name),
        "save_checkpoint": True,
        "validate_using_ema": True,
        "max_epochs": num_epochs,
        "seed": 0,
        "train_loader": {
            "dataset": data["train"],
            "batch_size": 8,
            "time_buffer": 47,
        },
        "validation": {
            "loader": {
                "dataset": data["validation"],
                "batch_size": 8,
                "time_buffer": 15,
            },
            "aggregator": metrics_off,
        },
        "train_evaluation_samples": 8,
        "optimization": {"optimizer_type": "AdamW", "lr": 3e-3},
        "ema": {"decay": 0.98},
        "stepper": {
            "step": {"type": "single_module", "config": step_config(folder, name)},
            **model.get("stepper", {}),
        },
        "stepper_training": {"n_forward_steps": 1, **model["training"]},
        "logging": {"log_to_wandb": False, "log_to_file": False},
    }
