"""One declaration makes a diagnostic, in respeval or in a package: it is seen wherever numbers are."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from respeval.diagnostics import (
    Diagnostic,
    LeftOut,
    Ratio,
    catalog,
    diagnose,
    global_warming,
    known_diagnostics,
    known_trends,
    left_out,
    region_mean,
    running,
    summary,
)
from respeval.diagnostics.formulas.registry import OWN, declared
from respeval.errors import InputError
from tests.support import ROOT
from tests.support.invoking import refused
from tests.support.packages import respeval, write_package
from tests.support.studies import checkpoint, write_study
from tests.support.world import LAND, OCEAN, SETTINGS, WORLD, mean, world

GROUP = "respeval.diagnostics"

WORDS = {
    "what": "Land minus ocean warming",
    "units": "K",
    "formula": "Mean of ΔT over land minus mean over ocean.",
    "source": "Nobody 2026",
}

#: A module with one declaration, which does as a package of its own and among respeval's.
CONTRAST = f"""
from respeval.diagnostics.formulas.diagnostic import Diagnostic, Row
from respeval.diagnostics.formulas.regions import global_warming

def _values(response, settings):
    return global_warming(response, settings, "land") - global_warming(response, settings, "ocean")

contrast = Diagnostic(
    name="contrast", values=_values, row=Row("land - ocean, K", "globe"), by_season=True,
    **{WORDS!r},
)
"""


def of_words(**changes: object) -> Diagnostic:
    fields = {"name": "mine", "values": global_warming, **WORDS, **changes}
    return Diagnostic(**fields)  # type: ignore[arg-type]


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Diagnostic]]:
    """Declares a diagnostic among respeval's own for a test."""

    def add(**changes: object) -> Diagnostic:
        diagnostic = of_words(**changes)
        monkeypatch.setitem(OWN, diagnostic.name, diagnostic)
        declared.cache_clear()
        return diagnostic

    yield add
    monkeypatch.undo()
    declared.cache_clear()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs a and b, and in `site` a package that declares a diagnostic for them."""
    folder = tmp_path_factory.mktemp("declared")
    write_package(folder / "site", "ours", CONTRAST, GROUP, contrast="ours:contrast")
    study = write_study(folder / "study", days=40)
    checkpoint(folder / "study" / "other.pt", 7)
    for name, path in (("a", study), ("b", study.with_name("other.pt"))):
        options = ("-o", folder / name, "--until", "contrast:0.5")
        done = respeval(folder / "site", "run", path, *options)
        assert done.returncode == 0, done.stderr
        assert "land - ocean, K" in done.stdout
        assert re.search(r"until: (p\dK/)?contrast", done.stdout)
    return folder


def said(runs: Path, *arguments: object) -> str:
    done = respeval(runs / "site", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_packages_diagnostic_is_in_the_files_of_a_run(runs: Path) -> None:
    with xr.open_dataset(runs / "a" / "diagnostics.nc") as found:
        told = found["contrast"].attrs
        assert (told["units"], told["long_name"]) == ("K", "land minus ocean warming")
        assert told["cell_methods"] == "time: mean area: mean"
        assert {f"contrast_{s}" for s in ("stderr", "low", "high", "noise")} <= set(found)
        assert found["contrast_by_season"].dims == ("perturbation", "season")
        assert found["contrast_by_month"].attrs["long_name"] == "land minus ocean warming by month"
        surfaces = found["air_temperature_1_mean"].sel(surface=["land", "ocean"]).values
        np.testing.assert_allclose(found["contrast"], surfaces[:, 0] - surfaces[:, 1], rtol=1e-9)
        numbers = json.loads((runs / "a" / "summary.json").read_text())
        assert numbers["p4K/contrast"] == found["contrast"].sel(perturbation="p4K").item()
    assert {"p2K/contrast_stderr", "p2K/contrast_by_season/DJF"} <= set(numbers)
    with xr.open_dataset(
        runs / "a" / "running.nc"
    ) as along:  # the bands alone are kept apart there
        assert "land_warming" in along
        assert "contrast" not in along


def test_it_is_told_where_diagnostics_are_told(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    listed = said(runs, "diagnose", "--list")
    assert "contrast (perturbation), K\n    Land minus ocean warming\n" in listed
    assert "contrast_by_season (perturbation, season), K" in listed
    shown = said(runs, "diagnose", runs / "a", "--all")
    assert re.search(r"land - ocean, K +│ globe", shown)
    assert re.search(r"^ *contrast, K +-?\d", shown, re.MULTILINE)
    said(runs, "report", runs / "a", "-o", runs / "report.html")
    page = (runs / "report.html").read_text()
    assert "land - ocean, K" in page
    assert 'data-value="contrast"' in page


@pytest.mark.parametrize("workers", [1, 2])
def test_it_is_compared_by_several_processes_too(runs: Path, workers: int) -> None:
    out = runs / f"compared{workers}"
    options = ("--diagnostics", "contrast", "--workers", workers)
    shown = said(runs, "compare", runs / "a", runs / "b", *options, "-o", out)
    assert "land - ocean, K" in shown
    with (out / "comparison.csv").open() as table:
        rows = [row for row in csv.DictReader(table) if row["diagnostic"] == "contrast"]
    assert {(row["run"], row["perturbation"]) for row in rows} == {
        (run, label) for run in "ab" for label in ("p2K", "p4K")
    }
    assert all(row["value"] for row in rows)
    assert (out / "figures" / "contrast.png").is_file()


def test_a_new_module_of_formulas_is_all_that_a_diagnostic_takes(tmp_path: Path) -> None:
    copy = tmp_path / "copy" / "respeval"
    shutil.copytree(ROOT / "respeval", copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "diagnostics" / "formulas" / "contrasts.py").write_text(CONTRAST)
    environment = {**os.environ, "PYTHONPATH": str(copy.parent)}

    def python(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "contrast (perturbation), K\n    Land minus" in python(
        "-m", "respeval", "diagnose", "--list"
    )
    (tmp_path / "tell.py").write_text(
        "from respeval.diagnostics import known_diagnostics, main_diagnostics, running\n"
        "from respeval.diagnostics.formulas.registry import OWN\n"
        "print(list(OWN))\n"
    )
    assert python("tell.py").strip() == str([*OWN, "contrast"])


def test_the_order_of_the_file_is_that_of_the_declarations() -> None:
    names = list(OWN)
    assert names[:3] == ["land_warming", "ocean_warming", "land_ocean_warming_ratio"]
    assert names[-3:] == ["linearity", "baseline_drift", "response_drift"]
    assert list(known_trends()) == names[-2:]
    found = [name for name in diagnose(world(), SETTINGS) if name in OWN]
    assert found == [name for name in names if name != "linearity"]
    assert [entry.name for entry in catalog()][: len(names)] == names


def test_no_docstring_is_needed(tmp_path: Path) -> None:
    plain = respeval(tmp_path, "diagnose", "--list")
    without = respeval(tmp_path, "diagnose", "--list", options=("-OO",))
    assert (plain.returncode, without.returncode) == (0, 0), without.stderr
    assert without.stdout == plain.stdout
    assert "Sutton et al. 2007" in plain.stdout


def test_help_loads_no_diagnostic(tmp_path: Path) -> None:
    source = "raise SystemExit('loaded')"
    write_package(tmp_path / "site", "loud", source, GROUP, loud="loud:diagnostic")
    for command in ("run", "diagnose", "compare", "report"):
        shown = respeval(tmp_path / "site", command, "--help")
        assert shown.returncode == 0, shown.stderr
    assert respeval(tmp_path / "site", "diagnose", "--list").returncode != 0


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise RuntimeError('no CUDA here')", "RuntimeError: no CUDA here"),
        ("mine = print", "broken:mine is builtin_function_or_method, expected a"),
        ("", "AttributeError"),
        (CONTRAST.replace("'Nobody 2026'", "''") + "mine = contrast", "does not say its source"),
        (CONTRAST + "mine = contrast", "brings the diagnostic 'contrast' under the entry point"),
    ],
)
def test_a_broken_package_is_one_line_before_a_run(
    site: Path, tmp_path: Path, study: Path, source: str, message: str
) -> None:
    write_package(site, "broken", source, GROUP, mine="broken:mine")
    line = refused("run", study, "-o", tmp_path / "out")
    assert message in line
    assert "the package broken" in line
    assert not (tmp_path / "out").exists()
    assert refused("diagnose", "--list") == line


def test_names_are_taken_once(site: Path) -> None:
    write_package(site, "impostor", CONTRAST, GROUP, land_warming="impostor:contrast")
    with pytest.raises(InputError, match=r"named 'land_warming', which is respeval's own: unin"):
        known_diagnostics()
    assert "impostor" not in sys.modules
    shutil.rmtree(site / "impostor-1.0.dist-info")
    write_package(site, "monthly", CONTRAST, GROUP, land_warming_by_month="monthly:contrast")
    with pytest.raises(InputError, match="'land_warming_by_month', which is respeval's own"):
        known_diagnostics()
    shutil.rmtree(site / "monthly-1.0.dist-info")
    for name in ("first", "second"):
        write_package(site, name, CONTRAST, GROUP, contrast=f"{name}:contrast")
    with pytest.raises(InputError, match=r"named 'contrast', which is that of the package \w+ too"):
        known_diagnostics()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "land-ocean"}, "'land-ocean' names no diagnostic"),
        ({"name": "warming_low"}, "'warming_low' names no diagnostic: .* no end of a statistic"),
        ({"source": ""}, "the diagnostic mine does not say its source"),
        ({"formula": ""}, "the diagnostic mine does not say its formula"),
        ({"dims": "basin"}, r"has the dimensions \(basin\): perturbation is one"),
        ({"name": "baseline_mine"}, r"baseline_mine has the dimensions \(perturbation\)"),
    ],
)
def test_a_declaration_that_lacks_something_is_refused(
    changes: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        of_words(**changes)


def test_values_have_the_dimensions_that_are_declared(declare: Callable[..., Diagnostic]) -> None:
    declare(dims="perturbation, basin")
    with pytest.raises(InputError, match="the values of mine have no coordinate 'basin'"):
        diagnose(world(), SETTINGS)

    def by_region(response: xr.Dataset, settings: object) -> xr.DataArray:
        return region_mean(response, "T", "all").expand_dims(region=["pole"], axis=-1)

    declare(dims="perturbation, region", values=by_region)
    with pytest.raises(InputError, match="mine has region pole, others have global, land, ocean"):
        diagnose(world(), SETTINGS)

    def trend(yearly: xr.Dataset, settings: object) -> xr.DataArray:
        return by_region(yearly.isel(group=0, drop=True), settings)

    declare()
    declare(name="baseline_mine", dims="region", values=trend, is_trend=True)
    with pytest.raises(InputError, match="baseline_mine has region pole, others have global"):
        diagnose(world(warming=np.zeros((1, 36))), SETTINGS)


def test_what_the_values_were_made_from_is_not_told_of_them(
    declare: Callable[..., Diagnostic],
) -> None:
    def odd(response: xr.Dataset, settings: object) -> xr.DataArray:
        return global_warming(response, SETTINGS).assign_attrs(units="m", standard_name="x")

    declare(values=odd, what="TOA flux", comment="of nothing", long_name="flux at the top")
    told = diagnose(world(), SETTINGS)["mine"].attrs
    assert (told["units"], told["comment"]) == ("K", "of nothing")
    assert told["long_name"] == "flux at the top"
    assert "standard_name" not in told


def test_an_output_that_has_no_role_is_read_where_it_is_declared(
    declare: Callable[..., Diagnostic],
) -> None:
    def wind(response: xr.Dataset, settings: object) -> xr.DataArray:
        if "u10m" not in response:
            raise LeftOut("no u10m is among the outputs")
        return region_mean(response, "u10m", "ocean")

    zonal = world(names=("T", "RH2m")).rename(RH2m="u10m")
    declare(values=wind)
    assert left_out(["T", "u10m"], SETTINGS)["mine"] == "no u10m is among the outputs"
    assert "mine" not in diagnose(zonal, SETTINGS)
    declare(values=wind, reads=("u10m", "uas"))
    assert "mine" not in left_out(["T", "u10m"], SETTINGS)
    np.testing.assert_allclose(diagnose(zonal, SETTINGS)["mine"], 0.0, atol=1e-12)


def test_a_ratio_may_be_of_any_functions(declare: Callable[..., Diagnostic]) -> None:
    def over(surface: str) -> Callable[..., xr.DataArray]:
        return lambda response, settings: global_warming(response, settings, surface)

    noise = np.random.default_rng(2).standard_normal((4, 1)).repeat(60, axis=1)
    declare(values=Ratio(over("land"), over("ocean")), units="1")
    found = diagnose(world(warming=noise), SETTINGS)
    change = np.asarray(WORLD["T"][1])
    assert found["mine"].item() == pytest.approx(mean(change, LAND) / mean(change, OCEAN), rel=0.2)
    assert "cell_methods" not in found["mine"].attrs
    assert found["mine_low"] < found["mine"] < found["mine_high"]


def test_a_baselines_number_needs_no_perturbation(declare: Callable[..., Diagnostic]) -> None:
    def warmth(response: xr.Dataset, settings: object) -> xr.DataArray:
        return region_mean(response, "T@baseline", "all")

    declare(name="baseline_warmth", dims="", values=warmth)
    found = diagnose(world(), SETTINGS)
    assert summary(found)["baseline/warmth"] == pytest.approx(288.0)
    assert "baseline_warmth" not in running(world(), found, SETTINGS)
