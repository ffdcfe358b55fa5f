"""The sentences of a headline about one run: true of its numbers whatever they are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import xarray as xr

from respeval.diagnostics.literature import DIFFERS, published_beside
from respeval.diagnostics.numbers import (
    RATIOS_KNOWN,
    Number,
    band_limits,
    decimals_of,
    heading,
    rounded,
    with_interval,
    with_limits,
)
from respeval.diagnostics.statistics.precision import (
    FEWEST_YEARS_TO_KNOW,
    KNOWN_TO,
    YEARS,
    relative_half_width,
)
from respeval.presentation.console.truth import LARGE_ERROR, SMALL_ERROR, SignedError
from respeval.presentation.report.parts import sentence
from respeval.presentation.report.told import Told

_LAND_OCEAN, _VERTICAL = RATIOS_KNOWN

#: Of the surface's and of the upper level's numbers.
_SURFACE, _UPPER = "tropical_ocean_surface_warming", "tropical_ocean_upper_warming"

#: Ratios that are named one by one where they are not known well.
_MOST_NAMED = 3

PRESCRIBED = (
    "SST is prescribed and sea ice stays as it is, so that what a coupled ocean would answer is not in "
    "these numbers"
)


def what_warms(run: Told, label: str) -> str:
    """Land beside ocean, the upper level beside the surface, and the column."""
    if not label:
        return _nothing(run)
    others = [other for other in run.labels if other != label]
    also = f" (the page has {' and '.join(others)} too)" if others else ""
    parts = [*_land_and_ocean(run, label), *_two_levels(run, label), *_column(run, label)]
    if not parts:
        return f"Under {label}{also} the run has no number of its main table."
    return " ".join([sentence(f"under {label}{also} {parts[0]}"), *map(sentence, parts[1:])])


def _nothing(run: Told) -> str:
    if run.left_out:
        return f"No response is left: {' and '.join(run.left_out)} blew up in every sample."
    return "Nothing was perturbed, so that there is no response to tell of."


def _land_and_ocean(run: Told, label: str) -> Iterator[str]:
    """What the bands say, and the numbers of the first that has both surfaces."""
    land, ocean = (run.numbers(f"{surface}_warming", label) for surface in ("land", "ocean"))
    ratios = run.numbers(_LAND_OCEAN, label)
    bands = [
        (own, beside, over)
        for own, beside, over in zip(land, ocean, ratios, strict=False)
        if math.isfinite(own.value) and math.isfinite(beside.value)
    ]
    if not bands:
        if land or ocean:
            yield "no band of latitude has both land and ocean"
        return
    found: dict[str, list[str]] = {}
    for own, beside, over in bands:
        found.setdefault(_verdict(own, beside, over), []).append(own.where)
    said = ", ".join(
        f"{verdict} in {listed(places) if len(places) < len(land) else _all_of(places)}"
        for verdict, places in found.items()
    )
    own, beside, over = bands[0]
    where = with_limits(own.where, band_limits(run.diagnostics))
    numbers = f"{where}: land {_change(own)}, ocean {_change(beside)}"
    ratio = f", ratio {shown(over)}" if math.isfinite(over.value) else ""
    yield f"{said} ({numbers}{ratio})"


def _verdict(land: Number, ocean: Number, over: Number) -> str:
    """What the intervals say of two surfaces."""
    if any(math.isnan(number.low) for number in (land, ocean, over)):
        return "no interval says whether land and ocean differ"
    if land.high < 0 and ocean.high < 0:
        return "land and ocean both cool"
    if land.low <= 0 or ocean.low <= 0:
        return "land and ocean do not both warm beyond their weather"
    if over.low > 1:
        return "land warms more than ocean"
    if over.high < 1:
        return "land warms less than ocean"
    return "land can't be told from ocean"


def _all_of(places: Sequence[str]) -> str:
    return places[0] if len(places) == 1 else f"all {len(places)} bands of latitude"


def _two_levels(run: Told, label: str) -> Iterator[str]:
    for upper, surface in zip(
        run.numbers(_UPPER, label), run.numbers(_SURFACE, label), strict=False
    ):
        if math.isfinite(upper.value) and math.isfinite(surface.value):
            ratio = [n for n in run.numbers(_VERTICAL, label) if math.isfinite(n.value)]
            times = f", ratio {shown(ratio[0])}" if ratio else ""
            yield (
                f"over the tropical ocean the upper level changes by {_change(upper)} where the surface "
                f"level changes by {_change(surface)}{times}"
            )


def _column(run: Told, label: str) -> Iterator[str]:
    levels = [n for n in run.numbers("column_warming", label) if math.isfinite(n.value)]
    if len(levels) > 1:
        most, least = (choose(levels, key=lambda n: n.value) for choose in (max, min))
        yield (
            f"global means of the column's {len(levels)} levels reach from {_change(least)} at "
            f"{least.where} to {_change(most)} at {most.where}"
        )


def beside_others(run: Told, label: str, literature: bool) -> str:
    """How it compares: with the truth, else with another reference, else with what is published."""
    if run.truth is not None and label:
        return _beside_truth(run, label)
    if run.agreement:
        return run.agreement
    told = list(_beside_published(run, label)) if literature and label else []
    if told:
        return " ".join([*map(sentence, told), sentence(DIFFERS)])
    more = ", and no published range is of a quantity that the run has" if literature else ""
    return sentence(f"there is no reference to hold the numbers against{more}")


def _beside_truth(run: Told, label: str) -> str:
    errors = run.errors(label)
    errors = [each for each in errors if not math.isnan(each[2].share)]
    shares = [abs(error.share) for _, _, error in errors]
    name = run.reference
    if not shares:
        return f"No main number under {label} can be held against the {name}."
    small, large = (sum(round(s, 9) <= most for s in shares) for most in (SMALL_ERROR, LARGE_ERROR))
    held = sum(error.mark == "✓" for _, _, error in errors)
    judged = sum(error.mark.strip() != "" for _, _, error in errors)
    parts = [
        f"of {len(shares)} main numbers under {label}, {small} err by no more than {100 * SMALL_ERROR:g} % "
        f"of the {name}, and {len(shares) - large} by more than {100 * LARGE_ERROR:g} %"
    ]
    if judged:
        parts[0] += f"; the intervals of {held} of {judged} hold it"
    named = [
        f"{in_words(run, name, number)} is off by {error.texts[0]} ({error.texts[1]})"
        for name, number, error in _first_of_each(errors)
    ]
    if named:
        parts.append(", ".join(named))
    parts.append(f"the largest error is {largest_error(run, label)}")
    return " ".join(map(sentence, parts))


def largest_error(run: Told, label: str) -> str:
    """That of the largest share of the truth among the main numbers, of which one has to be known."""
    known = [each for each in run.errors(label) if not math.isnan(each[2].share)]
    name, number, error = max(known, key=lambda each: abs(each[2].share))
    return f"that of {in_words(run, name, number)}, {error.texts[1]}"


def _first_of_each(
    errors: Sequence[tuple[str, Number, SignedError]],
) -> Iterator[tuple[str, Number, SignedError]]:
    """The first number of each of the ratios to know first."""
    for wanted in RATIOS_KNOWN:
        yield from [each for each in errors if each[0] == wanted][:1]


def in_words(run: Told, name: str, number: Number) -> str:
    """A number in words: the land/ocean ratio (tropics, 0–15°)."""
    what, place = heading(name, number.where)
    told = with_limits(place, band_limits(run.diagnostics))
    words = f"the {what.rpartition(', ')[0] or what}"
    return f"{words} ({told})" if told else words


def _beside_published(run: Told, label: str) -> Iterator[str]:
    for entry, numbers in published_beside(run.diagnostics.sel(perturbation=[label])):
        relation = entry.relation(numbers[0])
        place = f", {relation} that" if relation else ""
        yield (
            f"the {entry.what} is {shown(numbers[0])}; {entry.models} has {entry.told} "
            f"({entry.of}; {entry.short_source}){place}"
        )


def not_yet(run: Told, label: str) -> list[str]:
    """What the numbers can't say, a clause each."""
    clauses = [f"no result is of {other}, which blew up in every sample" for other in run.left_out]
    if run.num_quarantined:
        some = "sample" if run.num_quarantined == 1 else "samples"
        clauses.append(f"{run.num_quarantined} {some} blew up and left the means")
    if run.num_counted < run.num_samples:
        clauses.append(
            f"{run.num_samples} samples have become alike and count as {run.num_counted}"
        )
    if run.years < FEWEST_YEARS_TO_KNOW:
        length = f"{run.years:.1f} years" if run.years >= 1 else f"{365.25 * run.years:.0f} days"
        clauses.append(f"{length} are less than two whole years and do not show how years differ")
    if label:
        clauses += _ratios_not_known(run, label)
    return clauses


def _ratios_not_known(run: Told, label: str) -> Iterator[str]:
    """The ratios whose intervals are wide, or which have none."""
    wide: list[str] = []
    without = 0
    chosen = run.diagnostics.sel(perturbation=[label])
    for name in RATIOS_KNOWN:
        if name not in chosen or f"{name}_low" not in chosen:
            without += name in chosen
            continue
        widths = relative_half_width(chosen, name).values.ravel().tolist()
        left = _years_left(run, name, label, len(widths))
        for number, width, years in zip(run.numbers(name, label), widths, left, strict=True):
            if math.isfinite(number.value) and math.isnan(number.low):
                without += 1
            elif math.isinf(number.low):
                wide.append(f"{in_words(run, name, number)} has no bounded interval")
            elif width > KNOWN_TO:
                more = _needs(years)
                digits = ".2g" if width < 0.995 else ".0f"
                known = f"{100 * width:{digits}}" if width < 10 else "1000 or more"
                wide.append(f"{in_words(run, name, number)} is known to ± {known} % only{more}")
    yield from wide[:_MOST_NAMED]
    num_more = len(wide) - _MOST_NAMED
    if num_more > 0:
        some = "ratio is" if num_more == 1 else "ratios are"
        yield f"{num_more} further {some} not known to ± {100 * KNOWN_TO:g} % either"
    if without:
        yield "no interval can be had of its ratios"


def _needs(years: float) -> str:
    """How many years it takes, where that is known."""
    if not math.isfinite(years):
        return ""
    more = math.ceil(years)
    return f" (about {more} more year{'s' * (more > 1)} for ± {100 * KNOWN_TO:g} %)"


def _years_left(run: Told, name: str, label: str, num: int) -> list[float]:
    """Further years until the numbers of a ratio are known to 5 %; NaN where that is not known."""
    left = run.years_left
    if left is None or f"{name}_{YEARS}" not in left or label not in left["perturbation"].values:
        return [math.nan] * num
    values: list[float] = left[f"{name}_{YEARS}"].sel(perturbation=label).values.ravel().tolist()
    return values if len(values) == num else [math.nan] * num


def agreement_statement(found: xr.Dataset, name: str, label: str) -> str:
    """How the response of an output agrees with a reference; nothing where it was not compared.

    found: as in reference.nc.
    """
    if f"{name}_bias" not in found or label not in found["perturbation"].values:
        return ""
    own = found.sel(perturbation=label, region="globe")
    bias, error, rmse, correlation = (
        float(own[f"{name}_{key}"])
        for key in ("bias", "bias_stderr", "rmse", "pattern_correlation")
    )
    if math.isnan(bias):
        return ""
    decimals = decimals_of(bias, bias - 2 * error, bias + 2 * error)
    units = str(own[f"{name}_bias"].attrs.get("units", "1"))
    pattern = (
        "" if math.isnan(correlation) else f", with a pattern correlation of {correlation:.2f}"
    )
    return (
        f"Beside {found.attrs['reference']} the response of {name} to {label} is off by "
        f"{rounded(bias, decimals)} {units} in the global mean and by {rmse:.3g} {units} RMS{pattern}."
    )


def shown(number: Number) -> str:
    """A number with its interval."""
    return with_interval(number.value, number.low, number.high)


def _change(number: Number) -> str:
    """+5.75 K, with the digits that the interval leaves."""
    text = rounded(number.value, decimals_of(number.value, number.low, number.high))
    return f"{text if text.startswith('-') else f'+{text}'} K"


def listed(places: Sequence[str]) -> str:
    return places[0] if len(places) == 1 else f"{', '.join(places[:-1])} and {places[-1]}"


def joined(clauses: Mapping[str, Sequence[str]], num_runs: int) -> str:
    """Clauses, each with the runs that it is of, as one sentence."""
    told = [
        text if num_runs == 1 else f"in {few(runs, num_runs)} {text}"
        for text, runs in clauses.items()
    ]
    return sentence("; ".join(told))


def few(names: Sequence[str], num_runs: int) -> str:
    if len(names) == num_runs:
        return "all runs"
    return ", ".join(names) if len(names) <= _MOST_NAMED else f"{len(names)} runs"
