"""The table of what is published of models, as background."""

from __future__ import annotations

import xarray as xr

from respeval.diagnostics.literature import DIFFERS, published_beside
from respeval.presentation.report.parts import Cell, Table, interval_cells, sentence


def published_table(diagnostics: xr.Dataset) -> Table:
    """A row for every published number of a quantity that the run has; no row where there is none."""
    labels = [str(label) for label in diagnostics["perturbation"].values]
    headings = ["quantity", "published", "models", "study"]
    for label in labels:
        headings += [label, "95 % interval"]
    rows = []
    for entry, numbers in published_beside(diagnostics):
        texts = (entry.what, entry.told, f"{entry.models}: {entry.of}", entry.source)
        cells = list(map(Cell.of_text, texts))
        for number in numbers:
            cells += interval_cells(number.value, number.low, number.high)
        rows.append(cells)
    return Table("What is published of models, as background", headings, rows, sentence(DIFFERS))
