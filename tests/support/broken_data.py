"""Malformed data: forcing, initial conditions, patterns and training data, as netCDF and as zarr."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import xarray as xr

from tests.support.broken import PROBE, RUN, Broken, Change, cut, write
from tests.support.broken_cases import keys

ZARR = ("run", "tiny.pt", "--forcing", "forcing.zarr", "-o", "out")
REFERENCE = ("run", "tiny.pt", "--reference", "truth.nc", "-o", "out")
PATTERN = (*RUN, "--perturb", "p=pattern:pattern.nc,variable=anomaly")


def dataset(name: str, change: Callable[[xr.Dataset], xr.Dataset]) -> Change:
    """Change a netCDF file through xarray."""

    def changed(folder: Path) -> None:
        with xr.open_dataset(folder / name, decode_times=False) as opened:
            loaded = opened.load()
        for variable in loaded.variables.values():
            variable.encoding.clear()
        change(loaded).to_netcdf(folder / name)

    return changed


def library(name: str, change: Callable[[Any], object]) -> Change:
    """Change a netCDF file through its library."""

    def changed(folder: Path) -> None:
        with netCDF4.Dataset(folder / name, "a") as opened:
            change(opened)

    return changed


def flip(name: str, at: int, number: int = 4) -> Change:
    """Turn over all bits of a few bytes; a negative place counts from the end."""

    def change(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        begin = at if at >= 0 else len(content) + at
        for place in range(begin, begin + number):
            content[place] ^= 0xFF
        (folder / name).write_bytes(content)

    return change


def reference(change: Callable[[xr.Dataset], xr.Dataset]) -> Change:
    """A file of responses to the run's perturbations, with something wrong."""

    def changed(folder: Path) -> None:
        with xr.open_dataset(folder / "pattern.nc") as opened:
            anomaly = opened["anomaly"].load().drop_attrs()
        responses = anomaly.assign_attrs(units="K").expand_dims(perturbation=["p2K", "p4K"])
        change(xr.Dataset({"skin": responses})).to_netcdf(folder / "truth.nc")

    return changed


def cut_reference(folder: Path) -> None:
    reference(lambda d: d)(folder)
    cut("truth.nc", 0.5)(folder)


def attributes(variable: str, **given: object) -> Change:
    return library("forcing.nc", lambda d: d[variable].setncatts(given))


def without(name: str, variable: str) -> Change:
    return dataset(name, lambda d: d.drop_vars(variable))


def values(name: str, variable: str, change: Callable[[Any], Any]) -> Change:
    def changed(loaded: xr.Dataset) -> xr.Dataset:
        field = loaded[variable]
        return loaded.assign({variable: (field.dims, change(field.values), field.attrs)})

    return dataset(name, changed)


def retyped(make: Callable[[Any], Any]) -> Change:
    """The variable skin anew, of a type that netCDF can make."""

    def change(opened: Any) -> None:
        opened.renameVariable("skin", "old")
        opened.createVariable("skin", make(opened), ("time", "lat", "lon"))

    return library("forcing.nc", change)


def compound(opened: Any) -> Any:
    return opened.createCompoundType(np.dtype([("re", "f8"), ("im", "f8")]), "complex128")


def new_file(
    name: str, sizes: dict[str, int], chunks: dict[str, int], **coordinates: Any
) -> Change:
    """A file of this size whose values were never written, beside some that were."""

    def change(folder: Path) -> None:
        with xr.open_dataset(folder / "forcing.nc", decode_times=False) as good:
            grid = {dim: good[dim].values for dim in ("lat", "lon")}
        with netCDF4.Dataset(folder / name, "w") as made:
            for dim, size in sizes.items():
                made.createDimension(dim, size)
            along = {**grid, **coordinates}
            for dim in ("lat", "lon", "time"):
                dims = ("sample",) if dim == "time" and "sample" in sizes else (dim,)
                size = [chunks.get(d, sizes[d]) for d in dims]
                axis = made.createVariable(dim, "f8", dims, chunksizes=size, zlib=True)
                if dim in along and len(along[dim]) == sizes[dims[0]]:
                    axis[:] = along[dim]
            made["time"].setncatts({"units": "days since 2001-01-01", "calendar": "noleap"})
            dims = tuple(sizes)
            size = [chunks.get(dim, sizes[dim]) for dim in dims]
            for variable in ("skin", "sunlight", "ocean_fraction", "air_temperature_0"):
                made.createVariable(variable, "f8", dims, chunksizes=size, zlib=True)
            made.createVariable("air_temperature_1", "f8", dims, chunksizes=size, zlib=True)

    return change


def never_written(folder: Path) -> None:
    """A variable that was made and never filled."""
    without("forcing.nc", "sunlight")(folder)
    library("forcing.nc", lambda d: d.createVariable("sunlight", "f4", ("time", "lat", "lon")))(
        folder
    )


def two_files(change: Callable[[xr.Dataset], xr.Dataset]) -> Change:
    """A second file beside the forcing: the same, changed."""

    def changed(folder: Path) -> None:
        with xr.open_dataset(folder / "forcing.nc", decode_times=False) as opened:
            loaded = opened.load()
        time = loaded["time"].attrs
        second = change(loaded)
        second["time"].attrs = time
        second.to_netcdf(folder / "forcing_2.nc")

    return changed


def packed_and_flipped(folder: Path) -> None:
    """Compressed numbers, damaged in their middle: the file opens, reading it fails."""
    with xr.open_dataset(folder / "forcing.nc", decode_times=False) as opened:
        loaded = opened.load()
    loaded["skin"].values += np.random.default_rng(0).normal(size=loaded["skin"].shape)
    packed = {"skin": {"zlib": True, "shuffle": True, "fletcher32": True}}
    loaded.to_netcdf(folder / "forcing.nc", encoding=packed)
    content = bytearray((folder / "forcing.nc").read_bytes())
    largest = len(content) // 2
    for place in range(largest, largest + 64):
        content[place] ^= 0xFF
    (folder / "forcing.nc").write_bytes(content)


def zarr(change: Callable[[Path], object], version: int = 2) -> Change:
    """The forcing as a zarr store without consolidated metadata, changed."""

    def changed(folder: Path) -> None:
        with xr.open_dataset(folder / "forcing.nc", decode_times=False) as opened:
            loaded = opened.load()
        for variable in loaded.variables.values():
            variable.encoding.clear()
        store = folder / "forcing.zarr"
        loaded.to_zarr(store, zarr_format=version, consolidated=False)
        change(store)

    return changed


def metadata(name: str, change: Callable[[Any], object]) -> Callable[[Path], None]:
    def changed(store: Path) -> None:
        content = json.loads((store / name).read_text())
        change(content)
        (store / name).write_text(json.dumps(content))

    return changed


def chunk_of(store: Path, variable: str) -> Path:
    return next(p for p in sorted((store / variable).rglob("*")) if p.name[0].isdigit())


def pickled_chunk(store: Path) -> None:
    """Latitudes that numcodecs would unpickle, which runs code."""
    import pickle

    from tests.support.broken import RunsCode

    (store / "lat" / "0").write_bytes(pickle.dumps(RunsCode(), 2))
    metadata(
        "lat/.zarray",
        lambda m: m.update(filters=[{"id": "pickle", "protocol": 2}], compressor=None),
    )(store)


def pickled_object(store: Path) -> None:
    pickled_chunk(store)
    metadata(
        "lat/.zarray",
        lambda m: m.update(
            dtype="|O",
            fill_value=None,
            filters=[{"id": "vlen-utf8"}, {"id": "pickle", "protocol": 2}],
        ),
    )(store)


LONG = np.arange(9.0)
CASES = [
    Broken("forcing: empty file", RUN, write("forcing.nc", b""), "forcing.nc can't be read as"),
    Broken("forcing: a text", RUN, write("forcing.nc", "hello"), "can't be read as netCDF or zarr"),
    Broken("forcing: half of the file", RUN, cut("forcing.nc", 0.5), "can't be read as netCDF"),
    Broken("forcing: a header of other bytes", RUN, flip("forcing.nc", 0), "can't be read as"),
    Broken("forcing: a superblock of other bytes", RUN, flip("forcing.nc", 40, 8), "can't be read"),
    Broken(
        "forcing: compressed numbers damaged", RUN, packed_and_flipped, "is damaged or not whole"
    ),
    Broken("forcing: no latitude", RUN, without("forcing.nc", "lat"), "no coordinate variable lat"),
    Broken(
        "forcing: latitudes in disorder",
        RUN,
        values("forcing.nc", "lat", lambda v: np.roll(v, 3)),
        "is on another grid than the emulator's 8 x 16 legendre-gauss",
    ),
    Broken("forcing: NaN latitudes", RUN, values("forcing.nc", "lat", lambda v: v * np.nan), "nan"),
    Broken(
        "forcing: latitudes as texts",
        RUN,
        values("forcing.nc", "lat", lambda v: v.astype(str)),
        "lat is no list of numbers, expected degrees",
    ),
    Broken(
        "forcing: NaN times",
        RUN,
        values("forcing.nc", "time", lambda v: v * np.nan),
        "forcing.nc: time has missing values",
    ),
    Broken(
        "forcing: times as texts",
        RUN,
        values("forcing.nc", "time", lambda v: v.astype(str)),
        "time is no list of numbers",
    ),
    Broken(
        "forcing: times beyond all calendars",
        RUN,
        values("forcing.nc", "time", lambda v: v * 1e300),
        "time reaches further than the year 100,000",
    ),
    Broken(
        "forcing: times before the year 1",
        RUN,
        values("forcing.nc", "time", lambda v: v - 1e6),
        "is too short: the run reads 2001-01-01",
    ),
    Broken(
        "forcing: no units of time",
        RUN,
        library("forcing.nc", lambda d: d["time"].delncattr("units")),
        "time has no units",
    ),
    Broken(
        "forcing: garbage as units of time",
        RUN,
        attributes("time", units="days since \xff"),
        "can't be read",
    ),
    Broken(
        "forcing: time since the 45th",
        RUN,
        attributes("time", units="days since 2001-45-45"),
        "can't be read",
    ),
    Broken(
        "forcing: fortnights",
        RUN,
        attributes("time", units="fortnights since 2001-01-01"),
        "can't be read (expected e.g. 'hours",
    ),
    Broken(
        "forcing: an unknown calendar",
        RUN,
        attributes("time", calendar="mars"),
        "unknown calendar 'mars'",
    ),
    Broken(
        "forcing: time does not rise",
        RUN,
        values("forcing.nc", "time", lambda v: v[::-1]),
        "time does not rise after",
    ),
    Broken(
        "forcing: a gap",
        RUN,
        dataset("forcing.nc", lambda d: d.isel(time=[0, 1, 2, 4, 5, 6, 7, 8])),
        "has a gap: no times between",
    ),
    Broken(
        "forcing: no times", RUN, dataset("forcing.nc", lambda d: d.isel(time=[])), "has 0 times"
    ),
    Broken(
        "forcing: too short",
        RUN,
        dataset("forcing.nc", lambda d: d.isel(time=slice(4))),
        "is too short: the run reads",
    ),
    Broken(
        "forcing: a variable is missing",
        RUN,
        without("forcing.nc", "sunlight"),
        "has no 'sunlight' (it has:",
    ),
    Broken(
        "forcing: missing values",
        RUN,
        values("forcing.nc", "sunlight", lambda v: v * np.nan),
        "sunlight is missing at",
    ),
    Broken(
        "forcing: infinite values",
        RUN,
        values("forcing.nc", "sunlight", lambda v: v * np.inf),
        "sunlight is missing at",
    ),
    Broken(
        "forcing: fractions of 7",
        RUN,
        values("forcing.nc", "ocean_fraction", lambda v: v * 7),
        "the ocean fraction reaches from",
    ),
    Broken(
        "forcing: kelvin that are said to be degrees Celsius",
        RUN,
        attributes("skin", units="degC"),
        "skin can't be right at 2001-01-01 00:00:00: 56",
    ),
    Broken(
        "forcing: another quantity",
        RUN,
        attributes("sunlight", units="J m-2"),
        "sunlight is in J m-2, the emulator wants W m-2; it is a sum over time",
    ),
    Broken(
        "forcing: two files that overlap",
        ("run", "tiny.pt", "--forcing", "forcing*.nc", "-o", "out"),
        two_files(lambda d: d),
        "forcing.nc and",
    ),
    Broken(
        "forcing: a second file of another grid",
        ("run", "tiny.pt", "--forcing", "forcing*.nc", "-o", "out"),
        two_files(lambda d: d.isel(lon=slice(8))),
        "is on another grid than",
    ),
    Broken(
        "forcing: a second file without a variable",
        ("run", "tiny.pt", "--forcing", "forcing*.nc", "-o", "out"),
        two_files(lambda d: d.drop_vars("sunlight").assign_coords(time=d["time"] + 9.0)),
        "has no 'sunlight', which",
    ),
    Broken(
        "forcing: a second file of other units",
        ("run", "tiny.pt", "--forcing", "forcing*.nc", "-o", "out"),
        two_files(
            lambda d: d.assign(skin=d["skin"].assign_attrs(units="Pa")).assign_coords(
                time=d["time"] + 9.0
            )
        ),
        "skin is in Pa, in",
    ),
    Broken(
        "forcing: far away, without what reaches there",
        ("run", "tiny.pt", "--forcing", "nowhere://bucket/forcing.zarr", "-o", "out"),
        lambda folder: None,
        "nowhere://bucket/forcing.zarr",
    ),
    Broken(
        "forcing: temperatures of another unit",
        RUN,
        values("forcing.nc", "skin", lambda v: v - 273.15),
        "it looks like degrees Celsius; mend the file",
    ),
    Broken(
        "forcing: -1000 from a later step on",
        RUN,
        values("forcing.nc", "skin", lambda v: np.where(np.arange(9)[:, None, None] > 2, -1000, v)),
        "skin can't be right at 2001-01-04 00:00:00: -1000 to -1000 K",
    ),
    Broken(
        "forcing: a fill value that is not declared",
        RUN,
        values(
            "forcing.nc", "sunlight", lambda v: np.where(np.arange(9)[:, None, None] > 2, 1e20, v)
        ),
        "sunlight can't be right at 2001-01-04 00:00:00",
    ),
    Broken(
        "forcing: records that nobody wrote, no fill value declared",
        RUN,
        never_written,
        "sunlight is missing at 2001-01-01",
    ),
    Broken(
        "initial: temperatures of another unit in one sample",
        RUN,
        values(
            "initial.nc",
            "skin",
            lambda v: np.where(np.arange(len(v))[:, None, None] == len(v) - 1, v - 273.15, v),
        ),
        "initial.nc: skin can't be right at",
    ),
    Broken(
        "forcing: texts",
        RUN,
        values("forcing.nc", "skin", lambda v: v.astype("U3")),
        "skin holds no numbers",
    ),
    Broken("forcing: complex numbers", RUN, retyped(compound), "skin"),
    Broken(
        "forcing: lists of numbers",
        RUN,
        retyped(lambda d: d.createVLType("f8", "row")),
        "forcing.nc holds lists of numbers, expected one number in each cell",
    ),
    Broken(
        "forcing: other dimensions",
        RUN,
        dataset("forcing.nc", lambda d: d.assign(skin=d["skin"].expand_dims(level=2))),
        "skin has dimensions",
    ),
    Broken(
        "forcing: latitudes on two axes",
        RUN,
        library(
            "forcing.nc",
            lambda d: (
                d.renameVariable("lat", "old"),
                d.createVariable("lat", "f8", ("lat", "lon")),
            ),
        ),
        "lat has the shape [8, 16], expected a coordinate",
    ),
    Broken(
        "forcing: a billion times in a few bytes",
        RUN,
        new_file("forcing.nc", {"time": 10**9, "lat": 8, "lon": 16}, {"time": 1024}),
        "time has the shape [1000000000], expected a coordinate of at most",
    ),
    Broken(
        "forcing: a billion latitudes in a few bytes",
        RUN,
        new_file("forcing.nc", {"time": 9, "lat": 10**9, "lon": 16}, {"lat": 1024}, time=LONG),
        "lat has the shape [1000000000]",
    ),
    Broken(
        "forcing: 300 GB of values in a few bytes",
        RUN,
        new_file(
            "forcing.nc", {"time": 9, "lat": 2**16, "lon": 2**16}, {"lat": 64, "lon": 64}, time=LONG
        ),
        "is on another grid than the emulator's",
    ),
    Broken(
        "forcing: a chunk of 2 GB in a few bytes",
        RUN,
        new_file("forcing.nc", {"time": 2**21, "lat": 8, "lon": 16}, {}, time=LONG),
        "a chunk of skin is said to have 2,147 MB",
    ),
    Broken(
        "initial condition: half of the file",
        RUN,
        cut("initial.nc", 0.5),
        "initial.nc can't be read as",
    ),
    Broken(
        "initial condition: no samples",
        RUN,
        dataset("initial.nc", lambda d: d.isel(sample=[])),
        "it has 0 samples",
    ),
    Broken(
        "initial condition: no time",
        RUN,
        without("initial.nc", "time"),
        "an initial condition needs time(sample)",
    ),
    Broken(
        "initial condition: NaN",
        RUN,
        values("initial.nc", "skin", lambda v: v * np.nan),
        "skin has missing values",
    ),
    Broken(
        "initial condition: texts",
        RUN,
        values("initial.nc", "skin", lambda v: v.astype("U3")),
        "expected numbers",
    ),
    Broken(
        "initial condition: no such date",
        RUN,
        keys(start=["2031-01-01"]),
        "has no initial condition at 2031-01-01",
    ),
    Broken(
        "initial condition: a date that is none",
        RUN,
        keys(start=["2001-99-99"]),
        "is no date of the noleap calendar",
    ),
    Broken(
        "initial condition: another grid",
        RUN,
        dataset("initial.nc", lambda d: d.isel(lat=slice(4))),
        "4 x 16 cells instead of 8 x 16",
    ),
    Broken(
        "initial condition: 3 GB of samples in a few bytes",
        RUN,
        new_file(
            "initial.nc",
            {"sample": 10**6, "lat": 8, "lon": 16},
            {"sample": 1024},
            time=np.zeros(10**6),
        ),
        "a state of 1,000,000 samples is said to have 3,072 MB",
    ),
    Broken(
        "pattern: half of the file", PATTERN, cut("pattern.nc", 0.5), "pattern.nc can't be read as"
    ),
    Broken(
        "pattern: temperatures",
        PATTERN,
        values("pattern.nc", "anomaly", lambda v: v + 290.0),
        "as temperatures do and changes of SST don't",
    ),
    Broken(
        "pattern: a trend",
        PATTERN,
        library("pattern.nc", lambda d: d["anomaly"].setncattr("units", "K decade-1")),
        "anomaly is in K decade-1, a change of SST must be in K",
    ),
    Broken(
        "pattern: no such variable", PATTERN, without("pattern.nc", "anomaly"), "has no 'anomaly'"
    ),
    Broken(
        "pattern: a time too much",
        PATTERN,
        dataset("pattern.nc", lambda d: d.expand_dims(time=3)),
        "expected (lat, lon)",
    ),
    Broken(
        "pattern: NaN",
        PATTERN,
        values("pattern.nc", "anomaly", lambda v: v * np.nan),
        "the pattern is missing in",
    ),
    Broken(
        "pattern: infinite",
        PATTERN,
        values("pattern.nc", "anomaly", lambda v: v * np.inf),
        "the pattern is missing in",
    ),
    Broken(
        "training data: half of the file", PROBE, cut("training.nc", 0.5), "training.nc can't be"
    ),
    Broken(
        "training data: one time",
        PROBE,
        dataset("training.nc", lambda d: d.isel(time=[0])),
        "has 1 time: the probe needs",
    ),
    Broken(
        "training data: missing values",
        (*PROBE, "--batches", "2", "--batch-size", "2"),
        values("training.nc", "rain", lambda v: v * np.nan),
        "rain is missing at",
    ),
    Broken(
        "training data: too few pairs", PROBE, lambda f: None, "lower --batches or --batch-size"
    ),
    Broken(
        "zarr: no metadata of a variable",
        ZARR,
        zarr(lambda s: (s / "skin/.zarray").unlink()),
        "has no 'skin'",
    ),
    Broken(
        "zarr: no metadata of the store",
        ZARR,
        zarr(lambda s: (s / ".zgroup").unlink()),
        "no zarr store",
    ),
    Broken(
        "zarr: metadata that is no JSON",
        ZARR,
        zarr(lambda s: (s / "skin/.zarray").write_text("{")),
        "can't be read as netCDF or zarr",
    ),
    Broken(
        "zarr: a codec that runs code",
        ZARR,
        zarr(pickled_chunk),
        "No Zarr data type found that matches",
    ),
    Broken(
        "zarr: objects that run code",
        ZARR,
        zarr(pickled_object),
        "lat is stored with pickle, which respeval does not know",
    ),
    Broken(
        "zarr: an unknown codec",
        ZARR,
        zarr(metadata("skin/.zarray", lambda m: m.update(compressor={"id": "magic"}))),
        "can't be read as netCDF or zarr",
    ),
    Broken(
        "zarr: half of a chunk",
        ZARR,
        zarr(lambda s: cut(str(chunk_of(s, "skin").relative_to(s)), 0.5)(s)),
        "is damaged or not whole",
    ),
    Broken(
        "zarr: a chunk of other bytes",
        ZARR,
        zarr(lambda s: chunk_of(s, "skin").write_bytes(b"\xff" * 999)),
        "is damaged or not whole",
    ),
    Broken(
        "zarr: a chunk is missing",
        ZARR,
        zarr(lambda s: chunk_of(s, "skin").unlink()),
        "skin is missing",
    ),
    Broken(
        "zarr: a chunk of a terabyte",
        ZARR,
        zarr(
            metadata("skin/.zarray", lambda m: m.update(shape=[9, 8, 2**34], chunks=[9, 8, 2**34]))
        ),
        "a chunk of skin is said to have",
    ),
    Broken(
        "zarr: a billion latitudes",
        ZARR,
        zarr(metadata("lat/.zarray", lambda m: m.update(shape=[10**9], chunks=[10**9]))),
        "lat has the shape [1000000000]",
    ),
    Broken(
        "zarr: a negative shape",
        ZARR,
        zarr(metadata("lat/.zarray", lambda m: m.update(shape=[-8]))),
        "can't be read as netCDF or zarr",
    ),
    Broken(
        "zarr 3: a node that is no array",
        ZARR,
        zarr(metadata("skin/zarr.json", lambda m: m.update(codecs=[])), 3),
        "can't be read as netCDF or zarr",
    ),
    Broken(
        "zarr 3: an unknown codec",
        ZARR,
        zarr(
            metadata(
                "skin/zarr.json",
                lambda m: m["codecs"].append({"name": "numcodecs.pickle", "configuration": {}}),
            ),
            3,
        ),
        "Unknown codec",
    ),
    Broken(
        "zarr: a file instead of a store",
        ZARR,
        write("forcing.zarr", "hello"),
        "forcing.zarr can't be read as",
    ),
    Broken(
        "zarr: an empty folder",
        ZARR,
        lambda f: (f / "forcing.zarr").mkdir(),
        "holds no netCDF files",
    ),
    Broken("reference: missing", REFERENCE, lambda f: None, "truth.nc: no such file or folder"),
    Broken(
        "reference: a part of the globe",
        REFERENCE,
        reference(lambda d: d.isel(lat=slice(2, 6))),
        "truth.nc is on no global grid",
    ),
    Broken(
        "reference: other perturbations",
        REFERENCE,
        reference(lambda d: d.assign_coords(perturbation=["a", "b"])),
        "has no perturbation of the run (it has: a, b; the run: p2K, p4K)",
    ),
    Broken(
        "reference: other outputs",
        REFERENCE,
        reference(lambda d: d.rename(skin="ts")),
        "shares no output with the run",
    ),
    Broken("reference: half of the file", REFERENCE, cut_reference, "truth.nc can't be read as"),
]
