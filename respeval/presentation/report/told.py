"""What a headline is made of: the numbers of a run, and what is known of how far they reach."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import xarray as xr

from respeval.analysis.compared_reference import REFERENCE_NAME, REFERENCE_SUFFIX
from respeval.diagnostics.numbers import Number, main_rows, numbers_of
from respeval.presentation.console.truth import SignedError
from respeval.presentation.report.numbers import with_truth

#: The perturbation that a headline is of, where the runs have it.
USUAL = "p4K"


@dataclass(frozen=True, eq=False)
class Told:
    """What is known of a run.

    diagnostics: as diagnostics.nc. truth: the diagnostics of the true response, or of another reference,
    called `reference`. agreement: a run's response beside another reference, in words. amplitudes_K:
    perturbation -> its change of SST, of uniform ones. years: its length, NaN where it is not known.
    years_left: of running.nc, at its end. num_samples, num_counted: samples, and how many they count as.
    left_out: perturbations that blew up in every sample. num_quarantined: samples that left the means.
    """

    name: str
    diagnostics: xr.Dataset
    truth: xr.Dataset | None = None
    reference: str = "truth"
    agreement: str = ""
    amplitudes_K: Mapping[str, float] = field(default_factory=dict)
    years: float = math.nan
    years_left: xr.Dataset | None = None
    num_samples: int = 1
    num_counted: int = 1
    left_out: Sequence[str] = ()
    num_quarantined: int = 0

    @property
    def labels(self) -> list[str]:
        return [str(label) for label in self.diagnostics["perturbation"].values]

    def numbers(self, name: str, label: str) -> list[Number]:
        """The numbers of a diagnostic under a perturbation; none where the run has it not."""
        if name not in self.diagnostics or label not in self.labels:
            return []
        return numbers_of(self.diagnostics.sel(perturbation=[label]), name)

    def errors(self, label: str) -> list[tuple[str, Number, SignedError]]:
        """The main numbers under a perturbation that have a truth: (diagnostic, number, its error)."""
        if label not in self.labels:
            return []
        chosen = self.diagnostics.sel(perturbation=[label])
        return [
            (name, number, SignedError.of(truth, number.value, number.low, number.high))
            for name in main_rows()
            if name in chosen
            for number, truth in with_truth(chosen, name, self.truth)
            if math.isfinite(truth) and math.isfinite(number.value)
        ]


def chosen_label(runs: Sequence[Told]) -> str:
    """The perturbation that a headline is of, nothing where the runs share none.

    `USUAL` where all have it, else the largest uniform change of SST, else the first one.
    """
    first = runs[0]
    shared = [label for label in first.labels if all(label in run.labels for run in runs)]
    if USUAL in shared or not shared:
        return USUAL if shared else ""
    uniform = [label for label in shared if label in first.amplitudes_K]
    return max(uniform, key=lambda label: abs(first.amplitudes_K[label]), default=shared[0])


def told_of_comparison(comparison: xr.Dataset) -> list[Told]:
    """What comparison.nc says of its runs: their numbers, and the reference's."""
    reference = comparison.attrs.get(REFERENCE_NAME)
    own = [n for n in comparison.data_vars if not str(n).endswith(REFERENCE_SUFFIX)]
    truth = None
    if reference is not None:
        known = {str(n): f"{n}{REFERENCE_SUFFIX}" for n in own}
        truth = xr.Dataset({n: comparison[key] for n, key in known.items() if key in comparison})
    return [
        Told(str(run), comparison[own].sel(run=run), truth, str(reference or "truth"))
        for run in comparison["run"].values
    ]
