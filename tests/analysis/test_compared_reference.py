"""Many runs beside a reference: which one it is, its numbers, its maps, and what is refused."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import xarray as xr
import yaml

from respeval.analysis.compared_maps import maps_of_runs
from respeval.analysis.compared_reference import Reference, reference_of_runs
from respeval.analysis.comparison import Wishes, compare_runs, diagnostics_of
from respeval.analysis.finished_runs import find_runs
from respeval.analysis.folder import TRUTH, settings_of_folder
from respeval.diagnostics import diagnose_reference
from respeval.fields.grid import Grid
from respeval.fields.regrid import Conservative
from respeval.files.netcdf import open_saved, write_netcdf
from respeval.presentation.console.compare import comparison_tables
from tests.support.invoking import invoke, invoked, refused
from tests.support.studies import GRID, write_study

RATIO, RAIN, NEAR = "land_ocean_warming_ratio", "rain", "air_temperature_1"
LABELS = ("p4K", "p2K")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run without a reference."""
    folder = tmp_path_factory.mktemp("compared")
    path = write_study(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("respeval.analysis.results.Pictures", MagicMock())
        invoke("run", path, "-o", folder / "out", "--days", "9", "--segment", "4 steps")
    return folder / "out"


@pytest.fixture
def runs(run: Path, tmp_path: Path) -> list[Path]:
    """Two copies of it, of which `b` has another near-surface response."""
    folders = [shutil.copytree(run, tmp_path / name) for name in "ab"]
    with open_saved(run / "response.nc") as response:
        write_netcdf(
            response.load().assign({NEAR: response[NEAR] + 1.5}), folders[1] / "response.nc"
        )
    return folders


def truth_of(run: Path, offset: float = 0.5) -> xr.Dataset:
    """The run's response with another temperature, as a demo's truth."""
    with open_saved(run / "response.nc") as response:
        found = response.load()
    names = [name for name in found.data_vars if f"{name}_stderr" in found]
    cells = ["ocean_mask", "land_mask", "area_weight"]
    found = found[[*names, *cells]].drop_vars("time", errors="ignore")
    for name in names:
        found[name].attrs.pop("ancillary_variables")
    found[NEAR] = (found[NEAR] + offset).assign_attrs(found[NEAR].attrs)
    return found


def names_case_reference(run: Path, reference: object) -> None:
    case = yaml.safe_load((run / "case.yaml").read_text())
    (run / "case.yaml").write_text(yaml.safe_dump({**case, "reference": reference}))


def compared(folders: list[Path], **wishes: Any) -> tuple[xr.Dataset, list[str]]:
    told: list[str] = []
    found = compare_runs(find_runs(folders)[0], Wishes(num_workers=1, **wishes), told.append)
    return found, told


# --- which reference it is ---------------------------------------------------------------------


def known_to(folders: list[Path]) -> tuple[Reference | None, list[str]]:
    told: list[str] = []
    return reference_of_runs(find_runs(folders)[0], None, LABELS, told.append), told


def test_the_truth_of_the_runs_is_taken_where_it_is_the_same(runs: list[Path]) -> None:
    assert known_to(runs) == (None, [])
    for folder in runs:
        write_netcdf(truth_of(runs[0]), folder / TRUTH)
    truth = Reference("truth", str(runs[0] / TRUTH), asked=False)
    assert known_to(runs) == (truth, [])
    write_netcdf(truth_of(runs[0], offset=0.6), runs[1] / TRUTH)
    line = "no reference: a and b know different ones; choose with --reference, or --reference none"
    assert known_to(runs) == (None, [line])
    (runs[1] / TRUTH).unlink()
    assert known_to(runs) == (truth, [])  # b knows none


def test_a_case_names_the_reference_and_equal_contents_are_the_same(
    runs: list[Path], tmp_path: Path
) -> None:
    here, there = tmp_path / "here.nc", tmp_path / "there.nc"
    for path in (here, there):
        write_netcdf(truth_of(runs[0]), path)
    names_case_reference(runs[0], str(here))
    names_case_reference(runs[1], str(there))
    assert known_to(runs) == (Reference("here", str(here), asked=False), [])
    names_case_reference(runs[1], {"p4K": str(here)})
    found, told = known_to(runs)
    assert found is None
    assert "know different ones" in told[0]
    names_case_reference(runs[0], {"p4K": str(there)})
    assert known_to(runs)[0] == Reference("there", {"p4K": str(there)}, asked=False)


def test_runs_are_compared_without_a_reference_that_is_gone(runs: list[Path]) -> None:
    names_case_reference(runs[0], str(runs[0].parent / "gone.nc"))
    found, told = compared(runs)
    assert len(told) == 1
    assert told[0].startswith("no reference: ")
    assert "gone.nc" in told[0]
    assert "reference_name" not in found.attrs
    assert not [name for name in found if str(name).endswith("_reference")]


def test_a_reference_is_not_called_like_a_run(runs: list[Path]) -> None:
    known, _ = find_runs(runs)
    found = reference_of_runs(known, str(runs[0]), LABELS)
    assert found == Reference("reference a", str(runs[0]))
    assert reference_of_runs(known, "none", LABELS) is None
    assert reference_of_runs(known, {"p4K": "none"}, LABELS) is None


# --- its numbers -------------------------------------------------------------------------------


def test_numbers_are_the_diagnostics_of_the_references_maps(runs: list[Path]) -> None:
    truth = truth_of(runs[0])
    write_netcdf(truth, runs[0] / TRUTH)
    found, told = compared(runs)
    assert told == []
    assert found.attrs["reference_name"] == "truth"
    assert found.attrs["reference"] == str(runs[0] / TRUTH)
    exact = diagnose_reference(truth, settings_of_folder(runs[0], {}))
    names = diagnostics_of(found)
    known = [name for name in names if f"{name}_reference" in found]
    assert {RATIO, "column_warming", f"{RAIN}_mean", "land_warming"} <= set(known)
    for name in known:
        values = found[f"{name}_reference"]
        assert values.dims == tuple(dim for dim in found[name].dims if dim != "run")
        expected = exact[name].sel({dim: values[dim] for dim in values.dims})
        np.testing.assert_allclose(values, expected.transpose(*values.dims), rtol=1e-12)
        assert values.attrs["units"] == found[name].attrs["units"]
        assert values.attrs["long_name"] == f"reference value of {found[name].attrs['long_name']}"
    shift = found["land_warming_reference"] - found["land_warming"].isel(run=0)
    np.testing.assert_allclose(shift, 0.5, atol=1e-6)


def test_another_run_is_a_reference_of_all_diagnostics(runs: list[Path]) -> None:
    found, _ = compared(runs, reference=str(runs[1]))
    for name in diagnostics_of(found):
        np.testing.assert_allclose(found[f"{name}_reference"], found[name].isel(run=1))


def test_a_plain_file_is_read_in_other_units_and_on_another_grid(
    runs: list[Path], tmp_path: Path
) -> None:
    """One temperature of 6 K on land and 4 K on ocean everywhere, and rain in g m-2 s-1."""
    other = Grid.legendre_gauss(16, 32)
    land = np.broadcast_to(np.arange(32) >= 16, other.shape)  # as of the study, on finer cells
    plane = {"lat": other.latitude, "lon": other.longitude}
    maps = xr.Dataset(
        {
            NEAR: (("lat", "lon"), np.where(land, 6.0, 4.0), {"units": "K"}),
            RAIN: (("lat", "lon"), np.full(other.shape, 2.0), {"units": "g m-2 s-1"}),
        },
        plane,
    )
    maps.to_netcdf(tmp_path / "plain.nc")
    found, told = compared(runs, reference={"p4K": str(tmp_path / "plain.nc")})
    assert any("g m-2 s-1" in text for text in told)
    rain = found[f"{RAIN}_mean_reference"]
    np.testing.assert_allclose(rain.sel(perturbation="p4K"), 0.002)
    assert rain.sel(perturbation="p2K").isnull().all()
    regridded = Conservative(other, GRID)(maps[NEAR]).values
    cells = truth_of(runs[0])
    weight = cells["area_weight"].where(cells["land_mask"] == 1, 0.0).values
    land_mean = found[f"{NEAR}_mean_reference"].sel(perturbation="p4K", surface="land")
    assert float(land_mean) == pytest.approx((regridded * weight).sum() / weight.sum())


def test_tables_and_files_have_the_reference(runs: list[Path], tmp_path: Path) -> None:
    write_netcdf(truth_of(runs[0]), runs[0] / TRUTH)
    shown = ("--diagnostics", RATIO, "--perturbation", "p4K", "-o", tmp_path / "out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("respeval.plotting.style.DOTS_PER_INCH", 30)
        lines = invoke("compare", *runs, *shown).splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("───"))
    assert lines[first + 1].split()[0] == "truth"
    assert [line.split()[0] for line in lines[first + 3 : first + 5]] == ["a", "b"]
    assert "Response to p4K: errors against truth" in [line.rstrip() for line in lines]
    assert f"truth: {runs[0] / TRUTH}" in lines
    with xr.open_dataset(tmp_path / "out" / "comparison.nc") as comparison:
        assert comparison.attrs["reference_name"] == "truth"
        found = comparison.load()
    with (tmp_path / "out" / "comparison.csv").open() as opened:
        rows = [row for row in csv.DictReader(opened) if row["diagnostic"] == RATIO]
    assert len(rows) == 2 * 2 * 2
    for row in rows:
        at = {"perturbation": row["perturbation"], "band": row["where"]}
        assert float(row["reference"]) == float(found[f"{RATIO}_reference"].sel(at))
    maps = {path.name for path in (tmp_path / "out" / "figures").glob("map_*.png")}
    assert maps == {f"map_{NEAR}_p4K.png", f"map_{NEAR}_p4K_row.png"}


# --- its maps ----------------------------------------------------------------------------------


def maps_of(
    folders: list[Path], name: str = NEAR, reference: Reference | None = None
) -> tuple[xr.Dataset, list[str]]:
    told: list[str] = []
    found = maps_of_runs(find_runs(folders)[0], reference, name, LABELS, told.append)
    return found, told


def test_maps_are_those_of_the_files_the_references_first(runs: list[Path]) -> None:
    write_netcdf(truth_of(runs[0]), runs[0] / TRUTH)
    maps, told = maps_of(runs, reference=Reference("truth", str(runs[0] / TRUTH)))
    assert told == []
    assert maps["map"].values.tolist() == ["truth", "a", "b"]
    assert maps.attrs == {"reference_name": "truth"}
    with open_saved(runs[0] / "response.nc") as response:
        own = response.sel(perturbation=list(LABELS)).load()
    for row, offset in enumerate((0.5, 0.0, 1.5)):
        np.testing.assert_allclose(maps[NEAR][row], own[NEAR] + offset, atol=1e-12)
    tested = own[f"{NEAR}_pvalue"].notnull() & (own[f"{NEAR}_significant"] == 0)
    np.testing.assert_array_equal(maps[f"{NEAR}_not_significant"][1], tested)
    np.testing.assert_array_equal(maps["ocean_mask"], own["ocean_mask"])
    assert not maps[f"{NEAR}_not_significant"][0].any()


def test_maps_of_other_units_and_grids_are_brought_to_the_coarsest(
    runs: list[Path], tmp_path: Path
) -> None:
    coarse = Grid.legendre_gauss(4, 8)
    values = np.random.default_rng(0).normal(size=coarse.shape)
    xr.Dataset(
        {RAIN: (("lat", "lon"), values, {"units": "g m-2 s-1"})},
        {"lat": coarse.latitude, "lon": coarse.longitude},
    ).to_netcdf(tmp_path / "coarse.nc")
    maps, told = maps_of(runs, RAIN, Reference("coarse", str(tmp_path / "coarse.nc")))
    assert maps.sizes["lat"] == 4
    assert sum(f"brought to {coarse}" in text for text in told) == 2
    np.testing.assert_allclose(maps[RAIN][0, 1], values * 1e-3)
    with open_saved(runs[0] / "response.nc") as response:
        own = response[RAIN].sel(perturbation=list(LABELS)).load()
    np.testing.assert_allclose(maps[RAIN][1], Conservative(GRID, coarse)(own).values)
    for name in ("ocean_mask", "area_weight", "mean_ocean_fraction"):
        assert maps[name].shape == coarse.shape
    assert float(maps["area_weight"].sum()) == pytest.approx(1.0)


def test_a_run_from_the_south_is_turned_around(runs: list[Path]) -> None:
    with open_saved(runs[1] / "response.nc") as response:
        turned = response.load().isel(lat=slice(None, None, -1))
    expected, _ = maps_of(runs)
    write_netcdf(turned, runs[1] / "response.nc")
    found, told = maps_of(runs)
    assert told == []
    np.testing.assert_array_equal(found[NEAR], expected[NEAR])


def test_runs_without_the_output_are_left_out(runs: list[Path]) -> None:
    with open_saved(runs[1] / "response.nc") as response:
        without = response.load().drop_vars(NEAR)
    write_netcdf(without, runs[1] / "response.nc")
    maps, told = maps_of(runs)
    assert maps["map"].values.tolist() == ["a"]
    assert told == [f"left out of the maps of {NEAR}: {runs[1]} has no {NEAR}"]


def test_any_saved_output_is_drawn(runs: list[Path], tmp_path: Path) -> None:
    asked = ("--map", f"skin,{RAIN}", "--perturbation", "p2K", "--diagnostics", RATIO)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("respeval.plotting.style.DOTS_PER_INCH", 30)
        done = invoked("compare", runs[0], "-o", tmp_path / "out", *asked)
    assert done.stderr == ""
    maps = {path.name for path in (tmp_path / "out" / "figures").glob("map_*")}
    assert maps == {f"map_{name}_p2K.{kind}" for name in ("skin", RAIN) for kind in ("png", "pdf")}


def test_of_very_many_runs_the_first_are_drawn(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("respeval.plotting.style.DOTS_PER_INCH", 30)
    monkeypatch.setattr("respeval.api.compared_files._MOST_MAPS", 1)
    shown = ("--diagnostics", RATIO, "--perturbation", "p4K", "-o", tmp_path / "out")
    done = invoked("compare", *runs, *shown)
    assert done.stderr == "respeval: maps show the first 1 of 2 runs\n"
    maps = [path.name for path in (tmp_path / "out" / "figures").glob("map_*.png")]
    assert maps == [f"map_{NEAR}_p4K.png"]


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--map", RAIN), "is drawn into the folder of -o; name one"),
        (
            ("-o", "{out}", "--map", "rains"),
            "no run has an output of this name; did you mean 'rain'?",
        ),
        (("-o", "{out}", "--map", "qq"), "they have air_temperature_0, air_temperature_1, "),
        (("--reference", "nowhere.nc"), "nowhere.nc: no such file or folder"),
        (("--reference", "p9K={case}"), "the run has no perturbation 'p9K'"),
        (("--reference", "{case}"), "case.yaml"),
        (("--reference", "{other}"), "shares no output"),
    ],
)
def test_mistakes_get_one_line(
    runs: list[Path], tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    other = tmp_path / "other.nc"
    plane = {"lat": GRID.latitude, "lon": GRID.longitude}
    xr.Dataset({"tas": (("lat", "lon"), np.ones(GRID.shape), {"units": "K"})}, plane).to_netcdf(
        other
    )
    places = {"out": tmp_path / "out", "case": runs[0] / "case.yaml", "other": other}
    assert message in refused("compare", *runs, *(o.format(**places) for o in options))
    assert not (tmp_path / "out").exists()


def test_other_quantities_are_no_reference(runs: list[Path], tmp_path: Path) -> None:
    plane = {"lat": GRID.latitude, "lon": GRID.longitude}
    maps = xr.Dataset({RAIN: (("lat", "lon"), np.ones(GRID.shape), {"units": "W m-2"})}, plane)
    maps.to_netcdf(tmp_path / "other.nc")
    line = refused("compare", *runs, "--reference", tmp_path / "other.nc")
    assert "rain" in line
    assert json.loads((runs[0] / "manifest.json").read_text())["status"] == "finished"


def test_a_reference_of_one_perturbation_moves_no_number_of_the_other(
    runs: list[Path], tmp_path: Path
) -> None:
    write_netcdf(truth_of(runs[0]).sel(perturbation=["p4K"]), tmp_path / "warm.nc")
    found, _ = compared(runs, reference=str(tmp_path / "warm.nc"), diagnostics=[RATIO])
    for label, rows in (("p4K", ["warm", "a", "b"]), ("p2K", ["a", "b"])):
        [table, *_] = comparison_tables(found, [RATIO], label, 200)
        names, first = (list(table.columns[i].cells) for i in (0, 1))
        assert names == rows
        own = found[RATIO].sel(perturbation=label).isel(band=0).values
        shown = [float(cell.split(" ")[0]) for cell in first[-2:]]
        np.testing.assert_allclose(shown, own, rtol=0.05)


def rain_in_mm(run: Path) -> None:
    """Its rain in other units, as a run of another model has it."""
    with open_saved(run / "zonal.nc") as zonal:
        changed = zonal.load()
    changed[RAIN] = (changed[RAIN] * 86_400.0).assign_attrs(changed[RAIN].attrs, units="mm/day")
    write_netcdf(changed, run / "zonal.nc")


def test_numbers_in_other_units_are_left_out_and_told(runs: list[Path]) -> None:
    rain_in_mm(runs[1])
    found, told = compared(runs)
    assert np.isfinite(found[f"{RAIN}_mean"].values[0]).all()
    for name in (f"{RAIN}_mean", f"{RAIN}_mean_low", f"{RAIN}_mean_difference"):
        assert np.isnan(found[name].values[1]).all(), name
    assert np.isfinite(found[RATIO].values[1]).all()
    [line] = [line for line in told if f"{RAIN}_mean" in line]
    assert "in other units than the first run's" in line
    found, told = compared(runs[:1], reference=str(runs[1]))
    assert f"{RAIN}_mean_reference" not in found
    assert f"{RATIO}_reference" in found
    assert any(f"the reference's {RAIN}_mean is left out" in line for line in told)
