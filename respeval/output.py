"""Files of a run: CF netCDF that appears whole or not at all, the manifest, the run's folder."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from respeval.errors import InputError
from respeval.records import NETCDF_LOCK

MANIFEST = "manifest.json"
CASE = "case.yaml"
GROUP_MEANS = "group_means.nc"
ZONAL = "zonal.nc"
RESPONSE = "response.nc"
DIAGNOSTICS_FILE = "diagnostics.nc"
SUMMARY = "summary.json"
FIGURES = "figures"
SEGMENTS = "segments"


def publish(path: Path, write: Any) -> None:
    """Call `write(temporary path)` in the same folder, flush it to the disk, and rename it to `path`.

    Raises InputError in one line where the folder can't be written or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.partial")
    try:
        write(temporary)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except (OSError, RuntimeError) as error:  # netCDF tells a full disk by a RuntimeError
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise InputError(f"{path} can't be written ({reason}); is the disk full?") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_netcdf(dataset: xr.Dataset, path: Path) -> None:
    """Write a dataset as netCDF-4, atomically; see `publish`. Coordinates and bounds get no fill."""
    dataset = dataset.copy()
    for name, variable in dataset.variables.items():
        if variable.dtype.kind in "fO" and (name in dataset.coords or str(name).endswith("_bnds")):
            variable.encoding = {**variable.encoding, "_FillValue": None}
    unlimited = ["time"] if "time" in dataset.dims else []

    def write(temporary: Path) -> None:
        with NETCDF_LOCK:
            dataset.to_netcdf(temporary, engine="netcdf4", unlimited_dims=unlimited)

    publish(path, write)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically; see `publish`."""
    publish(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically; see `publish`."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def open_saved(path: Path, chunks: Mapping[str, int] | None = None) -> xr.Dataset:
    """A file that respeval wrote, its times as cftime dates. Raises InputError where it is none."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; is {path.parent} the folder of a finished run?")
    try:
        return xr.open_dataset(
            path,
            engine="netcdf4",
            chunks=dict(chunks) if chunks is not None else None,
            decode_times=xr.coders.CFDatetimeCoder(use_cftime=True),
        )
    except (OSError, ValueError) as error:
        raise InputError(f"{path} can't be read ({str(error).splitlines()[0]})") from None


def global_attributes(title: str, provenance: Mapping[str, str]) -> dict[str, str]:
    """Attributes of every file: convention, title, and where the numbers come from."""
    import respeval

    return {
        "Conventions": "CF-1.11",
        "title": title,
        "source": f"respeval {respeval.__version__}",
        **provenance,
    }


def describe_file(dataset: xr.Dataset, source: xr.Dataset, title: str) -> None:
    """Give a dataset that was derived from `source` its coordinates' attributes and provenance."""
    dataset.attrs = {**source.attrs, "title": title}
    for name in ("lat", "lon"):
        if name in dataset.coords and name in source.coords:
            dataset[name].attrs = dict(source[name].attrs)
            dataset[f"{name}_bnds"] = source[f"{name}_bnds"].drop_vars(name, errors="ignore")
