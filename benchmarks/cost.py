"""Simulated years, and seconds, until the tropical land/ocean warming ratio is known to 5 %, by what the two
climates of a pair have in common.

    make bench BENCH=cost
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from benchmarks.cost_runs import LONGEST_YEARS, SPINUP_YEARS, AceStudy, Asked, PlanetStudy, Study
from benchmarks.frame import Benchmark, Options, Outcome, Table
from benchmarks.pairing import (
    BAND,
    MONTHS,
    NAME,
    Stops,
    by_year,
    correlation_of_the_pair,
    split,
    spread_of_a_year,
    stops,
    stops_by_hand,
    strangers,
    tropical_means,
)
from respeval.analysis.folder import settings_of_folder
from respeval.files.netcdf import open_saved
from respeval.run_folder.names import DIAGNOSTICS_FILE, ZONAL

FRACTIONS = (0.05, 0.01)

#: Folders of the long runs.
APART, PAIRED = "apart", "paired"

#: Samples of a run that ends by itself: with two, its five and ten units come together.
NUM_UNTIL_SAMPLES = 2


@dataclass(frozen=True)
class Sizes:
    """Of the runs from which repetitions are cut.

    apart, paired: samples and years of the run with noise of each climate's own, and with paired noise.
    together: samples of each that make one repetition, where one has too few years to tell its spread.
    num_until: runs that end by themselves.
    """

    apart: tuple[int, int]
    paired: tuple[int, int]
    together: tuple[int, int]
    num_until: int


@dataclass(frozen=True)
class Way:
    """One way to the answer.

    spread: of a year, see `spread_of_a_year`. correlation: of land in the two climates, by year. found:
    fraction -> stops. num_samples: each pays for a spin-up. seconds: of the median run to the first
    fraction. saved: how many times fewer years than unpaired climates need, as the run itself has it, see
    `saved_by_pairing`.
    """

    label: str
    spread: float
    correlation: Sequence[float]
    found: dict[float, Stops]
    num_samples: int
    seconds: float
    saved: float | None = None

    def simulated(self, fraction: float) -> np.ndarray:
        """Climates x years, spin-up and all, [repetition]."""
        return 2.0 * (self.num_samples * SPINUP_YEARS + self.found[fraction].units)

    def row(self, truth: float, first: Way) -> tuple[str, ...]:
        cells = [self.label, f"{self.correlation[0]:.3f}, {self.correlation[-1]:.3f}"]
        cells.append(percent(100.0 * self.spread))
        for fraction in FRACTIONS:
            if fraction in self.found:
                own = self.simulated(fraction)
                cells.append(quantiles(own))
                cells.append(times(np.median(first.simulated(fraction)) / np.median(own)))
            else:
                cells += ["", ""]
        cells += [digits(self.seconds), times(first.seconds / self.seconds)]
        cells.append("" if self.saved is None else times(self.saved))
        return (*cells, off_by(self.found[FRACTIONS[0]].ratio, truth))


def quantiles(values: np.ndarray) -> str:
    """Median (10 % to 90 %)."""
    low, middle, high = map(digits, np.quantile(values, (0.1, 0.5, 0.9)))
    return middle if low == high else f"{middle} ({low} to {high})"


def digits(value: float) -> str:
    """Three digits, or all of a whole number."""
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def times(ratio: float) -> str:
    return f"{ratio:.2g}" if ratio < 10 else f"{ratio:.0f}" if ratio < 1e5 else "all"


def percent(value: float) -> str:
    return f"{value:.2g}" if value >= 0.01 else "< 0.01"


def off_by(ratios: np.ndarray, truth: float) -> str:
    """What 95 % of the answers are within, % of the truth; of those that were run to their end."""
    known = ratios[np.isfinite(ratios)]
    return f"{100.0 * np.quantile(abs(known / truth - 1.0), 0.95):.1f}" if len(known) > 3 else ""


def read(folder: Path) -> xr.Dataset:
    with open_saved(folder / ZONAL) as zonal:
        return zonal.load()


def saved_by_pairing(folder: Path) -> float:
    """Noise floor over standard error of a run's ratio, squared: with unpaired climates the error is the
    floor, and it takes so many times the years to make it as small."""
    with open_saved(folder / DIAGNOSTICS_FILE) as found:
        at = found.isel(perturbation=0).sel(band=BAND)
        return float((at[f"{NAME}_noise"] / at[f"{NAME}_stderr"]) ** 2)


def of_ended(folders: Sequence[Path]) -> Stops:
    """Where runs that end by themselves have ended."""
    units, ratios = [], []
    for folder in folders:
        zonal = read(folder)
        units.append(zonal.sizes["sample"] * zonal.sizes["time"] / MONTHS)
        with open_saved(folder / DIAGNOSTICS_FILE) as found:
            ratios.append(float(found[NAME].isel(perturbation=0).sel(band=BAND)))
    return Stops(np.array(units), np.array(ratios))


def long_runs(study: Study, folder: Path, sizes: Sizes) -> list[Callable[[], float]]:
    """The two runs of many samples."""
    own = Asked(range(sizes.apart[0]), sizes.apart[1], paired_noise=False)
    equal = Asked(range(sizes.paired[0]), sizes.paired[1])
    return [
        partial(study.run, folder / name, asked, at_once=True)
        for name, asked in ((APART, own), (PAIRED, equal))
    ]


def ways_of(study: Study, folder: Path, sizes: Sizes) -> tuple[list[Way], float]:
    """All ways, and what the ratio is: the mean over the longest run with paired noise.

    folder: where `long_runs` are.
    """
    apart, paired = folder / APART, folder / PAIRED
    settings, together = settings_of_folder(paired, {}), sizes.together
    with_own_noise, with_equal_noise = read(apart), read(paired)
    unlike = strangers(with_own_noise)
    hand_s, run_s = seconds(study, folder)
    ended = [folder / f"until{number}" for number in range(sizes.num_until)]
    until_s = [study.run(out, until_run(i, sizes), seed=i) for i, out in enumerate(ended)]

    by_hand = tropical_means(split(unlike, together[0]), settings)
    own = by_year(split(with_own_noise, together[0]), settings)
    equal = by_year(split(with_equal_noise, together[1]), settings)
    cut: tuple[
        tuple[str, xr.Dataset, Callable[[float], Stops], tuple[float, float], Path | None], ...
    ]
    cut = (
        ("(a) two runs", unlike, lambda f: stops_by_hand(by_hand, f), hand_s, None),
        ("(b) paired start", with_own_noise, lambda f: stops(own, together[0], f), run_s, apart),
        (
            "(c) paired noise",
            with_equal_noise,
            lambda f: stops(equal, together[1], f),
            run_s,
            paired,
        ),
    )
    ways = []
    for label, zonal, ended_at, (start_s, year_s), whole in cut:
        means = tropical_means(zonal, settings)
        correlation = correlation_of_the_pair(means).sel(surface="land").values.tolist()
        found = {fraction: ended_at(fraction) for fraction in FRACTIONS}
        length = float(np.median(found[FRACTIONS[0]].units)) + SPINUP_YEARS
        saved = None if whole is None else saved_by_pairing(whole)
        of_median_s = start_s + year_s * length
        spread = spread_of_a_year(means)
        ways.append(Way(label, spread, correlation, found, 1, of_median_s, saved))
    last, truth = ways[-1], float(equal[NAME].isel(year=-1).mean())
    if not ended:
        return ways, truth
    until = {FRACTIONS[0]: of_ended(ended)}, NUM_UNTIL_SAMPLES, float(np.median(until_s))
    ways.append(Way("(d) --until", last.spread, last.correlation, *until))
    return ways, truth


def until_run(number: int, sizes: Sizes) -> Asked:
    """The run of this number that ends by itself, from initial conditions of its own."""
    first = NUM_UNTIL_SAMPLES * number
    return Asked(range(first, first + NUM_UNTIL_SAMPLES), LONGEST_YEARS, until=True)


def seconds(study: Study, folder: Path) -> tuple[tuple[float, float], tuple[float, float]]:
    """Of two runs by hand and of one paired run: seconds for the start, and for a year of both climates;
    from a short and a longer one of each."""
    years = (10 / 365, 110 / 365)
    by_hand = line(years, [study.by_hand_s(folder, round(365 * length)) for length in years])
    lengths = (1, 2)
    runs = [study.run(folder / f"timed{length}", Asked(range(1), length)) for length in lengths]
    return by_hand, line([length + SPINUP_YEARS for length in lengths], runs)


def line(lengths: Sequence[float], seconds: Sequence[float]) -> tuple[float, float]:
    """Start and slope of what takes so many seconds at each of two lengths."""
    slope = (seconds[1] - seconds[0]) / (lengths[1] - lengths[0])
    return seconds[0] - slope * lengths[0], slope


def table_of(study: Study, folder: Path, sizes: Sizes) -> tuple[Table, dict[str, Any]]:
    ways, truth = ways_of(study, folder, sizes)
    fewer = "(a)/it"
    header = [study.name, "correlation", "spread, %"]
    for fraction in FRACTIONS:
        header += [f"years to {100 * fraction:g} %", fewer]
    header += ["s to 5 %", fewer, "(floor/error)²", "off, %"]
    numbers = {
        way.label: {
            "spread": way.spread,
            "correlation": list(way.correlation),
            "seconds": way.seconds,
            "simulated": {f"{f:g}": way.simulated(f).tolist() for f in way.found},
            "saved": way.saved,
            "ratio": way.found[FRACTIONS[0]].ratio.tolist(),
        }
        for way in ways
    }
    title = f"{study.name}, ratio {truth:.2f}"
    return Table(title, header, [way.row(truth, ways[0]) for way in ways]), numbers


def run(options: Options) -> Outcome:
    planet, ace = (Sizes((64, 8), (64, 3), (1, 1), 3), Sizes((16, 1), (8, 3), (4, 4), 0))
    if options.quick:
        planet, ace = (Sizes((4, 2), (4, 2), (1, 1), 1), Sizes((4, 1), (4, 2), (2, 2), 0))
    if options.long:
        ace = replace(ace, num_until=1)
    measured, notes = [], []
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(2) as beside:
        folders = [Path(name) / study for study in ("planet", "ace")]
        ace_study, begun = None, []
        if options.ace_python.exists():
            ace_study = AceStudy(folders[1], ace.apart[0], options.ace_python)
            # In processes of their own, beside the planet's.
            begun = [beside.submit(long) for long in long_runs(ace_study, folders[1], ace)]
        else:
            notes.append(
                f"Without ACE: there is no {options.ace_python}; `make ace-venv` sets it up."
            )
        planet_study = PlanetStudy(folders[0], planet.apart[0])
        for long in long_runs(planet_study, folders[0], planet):
            long()
        measured.append(table_of(planet_study, folders[0], planet))
        for running in begun:
            running.result()
        if ace_study is not None:
            measured.append(table_of(ace_study, folders[1], ace))
    names = (PlanetStudy.name, AceStudy.name)
    numbers = {study: own for study, (_, own) in zip(names, measured, strict=False)}
    return Outcome([table for table, _ in measured], (), notes, numbers)


BENCHMARK = Benchmark(
    "Cost to an answer",
    "Simulated years, of both climates and with three months of spin-up, until half of the 95 % interval "
    "of the tropical land/ocean warming ratio is 5 % of it, or 1 %: (a) a run of each climate, with "
    "initial conditions and noise of its own, and an interval by hand from the two runs' independent "
    "errors; (b) pairs that start alike; (c) pairs that draw the same noise too, as `respeval run` does, "
    "both with respeval's interval; (d) `respeval run --until`, two samples, which never ends before 5 "
    "years (of ACE with `--long`, because it takes tens of minutes). Median (10 % to 90 %) of (a), (b) "
    "and (c) cut from runs of many samples; what these were too short for is what their spread says it "
    "would take. *Correlation* is that of the two climates' yearly means over tropical land in the first "
    "and the last year, *spread* what one year says of the ratio from sample to sample, *off* how far 95 "
    "% of the answers to 5 % are at most from the ratio of all pairs, and *(floor/error)²* the saving "
    "that the noise floor and the standard error of a run itself tell. Seconds are a processor's, from a "
    "start and a price by year, each measured once. The planet is the bundled one on 12 x 24 cells; its "
    "seconds are without a process's start, those of (a) are of the bare steps. ACE is the tests' "
    "stochastic checkpoint (16 x 32 cells, trained for a minute: its ratio means nothing); its seconds "
    "are of whole processes, those of (a) of `python -m fme.ace.inference`. "
    "[uncertainty.md](uncertainty.md) says what to read into it.",
    run,
)
