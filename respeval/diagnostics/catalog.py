"""What every diagnostic is, as its function's docstring says it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from respeval.diagnostics.formulas.registry import DIAGNOSTICS, TRENDS
from respeval.diagnostics.seasons import SEASONAL, seasonal_name

_FIRST_LINE = re.compile(r"(?P<what>.+), (?P<units>[^,]+), \((?P<dims>[^)]*)\)\.")


@dataclass(frozen=True)
class Entry:
    """One diagnostic: its name in diagnostics.nc, what it is, its units and dimensions, its formula
    and the paper that it is from."""

    name: str
    what: str
    units: str
    dims: str
    formula: str
    source: str

    @classmethod
    def of(cls, name: str, function: Callable[..., object]) -> Entry:
        """Read a docstring of the form that registry.py tells. Raises ValueError where it has another."""
        first, *paragraphs = (inspect.getdoc(function) or "").split("\n\n")
        head = _FIRST_LINE.fullmatch(first)
        if head is None or len(paragraphs) < 2 or not paragraphs[-1].startswith("Source: "):
            raise ValueError(f"the docstring of {name} has no first line, formula and source")
        formula, source = (" ".join(text.split()) for text in (paragraphs[0], paragraphs[-1]))
        source = source.removeprefix("Source: ").removesuffix(".")
        return cls(name, head["what"], head["units"], head["dims"], formula, source)


#: The means of every output stand beside the diagnostics of `DIAGNOSTICS`.
_OUTPUT_MEANS = (
    Entry(
        "OUTPUT_mean",
        "Mean response of every output",
        "the output's",
        "perturbation, surface",
        "Σ area·Δx / Σ area over all cells, over land and over ocean",
        "",
    ),
    Entry(
        "OUTPUT_per_K",
        "Mean response of every output per kelvin of global-mean near-surface warming",
        "the output's K-1",
        "perturbation, surface",
        "`OUTPUT_mean` / global-mean response of near-surface temperature",
        "",
    ),
    Entry(
        "OUTPUT_zonal_mean",
        "Zonal-mean response of every output",
        "the output's",
        "perturbation, surface, lat",
        "mean of Δx over the cells of a latitude circle: all, land, ocean",
        "",
    ),
)


def catalog() -> tuple[Entry, ...]:
    """Every diagnostic of diagnostics.nc, in its order."""
    functions = {**DIAGNOSTICS, **TRENDS}
    entries = {name: Entry.of(name, function) for name, function in functions.items()}
    by_season = [_by_season(entries[name], dim) for dim in ("season", "month") for name in SEASONAL]
    return (*entries.values(), *by_season, *_OUTPUT_MEANS)


def _by_season(entry: Entry, dim: str) -> Entry:
    """A diagnostic of the whole year, told by season or by month."""
    return replace(
        entry,
        name=seasonal_name(entry.name, dim),
        what=f"{entry.what}, by {dim}",
        dims=entry.dims.replace("band", f"{dim}, band"),
        formula=f"`{entry.name}` of the steps in a {dim}; segments must lie within calendar months",
    )
