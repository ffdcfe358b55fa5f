"""A year of forcing and initial conditions for the ACE checkpoints of the tests:
`python -m benchmarks.ace_year FOLDER NUM_SAMPLES`.

Run by the interpreter of an environment with fme, whose transforms made the weather of their data.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cftime
import numpy as np
import xarray as xr

from tests.support.ace import climate
from tests.support.ace.make_fixtures import FOLDER

START = cftime.datetime(2001, 1, 1, calendar=climate.CALENDAR)
STEPS_PER_DAY = 24 // climate.STEP_HOURS
NUM_TIMES = 365 * STEPS_PER_DAY + 1


def write_forcing(folder: Path) -> None:
    """forcing/2001.nc: the land of the tests' forcing, under a year of the Sun and of sea of its own."""
    with xr.open_dataset(FOLDER / "forcing" / "forcing_2001.nc", decode_times=False) as known:
        fixed = known.isel(time=0, drop=True).load()
    hours = np.arange(NUM_TIMES) * float(climate.STEP_HOURS)
    latitude, longitude, _ = climate.gauss_grid()
    insolation = climate.insolation(hours / 24.0, latitude, longitude)
    weather = climate.latent_weather(np.random.default_rng(1), NUM_TIMES)
    fields = climate.surface(weather, fixed["land_fraction"].values, hours / 24.0, insolation)
    fields["DSWRFtoa"] = insolation
    forcing = fixed.assign_coords(time=_times(hours))
    forcing["global_mean_co2"] = fixed["global_mean_co2"].expand_dims(time=NUM_TIMES)
    for name in fields.keys() & fixed.keys():
        values = fields[name].astype(np.float32)
        forcing[name] = (("time", "lat", "lon"), values, fixed[name].attrs)
    (folder / "forcing").mkdir(parents=True)
    forcing.to_netcdf(folder / "forcing" / "2001.nc")


def write_initial_conditions(folder: Path, num_samples: int) -> None:
    """initial_conditions/ic_2000.nc, where fme is told to look for it: states of January, a day and a half
    apart, as if all were of its first."""
    with xr.open_dataset(FOLDER / "training_data" / "2001.nc", decode_times=False) as known:
        every = known.isel(time=slice(0, None, 3 * STEPS_PER_DAY // 2))[climate.PROGNOSTIC]
        states = (
            every.isel(time=slice(0, num_samples)).drop_vars("time").rename(time="sample").load()
        )
    time = _times(np.zeros(num_samples)).rename(time="sample")
    (folder / "initial_conditions").mkdir()
    states.assign_coords(time=time).to_netcdf(folder / "initial_conditions" / "ic_2000.nc")


def _times(hours: np.ndarray) -> xr.DataArray:
    attributes = {"units": f"hours since {START.isoformat(' ')}", "calendar": climate.CALENDAR}
    return xr.DataArray(hours, dims="time", attrs=attributes)


def main() -> None:
    folder, num_samples = Path(sys.argv[1]), int(sys.argv[2])
    write_forcing(folder)
    write_initial_conditions(folder, num_samples)


if __name__ == "__main__":
    main()
