"""Saved means to response, diagnostics and uncertainty: xarray in, xarray out; no model."""

from respeval.diagnostics.catalog import Entry, catalog
from respeval.diagnostics.differences import DIFFERENCE, differences
from respeval.diagnostics.evaluate import (
    Replicated,
    diagnose,
    diagnose_reference,
    left_out,
    places_of,
    replicate,
    summary,
)
from respeval.diagnostics.maps import response_maps
from respeval.diagnostics.quantities import NAMED_IN_ROLES
from respeval.diagnostics.regions import DEFAULT_BANDS, DiagnosticSettings, LeftOut
from respeval.diagnostics.registry import DIAGNOSTICS
from respeval.diagnostics.seasons import seasons_left_out
from respeval.diagnostics.totals import BASELINE
from respeval.diagnostics.uncertainty import STATISTICS
from respeval.diagnostics.zonal import (
    global_mean_series,
    zonal_response,
    zonal_response_of_maps,
)

__all__ = [
    "BASELINE",
    "DEFAULT_BANDS",
    "DIAGNOSTICS",
    "DIFFERENCE",
    "NAMED_IN_ROLES",
    "STATISTICS",
    "DiagnosticSettings",
    "Entry",
    "LeftOut",
    "Replicated",
    "catalog",
    "diagnose",
    "diagnose_reference",
    "differences",
    "global_mean_series",
    "left_out",
    "places_of",
    "replicate",
    "response_maps",
    "seasons_left_out",
    "summary",
    "zonal_response",
    "zonal_response_of_maps",
]
