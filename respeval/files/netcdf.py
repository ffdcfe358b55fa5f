"""CF netCDF as every file of respeval is written and read again."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from respeval.errors import InputError, first_line, pass_on
from respeval.files.limits import check_netcdf
from respeval.files.publish import publish

#: Held around whatever opens, reads, writes or closes netCDF: the library is not safe to enter from
#: two threads.
NETCDF_LOCK = threading.RLock()


#: Bytes of chunks that netCDF keeps in memory of every variable of a file of ours.
_KEPT_BYTES = 2**20


@contextlib.contextmanager
def _keeping_few_chunks(num_bytes: int = _KEPT_BYTES) -> Iterator[None]:
    """Files opened within keep little in memory: netCDF's own 64 MiB are those of each variable.

    A run's chunks are read and written once, so that nothing is gained by keeping them. With 0 bytes
    they are read to where they belong, instead of being copied there.
    """
    usual = netCDF4.get_chunk_cache()
    netCDF4.set_chunk_cache(num_bytes, *usual[1:])
    try:
        yield
    finally:
        netCDF4.set_chunk_cache(*usual)


def write_netcdf(dataset: xr.Dataset, path: Path) -> str:
    """Write a dataset as netCDF-4, atomically; see `publish`. Coordinates and bounds get no fill."""

    def write(temporary: Path) -> None:
        with NETCDF_LOCK, _keeping_few_chunks():
            _to_netcdf(dataset, temporary)
            netCDF4.Dataset(temporary).close()  # which fails where the end of the file is missing

    return publish(path, write)


def netcdf_size(dataset: xr.Dataset) -> int:
    """About the bytes of the file that `write_netcdf` would write; it is made in memory alone."""
    with NETCDF_LOCK:
        opened = netCDF4.Dataset("size", "w", memory=0)
        _fill(opened, dataset)
        image = opened.close()
    # The image is filled up to a round number; the superblock of HDF5 says where the file ends.
    at = 28 if image[8] >= 2 else 40
    return int.from_bytes(bytes(image[at : at + 8]), "little")


def append_netcdf(
    dataset: xr.Dataset,
    files: Sequence[Path],
    names: Mapping[str, str],
    path: Path,
    chosen: Mapping[str, NDArray[np.intp]] | None = None,
) -> str:
    """Write a dataset that holds the first time of these files, and all later ones; see `publish`.

    One time is in memory at once. names: variable -> its name in the files, where it is another
    one. chosen: dimension -> the places of it in the files that the dataset has, where not all.
    Raises InputError where a file lacks a variable or can't be read.
    """

    def write(temporary: Path) -> None:
        with NETCDF_LOCK, _keeping_few_chunks():
            _to_netcdf(dataset, temporary)
            with netCDF4.Dataset(temporary, "a") as joined:
                joined.set_auto_maskandscale(False)
                for number, file in enumerate(files):
                    first = 1 if number == 0 else 0
                    _append_times(joined, file, names, first, chosen or {})
            netCDF4.Dataset(temporary).close()

    return publish(path, write)


def _append_times(
    joined: netCDF4.Dataset,
    path: Path,
    names: Mapping[str, str],
    first: int,
    chosen: Mapping[str, NDArray[np.intp]],
) -> None:
    timed = [v for v in joined.variables.values() if "time" in v.dimensions]
    for fields in _times_of(path, timed, names, joined.variables["time"].units, first, chosen):
        end = joined.dimensions["time"].size
        for variable, field in zip(timed, fields, strict=True):
            for axis, dim in enumerate(variable.dimensions):
                if dim in chosen:
                    field = field.take(chosen[dim], axis)
            variable[_at_time(variable, end)] = field


def _times_of(
    path: Path,
    timed: Sequence[Any],
    names: Mapping[str, str],
    units: str,
    first: int,
    chosen: Mapping[str, NDArray[np.intp]],
) -> Iterator[list[Any]]:
    """The fields of these variables in a segment's file, one time after the other."""
    try:
        with netCDF4.Dataset(path) as opened:
            opened.set_auto_maskandscale(False)
            sources = [opened.variables[names.get(v.name, v.name)] for v in timed]
            for own, source in zip(timed, sources, strict=True):
                _check_alike(own, source, path, {"time", *chosen})
            found = opened.variables["time"].units
            if found != units:
                raise InputError(f"{path} counts time in {found!r}, the segments before it don't")
            for row in range(first, opened.dimensions["time"].size):
                yield [
                    _field_at(source, row, variable.dimensions)
                    for variable, source in zip(timed, sources, strict=True)
                ]
    except InputError:
        raise
    except (OSError, RuntimeError, KeyError, AttributeError) as error:
        pass_on(error)
        raise InputError(f"{path} can't be read as a segment ({error})") from None


def _at_time(variable: Any, row: int) -> tuple[slice, ...]:
    times = slice(row, row + 1)
    return tuple(times if name == "time" else slice(None) for name in variable.dimensions)


def _field_at(variable: Any, row: int, dims: Sequence[str]) -> Any:
    """One time of a variable, its dimensions in this order."""
    order = [variable.dimensions.index(name) for name in dims]
    return variable[_at_time(variable, row)].transpose(order)


def _check_alike(own: Any, other: Any, path: Path, free: Set[str]) -> None:
    """Raise InputError where a segment's variable could not stand after that of the first one.

    free: dimensions that may be of other sizes.
    """
    sizes = [
        dict(zip(v.dimensions, v.shape, strict=True)) | dict.fromkeys(free, 0) for v in (own, other)
    ]
    named = set(own.dimensions) == set(other.dimensions)
    if not named or sizes[0] != sizes[1] or own.dtype != other.dtype:
        raise InputError(
            f"{path} is no segment of this run: {other.name} is {other.dtype} {list(other.shape)}, in "
            f"the first segment {own.dtype} {list(own.shape)}"
        )


def _to_netcdf(dataset: xr.Dataset, path: Path) -> None:
    with netCDF4.Dataset(path, "w") as opened:
        _fill(opened, dataset)


class _ValuesLast:
    """Holds what xarray would write until every variable is defined, as xarray's own writers do.

    netCDF ends its definitions before it writes values: once, instead of for each variable anew.
    `respeval diagnose` takes 0.87 of the time. xarray's writers are not public: this class and `_fill` are
    all that know of them.
    """

    def __init__(self) -> None:
        self._held: list[tuple[Any, Any]] = []

    def add(self, source: Any, target: Any, region: Any = None) -> None:
        self._held.append((source, target))

    def write(self) -> None:
        for source, target in self._held:
            target[...] = np.asarray(source)


def _fill(opened: netCDF4.Dataset, dataset: xr.Dataset) -> None:
    """Write a dataset into an empty file."""
    store: Any = xr.backends.NetCDF4DataStore(opened)
    writer: Any = _ValuesLast()
    _encoded(dataset).dump_to_store(store, writer=writer, unlimited_dims=_unlimited(dataset))
    writer.write()


def _unlimited(dataset: xr.Dataset) -> list[str]:
    return ["time"] if "time" in dataset.dims else []


def _encoded(dataset: xr.Dataset) -> xr.Dataset:
    dataset = dataset.copy()
    for name, variable in dataset.variables.items():
        if _is_text(variable):
            # As characters, because CDO and older programs can't read netCDF-4's strings.
            variable.encoding = {"dtype": "S1"}
        elif variable.dtype.kind in "fO" and (
            name in dataset.coords or str(name).endswith("_bnds")
        ):
            variable.encoding = {**variable.encoding, "_FillValue": None}
    return dataset


def _is_text(variable: xr.Variable) -> bool:
    if variable.dtype.kind == "O":  # texts, or dates of cftime
        return variable.size > 0 and isinstance(variable.values.flat[0], str)
    return variable.dtype.kind in "UST"


def _in_turn(close: Callable[[], None] | None) -> Callable[[], None]:
    """What closes a file, when no other thread is within the library."""

    def close_alone() -> None:
        with NETCDF_LOCK:
            if close is not None:
                close()

    return close_alone


def open_saved(
    path: Path, chunks: Mapping[str, int] | None = None, *, decode_times: bool = True
) -> xr.Dataset:
    """A file that respeval wrote, its times as cftime dates. Raises InputError where it is none."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; is {path.parent} the folder of a finished run?")
    try:
        with NETCDF_LOCK:
            check_netcdf(path, written_whole=True)
            with _keeping_few_chunks(0):
                opened = xr.open_dataset(
                    path,
                    engine="netcdf4",
                    chunks=dict(chunks) if chunks is not None else None,
                    decode_times=(
                        xr.coders.CFDatetimeCoder(use_cftime=True) if decode_times else False
                    ),
                )
        opened.set_close(_in_turn(opened._close))
        return opened
    except InputError:
        raise
    except Exception as error:  # xarray and netCDF raise whatever they like for a broken file
        pass_on(error)
        reason = first_line(error)
        raise InputError(f"{path} is no file of a run: it can't be read ({reason})") from None


def global_attributes(title: str, provenance: Mapping[str, str]) -> dict[str, str]:
    """Attributes of every file: convention, title, and where the numbers come from.

    A run's provenance has a `history` with the date on which the run was begun.
    """
    import respeval

    source = f"respeval {respeval.__version__}"
    return {
        "Conventions": "CF-1.11",
        "title": title,
        "source": source,
        "history": f"written by {source}",
        **provenance,
    }


def describe_file(dataset: xr.Dataset, source: xr.Dataset, title: str) -> None:
    """Give a dataset that was derived from `source` its coordinates' attributes and provenance."""
    dataset.attrs = {**source.attrs, "title": title}
    for name in ("lat", "lon"):
        if name in dataset.coords and name in source.coords:
            dataset[name].attrs = dict(source[name].attrs)
            bounds = source[f"{name}_bnds"].drop_vars(name, errors="ignore")
            dataset[f"{name}_bnds"] = (
                bounds.compute()
            )  # the source may be closed before they are read
