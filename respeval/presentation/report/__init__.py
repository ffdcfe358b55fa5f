"""One HTML page of runs, probes and comparisons, that needs nothing but itself."""

from __future__ import annotations

from respeval.presentation.report.contents import Contents, collect
from respeval.presentation.report.page import render

__all__ = ["Contents", "collect", "render"]
