"""A run that was stopped, killed or lengthened ends with the numbers of one that never was."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
import xarray as xr

from respeval.distributed.stop import StopSignals
from respeval.errors import BlowUpError, InputError, StoppedError
from respeval.files.lock import FolderLock
from tests.support import studies
from tests.support.invoking import from_first_error, invoke
from tests.support.studies import assert_equal_runs, run, write_study
from tests.support.toy import Interrupted, Toy, manifest_of, plan, stopped, study


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take most of a tiny run's time."""
    monkeypatch.setattr("respeval.analysis.results.Pictures", MagicMock())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A study, and the folder of its run that nobody interrupted."""
    base = tmp_path_factory.mktemp("whole")
    folder = study(base / "study", days=(0, 5, 17))
    return folder, run(plan(folder, Interrupted()), base / "out")


@pytest.mark.parametrize("step", [0, 1, 13, 29, 30, 31, 58, 73, 74])
def test_a_run_that_was_stopped_anywhere_gives_the_same_numbers(
    whole: tuple[Path, Path], tmp_path: Path, step: int
) -> None:
    """Segments end after the steps 30, 58 and 74; in between the running sums are saved too."""
    folder, expected = whole
    message = stopped(plan(folder, Interrupted(step)), tmp_path / "out")
    assert f"stopped by SIGTERM after step {step + 1} of 75" in message
    manifest = manifest_of(tmp_path / "out")
    assert manifest["status"] == "stopped"
    assert manifest["restart"]["step"] == step + 1
    again = Interrupted()
    run(plan(folder, again), tmp_path / "out")
    assert again.conserved_of_members == 0  # of the initial state, which the restart holds
    assert len(again.batches) == 3 * (74 - step)  # no step is done twice
    assert_equal_runs(tmp_path / "out", expected)


def test_a_run_that_was_stopped_many_times(whole: tuple[Path, Path], tmp_path: Path) -> None:
    folder, expected = whole
    for step in (4, 5, 40, 57, 70):
        stopped(plan(folder, Interrupted(step)), tmp_path / "out")
        assert len(list((tmp_path / "out" / "restart").iterdir())) == 1
    run(plan(folder, Interrupted()), tmp_path / "out")
    assert_equal_runs(tmp_path / "out", expected)


def test_a_forcing_remade_after_a_stop_within_the_first_segment_is_told(tmp_path: Path) -> None:
    folder = study(tmp_path / "study")
    stopped(plan(folder, Interrupted(6)), tmp_path / "out")
    with xr.open_dataset(folder / "forcing.nc", decode_times=False) as opened:
        record = opened.load()
    record["skin"] += 0.5
    record.to_netcdf(folder / "new.nc")  # the plan holds the old one open
    (folder / "new.nc").replace(folder / "forcing.nc")
    with pytest.raises(InputError, match="skin at 2001-01-01 00:00:00 is not what the run read"):
        run(plan(folder, Interrupted()), tmp_path / "out")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1])
def test_every_signal_stops(whole: tuple[Path, Path], tmp_path: Path, number: int) -> None:
    folder, _ = whole
    message = stopped(plan(folder, Interrupted(3, number)), tmp_path / "out")
    assert f"stopped by {signal.Signals(number).name} after step 4" in message


def test_records_in_many_files_are_put_together(
    whole: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, expected = whole
    monkeypatch.setattr("respeval.run_folder.restart.BLOCK_BYTES", 6_000)
    stopped(plan(folder, Interrupted(40)), tmp_path / "out")
    parts = manifest_of(tmp_path / "out")["restart"]["parts"]
    assert [(p["first"], p["stop"]) for p in parts] == [(m, m + 1) for m in range(9)]
    run(plan(folder, Interrupted()), tmp_path / "out")
    assert_equal_runs(tmp_path / "out", expected)


def test_a_signal_outside_of_the_steps_ends_at_once_and_a_second_one_kills() -> None:
    with StopSignals(), pytest.raises(StoppedError, match="stopped by SIGUSR1"):
        signal.raise_signal(signal.SIGUSR1)
    code = (
        "import os, signal, respeval.distributed.stop as s\n"
        "now = [0.0]\n"
        "with s.StopSignals(lambda: now[0]) as signals, signals.deferred():\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)  # passed on by a launcher: the same one\n"
        "    print(signals.requested, flush=True)\n"
        "    now[0] = 2.0\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('still here')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "SIGTERM\n"
    assert done.returncode == -signal.SIGTERM


def test_a_damaged_restart_is_named(whole: tuple[Path, Path], tmp_path: Path) -> None:
    folder, _ = whole
    stopped(plan(folder, Interrupted(40)), tmp_path / "out")
    (path,) = (tmp_path / "out" / "restart").iterdir()
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"{path.name} is damaged \(its checksum differs\)"):
        run(plan(folder, Interrupted()), tmp_path / "out")
    path.write_bytes(content[:-1])
    with pytest.raises(InputError, match=r"is damaged \(it has 46,223 bytes\)"):
        run(plan(folder, Interrupted()), tmp_path / "out")
    path.unlink()
    with pytest.raises(InputError, match="can't be read .No such file"):
        run(plan(folder, Interrupted()), tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.pop("record"), "its restart entry can't be read"),
        (lambda r: r["record"]["state"].update(dtype="object"), "its restart entry can't be read"),
        (lambda r: r["record"]["state"].update(shape=[10**9]), "state has shape"),
        (
            lambda r: r["record"].update(huge=r["record"]["state"]),
            "its restart entry can't be read",
        ),
        (lambda r: r["parts"][0].update(file="../../etc/passwd"), "its restart entry can't be"),
        (lambda r: r.update(parts=[]), "the restart files lack 9 members of the run"),
        (lambda r: r["parts"][0].update(stop=5), "the restart files lack 4 members of the run"),
    ],
)
def test_a_manifest_with_a_strange_restart_is_refused(
    whole: tuple[Path, Path], tmp_path: Path, change: Any, message: str
) -> None:
    folder, _ = whole
    stopped(plan(folder, Interrupted(40)), tmp_path / "out")
    content = manifest_of(tmp_path / "out")
    change(content["restart"])
    (tmp_path / "out" / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        run(plan(folder, Interrupted()), tmp_path / "out")


def test_a_run_that_failed_goes_on_from_its_last_segment(tmp_path: Path) -> None:
    """After the cause is gone, as when the emulator's device had failed."""
    folder = study(tmp_path / "study")

    class Bursting(Toy):
        def step(self, state: torch.Tensor, *rest: Any) -> torch.Tensor:
            outputs = super().step(state, *rest)
            return outputs * float("nan") if len(self.batches) > 3 * 60 else outputs

    with pytest.raises(BlowUpError):
        run(plan(folder, Bursting()), tmp_path / "out")
    assert manifest_of(tmp_path / "out")["status"] == "failed"
    toy = Toy()
    run(plan(folder, toy), tmp_path / "out")
    assert len(toy.batches) == 3 * (75 - 59)
    assert_equal_runs(tmp_path / "out", run(plan(folder, Toy()), tmp_path / "whole"))


def start(*arguments: object) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    return subprocess.Popen(
        [sys.executable, "-m", "respeval", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def wait_for_segments(folder: Path, count: int) -> None:
    """Until a run has published so many segments."""
    for _ in range(6000):
        if (folder / "manifest.json").is_file() and len(manifest_of(folder)["segments"]) >= count:
            return
        time.sleep(0.01)
    raise AssertionError("no segments after a minute")


def test_a_signal_ends_the_command_with_75_and_the_same_command_goes_on(
    long_study: Path, tmp_path: Path
) -> None:
    expected, out = tmp_path / "whole", tmp_path / "out"
    invoke("run", long_study, "-o", expected)
    for number, segments in ((signal.SIGUSR1, 2), (signal.SIGTERM, 5), (signal.SIGINT, 9)):
        process = start("run", long_study, "-o", out)
        wait_for_segments(out, segments)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 75, stderr
        assert len(from_first_error(stderr)) == 1
        assert f"respeval: stopped by {number.name} after step" in stderr
        assert "run the same command again to go on" in stderr
    shown = invoke("run", long_study, "-o", out)
    assert "going on after step " in shown
    assert "segment 16 of 16" in shown
    assert_equal_runs(out, expected)
    assert "nothing to do" in invoke("run", long_study, "-o", out)


def test_another_run_is_refused_with_the_difference(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    folder = tmp_path / "study"
    checkpoint = write_study(folder)
    base = ("run", checkpoint, "-o", out, "--segment", "2 steps")
    invoke(*base, "--steps", 6)
    line = invoke(*base, "--steps", 6, "--seed", 3, "--perturb", "p4K=uniform:5", code=2)
    assert (
        "holds another run: perturbations.p2K.amplitude_K 2.0 -> none; "
        "perturbations.p2K.type uniform -> none; perturbations.p4K.amplitude_K 4.0 -> 5.0; "
        "seed 0 -> 3; and 1 more; choose another folder with -o or start over beside it with "
        "--restart-fresh"
    ) in " ".join(line.split())
    line = invoke(*base, "--steps", 8, code=2)
    assert "steps 6 -> 8; give --extend to lengthen it" in " ".join(line.split())
    studies.checkpoint(checkpoint, seed=1)
    assert "contents of the checkpoint " in invoke(*base, "--steps", 6, code=2)
    studies.checkpoint(checkpoint, seed=0)
    invoke(*base, "--steps", 6)
    (folder / "forcing.nc").unlink()
    studies.forcing(num_times=80).to_netcdf(folder / "forcing.nc")
    line = " ".join(invoke(*base, "--steps", 6, code=2).split())
    assert "the forcing's last time 2001-04-01 00:00:00 -> 2001-03-21 00:00:00" in line
    assert "size of forcing.nc " in line


def test_extending_equals_a_run_that_was_longer_from_the_start(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    base = ("run", study, "--segment", "10 steps")
    invoke(*base, "--days", 75, "-o", tmp_path / "whole")
    invoke(*base, "--days", 20, "-o", out)
    shown = invoke(*base, "--days", 50, "-o", out, "--extend")
    assert "going on after step 20 of 50" in shown
    invoke(*base, "--days", 75, "-o", out, "--extend")
    # The mean over the period is another one, if only in its last digit.
    assert_equal_runs(out, tmp_path / "whole", but="mean_ocean_fraction")
    assert manifest_of(out)["case"]["days"] == 75
    assert "nothing to do" in invoke(*base, "--days", 75, "-o", out, "--extend")
    line = " ".join(invoke(*base, "--days", 40, "-o", out, "--extend", code=2).split())
    assert "holds 75 steps already, --extend to 40 would shorten it" in line


def test_an_end_within_a_month_stays_an_edge_of_the_longer_run(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    invoke("run", study, "--days", 40, "-o", out)
    invoke("run", study, "--days", 75, "-o", out, "--extend")
    segments = manifest_of(out)["segments"]
    assert [s["stop_step"] for s in segments] == [31, 40, 59, 75]
    assert [s["first_step"] for s in segments] == [0, 31, 40, 59]
    bounds = studies.numbers(out)["group_means.nc/time_bnds"]
    assert bounds.tolist() == [[0, 31], [31, 40], [40, 59], [59, 75]]
    invoke("run", study, "--days", 75, "-o", tmp_path / "whole")
    first, second = (
        json.loads((f / "summary.json").read_text()) for f in (out, tmp_path / "whole")
    )
    assert first.pop("warnings") == second.pop("warnings")
    unknown = {key for key, value in second.items() if value is None}
    assert {key for key, value in first.items() if value is None} == unknown
    known = {key: value for key, value in second.items() if key not in unknown}
    assert {key: first[key] for key in known} == pytest.approx(known, rel=1e-6)


def test_a_lengthened_run_keeps_its_masks(tmp_path: Path) -> None:
    """Sea ice comes after the first run's end: the mean ocean fraction of the period changes."""
    folder = tmp_path / "study"
    checkpoint = write_study(folder)
    forcing = studies.forcing()
    fraction = np.repeat(forcing["ocean_fraction"].values[None], 91, axis=0)
    fraction[20:, :, 2] = 0.0
    (folder / "forcing.nc").unlink()
    forcing = forcing.assign(ocean_fraction=(("time", "lat", "lon"), fraction))
    forcing.to_netcdf(folder / "forcing.nc")
    out = tmp_path / "out"
    invoke("run", checkpoint, "--days", 15, "-o", out)
    before = studies.numbers(out)["zonal.nc/area"]
    invoke("run", checkpoint, "--days", 75, "-o", out, "--extend")
    after = studies.numbers(out)
    assert (after["zonal.nc/area"] == before).all()
    areas = {
        v.tobytes()
        for name, v in after.items()
        if name.startswith("segments/") and name.endswith("/area")
    }
    assert areas == {before.tobytes()}
    with xr.open_dataset(out / "group_means.nc", decode_times=False) as means:
        expected = means["skin"].where(means["ocean_mask"] == 1).mean("lon")
        circles = after["zonal.nc/skin"][..., 2, :].mean(1)
        np.testing.assert_allclose(circles, expected.transpose("group", "time", "lat"), rtol=1e-12)


def test_starting_over_takes_a_new_folder(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    base = ("run", study, "--steps", 2, "--restart-fresh", "-o", out)
    invoke(*base)
    before = {path: path.stat().st_mtime_ns for path in out.glob("**/*")}
    for name in ("out-2", "out-3"):
        shown = " ".join(invoke(*base).split())
        assert f"{out} stays as it is; starting over in {tmp_path / name}" in shown
        assert_equal_runs(tmp_path / name, out)
    assert {path: path.stat().st_mtime_ns for path in out.glob("**/*")} == before


def test_results_that_are_missing_are_made_again_from_the_segments(
    study: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    base = ("run", study, "--steps", 4, "--segment", "2 steps", "-o")
    invoke(*base, tmp_path / "whole")
    invoke(*base, out)
    (out / "group_means.nc").unlink()
    invoke(*base, out)
    assert_equal_runs(out, tmp_path / "whole")


def test_a_segment_that_the_manifest_does_not_name_does_not_count(
    whole: tuple[Path, Path], tmp_path: Path
) -> None:
    """As a kill between a segment's rename and the manifest's leaves it."""
    folder, expected = whole
    stopped(plan(folder, Interrupted(40)), tmp_path / "out")
    (tmp_path / "out" / "segments" / "00002_2001-02-01.nc").write_text("half a segment")
    (tmp_path / "out" / "segments" / ".00002_2001-02-01.nc.partial").write_text("less")
    (tmp_path / "out" / "restart" / "000000059_00000.bin").write_text("and its restart")
    run(plan(folder, Interrupted()), tmp_path / "out")
    assert_equal_runs(tmp_path / "out", expected)
    assert not list((tmp_path / "out").glob("**/.*"))
    assert len(list((tmp_path / "out" / "restart").iterdir())) == 1


def test_a_state_of_another_precision_is_kept(tmp_path: Path) -> None:
    """float32, as most emulators have it; the toy computes in float64."""

    class Single(Interrupted):
        def step(self, *rest: Any, **more: Any) -> torch.Tensor:
            return super().step(*rest, **more).float()

    def single(at_step: int | None = None) -> Single:
        toy = Single(at_step)
        toy.spec = dataclasses.replace(toy.spec, precision="float32")
        return toy

    folder = study(tmp_path / "study")
    expected = run(plan(folder, single(), steps=20), tmp_path / "whole")
    stopped(plan(folder, single(7), steps=20), tmp_path / "out")
    record = manifest_of(tmp_path / "out")["restart"]["record"]
    assert {name: array["dtype"] for name, array in record.items()} == {
        "state": "float32",
        "conserved": "float32",
        "totals": "float64",
    }
    run(plan(folder, single(), steps=20), tmp_path / "out")
    assert_equal_runs(tmp_path / "out", expected)


def test_a_second_run_into_the_folder_is_refused_and_a_killed_one_makes_room(
    long_study: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = start("run", long_study, "-o", out)
    wait_for_segments(out, 1)
    line = " ".join(invoke("run", long_study, "-o", out, code=2).split())
    assert f"{out} is in use by process {process.pid} on " in line
    process.kill()
    process.communicate()
    before = len(manifest_of(out)["segments"])
    process = start("run", long_study, "-o", out)
    wait_for_segments(out, before + 1)
    process.terminate()
    assert process.wait(timeout=60) == 75
    assert not list(out.glob("**/.*"))


def test_a_run_that_lost_its_lock_writes_no_manifest(
    whole: tuple[Path, Path], tmp_path: Path
) -> None:
    folder, _ = whole
    out = tmp_path / "out"

    class Robbed(Interrupted):
        def step(self, *rest: Any, **more: Any) -> torch.Tensor:
            if len(self.batches) == 40 * 3:
                (out / ".lock").unlink()
                FolderLock(out).acquire()
            return super().step(*rest, **more)

    with pytest.raises(InputError, match=r"\.lock is not this run's any more"):
        run(plan(folder, Robbed()), out)
    manifest = manifest_of(out)
    assert (manifest["status"], len(manifest["segments"])) == ("running", 1)
    assert (out / ".lock").exists()
