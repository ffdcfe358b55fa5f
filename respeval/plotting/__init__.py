"""Figures from the saved files: Datasets in, matplotlib figures out.

Figures are objects of their own (no pyplot, no global state), sized for a two-column page. Colours
are the colour-blind-safe set of Okabe and Ito (2008) for lines, and Crameri's `vik` (2018, MIT
licence), perceptually even and diverging, for maps.
"""

from respeval.plotting.agreement import agreement_with_reference
from respeval.plotting.compare import diagnostic_of_runs, runs_overview
from respeval.plotting.compared_maps import compared_maps
from respeval.plotting.cross_section import zonal_mean_warming
from respeval.plotting.files import Pictures
from respeval.plotting.gradient import gradient_profile
from respeval.plotting.maps import response_map
from respeval.plotting.modes import INDEX_FIGURES, index_series, teleconnection_maps
from respeval.plotting.running import running_ratios
from respeval.plotting.scalars import SCALAR_FIGURES, scalar_figure
from respeval.plotting.seasons import annual_cycle
from respeval.plotting.series import global_mean_timeseries
from respeval.plotting.style import save
from respeval.plotting.warming import column_warming, land_ocean_warming

__all__ = [
    "INDEX_FIGURES",
    "SCALAR_FIGURES",
    "Pictures",
    "agreement_with_reference",
    "annual_cycle",
    "column_warming",
    "compared_maps",
    "diagnostic_of_runs",
    "global_mean_timeseries",
    "gradient_profile",
    "index_series",
    "land_ocean_warming",
    "response_map",
    "running_ratios",
    "runs_overview",
    "save",
    "scalar_figure",
    "teleconnection_maps",
    "zonal_mean_warming",
]
