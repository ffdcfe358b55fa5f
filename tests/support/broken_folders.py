"""Malformed folders of runs: manifest, segments, restart files, results, links, locks."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import netCDF4
import xarray as xr

from tests.support.broken import DIAGNOSE, RESUME, Broken, Change, cut, edit_json, pipe, write

#: The command of the finished run.
AGAIN = ("run", "tiny.pt", "--no-paired-noise", "-o", "done")

STOPPED, DONE = "stopped/manifest.json", "done/manifest.json"


def stopped(change: Callable[[Any], object]) -> Change:
    return edit_json(STOPPED, change)


def done(change: Callable[[Any], object]) -> Change:
    return edit_json(DONE, change)


def restart(change: Callable[[Any], object]) -> Change:
    return stopped(lambda m: change(m["restart"]))


def part(**changes: object) -> Change:
    return restart(lambda r: r["parts"][0].update(changes))


def segment(**changes: object) -> Change:
    return stopped(lambda m: m["segments"][0].update(changes))


def text(name: str, old: str, new: str) -> Change:
    def change(folder: Path) -> None:
        found = (folder / name).read_text()
        assert old in found, found
        (folder / name).write_text(found.replace(old, new, 1))

    return change


def result(name: str, change: Callable[[Path], object]) -> Change:
    """Change a result, and its checksum in the manifest with it."""

    def changed(folder: Path) -> None:
        path = folder / "done" / name
        change(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        done(lambda m: m["results"].update({name: digest}))(folder)

    return changed


def dataset(change: Callable[[xr.Dataset], xr.Dataset]) -> Callable[[Path], None]:
    def changed(path: Path) -> None:
        with xr.open_dataset(path, decode_times=False) as opened:
            loaded = opened.load()
        for variable in loaded.variables.values():
            variable.encoding.clear()
        change(loaded).to_netcdf(path)

    return changed


def without(*names: str) -> Callable[[Path], None]:
    return dataset(lambda d: d.drop_vars(names))


def numbers_as_texts(name: str) -> Callable[[Path], None]:
    return dataset(lambda d: d.assign({name: d[name].astype("U3")}))


def terabyte(path: Path) -> None:
    """A result with more samples than anything holds, never written."""
    with netCDF4.Dataset(path) as good, netCDF4.Dataset(path.with_name("new"), "w") as made:
        for name, dim in good.dimensions.items():
            made.createDimension(name, 10**6 if name == "sample" else dim.size)
        for name, variable in good.variables.items():
            kind = variable.dtype if variable.dtype is not str else str
            sizes = [min(64, made.dimensions[dim].size) for dim in variable.dimensions]
            options = {"chunksizes": sizes} if sizes else {}
            new = made.createVariable(name, kind, variable.dimensions, **options)
            new.setncatts({k: v for k, v in variable.__dict__.items() if k != "_FillValue"})
            if "sample" not in variable.dimensions:
                new[...] = variable[...]
    path.with_name("new").replace(path)


def first_segment(change: Callable[[Path], object], *, tell: bool = True) -> Change:
    """Change the first segment's file of the stopped run, and its checksum in the manifest with it."""

    def changed(folder: Path) -> None:
        manifest = json.loads((folder / STOPPED).read_text())
        entry = manifest["segments"][0]
        path = folder / "stopped" / entry["file"]
        change(path)
        if tell:
            entry["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        (folder / STOPPED).write_text(json.dumps(manifest))

    return changed


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def restart_file(change: Callable[[Path], object]) -> Change:
    def changed(folder: Path) -> None:
        (path,) = (folder / "stopped" / "restart").iterdir()
        change(path)

    return changed


def link(name: str) -> Change:
    """Put a link to the folder elsewhere in the place of a run's folder."""

    def change(folder: Path) -> None:
        path = folder / name
        if path.exists():
            shutil.rmtree(path)
        path.symlink_to(folder.parent / "elsewhere")

    return change


def link_with_files(name: str) -> Change:
    """The same with the run's own files elsewhere, so that nothing else is wrong."""

    def change(folder: Path) -> None:
        for path in (folder / name).iterdir():
            shutil.move(path, folder.parent / "elsewhere")
        link(name)(folder)

    return change


def swap(folder: Path) -> None:
    one, other = sorted((folder / "done" / "segments").iterdir())[:2]
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


FAULT: dict[str, object] = {
    "sample": 0,
    "group": "p4K",
    "variable": "skin",
    "step": 1,
    "date": "2001-01-02",
    "limits": "x",
}


def fault(**changes: object) -> Change:
    return stopped(lambda m: m.update(quarantined=[FAULT | changes]))


def deep_json(folder: Path) -> None:
    (folder / STOPPED).write_text('{"a": ' * 100_000)


def dangling_lock(folder: Path) -> None:
    (folder / "stopped" / ".lock").symlink_to("nowhere")


def pipe_as_lock(folder: Path) -> None:
    os.mkfifo(folder / "stopped" / ".lock")


SEGMENTS, RESTART = "its segments can't be read", "its restart entry can't be read"
LOST = "see --restart-fresh"
CASES = [
    Broken("manifest: half of the file", RESUME, cut(STOPPED, 0.5), "manifest.json can't be read"),
    Broken("manifest: bytes", RESUME, write(STOPPED, bytes(range(256))), "is no UTF-8 text"),
    Broken(
        "manifest: a list", RESUME, write(STOPPED, "[1]"), "is no manifest: expected a JSON obj"
    ),
    Broken("manifest: a pipe", RESUME, pipe(STOPPED), "it is a pipe or a device"),
    Broken("manifest: nested without end", RESUME, deep_json, "nested more than 40 deep"),
    Broken(
        "manifest: NaN", RESUME, text(STOPPED, '"num_steps": 6', '"num_steps": NaN'), "NaN is no"
    ),
    Broken(
        "manifest: 1e999",
        RESUME,
        text(STOPPED, '"num_steps": 6', '"num_steps": 1e999'),
        "too large",
    ),
    Broken(
        "manifest: a number of 5000 digits",
        RESUME,
        text(STOPPED, '"num_steps": 6', '"num_steps": ' + "9" * 5000),
        "has 5000 digits",
    ),
    Broken(
        "manifest: an entry twice",
        RESUME,
        text(STOPPED, '"num_steps": 6', '"num_steps": 6, "num_steps": 7'),
        "'num_steps' is given twice",
    ),
    Broken("manifest: missing", RESUME, lambda f: (f / STOPPED).unlink(), "holds no respeval run"),
    Broken(
        "manifest: another case", RESUME, stopped(lambda m: m["case"].update(seed=9)), "seed 9 -> 0"
    ),
    Broken(
        "manifest: a case that is a text",
        RESUME,
        stopped(lambda m: m.update(case="x", case_digest="y")),
        "its case digest",
    ),
    Broken(
        "manifest: a date that is none",
        RESUME,
        stopped(lambda m: m.update(created="x" * 99)),
        "'created' is no date",
    ),
    Broken(
        "manifest: forcing files that are a list",
        RESUME,
        stopped(lambda m: m["forcing"].update(files=[1])),
        "the forcing's files",
    ),
    Broken("manifest: no segments", RESUME, stopped(lambda m: m.pop("segments")), SEGMENTS),
    Broken(
        "manifest: segments that are texts",
        RESUME,
        stopped(lambda m: m.update(segments=["a"])),
        SEGMENTS,
    ),
    Broken(
        "manifest: a segment that climbs",
        RESUME,
        segment(file="segments/../../../elsewhere/kept.bin"),
        SEGMENTS,
    ),
    Broken("manifest: a segment elsewhere", RESUME, segment(file="/etc/passwd"), SEGMENTS),
    Broken("manifest: a segment with NUL", RESUME, segment(file="segments/a\0.nc"), SEGMENTS),
    Broken("manifest: a segment of negative steps", RESUME, segment(stop_step=-2), SEGMENTS),
    Broken("manifest: a segment of half a step", RESUME, segment(stop_step=1.5), SEGMENTS),
    Broken("manifest: a gap between segments", RESUME, segment(first_step=1), SEGMENTS),
    Broken(
        "manifest: a segment twice",
        RESUME,
        stopped(
            lambda m: m["segments"].append({**m["segments"][0], "first_step": 2, "stop_step": 3})
        ),
        SEGMENTS,
    ),
    Broken(
        "manifest: a restart that is a list",
        RESUME,
        stopped(lambda m: m.update(restart=[])),
        RESTART,
    ),
    Broken(
        "manifest: a restart before the segments",
        RESUME,
        restart(lambda r: r.update(step=1)),
        "can't be continued",
    ),
    Broken(
        "manifest: a restart after the end",
        RESUME,
        restart(lambda r: r.update(step=10**6)),
        "would shorten it",
    ),
    Broken(
        "manifest: a restart of negative steps",
        RESUME,
        restart(lambda r: r.update(step=-3)),
        RESTART,
    ),
    Broken(
        "manifest: a restart without sums",
        RESUME,
        restart(lambda r: r["record"].pop("totals")),
        "can't be continued",
    ),
    Broken(
        "manifest: a restart of unknown arrays",
        RESUME,
        restart(lambda r: r["record"].update(more=r["record"]["state"])),
        RESTART,
    ),
    Broken(
        "manifest: a restart of unknown numbers",
        RESUME,
        restart(lambda r: r["record"]["state"].update(dtype="object")),
        RESTART,
    ),
    Broken(
        "manifest: a restart of another shape",
        RESUME,
        restart(lambda r: r["record"]["state"].update(shape=[10**9])),
        "the restart's state has shape (1000000000,)",
    ),
    Broken(
        "manifest: a restart of a terabyte",
        RESUME,
        restart(lambda r: r["record"].update(conserved={"dtype": "float64", "shape": [2**37]})),
        "is damaged (it has",
    ),
    Broken(
        "manifest: a restart of infinite shape",
        RESUME,
        restart(
            lambda r: r["record"].update(conserved={"dtype": "float64", "shape": [10**18, 10**18]})
        ),
        "is damaged (it has",
    ),
    Broken(
        "manifest: a restart of negative shape",
        RESUME,
        restart(lambda r: r["record"]["state"].update(shape=[-3, 8, 16])),
        RESTART,
    ),
    Broken(
        "manifest: a restart file that climbs", RESUME, part(file="restart/../../tiny.pt"), RESTART
    ),
    Broken(
        "manifest: restart files that overlap",
        RESUME,
        restart(lambda r: r["parts"].append(dict(r["parts"][0]))),
        RESTART,
    ),
    Broken(
        "manifest: a restart of too few members",
        RESUME,
        part(stop=2),
        "the restart files lack 4 members",
    ),
    Broken("manifest: a restart of 10^18 members", RESUME, part(stop=10**18), "is damaged (it has"),
    Broken(
        "manifest: another checksum", RESUME, part(sha256="0"), "is damaged (its checksum differs)"
    ),
    Broken(
        "manifest: an unknown entry of quarantine",
        RESUME,
        fault(more=1),
        "quarantined samples can't be",
    ),
    Broken(
        "manifest: sample -1 in quarantine",
        RESUME,
        fault(sample=-1),
        "quarantined samples can't be",
    ),
    Broken(
        "manifest: sample 99 in quarantine",
        RESUME,
        fault(sample=99),
        "quarantined samples can't be",
    ),
    Broken(
        "manifest: a perturbation in quarantine that is none",
        RESUME,
        stopped(lambda m: m.update(quarantined_groups=[FAULT | {"group": "p9K"}])),
        "its quarantined_groups can't be read",
    ),
    Broken(
        "manifest: versions that are a text",
        RESUME,
        stopped(lambda m: m.update(versions_by_segments=["x"])),
        "its versions can't be read",
    ),
    Broken("restart: half of the file", RESUME, restart_file(halve), "is damaged (it has"),
    Broken(
        "restart: a bit",
        RESUME,
        restart_file(lambda p: p.write_bytes(p.read_bytes()[:-1] + b"\x55")),
        "its checksum differs",
    ),
    Broken(
        "restart: missing",
        RESUME,
        restart_file(lambda p: p.unlink()),
        "can't be read (No such file",
    ),
    Broken(
        "restart: a pipe",
        RESUME,
        restart_file(lambda p: (p.unlink(), os.mkfifo(p))),
        "a pipe or a device",
    ),
    Broken(
        "restart: a link to a folder elsewhere",
        RESUME,
        link_with_files("stopped/restart"),
        "is a link to another folder",
    ),
    Broken(
        "segments: a link to a folder elsewhere",
        RESUME,
        link_with_files("stopped/segments"),
        "is a link to another folder",
    ),
    Broken(
        "segments: half of a file", RESUME, first_segment(halve, tell=False), "00001_2001-01-01.nc"
    ),
    Broken(
        "segments: half of a file, its checksum too",
        RESUME,
        first_segment(halve),
        "00001_2001-01-01.nc is no file",
    ),
    Broken(
        "segments: masks are missing",
        RESUME,
        first_segment(without("ocean_mask")),
        "it has no field 'ocean_mask'",
    ),
    Broken(
        "segments: masks of another shape",
        RESUME,
        first_segment(dataset(lambda d: d.isel(lat=slice(4)))),
        "it has no field",
    ),
    Broken("segments: a variable is missing", RESUME, first_segment(without("rain")), "rain"),
    Broken("segments: an area is missing", RESUME, first_segment(without("area")), "has no 'area'"),
    Broken(
        "segments: other samples",
        RESUME,
        first_segment(dataset(lambda d: d.isel(sample=[0]))),
        "is no segment of this run",
    ),
    Broken(
        "segments: missing", RESUME, first_segment(lambda p: p.unlink(), tell=False), "no such file"
    ),
    Broken("lock: a pipe", RESUME, pipe_as_lock, ".lock is no file that respeval made; remove it"),
    Broken("lock: a link to nothing", RESUME, dangling_lock, ".lock is no file that respeval made"),
    Broken(
        "results: no manifest", DIAGNOSE, lambda f: (f / DONE).unlink(), "it has no manifest.json"
    ),
    Broken("results: segments swapped", DIAGNOSE, swap, "is damaged (its checksum differs)"),
    Broken(
        "results: segments swapped, run again", AGAIN, swap, "is damaged (its checksum differs)"
    ),
    Broken(
        "results: not in the manifest",
        DIAGNOSE,
        done(lambda m: m.update(results={})),
        "its results can't be read",
    ),
    Broken(
        "results: others in the manifest",
        DIAGNOSE,
        done(lambda m: m["results"].update({"../x": "0"})),
        "its results can't be",
    ),
    Broken(
        "results: roles that are a number",
        DIAGNOSE,
        done(lambda m: m.update(roles=7)),
        "roles and levels_hPa can't be read",
    ),
    Broken(
        "results: a role that is a list",
        DIAGNOSE,
        done(lambda m: m["roles"].update(upper_level=[1])),
        "roles and levels_hPa",
    ),
    Broken(
        "results: levels that are a text",
        DIAGNOSE,
        done(lambda m: m.update(levels_hPa="abc")),
        "roles and levels_hPa",
    ),
    Broken(
        "results: no case file",
        DIAGNOSE,
        lambda f: (f / "done/case.yaml").unlink(),
        "no such case file",
    ),
    Broken(
        "results: half of the case file",
        DIAGNOSE,
        write("done/case.yaml", "forcing: [1"),
        "is no YAML",
    ),
    Broken(
        "results: half of a file",
        DIAGNOSE,
        cut("done/zonal.nc", 0.5),
        "is damaged (its checksum differs)",
    ),
    Broken(
        "results: half of a file, its checksum too",
        DIAGNOSE,
        result("zonal.nc", halve),
        "zonal.nc is no file of a run",
    ),
    Broken("results: a pipe", DIAGNOSE, pipe("done/zonal.nc"), "a pipe or a device"),
    Broken("results: no areas", DIAGNOSE, result("zonal.nc", without("area")), "'area'"),
    Broken("results: no counts", DIAGNOSE, result("zonal.nc", without("count")), "'count'"),
    Broken(
        "results: no bounds of time",
        DIAGNOSE,
        result("zonal.nc", without("time_bnds")),
        "'time_bnds'",
    ),
    Broken("results: no groups", DIAGNOSE, result("zonal.nc", without("group")), "group"),
    Broken("results: no surfaces", DIAGNOSE, result("zonal.nc", without("surface")), "surface"),
    Broken("results: no latitudes", DIAGNOSE, result("zonal.nc", without("lat")), "lat"),
    Broken(
        "results: no baseline",
        DIAGNOSE,
        result("zonal.nc", dataset(lambda d: d.isel(group=[1]))),
        "baseline",
    ),
    Broken(
        "results: no segments",
        DIAGNOSE,
        result("zonal.nc", dataset(lambda d: d.isel(time=[]))),
        "has no segment",
    ),
    Broken(
        "results: areas as texts", DIAGNOSE, result("zonal.nc", numbers_as_texts("area")), "area"
    ),
    Broken(
        "results: counts as texts", DIAGNOSE, result("zonal.nc", numbers_as_texts("count")), "count"
    ),
    Broken(
        "results: a variable as texts",
        DIAGNOSE,
        result("zonal.nc", numbers_as_texts("skin")),
        "skin",
    ),
    Broken(
        "results: maps without masks",
        DIAGNOSE,
        result("group_means.nc", without("ocean_mask")),
        "'ocean_mask'",
    ),
    Broken(
        "results: maps without counts",
        DIAGNOSE,
        result("group_means.nc", without("count")),
        "'count'",
    ),
    Broken(
        "results: maps without variables",
        DIAGNOSE,
        result("group_means.nc", without("skin", "rain", "air_temperature_0", "air_temperature_1")),
        "has no output of an emulator",
    ),
    Broken(
        "results: gigabytes in a few bytes",
        DIAGNOSE,
        result("zonal.nc", terabyte),
        "is said to have",
    ),
    Broken(
        "figures: a link to a folder elsewhere",
        DIAGNOSE,
        link("done/figures"),
        "is a link to another folder",
    ),
]
