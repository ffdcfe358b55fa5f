"""Names of the files in a run's folder."""

from __future__ import annotations

MANIFEST = "manifest.json"
CASE = "case.yaml"
GROUP_MEANS = "group_means.nc"
ZONAL = "zonal.nc"
RESPONSE = "response.nc"
RUNNING = "running.nc"
DIAGNOSTICS_FILE = "diagnostics.nc"
REFERENCE = "reference.nc"
INDICES = "indices.nc"
REGRESSIONS = "regressions.nc"
SUMMARY = "summary.json"
#: Key of it, beside its numbers: a list of texts, where there are any.
WARNINGS = "warnings"
FIGURES = "figures"
SEGMENTS = "segments"
RESTART = "restart"

#: In a segment's file: endings of the names of the means over circles of latitude, and of the members'.
ZONAL_SUFFIX = "_zonal"
MEMBER_SUFFIX = "_members"
