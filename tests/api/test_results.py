"""`respeval.open`, `compare`, `inspect` and `probe`: what is in files, as objects."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from matplotlib.figure import Figure

import respeval
from respeval.checkpoints.native import load_checkpoint
from respeval.plotting.scalars import SCALAR_FIGURES
from tests.support import studies
from tests.support.invoking import invoke

STEPS = 30


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    return studies.write_study(folder, num_times=91, segment="10 steps", steps=STEPS, days=None)


@pytest.fixture(scope="module")
def finished(checkpoint: Path) -> Path:
    return respeval.run(checkpoint, output=checkpoint.parent / "out").folder


@pytest.mark.parametrize("name", ["diagnostics", "response", "zonal", "group_means", "running"])
def test_files_are_opened_lazily_and_hold_what_is_written(finished: Path, name: str) -> None:
    with respeval.open(finished) as run:
        dataset = getattr(run, name)
        assert not all(v.variable._in_memory for v in dataset.data_vars.values())
        assert getattr(run, name) is dataset
        with xr.open_dataset(finished / f"{name}.nc", decode_times=False) as plain:
            for key, values in plain.data_vars.items():
                if values.dtype.kind == "f" and not str(key).startswith("time"):
                    np.testing.assert_array_equal(dataset[key].values, values.values)


def test_a_longer_run_replaces_files_that_are_open(checkpoint: Path, tmp_path: Path) -> None:
    short = respeval.run(checkpoint, output=tmp_path / "out", steps=10)
    before, kept = short.zonal, short.diagnostics
    with pytest.raises(respeval.InputError, match="--extend"):
        respeval.run(checkpoint, output=tmp_path / "out", steps=20)
    longer = respeval.run(checkpoint, output=tmp_path / "out", steps=20, extend=True)
    assert [each.sizes["time"] for each in (before, short.zonal, longer.zonal)] == [1, 2, 2]
    expected = longer.diagnostics["land_ocean_warming_ratio"].values
    assert np.isfinite(kept["land_ocean_warming_ratio"].values).all()
    np.testing.assert_array_equal(short.diagnostics["land_ocean_warming_ratio"].values, expected)


def test_summary_warnings_and_table_are_the_commands(finished: Path) -> None:
    run = respeval.open(finished)
    assert run.summary == json.loads((finished / "summary.json").read_text())
    assert run.warnings == run.summary["warnings"]
    assert run.table() in invoke("diagnose", finished)
    assert "land/ocean" in run.table()
    assert run.figures["response_map"] == finished / "figures" / "response_map.png"


def test_every_figure_that_the_run_drew_has_a_method(finished: Path) -> None:
    run = respeval.open(finished)
    methods = {"running": "running_ratios", "reference": "agreement_with_reference"}
    assert len(run.figures) > 4
    for name in run.figures:
        named = SCALAR_FIGURES.get(name) is not None
        plot = run.plot.scalars if named else getattr(run.plot, methods.get(name, name))
        figure = plot(*([name] if named else []))
        assert isinstance(figure, Figure)
        assert figure._repr_png_()[:8] == b"\x89PNG\r\n\x1a\n"  # type: ignore[attr-defined]


def test_figures_leave_pyplot_alone(finished: Path) -> None:
    import matplotlib.pyplot

    respeval.open(finished).plot.response_map("rain")
    assert matplotlib.pyplot.get_fignums() == []


@pytest.mark.parametrize("method", ["annual_cycle", "running_ratios", "index_series"])
def test_a_figure_without_data_says_so(checkpoint: Path, tmp_path: Path, method: str) -> None:
    run = respeval.run(checkpoint, output=tmp_path / "out", steps=2, segment="all")
    with pytest.raises(respeval.InputError, match="has no|has not what"):
        getattr(run.plot, method)()
    with pytest.raises(respeval.InputError, match=r"no output 'T' \(it has: .*rain"):
        run.plot.response_map("T")


def test_a_notebook_sees_numbers_and_a_picture_with_names_escaped(
    finished: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "<script>alert(1)</script>"
    shutil.copytree(finished, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["checkpoint_description"] = {"trained": "<img src=x>"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    html = respeval.open(folder)._repr_html_()
    assert "&lt;script&gt;alert(1)" in html
    assert "&lt;img src=x&gt;" in html
    assert "<script" not in html
    assert "<img src=x" not in html
    assert "land/ocean ratio" in html
    assert html.count("data:image/png;base64,") == 1


def test_an_unfinished_run_can_be_looked_at(checkpoint: Path, tmp_path: Path) -> None:
    run = respeval.run(checkpoint, output=tmp_path / "out")
    manifest = {**run.manifest, "status": "stopped", "reason": "stopped by SIGTERM"}
    (run.folder / "manifest.json").write_text(json.dumps(manifest))
    (run.folder / "response.nc").unlink()
    opened = respeval.open(run.folder)
    with pytest.raises(respeval.InputError, match=r"stopped \(stopped by SIGTERM\); `segments`"):
        _ = opened.response
    assert sum(each.sizes["time"] for each in opened.segments) == 3
    assert "stopped" in repr(opened)
    assert "response.nc" in opened._repr_html_() or opened._repr_html_()


@pytest.mark.parametrize("what", ["missing", "empty"])
def test_what_is_no_run_is_refused(tmp_path: Path, what: str) -> None:
    folder = tmp_path / what
    if what == "empty":
        folder.mkdir()
    with pytest.raises(respeval.InputError, match="no such folder|is no folder of a run"):
        respeval.open(folder)


def test_a_comparison_is_the_commands(finished: Path, checkpoint: Path, tmp_path: Path) -> None:
    other = studies.checkpoint(checkpoint.parent / "other.pt", seed=1)
    run = respeval.run(other, case=checkpoint.parent / "case.yaml", output=tmp_path / "other")
    comparison = respeval.compare([respeval.open(finished), run], output=tmp_path / "python")
    told = invoke("compare", finished, run.folder, "-o", tmp_path / "command")
    assert comparison.table().split() == told.partition("files: ")[0].split()
    with xr.open_dataset(tmp_path / "command" / "comparison.nc") as written:
        xr.testing.assert_equal(
            comparison.dataset["land_ocean_warming_ratio"], written["land_ocean_warming_ratio"]
        )
    csv = "comparison.csv"
    assert (tmp_path / "python" / csv).read_bytes() == (tmp_path / "command" / csv).read_bytes()
    assert isinstance(comparison.plot.overview(), Figure)
    assert isinstance(comparison.plot.diagnostic("land_ocean_warming_ratio"), Figure)
    titles = [axis.get_title(loc="left") for axis in comparison.plot.maps(perturbation="p4K").axes]
    shown = [title[3:].replace("\n", "") for title in titles[:2]]
    assert shown == [str(name) for name in comparison.dataset["run"].values]
    assert "land/ocean ratio" in comparison._repr_html_()


def test_maps_of_a_comparison_begin_with_the_truth(finished: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copytree(finished, tmp_path / name)
    with xr.open_dataset(finished / "response.nc", decode_times=False) as response:
        response[["air_temperature_1", "area_weight"]].to_netcdf(tmp_path / "a" / "truth.nc")
    figure = respeval.compare([tmp_path / "a", tmp_path / "b"]).plot.maps()
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert titles[:3] == ["a  truth", "b  a", "c  b"]
    assert len({tuple(axis.collections[0].norm.boundaries) for axis in figure.axes[:3]}) == 1  # type: ignore[attr-defined]


def test_one_run_is_no_comparison(finished: Path) -> None:
    with pytest.raises(respeval.InputError, match="give a list"):
        respeval.compare(str(finished))


def test_an_inspection_says_what_the_command_says(checkpoint: Path) -> None:
    found = respeval.inspect(checkpoint)
    assert found.table() == invoke("inspect", checkpoint)
    assert found.to_dict()["prognostic"] == dict.fromkeys(
        ["air_temperature_0", "air_temperature_1", "skin"], "K"
    )
    assert found.num_parameters == sum(
        p.numel() * (2 if p.is_complex() else 1)
        for p in load_checkpoint(checkpoint).network.parameters()
    )
    assert "air_temperature_0 (K)" in found._repr_html_()


def test_a_probe_is_the_commands_and_keeps_gradients(
    checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    studies.training_states(12).to_netcdf(tmp_path / "training.nc")
    sizes: dict[str, Any] = {"num_batches": 2, "batch_size": 2, "seed": 3}
    invoke(
        *(
            "gradient-probe",
            checkpoint,
            "--data",
            tmp_path / "training.nc",
            "-o",
            tmp_path / "command",
        ),
        *("--batches", 2, "--batch-size", 2, "--seed", 3),
    )
    emulator = load_checkpoint(checkpoint).train()
    weights = list(emulator.network.parameters())
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    gradients = [weight.grad for weight in weights]
    capfd.readouterr()
    found = respeval.probe(emulator, data=tmp_path / "training.nc", **sizes)
    assert capfd.readouterr() == ("", "")
    written = respeval.Probe(tmp_path / "command")
    np.testing.assert_array_equal(found.profile["grad_rms"], written.profile["grad_rms"])
    assert found.summary == written.summary
    assert all(held is weight.grad for held, weight in zip(gradients, weights, strict=True))
    assert all(bool((held == 1).all()) for held in gradients if held is not None)
    assert emulator.training
    assert isinstance(found.plot.gradient_profile(), Figure)
    assert "Statistics of every arm" in found._repr_html_()
