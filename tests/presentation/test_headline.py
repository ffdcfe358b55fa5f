"""The sentences at the top of a report: true of the numbers, whatever these are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import xarray as xr

from respeval.diagnostics.numbers import RATIOS_KNOWN
from respeval.presentation.report.headline import BESIDE, NOT_YET, WARMS, headline_of
from respeval.presentation.report.parts import Figure, Section, sentence
from respeval.presentation.report.statements import PRESCRIBED, agreement_statement
from respeval.presentation.report.told import Told, chosen_label, told_of_comparison

BANDS = ("tropics", "poles")
LAND_OCEAN, VERTICAL = RATIOS_KNOWN
GLOBAL = "global_land_ocean_warming_ratio"

Numbers = Sequence[tuple[float, float, float]]

NOTHING = (math.nan, math.nan, math.nan)


def diagnostics(
    numbers: Mapping[str, Numbers], labels: Sequence[str] = ("p4K",), *, intervals: bool = True
) -> xr.Dataset:
    """Numbers as (value, low, high), those of two places by band, alike under all perturbations."""
    found: dict[str, Any] = {}
    for name, own in numbers.items():
        by_band = len(own) > 1
        dims = ("perturbation", "band") if by_band else ("perturbation",)
        for end, column in zip(("", "_low", "_high"), zip(*own, strict=True), strict=True):
            if intervals or not end:
                shape = (len(labels), len(column))[: len(dims)]
                found[f"{name}{end}"] = (
                    dims,
                    np.broadcast_to(column if by_band else column[0], shape),
                )
    coords = {
        "perturbation": list(labels),
        "band": list(BANDS),
        "band_low": ("band", [0.0, 60.0]),
        "band_high": ("band", [30.0, 90.0]),
    }
    return xr.Dataset(found, coords)


WARM: Mapping[str, Numbers] = {
    "land_warming": [(6.0, 5.8, 6.2), (9.0, 8.0, 10.0)],
    "ocean_warming": [(4.0, 3.9, 4.1), (4.0, 3.0, 5.0)],
    LAND_OCEAN: [(1.5, 1.45, 1.55), (2.25, 1.9, 2.6)],
    "tropical_ocean_surface_warming": [(4.0, 3.9, 4.1)],
    "tropical_ocean_upper_warming": [(8.0, 7.8, 8.2)],
    VERTICAL: [(2.0, 1.95, 2.05)],
    GLOBAL: [(1.6, 1.5, 1.7)],
}


def statements(
    *runs: Told, sections: Sequence[Section] = (), literature: bool = True
) -> dict[str, str]:
    return dict(headline_of(sections, runs, literature).statements)


def of(numbers: Mapping[str, Numbers], **given: Any) -> dict[str, str]:
    """The statements on one run with these numbers in the place of those of `WARM`."""
    return statements(Told("run", diagnostics({**WARM, **numbers}), **given))


def test_what_warms_is_said_with_numbers_and_intervals() -> None:
    assert of({})[WARMS] == (
        "Under p4K land warms more than ocean in all 2 bands of latitude (tropics, 0–30°: land +6.00 K, "
        "ocean +4.00 K, ratio 1.50 [1.45, 1.55]). Over the tropical ocean the upper level changes by "
        "+8.00 K where the surface level changes by +4.00 K, ratio 2.00 [1.95, 2.05]."
    )


@pytest.mark.parametrize(
    ("land", "ocean", "ratio", "said"),
    [
        ((3.0, 2.9, 3.1), (4.0, 3.9, 4.1), (0.75, 0.7, 0.8), "land warms less than ocean"),
        ((4.1, 3.6, 4.6), (4.0, 3.9, 4.1), (1.02, 0.9, 1.15), "land can't be told from ocean"),
        (
            (0.01, -0.2, 0.2),
            (0.02, -0.1, 0.1),
            (0.5, -math.inf, math.inf),
            "land and ocean do not both warm beyond their weather",
        ),
        (
            (-3.0, -3.1, -2.9),
            (-2.0, -2.1, -1.9),
            (1.5, 1.4, 1.6),
            "land and ocean both cool",
        ),
        (
            (6.0, math.nan, math.nan),
            (4.0, math.nan, math.nan),
            (1.5, math.nan, math.nan),
            "no interval says whether land and ocean differ",
        ),
    ],
)
def test_the_verdict_is_what_the_intervals_allow(
    land: tuple[float, ...], ocean: tuple[float, ...], ratio: tuple[float, ...], said: str
) -> None:
    both = {"land_warming": land, "ocean_warming": ocean, LAND_OCEAN: ratio}
    alike = of({name: [own, own] for name, own in both.items()})[WARMS]
    assert alike.startswith(f"Under p4K {said} in all 2 bands of latitude (tropics")
    mixed = of({name: [WARM[name][0], own] for name, own in both.items()})[WARMS]
    assert mixed.startswith(
        f"Under p4K land warms more than ocean in tropics, {said} in poles (tropics"
    )
    told = alike + mixed
    assert "land warms more" not in alike
    assert "nan" not in told
    assert "inf" not in told


def test_bands_without_land_are_not_spoken_of() -> None:
    lacking = {name: [WARM[name][0], NOTHING] for name in ("land_warming", LAND_OCEAN)}
    assert "more than ocean in tropics (tropics" in of(lacking)[WARMS]
    none = {name: [NOTHING, NOTHING] for name in ("land_warming", LAND_OCEAN)}
    assert of(none)[WARMS].startswith("Under p4K no band of latitude has both land and ocean. Over")


def test_without_perturbation_there_is_no_response() -> None:
    empty = diagnostics(WARM, ())
    assert statements(Told("run", empty))[WARMS].startswith("Nothing was perturbed")
    gone = statements(Told("run", empty, left_out=("p4K",)))
    assert gone[WARMS] == "No response is left: p4K blew up in every sample."
    assert gone[NOT_YET].startswith("No result is of p4K, which blew up in every sample. SST")
    bare = statements(Told("run", xr.Dataset(coords={"perturbation": ["p4K"]})))
    assert bare[WARMS] == "Under p4K the run has no number of its main table."


def test_the_perturbation_is_the_usual_or_the_largest_uniform_one() -> None:
    def run(*labels: str, **amplitudes: float) -> Told:
        return Told("run", diagnostics(WARM, labels), amplitudes_K=amplitudes)

    assert chosen_label([run("p2K", "p4K", "p8K", p2K=2, p4K=4, p8K=8)]) == "p4K"
    assert chosen_label([run("patch", "p2K", "m6K", p2K=2, m6K=-6)]) == "m6K"
    assert chosen_label([run("patch", "pattern")]) == "patch"
    assert chosen_label([run("p2K", "p4K", p2K=2), run("p2K")]) == "p2K"
    assert chosen_label([run("p4K"), run("p2K")]) == ""
    several = statements(run("p2K", "p4K"))
    assert several[WARMS].startswith("Under p4K (the page has p2K too) land")
    apart = statements(run("p4K"), run("p2K"))
    assert apart[WARMS].startswith("The runs share no perturbation")


def test_the_truth_is_held_against_every_main_number() -> None:
    truth = diagnostics(
        {**WARM, "land_warming": [(6.0, 0, 0), (7.5, 0, 0)], VERTICAL: [(2.2, 0, 0)]},
        intervals=False,
    )
    told = of({}, truth=truth)[BESIDE]
    # Of 9 numbers two are off: 9 for 7.5 by 20 %, 2.0 for 2.2 by 9.1 %.
    assert told.startswith(
        "Of 9 main numbers under p4K, 7 err by no more than 5 % of the truth, and 1 by more than 15 %; "
        "the intervals of 7 of 9 hold it."
    )
    assert "the vertical ratio (tropical ocean) is off by -0.20 (-9.1 %)" in told
    assert told.endswith("The largest error is that of the land warming (poles, 60–90°), +20 %.")
    nothing = diagnostics({name: [NOTHING] * len(own) for name, own in WARM.items()})
    assert of({}, truth=nothing)[BESIDE] == (
        "No main number under p4K can be held against the truth."
    )


@pytest.mark.parametrize(
    ("number", "relation"),
    [
        ((1.6, 1.5, 1.7), "within that"),
        ((1.2, 1.1, 1.3), "below that"),
        ((1.9, 1.8, 2.0), "above that"),
        ((1.6, -math.inf, math.inf), ""),
    ],
)
def test_published_ranges_are_told_where_there_is_no_reference(
    number: tuple[float, float, float], relation: str
) -> None:
    told = of({GLOBAL: [number]})[BESIDE]
    assert "1.36 to 1.84" in told
    assert "Sutton et al. 2007" in told
    assert "coupled" in told
    assert told.count(" that. ") == bool(relation)
    assert relation in told
    run = Told("run", diagnostics({**WARM, GLOBAL: [number]}))
    assert statements(run, literature=False)[BESIDE] == (
        "There is no reference to hold the numbers against."
    )
    known = of({GLOBAL: [number]}, agreement="Beside a file it is off by nothing.")[BESIDE]
    assert known == "Beside a file it is off by nothing."


def test_what_can_not_be_said_is_counted() -> None:
    assert of({})[NOT_YET] == (
        "The land/ocean ratio (poles, 60–90°) is known to ± 16 % only. " + sentence(PRESCRIBED)
    )
    left = xr.Dataset({f"{LAND_OCEAN}_years_to_5_percent": (("perturbation", "band"), [[0, 11.2]])})
    left["perturbation"] = ["p4K"]
    told = of(
        {VERTICAL: [(2.0, -math.inf, math.inf)]},
        years=1.5,
        years_left=left,
        num_samples=4,
        num_counted=1,
        num_quarantined=1,
        left_out=("p8K",),
    )[NOT_YET]
    for clause in (
        "o result is of p8K, which blew up in every sample",
        "1 sample blew up and left the means",
        "4 samples have become alike and count as 1",
        "1.5 years are less than two whole years",
        "± 16 % only (about 12 more years for ± 5 %)",
        "the vertical ratio (tropical ocean) has no bounded interval",
    ):
        assert clause in told
    alone = statements(Told("run", diagnostics(WARM, intervals=False)))
    assert "no interval can be had of its ratios" in alone[NOT_YET].lower()


def test_several_runs_stand_in_one_sentence() -> None:
    cold = {**WARM, LAND_OCEAN: [(1.1, 1.05, 1.15), (2.0, 1.9, 2.1)]}
    truth = diagnostics(WARM, intervals=False)
    good, bad = (Told(n, diagnostics(d), truth) for n, d in (("good", WARM), ("bad", cold)))
    told = statements(good, bad)
    assert told[WARMS].startswith(
        "Under p4K the land/ocean ratio (tropics, 0–30°) is 1.50 [1.45, 1.55] in good and 1.10 "
        "[1.05, 1.15] in bad;"
    )
    assert "in good 9 of 9 main numbers" in told[BESIDE].lower()
    assert "in bad 7 of 9 main numbers" in told[BESIDE]
    assert told[BESIDE].endswith("that of the land/ocean ratio (tropics, 0–30°), -27 %.")
    assert told[NOT_YET].startswith(
        "In good the land/ocean ratio (poles, 60–90°) is known to ± 16 %"
    )
    many = [Told(f"run {i}", diagnostics(WARM)) for i in range(5)] + [bad]
    assert (
        "is from 1.10 [1.05, 1.15] in bad to 1.50 [1.45, 1.55] in run 0, of 6 runs"
        in (statements(*many)[WARMS])
    )


def test_a_comparison_tells_of_its_runs_and_its_reference() -> None:
    runs = xr.concat([diagnostics(WARM)] * 2, xr.Variable("run", ["a", "b"]))
    known = diagnostics(WARM, intervals=False)[[LAND_OCEAN]]
    compared = runs.assign({f"{LAND_OCEAN}_reference": known[LAND_OCEAN]})
    told = told_of_comparison(compared.assign_attrs(reference_name="truth of 2026"))
    assert [run.name for run in told] == ["a", "b"]
    assert (
        "In a 2 of 2 main numbers under p4K lie within 5 % of the truth of 2026"
        in (statements(*told)[BESIDE])
    )
    assert told_of_comparison(runs)[0].truth is None


def test_probes_alone_say_that_there_is_no_run() -> None:
    probe = Section("probe", "probe")
    told = statements(sections=[probe, probe])
    assert list(told) == [WARMS]
    assert "2 gradient probes" in told[WARMS]
    assert statements() == {}


def test_the_picture_and_the_warnings_are_the_runs() -> None:
    def figure(name: str) -> Figure:
        return Figure(name, name, "", b"", (1, 1))

    own = Section("run", "a", figures=[figure("water"), figure("response_map")], warnings=["short"])
    headline = headline_of([own], [Told("a", diagnostics(WARM))], True)
    assert headline.picture is own.figures[1]
    assert headline.warnings == ["short"]
    names = ("comparison", "map_T_p2K_row", "map_T_p4K", "map_T_p4K_row")
    together = Section("comparison", "c", figures=[figure(name) for name in names])
    several = headline_of([together, own, own], [Told("a", diagnostics(WARM))] * 2, True)
    assert several.picture is together.figures[3]
    assert several.warnings == ["a: short", "a: short"]


def test_agreement_is_told_of_the_globe() -> None:
    values = {"bias": -0.48, "bias_stderr": 0.01, "rmse": 1.43, "pattern_correlation": math.nan}
    found = xr.Dataset(
        {f"T_{key}": (("perturbation", "region"), [[value]]) for key, value in values.items()},
        {"perturbation": ["p4K"], "region": ["globe"]},
        {"reference": "era.nc"},
    )
    found["T_bias"].attrs["units"] = "K"
    assert agreement_statement(found, "T", "p4K") == (
        "Beside era.nc the response of T to p4K is off by -0.480 K in the global mean and by 1.43 K RMS."
    )
    assert agreement_statement(found, "T", "p2K") == agreement_statement(found, "U", "p4K") == ""
