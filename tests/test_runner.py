"""The pipeline on a linear emulator whose trajectory is known exactly, and its invariances."""

from __future__ import annotations

import dataclasses
import json
import math
import signal
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import torch
import xarray as xr

from respeval.distributed.stop import StopSignals
from respeval.errors import BlowUpError, InputError, StoppedError
from respeval.files.netcdf import open_saved, write_netcdf
from respeval.plan.execution import Execution
from respeval.run_folder.joining import concatenate_segments, join_segments
from tests.support import studies
from tests.support.studies import GRID, run
from tests.support.toy import COUPLING, DRIFT, MEMORY, Spoiled, Toy, plan, study


def exact_means(
    folder: Path, delta_K: float, num_steps: int, scope: str = "ocean", forced_only: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Step by step in numpy: means over steps of (air, skin) for each sample, and the air's sum."""
    record = xr.open_dataset(folder / "forcing.nc")
    start = xr.open_dataset(folder / "initial.nc")
    first = (start["time"].values - record["time"].values[0]).astype("timedelta64[D]").astype(int)
    sea = np.broadcast_to(record["ocean_fraction"].values > 0.5, GRID.shape)
    means = []
    for s, offset in enumerate(first):
        air, skin = start["air"].values[s].copy(), start["skin"].values[s].copy()
        if not forced_only and scope != "none":
            skin = skin + delta_K if scope == "field" else np.where(sea, skin + delta_K, skin)
        total = np.zeros((2, *GRID.shape))
        for k in range(num_steps):
            now, then = (record["skin"].values[offset + k + j] for j in (0, 1))
            seen = np.where(sea, now + delta_K, now) if forced_only else skin
            air = MEMORY * air + COUPLING * seen
            skin = np.where(sea, then + delta_K, skin + DRIFT)
            total += np.stack([air, skin])
        means.append(total / num_steps)
    return np.array(means), sea


def test_group_means_follow_the_exact_trajectory(tmp_path: Path) -> None:
    folder = study(tmp_path / "study", days=(0, 5, 17))
    out = run(plan(folder, Toy()), tmp_path / "out")
    with open_saved(out / "group_means.nc") as means:
        assert list(means["group"].values) == ["baseline", "p4K", "m1K"]
        assert means["count"].values.tolist() == [[93.0, 84.0, 48.0]] * 3
        assert str(means["time_bnds"].values[1, 0]) == "2001-02-01 00:00:00"
        weight = means["count"] / means["count"].sum("time")
        for label, delta in (("baseline", 0.0), ("p4K", 4.0), ("m1K", -1.0)):
            expected, _ = exact_means(folder, delta, 75)
            got = (means[["air", "skin", "double"]] * weight).sum("time").sel(group=label)
            assert got["air"].values == pytest.approx(expected.mean(0)[0], rel=1e-13)
            assert got["skin"].values == pytest.approx(expected.mean(0)[1], rel=1e-13)
            assert got["double"].values == pytest.approx(2 * expected.mean(0)[0], rel=1e-13)
    with open_saved(out / "zonal.nc") as zonal:
        expected, sea = exact_means(folder, 4.0, 75)
        weight = zonal["count"] / zonal["count"].sum("time")
        got = (zonal["air"] * weight).sum("time").sel(group="p4K")
        land = studies.ocean_fraction(GRID) < 0.5  # the column at exactly 0.5 is neither
        for surface, mask in (("all", np.ones_like(sea)), ("ocean", sea), ("land", land)):
            circle = np.where(mask, expected[:, 0], 0).sum(-1) / mask.sum(-1)
            assert got.sel(surface=surface).values == pytest.approx(circle, rel=1e-13)


def test_the_response_of_the_toy_is_its_closed_form(tmp_path: Path) -> None:
    """Over ocean air' = 0.8 air + 0.3 (skin + d): after n steps the change is 1.5 d (1 - 0.8^n)."""
    folder = study(tmp_path / "study")
    out = run(plan(folder, Toy(), roles={"near_surface_temperature": "air"}), tmp_path / "out")
    steps = np.arange(1, 76)
    expected = np.mean(COUPLING / (1 - MEMORY) * 4.0 * (1 - MEMORY**steps))
    summary = json.loads((out / "summary.json").read_text())
    assert summary["p4K/ocean_warming/tropics"] == pytest.approx(expected, rel=1e-12)
    assert summary["p4K/land_warming/tropics"] == pytest.approx(0.0, abs=1e-12)
    assert summary["p4K/land_ocean_warming_ratio/tropics"] == pytest.approx(0.0, abs=1e-12)
    assert summary["p4K/vertical_warming_ratio_tropical_ocean"] == pytest.approx(1.0)
    assert summary["m1K/ocean_warming/midlatitudes"] == pytest.approx(-expected / 4, rel=1e-12)
    with open_saved(out / "response.nc") as response:
        fraction = studies.ocean_fraction(GRID)
        changed = np.where(fraction > 0.5, expected, 0.0)
        assert response["air"].sel(perturbation="p4K").values == pytest.approx(changed, abs=1e-11)


@pytest.mark.parametrize("scope", ["ocean", "field", "none"])
def test_scopes_of_the_initial_condition(tmp_path: Path, scope: str) -> None:
    folder = study(tmp_path / "study")
    out = run(plan(folder, Toy(), initial_condition_scope=scope, steps=6), tmp_path / "out")
    expected, _ = exact_means(folder, 4.0, 6, scope)
    with open_saved(out / "group_means.nc") as means:
        got = means["air"].sel(group="p4K").values[0]
        assert got == pytest.approx(expected.mean(0)[0], rel=1e-13)


def test_surface_temperature_that_is_only_a_forcing(tmp_path: Path) -> None:
    folder = study(tmp_path / "study")
    out = run(plan(folder, Toy(forced_only=True), steps=6), tmp_path / "out")
    expected, _ = exact_means(folder, 4.0, 6, forced_only=True)
    with open_saved(out / "group_means.nc") as means:
        got = means["air"].sel(group="p4K").values[0]
        assert got == pytest.approx(expected.mean(0)[0], rel=1e-13)


def test_a_planet_without_land(tmp_path: Path) -> None:
    folder = study(tmp_path / "study", np.ones(GRID.shape))
    planned = plan(folder, Toy(), steps=20)
    assert any(text.startswith("no cell of the grid is land") for text in planned.warnings)
    out = run(planned, tmp_path / "out")
    summary = json.loads((out / "summary.json").read_text())
    assert summary["p4K/land_warming/tropics"] is None
    assert summary["p4K/land_ocean_warming_ratio/tropics"] is None
    expected = np.mean(6.0 * (1 - MEMORY ** np.arange(1, 21)))
    assert summary["p4K/ocean_warming/tropics"] == pytest.approx(expected, rel=1e-12)
    with open_saved(out / "zonal.nc") as zonal:
        assert zonal["air"].sel(surface="land").isnull().all()
        assert zonal["air"].sel(surface="all").notnull().all()


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_a_planet_without_ocean_is_refused(tmp_path: Path, value: float) -> None:
    """At exactly 0.5 a cell is not ocean."""
    folder = study(tmp_path / "study", np.full(GRID.shape, value))
    with pytest.raises(InputError, match=r"no cell has an ocean fraction above 0\.5"):
        plan(folder, Toy(), steps=20)


def test_what_would_give_wrong_numbers_is_refused(tmp_path: Path) -> None:
    folder = study(tmp_path / "study")
    quiet = Toy()
    quiet.spec = dataclasses.replace(quiet.spec, num_noise_channels=0)
    with pytest.raises(InputError, match="num_realizations is 2, but the toy is deterministic"):
        plan(folder, quiet, num_realizations=2)
    small = {"type": "patch", "amplitude_K": 2, "lat_center": 1, "lon_center": 1}
    small |= {"lat_width": 0.1, "lon_width": 0.1}
    with pytest.raises(InputError, match=r"perturbations\.small changes SST in no cell"):
        plan(folder, Toy(), perturbations={"small": small})
    per_cent = study(tmp_path / "percent", 100 * studies.ocean_fraction(GRID))
    with pytest.raises(InputError, match="ocean fraction reaches from 0 to 100"):
        plan(per_cent, Toy())


def test_another_calendar_is_told(tmp_path: Path) -> None:
    folder = study(tmp_path / "study")
    toy = Toy()
    toy.spec = dataclasses.replace(toy.spec, calendar="standard")
    warnings = plan(folder, toy, bands={"thin": [0, 1]}).warnings
    assert "the forcing's calendar is noleap, the emulator's standard" in warnings
    assert "band thin [0, 1) holds no latitude of the grid" in warnings


def test_one_sample(tmp_path: Path) -> None:
    folder = study(tmp_path / "study", days=(3,))
    out = run(plan(folder, Toy(), steps=9), tmp_path / "out")
    expected, _ = exact_means(folder, -1.0, 9)
    with open_saved(out / "group_means.nc") as means:
        assert means["skin"].sel(group="m1K").values[0] == pytest.approx(expected[0, 1], rel=1e-13)


def numbers(folder: Path) -> dict[str, np.ndarray]:
    found = {}
    for name in ("group_means.nc", "zonal.nc", "response.nc", "diagnostics.nc"):
        with open_saved(folder / name) as dataset:
            found |= {
                f"{name}/{v}": dataset[v].values
                for v in dataset.data_vars
                if dataset[v].dtype.kind == "f"
            }
    return found


def test_results_do_not_depend_on_windows_or_batches(tmp_path: Path) -> None:
    folder = study(tmp_path / "study", days=(0, 5, 17))
    toys = [Toy(noise_K=0.5) for _ in range(4)]
    executions = [
        Execution(window_length=75, samples_per_batch=3),
        Execution(window_length=1, samples_per_batch=3),
        Execution(window_length=7, samples_per_batch=1),
        Execution(window_length=31, samples_per_batch=2),
    ]
    found = [
        numbers(run(plan(folder, toy), tmp_path / str(i), execution))
        for i, (toy, execution) in enumerate(zip(toys, executions, strict=True))
    ]
    assert [max(toy.batches) for toy in toys] == [9, 9, 3, 6]
    for other in found[1:]:
        assert other.keys() == found[0].keys()
        for name, values in found[0].items():
            assert np.array_equal(other[name], values, equal_nan=True), name


def test_paired_noise_cancels_and_unpaired_noise_does_not(tmp_path: Path) -> None:
    folder = study(tmp_path / "study")
    expected = np.mean(6.0 * (1 - MEMORY ** np.arange(1, 31)))
    errors = {}
    for paired in (True, False):
        planned = plan(folder, Toy(noise_K=1.0), steps=30, paired_noise=paired, seed=5)
        out = run(planned, tmp_path / str(paired))
        summary = json.loads((out / "summary.json").read_text())
        errors[paired] = abs(summary["p4K/ocean_warming/tropics"] - expected)
    assert errors[True] < 1e-11
    assert errors[False] > 1e-3


def test_every_step_draws_other_noise(tmp_path: Path) -> None:
    folder = study(tmp_path / "study", days=(0,))
    planned = plan(folder, Toy(noise_K=1.0), steps=3, segment="1 steps")
    out = run(planned, tmp_path / "out")
    with open_saved(out / "group_means.nc") as means:
        air, skin = (means[name].sel(group="baseline").values for name in ("air", "skin"))
    drawn = [air[k + 1] - MEMORY * air[k] - COUPLING * skin[k] for k in range(2)]
    assert np.std(drawn[0]) == pytest.approx(1.0, abs=0.3)
    assert abs(np.corrcoef(drawn[0].ravel(), drawn[1].ravel())[0, 1]) < 0.4


def test_without_a_land_fraction_land_is_what_is_not_ocean(tmp_path: Path) -> None:
    folder = study(tmp_path / "study")
    record = xr.load_dataset(folder / "forcing.nc").drop_vars("land_fraction")
    record.to_netcdf(folder / "forcing.nc")
    layout = plan(folder, Toy()).layout
    assert (layout.land_mask == (studies.ocean_fraction(GRID) <= 0.5)).all()
    assert (layout.ocean_mask == (studies.ocean_fraction(GRID) > 0.5)).all()


def test_realizations_share_the_state_and_differ_in_noise(tmp_path: Path) -> None:
    folder = study(tmp_path / "study", days=(0,))
    planned = plan(folder, Toy(noise_K=1.0), steps=1, num_realizations=2, segment="all")
    out = run(planned, tmp_path / "out")
    with open_saved(out / "zonal.nc") as zonal:
        baseline = zonal["air"].sel(group="baseline", surface="all").values[:, 0]
        assert zonal.sizes["sample"] == 2
        assert not np.allclose(baseline[0], baseline[1], atol=1e-3)
    quiet = run(plan(folder, Toy(), steps=1, num_realizations=2, segment="all"), tmp_path / "quiet")
    with open_saved(quiet / "zonal.nc") as zonal:
        baseline = zonal["air"].sel(group="baseline", surface="all").values[:, 0]
        assert np.array_equal(baseline[0], baseline[1])


def test_the_spinup_is_kept_on_disk_and_left_out_of_the_means(tmp_path: Path) -> None:
    folder = study(tmp_path / "study")
    planned = plan(folder, Toy(), spinup="40 days")
    out = run(planned, tmp_path / "out")
    manifest = json.loads((out / "manifest.json").read_text())
    assert [s["spinup"] for s in manifest["segments"]] == [True, True, False, False]
    assert all((out / s["file"]).is_file() for s in manifest["segments"])
    with open_saved(out / "group_means.nc") as means:
        assert means["count"].sum("time").values.tolist() == [3 * 35.0] * 3
        assert str(means["time_bnds"].values[0, 0]) == "2001-02-10 00:00:00"
    with pytest.raises(InputError, match="leaves nothing of a run of 75 days"):
        plan(folder, Toy(), spinup="75 days")


def test_the_means_hold_the_segments_one_after_the_other(tmp_path: Path) -> None:
    """xarray's own concatenation is the reference."""
    folder = study(tmp_path / "study")
    out = run(plan(folder, Toy(noise_K=0.5), segment="4 steps", spinup="8 days"), tmp_path / "out")
    files = sorted((out / "segments").iterdir())[2:]
    segments = [xr.load_dataset(file, decode_times=False) for file in files]
    for name, suffix in (("group_means.nc", ""), ("zonal.nc", "_zonal")):
        with xr.open_dataset(out / name, decode_times=False) as joined:
            assert joined.sizes["time"] == 17
            assert joined["time"].attrs == segments[0]["time"].attrs
            for variable in ("air", "skin", "double", "count"):
                expected = xr.concat([s[variable + suffix] for s in segments], dim="time")
                assert set(joined[variable].dims) == set(segments[0][variable + suffix].dims)
                assert joined[variable].attrs == segments[0][variable + suffix].attrs
                got = joined[variable].transpose(*expected.dims)
                assert got.values.tobytes() == expected.values.tobytes()
            bounds = xr.concat([s["time_bnds"] for s in segments], dim="time")
            assert (joined["time_bnds"].values == bounds.values).all()


def test_segments_in_another_order_of_dimensions_are_joined(tmp_path: Path) -> None:
    """As a run has them that began when time was not the first dimension."""
    folder = study(tmp_path / "study")
    out = run(plan(folder, Toy(noise_K=0.5), segment="4 steps", steps=12), tmp_path / "out")
    files = sorted((out / "segments").iterdir())
    concatenate_segments(files, tmp_path / "joined.nc")
    older = xr.load_dataset(files[1], decode_times=False).transpose("group", ...)
    older.to_netcdf(tmp_path / "older.nc")
    concatenate_segments([files[0], tmp_path / "older.nc", files[2]], tmp_path / "mixed.nc")
    with open_saved(tmp_path / "joined.nc") as joined, open_saved(tmp_path / "mixed.nc") as mixed:
        assert joined["air"].dims == ("time", "group", "lat", "lon")
        xr.testing.assert_identical(mixed, joined)


def test_texts_are_stored_as_characters(tmp_path: Path) -> None:
    labels = ["baseline", "p4K", "réchauffé"]
    dataset = xr.Dataset(
        {"start_date": ("sample", ["2001-01-01 00:00:00"]), "x": ("group", [1.0, 2.0, 3.0])},
        {"group": labels, "none": ("none", np.array([], dtype=str))},
    )
    write_netcdf(dataset, tmp_path / "labelled.nc")
    with netCDF4.Dataset(tmp_path / "labelled.nc") as opened:
        for name in ("start_date", "group", "none"):
            assert opened.variables[name].dtype == "S1"
    with open_saved(tmp_path / "labelled.nc") as found:
        assert found["group"].values.tolist() == labels
        assert found["x"].sel(group="réchauffé") == 3.0
        assert found["start_date"].values.tolist() == ["2001-01-01 00:00:00"]
        assert found["none"].size == 0
        write_netcdf(found.sel(group=["p4K"]), tmp_path / "shorter.nc")
    with open_saved(tmp_path / "shorter.nc") as shorter:
        assert shorter["group"].values.tolist() == ["p4K"]


def test_a_segment_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    folder = study(tmp_path / "study")
    out = run(plan(folder, Toy(), segment="4 steps", steps=8), tmp_path / "out")
    first, second = sorted((out / "segments").iterdir())
    spoiled = xr.load_dataset(second, decode_times=False).drop_vars("skin")
    spoiled.to_netcdf(tmp_path / "lacking.nc")
    with pytest.raises(InputError, match=r"lacking.nc can't be read as a segment .'skin'"):
        join_segments([first, tmp_path / "lacking.nc"], tmp_path, {})
    (tmp_path / "torn.nc").write_bytes(second.read_bytes()[:9000])
    with pytest.raises(InputError, match=r"torn.nc can't be read as a segment"):
        join_segments([first, tmp_path / "torn.nc"], tmp_path, {})
    assert not (tmp_path / "group_means.nc").exists()


def test_members_are_kept_on_request(tmp_path: Path) -> None:
    folder = study(tmp_path / "study", days=(0, 5, 17))
    out = run(plan(folder, Toy(), steps=8, segment="all", save_members=True), tmp_path / "out")
    expected, _ = exact_means(folder, 4.0, 8)
    (file,) = sorted((out / "segments").iterdir())
    with open_saved(file) as segment:
        got = segment["air_members"].sel(group="p4K").isel(time=0)
        assert got.values == pytest.approx(expected[:, 0], rel=1e-13)


def test_patches_and_patterns_are_what_the_emulator_sees(tmp_path: Path) -> None:
    folder = study(tmp_path / "study")
    field = np.random.default_rng(0).normal(0, 1, GRID.shape)
    field[studies.ocean_fraction(GRID) <= 0.5] = np.nan
    xr.Dataset(
        {"tos": (("lat", "lon"), field)}, {"lat": GRID.latitude, "lon": GRID.longitude}
    ).to_netcdf(folder / "pattern.nc")
    perturbations = {
        "future": {
            "type": "pattern",
            "file": str(folder / "pattern.nc"),
            "variable": "tos",
            "scale": 2.0,
        },
    }
    out = run(plan(folder, Toy(), steps=1, perturbations=perturbations), tmp_path / "out")
    with open_saved(out / "response.nc") as response:
        expected = np.nan_to_num(2.0 * field)
        assert response["skin"].values[0] == pytest.approx(expected, abs=1e-12)
    field[:, 2] = np.nan
    xr.Dataset(
        {"tos": (("lat", "lon"), field)}, {"lat": GRID.latitude, "lon": GRID.longitude}
    ).to_netcdf(folder / "pattern2.nc")
    perturbations["future"]["file"] = str(folder / "pattern2.nc")
    with pytest.raises(InputError, match="the pattern is missing in 8 cells where it is added"):
        plan(folder, Toy(), steps=1, perturbations=perturbations)


def test_the_preflight_measures_what_the_emulator_sees(tmp_path: Path) -> None:
    folder = study(tmp_path / "study")
    planned = plan(folder, Toy())
    change = planned.changes[0]
    sea = studies.ocean_fraction(GRID) > 0.5
    assert (change.label, change.mean_K, change.coast_K) == ("p4K", 4.0, 4.0)
    assert change.area_share == pytest.approx(GRID.area_weights()[sea].sum())
    far = plan(folder, Toy(limit=True), allow_out_of_range=True)
    place = folder / "initial.nc"
    assert f"{place}: air is out of range at 2001-01-01 00:00:00: up to 1" in "".join(far.warnings)


def test_every_step_of_a_member_gets_what_its_initial_state_conserves(tmp_path: Path) -> None:
    folder = study(tmp_path / "study")
    initial, held = [], []

    class Holding(Toy):
        def conserve(self, state: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor | None:
            initial.append(state.clone())
            return state.mean(dim=(-2, -1))

        def step(self, state: torch.Tensor, *rest: Any) -> torch.Tensor:
            held.append(rest[-1])
            return super().step(state, *rest)

    planned = plan(folder, Holding(), segment="4 steps", steps=9)
    studies.run(planned, tmp_path / "out")
    expected = [state.mean(dim=(-2, -1)) for state in initial]
    assert len(expected) == 3  # one batch per sample
    assert len(held) == 3 * 9
    for i, given in enumerate(held):
        assert torch.equal(given, expected[i % 3])


def test_a_blow_up_names_variable_group_sample_and_date(tmp_path: Path) -> None:
    folder = study(tmp_path / "study")

    class Bursting(Toy):
        def step(self, state: torch.Tensor, *rest: Any) -> torch.Tensor:
            outputs = super().step(state, *rest)
            if len(self.batches) == 3 * 39 + 2:  # step 40, the batch of sample 1
                outputs[1, 2, 3, 4] = math.nan
            return outputs

    with pytest.raises(
        BlowUpError, match=r"double of group p4K, sample 1 .* at 2001-02-10 .*\(step 40\)"
    ):
        run(plan(folder, Bursting()), tmp_path / "out", Execution(fail_fast=True))
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["status"] == "failed"
    assert [s["stop_step"] for s in manifest["segments"]] == [31]
    assert (tmp_path / "out" / manifest["segments"][0]["file"]).is_file()


BANDS = {"tropics": [0, 30], "midlatitudes": [30, 60]}


def test_a_sample_that_blows_up_leaves_the_means_of_all_groups(tmp_path: Path) -> None:
    """The others' means are those of a run without it, from the segment on in which it blew up."""
    folder = study(tmp_path / "study", days=(0, 0, 0))
    out = run(plan(folder, Spoiled(sample2=40), save_members=True, bands=BANDS), tmp_path / "out")
    manifest = json.loads((out / "manifest.json").read_text())
    (told,) = manifest["quarantined"]
    assert told["sample"] == 2
    assert (told["group"], told["variable"], told["step"]) == ("p4K", "air", 40)
    assert told["date"] == "2001-02-10 00:00:00"
    summary = json.loads((out / "summary.json").read_text())
    assert "sample 2 from the segment of 2001-02-10" in summary["quarantined"][0]
    (tmp_path / "two").mkdir()
    initial = xr.load_dataset(folder / "initial.nc").isel(sample=slice(0, 2))
    initial.to_netcdf(tmp_path / "two" / "initial.nc")
    (tmp_path / "two" / "forcing.nc").symlink_to(folder / "forcing.nc")
    healthy = run(plan(tmp_path / "two", Toy(noise_K=0.5)), tmp_path / "healthy")
    with (
        open_saved(out / "group_means.nc") as got,
        open_saved(healthy / "group_means.nc") as expected,
        open_saved(out / "zonal.nc") as zonal,
    ):
        assert got["count"].values.tolist() == [[93, 56, 32]] * 3
        for name in ("air", "skin", "double"):
            assert got[name].dims == ("group", "time", "lat", "lon")
            later = (got[name].values[:, 1:], expected[name].values[:, 1:])
            assert (later[0] == later[1]).all()
            assert not (got[name].values[:, 0] == expected[name].values[:, 0]).all()
        assert zonal["count"].values[:, 2].tolist() == [[31, 0, 0]] * 3
        assert zonal["air"].sel(surface="all").values[:, 2, 1:].size
        assert np.isnan(zonal["air"].sel(surface="all").values[:, 2, 1:]).all()
        assert np.isfinite(zonal["air"].sel(surface="all").values[:, :2]).all()
    with open_saved(out / "response.nc") as response, open_saved(out / "diagnostics.nc") as found:
        assert np.isfinite(response["air"]).all()
        assert np.isfinite(found["land_warming"]).all()
        assert np.isfinite(found["land_warming_stderr"]).all()


def test_a_sample_stays_out_after_a_stop(tmp_path: Path) -> None:
    folder = study(tmp_path / "study")
    planned = plan(folder, Spoiled(sample0=20, sample2=45))
    expected = run(planned, tmp_path / "whole")
    for number in (24, 50):

        class Stopping(Spoiled):
            at_step = number

            def step(self, state: torch.Tensor, *rest: Any) -> torch.Tensor:
                if rest[2].step == self.at_step:
                    signal.raise_signal(signal.SIGTERM)
                return super().step(state, *rest)

        again = plan(folder, Stopping(sample0=20, sample2=45))
        with StopSignals() as signals, pytest.raises(StoppedError):
            run(again, tmp_path / "out", signals=signals)
    run(planned, tmp_path / "out")
    studies.assert_equal_runs(tmp_path / "out", expected)
    told = [
        json.loads((f / "manifest.json").read_text())["quarantined"]
        for f in (expected, tmp_path / "out")
    ]
    assert told[0] == told[1]
    assert [entry["sample"] for entry in told[0]] == [0, 2]


def test_a_run_without_a_healthy_sample_ends(tmp_path: Path) -> None:
    folder = study(tmp_path / "study")
    toy = Spoiled(group=0, sample0=50, sample1=35, sample2=40)
    with pytest.raises(
        BlowUpError, match=r"in every sample: air of group baseline, sample 1 .*step 35"
    ):
        run(plan(folder, toy), tmp_path / "out")
    assert len(toy.batches) == 3 * 50  # it ends with the last of them
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["status"], len(manifest["segments"])) == ("failed", 1)


def test_a_perturbation_that_blows_up_in_every_sample_leaves_the_others_as_they_are(
    tmp_path: Path,
) -> None:
    """In one segment all the samples come back within it, and no number of the others changes."""
    folder = study(tmp_path / "study")
    healthy = run(plan(folder, Toy(noise_K=0.5)), tmp_path / "healthy")
    toy = Spoiled(sample0=50, sample1=35, sample2=40)
    out = run(plan(folder, toy), tmp_path / "out")
    with open_saved(out / "zonal.nc") as got, open_saved(healthy / "zonal.nc") as expected:
        assert got["group"].values.tolist() == ["baseline", "m1K"]
        same = expected.sel(group=["baseline", "m1K"])
        for name in ("air", "skin", "double", "count"):
            assert got[name].values.tobytes() == same[name].values.tobytes()
    with open_saved(out / "group_means.nc") as got, open_saved(healthy / "group_means.nc") as same:
        assert got["air"].values.tobytes() == same["air"].sel(group=got["group"]).values.tobytes()
    summary, expected = (json.loads((f / "summary.json").read_text()) for f in (out, healthy))
    assert not any(key.startswith("p4K/") for key in summary)
    assert all(summary[key] == expected[key] for key in summary if key.startswith("m1K/global"))
    assert "p4K, which blew up in every sample that was left" in summary["quarantined"][0]
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["status"], manifest["quarantined"]) == ("finished", [])
    assert [fault["group"] for fault in manifest["quarantined_groups"]] == ["p4K"]


def test_samples_come_back_when_a_perturbation_leaves_and_a_stop_changes_nothing(
    tmp_path: Path,
) -> None:
    folder = study(tmp_path / "study")
    faults = {"sample0": 20, "sample1": 35, "sample2": 65}
    expected = run(plan(folder, Spoiled(**faults)), tmp_path / "whole")
    with open_saved(expected / "group_means.nc") as means:
        assert means["count"].values.tolist() == [[31 * 2, 28 * 1, 16 * 3]] * 2
    for number in (24, 50, 70):

        class Stopping(Spoiled):
            at_step = number

            def step(self, state: torch.Tensor, *rest: Any) -> torch.Tensor:
                if rest[2].step == self.at_step:
                    signal.raise_signal(signal.SIGTERM)
                return super().step(state, *rest)

        with StopSignals() as signals, pytest.raises(StoppedError):
            run(plan(folder, Stopping(**faults)), tmp_path / "out", signals=signals)
    run(plan(folder, Spoiled(**faults)), tmp_path / "out")
    studies.assert_equal_runs(tmp_path / "out", expected)


def test_an_error_that_nobody_foresaw_is_in_the_manifest(tmp_path: Path) -> None:
    folder = study(tmp_path / "study")

    class Failing(Toy):
        def step(self, state: torch.Tensor, *rest: Any) -> torch.Tensor:
            if rest[2].step == 40:
                raise ZeroDivisionError("of the emulator's own")
            return super().step(state, *rest)

    with pytest.raises(ZeroDivisionError):
        run(plan(folder, Failing()), tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["status"] == "failed"
    assert manifest["reason"] == "unexpected ZeroDivisionError: of the emulator's own"
    assert len(manifest["segments"]) == 1


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 12.0 GiB for an array"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 12.00 GiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory"
        ),
    ],
    ids=["numpy", "cuda", "cpu"],
)
def test_too_little_memory_in_a_step_is_told_with_what_to_do(
    tmp_path: Path, error: Exception
) -> None:
    folder = study(tmp_path / "study")

    class Large(Toy):
        def step(self, state: torch.Tensor, *rest: Any) -> torch.Tensor:
            if rest[2].step == 40:
                raise error
            return super().step(state, *rest)

    with pytest.raises(
        InputError, match="too little memory to step the members .*--samples-per-ba"
    ):
        run(plan(folder, Large()), tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["status"] == "failed"
    assert "too little memory" in manifest["reason"]


def test_fractions_at_the_cutoff_are_one_thing_for_mask_and_sst(tmp_path: Path) -> None:
    """0.3 in float32 is above 0.3 in float64; the cell's SST and its mask must say the same."""
    fraction = np.full(GRID.shape, 1.0, np.float32)
    fraction[:, 3:8] = np.float32(0.3)
    fraction[:, 8:] = 0.0
    folder = study(tmp_path / "study", fraction)
    planned = plan(folder, Toy(forced_only=True), steps=2, ocean_fraction_cutoff=0.3)
    assert planned.layout.ocean_mask.sum() == 3 * GRID.num_lat
    out = run(planned, tmp_path / "out")
    with open_saved(out / "response.nc") as response:
        changed = response["air"].sel(perturbation="p4K").values != 0
    assert (changed == planned.layout.ocean_mask).all()


def test_cells_that_are_land_and_ocean_at_once_are_counted(tmp_path: Path) -> None:
    fraction = np.full(GRID.shape, 1.0)
    fraction[2:4, 5] = 0.4
    folder = study(tmp_path / "study", fraction)
    told = plan(folder, Toy(), ocean_fraction_cutoff=0.3).warnings
    assert any(text.startswith("2 cells are land and ocean at once") for text in told)
    assert not any("at once" in text for text in plan(folder, Toy()).warnings)


def test_an_absurd_but_finite_state_is_a_blow_up(tmp_path: Path) -> None:
    folder = study(tmp_path / "study")
    toy = Toy(limit=True)  # the normalization says 1000 K, so that 280 K lies 100 scales away
    toy.spec = dataclasses.replace(toy.spec, normalization={"air": (1000.0, 5.0)})
    with pytest.raises(
        BlowUpError, match="air of group baseline, sample 0 .*outside 500 to 1500 K"
    ):
        run(plan(folder, toy, allow_out_of_range=True), tmp_path / "out")


def test_an_emulator_without_prescribed_sst_is_refused(tmp_path: Path) -> None:
    folder = study(tmp_path / "study")
    toy = Toy()
    toy.spec = dataclasses.replace(toy.spec, surface_temperature=None)
    with pytest.raises(InputError, match="the toy reads no prescribed SST"):
        plan(folder, toy)


def test_roles_must_name_outputs(tmp_path: Path) -> None:
    folder = study(tmp_path / "study")
    with pytest.raises(InputError, match="roles.upper_level names 'wind', which is no output"):
        plan(folder, Toy(), roles={"upper_level": "wind"})
