"""The sun's flux where it is a forcing: its means, and what the diagnostics make of them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from respeval.diagnostics import diagnose, fluxes_of_forcing
from respeval.fields.variables import Variable
from respeval.rollout.forced import ForcedFlux, ForcedMeans
from respeval.rollout.segments import Segment
from tests.support import studies
from tests.support.inputs import open_forcing, start_dates, write
from tests.support.invoking import invoke
from tests.support.processes import environment, torchrun, wait_for_segments
from tests.support.studies import GRID, assert_equal_runs, variable
from tests.support.world import SETTINGS, world

SUN = "DSWRFtoa"
UPWARD = ("ULWRFtoa", "USWRFtoa")
DAYS, STARTS = 50, (0, 20)


def sunlit_forcing(num_times: int = 91) -> xr.Dataset:
    """The studies' forcing with a flux that differs between all cells and days."""
    forcing = studies.forcing(num_times=num_times).rename(sunlight=SUN)
    day = np.arange(num_times)[:, None, None]
    forcing[SUN] = forcing[SUN] + 30.0 * np.sin(0.3 * day) * np.cos(np.radians(GRID.longitude))
    forcing[SUN].attrs["units"] = "W m-2"
    return forcing


def write_study(folder: Path, num_times: int = 91, **case: Any) -> Path:
    """A checkpoint that predicts the upward fluxes, with two samples of different dates."""
    checkpoint = studies.write_study(folder, days=DAYS, **case)
    sunlit_forcing(num_times).to_netcdf(folder / "forcing.nc")
    studies.initial(days=STARTS).to_netcdf(folder / "initial.nc")
    manifest = studies.manifest().model_dump(exclude_unset=True)
    norm = dict(manifest["normalization"])
    norm[SUN] = norm.pop("sunlight")
    norm |= {name: {"mean": 150.0 + 80.0 * i, "scale": 20.0} for i, name in enumerate(UPWARD)}
    return studies.checkpoint(
        checkpoint,
        diagnostic=[*manifest["diagnostic"], *(variable(name, "W m-2") for name in UPWARD)],
        forcing=[variable("ocean_fraction", "1"), variable(SUN, "W m-2")],
        normalization=norm,
    )


@pytest.fixture(scope="module")
def sunlit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("sunlit"))


@pytest.fixture(scope="module")
def whole(sunlit: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "out"
    invoke("run", sunlit, "-o", out)
    return out


def opened(path: Path) -> xr.Dataset:
    with xr.open_dataset(path, decode_times=False) as dataset:
        return dataset.load()


def assert_is_forcing(out: Path) -> None:
    """Means of circles, and the net flux of the baseline, are what plain loops make of the forcing."""
    zonal, means = opened(out / "zonal.nc"), opened(out / "group_means.nc")
    sun = sunlit_forcing()[SUN].values
    masks = {
        "all": np.ones(GRID.shape, bool),
        "land": means["land_mask"].values == 1,
        "ocean": means["ocean_mask"].values == 1,
    }
    assert zonal[SUN].dims == ("sample", "time", "surface", "lat")
    net, num_steps = 0.0, 0
    for segment, (first, stop) in enumerate(zonal["time_bnds"].values.round().astype(int)):
        for sample, start in enumerate(STARTS):
            total = np.zeros(GRID.shape)
            for step in range(first, stop):
                total += sun[start + step]
            for surface, mask in masks.items():
                for row in range(GRID.num_lat):
                    cells = total[row][mask[row]] / (stop - first)
                    got = float(zonal[SUN].sel(surface=surface)[sample, segment, row])
                    assert got == pytest.approx(cells.mean(), rel=1e-12)
            net += float((total * means["area_weight"].values).sum()) / len(STARTS)
        upward = sum(means[name].sel(group="baseline")[segment] for name in UPWARD)
        net -= (stop - first) * float((upward * means["area_weight"]).sum())
        num_steps += stop - first
    assert num_steps == DAYS
    found = opened(out / "diagnostics.nc")["baseline_toa_net_flux"]
    assert float(found) == pytest.approx(net / num_steps, abs=1e-6)
    assert found.attrs["comment"].startswith(
        f"{SUN}: forcing, the same in every group; of each step"
    )


@pytest.mark.parametrize("segment", ["7 steps", "all"])
def test_the_net_flux_is_that_of_plain_loops(sunlit: Path, tmp_path: Path, segment: str) -> None:
    invoke("run", sunlit, "-o", tmp_path / "out", "--segment", segment)
    assert_is_forcing(tmp_path / "out")


def test_diagnose_makes_the_net_flux_again(whole: Path) -> None:
    before = (whole / "summary.json").read_bytes()
    (whole / "diagnostics.nc").unlink()
    shown = invoke("diagnose", whole, "--all")
    assert "baseline_toa_net_flux because" not in " ".join(shown.split())
    assert_is_forcing(whole)
    assert (whole / "summary.json").read_bytes() == before


def test_a_forcing_is_no_output(whole: Path) -> None:
    for name in ("group_means.nc", "response.nc"):
        assert SUN not in opened(whole / name)
    diagnostics = opened(whole / "diagnostics.nc")
    assert not [name for name in diagnostics.data_vars if str(name).startswith(SUN)]
    assert not [key for key in json.loads((whole / "summary.json").read_text()) if SUN in key]


def without_the_flux(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an earlier respeval ran."""
    monkeypatch.setattr("respeval.plan.plan._forced_fluxes", lambda spec, case: ())


def test_all_other_numbers_are_what_they_were(
    sunlit: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_the_flux(monkeypatch)
    invoke("run", sunlit, "-o", tmp_path / "before")
    before, now = studies.numbers(tmp_path / "before"), studies.numbers(whole)
    new = {name for name in now.keys() - before.keys() if "diagnostics.nc" not in name}
    assert {name.rpartition("/")[2] for name in new} == {SUN, f"{SUN}_zonal"}
    added = {name for name in now.keys() - before.keys() - new}
    assert added
    assert all("baseline_toa_net_flux" in name for name in added)
    for name, values in before.items():
        assert values.tobytes() == now[name].tobytes(), name


def test_a_run_that_was_begun_without_the_flux_goes_on_without(
    sunlit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, before = tmp_path / "out", tmp_path / "before"
    with monkeypatch.context() as patched:
        without_the_flux(patched)
        for folder in (out, before):
            invoke("run", sunlit, "-o", folder, "--days", 31)
        invoke("run", sunlit, "-o", before, "--extend")
    invoke("run", sunlit, "-o", out, "--extend")
    assert_equal_runs(out, before)
    shown = " ".join(invoke("diagnose", out, "--all").split())
    assert "no output is known to be toa downward shortwave" in shown


def test_a_run_that_was_stopped_has_the_same_flux(tmp_path: Path) -> None:
    checkpoint = write_study(tmp_path / "study", 366, repeat="year")
    command = ["run", checkpoint, "--days", 400, "--segment", "9 steps", "-o"]
    process = subprocess.Popen(
        [sys.executable, "-m", "respeval", *map(str, command), str(tmp_path / "out")],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_segments(tmp_path / "out", 3)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 75, told
    invoke(*command, tmp_path / "out")
    invoke(*command, tmp_path / "whole")
    assert_equal_runs(tmp_path / "out", tmp_path / "whole")


@pytest.mark.parametrize("options", [(), ("--spatial", "2x1")])
def test_two_processes_have_the_same_flux(
    sunlit: Path, whole: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    done = torchrun(2, "run", sunlit, "-o", tmp_path / "out", *options)
    assert done.returncode == 0, done.stderr
    assert_is_forcing(tmp_path / "out")
    ours, theirs = (opened(out / "zonal.nc")[SUN] for out in (tmp_path / "out", whole))
    assert ours.values.tobytes() == theirs.values.tobytes()


@pytest.mark.parametrize("at_end", [False, True])
def test_a_flux_of_the_steps_end_is_read_there(tmp_path: Path, at_end: bool) -> None:
    """Of a year that repeats, over its end, for samples of two dates and one twice."""
    path = write(tmp_path, sunlit_forcing(365))
    days, first, stop = (0, 30, 0), 320, 370
    forcing = open_forcing(
        path,
        400,
        names=("ocean_fraction", SUN, "skin"),
        starts=start_dates(*days),
        repeat_year=True,
    )
    segment = Segment(1, first, stop, 0, 0, False)
    flux = ForcedFlux(Variable(SUN, "W m-2", "sunlight"), at_end)
    means = ForcedMeans(forcing, [flux], [segment])
    for ahead in (False, True):
        if ahead:
            means.begin(first)
        found = means.of(segment)
        sun = sunlit_forcing(365)[SUN].values
        assert found.shape == (3, 1, *GRID.shape)
        for sample, day in enumerate(days):
            total = np.zeros(GRID.shape)
            for step in range(first, stop):
                total += sun[(day + step + at_end) % 365]
            np.testing.assert_allclose(found[sample, 0], total / (stop - first), rtol=1e-12)
    means.close()
    assert ("end" if at_end else "start") in flux.comment


@pytest.mark.parametrize(
    ("outputs", "units"), [(("ULWRFtoa",), "W m-2"), (UPWARD, "J m-2"), ((*UPWARD, SUN), "W m-2")]
)
def test_only_a_flux_that_is_wanted_is_kept(outputs: tuple[str, ...], units: str) -> None:
    assert fluxes_of_forcing(outputs, {SUN: units}, SETTINGS) == ()
    assert fluxes_of_forcing(UPWARD, {"co2": "1", SUN: "W m-2"}, SETTINGS) == (SUN,)


def test_a_forcing_changes_no_error_of_a_response() -> None:
    """Its mean differs between years and samples; the response's own noise knows nothing of that."""
    years = np.arange(3.0)
    noise = np.random.default_rng(0).normal(size=(3, 24))
    zonal = world((4.0,), ("T", *UPWARD), noise)
    flux = zonal["ULWRFtoa"].isel(group=0, drop=True) * 0.0 + 340.0
    flux = flux + xr.DataArray(years, dims="sample")
    plain = diagnose(zonal, SETTINGS)
    forced = diagnose(zonal.assign({SUN: flux.assign_attrs(units="W m-2")}), SETTINGS)
    for name in plain.data_vars:
        assert plain[name].values.tobytes() == forced[name].values.tobytes(), name
    added = set(forced.data_vars) - set(plain.data_vars)
    assert added
    assert all(str(name).startswith("baseline_toa_net_flux") for name in added)
    assert float(forced["baseline_toa_net_flux_stderr"]) > 0
