"""The commands as a user types them: what they write, and one line for every mistake."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
import xarray as xr
import yaml

from respeval.diagnostics import known_diagnostics
from respeval.diagnostics.numbers import with_error
from respeval.files.netcdf import open_saved
from respeval.presentation.console.tables import show_table
from respeval.presentation.console.warming import perturbation_columns, warming_tables
from tests.support import studies
from tests.support.invoking import invoke, invoked, refused
from tests.support.studies import write_study


@pytest.fixture(scope="module")
def finished(study: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder and the output of `respeval run tiny.pt -o out`, on 100 columns."""
    out = tmp_path_factory.mktemp("run") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "100")  # pytest-xdist says 80, where numbers may have two lines
        return out, invoke("run", study, "-o", out)


def test_a_run_writes_the_files_of_the_contract(finished: tuple[Path, str]) -> None:
    out, _ = finished
    assert sorted(entry.name for entry in out.iterdir()) == [
        "case.yaml",
        "diagnostics.nc",
        "figures",
        "group_means.nc",
        "manifest.json",
        "response.nc",
        "restart",
        "running.nc",
        "segments",
        "summary.json",
        "zonal.nc",
    ]
    figures = (
        *("amplification", "column_warming", "global_mean_timeseries", "land_ocean_warming"),
        *("linearity", "response_map", "zonal_mean_warming"),  # running has one time alone
    )
    assert sorted(entry.name for entry in (out / "figures").iterdir()) == [
        f"{name}.{kind}" for name in figures for kind in ("pdf", "png")
    ]
    with xr.open_dataset(out / "group_means.nc", decode_times=False) as means:
        assert means["skin"].dims == ("group", "time", "lat", "lon")
        assert means["skin"].dtype == np.float64
        assert means["group"].values.tolist() == ["baseline", "p2K", "p4K"]
        assert means.attrs["Conventions"] == "CF-1.11"
        assert "time_bnds" in means
        assert "count" in means
    with xr.open_dataset(out / "zonal.nc", decode_times=False) as zonal:
        assert zonal["skin"].dims == ("group", "sample", "time", "surface", "lat")
        assert zonal["surface"].values.tolist() == ["all", "land", "ocean"]
        assert zonal["area"].dims == ("surface", "lat")
    with xr.open_dataset(out / "response.nc") as response:
        assert response["skin"].dims == ("perturbation", "lat", "lon")
    with xr.open_dataset(out / "diagnostics.nc") as diagnostics:
        assert diagnostics["land_ocean_warming_ratio"].dims == ("perturbation", "band")
        assert diagnostics["column_warming"].dims == ("perturbation", "level")
        for name in ("land_warming", "ocean_warming", "vertical_warming_ratio_tropical_ocean"):
            assert f"{name}_stderr" in diagnostics
    summary = json.loads((out / "summary.json").read_text())
    for key in (
        "p4K/land_warming/tropics",
        "p4K/ocean_warming/midlatitudes",
        "p4K/land_ocean_warming_ratio/tropics",
        "p4K/tropical_ocean_surface_warming",
        "p4K/tropical_ocean_upper_warming",
        "p4K/vertical_warming_ratio_tropical_ocean",
        "p4K/column_warming/air_temperature_0",
    ):
        assert isinstance(summary[key], float)


def test_the_table_shows_the_summarys_numbers(finished: tuple[Path, str]) -> None:
    out, shown = finished
    summary = json.loads((out / "summary.json").read_text())
    assert in_the_table(summary, "p4K", "land_warming", "/tropics") in shown
    assert in_the_table(summary, "p2K", "vertical_warming_ratio_tropical_ocean") in shown
    assert "SST as the emulator sees it +4.00 K over ocean" in shown
    assert "segment 3 of 3  2001-03-17" in shown
    assert "land/ocean (midlatitudes): p2K " in shown


def in_the_table(summary: dict[str, float], label: str, name: str, place: str = "") -> str:
    """A number of summary.json as tables without room for intervals show it."""
    return with_error(*(summary[f"{label}/{name}{end}{place}"] for end in ("", "_stderr")))


def test_the_resolved_case_gives_the_same_run(
    study: Path, finished: tuple[Path, str], tmp_path: Path
) -> None:
    out, _ = finished
    invoke("run", study, "--case", out / "case.yaml", "-o", tmp_path / "again")
    first, second = ((f / "summary.json").read_text() for f in (out, tmp_path / "again"))
    assert first == second
    digests = [
        json.loads((folder / "manifest.json").read_text())["case_digest"]
        for folder in (out, tmp_path / "again")
    ]
    assert digests[0] == digests[1]


def test_the_table_is_the_same_from_memory_as_from_the_file(
    finished: tuple[Path, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, shown = finished
    monkeypatch.setenv("COLUMNS", "100")
    show_table(out)
    of_file = capsys.readouterr().out
    assert "land/ocean ratio" in of_file
    assert of_file in shown
    with open_saved(out / "diagnostics.nc") as diagnostics:
        show_table(out, known=diagnostics.load())
        assert capsys.readouterr().out == of_file
        for name in diagnostics.data_vars:
            if str(name).endswith(("_stderr", "_low", "_high", "_noise")):
                diagnostics[name][:] = 0.25  # so that no statistic is missing, as in a short run
        tables = [
            warming_tables(perturbation_columns(diagnostics, everything=every), "")[0]
            for every in (True, False)
        ]
    cells = [[list(column.cells) for column in table.columns] for table in tables]
    assert "0.25" in cells[0][-1]  # the noise
    assert cells[0] == cells[1]


def test_a_finished_run_has_nothing_to_do(study: Path, finished: tuple[Path, str]) -> None:
    out, _ = finished
    before = (out / "manifest.json").read_bytes()
    assert "nothing to do" in invoke("run", study, "-o", out)
    assert (out / "manifest.json").read_bytes() == before


def test_a_finished_run_with_a_damaged_segment_is_told(
    study: Path, finished: tuple[Path, str], tmp_path: Path
) -> None:
    out = tmp_path / "copy"
    shutil.copytree(finished[0], out)
    segment = out / "segments" / "00002_2001-02-01.nc"
    spoiled = bytearray(segment.read_bytes())
    spoiled[len(spoiled) // 2] ^= 16
    segment.write_bytes(spoiled)
    line = refused("run", study, "-o", out)
    assert f"{segment} is damaged (its checksum differs); " in line
    assert "start over with --restart-fresh" in line


def test_two_diagnoses_of_one_folder_at_once_take_turns(
    finished: tuple[Path, str], tmp_path: Path
) -> None:
    out = tmp_path / "copy"
    shutil.copytree(finished[0], out)
    bands = ("tropics=0:20", "tropics=0:40")
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "respeval", "diagnose", out, "--bands", band],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for band in bands
    ]
    told = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    # The files are those of one of them, not of both.
    with xr.open_dataset(out / "diagnostics.nc") as found:
        ratio = float(found["land_warming"].sel(perturbation="p4K", band="tropics"))
    summary = json.loads((out / "summary.json").read_text())
    assert summary["p4K/land_warming/tropics"] == ratio
    assert not [path for path in out.rglob(".*")]


def test_a_model_without_any_main_diagnostic_has_its_means(tmp_path: Path) -> None:
    write_study(tmp_path, days=40)
    checkpoint = studies.checkpoint(tmp_path / "plain.pt", roles={})
    out = tmp_path / "out"
    shown = " ".join(invoke("run", checkpoint, "--case", tmp_path / "case.yaml", "-o", out).split())
    assert "skin_mean, K" in shown
    assert "rain_mean, kg m-2 s-1" in shown
    summary = json.loads((out / "summary.json").read_text())
    with xr.open_dataset(out / "diagnostics.nc") as found:
        mean = float(found["skin_mean"].sel(perturbation="p4K", surface="ocean"))
    assert summary["p4K/ocean_mean/skin"] == mean
    for command in (("diagnose", out), ("diagnose", out, "--all"), ("compare", out)):
        invoke(*command)
    invoke("report", out, "-o", tmp_path / "report.html")


def test_a_perturbation_that_blows_up_leaves_alone_and_is_told_everywhere(
    study: Path, tmp_path: Path
) -> None:
    """1e9 K, in all samples: the other climates are those of a run without it."""
    case = ("--days", 40, "--perturb", "p4K=uniform:4")
    alone, both = tmp_path / "alone", tmp_path / "both"
    invoke("run", study, "-o", alone, *case)
    shown = " ".join(
        invoke("run", study, "-o", both, *case, "--perturb", "huge=uniform:1e9").split()
    )
    assert "huge is left out of all results: it blew up in every sample that was left" in shown
    told = "left out of the means: huge, which blew up in every sample that was left"
    assert told in shown
    assert told in " ".join(invoke("diagnose", both).split())
    with (
        xr.open_dataset(alone / "zonal.nc", decode_times=False) as expected,
        xr.open_dataset(both / "zonal.nc", decode_times=False) as got,
    ):
        assert got["group"].values.tolist() == ["baseline", "p4K"]
        assert got["count"].values.tolist() == expected["count"].values.tolist()
        # The batch of a sample has one member more, and with it float32 rounding.
        np.testing.assert_allclose(got["skin"].values, expected["skin"].values, rtol=1e-5)
    compared = " ".join(invoke("compare", alone, both).split())
    assert "both: huge blew up in every sample, and is left out" in compared
    page = tmp_path / "report.html"
    invoke("report", both, "-o", page)
    assert "left out, it blew up in every sample" in page.read_text()
    assert "in every sample: " in refused(
        "run", study, "-o", tmp_path / "none", "--days", 9, "--perturb", "huge=uniform:1e9", code=3
    )


def test_a_run_that_goes_on_under_other_versions_says_so_and_keeps_them(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    invoke("run", study, "-o", out, "--days", 40)
    monkeypatch.setattr("respeval.__version__", "9.9")
    shown = " ".join(invoke("run", study, "-o", out, "--days", 75, "--extend").split())
    assert "under other versions from segment 3 (step 40) on: respeval " in shown
    assert "-> 9.9" in shown
    manifest = json.loads((out / "manifest.json").read_text())
    first, second = manifest["versions_by_segments"]
    assert (first["from_step"], first["from_segment"]) == (0, 1)
    assert (second["from_step"], second["from_segment"]) == (40, 3)
    assert (second["versions"]["respeval"], manifest["versions"]["respeval"]) == ("9.9", "9.9")
    assert first["versions"]["respeval"] != "9.9"
    monkeypatch.undo()
    invoke("run", study, "-o", out, "--days", 75)  # finished: nothing of it is computed again
    assert len(json.loads((out / "manifest.json").read_text())["versions_by_segments"]) == 2


def test_too_little_memory_is_one_line_wherever_it_is_lacking(
    study: Path, finished: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = MagicMock(side_effect=MemoryError("Unable to allocate 12.0 GiB"))
    for place, command, told in (
        ("respeval.checkpoints.native.load_mapped", ("inspect", study), "to load"),
        ("respeval.analysis.results.diagnose", ("run", study, "-o", tmp_path / "out"), "analysis"),
        ("respeval.analysis.results.diagnose", ("diagnose", finished[0]), "go to a larger machine"),
        ("respeval.fields.initial.read_whole", ("run", study, "-o", tmp_path / "no"), "too little"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(place, full)
            line = refused(*command)
        assert "too little memory" in line
        assert told in line
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["status"], len(manifest["segments"])) == ("failed", 3)
    invoke("run", study, "-o", tmp_path / "out")  # it goes on where there is more


def test_diagnose_needs_no_model(finished: tuple[Path, str], tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(finished[0], out)
    manifest = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps({**manifest, "checkpoint": "/gone.pt"}))
    before = json.loads((out / "summary.json").read_text())
    options = ("--bands", "north=40:60,tropics=0:30", "--role", "precipitation=rain")
    shown = invoke("diagnose", out, *options, "--all")
    assert "north" in shown
    after = json.loads((out / "summary.json").read_text())
    assert "p4K/land_warming/north" in after
    assert "p4K/land_warming/midlatitudes" not in after
    assert after["p4K/land_warming/tropics"] == before["p4K/land_warming/tropics"]
    with xr.open_dataset(out / "zonal.nc", decode_times=False) as zonal:
        inside = (abs(zonal["lat"]) >= 40) & (abs(zonal["lat"]) < 60)
        area = zonal["area"].sel(surface="land").where(inside, 0.0)
        air = zonal["air_temperature_1"].sel(surface="land").weighted(zonal["count"])
        air = air.mean(("sample", "time"))
        warming = float((air.sel(group="p4K") - air.sel(group="baseline")).weighted(area).mean())
    assert after["p4K/land_warming/north"] == pytest.approx(warming, rel=1e-9)
    rain = after["p4K/precipitation_change_per_K"]
    assert "p4K/precipitation_change_per_K" not in before
    cell = in_the_table(after, "p4K", "precipitation_change_per_K")
    assert float(cell.partition(" ±")[0]) == pytest.approx(rain, rel=0.05)
    assert re.search(rf"precipitation_change_per_K, % K-1 .* {re.escape(cell)}", shown)
    assert re.search(r"left out: .*cess_feedback_longwave.* roles\.toa_upward_longwave", shown)
    assert "role 'ocean_fraction' was fixed" in refused(
        "diagnose", out, "--role", "ocean_fraction=x"
    )


def test_diagnose_says_which_file_is_damaged(finished: tuple[Path, str], tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(finished[0], out)
    (out / "diagnostics.nc").unlink()
    shutil.rmtree(out / "figures")
    again = "remove it and give the run's command again"
    for name, advice in (
        ("zonal.nc", again),
        ("group_means.nc", again),
        ("segments/00002_2001-02-01.nc", "start over with --restart-fresh"),
    ):
        before = (out / name).read_bytes()
        spoiled = bytearray(before)
        spoiled[len(spoiled) // 2] ^= 16
        (out / name).write_bytes(spoiled)
        line = refused("diagnose", out)
        assert f"{out / name} is damaged (its checksum differs); " in line
        assert advice in line
        assert line == refused("diagnose", out, "--role", "ocean_fraction=x")
        (out / name).unlink()
        assert f"{out / name} can't be read (No such file or directory)" in refused("diagnose", out)
        (out / name).write_bytes(before)
        assert not (out / "diagnostics.nc").exists()
        assert not (out / "figures").exists()
    invoke("diagnose", out)
    assert (out / "diagnostics.nc").exists()


def test_inspect_names_what_a_run_needs(study: Path) -> None:
    shown = invoke("inspect", study)
    for text in (
        "sfno",
        "8 x 16 legendre-gauss",
        "24 h, calendar noleap",
        "deterministic",
        "skin, prescribed where ocean_fraction > 0.5",
        "network.blocks.0.global_conv.weight",
        "initial_condition: air_temperature_0, air_temperature_1, skin",
        "forcing: ocean_fraction, sunlight, skin",
        "kg m-2 s-1",
    ):
        assert text in " ".join(shown.split())
    parameters = 4 * 5 + 2 * (2 * 4 * 4 * 8 + 8 * 4 + 8 + 4 * 8) + 4 * 4
    assert f"{parameters} real numbers" in shown


def test_options_replace_what_the_case_says(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    invoke(
        *("run", study, "-o", out, "--steps", 4, "--segment", "2 steps", "--seed", 9),
        *("--perturb", "m3K=uniform:-3", "--bands", "all=0:90", "--area-weights", "cos_lat"),
        *("--perturb", "w=patch:2,lat_center=0,lon_center=90,lat_width=60,lon_width=90"),
        *("--role", "upper_level=air_temperature_1", "--window", 1, "--threads", 1),
    )
    case = yaml.safe_load((out / "case.yaml").read_text())
    assert (case["steps"], case["seed"], case["area_weights"]) == (4, 9, "cos_lat")
    assert list(case["perturbations"]) == ["m3K", "w"]
    assert len(list((out / "segments").iterdir())) == 2
    summary = json.loads((out / "summary.json").read_text())
    assert summary["m3K/vertical_warming_ratio_tropical_ocean"] == pytest.approx(1.0)
    with xr.open_dataset(out / "group_means.nc", decode_times=False) as means:
        cosine = np.cos(np.radians(means["lat"].values))
        got = means["area_weight"].values[:, 0]
        assert got == pytest.approx(cosine / cosine.sum() / 16)


def _attack(folder: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
            return os.mkdir, (str(folder / "harm"),)

    torch.save({"format": Attack()}, folder / "tiny.pt")


def _change_forcing(folder: Path, change: Callable[[xr.Dataset], xr.Dataset]) -> None:
    (folder / "forcing.nc").unlink()
    change(studies.forcing()).to_netcdf(folder / "forcing.nc")


def _missing_sst(dataset: xr.Dataset) -> xr.Dataset:
    skin = dataset["skin"].values.copy()
    skin[3, 4, 2] = np.nan
    return dataset.assign(skin=(("time", "lat", "lon"), skin))


def _edit_case(folder: Path, **changes: Any) -> None:
    case = yaml.safe_load((folder / "case.yaml").read_text())
    (folder / "case.yaml").write_text(yaml.safe_dump({**case, **changes}))


MISTAKES: list[tuple[str, Callable[[Path], object], str]] = [
    ("no such file", lambda f: (f / "tiny.pt").unlink(), "tiny.pt: no such checkpoint file"),
    (
        "not a checkpoint",
        lambda f: (f / "tiny.pt").write_text("hello"),
        "tiny.pt is no checkpoint: it can't be read as saved weights",
    ),
    ("a pickle that would run code", _attack, "tiny.pt needs code to load"),
    (
        "forcing without ocean_fraction",
        lambda f: _change_forcing(f, lambda d: d.drop_vars("ocean_fraction")),
        "has no 'ocean_fraction' (it has: skin, sunlight, land_fraction); name it with "
        "roles.ocean_fraction in the case file",
    ),
    (
        "forcing too short",
        lambda f: _change_forcing(f, lambda d: d.isel(time=slice(0, 40))),
        "is too short: the run reads 2001-01-01 00:00:00 to 2001-03-17 00:00:00",
    ),
    (
        "other grid",
        lambda f: _change_forcing(f, lambda d: d.isel(lon=slice(0, 16, 2))),
        "is on another grid than the emulator's 8 x 16 legendre-gauss",
    ),
    (
        "NaN in SST over ocean",
        lambda f: _change_forcing(f, _missing_sst),
        "skin is missing over ocean at 2001-01-04 00:00:00",
    ),
    (
        "unknown case key",
        lambda f: _edit_case(f, perturbation={}),
        "unknown key 'perturbation'; did you mean 'perturbations'?",
    ),
    ("no forcing file", lambda f: (f / "forcing.nc").unlink(), "forcing.nc: no such file"),
    (
        "no length",
        lambda f: (f / "case.yaml").write_text(
            "forcing: forcing.nc\ninitial_condition: initial.nc"
        ),
        "the run's length is not given; set one of years, days or steps",
    ),
    (
        "unwritable output",
        lambda f: (f / "out").write_text("a file, not a folder"),
        "out can't be made (File exists)",
    ),
    (
        "a folder of something else",
        lambda f: [(f / "out").mkdir(), (f / "out" / "thesis.tex").touch()],
        "out is not empty and holds no respeval run; choose another folder with -o",
    ),
]


@pytest.mark.parametrize(
    ("spoil", "message"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES]
)
def test_mistakes_get_one_line(
    tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    folder = tmp_path / "study"
    checkpoint = write_study(folder)
    spoil(folder)
    assert message in refused("run", checkpoint, "-o", folder / "out")
    assert not (folder / "harm").exists()


def test_the_folder_of_another_run_is_refused_and_stays(
    study: Path, finished: tuple[Path, str]
) -> None:
    out, _ = finished
    before = (out / "summary.json").read_bytes()
    line = refused("run", study, "-o", out, "--steps", 3)
    assert "holds another run: days 75 -> none; steps none -> 3; choose another folder" in line
    assert (out / "summary.json").read_bytes() == before


def test_an_emulator_that_blows_up_ends_with_3_and_keeps_its_segments(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    checkpoint = write_study(folder)
    forcing = studies.forcing()
    sunlight = forcing["sunlight"].values.copy()
    sunlight[40] = 1e30
    (folder / "forcing.nc").unlink()
    forcing.assign(sunlight=(("time", "lat", "lon"), sunlight)).to_netcdf(folder / "forcing.nc")
    line = refused("run", checkpoint, "-o", folder / "out", "--allow-out-of-range", code=3)
    assert "the emulator blew up in every sample: air_temperature_0 of group baseline" in line
    assert "at 2001-02-11" in line
    assert "its inputs may be at fault" in line
    assert len(list((folder / "out" / "segments").iterdir())) == 1


def test_a_sample_that_blows_up_is_named_in_the_table(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    checkpoint = write_study(folder)
    initial = studies.initial()
    initial["air_temperature_0"][1] = 1e7
    (folder / "initial.nc").unlink()
    initial.to_netcdf(folder / "initial.nc")
    allow = "--allow-out-of-range"
    shown = " ".join(invoke("run", checkpoint, "-o", folder / "out", allow).split())
    assert "warning: sample left out from here on: air_temperature_" in shown
    assert "left out of the means: sample 1 from the segment of 2001-01-02" in shown
    assert "left out of the means: sample 1" in " ".join(invoke("diagnose", folder / "out").split())
    line = refused("run", checkpoint, "-o", folder / "fast", "--fail-fast", allow, code=3)
    assert "the emulator blew up: air_temperature_" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--perturb", "4"], "--perturb '4': expected LABEL=uniform:KELVIN"),
        (["--bands", "tropics"], "--bands 'tropics': expected NAME=LOW:HIGH"),
        (["--role", "upper_level"], "--role 'upper_level': expected NAME=VALUE"),
        (["--role", "upper=skin"], "unknown key 'upper'; did you mean 'upper_level'?"),
        (["--role", "upper_level=wind"], "roles.upper_level names 'wind', which is no output"),
        (["--start", "2002-01-01"], "has no initial condition at 2002-01-01"),
        (["--perturb", "a=uniform:1", "--perturb", "a=uniform:2"], "--perturb gives 'a' twice"),
        (["--reader", "a=[1"], "--reader a=[1: the value is no YAML"),
        (["--num-realizations", "2"], "tiny.pt is deterministic"),
        (["--window", "0"], "--window 0: expected a whole number of at least 1"),
        (["--spinup", "80 days"], "spinup (80 days) leaves nothing of a run of 75 days"),
        (["--case", "nothing.yaml"], "nothing.yaml: no such case file"),
        (["--device", "tpu"], "--device tpu: expected cpu or cuda"),
    ],
)
def test_mistaken_options_get_one_line(
    study: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    assert message in refused("run", study, "-o", tmp_path / "out", *arguments)


def test_wrong_usage_gets_one_line() -> None:
    for arguments, message in (
        (["run"], "Missing argument"),
        (["run", "a.pt", "-o", "b", "--days", "many"], "'--days': Input should be a valid integer"),
        (["run", "a.pt", "-o", "b", "--dayz", "3"], "No such option"),
        (["walk"], "No such command 'walk'"),
    ):
        command = [sys.executable, "-m", "respeval", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert done.stderr.startswith("respeval: ")
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_the_demo_protects_a_folder_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    assert "is not empty and holds no such demo" in refused("demo", tmp_path)


def test_a_full_disk_gets_one_line_and_leaves_nothing_half(study: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk."""
    out = tmp_path / "out"
    shell = f"ulimit -f 20; exec {sys.executable} -m respeval run {study} -o {out}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "can't be written" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not list(out.glob("**/*.partial"))
    assert not list((out / "segments").iterdir())
    assert "make room, or check the quota, and give the same command again" in done.stderr
    invoke("run", study, "-o", out)


def test_diagnose_refuses_what_is_no_run(tmp_path: Path) -> None:
    assert "is no folder of a run: it has no manifest.json" in refused("diagnose", tmp_path)


def test_diagnose_lists_what_there_is(tmp_path: Path) -> None:
    shown = invoke("diagnose", "--list")
    for name in known_diagnostics():
        assert re.search(rf"^{name} \(", shown, flags=re.MULTILINE), name
    assert "Sutton et al. 2007" in shown
    assert "NAME_low: lower end of the 95 % interval of NAME" in shown
    assert max(map(len, shown.splitlines())) <= 100
    assert "no folder is given" in refused("diagnose")


def test_a_figure_that_cannot_be_drawn_keeps_no_result_from_being_written(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = MagicMock(side_effect=ZeroDivisionError("of a figure"))
    monkeypatch.setattr("respeval.plotting.files.response_map", broken)
    out = tmp_path / "out"
    result = invoked("run", study, "-o", out, "--days", 9, code=2)
    assert "the figure response_map can't be drawn: unexpected ZeroDivisionError" in result.stderr
    assert json.loads((out / "manifest.json").read_text())["status"] == "finished"
    assert (out / "figures" / "land_ocean_warming.png").is_file()
    assert (out / "response.nc").is_file()
