"""What the numbers of a run say of how far they can be trusted."""

from __future__ import annotations

from collections.abc import Iterator

import xarray as xr

from respeval.diagnostics import (
    NUM_SAMPLES_COUNTED,
    DiagnosticSettings,
    ends_year,
    length_years,
    starts_after_first,
    year_blocks,
)

#: Near-surface air over ocean follows the SST; by less than this share it does not.
FOLLOWS = 1.0 / 3.0

#: A mean change of SST that is smaller, K, is one of too few cells to be held against.
_SMALLEST_CHANGE_K = 0.1

#: Of 365.25 days; the shortest year, of 360 days, is 0.986 of them.
_WHOLE_YEAR = 0.98


def remarks(zonal: xr.Dataset, diagnostics: xr.Dataset, settings: DiagnosticSettings) -> list[str]:
    """What stands below the tables beside the run's own warnings, one text for each matter.

    zonal: as in zonal.nc. diagnostics: as `diagnose` gives them, of the same run.
    """
    num_counted = int(diagnostics.attrs[NUM_SAMPLES_COUNTED])
    return [
        *_of_samples(zonal.sizes["sample"], num_counted),
        *_of_length(zonal, num_counted),
        *_of_starts(zonal),
        *_of_ocean(zonal, diagnostics, settings),
    ]


def _of_samples(num_samples: int, num_counted: int) -> Iterator[str]:
    if num_counted < num_samples:
        become = "one" if num_counted == 1 else str(num_counted)
        yield f"{num_samples} samples have become {become}; counted as {num_counted}"


def _of_length(zonal: xr.Dataset, num_counted: int) -> Iterator[str]:
    """How many years the numbers are of, and how they weigh the seasons."""
    times = zonal[["time_bnds"]].load()
    length = float(length_years(times, [times.sizes["time"]])[0])
    if length < _WHOLE_YEAR:
        yield (
            f"the run is shorter than a year ({365.25 * length:.0f} days): its numbers are of the seasons "
            "that it has, and no interval knows the others"
        )
        return
    if not ends_year(times):
        yield (
            f"the run is not of whole years ({length:.2f}): seasons weigh as often as it has them, and no "
            "interval makes up for that"
        )
    if len(year_blocks(times)) == 1 and num_counted > 1 and zonal.sizes["group"] > 1:
        # Samples of a deterministic emulator may be all alike in a year whose forcing they share.
        yield "intervals are from samples of one year: what differs between years is not in them"


def _of_starts(zonal: xr.Dataset) -> Iterator[str]:
    if any(starts_after_first(zonal)):
        dates = sorted({str(text)[:10] for text in zonal["start_date"].values})
        yield (
            f"samples start on different dates ({dates[0]} to {dates[-1]}): each has the months and "
            "seasons of its own dates, and a year of the run is not the same one in all of them"
        )


def _of_ocean(
    zonal: xr.Dataset, diagnostics: xr.Dataset, settings: DiagnosticSettings
) -> Iterator[str]:
    """Where near-surface air over ocean does not follow the prescribed SST."""
    name = f"{settings.roles.near_surface_temperature}_mean"
    if name not in diagnostics:
        return
    over_ocean = diagnostics.sel(surface="ocean")
    for label in map(str, over_ocean["perturbation"].values):
        own = over_ocean.sel(perturbation=label)
        prescribed = settings.amplitudes_K.get(label, _mean_sst_change(zonal, own))
        certain = label in settings.amplitudes_K
        value, low, high = (float(own[f"{name}{end}"]) for end in ("", "_low", "_high"))
        if abs(prescribed) < _SMALLEST_CHANGE_K:
            continue
        # The end of the interval that is nearer to the SST; where it isn't uniform, weather may hide it.
        furthest = value if certain else (high if prescribed > 0 else low)
        if furthest / prescribed < FOLLOWS:
            how = "against it" if value / prescribed < 0 else "by less than a third of it"
            yield (
                f"{label}: near-surface air over ocean changes by {value:+.2g} K where the prescribed "
                f"SST changes by {prescribed:+.2g} K: {how}; does the emulator heed its SST?"
            )


def _mean_sst_change(zonal: xr.Dataset, response: xr.Dataset) -> float:
    """Mean change of the surface temperature over ocean, K, as the emulator has it; 0 where it has none."""
    for name, output in zonal.data_vars.items():
        if output.attrs.get("standard_name") == "surface_temperature":
            return float(response[f"{name}_mean"])
    return 0.0
