"""A run's response held against a reference: a file of responses, or another run's folder."""

from respeval.case.case import Sources, check_sources
from respeval.diagnostics.agreement import REGIONS, compared_outputs
from respeval.reference.comparison import compare_with, summary_of_reference

__all__ = [
    "REGIONS",
    "Sources",
    "check_sources",
    "compare_with",
    "compared_outputs",
    "summary_of_reference",
]
