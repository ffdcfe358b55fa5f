"""What netCDF files and zarr stores claim, held against what they are, before anything reads them.

Both formats store nothing for what was never written, and a small file can claim any number of
values. Coordinates are read whole when a file is opened, and data in whole chunks: these are bounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

from respeval.errors import InputError
from respeval.files.text import check_regular

#: Most values of a coordinate in one file: hours of 200 years, and far more than a grid has circles.
MAX_COORDINATE, MAX_SPATIAL = 2**21, 2**16

#: Most bytes that are read at once: so many, and so many for each byte of the files. Fields that
#: compress well (masks, fields of zeros) become some fifty times larger.
READ_BYTES, READ_PER_BYTE = 256 * 2**20, 64

_SPATIAL = ("lat", "latitude", "grid_yt", "y", "lon", "longitude", "grid_xt", "x")
_COORDINATES = (*_SPATIAL, "time", "valid_time")

#: Codecs that turn bytes into bytes or numbers into numbers. Others, such as pickle, can run code.
_CODECS_LIST = (
    "adler32 astype bitround blosc bytes bz2 crc32 crc32c delta fixedscaleoffset fletcher32 "
    "gzip lz4 lzma packbits pcodec quantize sharding_indexed shuffle transpose vlen-bytes "
    "vlen-utf8 zfpy zlib zstd"
)
_CODECS = frozenset(_CODECS_LIST.split())


def check_netcdf(path: Path, *, written_whole: bool = False) -> None:
    """Raise InputError where a netCDF file claims more than can be read; OSError where it is none.

    written_whole: whether every value was written as it is, as respeval does, so that the file has
    about as many bytes as its values.
    """
    import netCDF4

    check_regular(path, "file")
    with netCDF4.Dataset(path) as opened:
        if written_whole:
            sizes = [v.size * getattr(v.dtype, "itemsize", 1) for v in opened.variables.values()]
            claimed, size = sum(sizes), path.stat().st_size
            if claimed > 2 * size + 2**20:
                raise InputError(
                    f"{path} is said to have {claimed / 1e6:,.0f} MB and has {size / 1e6:,.1f} MB; remove "
                    "it and give the run's command again"
                )
        for name, variable in opened.variables.items():
            is_coordinate = name in opened.dimensions or name in _COORDINATES
            shape = variable.shape
            if getattr(variable.dtype, "char", "") == "S" and shape:  # characters of texts
                shape = (*shape[:-2], prod(shape[-2:]))
            _check_extent(str(path), name, shape, is_coordinate)
            chunk = variable.chunking()
            if isinstance(chunk, list) and hasattr(variable.dtype, "itemsize"):
                num_bytes = prod(chunk) * variable.dtype.itemsize
                check_read(str(path), f"a chunk of {name}", num_bytes, [path])


def check_zarr(location: str) -> None:
    """Raise InputError where a zarr store claims more than can be read, or needs code to be read."""
    import zarr

    group = zarr.open_group(location, mode="r")
    arrays = dict(group.arrays())
    for name, array in arrays.items():
        described: Mapping[str, Any] = array.metadata.to_dict()
        unknown = sorted(set(_codecs(described)) - _CODECS)
        if unknown:
            raise InputError(
                f"{location}: {name} is stored with {unknown[0]}, which respeval does not know to be "
                "harmless; write it again with a compressor such as zstd, as numbers"
            )
        dims = described.get("dimension_names") or array.attrs.get("_ARRAY_DIMENSIONS")
        is_coordinate = name in _COORDINATES or (isinstance(dims, list | tuple) and name in dims)
        _check_extent(location, name, array.shape, is_coordinate)
        num_bytes = prod(array.chunks) * array.dtype.itemsize
        if "://" not in location:  # what lies far away is not measured
            check_read(location, f"a chunk of {name}", num_bytes, [Path(location)])


def check_read(location: str, what: str, num_bytes: int, files: list[Path]) -> None:
    """Raise InputError where so many bytes are out of all proportion to the files they come from."""
    if num_bytes <= READ_BYTES:
        return
    parts = (part for file in files for part in (file.rglob("*") if file.is_dir() else [file]))
    size = sum(part.stat().st_size for part in parts if part.is_file())
    if num_bytes > READ_BYTES + READ_PER_BYTE * size:
        raise InputError(
            f"{location}: {what} is said to have {num_bytes / 1e6:,.0f} MB, in {size / 1e6:,.1f} MB of "
            "files; such a file is damaged, or stores next to nothing: write it again"
        )


def _check_extent(location: str, name: str, shape: tuple[int, ...], is_coordinate: bool) -> None:
    most = MAX_SPATIAL if name in _SPATIAL else MAX_COORDINATE
    if is_coordinate and (len(shape) > 1 or prod(shape) > most):
        raise InputError(
            f"{location}: {name} has the shape {list(shape)}, expected a coordinate of at most "
            f"{most:,} values"
        )


def _codecs(described: Any) -> Iterator[str]:
    """Names of all codecs in an array's metadata, those within codecs too."""
    entries = [described.get(key) for key in ("compressor", "filters", "codecs", "index_codecs")]
    for entry in entries:
        for codec in entry if isinstance(entry, list | tuple) else [entry]:
            if isinstance(codec, Mapping):
                yield str(codec.get("id", codec.get("name"))).removeprefix("numcodecs.")
                yield from _codecs(codec.get("configuration") or {})
