"""`respeval compare`: what it shows and writes of runs, and what it refuses."""

from __future__ import annotations

import csv
import itertools
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from respeval.analysis.comparison import Wishes, compare_runs, diagnostics_of
from respeval.analysis.finished_runs import find_runs
from respeval.cli import app
from respeval.diagnostics import known_diagnostics
from respeval.diagnostics.numbers import with_interval
from respeval.files.netcdf import open_saved, write_netcdf
from respeval.files.publish import write_json
from respeval.plotting import diagnostic_of_runs, runs_overview
from respeval.presentation.console.compare import comparison_tables
from respeval.run_folder.identity import other_definitions, other_samples
from tests.support import studies
from tests.support.studies import write_study

RATIO, VERTICAL = "land_ocean_warming_ratio", "vertical_warming_ratio_tropical_ocean"
OPTIONS = ("--days", "9", "--segment", "4 steps")


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def compare(*arguments: object, code: int = 0) -> tuple[list[str], list[str]]:
    """Lines of stdout and stderr of `respeval compare`."""
    result = invoke("compare", *arguments)
    assert result.exit_code == code, result.output
    return result.stdout.splitlines(), result.stderr.splitlines()


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep over a.pt, b.pt, which is broken, c.pt and d.pt."""
    folder = tmp_path_factory.mktemp("compare")
    write_study(folder).unlink()
    for seed, name in enumerate("acd"):
        studies.checkpoint(folder / f"{name}.pt", seed)
    (folder / "b.pt").write_bytes(b"nothing")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("respeval.analysis.results.Pictures", MagicMock())
        result = invoke("run", folder / "*.pt", "-o", folder / "sweep", *OPTIONS)
    assert result.exit_code == 1, result.output
    return folder / "sweep"


@pytest.fixture(scope="module")
def written(sweep: Path) -> tuple[Path, list[str], list[str]]:
    """The folder of `respeval compare sweep -o OUT`, and what it said."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("respeval.plotting.style.DOTS_PER_INCH", 30)
        return sweep.parent / "written", *compare(sweep, "-o", sweep.parent / "written")


@pytest.fixture(scope="module")
def comparison(sweep: Path) -> xr.Dataset:
    return compare_runs(find_runs([sweep])[0], Wishes(num_workers=1))


def variant(
    source: Path,
    target: Path,
    change: Callable[[xr.Dataset], xr.Dataset] | None = None,
    **manifest: Any,
) -> Path:
    """A copy of a run with other means, or with other entries of the manifest."""
    shutil.copytree(source, target)
    content = json.loads((target / "manifest.json").read_text())
    write_json(target / "manifest.json", content | manifest)
    if change is not None:
        with open_saved(source / "zonal.nc") as zonal:
            write_netcdf(change(zonal.load()), target / "zonal.nc")
    return target


def of_case(source: Path, **changes: Any) -> dict[str, Any]:
    """The `case` of a manifest with changes."""
    case = json.loads((source / "manifest.json").read_text())["case"]
    return {"case": case | changes}


def renamed(zonal: xr.Dataset) -> xr.Dataset:
    return zonal.assign_coords(group=["baseline", "warm", "warmer"])


def test_the_table_has_the_runs_intervals_and_marks_what_differs(
    sweep: Path, written: tuple[Path, list[str], list[str]]
) -> None:
    folder, out, errors = written
    assert len(errors) == 1
    assert errors[0].endswith("sweep/b is no finished run: failed")
    comparison = xr.load_dataset(folder / "comparison.nc")
    marked = 0
    for label, name in itertools.product(("p4K", "p2K"), "acd"):
        begin = out.index(f"Response to {label}")
        row = next(line for line in out[begin:] if line.startswith(f" {name} "))
        with open_saved(sweep / name / "diagnostics.nc") as opened:
            run = opened.sel(perturbation=label).load()
        for key, at in (
            (RATIO, {"band": "tropics"}),
            (RATIO, {"band": "midlatitudes"}),
            (VERTICAL, {}),
        ):
            shown = with_interval(*(float(run[key + end].sel(at)) for end in ("", "_low", "_high")))
            tested = comparison[f"{key}_difference_pvalue"].sel(
                {**at, "run": name, "perturbation": label}
            )
            mark = "*" if tested < 0.05 else ""
            marked += bool(mark)
            assert shown + mark in row
    assert marked
    assert "*: differs from a, the first run" in " ".join(out)
    assert "differences of the same samples, paired" in out
    assert max(len(line) for line in out if not line.startswith("files: ")) <= 100


def test_csv_and_netcdf_have_the_numbers_of_the_runs(
    sweep: Path, written: tuple[Path, list[str], list[str]]
) -> None:
    with (written[0] / "comparison.csv").open() as opened:
        rows = list(csv.DictReader(opened))
    with xr.open_dataset(written[0] / "comparison.nc") as comparison:
        sizes = [comparison[name].sizes for name in diagnostics_of(comparison)]
        places = [math.prod(n for dim, n in s.items() if dim != "run") for s in sizes]
        assert len(rows) == 3 * sum(places) > 3 * 2 * (3 * 2 + 3 + 2 + 4 * 3)
        assert comparison.attrs["Conventions"] == "CF-1.11"
        assert comparison["run"].values.tolist() == ["a", "c", "d"]
        for name in "acd":
            with open_saved(sweep / name / "diagnostics.nc") as run:
                for key, values in run.data_vars.items():
                    if {"lat", "bnds"} & set(values.dims):
                        continue
                    here = comparison[key].sel(run=name)
                    np.testing.assert_array_equal(here.values, values.values)
                    assert here.attrs == values.attrs
        for row in rows:
            at = {"run": row["run"], "perturbation": row["perturbation"]}
            dims = comparison[row["diagnostic"]].dims[2:]
            at |= dict(zip(map(str, dims), row["where"].split(", "), strict=False))
            for column, suffix in (
                ("value", ""),
                ("low", "_low"),
                ("difference", "_difference"),
                ("difference_high", "_difference_high"),
                ("p_value", "_difference_pvalue"),
            ):
                found = float(comparison[row["diagnostic"] + suffix].sel(at))
                assert float(row[column] or "nan") == pytest.approx(found, rel=0, nan_ok=True)
            assert row["paired"] == {"a": ""}.get(row["run"], "yes")


def test_a_copy_does_not_differ_from_its_original(sweep: Path, tmp_path: Path) -> None:
    copy = variant(sweep / "a", tmp_path / "copy")
    runs, _ = find_runs([sweep / "a", copy])
    found = compare_runs(runs, Wishes()).isel(run=1)
    assert (found[f"{RATIO}_difference"] == 0).all()
    assert (found[f"{RATIO}_difference_pvalue"] == 1).all()
    assert (found["paired"] == 1).all()


def test_other_samples_are_not_paired(sweep: Path, tmp_path: Path) -> None:
    def warmer(zonal: xr.Dataset) -> xr.Dataset:
        is_p4K = zonal["group"] == "p4K"
        return zonal.assign({n: zonal[n] + 0.01 * is_p4K for n in ("air_temperature_1",)})

    same = variant(sweep / "a", tmp_path / "same", warmer)
    other = variant(sweep / "a", tmp_path / "other", warmer, **of_case(sweep / "a", seed=1))
    fewer = ("--diagnostics", VERTICAL, "--perturbation", "p4K")
    out, _ = compare(sweep / "a", same, other, *fewer, "-o", tmp_path / "out")
    assert len(list((tmp_path / "out" / "figures").glob("*.png"))) == 2 + 2  # of maps
    assert "differences of the same samples, paired where not said otherwise" in out
    assert any("other: samples are not the first run's, seed 0 -> 1" in line for line in out)
    with xr.open_dataset(tmp_path / "out" / "comparison.nc") as comparison:
        found = comparison.sel(perturbation="p4K").isel(run=[1, 2])
        assert found["paired"].values.tolist() == [1, 0]
        np.testing.assert_allclose(found["land_warming_difference"], 0.01, atol=1e-9)
        stderr = found["land_warming_difference_stderr"].values
        assert (stderr[0] < 1e-6 * stderr[1]).all()
        assert found["land_warming_difference_pvalue"].isel(run=0).max() < 1e-6


def test_bands_are_the_first_runs_unless_given(sweep: Path, tmp_path: Path) -> None:
    runs, _ = find_runs([variant(sweep / "a", tmp_path / "a"), sweep / "c"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("respeval.analysis.results.Pictures", MagicMock())
        again = ("--bands", "low=0:20", "--tropical-lat-max", "45")
        assert invoke("diagnose", tmp_path / "a", *again).exit_code == 0
    own = compare_runs(runs, Wishes())
    assert own["band"].values.tolist() == ["low"]
    asked = compare_runs(
        runs[::-1], Wishes(regions={"bands": {"low": [0, 20]}, "tropical_lat_max": 45})
    )
    for name in (RATIO, "tropical_ocean_upper_warming_low"):
        for run in ("a", "c"):
            here = [dataset[name].isel(run=r) for dataset, r in ((own, 0), (asked, 1))]
            assert run in "ac"
            np.testing.assert_array_equal(*here)
    assert not np.allclose(
        own["tropical_ocean_upper_warming"],
        compare_runs(runs, Wishes(regions={"tropical_lat_max": 20}))[
            "tropical_ocean_upper_warming"
        ],
    )


def test_runs_that_are_left_out_are_named(sweep: Path, tmp_path: Path) -> None:
    stopped = variant(sweep / "c", tmp_path / "stopped", status="stopped")
    without = variant(sweep / "c", tmp_path / "without")
    (without / "zonal.nc").unlink()
    other = variant(sweep / "c", tmp_path / "other", renamed)
    more = variant(
        sweep / "c", tmp_path / "more", lambda z: z.assign_coords(group=["baseline", "p4K", "new"])
    )
    out, errors = compare(
        sweep / "d",
        stopped,
        sweep / "d",
        without,
        other,
        more,
        "-o",
        tmp_path,
        "--diagnostics",
        VERTICAL,
    )
    assert all(line.startswith("respeval: left out: ") for line in errors)
    assert len(errors) == 4
    assert errors[0].endswith("is no finished run: stopped")
    assert "zonal.nc: no such file" in errors[1]
    assert "has warm, warmer, and none of the first run's p2K, p4K" in errors[2]
    assert errors[3].endswith("more new, which the first run lacks")
    with xr.open_dataset(tmp_path / "comparison.nc") as comparison:
        assert [Path(str(f)).name for f in comparison["folder"].values] == ["d", "more"]
        assert np.isfinite(comparison["land_warming"].sel(perturbation="p4K")).all()
        assert comparison["land_warming"].sel(perturbation="p2K").isel(run=1).isnull().all()
    assert any(line.rstrip().endswith("  -") for line in out)


def _running(sweep: Path, folder: Path) -> list[object]:
    return [variant(sweep / "a", folder / "x", status="running")]


def _other_perturbations(sweep: Path, folder: Path) -> list[object]:
    return [sweep / "a", variant(sweep / "a", folder / "x", renamed)]


def _damaged(sweep: Path, folder: Path) -> list[object]:
    run = variant(sweep / "a", folder / "x")
    (run / "zonal.nc").write_bytes(b"nothing")
    return [run, sweep / "a"]


def _runs_within(sweep: Path, folder: Path) -> list[object]:
    return [variant(sweep / "a", folder / "x").parent]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda s, t: [t / "nowhere"], "no such folder"),
        (lambda s, t: [t], "has no manifest.json"),
        (lambda s, t: [t / "*"], "matches no folder"),
        (_runs_within, "holds some: name"),
        (_running, "is no finished run: running"),
        (_other_perturbations, "none of the first run's p2K, p4K"),
        (_damaged, "zonal.nc is no file of a run"),
        (lambda s, t: [s, "-o", s / "a"], "holds a run; choose another folder"),
        (lambda s, t: [s, "--diagnostics", "land_warmin"], "it has land_warming,"),
        (lambda s, t: [s, "--perturbation", "p3K"], "it has p4K, p2K"),
        (lambda s, t: [s, "--bands", "low=30:20"], "low < high"),
        (lambda s, t: [s, "--workers", "0"], "at least 1"),
    ],
)
def test_mistakes_get_one_line(
    sweep: Path, tmp_path: Path, arguments: Callable[[Path, Path], list[object]], message: str
) -> None:
    _, errors = compare(*arguments(sweep, tmp_path), code=2)
    errors = [line for line in errors if "left out: " not in line]
    assert len(errors) == 1
    assert message in errors[0]


def test_a_wide_table_goes_on_in_further_ones(sweep: Path, comparison: xr.Dataset) -> None:
    asked = ("--diagnostics", f"{RATIO},land_warming", "--diagnostics", "rain_mean,column_warming")
    out, _ = compare(sweep, *asked, "--perturbation", "p2K")
    titles = [line for line in out if line.startswith("Response to")]
    assert titles[0] == "Response to p2K"
    assert len(titles) >= 2
    assert set(titles[1:]) == {"Response to p2K, further columns"}
    assert max(map(len, out)) <= 100
    assert sum(line.startswith(" c ") for line in out) == len(titles)
    [table] = comparison_tables(comparison, [RATIO], "p4K", 200)
    assert [str(column.header) for column in table.columns[1:]] == [
        "land/ocean ratio\nmidlatitudes",
        "land/ocean ratio\ntropics",
    ]


def test_figures_show_every_diagnostic(written: tuple[Path, list[str], list[str]]) -> None:
    figures = {path.name for path in (written[0] / "figures").iterdir()}
    named = {"land_warming", "ocean_warming", "column_warming", RATIO, VERTICAL}
    tropics = {f"tropical_ocean_{where}_warming" for where in ("surface", "upper")}
    with xr.open_dataset(written[0] / "comparison.nc") as comparison:
        every = {name for name in diagnostics_of(comparison) if name in known_diagnostics()}
    assert named | tropics <= every
    maps = {f"map_air_temperature_1_{p}{end}" for p in ("p4K", "p2K") for end in ("", "_row")}
    expected = {*every, "comparison", *maps}
    assert figures == {f"{name}.{kind}" for name in expected for kind in ("png", "pdf")}


def test_figures_are_against_the_epoch_where_all_runs_have_one(sweep: Path, tmp_path: Path) -> None:
    epochs = {"x": 30, "y": 2, "z": 7}
    folders = [
        variant(
            sweep / "a", tmp_path / n, checkpoint_description={"trained": f"{e} epochs, 9 batches"}
        )
        for n, e in epochs.items()
    ]
    comparison = compare_runs(find_runs(folders)[0], Wishes())
    assert comparison["epoch"].values.tolist() == [30, 2, 7]
    figure = diagnostic_of_runs(comparison, RATIO, ["p4K", "p2K"])
    assert [panel.get_title(loc="left") for panel in figure.axes] == [
        "a  midlatitudes",
        "b  tropics",
    ]
    for panel in figure.axes:
        assert panel.get_xlabel() == "Epoch of training"
        assert panel.get_ylabel() == "ratio"
        assert panel.containers[0].lines[0].get_xdata().tolist() == [2, 7, 30]  # type: ignore[attr-defined]
    text = [str(c.header) for c in comparison_tables(comparison, [RATIO], "p4K", 100)[0].columns]
    assert text[1] == "epoch"
    only_some = comparison.assign_coords(epoch=("run", [30.0, np.nan, 7.0]))
    overview = runs_overview(only_some, [RATIO, VERTICAL], ["p4K"])
    assert [text.get_text() for text in overview.axes[0].get_yticklabels()] == ["x", "y", "z"]
    for panel in overview.axes:
        assert panel.get_xlabel() == "ratio"
        low, high = panel.get_ylim()
        assert low > high  # the first run above


def test_runs_without_epochs_are_rows_that_nothing_joins(comparison: xr.Dataset) -> None:
    names = ["a_name_that_is_longer_than_a_line_of_the_axis", "b", "c"]
    every = [RATIO, VERTICAL, "antarctic_amplification"]
    figure = runs_overview(comparison.assign_coords(run=names), every, ["p4K", "p2K"])
    shown = [text.get_text().replace("\n", "") for text in figure.axes[0].get_yticklabels()]
    assert shown == names
    assert {text.get_rotation() for text in figure.axes[0].get_yticklabels()} == {0.0}
    assert [panel.get_title(loc="left").replace("\n", " ") for panel in figure.axes] == [
        "a  land/ocean ratio: midlatitudes",
        "b  land/ocean ratio: tropics",
        "c  vertical ratio: tropical ocean",
        "d  amplification: Antarctic",
    ]
    for i, label in enumerate(("p4K", "p2K")):
        value = comparison[VERTICAL].sel(perturbation=label)
        dot = figure.axes[2].containers[i].lines[0]  # type: ignore[attr-defined]
        assert dot.get_linestyle() == "None"
        np.testing.assert_array_equal(dot.get_xdata(), value)
        np.testing.assert_array_equal(np.rint(dot.get_ydata()), [0, 1, 2])


def test_full_dots_are_the_significant_differences(comparison: xr.Dataset) -> None:
    comparison = comparison.copy(deep=True)
    name = "column_warming"
    comparison[f"{name}_difference_pvalue"][:] = 0.06
    comparison[f"{name}_difference_pvalue"][dict(run=2, perturbation=1, level=0)] = 0.01
    figure = diagnostic_of_runs(comparison, name, ["p4K", "p2K"])
    full = [
        (i, np.rint(line.get_ydata()).tolist())
        for i, panel in enumerate(figure.axes)
        for line in panel.lines
        if line.get_zorder() == 3 and np.size(line.get_xdata())
    ]
    assert full == [(0, [2.0])]


@pytest.mark.parametrize("by_epoch", [False, True])
def test_the_reference_is_a_line_in_every_panel_that_it_tells_of(
    comparison: xr.Dataset, by_epoch: bool
) -> None:
    known = comparison[RATIO].isel(run=0, drop=True) + 0.5
    known = known.sel(perturbation=["p4K", "p2K"])
    known[0, 1] = np.nan
    beside = comparison.assign({f"{RATIO}_reference": known}).assign_attrs(reference_name="truth")
    if by_epoch:
        beside = beside.assign_coords(epoch=("run", [1.0, 2.0, 3.0]))
    figure = runs_overview(beside, [RATIO, VERTICAL], ["p4K", "p2K"])
    lines = [
        [
            float((line.get_ydata() if by_epoch else line.get_xdata())[0])
            for line in panel.lines
            if line.get_zorder() == 1 and np.size(line.get_xdata())
        ]
        for panel in figure.axes
    ]
    assert lines[:2] == [known.values[:, 0].tolist(), known.values[1:, 1].tolist()]
    assert lines[2:] == [[]]
    assert "truth" in [text.get_text() for text in figure.legends[0].get_texts()]
    without = runs_overview(comparison, [RATIO, VERTICAL], ["p4K", "p2K"])
    assert len(without.legends[0].get_texts()) == 4


def test_several_processes_find_the_same(sweep: Path, comparison: xr.Dataset) -> None:
    many = compare_runs(find_runs([sweep])[0], Wishes(num_workers=2))
    xr.testing.assert_identical(many, comparison)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"num_samples": 2}, ["num samples 3 -> 2"]),
        ({"initial_condition_sha256": "other"}, ["initial condition"]),
        ({"case": {"seed": 1, "bands": {}}}, ["seed 0 -> 1"]),
        ({"case": {"seed": 0, "start": ["2001-01-02"]}}, ["start none -> ['2001-01-02']"]),
        ({"forcing": {"files": {"f.nc": 2}}}, ["the forcing's files"]),
        ({"forcing": None}, ["a manifest names no forcing"]),
        ({"checkpoint_sha256": "other"}, []),
    ],
)
def test_what_makes_other_samples(change: dict[str, Any], reason: list[str]) -> None:
    manifest = {
        "num_samples": 3,
        "checkpoint_sha256": "one",
        "initial_condition_sha256": "one",
        "case": {"seed": 0},
        "forcing": {"files": {"f.nc": 1}},
    }
    assert other_samples(manifest, manifest | change) == reason


def test_what_is_defined_otherwise_is_said(sweep: Path, tmp_path: Path) -> None:
    case = of_case(
        sweep / "a",
        area_weights="cos_lat",
        perturbations={"p4K": {"type": "uniform", "amplitude_K": 3.0}},
    )
    manifest = json.loads((sweep / "a" / "manifest.json").read_text())
    assert other_definitions(manifest, manifest) == []
    earlier = {key: value for key, value in manifest["case"].items() if key != "sst_boxes"}
    assert other_definitions(manifest | {"case": earlier}, manifest) == []
    assert other_definitions(manifest, manifest | case) == [
        "area_weights grid -> cos_lat",
        "p4K is another perturbation",
    ]
    out, _ = compare(sweep / "a", variant(sweep / "a", tmp_path / "x", **case))
    assert any("x: not defined alike, p4K is another perturbation" in line for line in out)
