"""The table of how a run agrees with a reference."""

from __future__ import annotations

from pathlib import Path

from respeval.diagnostics.agreement import compared_outputs
from respeval.files.netcdf import open_saved
from respeval.presentation.report.parts import Cell, Table
from respeval.run_folder.names import REFERENCE

#: Statistic of reference.nc -> the heading of its column.
_COLUMNS = {
    "bias": "bias",
    "bias_stderr": "its standard error",
    "rmse": "RMSE",
    "rmse_corrected": "without noise",
    "rmse_centred": "centred RMSE",
    "rmse_centred_corrected": "without noise",
    "pattern_correlation": "correlation",
    "pattern_correlation_corrected": "without noise",
}

_WITHIN = {1: "yes", 0: "no"}


def agreement_table(folder: Path) -> Table | None:
    """A row for every output and region of reference.nc; None where the run was held against nothing.

    Raises InputError, KeyError or ValueError where the file is not what `respeval diagnose` writes.
    """
    path = folder / REFERENCE
    if not path.exists():
        return None
    with open_saved(path) as opened:
        found = opened.load()
    rows = []
    for label in found["perturbation"].values:
        for name in compared_outputs(found):
            for region in found["region"].values:
                at = {"perturbation": label, "region": region}
                value = {key: float(found[f"{name}_{key}"].sel(at)) for key in _COLUMNS}
                within = _WITHIN.get(int(found[f"{name}_within_noise"].sel(at)), "")
                units = str(found[f"{name}_bias"].attrs.get("units", "1"))
                rows.append(
                    [
                        *(Cell.of_text(str(text)) for text in (name, region, label)),
                        *map(Cell.of_number, value.values()),
                        *map(Cell.of_text, (within, units)),
                    ]
                )
    headings = ["output", "where", "perturbation", *_COLUMNS.values(), "only noise", "units"]
    note = (
        f"Beside {found.attrs['reference']}, compared on {found.attrs['compared_on']}. Only noise: whether "
        "sampling noise alone explains the difference."
    )
    caption = "Agreement with the reference"
    return Table(caption, headings, rows, note, num_labels=2, folded=True)
