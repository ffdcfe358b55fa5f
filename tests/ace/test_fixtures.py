"""The fixtures are what `fme` makes and takes, and stable enough to be run for long."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from fme.ace.stepper import load_stepper

from tests.support.ace import train_configs
from tests.support.ace.files import AceFiles, run_fme_inference

MODELS = list(train_configs.models())


def load(path: Path) -> dict:
    return torch.load(path, map_location="cpu", weights_only=False)


@pytest.mark.parametrize("name", MODELS)
def test_a_training_checkpoint_holds_raw_weights_their_average_and_the_optimizer(
    ace: AceFiles, name: str
) -> None:
    last, best = load(ace.checkpoint(name)), load(ace.checkpoint(name, "best_ckpt"))
    assert last["optimization"]["optimizer_state_dict"]["state"]
    assert "optimization" not in best
    assert best["epoch"] == last["epoch"], "the last epoch was not the best; train longer"
    raw, best_weights = (file["stepper"]["step"]["module"] for file in (last, best))
    for key, averaged in last["ema"]["module_name_to_ema_name"].items():
        average = last["ema"]["ema_params"][averaged]
        _, parameter = key.split(".", 1)
        assert torch.equal(best_weights[parameter], average)
        assert not torch.equal(raw[parameter], average)


@pytest.mark.parametrize("name", MODELS)
def test_fme_loads_it_and_runs_it(ace: AceFiles, name: str, tmp_path: Path) -> None:
    stepper = load_stepper(ace.checkpoint(name))
    options = {"labels": ["winter"]} if name == "labels" else {}
    out = run_fme_inference(ace, ace.checkpoint(name), tmp_path, 20, samples=[0, 3], **options)
    assert (out.sizes["sample"], out.sizes["time"]) == (2, 20)
    seen = xr.open_dataset(sorted(ace.folder.glob("training_data/*.nc"))[0])
    for variable in stepper.out_names:
        inside(out[variable], seen[variable])


def inside(predicted: xr.DataArray, seen: xr.DataArray) -> None:
    """Finite, and no further outside the training data's range than that range is wide."""
    low, high = float(seen.min()), float(seen.max())
    assert np.isfinite(predicted).all()
    assert low - (high - low) < predicted.min()
    assert predicted.max() < high + (high - low)
