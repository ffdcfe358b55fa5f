"""The planet's true response to a change of SST, in closed form."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
import xarray as xr

from respeval.emulator.contract import OCEAN_CUTOFF
from respeval.fields.fractions import LAND_CUTOFF, is_above
from respeval.fields.grid import FloatArray, Grid
from respeval.files.netcdf import global_attributes
from respeval.planet.climate import SURFACE, Climate
from respeval.planet.datasets import horizontal_coordinates
from respeval.planet.emulator import planet_spec

#: An SST change [lat, lon] in K, or a function from SST [time, lat, lon] to the changed SST.
SstChange = FloatArray | Callable[[FloatArray], FloatArray]
CHUNK_DAYS = 365


def true_response(forcing: xr.Dataset, perturbations: Mapping[str, SstChange]) -> xr.Dataset:
    """Response of every output, (perturbation, lat, lon), with the names of `response.nc`.

    The weather enters the planet linearly, so the time mean of its state is the mean of its
    equilibria, and the response is their difference; exact up to the memory of the first and the
    last days (about 15 days of land memory) for a period of whole years.

    forcing: daily (time, lat, lon) as `make_forcing` writes it, the period whose mean is taken and
        one more time: as in a run, the last time begins no step.
    perturbations: label -> change, applied where ocean fraction > 0.5.
    Further variables: `NAME_baseline` (lat, lon), the mean without a change; `ocean_mask`,
    `land_mask` (lat, lon), 1 where mean fractions exceed 0.5.
    """
    grid = Grid.from_coordinates(forcing["lat"].values, forcing["lon"].values)
    climate = Climate(grid)
    baseline = _mean_outputs(climate, forcing, None)
    responses = np.stack(
        [_mean_outputs(climate, forcing, change) - baseline for change in perturbations.values()]
    )
    variables: dict[str, tuple[tuple[str, ...], FloatArray, dict[str, str]]] = {}
    for number, variable in enumerate(planet_spec(grid).outputs):
        attributes = {
            "units": variable.units,
            "long_name": f"true response of {variable.long_name}",
        }
        variables[variable.name] = (
            ("perturbation", "lat", "lon"),
            responses[:, number],
            attributes,
        )
        variables[f"{variable.name}_baseline"] = (
            ("lat", "lon"),
            baseline[number],
            {"units": variable.units, "long_name": f"{variable.long_name} without a change"},
        )
    for kind, cutoff in (("ocean", OCEAN_CUTOFF), ("land", LAND_CUTOFF)):
        fraction = forcing[f"{kind}_fraction"].mean("time").values
        mask = is_above(fraction, cutoff).astype(np.float64)
        attributes = {"units": "1", "long_name": f"cells that count as {kind}"}
        variables[f"{kind}_mask"] = (("lat", "lon"), mask, attributes)
    labels = np.array(list(perturbations), dtype=object)
    return xr.Dataset(
        variables,
        horizontal_coordinates(grid) | {"perturbation": ("perturbation", labels)},
        global_attributes("true response of the bundled planet", {}),
    )


def _mean_outputs(climate: Climate, forcing: xr.Dataset, change: SstChange | None) -> FloatArray:
    """Outputs [output, lat, lon] at equilibrium, averaged over all but the last time.

    `Climate.settled` reads the SST of ocean cells only, so a change over land changes nothing.
    """
    total = torch.zeros((), dtype=torch.float64)
    num_days = forcing.sizes["time"] - 1
    for first in range(0, num_days, CHUNK_DAYS):
        days = forcing.isel(time=slice(first, min(first + CHUNK_DAYS, num_days)))
        sst = days[SURFACE].values.astype(np.float64)
        if callable(change):
            sst = change(sst)
        elif change is not None:
            sst = sst + change
        insolation = torch.as_tensor(days["DSWRFtoa"].values.astype(np.float64))
        total = total + climate.settled(torch.as_tensor(sst), insolation).sum(dim=0)
    return np.asarray((total / num_days).numpy())
