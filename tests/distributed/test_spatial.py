"""`respeval run --spatial`: fields that are split over processes, together with all that a run does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml
from typer.testing import CliRunner

from respeval.cli import app
from respeval.fields.grid import Grid
from respeval.planet.datasets import make_forcing, make_initial_conditions
from respeval.planet.shipped import shipped_checkpoint
from tests.support import studies
from tests.support.forking import Ended, Peers
from tests.support.invoking import from_first_error
from tests.support.toy import manifest_of

#: Of fields after 60 steps: float32 rounds to 6e-8, and grows with them.
SAME = 1e-4

DAYS = 60


@pytest.fixture(scope="module")
def peers() -> Iterator[Peers]:
    started = Peers()
    yield started
    started.close()


def run(
    peers: Peers, layout: str, *arguments: object, fault: object = None, **more: float
) -> Ended:
    """`respeval run` on data x height x width processes, written `2 x 2x1`."""
    data, _, spatial = layout.rpartition(" x ")
    height, width = map(int, spatial.split("x"))
    given = ["run", *map(str, arguments)]
    if height * width > 1:
        given += ["--spatial", spatial]
    num_processes = int(data or 1) * height * width
    return peers.call(
        *("tests.support.faults:run", num_processes, more.pop("timeout_s", 120.0)),
        arguments=given,
        fault=fault,
        **more,
    )


def serial(checkpoint: Path, out: Path, *arguments: object) -> Path:
    result = CliRunner().invoke(app, ["run", str(checkpoint), "-o", str(out), *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return out


def assert_same_fields(folder: Path, expected: Path) -> None:
    """Every mean of two runs, to rounding in proportion to its spread."""
    for name in ("group_means.nc", "zonal.nc"):
        with (
            xr.open_dataset(folder / name, decode_times=False) as got,
            xr.open_dataset(expected / name, decode_times=False) as wanted,
        ):
            assert list(got.variables) == list(wanted.variables)
            for variable, values in wanted.data_vars.items():
                spread = float(values.std()) if values.dtype.kind == "f" else 0.0
                np.testing.assert_allclose(
                    got[variable], values, rtol=0, atol=SAME * spread, err_msg=str(variable)
                )


def assert_same(folder: Path, expected: Path) -> None:
    """Every number of two runs, those of the summary too."""
    assert_same_fields(folder, expected)
    first, second = (json.loads((f / "summary.json").read_text()) for f in (expected, folder))
    assert first.pop("warnings") == second.pop("warnings")
    unknown = {key for key, value in first.items() if value is None}
    assert {key for key, value in second.items() if value is None} == unknown
    known = {key: value for key, value in first.items() if key not in unknown}
    assert {key: second[key] for key in known} == pytest.approx(known, rel=SAME, abs=SAME)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained checkpoint of the planet, of three samples and groups, beside the run of one process."""
    folder = tmp_path_factory.mktemp("study")
    data = make_forcing(Grid.legendre_gauss(24, 48), 1)
    data.isel(time=slice(0, DAYS + 1)).to_netcdf(folder / "forcing.nc")
    make_initial_conditions(data, 3).to_netcdf(folder / "initial.nc")
    case = {
        "forcing": "forcing.nc",
        "initial_condition": "initial.nc",
        "steps": DAYS,
        "segment": "20 steps",
        "spinup": "20 steps",
        "save_members": True,
        "perturbations": {
            "p4K": {"type": "uniform", "amplitude_K": 4.0},
            "patch": {
                "type": "patch",
                "amplitude_K": 6.0,
                "lat_center": 10,
                "lon_center": 200,
                "lat_width": 360,
                "lon_width": 360,
            },
        },
    }
    (folder / "case.yaml").write_text(yaml.safe_dump(case))
    shutil.copy(shipped_checkpoint("perturbed_sst"), folder / "planet.pt")
    serial(folder / "planet.pt", folder / "alone")
    return folder / "planet.pt"


@pytest.mark.parametrize("layout", ["2x1", "1x2", "2x2", "3x1", "2 x 2x1"])
def test_a_split_run_has_the_numbers_of_one_process(
    peers: Peers, alone: Path, tmp_path: Path, layout: str
) -> None:
    ended = run(peers, layout, alone, "-o", tmp_path / "out")
    assert set(ended.codes) == {0}, ended.errors
    assert f"fields split {layout.rpartition(' x ')[2]}" in ended.errors[0]
    assert_same(tmp_path / "out", alone.parent / "alone")
    members = [studies.numbers(folder) for folder in (tmp_path / "out", alone.parent / "alone")]
    assert members[0].keys() == members[1].keys()
    kept = [name for name in members[1] if "member" in name]
    assert kept
    for name in kept:
        spread = float(np.nanstd(members[1][name]))
        np.testing.assert_allclose(*(m[name] for m in members), rtol=0, atol=SAME * spread)


def test_a_run_goes_on_in_any_other_layout(peers: Peers, alone: Path, tmp_path: Path) -> None:
    """Killed at 2x1; what it had saved are records of whole members."""
    ended = run(peers, "2x1", alone, "-o", tmp_path / "out", fault=[1, "kill", "step 30"])
    assert ended.codes == [1, -9], ended.errors
    assert len(from_first_error(ended.errors[0])) == 1
    assert "lost contact with the other processes" in ended.errors[0]
    assert ended.after_s < 30
    assert manifest_of(tmp_path / "out")["restart"]["step"] == 20
    for layout in ("1x1", "1x2", "2x2"):
        shutil.copytree(tmp_path / "out", tmp_path / layout)
        ended = run(peers, layout, alone, "-o", tmp_path / layout)
        assert set(ended.codes) == {0}, ended.errors
        assert "going on after step 20" in ended.errors[0]
        assert_same(tmp_path / layout, alone.parent / "alone")


def test_a_run_is_lengthened_in_another_layout(peers: Peers, alone: Path, tmp_path: Path) -> None:
    for layout, options in (("2x1", ("--steps", 40)), ("1x2", ("--steps", DAYS, "--extend"))):
        ended = run(peers, layout, alone, "-o", tmp_path / "out", *options)
        assert set(ended.codes) == {0}, ended.errors
    assert_same_fields(tmp_path / "out", alone.parent / "alone")


def test_a_process_that_is_stopped_for_ever_ends_those_that_share_its_fields(
    peers: Peers, alone: Path, tmp_path: Path
) -> None:
    ended = run(
        peers,
        "2x1",
        alone,
        "-o",
        tmp_path / "out",
        fault=[1, "stop", "step 30"],
        interval_s=0.2,
    )
    assert ended.codes == [1, None], ended.errors
    assert "no sign of life from process 1" in ended.errors[0].splitlines()[-1]


@pytest.mark.parametrize("fail_fast", [False, True])
def test_a_blow_up_in_one_block_is_one_fault(peers: Peers, tmp_path: Path, fail_fast: bool) -> None:
    checkpoint = studies.write_study(tmp_path / "study", days=20, segment="10 steps")
    initial = studies.initial()
    initial["air_temperature_0"][2, 0, 0] = 1e9
    (checkpoint.parent / "initial.nc").unlink()
    initial.to_netcdf(checkpoint.parent / "initial.nc")
    options = ["--allow-out-of-range", *(["--fail-fast"] if fail_fast else [])]
    if fail_fast:
        ended = run(peers, "2x2", checkpoint, "-o", tmp_path / "split", *options)
        assert set(ended.codes) == {3}, ended.errors
        assert "".join(ended.errors).count("the emulator blew up") == 1
        assert "sample 2" in ended.errors[0]
        return
    out = serial(checkpoint, tmp_path / "alone", *options)
    ended = run(peers, "2x2", checkpoint, "-o", tmp_path / "split", *options)
    assert set(ended.codes) == {0}, ended.errors
    one, split = manifest_of(out), manifest_of(tmp_path / "split")
    for fault, expected in zip(split["faults"], one["faults"], strict=True):
        assert fault == expected
    assert_same_fields(tmp_path / "split", out)


def test_forcing_that_is_missing_in_one_block_ends_all_with_one_line(
    peers: Peers, tmp_path: Path
) -> None:
    checkpoint = studies.write_study(tmp_path / "study", days=DAYS)
    forcing = studies.forcing().copy(deep=True)
    forcing["sunlight"][50, 7, 15] = np.nan
    (checkpoint.parent / "forcing.nc").unlink()
    forcing.to_netcdf(checkpoint.parent / "forcing.nc")
    ended = run(peers, "2 x 2x1", checkpoint, "-o", tmp_path / "out", "--window", 10)
    assert set(ended.codes) == {2}, ended.errors
    told = "".join(ended.errors)
    assert told.count("sunlight is missing at 2001-02-20") == 1
    assert f"latitude {studies.GRID.latitude[7]:.2f}, longitude 337.50" in told


@pytest.mark.parametrize("north_to_south", [True, False])
def test_uneven_grids_of_either_direction(
    peers: Peers, tmp_path: Path, north_to_south: bool
) -> None:
    grid = Grid.legendre_gauss(13, 26)
    if not north_to_south:
        grid = Grid(grid.latitude[::-1].copy(), grid.longitude, grid.kind)
    checkpoint = studies.write_study(tmp_path / "study", grid=grid, days=20)
    out = serial(checkpoint, tmp_path / "alone")
    ended = run(peers, "2x2", checkpoint, "-o", tmp_path / "split")
    assert set(ended.codes) == {0}, ended.errors
    assert_same_fields(tmp_path / "split", out)


def test_a_dry_run_tells_the_memory_of_a_process_in_the_layout(
    peers: Peers, alone: Path, tmp_path: Path
) -> None:
    ended = run(peers, "2 x 2x1", alone, "-o", tmp_path / "out", "--dry-run")
    assert set(ended.codes) == {0}, ended.errors
    assert "MiB" in ended.shown[0] or "MB" in ended.shown[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "num_processes", "told"),
    [
        (("--spatial", "2x1"), 1, "a multiple of 2 with torchrun --nproc-per-node"),
        (("--spatial", "2"), 1, "expected parts in latitude x parts in longitude"),
        (("--spatial", "0x1"), 1, "expected parts in latitude x parts in longitude"),
        (("--spatial", "2x1", "--compile"), 2, "--compile is not for fields that are split"),
        (("--spatial", "2x1", "--fast-transforms"), 2, "--fast-transforms is not for fields"),
        (("--spatial", "2x1", "--precision", "bfloat16"), 2, "bfloat16 is not for fields"),
    ],
)
def test_what_can_not_be_split_is_one_line(
    peers: Peers,
    alone: Path,
    tmp_path: Path,
    options: tuple[str, ...],
    num_processes: int,
    told: str,
) -> None:
    given = ["run", str(alone), "-o", str(tmp_path / "out"), *options]
    ended = peers.call("tests.support.faults:run", num_processes, 60.0, arguments=given)
    assert set(ended.codes) == {2}, ended.errors
    assert "".join(ended.errors).count("respeval: ") == 1
    assert told in "".join(ended.errors)


def test_an_exported_program_is_refused_by_name(peers: Peers, alone: Path, tmp_path: Path) -> None:
    program = studies.export_native(alone, tmp_path / "tiny.pt2")
    shutil.copy(alone.parent / "case.yaml", tmp_path)
    for name in ("forcing.nc", "initial.nc"):
        shutil.copy(alone.parent / name, tmp_path)
    ended = run(peers, "2x1", program, "-o", tmp_path / "out")
    assert set(ended.codes) == {2}, ended.errors
    assert "fixed program on the whole grid" in "".join(ended.errors)


def test_processes_that_are_left_over_share_fields(
    peers: Peers, alone: Path, tmp_path: Path
) -> None:
    one = ["--start-date", "2001-01-01", "--perturb", "p4K=uniform:4"]
    few = xr.open_dataset(alone.parent / "initial.nc", decode_times=False).isel(sample=slice(0, 1))
    few.to_netcdf(tmp_path / "one.nc")
    arguments = [alone, *one, "--initial-condition", tmp_path / "one.nc"]
    out = serial(*arguments[:1], tmp_path / "alone", *arguments[1:])
    given = ["run", *map(str, arguments), "-o", str(tmp_path / "out"), "--spatial", "auto"]
    ended = peers.call("tests.support.faults:run", 4, 120.0, arguments=given)
    assert set(ended.codes) == {0}, ended.errors
    told = " ".join(ended.errors[0].split())
    assert "--spatial auto: fields split 2x1: 2 members on 4 processes leave 2 over" in told
    assert "on 4 processes, fields split 2x1" in told
    assert_same(tmp_path / "out", out)


def test_a_sweep_goes_on_behind_a_checkpoint_that_can_not_be_split(
    peers: Peers, alone: Path, tmp_path: Path
) -> None:
    program = studies.export_native(alone, tmp_path / "a.pt2")
    arguments = [program, alone, "--case", alone.parent / "case.yaml", "-o", tmp_path / "out"]
    ended = run(peers, "2x1", *arguments)
    assert ended.codes[0] == 1, ended.errors
    assert "fixed program on the whole grid" in ended.errors[0]
    assert_same(tmp_path / "out" / "planet", alone.parent / "alone")


def test_a_full_disk_ends_those_that_share_fields_with_the_root(
    peers: Peers, alone: Path, tmp_path: Path
) -> None:
    full = [0, "full", "os.rename segments/. 2"]
    ended = run(peers, "2 x 2x1", alone, "-o", tmp_path / "out", fault=full)
    assert set(ended.codes) == {2}, ended.errors
    assert "".join(ended.errors).count("respeval: ") == 1
    assert "No space left on device" in ended.errors[0]
    ended = run(peers, "2x1", alone, "-o", tmp_path / "out")
    assert set(ended.codes) == {0}, ended.errors
    assert_same(tmp_path / "out", alone.parent / "alone")


def test_a_dry_run_tells_what_is_missing_for_one_group_of_processes(
    peers: Peers, tmp_path: Path
) -> None:
    checkpoint = studies.write_study(tmp_path / "study", days=40)
    initial = studies.initial(days=(0, 45))
    (checkpoint.parent / "initial.nc").unlink()
    initial.to_netcdf(checkpoint.parent / "initial.nc")
    forcing = studies.forcing().copy(deep=True)
    forcing["sunlight"][48, 7, 15] = np.nan  # which the second sample alone reads in its third step
    (checkpoint.parent / "forcing.nc").unlink()
    forcing.to_netcdf(checkpoint.parent / "forcing.nc")
    ended = run(peers, "2 x 2x1", checkpoint, "-o", tmp_path / "out", "--dry-run", "--window", 1)
    assert set(ended.codes) == {1}, ended.errors
    shown = " ".join(ended.shown[0].split())
    assert "can't run: " in shown
    assert "sunlight is missing at 2001-02-18" in shown


def test_a_fault_that_is_known_does_not_end_a_run_that_goes_on(
    peers: Peers, tmp_path: Path
) -> None:
    """With --fail-fast, behind a sample that was left out before."""
    checkpoint = studies.write_study(tmp_path / "study", days=40, segment="10 steps")
    initial = studies.initial()
    initial["air_temperature_0"][2, 0, 0] = 1e30  # which takes long to fade
    (checkpoint.parent / "initial.nc").unlink()
    initial.to_netcdf(checkpoint.parent / "initial.nc")
    given = [checkpoint, "-o", tmp_path / "out", "--allow-out-of-range"]
    for layout, fault in (("2 x 1x1", [1, "kill", "step 15"]), ("2x1", [1, "kill", "step 15"])):
        ended = run(peers, layout, *given, fault=fault)
        assert ended.codes == [1, -9], ended.errors
        ended = run(peers, layout, *given, "--fail-fast")
        assert set(ended.codes) == {0}, ended.errors
        shutil.rmtree(tmp_path / "out")
