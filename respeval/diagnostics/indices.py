"""Regional indices of sea surface temperature: box means, Niño 3.4, and the tripole index TPI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr

from respeval.diagnostics.formulas.regions import DiagnosticSettings, LeftOut
from respeval.diagnostics.formulas.warming import OF_OCEAN
from respeval.diagnostics.seasons import why_no_seasons
from respeval.diagnostics.statistics.lowpass import (
    FEWEST_MONTHS,
    ORDER,
    RIPPLE_dB,
    low_pass,
    period_years,
)
from respeval.diagnostics.statistics.periods import with_parts
from respeval.diagnostics.statistics.regression import Months, monthly_anomalies
from respeval.errors import InputError
from respeval.fields.grid import BoolArray, FloatArray, Grid, in_box
from respeval.fields.standard_names import temperature_metadata

NINO34, TPI, TPI_FILTERED, SST = "nino34", "tpi", "tpi_filtered", "sst"

#: The three boxes of the tripole index, the tropical one in the middle.
TPI_BOXES = ("tpi_1", "tpi_2", "tpi_3")

#: Boxes of every run, [lat_min, lat_max, lon_min, lon_max] in degrees, as of `in_box`: Trenberth (1997,
#: Bull. Amer. Meteor. Soc. 78, 2771-2777); Henley et al. (2015, Clim. Dyn. 45, 3077-3090).
BUILT_IN_BOXES: Mapping[str, tuple[float, float, float, float]] = {
    NINO34: (-5.0, 5.0, 190.0, 240.0),
    TPI_BOXES[0]: (25.0, 45.0, 140.0, 215.0),
    TPI_BOXES[1]: (-10.0, 10.0, 170.0, 270.0),
    TPI_BOXES[2]: (-50.0, -15.0, 150.0, 200.0),
}

#: Fewer whole months have no anomaly: each calendar month must be there twice.
FEWEST_WHOLE_MONTHS = 24

#: About how many bytes of a variable are in memory at once.
_BYTES_AT_ONCE = 32 * 2**20

#: An output whose CF name is one of these is the surface temperature, where a run doesn't say which is.
_STANDARD_NAME = "surface_temperature"

_ANOMALIES = "anomalies from the group's own mean of each calendar month; no trend is taken out"

_KELVINS = {"units": "K", **temperature_metadata("K", "difference")}

#: Variable -> its attributes, where they are not `_KELVINS`.
_TOLD: Mapping[str, Mapping[str, str]] = {
    SST: {
        "long_name": "sea surface temperature in a box",
        **temperature_metadata("K", "on_scale"),
        "cell_methods": OF_OCEAN,
    },
    NINO34: {"long_name": "Nino 3.4 index", "cell_methods": OF_OCEAN, "comment": _ANOMALIES},
    TPI: {
        "long_name": "tripole index of the Interdecadal Pacific Oscillation",
        "cell_methods": OF_OCEAN,
        "comment": f"tpi_2 minus the mean of tpi_1 and tpi_3, {_ANOMALIES}",
    },
    TPI_FILTERED: {
        "long_name": "filtered tripole index of the Interdecadal Pacific Oscillation",
        "cell_methods": OF_OCEAN,
        "comment": f"13-year low-pass: Chebyshev type I, order {ORDER}, ripple {RIPPLE_dB:g} dB, forwards "
        "and backwards",
    },
    f"{NINO34}_std": {"long_name": "standard deviation of the Nino 3.4 index"},
    f"{TPI}_std": {"long_name": "standard deviation of the tripole index"},
    f"{NINO34}_period": {
        "long_name": "period at which the Nino 3.4 index has most variance",
        "units": "year",
        "units_metadata": "",
    },
}

#: Coordinate -> its attributes, in the order of a box.
_EDGES: Mapping[str, Mapping[str, str]] = {
    "box_south": {"long_name": "southern edge of the box", "units": "degree"},
    "box_north": {"long_name": "northern edge of the box", "units": "degree"},
    "box_west": {"long_name": "western edge of the box", "units": "degree"},
    "box_east": {"long_name": "eastern edge of the box", "units": "degree"},
}


@dataclass(frozen=True, eq=False)
class WholeMonths:
    """The whole calendar months among a run's segments, one after the other.

    parts: segments of each, as slices of time. number: [month], 1 to 12.
    """

    parts: Sequence[slice]
    number: Months

    def means(self, values: FloatArray, count: FloatArray) -> FloatArray:
        """Means [month, …] of segments' means [time, …]; those of one month weigh by their steps [time]."""
        first = [part.start for part in self.parts]
        if all(part.stop == part.start + 1 for part in self.parts):
            return np.asarray(values[first], np.float64)
        return np.stack([np.average(values[p], axis=0, weights=count[p]) for p in self.parts])


@dataclass(frozen=True, eq=False)
class Indices:
    """The indices of a run.

    series: as in indices.nc, and the months that they are of; None where there is none. left_out: name
    -> why.
    """

    series: xr.Dataset | None
    left_out: dict[str, str] = field(default_factory=dict)
    months: WholeMonths | None = None


def surface_temperature_of(means: xr.Dataset, settings: DiagnosticSettings) -> str:
    """The output that is the SST over ocean. Raises LeftOut where none is.

    means: as in group_means.nc.
    """
    name = settings.surface_temperature
    if name is None:
        named = [n for n, v in means.data_vars.items() if _is_surface_temperature(v)]
        if len(named) != 1:
            raise LeftOut("none of the outputs is known to be the surface temperature")
        name = str(named[0])
    why = why_no_sst(name, list(map(str, means.data_vars)))
    if why is not None:
        raise LeftOut(why)
    return name


def _is_surface_temperature(output: xr.DataArray) -> bool:
    return output.attrs.get("standard_name") == _STANDARD_NAME and "time" in output.dims


def why_no_sst(name: str | None, outputs: Sequence[str]) -> str | None:
    """Why a run has no SST to take indices of, or None where it has. name: of the surface temperature."""
    if name is None or name in outputs:
        return None
    return f"{name} is only a forcing of the emulator: it is not among the outputs that a run keeps"


def months_of(means: xr.Dataset) -> WholeMonths:
    """The whole months of a run. Raises LeftOut where there are too few, or its segments are no months.

    means: `time_bnds` and `time`, decoded. A month is whole where its segments reach from its first
        moment to the next one's.
    """
    why = why_no_seasons(means)
    if why is not None:
        raise LeftOut(why)
    bounds = means["time_bnds"].transpose("time", "bnds")
    begin, end = bounds.isel(bnds=0), bounds.isel(bnds=1)
    key = begin.dt.year.values * 12 + begin.dt.month.values - 1
    edges = [0, *(np.flatnonzero(np.diff(key)) + 1).tolist(), key.size]
    parts = [slice(first, stop) for first, stop in pairwise(edges)]
    is_begin, is_end = _are_first_moments(begin), _are_first_moments(end)
    whole = [part for part in parts if is_begin[part.start] and is_end[part.stop - 1]]
    starts = [part.start for part in whole]
    if len(whole) < FEWEST_WHOLE_MONTHS:
        raise LeftOut(
            f"the run has {len(whole)} whole months, anomalies need every calendar month twice"
        )
    if (np.diff(key[starts]) != 1).any():
        raise LeftOut("its months don't follow each other")
    return WholeMonths(whole, np.asarray(key[starts] % 12 + 1, np.int64))


def _are_first_moments(moments: xr.DataArray) -> BoolArray:
    """Whether each of these begins a month, [time]."""
    at = moments.dt
    seconds = (at.hour.values * 60 + at.minute.values) * 60 + at.second.values
    return np.asarray((at.day.values == 1) & (seconds == 0))


def box_weights(means: xr.Dataset, settings: DiagnosticSettings) -> xr.DataArray:
    """Share of each box's ocean in every cell, (box, lat, lon); boxes without an ocean cell are left out.

    means: `area_weight` and `ocean_mask` (lat, lon). Raises InputError where one of the case's boxes has
    no ocean cell.
    """
    grid = Grid(means["lat"].values, means["lon"].values)
    area = means["area_weight"].transpose("lat", "lon").values
    ocean = means["ocean_mask"].transpose("lat", "lon").values == 1
    found = {}
    for name, box in {**BUILT_IN_BOXES, **settings.sst_boxes}.items():
        weights = np.where(in_box(grid, box[:2], box[2:]) & ocean, area, 0.0)
        if weights.any():
            found[name] = weights / weights.sum()
        elif name in settings.sst_boxes:
            raise InputError(f"sst_boxes.{name} holds no ocean cell of the grid ({grid})")
    stacked = np.stack(list(found.values())) if found else np.empty((0, *grid.shape))
    return xr.DataArray(stacked, {"box": list(found)}, ("box", "lat", "lon"))


def box_means(fields: xr.DataArray, weights: xr.DataArray) -> xr.DataArray:
    """Means over the boxes of `box_weights`, (time, …, box); what other cells hold is not looked at.

    fields: (…, time, lat, lon), may be lazy: some times are in memory at once.
    """
    cells = (weights.values > 0).any(0)
    num_times = max(1, _BYTES_AT_ONCE // max(1, fields.nbytes // fields.sizes["time"]))
    parts = [
        fields.variable.isel(time=slice(first, first + num_times))
        .transpose("time", ..., "lat", "lon")
        .values[..., cells]
        for first in range(0, fields.sizes["time"], num_times)
    ]
    means = np.concatenate(parts).astype(np.float64) @ weights.values[:, cells].T
    dims = [dim for dim in fields.dims if dim not in ("time", "lat", "lon")]
    return xr.DataArray(means, dims=("time", *dims, "box"))


def indices_of(
    means: xr.Dataset, settings: DiagnosticSettings, of_boxes: xr.DataArray | None = None
) -> Indices:
    """All indices of a run.

    means: as in group_means.nc. of_boxes: box means (group, sample, time, box) of the SST of every
        member, NaN of one that does not count to the end, where samples start on other dates; the
        means over samples are of no date then.
    Raises InputError where one of the case's boxes has no ocean cell.
    """
    try:
        name = surface_temperature_of(means, settings)
        months = months_of(means)
    except LeftOut as reason:
        return Indices(None, dict.fromkeys(names_of_indices(settings), str(reason)))
    weights = box_weights(means, settings)
    left = {box: "its box has no ocean cell of the grid" for box in _lacking(weights, [NINO34])}
    if _lacking(weights, TPI_BOXES):
        left |= dict.fromkeys((TPI, TPI_FILTERED), "one of its boxes has no ocean cell of the grid")
    elif len(months.parts) < FEWEST_MONTHS:
        left[TPI_FILTERED] = _too_short(len(months.parts))
    if not weights.sizes["box"]:
        return Indices(None, left)
    if of_boxes is None:
        of_boxes = box_means(means[name], weights)
        if not bool(of_boxes.notnull().all()):
            why = f"{name} is missing in some months of the means over samples"
            return Indices(None, dict.fromkeys(names_of_indices(settings), why))
    series = _series(of_boxes, means, weights, months, left)
    return Indices(_described(series, name, means, months, settings), left, months)


def names_of_indices(settings: DiagnosticSettings) -> list[str]:
    """What a run is asked for: the indices of every run, and the boxes of its case."""
    return [NINO34, TPI, TPI_FILTERED, *settings.sst_boxes]


def _too_short(num_months: int) -> str:
    return (
        f"the run has {num_months / 12:.1f} years of whole months, the 13-year filter needs "
        f"{FEWEST_MONTHS // 12}"
    )


def _lacking(weights: xr.DataArray, boxes: Sequence[str]) -> list[str]:
    return [box for box in boxes if box not in weights["box"].values]


def _series(
    of_boxes: xr.DataArray,
    means: xr.Dataset,
    weights: xr.DataArray,
    months: WholeMonths,
    left: Mapping[str, str],
) -> xr.Dataset:
    """Box means by month and the indices, without attributes: (group[, sample], time[, box])."""
    outer = [dim for dim in of_boxes.dims if dim not in ("time", "box")]
    values = of_boxes.transpose("time", *outer, "box").values
    # Steps of a month's parts weigh as in the baseline: all groups have the same.
    count = means["count"].transpose("time", "group").values[:, 0].astype(np.float64)
    sst = months.means(values, count)
    anomalies = monthly_anomalies(sst, months.number)
    boxes = weights["box"].values.tolist()
    found: dict[str, Any] = {SST: (("time", *outer, "box"), sst)}
    if NINO34 not in left:
        found[NINO34] = (("time", *outer), anomalies[..., boxes.index(NINO34)])
    if TPI not in left:
        one, two, three = (anomalies[..., boxes.index(box)] for box in TPI_BOXES)
        found[TPI] = (("time", *outer), two - 0.5 * (one + three))
        if TPI_FILTERED not in left:
            found[TPI_FILTERED] = (("time", *outer), low_pass(found[TPI][1]))
    for name in (NINO34, TPI):
        if name in found:
            found[f"{name}_std"] = (outer, np.sqrt((found[name][1] ** 2).mean(axis=0)))
    if NINO34 in found:
        periods = np.apply_along_axis(period_years, 0, found[NINO34][1])
        found[f"{NINO34}_period"] = (outer, periods)
    coords: dict[str, Any] = {"group": means["group"].values, "box": boxes}
    if "sample" in outer:
        coords["sample"] = np.arange(of_boxes.sizes["sample"])
    return xr.Dataset(found, coords).transpose(
        "group", "sample", "time", "box", missing_dims="ignore"
    )


def _described(
    series: xr.Dataset,
    name: str,
    means: xr.Dataset,
    months: WholeMonths,
    settings: DiagnosticSettings,
) -> xr.Dataset:
    """The series with what CF wants to know of them, their times, and the edges of the boxes.

    name: of the output that is the SST.
    """
    of_samples = "sample" in series.dims
    for key, told in _TOLD.items():
        if key in series:
            series[key].attrs = {k: v for k, v in {**_KELVINS, **told}.items() if v}
    whose = "every sample" if of_samples else "the mean over samples"
    series[SST].attrs["comment"] = f"{name} over the ocean cells of the box, of {whose}"
    if TPI in series and TPI_FILTERED not in series:
        series[TPI].attrs["comment"] += f". Not filtered: {_too_short(series.sizes['time'])}"
    series["box"].attrs["long_name"] = "box"
    series["group"].attrs["long_name"] = "experiment"
    if of_samples:
        series["sample"].attrs = {"long_name": "sample", "units": "1"}
    edges = {**BUILT_IN_BOXES, **settings.sst_boxes}
    of_boxes = np.array([edges[str(box)] for box in series["box"].values])
    sides = {side: ("box", of_boxes[:, i], _EDGES[side]) for i, side in enumerate(_EDGES)}
    return with_parts(series.assign_coords(sides), means, months.parts)
