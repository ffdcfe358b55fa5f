"""Many runs beside each other: which they are, their diagnostics, and what differs from the first."""

from respeval.compare.comparison import Wishes, compare_runs, diagnostics_of
from respeval.compare.files import write_comparison
from respeval.compare.runs import Run, find_runs

__all__ = [
    "Run",
    "Wishes",
    "compare_runs",
    "diagnostics_of",
    "find_runs",
    "write_comparison",
]
