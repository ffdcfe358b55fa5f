"""Land boxes: their cells, their means against the members of the segments, and wrong ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import xarray as xr
import yaml

from respeval.case.file import load_case
from respeval.case.options import KEY, read_options
from respeval.diagnostics import DiagnosticSettings, left_out
from respeval.distributed.stop import StopSignals
from respeval.errors import InputError, StoppedError
from respeval.fields.grid import Grid, in_box
from respeval.fields.variables import Roles
from respeval.files.netcdf import open_saved
from tests.support import studies
from tests.support.invoking import invoke, refused
from tests.support.studies import assert_equal_runs, run, write_study
from tests.support.toy import Interrupted, Toy, plan, study

GRID = studies.GRID
SETTINGS = DiagnosticSettings(Roles("air", ("air",), "air", "air"))

#: Across the seam and its western half alone; the land reaches from 180 to 337.5 degrees east.
BOXES = {"seam": [-60.0, 20.0, 290.0, 30.0], "north": [10.0, 90.0, 180.0, 250.0]}


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("respeval.analysis.results.Pictures", MagicMock())


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        ((-29.0, 30.0, 40.0, 80.0), [-10.0, 10.0], [40.0, 60.0]),
        ((-29.0, 30.0, 330.0, 30.0), [-10.0, 10.0], [0.0, 20.0, 340.0]),
        ((-29.0, 30.0, -30.0, 30.0), [-10.0, 10.0], [0.0, 20.0, 340.0]),
        ((10.0, 90.0, -180.0, 180.0), [10.0, 30.0, 50.0, 70.0, 90.0], list(range(0, 360, 20))),
        ((50.0, 70.0, 0.0, 20.0), [50.0], [0.0]),
    ],
)
def test_a_box_holds_the_cells_whose_centres_lie_in_it(
    box: tuple[float, ...], rows: list[float], columns: list[float]
) -> None:
    grid = Grid(np.arange(90.0, -100.0, -20.0), np.arange(0.0, 360.0, 20.0))
    lat, lon = np.nonzero(in_box(grid, box[:2], box[2:]))  # type: ignore[arg-type]
    assert sorted(set(grid.latitude[lat])) == rows
    assert sorted(set(grid.longitude[lon])) == columns
    assert len(lat) == len(rows) * len(columns)


def independent(out: Path, box: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """(land warming of the box, ocean warming at its latitudes) of p4K by sample, from the members."""
    with xr.open_mfdataset(str(out / "segments" / "*.nc"), decode_times=False) as joined:
        steps = joined["count_zonal"].values  # [group, sample, time]
        members = joined["air_members"].transpose("group", "sample", "time", "lat", "lon").values
        first = joined.isel(time=0)
        area, land, ocean = (
            first[name].values for name in ("area_weight", "land_mask", "ocean_mask")
        )
    means = np.einsum("gst,gstij->gsij", steps, members) / steps.sum(2)[..., None, None]
    change = means[1] - means[0]
    south, north, west, east = box
    lon, lat = np.meshgrid(GRID.longitude, GRID.latitude)
    inside = (lon >= west) & (lon < east) if west < east else (lon >= west) | (lon < east)
    weight = area * inside * (lat >= south) * (lat < north) * land
    warming = (change * weight).sum((1, 2)) / weight.sum()
    beside = np.array(
        [[row[o == 1].mean() for row, o in zip(c, ocean, strict=True)] for c in change]
    )
    by_circle = weight.sum(1)
    return warming, (beside * by_circle).sum(1) / by_circle.sum()


def test_boxes_are_the_means_of_the_members(tmp_path: Path) -> None:
    folder = study(tmp_path / "study", days=(0, 5, 17))
    planned = plan(folder, Toy(noise_K=0.5), land_boxes=BOXES, save_members=True)
    out = run(planned, tmp_path / "out")
    assert list(planned.layout.boxes) == ["seam", "north"]
    with open_saved(out / "zonal.nc") as zonal:
        assert zonal["surface"].values.tolist() == ["all", "land", "ocean", "seam", "north"]
    with open_saved(out / "diagnostics.nc") as found:
        assert found["box_land_warming"].dims == ("perturbation", "box")
        assert found["air_mean"]["surface"].values.tolist() == ["all", "land", "ocean"]
        for name, box in BOXES.items():
            land, ocean = (x.mean() for x in independent(out, box))
            at = {"perturbation": "p4K", "box": name}
            assert found["box_land_warming"].sel(at).item() == pytest.approx(land, rel=1e-9)
            assert found["box_ocean_warming"].sel(at).item() == pytest.approx(ocean, rel=1e-9)
            ratio = found["box_land_ocean_warming_ratio"].sel(at).item()
            assert ratio == pytest.approx(land / ocean, rel=1e-9)
        assert found["box_land_ocean_warming_ratio_low"].notnull().all()
        numbers = found.load()
    told = json.loads((out / "summary.json").read_text())
    assert told["p4K/box_land_warming/seam"] == numbers["box_land_warming"].sel(
        perturbation="p4K", box="seam"
    )
    assert "m1K/box_land_ocean_warming_ratio_low/north" in told


def test_boxes_change_no_other_number(tmp_path: Path) -> None:
    folder = study(tmp_path / "study")
    emulator = Toy(noise_K=0.5)
    with_boxes = run(plan(folder, emulator, land_boxes=BOXES), tmp_path / "with")
    without = run(plan(folder, emulator), tmp_path / "without")
    one, other = (json.loads((f / "summary.json").read_text()) for f in (with_boxes, without))
    assert not any("box" in key for key in other)
    assert one.pop("warnings") == other.pop("warnings")
    kept = {key: value or 0.0 for key, value in one.items() if "/box_" not in key}
    assert kept == pytest.approx({key: value or 0.0 for key, value in other.items()}, rel=1e-9)
    for name in ("group_means.nc", "zonal.nc", "diagnostics.nc"):
        with (
            open_saved(with_boxes / name) as found,
            open_saved(without / name) as expected,
        ):
            for variable in expected.data_vars:
                got = found[variable]
                if "surface" in got.dims:
                    got = got.sel(surface=["all", "land", "ocean"])
                xr.testing.assert_allclose(got, expected[variable], rtol=1e-9, atol=1e-12)


def test_without_boxes_nothing_is_said_of_them() -> None:
    assert not any("box" in name for name in left_out(["air"], SETTINGS))


def test_a_mask_from_a_file_is_a_box(tmp_path: Path) -> None:
    folder = study(tmp_path / "study")
    cells = in_box(GRID, (10.0, 90.0), (180.0, 250.0))
    mask = xr.Dataset(
        {"region": (("lat", "lon"), np.where(cells, 1.0, np.nan)[::-1])},
        {"lat": GRID.latitude[::-1], "lon": GRID.longitude},
    )
    mask.to_netcdf(folder / "mask.nc")
    named = {"file": str(folder / "mask.nc"), "variable": "region"}
    planned = plan(folder, Toy(), land_boxes={"a": named, "b": BOXES["north"]})
    assert (planned.layout.boxes["a"] == planned.layout.boxes["b"]).all()
    assert planned.layout.boxes["a"].any()
    with pytest.raises(InputError, match="mask.nc has no 'other' \\(it has: region\\)"):
        plan(folder, Toy(), land_boxes={"a": {**named, "variable": "other"}})


def test_a_run_goes_on_with_its_boxes_and_not_with_others(tmp_path: Path) -> None:
    folder = study(tmp_path / "study")
    whole = run(plan(folder, Interrupted(), land_boxes=BOXES), tmp_path / "whole")
    stopped = plan(folder, Interrupted(at_step=40), land_boxes=BOXES)
    with StopSignals() as signals, pytest.raises(StoppedError):
        run(stopped, tmp_path / "out", signals=signals)
    run(plan(folder, Interrupted(), land_boxes=BOXES), tmp_path / "out")
    assert_equal_runs(tmp_path / "out", whole)


def test_other_boxes_are_another_run(tmp_path: Path) -> None:
    checkpoint = write_study(tmp_path / "study", days=2, segment="all", land_boxes=BOXES)
    command = ["run", checkpoint, "-o", tmp_path / "out"]
    invoke(*command)
    told = refused(*command, "--land-box", "seam=-60,20,290,40")
    assert "holds another run: land_boxes.north" in told
    told = refused("diagnose", tmp_path / "out", "--land-box", "a=0,10,200,220")
    assert "--land-box is an option of respeval run" in told


def test_options_say_the_same_as_the_case_file() -> None:
    given = read_options(
        [KEY["land_boxes"]], {"land_box": ["a=10,20,-15,35", "b=C:/masks/m.nc:region"]}
    )
    assert given["land_boxes"] == {
        "a": [10.0, 20.0, -15.0, 35.0],
        "b": {"file": "C:/masks/m.nc", "variable": "region"},
    }


WRONG: list[tuple[Any, str]] = [
    ({"a": [20, 10, 0, 30]}, "land box a: expected [lat_min, lat_max, lon_min, lon_max]"),
    ({"a": [10, 20, 30, 30]}, "other longitudes, got [10.0, 20.0, 30.0, 30.0]"),
    ({"a": [10, 20, 30]}, "land_boxes.a: expected [lat_min, lat_max, lon_min, lon_max] or"),
    ({"a": [10, 120, 30, 40]}, "land_boxes.a: expected [lat_min, lat_max, lon_min, lon_max] or"),
    ({"a": {"file": "m.nc"}}, "land_boxes.a: expected [lat_min, lat_max, lon_min, lon_max] or"),
    ({"land": [10, 20, 30, 40]}, "'land' can't name a land box"),
    ({"a/b": [10, 20, 30, 40]}, "can't name a land box"),
]


@pytest.mark.parametrize(("boxes", "told"), WRONG)
def test_wrong_boxes_are_told_in_one_line(boxes: Any, told: str, tmp_path: Path) -> None:
    case = {"forcing": "f.nc", "initial_condition": "i.nc", "years": 1, "land_boxes": boxes}
    (tmp_path / "case.yaml").write_text(yaml.safe_dump(case))
    with pytest.raises(InputError) as error:
        load_case(tmp_path / "case.yaml", {})
    assert told in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a=1,2,3", "expected NAME=LAT_MIN,LAT_MAX,LON_MIN,LON_MAX"),
        ("a", "expected NAME=LAT_MIN,LAT_MAX,LON_MIN,LON_MAX"),
        ("a=0,10,20,x", "or NAME=FILE:VARIABLE"),
    ],
)
def test_wrong_options_are_told_in_one_line(text: str, told: str) -> None:
    with pytest.raises(InputError) as error:
        read_options([KEY["land_boxes"]], {"land_box": [text]})
    assert told in str(error.value)


def test_a_box_without_land_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"land_boxes.sea holds no land cell of the grid \(8 x 16"):
        plan(study(tmp_path / "study"), Toy(), land_boxes={"sea": [-30, 30, 30, 90]})
