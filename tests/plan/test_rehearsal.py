"""What is measured before a run: the response in its precision beside float32's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
import xarray as xr

from tests.support.invoking import invoked
from tests.support.studies import export_native, write_study

STEPS = 4


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("respeval.analysis.results.Pictures", MagicMock())
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The first steps as one segment, in both precisions; what the second one said."""
    folder = tmp_path_factory.mktemp("precisions")
    checkpoint = write_study(folder, steps=STEPS, days=None)
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("respeval.analysis.results.Pictures", MagicMock())
        patch.setenv("COLUMNS", "160")
        for precision in ("float32", "bfloat16"):
            made[precision] = folder / precision
            command = ("run", checkpoint, "-o", made[precision], "--precision", precision)
            (folder / f"{precision}.txt").write_text(invoked(*command).stderr)
    return made


def measured(folder: Path) -> Any:
    return json.loads((folder / "manifest.json").read_text()).get("measured", {}).get("precision")


def test_the_error_is_that_of_two_whole_runs(runs: dict[str, Path]) -> None:
    """Runs as long as what is measured have the responses from which it can be computed anew."""
    found = measured(runs["bfloat16"])
    assert (found["precision"], found["num_steps"], found["num_samples"]) == ("bfloat16", STEPS, 3)
    with (
        xr.open_dataset(runs["float32"] / "response.nc") as exact,
        xr.open_dataset(runs["bfloat16"] / "response.nc") as given,
    ):
        weight = exact["area_weight"].values
        for label in ("p4K", "p2K"):
            one, other = exact.sel(perturbation=label), given.sel(perturbation=label)
            errors = {}
            for name in ("air_temperature_0", "air_temperature_1", "skin", "rain"):
                error = np.sum(weight * (other[name] - one[name]).values ** 2) ** 0.5
                errors[name] = error / np.sum(weight * one[name].values ** 2) ** 0.5
            entry = found["response"][label]
            assert entry["output"] == max(errors, key=errors.__getitem__)
            assert entry["largest"] == pytest.approx(max(errors.values()), rel=1e-9)
            assert 1e-4 < entry["largest"] < 0.2
            for key, run in (("near_surface_K", other), ("near_surface_float32_K", one)):
                mean = np.sum(weight * run["air_temperature_1"].values)
                assert entry[key] == pytest.approx(mean, rel=1e-9)


def test_it_is_told_before_the_run_and_float32_tells_nothing(runs: dict[str, Path]) -> None:
    assert measured(runs["float32"]) is None
    text = (runs["bfloat16"].parent / "bfloat16.txt").read_text()
    entry = measured(runs["bfloat16"])["response"]["p4K"]
    assert "Response of the first 4 steps in bfloat16 (mean of 3 samples)" in text
    row = next(line for line in text.splitlines() if line.startswith("│ p4K"))
    assert f"{100 * entry['largest']:.2g} % │ {entry['output']}" in row
    assert f"{entry['near_surface_float32_K']:+.4f}" in row
    assert text.index("Response of the first") < text.index("in bfloat16 on 1 process")
    other = (runs["float32"].parent / "float32.txt").read_text()
    assert "in float32 on 1 process" in other
    assert "Response of the first" not in other


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_files_and_manifest_name_the_precision(runs: dict[str, Path], precision: str) -> None:
    manifest = json.loads((runs[precision] / "manifest.json").read_text())
    assert manifest["case"]["precision"] == precision
    with xr.open_dataset(runs[precision] / "response.nc") as response:
        assert response.attrs["precision"] == precision


def test_another_precision_is_another_run(runs: dict[str, Path]) -> None:
    checkpoint = runs["float32"].parent / "tiny.pt"
    told = invoked("run", checkpoint, "-o", runs["bfloat16"], code=2).output
    assert "precision bfloat16 -> float32" in told


def test_a_run_of_before_there_was_a_choice_is_one_in_float32(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(runs["float32"], tmp_path / "older")
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["case"]["precision"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    command = ["run", runs["float32"].parent / "tiny.pt", "-o", folder]
    assert "nothing to do" in invoked(*command).stderr
    told = invoked(*command, "--precision", "bfloat16", code=2).output
    assert "precision float32 -> bfloat16" in told


def test_what_was_measured_stays_when_a_run_goes_on(runs: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(runs["bfloat16"], tmp_path / "longer")
    command = ["run", runs["float32"].parent / "tiny.pt", "-o", folder, "--precision", "bfloat16"]
    text = invoked(*command, "--steps", "6", "--extend").stderr
    assert "Response of the first" not in text
    assert measured(folder) == measured(runs["bfloat16"])


def test_no_more_steps_are_measured_than_the_run_has(study: Path, tmp_path: Path) -> None:
    torch.set_float32_matmul_precision("medium")  # as a notebook may have done
    options = ["--steps", "2", "--precision", "bfloat16"]
    invoked("run", study, "-o", tmp_path / "out", *options)
    assert measured(tmp_path / "out")["num_steps"] == 2
    assert torch.get_float32_matmul_precision() == "highest"


def test_a_network_that_can_not_is_told_in_one_line(study: Path, tmp_path: Path) -> None:
    """torch.export fixed the numbers of this one."""
    exported = export_native(study, tmp_path / "tiny.pt2")
    options = ["--case", study.parent / "case.yaml", "--precision", "bfloat16"]
    told = invoked("run", exported, "-o", tmp_path / "out", *options, code=2).output
    assert "the network can't compute in bfloat16 (" in told
    assert told.strip().endswith("); leave precision out")
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_tf32_on_a_cpu_is_refused_before_anything_is_written(study: Path, tmp_path: Path) -> None:
    command = ["run", study, "-o", tmp_path / "out", "--precision", "tf32"]
    for more, code in (([], 2), (["--dry-run"], 1)):
        told = " ".join(invoked(*command, *more, code=code).output.split())
        assert "precision tf32 is of NVIDIA GPUs, and this run is on a CPU" in told
        assert not (tmp_path / "out").exists()


def test_measurements_that_are_none_are_refused(runs: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(runs["float32"], tmp_path / "broken")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "measured": [1]}))
    told = invoked("run", runs["float32"].parent / "tiny.pt", "-o", folder, code=2).output
    assert "manifest.json: what it says was measured can't be read" in told
