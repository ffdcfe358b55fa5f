"""Submissions to AIMIP phase 1: from a run's members to CMIP files, and what a submission lacks."""

from respeval.aimip.check import Report, check_submission, parse_period
from respeval.aimip.export import Exported, Wish, export_run
from respeval.aimip.request import EXPERIMENTS
from respeval.aimip.sources import parse_map

__all__ = [
    "EXPERIMENTS",
    "Exported",
    "Report",
    "Wish",
    "check_submission",
    "export_run",
    "parse_map",
    "parse_period",
]
