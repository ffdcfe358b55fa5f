"""Saved means to response, diagnostics and uncertainty: xarray in, xarray out; no model."""

from respeval.diagnostics.agreement import AGREEMENT
from respeval.diagnostics.catalog import catalog
from respeval.diagnostics.differences import DIFFERENCE, differences
from respeval.diagnostics.evaluate import (
    NUM_SAMPLES_COUNTED,
    Replicated,
    diagnose,
    diagnose_reference,
    empty_response,
    left_out,
    read_by_diagnostics,
    replicate,
)
from respeval.diagnostics.formulas.diagnostic import (
    THE_OUTPUTS,
    Diagnostic,
    Entry,
    Ratio,
    Row,
)
from respeval.diagnostics.formulas.energy import fluxes_of_forcing
from respeval.diagnostics.formulas.quantities import NAMED_IN_ROLES, output_with
from respeval.diagnostics.formulas.regions import (
    DiagnosticSettings,
    LeftOut,
    global_warming,
    in_baseline,
    near_surface,
    output_of_role,
    ratio,
    region_mean,
)
from respeval.diagnostics.formulas.registry import known_diagnostics, known_trends
from respeval.diagnostics.indices import (
    BUILT_IN_BOXES,
    Indices,
    box_means,
    box_weights,
    indices_of,
    names_of_indices,
    surface_temperature_of,
    why_no_sst,
)
from respeval.diagnostics.levels import with_hybrid_levels
from respeval.diagnostics.maps import response_maps
from respeval.diagnostics.numbers import RATIOS_KNOWN, places_of, summary, years_summary
from respeval.diagnostics.running import main_diagnostics, num_units, running
from respeval.diagnostics.seasons import seasons_left_out, starts_after_first
from respeval.diagnostics.statistics.periods import length_years, with_period
from respeval.diagnostics.statistics.precision import (
    FEWEST_YEARS_TO_KNOW,
    KNOWN_TO,
    YEARS,
    relative_half_width,
    years_left,
)
from respeval.diagnostics.statistics.totals import ends_year, year_blocks
from respeval.diagnostics.statistics.uncertainty import STATISTICS
from respeval.diagnostics.targets import Target, check_targets, parse_targets
from respeval.diagnostics.teleconnections import REGRESSIONS, regression_maps, why_no_regressions
from respeval.diagnostics.zonal import global_mean_series, zonal_response, zonal_response_of_maps
from respeval.fields.grid import DEFAULT_BANDS
from respeval.fields.perturbation import BASELINE

__all__ = [
    "AGREEMENT",
    "BASELINE",
    "BUILT_IN_BOXES",
    "DEFAULT_BANDS",
    "DIFFERENCE",
    "FEWEST_YEARS_TO_KNOW",
    "KNOWN_TO",
    "NAMED_IN_ROLES",
    "NUM_SAMPLES_COUNTED",
    "RATIOS_KNOWN",
    "REGRESSIONS",
    "STATISTICS",
    "THE_OUTPUTS",
    "YEARS",
    "Diagnostic",
    "DiagnosticSettings",
    "Entry",
    "Indices",
    "LeftOut",
    "Ratio",
    "Replicated",
    "Row",
    "Target",
    "box_means",
    "box_weights",
    "catalog",
    "check_targets",
    "diagnose",
    "diagnose_reference",
    "differences",
    "empty_response",
    "ends_year",
    "fluxes_of_forcing",
    "global_mean_series",
    "global_warming",
    "in_baseline",
    "indices_of",
    "known_diagnostics",
    "known_trends",
    "left_out",
    "length_years",
    "main_diagnostics",
    "names_of_indices",
    "near_surface",
    "num_units",
    "output_of_role",
    "output_with",
    "parse_targets",
    "places_of",
    "ratio",
    "read_by_diagnostics",
    "region_mean",
    "regression_maps",
    "relative_half_width",
    "replicate",
    "response_maps",
    "running",
    "seasons_left_out",
    "starts_after_first",
    "summary",
    "surface_temperature_of",
    "why_no_regressions",
    "why_no_sst",
    "with_hybrid_levels",
    "with_period",
    "year_blocks",
    "years_left",
    "years_summary",
    "zonal_response",
    "zonal_response_of_maps",
]
