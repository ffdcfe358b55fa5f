"""The tables of many checkpoints and of a reference: no digits that an error does not leave."""

from __future__ import annotations

import io
import math
from pathlib import Path

import xarray as xr
from rich.console import Console
from rich.table import Table

from respeval.diagnostics import AGREEMENT
from respeval.diagnostics.agreement import REGIONS
from respeval.presentation.console.reference import agreement_tables
from respeval.presentation.console.sweep import sweep_tables
from respeval.run_folder.sweep import Entry, Status


def shown(table: Table | str) -> str:
    text = io.StringIO()
    Console(file=text, width=160).print(table)
    return text.getvalue()


def test_a_ratio_has_the_digits_of_its_error_and_no_error_that_is_not_known() -> None:
    entries = [
        Entry(Path(f"{name}.pt"), Path("sweep") / name, Status.FINISHED) for name in ("a", "b", "c")
    ]
    numbers = [
        {"p4K vertical": (0.57432, 0.00041)},
        {"p4K vertical": (1.42, None)},
        {"p4K vertical": (None, None)},
    ]
    rows = "".join(map(shown, sweep_tables(Path("sweep"), entries, numbers, 160))).splitlines()
    cells = [row.split("│")[-2].strip() for row in rows if ".pt" in row]
    assert cells == ["0.5743 ± 0.0004", "1.42", "-"]


def test_a_bias_of_one_year_has_no_error() -> None:
    def agreement(stderr: float) -> xr.Dataset:
        values = {f"T_{statistic}": 0.5 for statistic in AGREEMENT}
        values |= {"T_bias": 0.57432, "T_bias_stderr": stderr}
        place = {"perturbation": ["p4K"], "region": list(REGIONS)}
        shape = (1, len(REGIONS))
        found = xr.Dataset(
            {
                name: (("perturbation", "region"), [[value] * shape[1]])
                for name, value in values.items()
            },
            place,
        )
        return found.assign_attrs(reference="truth", compared_on="their grid")

    known, unknown = (
        "".join(map(shown, agreement_tables(agreement(e), None))) for e in (4e-4, math.nan)
    )
    assert "0.5743 ± 0.0004" in known
    assert "± -" not in unknown
    assert "0.574│" in unknown
