"""The section of a gradient probe, from its folder."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from respeval.errors import InputError
from respeval.files.netcdf import open_saved
from respeval.files.text import parse_json, read_document
from respeval.loss_probe.files import PROFILE
from respeval.loss_probe.summary import told_of_batches
from respeval.presentation.report.figures import read_figures
from respeval.presentation.report.parts import Cell, Section, Table, interval_cells
from respeval.run_folder.names import SUMMARY, WARNINGS

_INTERVAL = "_interval"

_HEADINGS = ("arm", "statistic", "value", "95 % interval")

#: A table of more rows is folded.
_MANY = 40


def probe_section(folder: Path) -> Section:
    """What a probe's folder says of it. Raises InputError where a file of it can't be read."""
    with open_saved(folder / PROFILE) as profile:
        attributes = {str(key): str(value) for key, value in profile.attrs.items()}
        layers = profile.sizes.get("layer", 0)
        told = told_of_batches(profile.sizes.get("batch", 0))
    path = folder / SUMMARY
    try:
        numbers = parse_json(read_document(path, "summary"))
        rows = list(_rows(numbers))
    except InputError:
        raise
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path} can't be read ({error}); probe again") from None
    facts = [
        (key.replace("_", " ").capitalize(), attributes[key])
        for key in ("checkpoint", "data", "batches", "ensemble", "loss_terms", "loss_config")
        if key in attributes
    ]
    return Section(
        "probe",
        folder.resolve().name,
        [*facts, ("Spectral filters", str(layers))],
        [f"{told[:1].upper()}{told[1:]}."] if told else [],
        [Table("Statistics of every arm", _HEADINGS, rows, num_labels=2, folded=len(rows) > _MANY)],
        read_figures(folder),
        [(key.replace("_", " "), value) for key, value in attributes.items()],
        warnings=[str(text) for text in numbers.get(WARNINGS, [])],
    )


def _rows(numbers: dict[str, Any]) -> Iterator[list[Cell]]:
    """A row for every number, with its interval where there is one."""
    for key, number in numbers.items():
        if isinstance(number, list):
            continue
        arm, _, statistic = key.rpartition("/")
        low, high = numbers.get(f"{key}{_INTERVAL}") or (math.nan, math.nan)
        value = math.nan if number is None else float(number)
        ends = [math.nan if end is None else float(end) for end in (low, high)]
        yield [
            Cell.of_text(arm),
            Cell.of_text(statistic.replace("_", " "), statistic),
            *interval_cells(value, *ends),
        ]
