"""Saved means to answers: one run, a run beside a reference, many runs beside each other."""

from respeval.analysis.analyse import Results, analyse
from respeval.analysis.comparison import Wishes, compare_runs, diagnostics_of
from respeval.analysis.comparison_files import write_comparison
from respeval.analysis.finished_runs import Run, find_runs
from respeval.analysis.reference import compare_with, summary_of_reference

__all__ = [
    "Results",
    "Run",
    "Wishes",
    "analyse",
    "compare_runs",
    "compare_with",
    "diagnostics_of",
    "find_runs",
    "summary_of_reference",
    "write_comparison",
]
