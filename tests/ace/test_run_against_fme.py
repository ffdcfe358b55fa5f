"""`respeval run` of genuine ACE checkpoints gives what `python -m fme.ace.inference` gives."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from tests.support.ace.files import AceFiles, run_fme_inference, run_respeval

NUM_STEPS = 200
PATCH = {
    "amplitude": 2.0,
    "lat_center": 0.0,
    "lon_center": 200.0,
    "lat_width": 60.0,
    "lon_width": 120.0,
}
PERTURBATIONS: dict[str, list[dict[str, Any]]] = {
    "baseline": [],
    "p4K": [{"type": "constant", "config": {"amplitude": 4.0}}],
    "patch": [{"type": "greens_function", "config": PATCH}],
}
OPTIONS = [
    "--perturb=p4K=uniform:4",
    "--perturb=patch=patch:2,lat_center=0,lon_center=200,lat_width=60,lon_width=120",
    "--initial-condition-scope=none",
]


def time_means(
    ace: AceFiles, checkpoint: Path, folder: Path, num_steps: int, **more: Any
) -> dict[str, xr.Dataset]:
    """fme's mean over time and samples of each climate, one process after the other."""
    means = {}
    for label, sst in PERTURBATIONS.items():
        predicted = run_fme_inference(
            *(ace, checkpoint, folder / label, num_steps), sst_perturbations=sst, **more
        )
        means[label] = predicted.astype(np.float64).mean(["sample", "time"])
    return means


def assert_same_means(folder: Path, expected: dict[str, xr.Dataset], tolerance: float) -> None:
    """Every output of every group within `tolerance` of its scale in the checkpoint's climate."""
    with xr.open_dataset(folder / "group_means.nc", decode_timedelta=False) as opened:
        ours = opened.load()
    names = [str(n) for n, v in ours.data_vars.items() if v.dims == ("group", "time", "lat", "lon")]
    assert {"TMP2m", "surface_temperature", "PRATEsfc", "PRESsfc"} <= set(names)
    for label, theirs in expected.items():
        for name in names:
            got = ours[name].sel(group=label).isel(time=0).values
            wanted = theirs[name].values
            scale = float(np.std(wanted)) or 1.0
            np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance * scale, err_msg=name)


@pytest.mark.parametrize("model", ["deterministic", "interpolate"])
def test_group_means_are_those_of_separate_inference_runs(
    ace: AceFiles, model: str, tmp_path: Path
) -> None:
    checkpoint, samples = ace.checkpoint(model), [0, 1]
    expected = time_means(ace, checkpoint, tmp_path / "fme", NUM_STEPS, samples=samples)
    options = ["--segment=all", *OPTIONS]
    run_respeval(ace, checkpoint, tmp_path / "ours", NUM_STEPS, *options, samples=samples)
    assert_same_means(tmp_path / "ours", expected, 1e-4)
    if model == "deterministic":  # the other one's network can't be split
        split = ["--spatial=2x1", *options]
        run_respeval(
            ace, checkpoint, tmp_path / "split", NUM_STEPS, *split, samples=samples, num_processes=2
        )
        assert_same_means(tmp_path / "split", expected, 1e-4)
    difference = expected["p4K"]["TMP2m"] - expected["baseline"]["TMP2m"]
    assert float(np.abs(difference).max()) > 0.1  # the comparison is of climates that differ


def test_stored_weights_are_fme_s_without_the_moving_average(ace: AceFiles, tmp_path: Path) -> None:
    checkpoint = ace.checkpoint("deterministic")
    predicted = run_fme_inference(ace, checkpoint, tmp_path / "fme", 20, use_ema_if_available=False)
    expected = predicted.astype(np.float64).mean(["sample", "time"])
    options = ["--segment=all", "--reader=ema=false", "--initial-condition-scope=none"]
    told = run_respeval(ace, checkpoint, tmp_path / "stored", 20, *options)
    assert "weights: as stored, without a moving average" in told
    assert_same_means(tmp_path / "stored", {"baseline": expected}, 1e-4)
    run_respeval(ace, checkpoint, tmp_path / "average", 20, "--segment=all")
    with pytest.raises(AssertionError):
        assert_same_means(tmp_path / "average", {"baseline": expected}, 1e-4)
    for folder, words in (("stored", "without a moving average"), ("average", "moving average (")):
        manifest = json.loads((tmp_path / folder / "manifest.json").read_text())
        assert words in manifest["checkpoint_description"]["weights"]


def test_derived_variables_are_fme_s(ace: AceFiles, tmp_path: Path) -> None:
    checkpoint = ace.checkpoint("deterministic")
    predicted = run_fme_inference(ace, checkpoint, tmp_path / "fme", 20).astype(np.float64)
    names = ["total_water_path", "total_energy_ace2_path_tendency"]
    options = ["--segment=all", f"--reader=derived={','.join(names)}"]
    run_respeval(ace, checkpoint, tmp_path / "ours", 20, *options)
    with xr.open_dataset(tmp_path / "ours" / "group_means.nc", decode_timedelta=False) as ours:
        for name in names:
            wanted = predicted[name].mean(["sample", "time"]).values
            got = ours[name].sel(group="baseline").isel(time=0).values
            np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-3 * float(np.std(wanted)))
            assert ours[name].attrs["units"] != "1"


@pytest.mark.parametrize("model", ["deterministic", "labels", "interpolate"])
def test_the_net_flux_is_fme_s_with_the_forcing_s_sunlight(
    ace: AceFiles, model: str, tmp_path: Path
) -> None:
    """Of two dates; the sunlight is read from the files, or computed where the model does so."""
    name, found = "net_energy_flux_toa_into_atmosphere", {}
    options = ["--segment=9 steps", *(["--reader=labels=autumn"] if model == "labels" else [])]
    for folder, derived in (("own", []), ("derived", [f"--reader=derived={name}"])):
        out = tmp_path / folder
        run_respeval(ace, ace.checkpoint(model), out, 20, *options, *derived, samples=[0, 3])
        with xr.open_dataset(out / "diagnostics.nc") as opened:
            found[folder] = float(opened["baseline_toa_net_flux"])
    assert found["own"] == pytest.approx(found["derived"], abs=1e-3)
    with xr.open_dataset(tmp_path / "own" / "zonal.nc", decode_times=False) as opened:
        assert opened["DSWRFtoa"].attrs["comment"].endswith("of each step the value at its end")
        circles = opened["DSWRFtoa"].sel(surface="all").values
        stops = [9, 18, 20]
    if model != "interpolate":
        with xr.open_mfdataset(
            ace.forcing, data_vars="minimal", compat="override", coords="minimal"
        ) as forcing:
            sun = forcing["DSWRFtoa"].astype(np.float64)
            with xr.open_dataset(tmp_path / "own_initial.nc") as initial:
                starts = initial["time"].values
            for sample, start in enumerate(starts):
                after = sun.sel(time=slice(start, None)).isel(time=slice(1, 21)).mean("lon").values
                for segment, stop in enumerate(stops):
                    wanted = after[stops[segment - 1] if segment else 0 : stop].mean(axis=0)
                    np.testing.assert_allclose(circles[sample, segment], wanted, rtol=1e-6)


@pytest.mark.parametrize("layout", ["2x1", "2x2"])
def test_a_stochastic_model_draws_the_same_noise_where_it_is_split(
    ace: AceFiles, tmp_path: Path, layout: str
) -> None:
    checkpoint, num_steps = ace.checkpoint("stochastic"), 40
    options = ["--num-realizations=2", "--segment=all", "--perturb=p4K=uniform:4"]
    run_respeval(ace, checkpoint, tmp_path / "whole", num_steps, *options)
    split, num_processes = [f"--spatial={layout}", *options], 2 if layout == "2x1" else 4
    run_respeval(
        ace, checkpoint, tmp_path / "split", num_steps, *split, num_processes=num_processes
    )
    with xr.open_dataset(tmp_path / "whole" / "group_means.nc", decode_timedelta=False) as whole:
        groups = {str(g): whole.sel(group=g).isel(time=0) for g in whole["group"].values}
        assert_same_means(tmp_path / "split", groups, 1e-4)
        noise = groups["p4K"]["TMP2m"] - groups["baseline"]["TMP2m"]
        assert float(np.abs(noise).max()) > 0.1


def test_a_stochastic_model_agrees_in_distribution(ace: AceFiles, tmp_path: Path) -> None:
    checkpoint, num_members, num_steps = ace.checkpoint("stochastic"), 16, 40
    ensemble = {"n_ensemble_per_ic": num_members, "seed": 3}
    theirs = run_fme_inference(ace, checkpoint, tmp_path / "fme", num_steps, **ensemble)
    theirs = theirs.astype(np.float64).mean("time")
    options = [f"--num-realizations={num_members}", "--save-members", "--segment=all"]
    run_respeval(ace, checkpoint, tmp_path / "ours", num_steps, *options)
    (segment,) = (tmp_path / "ours" / "segments").glob("*.nc")
    with xr.open_dataset(segment, decode_timedelta=False) as opened:
        ours = opened.load()
    for name in ("TMP2m", "air_temperature_1", "PRESsfc"):
        members = ours[f"{name}_members"].sel(group="baseline").squeeze("time", drop=True)
        got, wanted = members.values, theirs[name].values
        assert got.shape == wanted.shape == (num_members, 16, 32)
        variance = got.var(axis=0, ddof=1), wanted.var(axis=0, ddof=1)
        error = np.sqrt((variance[0] + variance[1]) / num_members)
        # In the ocean's surface and where nothing varies the members agree; leave those out.
        varies = error > 1e-6 * np.abs(wanted).max()
        z = ((got.mean(axis=0) - wanted.mean(axis=0)) / error)[varies]
        # Of z's mean square, 1.07 for t with 30 degrees of freedom, with few independent cells.
        assert 0.6 < np.mean(z**2) < 1.7, name
        assert 0.7 < variance[0][varies].mean() / variance[1][varies].mean() < 1.4, name


@pytest.mark.parametrize("model", ["deterministic", "stochastic"])
def test_two_processes_and_short_windows_give_the_same_means(
    ace: AceFiles, model: str, tmp_path: Path
) -> None:
    checkpoint, samples = ace.checkpoint(model), [0, 1, 2]

    def run(folder: str, *options: str, num_processes: int = 1) -> None:
        given = ["--segment=10 steps", *options]
        out = tmp_path / folder
        run_respeval(
            *(ace, checkpoint, out, 20, *given), samples=samples, num_processes=num_processes
        )

    run("one")
    run("two", num_processes=2)
    run("short", "--window=3")
    with xr.open_dataset(tmp_path / "one" / "group_means.nc", decode_times=False) as opened:
        one = opened.load()
    for folder in ("two", "short"):
        path = tmp_path / folder / "group_means.nc"
        with xr.open_dataset(path, decode_times=False) as other:
            for name in one.data_vars:
                np.testing.assert_allclose(other[name], one[name], rtol=1e-12, err_msg=str(name))
    response = one["TMP2m"].sel(group="p4K") - one["TMP2m"].sel(group="baseline")
    assert 0 < float(np.abs(response).max()) < 20


@pytest.mark.parametrize("model", ["deterministic", "stochastic"])
def test_a_run_that_goes_on_gives_the_same_means(ace: AceFiles, model: str, tmp_path: Path) -> None:
    """What correctors hold of the initial state, and the noise, go on as if nothing had happened."""
    checkpoint, samples = ace.checkpoint(model), [0, 1]
    run_respeval(ace, checkpoint, tmp_path / "whole", 20, "--segment=7 steps", samples=samples)
    run_respeval(ace, checkpoint, tmp_path / "parts", 7, "--segment=7 steps", samples=samples)
    run_respeval(
        ace, checkpoint, tmp_path / "parts", 20, "--segment=7 steps", "--extend", samples=samples
    )
    with (
        xr.open_dataset(tmp_path / "whole" / "group_means.nc", decode_times=False) as whole,
        xr.open_dataset(tmp_path / "parts" / "group_means.nc", decode_times=False) as parts,
    ):
        assert whole.sizes["time"] == 3
        # The masks stay those of the shorter run.
        for name in [name for name, mean in whole.data_vars.items() if "group" in mean.dims]:
            assert parts[name].values.tobytes() == whole[name].values.tobytes(), name


@pytest.mark.parametrize("model", ["deterministic", "stochastic"])
def test_bfloat16_changes_the_numbers_as_the_run_says_before_it_begins(
    ace: AceFiles, model: str, tmp_path: Path
) -> None:
    """Of four steps of 6 hours, a day, which is as long as what is measured."""
    checkpoint, warming = ace.checkpoint(model), {}
    for precision in ("float32", "bfloat16"):
        out, options = tmp_path / precision, ["--segment=all", f"--precision={precision}"]
        run_respeval(ace, checkpoint, out, 4, *options, "--samples-per-batch=auto")
        with xr.open_dataset(out / "response.nc", decode_timedelta=False) as response:
            assert response.attrs["precision"] == precision
            field = response["TMP2m"].sel(perturbation="p4K") * response["area_weight"]
            warming[precision] = float(field.sum())
    measured = json.loads((tmp_path / "bfloat16" / "manifest.json").read_text())["measured"]
    entry = measured["precision"]["response"]["p4K"]
    assert entry["near_surface_K"] == pytest.approx(warming["bfloat16"], rel=1e-9)
    assert entry["near_surface_float32_K"] == pytest.approx(warming["float32"], rel=1e-9)
    assert 0.0 < entry["largest"] < math.inf
    assert warming["bfloat16"] != warming["float32"]
    assert measured["samples_per_batch"]["chosen"] == 1
