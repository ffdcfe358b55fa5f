"""One HTML page of runs, probes and comparisons, that needs nothing but itself."""

from respeval.report.contents import Contents, collect
from respeval.report.page import render

__all__ = ["Contents", "collect", "render"]
