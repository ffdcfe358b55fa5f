"""The world that models see: grids, transforms, dates, variables, records, and changes of SST.

What needs neither torch nor xarray can be taken from here; the other rooms by their own names.
"""

from respeval.fields.grid import Grid, in_band, in_box
from respeval.fields.perturbation import patch_pattern, uniform_pattern
from respeval.fields.variables import DerivedForcing, HybridLevels, Roles, Variable

__all__ = [
    "DerivedForcing",
    "Grid",
    "HybridLevels",
    "Roles",
    "Variable",
    "in_band",
    "in_box",
    "patch_pattern",
    "uniform_pattern",
]
