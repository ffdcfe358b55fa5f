"""What the numbers of a run say of how far they can be trusted."""

from __future__ import annotations

import xarray as xr

from respeval.diagnostics import DiagnosticSettings


def remarks(zonal: xr.Dataset, diagnostics: xr.Dataset, settings: DiagnosticSettings) -> list[str]:
    """What stands below the tables beside the run's own warnings, one text for each matter.

    zonal, diagnostics: as in the files of these names, of the same run.
    """
    return []
