"""`respeval export check`: a whole submission passes, and each of many breakages is found."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cftime
import netCDF4
import numpy as np
import pytest

from respeval.aimip import check_submission, parse_period
from respeval.aimip.cells import Cells
from respeval.aimip.content import examine
from respeval.aimip.files import Origin, write_members
from respeval.aimip.members import Month
from respeval.aimip.request import EVALUATED_HPA, EXPERIMENTS, Place
from respeval.aimip.sources import Axis, Target
from respeval.errors import InputError
from respeval.fields.grid import FloatArray, Grid
from respeval.fields.standard_names import CMIP
from tests.support.invoking import invoke, refused

GRID = Grid.legendre_gauss(45, 8)
PERIOD = ((2001, 1), (2001, 3))
TYPICAL = {"ta": 250.0, "hus": 5e-3, "ua": 10.0, "va": 1.0, "zg": 5500.0, "ps": 9.8e4, "ts": 285.0}
TYPICAL |= {"tas": 284.0, "huss": 8e-3, "uas": 2.0, "vas": 1.0, "pr": 3e-5}

Change = Callable[[netCDF4.Dataset], None]


def target(name: str) -> Target:
    levels = (500,) if name == "zg" else EVALUATED_HPA
    cmip = CMIP[name]
    if not cmip.on_levels:
        return Target(cmip, (name,), cmip.units, 1.0, 0.0)
    outputs = tuple(f"{name}{level}" for level in levels)
    axis = Axis(np.array(levels, np.float64))
    return Target(cmip, outputs, cmip.units, 1.0, 0.0, axis)


def months(name: str, num_members: int, start: int = 1) -> Iterator[tuple[Month, FloatArray]]:
    """Three months of noise of one percent about a typical value, [member, output, lat, lon]."""
    draw = np.random.default_rng(sorted(TYPICAL).index(name))
    for number in range(start, start + 3):
        dates = (cftime.datetime(2001, m, 1, calendar="noleap") for m in (number, number + 1))
        shape = (num_members, len(target(name).outputs), *GRID.shape)
        yield Month(Path(), 0, *dates), TYPICAL[name] * draw.normal(1.0, 0.01, shape)


def place(name: str, experiment: str = "aimip", member: int = 1) -> Place:
    words = ("us", "Tiny-1", experiment, f"r{member}i1p1f1", name, "gn", "v20261231")
    return Place(*words, *PERIOD)


def write(root: Path, name: str, places: list[Place]) -> None:
    for one in places:
        (root / one.folder).mkdir(parents=True)
    fields = months(name, len(places))
    origin = Origin("us", "url", "-")
    write_members(root, places, target(name), Cells(GRID), fields, origin, within=root)


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that AIMIP asks for, of three months."""
    root = tmp_path_factory.mktemp("complete")
    for name in TYPICAL:
        write(root, name, [place(name, e, m) for e in EXPERIMENTS for m in range(1, 6)])
    return root


@pytest.fixture
def submission(complete: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(complete, tmp_path / "submission"))


def lacks(root: Path) -> tuple[str, ...]:
    (report,) = check_submission(root, PERIOD)
    return report.lacks


def test_a_complete_submission_passes(complete: Path) -> None:
    output = invoke("export", "check", complete, "--period", "200101-200103")
    assert "us/Tiny-1: 180 files" in output
    assert output.count("5 × 3 months") == 3 * len(TYPICAL)
    assert "complete: nothing is missing" in output
    assert "lacks:" not in output
    assert "note:" not in output


def test_a_period_that_is_not_there_is_told_once(complete: Path) -> None:
    output = invoke("export", "check", complete, code=1)
    assert "lacks: months 197810-200012, 200104-202412 are missing in every series" in output
    assert output.count("lacks:") == 1


def remove(root: Path, pattern: str) -> None:
    folders = list(root.glob(f"us/Tiny-1/{pattern}"))
    assert folders
    for folder in folders:
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("aimip-p4k", ["aimip-p4k: no file"]),
        ("aimip/r4i1p1f1", ["aimip: 4 members, AIMIP asks for 5"]),
        ("aimip-p2k/r2i1p1f1/Amon/tas", ["aimip-p2k: tas is missing in r2i1p1f1"]),
        ("aimip/r[34]*/Amon/pr", ["aimip: pr is missing in 2 members, r3i1p1f1 first"]),
        ("*/*/Amon/huss", ["tdas or huss: no file; AIMIP asks for it where the model has it"]),
        ("*/*/Amon/zg", ["zg: no file; AIMIP asks for it where the model has it"]),
    ],
)
def test_missing_parts_are_named(submission: Path, pattern: str, expected: list[str]) -> None:
    remove(submission, pattern)
    assert list(lacks(submission)) == expected


def test_one_of_two_pressures_and_of_two_humidities_is_enough(complete: Path) -> None:
    names = {file.name.split("_")[0] for file in complete.rglob("*.nc")}
    assert names.isdisjoint({"psl", "tdas"})
    assert lacks(complete) == ()


def test_files_in_the_wrong_place_are_named(submission: Path) -> None:
    files = sorted(submission.glob("us/Tiny-1/aimip/r1i1p1f1/Amon/ts/gn/*/*.nc"))
    files[0].rename(files[0].with_name(files[0].name.replace("ts_", "tos_")))
    (submission / "notes.nc").write_bytes(b"")
    first, second, third = lacks(submission)
    assert first == "aimip: ts is missing in r1i1p1f1"
    assert "tos_Amon_Tiny-1" in second
    assert "its folders say ts_Amon_Tiny-1_aimip_r1i1p1f1_gn_200101-200103.nc" in second
    assert "notes.nc is no file of a submission: it does not lie in {institute}/" in third


def test_members_and_experiments_that_are_copies_are_named(submission: Path) -> None:
    def file(experiment: str, member: int) -> Path:
        return submission / place("tas", experiment, member).path

    with netCDF4.Dataset(file("aimip", 1)) as first:
        values = first["tas"][:]
    for path in (file("aimip", 2), file("aimip-p4k", 1)):
        with netCDF4.Dataset(path, "a") as opened:
            opened["tas"][:] = values
    assert set(lacks(submission)) == {
        "tas: aimip r1i1p1f1 and aimip r2i1p1f1 hold the same numbers",
        "tas: aimip r1i1p1f1 and aimip-p4k r1i1p1f1 hold the same numbers",
    }


def test_a_copied_file_is_named_by_its_tracking_id_and_its_attributes(submission: Path) -> None:
    shutil.copyfile(
        submission / place("ua", "aimip", 1).path, submission / place("ua", "aimip", 2).path
    )
    text = "\n".join(lacks(submission))
    assert "global attribute variant_label is 'r1i1p1f1', the file's name says 'r2i1p1f1'" in text
    assert (
        "r2i1p1f1_gn_200101-200103.nc has the tracking_id of ua_Amon_Tiny-1_aimip_r1i1p1f1" in text
    )


def test_only_the_newest_version_counts(submission: Path) -> None:
    old = submission / place("va", "aimip", 3).folder
    shutil.copytree(old, old.with_name("v20250101"))
    (report,) = check_submission(submission, PERIOD)
    assert report.lacks == ()
    assert "1 files of older versions were not looked at" in report.notes[0]


def attribute(owner: str | None, name: str, value: Any) -> Change:
    def change(opened: netCDF4.Dataset) -> None:
        holder = opened if owner is None else opened.variables[owner]
        if value is None:
            holder.delncattr(name)
        else:
            holder.setncattr(name, value)

    return change


def values(name: str, change: Callable[[Any], Any]) -> Change:
    def apply(opened: netCDF4.Dataset) -> None:
        opened.set_auto_mask(False)
        opened.variables[name][:] = change(opened.variables[name][:])

    return apply


def at(index: Any, value: float) -> Callable[[Any], Any]:
    def change(field: Any) -> Any:
        field = np.array(field)
        field[index] = value
        return field

    return change


BREAKAGES: list[tuple[str, Change, str]] = [
    ("tas", attribute("tas", "units", "degC"), "tas has units 'degC', CMIP's is 'K'"),
    ("pr", attribute("pr", "units", "mm/day"), "pr has units 'mm/day', CMIP's is 'kg m-2 s-1'"),
    (
        "tas",
        attribute("tas", "standard_name", "temperature"),
        "tas has standard_name 'temperature'",
    ),
    ("tas", attribute("tas", "long_name", None), "tas has no long_name"),
    ("pr", attribute("pr", "cell_methods", "time: point"), "cell_methods 'time: point', no mean"),
    ("tas", attribute(None, "mip_era", None), "global attributes are missing: mip_era"),
    ("tas", attribute(None, "source_id", "Other"), "source_id is 'Other', the file's name says"),
    ("tas", attribute(None, "realization_index", 2), "realization_index is"),
    ("tas", attribute("time", "bounds", None), "it has no time with bounds"),
    ("tas", attribute("time", "calendar", None), "time has no calendar"),
    ("tas", attribute("time", "units", "moons since 2001"), "its times can't be read"),
    (
        "tas",
        attribute("lat", "units", "degrees"),
        "lat has units 'degrees', expected 'degrees_north'",
    ),
    ("tas", attribute("lon", "bounds", None), "lon has no bounds"),
    ("tas", attribute("height", "units", "km"), "no scalar coordinate height of 2 m"),
    ("uas", values("height", lambda height: 2.0), "its height is 2 m, expected 10 m"),
    ("ta", attribute("plev", "units", "hPa"), "plev has units 'hPa', expected 'Pa'"),
    ("ta", attribute("plev", "positive", "up"), "plev has positive 'up', expected 'down'"),
    ("ta", values("plev", lambda plev: plev / 100), "plev looks like hPa, its units say Pa"),
    ("zg", values("plev", lambda plev: 85_000.0), "zg has no level of 500 hPa"),
    (
        "tas",
        values("time_bnds", lambda b: b + 14),
        "the bounds of time 1 are not the starts of two",
    ),
    ("tas", values("time_bnds", lambda b: b * 2), "the bounds of time 1 are not the starts of two"),
    ("tas", values("time", lambda t: t - 40), "a time lies outside its bounds"),
    ("tas", values("lat", lambda lat: -lat), "lat does not rise, as CMIP stores it"),
    ("tas", values("tas", at((1, 2, 3), np.nan)), "tas has 1 missing values"),
    ("tas", values("tas", at((1, 2, 3), 1e20)), "tas has 1 missing values"),
    ("tas", values("tas", lambda t: t - 273.15), "is it in degrees Celsius?"),
    ("pr", values("pr", lambda pr: pr * 86_400), "is it in mm/day? divide by 86400"),
    ("zg", values("zg", lambda z: z * 9.80665), "is it geopotential? divide by 9.80665"),
    ("ps", values("ps", lambda p: p / 100), "is it in hPa?"),
    ("hus", values("hus", lambda q: q * 1000), "hus reaches from"),
    ("ua", values("ua", lambda u: 0 * u), "ua is 0 everywhere"),
]


@pytest.mark.parametrize(
    ("name", "change", "expected"), BREAKAGES, ids=[f"{n}: {text[:40]}" for n, _, text in BREAKAGES]
)
def test_each_breakage_of_a_file_is_found(
    complete: Path, tmp_path: Path, name: str, change: Change, expected: str
) -> None:
    path = Path(shutil.copy(complete / place(name).path, tmp_path))
    assert examine(path, place(name)).lacks == []
    with netCDF4.Dataset(path, "a") as opened:
        change(opened)
    found = examine(path, place(name))
    assert any(expected in line for line in found.lacks), found.lacks


def rewritten(path: Path, name: str, double: bool = False, rows: list[int] | None = None) -> None:
    """The file again, its variable in double precision or with some of its months."""
    import xarray as xr

    with xr.open_dataset(path, decode_times=False) as opened:
        dataset = opened.load()
    if double:
        dataset[name] = dataset[name].astype(np.float64)
        dataset[name].encoding = {}
    dataset.isel(time=rows if rows is not None else slice(None)).to_netcdf(path)


def test_double_precision_is_found(complete: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(complete / place("ta").path, tmp_path))
    rewritten(path, "ta", double=True)
    assert "ta is float64; AIMIP asks for single precision" in examine(path, place("ta")).lacks


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([0, 2], "month 200102 is missing, its name says otherwise"),
        ([0], "month 200102 and 1 more is missing, its name says otherwise"),
        ([0, 2, 1], "its months are not in order, or one comes twice"),
        ([0, 1, 1, 2], "its months are not in order, or one comes twice"),
        ([], "it has no months"),
    ],
)
def test_gaps_and_disorder_are_found(
    complete: Path, tmp_path: Path, rows: list[int], expected: str
) -> None:
    path = Path(shutil.copy(complete / place("tas").path, tmp_path))
    rewritten(path, "tas", rows=rows)
    assert expected in examine(path, place("tas")).lacks


def test_months_beyond_the_name_are_found(complete: Path) -> None:
    words = place("tas")
    short = Place(
        *[getattr(words, f) for f in list(words.__dataclass_fields__)[:7]], (2001, 1), (2001, 2)
    )
    found = examine(complete / words.path, short).lacks
    assert found == ["it holds 200101 to 200103, its name says otherwise"]


def renamed(name: str, other: str) -> Change:
    return lambda opened: opened.renameVariable(name, other)


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("tas", renamed("tas", "t2m"), "it has no variable tas"),
        ("tas", renamed("lat", "y"), "it has no coordinate lat of one dimension"),
        ("tas", renamed("time", "t"), "it has no time with bounds"),
        ("tas", renamed("height", "z"), "it has no scalar coordinate height of 2 m"),
        ("ta", renamed("plev", "p"), "it has no coordinate plev"),
        ("tas", attribute("time", "bounds", "lat_bnds"), "it has no time with bounds"),
        ("tas", attribute("tas", "units", np.array([1, 2])), "tas has units [1, 2], CMIP's is 'K'"),
    ],
)
def test_odd_files_are_told_of_and_end_nothing(
    complete: Path, tmp_path: Path, name: str, change: Change, expected: str
) -> None:
    path = Path(shutil.copy(complete / place(name).path, tmp_path))
    with netCDF4.Dataset(path, "a") as opened:
        change(opened)
    found = examine(path, place(name)).lacks
    assert any(line.startswith(expected) for line in found), found


def test_a_variable_of_other_dimensions_or_no_numbers_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "tas.nc"
    for kind in ("f4", "S1"):
        with netCDF4.Dataset(path, "w") as opened:
            opened.createVariable("tas", kind, ())
        lines = examine(path, place("tas")).lacks
        assert "tas has dimensions (), expected (time, lat, lon)" in lines
        assert "it has no time with bounds" in lines


def test_a_file_that_is_none_is_found(tmp_path: Path) -> None:
    (tmp_path / "tas.nc").write_bytes(b"CDF")
    (found,) = examine(tmp_path / "tas.nc", place("tas")).lacks
    assert found.startswith("it can't be read (")


def test_layers_and_coarse_cells_are_notes(tmp_path: Path) -> None:
    axis = Axis(np.array([300.0, 900.0]), (0, 1))
    cmip = CMIP["ta"]
    layers = Target(cmip, ("t0", "t1"), "K", 1.0, 0.0, axis)
    grid = Grid.legendre_gauss(8, 16)
    (tmp_path / place("ta").folder).mkdir(parents=True)
    fields = ((m, np.full((1, 2, 8, 16), 250.0) + np.arange(16)) for m, _ in months("ta", 1))
    origin = Origin("us", "url", "-")
    write_members(tmp_path, [place("ta")], layers, Cells(grid), fields, origin, within=tmp_path)
    found = examine(tmp_path / place("ta").path, place("ta"))
    assert found.lacks == []
    notes = " ".join(found.notes)
    assert "ta is on model layers, which AIMIP takes" in notes
    assert "AIMIP asks for 500 km at most" in notes


def test_what_is_no_submission_is_refused(tmp_path: Path) -> None:
    assert "holds no submission: no file in {institute}/" in refused("export", "check", tmp_path)
    assert "is no folder" in refused("export", "check", tmp_path / "nowhere")
    (tmp_path / "a.nc").write_bytes(b"")
    assert "a.nc is no file of a submission" in refused("export", "check", tmp_path)


@pytest.mark.parametrize(
    "text", ["2001", "200101", "200101-200013", "200102-200101", "2001a1-200102"]
)
def test_other_periods_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected YYYYMM-YYYYMM"):
        parse_period(text)


def test_the_period_is_aimips_own_unless_given() -> None:
    assert parse_period(None) == ((1978, 10), (2024, 12))
    assert parse_period("200101-200103") == PERIOD
