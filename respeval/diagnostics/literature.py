"""What studies of many models have published of quantities that a run has too: background, no judgement."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import xarray as xr

from respeval.diagnostics.numbers import Number, numbers_of, with_interval

_SUTTON_2007 = "Sutton, Dong and Gregory 2007, Geophys. Res. Lett. 34, L02701"
_TODA_2023 = "Toda, Yoshimori and Watanabe 2023, J. Climate"

#: What sets all of these studies apart from a run.
DIFFERS = (
    "the published models are coupled, and their ocean warms with CO2; here SST is prescribed, and it "
    "alone changes"
)

#: Perturbations in a line.
_MOST_OWN = 2


@dataclass(frozen=True)
class Published:
    """A number that is published of models, of the same quantity as a diagnostic.

    diagnostic: of `known_diagnostics`, without dimensions but the perturbation. what: the quantity in
    words. told: the number as it is published. low, high: the range, ends included; NaN where only
    about one number is told. models: a generation. of: what of them, and their experiment. source:
    study, year and journal.
    """

    diagnostic: str
    what: str
    told: str
    models: str
    of: str
    source: str
    low: float = math.nan
    high: float = math.nan

    @property
    def short_source(self) -> str:
        """The first author and the year."""
        return f"{self.source.split(',')[0]} et al. {self.year}"

    @property
    def year(self) -> str:
        return next(word for word in self.source.replace(",", "").split() if word.isdecimal())

    def relation(self, number: Number) -> str:
        """Where a number is beside the range: within, below or above; nothing where there is none.

        A number whose interval is unbounded is nowhere.
        """
        if math.isnan(self.low) or not math.isfinite(number.value) or math.isinf(number.low):
            return ""
        if number.value < self.low:
            return "below"
        return "above" if number.value > self.high else "within"


#: In the order in which they are told.
PUBLISHED = (
    Published(
        "global_land_ocean_warming_ratio",
        "global land/ocean ratio",
        "1.36 to 1.84",
        "CMIP3",
        "20 models under greenhouse gases",
        _SUTTON_2007,
        1.36,
        1.84,
    ),
    Published(
        "global_land_ocean_warming_ratio",
        "global land/ocean ratio",
        "about 1.5",
        "CMIP6",
        "mean of 15 models in 1pctCO2",
        _TODA_2023,
    ),
    Published(
        "low_latitude_land_ocean_warming_ratio",
        "land/ocean ratio 40° S to 40° N",
        "1.51 ± 0.13",
        "CMIP3",
        "models under greenhouse gases, mean and spread",
        _SUTTON_2007,
        1.38,
        1.64,
    ),
)


def published_beside(diagnostics: xr.Dataset) -> Iterator[tuple[Published, list[Number]]]:
    """What is published of the quantities that a run has, and its numbers by perturbation.

    diagnostics: as in diagnostics.nc. A quantity that is NaN in all perturbations is left out.
    """
    for entry in PUBLISHED:
        if entry.diagnostic in diagnostics:
            numbers = numbers_of(diagnostics, entry.diagnostic)
            if any(math.isfinite(number.value) for number in numbers):
                yield entry, numbers


def literature_line(diagnostics: xr.Dataset) -> str:
    """All of it as a line below a run's table; nothing where the run has none of the quantities."""
    told: dict[str, list[str]] = {}
    for entry, numbers in published_beside(diagnostics):
        own = ", ".join(
            f"{n.label} {with_interval(n.value, n.low, n.high)}" for n in numbers[:_MOST_OWN]
        )
        texts = told.setdefault(f"{entry.what} {own}", [])
        texts.append(f"{entry.told} ({entry.models}, {entry.short_source})")
    if not told:
        return ""
    parts = [f"{own}; published {', '.join(texts)}" for own, texts in told.items()]
    return f"{'. '.join(parts)}. {DIFFERS[:1].upper()}{DIFFERS[1:]}."
