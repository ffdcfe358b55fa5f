"""Regression maps of every output on the Niño 3.4 index, and how warming changes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from respeval.diagnostics.formulas.regions import LeftOut
from respeval.diagnostics.indices import NINO34, Indices, WholeMonths
from respeval.diagnostics.maps import CELL_VARIABLES
from respeval.diagnostics.output_means import units_per_K
from respeval.diagnostics.statistics.copies import ROUNDING_OF_FLOAT32
from respeval.diagnostics.statistics.periods import with_period
from respeval.diagnostics.statistics.regression import (
    Regression,
    difference_of,
    difference_of_unpaired,
    monthly_anomalies,
    regress,
)
from respeval.diagnostics.statistics.sampling import (
    CONFIDENCE,
    FALSE_DISCOVERY_RATE,
    discoveries,
)
from respeval.diagnostics.statistics.totals import names_with_dims, require, require_baseline
from respeval.diagnostics.statistics.uncertainty import described
from respeval.fields.grid import BoolArray, FloatArray
from respeval.fields.perturbation import BASELINE

#: What is left out where there are no regression maps.
REGRESSIONS = "regressions"

#: Ending of the name of a slope's change.
CHANGE = "_change"

#: An index whose standard deviation is smaller, K, is one of a forcing without El Niño.
SMALLEST_STD_K = 0.02

#: Indices of two climates that are nowhere further apart, K, are one: SST is float32.
ALIKE_K = 1e-3

#: About how many bytes of an output are worked on at once.
_BYTES_AT_ONCE = 32 * 2**20

_PLANE = ("lat", "lon")

_SIGNIFICANT: Mapping[str, object] = {
    "units": "1",
    "flag_values": np.array([0, 1], dtype=np.int8),
    "flag_meanings": "not_significant significant",
}

_INTERVAL = f"{100 * CONFIDENCE:g} % interval"

#: Suffix -> attributes of a slope's statistics; `{}` stands for its long name.
_OF_SLOPE: Mapping[str, Mapping[str, object]] = {
    "stderr": {"long_name": "standard error of {}"},
    "pvalue": {"long_name": "p-value of a t-test of {}", "units": "1"},
    "significant": {
        "long_name": f"{{}} is significant at a false discovery rate of {FALSE_DISCOVERY_RATE:g}",
        **_SIGNIFICANT,
    },
}

#: The same of its change.
_OF_CHANGE: Mapping[str, Mapping[str, object]] = {
    "low": {"long_name": f"lower end of the {_INTERVAL} of {{}}"},
    "high": {"long_name": f"upper end of the {_INTERVAL} of {{}}"},
    "pvalue": _OF_SLOPE["pvalue"],
    "significant": _OF_SLOPE["significant"],
}


@dataclass(frozen=True, eq=False)
class _Course:
    """What the regressions of all outputs have in common.

    index: [month, group], K. count: [time], steps. land: [lat, lon]. baseline: number of the group.
    alike: [group], whether the group's index is the baseline's.
    """

    months: WholeMonths
    index: FloatArray
    count: FloatArray
    land: BoolArray
    baseline: int
    alike: tuple[bool, ...]

    @property
    def perturbed(self) -> list[int]:
        return [group for group in range(self.index.shape[1]) if group != self.baseline]


def why_no_regressions(indices: Indices) -> str | None:
    """Why a run can have no regression maps, or None where it can."""
    if NINO34 in indices.left_out:
        return indices.left_out[NINO34]
    assert indices.series is not None
    if "sample" in indices.series[NINO34].dims:
        return "samples start on other dates, which the means over samples mix"
    smallest = float(indices.series[f"{NINO34}_std"].min())
    if smallest < SMALLEST_STD_K:
        return (
            f"Nino 3.4 has a standard deviation of {smallest:.2g} K only: the forcing has no El Nino that "
            "anything could be regressed on"
        )
    return None


def regression_maps(means: xr.Dataset, indices: Indices) -> xr.Dataset:
    """Slopes of every output's monthly anomalies on those of Niño 3.4, and their changes.

    means: as in group_means.nc; may be opened lazily: some latitudes of one variable are in memory.

    Returns `NAME` (group, lat, lon), per kelvin, with `NAME_stderr`, `NAME_pvalue` and
    `NAME_significant`; `NAME_change` (perturbation, lat, lon), the perturbed climate's minus the
    baseline's, with `NAME_change_low`, `_high`, `_pvalue` and `_significant`; masks and weights as
    given. Where an output varies by no more than the rounding of float32 nothing is tested: the
    p-value is NaN. Raises LeftOut where there can be none.
    """
    why = why_no_regressions(indices)
    if why is not None:
        raise LeftOut(why)
    require(means, ("count", *CELL_VARIABLES), "group_means.nc")
    require_baseline(means["group"])
    labels = means["group"].values.tolist()
    course = _course_of(means, indices, labels.index(BASELINE))
    found: dict[str, xr.Variable] = {}
    for name in names_with_dims(means, ("group", "time", *_PLANE)):
        attributes = means[name].attrs
        what = f"regression of {attributes.get('long_name', name)} on the Nino 3.4 index"
        units = units_per_K(str(attributes.get("units", "1")))
        slopes, changes = _maps_of(means[name], course)
        found |= _with_statistics(name, slopes, _OF_SLOPE, "group", what, units)
        if course.perturbed:
            of_change = f"change of the {what}"
            found |= _with_statistics(
                f"{name}{CHANGE}", changes, _OF_CHANGE, "perturbation", of_change, units
            )
    coords = {"group": means["group"].variable, "lat": means["lat"], "lon": means["lon"]}
    if course.perturbed:
        perturbed = [labels[group] for group in course.perturbed]
        told = {"long_name": "perturbed experiment"}
        coords["perturbation"] = xr.Variable("perturbation", perturbed, told)
    dataset = xr.Dataset(found, coords).merge(means[list(CELL_VARIABLES)].compute())
    parts = course.months.parts
    return with_period(dataset, means.isel(time=slice(parts[0].start, parts[-1].stop)))


def _course_of(means: xr.Dataset, indices: Indices, baseline: int) -> _Course:
    assert indices.series is not None and indices.months is not None
    index = indices.series[NINO34].transpose("time", "group").values
    furthest = np.abs(index - index[:, [baseline]]).max(axis=0)
    count = means["count"].transpose("time", "group").values[:, baseline].astype(np.float64)
    alike = tuple(bool(each <= ALIKE_K) for each in furthest)
    land = means["land_mask"].transpose(*_PLANE).values == 1
    return _Course(indices.months, index, count, land, baseline, alike)


def _maps_of(
    output: xr.DataArray, course: _Course
) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
    """Statistics of the slopes [group, lat, lon], "" being the slope itself, and of their changes
    [perturbation, lat, lon]."""
    sizes = output.sizes
    per_row = 8 * sizes["time"] * sizes["group"] * sizes["lon"]
    height = max(1, _BYTES_AT_ONCE // per_row)
    parts = [
        _maps_of_rows(output.variable, slice(first, first + height), course)
        for first in range(0, sizes["lat"], height)
    ]
    slopes, changes = (
        {key: np.concatenate([part[i][key] for part in parts], axis=1) for key in parts[0][i]}
        for i in (0, 1)
    )
    return slopes, changes


def _maps_of_rows(
    output: xr.Variable, rows: slice, course: _Course
) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
    """The same of some latitudes."""
    output = output.isel(lat=rows).transpose("time", "group", *_PLANE)
    values = course.months.means(output.values, course.count)
    month, land = course.months.number, course.land[rows]
    anomalies = monthly_anomalies(values, month)
    size = np.abs(values.mean(axis=0)) * ROUNDING_OF_FLOAT32
    index = [course.index[:, group] for group in range(values.shape[1])]
    found = [regress(anomalies[:, g], own, month, land) for g, own in enumerate(index)]
    slopes = [
        {
            "": each.slope,
            "stderr": each.stderr,
            "pvalue": np.where(_spread(anomalies[:, g]) > size[g], each.pvalue, np.nan),
        }
        for g, each in enumerate(found)
    ]
    changes = []
    for group in course.perturbed:
        change = _change(found[course.baseline], found[group], course, group, land)
        apart = _spread(anomalies[:, group] - anomalies[:, course.baseline])
        changes.append(
            {
                "": change.slope,
                "low": change.slope - change.reach,
                "high": change.slope + change.reach,
                "pvalue": np.where(apart > size[group], change.pvalue, np.nan),
            }
        )
    return _stacked(slopes), _stacked(changes)


def _change(
    baseline: Regression, perturbed: Regression, course: _Course, group: int, land: BoolArray
) -> Regression:
    if course.alike[group]:
        index = course.index[:, course.baseline]
        return difference_of(baseline, perturbed, index, course.months.number, land)
    return difference_of_unpaired(baseline, perturbed)


def _spread(anomalies: FloatArray) -> FloatArray:
    return np.asarray(np.sqrt(np.einsum("t...,t...->...", anomalies, anomalies) / len(anomalies)))


def _stacked(maps: list[dict[str, FloatArray]]) -> dict[str, FloatArray]:
    return {key: np.stack([each[key] for each in maps]) for key in (maps[0] if maps else ())}


def _with_statistics(
    name: str,
    maps: Mapping[str, FloatArray],
    statistics: Mapping[str, Mapping[str, object]],
    dim: str,
    what: str,
    units: str,
) -> dict[str, xr.Variable]:
    """A slope, or its change, and its statistics under their names, with what CF wants to know."""
    dims = (dim, *_PLANE)
    named = " ".join(f"{name}_{suffix}" for suffix in statistics)
    own = {"units": units, "long_name": what, "ancillary_variables": named}
    found = {name: xr.Variable(dims, maps[""], own)}
    tested = discoveries(xr.Variable(dims, maps["pvalue"])).astype(np.int8)
    for suffix, attributes in statistics.items():
        value = tested if suffix == "significant" else xr.Variable(dims, maps[suffix])
        told = {
            "units": units,
            **attributes,
            "long_name": str(attributes["long_name"]).format(what),
        }
        found[f"{name}_{suffix}"] = described(value, told)
    return found
