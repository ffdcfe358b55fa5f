"""netCDF files and zarr stores as records on a grid, and the fields that are read from them whole."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TypeVar

import numpy as np
import xarray as xr
from netCDF4 import default_fillvals

from respeval.errors import InputError, first_line, pass_on
from respeval.fields.calendar import canonical_calendar, decode_seconds
from respeval.fields.combining import PARTIAL, Part, combined
from respeval.fields.grid import FloatArray, Grid
from respeval.fields.locations import here, is_store, stored_at
from respeval.fields.notices import Notices
from respeval.fields.units import CHANGE_OF_SST, Wanted, fit, in_grammar, says_units
from respeval.files.limits import check_netcdf, check_zarr
from respeval.files.netcdf import NETCDF_LOCK

T = TypeVar("T", xr.DataArray, xr.Dataset)


_CHUNK_TIMES = 32
_LATITUDE_NAMES = ("lat", "latitude", "grid_yt", "y")
_LONGITUDE_NAMES = ("lon", "longitude", "grid_xt", "x")


def open_record(location: str, notices: Notices | None = None, *, dated: bool = True) -> xr.Dataset:
    """Open netCDF files and zarr stores lazily, as one, dimensions named (time, lat, lon).

    location: see `stored_at`. dated: whether a time matters; one file's own is left out where not.
    The coordinate `time`, where there is one, is in whole seconds (see `calendar`), its CF calendar
    in the attribute `calendar` of the result. Raises InputError where nothing can be opened.
    """
    try:
        sources = stored_at(location)
        with NETCDF_LOCK:
            dated = dated or len(sources) > 1
            parts = [Part(source, _open_source(source, dated, notices)) for source in sources]
        return parts[0].record if len(parts) == 1 else combined(parts, location)
    except InputError:
        raise
    except Exception as error:  # the backends raise whatever they like for a broken file
        pass_on(error)
        raise InputError(
            f"{location} can't be read as netCDF or zarr ({first_line(error)})"
        ) from None


def read_whole(location: str, lazy: T) -> T:
    """A lazy field or dataset with its values. Raises InputError where they can't be read."""
    try:
        with NETCDF_LOCK:
            return lazy.load(scheduler="synchronous")
    except Exception as error:  # what is missing in a file is found here; see `open_record`
        pass_on(error)
        if "element with a sequence" in str(error):  # numpy, of netCDF's type of lists
            raise InputError(
                f"{location} holds lists of numbers, expected one number in each cell"
            ) from None
        raise InputError(
            f"{location} is damaged or not whole: its values can't be read ({first_line(error)})"
        ) from None


class OpenedRecords:
    """Records that are opened when they are first asked for, and once, whoever asks again.

    What is noticed when one is opened is told to everybody who asks for it.
    """

    def __init__(self) -> None:
        self._records: dict[str, tuple[xr.Dataset, Notices]] = {}

    def open(self, location: str, notices: Notices | None = None) -> xr.Dataset:
        """The record at a location; see `open_record`."""
        if location not in self._records:
            own = Notices()
            self._records[location] = open_record(location, own), own
        record, own = self._records[location]
        if notices is not None:
            notices.take(own.told)
        return record


def _open_source(source: str, dated: bool, notices: Notices | None) -> xr.Dataset:
    """One zarr store, or one netCDF file as dask arrays, whose chunks in time are whole chunks of it."""
    if is_store(source):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on metadata that is not consolidated
            check_zarr(source)
            opened = xr.open_zarr(source, decode_times=False, consolidated=None)
            if notices is not None:
                _tell_of_unwritten_chunks(source, opened, notices)
        return _standard_names(opened, source, dated)
    file = here(source)
    check_netcdf(Path(file))
    raw = xr.open_dataset(file, decode_times=False, mask_and_scale=False, cache=False)
    opened = xr.decode_cf(_unwritten_as_missing(raw), decode_times=False)
    for name, variable in opened.data_vars.items():
        time = next((dim for dim in ("time", "valid_time") if dim in variable.dims), None)
        if time is not None:
            stored = variable.encoding.get("chunksizes")
            along = stored[variable.dims.index(time)] if stored else 1
            opened[name] = variable.chunk({time: max(1, _CHUNK_TIMES // along) * along})
        else:
            opened[name] = variable.chunk()
    return _standard_names(opened, source, dated)


def _unwritten_as_missing(raw: xr.Dataset) -> xr.Dataset:
    """Records that nobody wrote hold netCDF's default fill value: it is missing, said or not.

    Not of bytes, of which every value may be meant.
    """
    for name, variable in raw.data_vars.items():
        said = {"_FillValue", "missing_value"} & variable.attrs.keys()
        default = default_fillvals.get(variable.dtype.str[1:])
        may_lack = variable.dtype.kind in "fiu" and variable.dtype.itemsize > 1
        if may_lack and not said and default is not None:
            raw[name].attrs["_FillValue"] = variable.dtype.type(default)
    return raw


def _tell_of_unwritten_chunks(location: str, opened: xr.Dataset, notices: Notices) -> None:
    """Chunks of a zarr store that are not there read as its fill value, 0 if nobody chose another."""
    import zarr

    store = zarr.open_group(location, mode="r")
    for name, variable in opened.data_vars.items():
        array = store[str(name)]
        if not isinstance(array, zarr.Array) or "_FillValue" in {
            **variable.encoding,
            **variable.attrs,
        }:
            continue
        lacking = array.nchunks - array.nchunks_initialized
        if lacking and array.fill_value == array.fill_value:  # what reads as NaN is missing anyway
            notices.tell(
                f"{location}: {lacking} of {array.nchunks} chunks of {name} are not there and read as "
                f"{array.fill_value}, which the store does not declare missing (_FillValue)"
            )


def _standard_names(opened: xr.Dataset, location: str, dated: bool) -> xr.Dataset:
    rename = {}
    for wanted, names in (("lat", _LATITUDE_NAMES), ("lon", _LONGITUDE_NAMES)):
        present = [name for name in names if name in opened.dims]
        if not present:
            raise InputError(
                f"{location} has no {wanted} dimension (it has: {', '.join(map(str, opened.dims))})"
            )
        if present[0] != wanted:
            rename[present[0]] = wanted
    record = _with_valid_time(opened.rename(rename))
    for name in ("lat", "lon"):
        if name not in record.coords:
            raise InputError(f"{location} has no coordinate variable {name}(degrees)")
        if record[name].dims != (name,) or record[name].dtype.kind not in "fiu":
            raise InputError(f"{location}: {name} is no list of numbers, expected degrees")
    if not dated:
        record = record.drop_vars("time", errors="ignore")
    if "time" not in record.variables:
        return record.assign_attrs(calendar="standard")
    time = record["time"]
    if time.ndim > 1 or time.dtype.kind not in "fiu":
        raise InputError(
            f"{location}: time is no list of numbers, expected e.g. hours since a date"
        )
    if "units" not in time.attrs:
        raise InputError(f"{location}: time has no units (expected e.g. 'hours since 2000-01-01')")
    try:
        calendar = canonical_calendar(str(time.attrs.get("calendar", "standard")))
        seconds = decode_seconds(time.values, str(time.attrs["units"]), calendar)
    except InputError as error:
        raise InputError(f"{location}: {error}") from None
    return record.assign_coords(time=(time.dims, seconds)).assign_attrs(calendar=calendar)


def _with_valid_time(record: xr.Dataset) -> xr.Dataset:
    """With `valid_time`, as ECMWF calls the date that values are of, as the time.

    Where there is a time beside it, that is when a forecast was begun.
    """
    if "valid_time" not in record.variables and "valid_time" not in record.dims:
        return record
    if "valid_time" in record.dims:
        if "time" in record.dims:
            return record
        return record.drop_vars("time", errors="ignore").rename(valid_time="time")
    valid = record["valid_time"].variable
    if "time" in record.dims and valid.dims != ("time",):
        return record
    return record.drop_vars(["valid_time", "time"], errors="ignore").assign_coords(time=valid)


def on_grid(record: xr.Dataset, grid: Grid, location: str) -> xr.Dataset:
    """The record on the emulator's grid: its rows and columns in the grid's order.

    Latitudes may run the other way, and longitudes begin elsewhere, at -180 say. Raises InputError
    where the record is on another grid.
    """
    latitude, longitude = record["lat"].values, record["lon"].values
    difference = grid.difference_from(latitude, longitude)
    if difference is not None:
        raise InputError(f"{location} is on another grid than the emulator's {grid}: {difference}")
    return in_order_of(record, grid)


def in_order_of(record: T, grid: Grid) -> T:
    """Fields on this grid, with its own coordinates: turned around and rolled where theirs are not."""
    rows, columns = grid.order_of(record["lat"].values, record["lon"].values)
    if (np.diff(rows) < 0).any():
        record = record.isel(lat=slice(None, None, -1))
    if (np.diff(columns) < 0).any():
        record = record.isel(lon=columns)
    return record.assign_coords(
        lat=("lat", grid.latitude, record["lat"].attrs),
        lon=("lon", grid.longitude, record["lon"].attrs),
    )


def as_numbers(location: str, field: xr.DataArray) -> FloatArray:
    """A loaded field's values as float64. Raises InputError where they are no numbers."""
    if field.dtype.kind not in "fiub":
        raise InputError(f"{location}: {field.name} holds {field.dtype}, expected numbers")
    return np.asarray(field.values, dtype=np.float64)


def lacks(location: str, name: str, record: xr.Dataset, role: str | None) -> InputError:
    if name in record.attrs.get(PARTIAL, {}):
        return InputError(f"{location}: {record.attrs[PARTIAL][name]}")
    has = ", ".join(str(v) for v in record.data_vars) or "no variables"
    hint = f"; name it with roles.{role} in the case file" if role else ""
    return InputError(f"{location} has no {name!r} (it has: {has}){hint}")


#: Temperatures, K, have a median beyond this, and a span beyond this from pole to equator; changes of
#: SST have not.
_MOST_CHANGE_K, _MOST_SPAN_K = 100.0, 20.0


def read_pattern(
    location: str,
    variable: str,
    grid: Grid,
    notices: Notices | None = None,
    wanted: Wanted = CHANGE_OF_SST,
) -> FloatArray:
    """A field [lat, lon] of one time in what is wanted: a change of SST, K; NaN where the file has none.

    Raises InputError where the file lacks the variable, is on another grid, or holds something else.
    """
    record = on_grid(open_record(location, notices, dated=False), grid, location)
    if variable not in record:
        raise lacks(location, variable, record, None)
    field = record[variable].squeeze()
    if set(field.dims) != {"lat", "lon"}:
        raise InputError(f"{location}: {variable} has dimensions {field.dims}, expected (lat, lon)")
    field = field.transpose("lat", "lon")
    fitted = fit(location, variable, field.attrs, wanted, notices or Notices())
    values = fitted(as_numbers(location, read_whole(location, field)))
    if wanted.kind == "change":
        _check_is_change(location, field, values)
    return values


def _check_is_change(location: str, field: xr.DataArray, values: FloatArray) -> None:
    """Raise InputError where a change of SST looks like SST itself."""
    known = values[np.isfinite(values)]
    if not known.size:
        return
    low, middle, high = (float(v) for v in (known.min(), np.median(known), known.max()))
    said = str(field.attrs.get("units_metadata", "")).strip().lower() == "temperature: difference"
    units = str(field.attrs.get("units", ""))
    if says_units(units) and in_grammar(units) == "1":
        return  # it is only to be scaled
    if abs(middle) > _MOST_CHANGE_K or (high - low > _MOST_SPAN_K and not said):
        raise InputError(
            f"{location}: {field.name} reaches from {low:.4g} to {high:.4g} K, as temperatures do and "
            "changes of SST don't; subtract the climate that it is a change of (if it is a change, "
            "give it the attribute units_metadata = 'temperature: difference')"
        )
