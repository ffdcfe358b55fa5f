"""The top of a page: what its numbers say, one picture, and the warnings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from respeval.diagnostics.numbers import RATIOS_KNOWN, Number, band_limits, heading, with_limits
from respeval.presentation.console.truth import SMALL_ERROR
from respeval.presentation.report.figures import is_row_of_maps
from respeval.presentation.report.parts import Figure, Headline, Section, sentence
from respeval.presentation.report.statements import (
    PRESCRIBED,
    beside_others,
    few,
    joined,
    largest_error,
    listed,
    not_yet,
    shown,
    what_warms,
)
from respeval.presentation.report.told import Told, chosen_label

#: Headings of the statements.
WARMS, BESIDE, NOT_YET = "What warms", "How it compares", "What can't be said yet"

#: Runs that are named one by one.
_MOST_RUNS = 4

#: The picture of a page, the best first: a figure of this name.
_PICTURES = ("response_map", "comparison", "land_ocean_warming", "gradient_profile")


def headline_of(sections: Sequence[Section], runs: Sequence[Told], literature: bool) -> Headline:
    """What a page of these sections opens with.

    runs: what is known of the runs, of all of the page or of one comparison; none on a page of probes.
    literature: whether to tell what is published where there is no reference.
    """
    several = sum(section.kind == "run" for section in sections) > 1
    warnings = [
        f"{section.title}: {text}" if several else text
        for section in sections
        if section.kind == "run"
        for text in section.warnings
    ]
    picture = _picture(sections, chosen_label(runs) if runs else "")
    return Headline(tuple(_statements(sections, runs, literature)), picture, warnings)


def _statements(
    sections: Sequence[Section], runs: Sequence[Told], literature: bool
) -> Iterator[tuple[str, str]]:
    if not runs:
        probes = sum(section.kind == "probe" for section in sections)
        if probes:
            what = "a gradient probe" if probes == 1 else f"{probes} gradient probes"
            yield (
                WARMS,
                f"Nothing is told of warming: the page is of {what}, which says how the gradient of "
                "the loss is spread over degrees, and of no run.",
            )
        return
    label = chosen_label(runs)
    if len(runs) == 1:
        yield WARMS, what_warms(runs[0], label)
        yield BESIDE, beside_others(runs[0], label, literature)
    elif not label:
        yield WARMS, "The runs share no perturbation: what each of them says is in its own section."
    else:
        yield WARMS, _what_warms_in_all(runs, label)
        yield BESIDE, _beside_in_all(runs, label, literature)
    clauses: dict[str, list[str]] = {}
    for run in runs:
        for clause in not_yet(run, label):
            clauses.setdefault(clause, []).append(run.name)
    told = [joined(clauses, len(runs))] if clauses else []
    yield NOT_YET, " ".join([*told, sentence(PRESCRIBED)])


def _what_warms_in_all(runs: Sequence[Told], label: str) -> str:
    """The first number of each of the ratios to know first, run by run."""
    parts = []
    for name in RATIOS_KNOWN:
        found = [(run, own[0]) for run in runs if (own := _known(run, name, label))]
        if not found:
            continue
        first, number = found[0]
        what, place = heading(name, number.where)
        where = with_limits(place, band_limits(first.diagnostics))
        parts.append(f"the {what} ({where}) is {_in_runs(found)}")
    if not parts:
        return f"Under {label} no run has a ratio of its main table."
    return sentence(f"under {label} {'; '.join(parts)}")


def _known(run: Told, name: str, label: str) -> list[Number]:
    return [number for number in run.numbers(name, label) if math.isfinite(number.value)]


def _in_runs(found: Sequence[tuple[Told, Number]]) -> str:
    if len(found) <= _MOST_RUNS:
        return listed([f"{shown(number)} in {run.name}" for run, number in found])
    least, most = (choose(found, key=lambda each: each[1].value) for choose in (min, max))
    if least[0] is most[0]:
        return f"{shown(least[1])} in all {len(found)} runs"
    return (
        f"from {shown(least[1])} in {least[0].name} to {shown(most[1])} in {most[0].name}, of "
        f"{len(found)} runs"
    )


def _beside_in_all(runs: Sequence[Told], label: str, literature: bool) -> str:
    """How many main numbers of each run are near the truth; of runs without one how each compares."""
    parts = []
    for run in runs:
        shares = [abs(error.share) for _, _, error in run.errors(label)]
        known = [share for share in shares if not math.isnan(share)]
        if known:
            small = sum(round(share, 9) <= SMALL_ERROR for share in known)
            parts.append(
                f"in {run.name} {small} of {len(known)} main numbers under {label} lie within "
                f"{100 * SMALL_ERROR:g} % of the {run.reference}, and the largest error is "
                f"{largest_error(run, label)}"
            )
    if len(parts) > _MOST_RUNS:
        more = len(parts) - _MOST_RUNS
        parts = [*parts[:_MOST_RUNS], f"the tables below tell of {more} more"]
    if parts:
        return sentence("; ".join(parts))
    told: dict[str, list[str]] = {}
    for run in runs:
        told.setdefault(beside_others(run, label, literature), []).append(run.name)
    listed_runs = [f"in {few(names, len(runs))}: {text}" for text, names in told.items()]
    return " ".join(map(sentence, listed_runs[:_MOST_RUNS]))


def _picture(sections: Sequence[Section], label: str) -> Figure | None:
    """The best picture of the page's first section that has one: maps of the perturbation beside each
    other, or else one of `_PICTURES`."""
    for section in sections:
        maps = [f for f in section.figures if is_row_of_maps(f.name, label)]
        named = [f for name in _PICTURES for f in section.figures if f.name == name]
        if maps or named:
            return [*maps, *named][0]
    return None
