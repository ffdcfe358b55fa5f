"""The vertical coordinate of diagnostics.nc, where a checkpoint says how its layers lie."""

from __future__ import annotations

import numpy as np
import xarray as xr

from respeval.fields.variables import HybridLevels

#: Nominal pressure at the surface, Pa, of the coordinate `pressure` and of `lev`.
REFERENCE_PRESSURE_PA = 1e5

_HYBRID = {
    "standard_name": "atmosphere_hybrid_sigma_pressure_coordinate",
    "computed_standard_name": "air_pressure",
    "units": "1",
    "positive": "down",
}


def with_hybrid_levels(diagnostics: xr.Dataset, levels: HybridLevels | None) -> xr.Dataset:
    """The diagnostics with the coordinate `lev` (level) of hybrid layers, p = ap + b·ps.

    lev = ap / 100000 Pa + b. `ap` in Pa and `b` stand beside it, for the middle of each layer and, as
    `*_bnds` (level, bnds), for its edges; `ps` is the nominal surface pressure, with which p is the
    coordinate `pressure`. Unchanged where levels are not known or not those of the column.
    """
    if levels is None or diagnostics.sizes.get("level") != len(levels.b) - 1:
        return diagnostics
    edges = {"ap": np.asarray(levels.ap_Pa), "b": np.asarray(levels.b)}
    edges["lev"] = edges["ap"] / REFERENCE_PRESSURE_PA + edges["b"]
    attributes = {
        "lev": {"long_name": "hybrid sigma-pressure of the layer", **_HYBRID, **_terms("")},
        "ap": {"long_name": "pressure term of the hybrid coordinate", "units": "Pa"},
        "b": {"long_name": "sigma term of the hybrid coordinate", "units": "1"},
    }
    found = diagnostics.copy()
    for name, values in edges.items():
        bounds = np.stack([values[:-1], values[1:]], axis=1)
        own = {**attributes[name], "bounds": f"{name}_bnds"}
        found[name] = ("level", bounds.mean(axis=1), own)
        found[f"{name}_bnds"] = (("level", "bnds"), bounds)
    found["lev_bnds"].attrs = _terms("_bnds")
    described = {"standard_name": "surface_air_pressure", "units": "Pa"}
    found["ps"] = (
        (),
        REFERENCE_PRESSURE_PA,
        {"long_name": "nominal surface pressure", **described},
    )
    return found.set_coords("lev")


def _terms(suffix: str) -> dict[str, str]:
    return {"formula_terms": f"ap: ap{suffix} b: b{suffix} ps: ps"}
