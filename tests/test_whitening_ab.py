"""The example that trains: equal starts, equal batches, and a table from what it measured."""

from __future__ import annotations

import argparse
import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from respeval.fields.grid import Grid
from respeval.loss_probe.arms import parse_arms
from respeval.planet.datasets import make_record
from respeval.plotting.style import line_colors
from tests.support import ROOT

EXAMPLE = ROOT / "examples" / "whitening_ab.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("whitening_ab", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["whitening_ab"] = module
    spec.loader.exec_module(module)
    return module


def test_arms_start_alike_and_see_the_same_batches(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_record(Grid.legendre_gauss(24, 48), 80).to_netcdf(tmp_path / "training.nc")
    response = {"worst_ratio_error": 0.5, "worst_column_error_K": 1.0}
    monkeypatch.setattr(example, "respond", lambda emulator: response)
    options = argparse.Namespace(
        demo=tmp_path, output=tmp_path, pretrain=2, epochs=2, epoch_length=1
    )
    arms = parse_arms(["none", "per_sample", "per_sample:gamma=1.0"])
    results = example.run_seed(0, arms, options)
    none, half, whole = (results[str(arm)] for arm in arms)
    assert len(none["epochs"]) == 3
    assert none["epochs"][0] == half["epochs"][0] == whole["epochs"][0]
    assert none["epochs"][-1] != half["epochs"][-1]
    again = example.run_seed(0, arms[:1], options)
    assert again["none"] == none  # equal seeds, equal numbers: nothing else tells arms apart
    assert all(math.isfinite(value) for value in none["epochs"][-1]["rollout_bias"])
    assert np.isfinite(none["snr"]["end"]).all()
    assert example.first_below(none, none) <= 2
    example.show({"0": results})
    example.show_variables({"0": results})
    figure = example.draw({"0": results}, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    assert [panel.get_title(loc="left")[:3] for panel in figure.axes] == [
        "a  ",
        "b  ",
        "c  ",
        "d  ",
    ]
    lines = [line for line in figure.axes[0].lines if line.get_label() in results]
    assert [line.get_label() for line in lines] == list(map(str, arms))
    assert [line.get_color() for line in lines] == line_colors(3)
