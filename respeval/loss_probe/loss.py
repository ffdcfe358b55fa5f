"""The ensemble loss that an arm is a variant of: CRPS, a spectral term, finite-difference CRPS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from respeval.fields.grid import Grid
from respeval.fields.transform import SphericalTransform
from respeval.loss_probe.arms import Arm, PerSample, SpectralPower
from respeval.loss_probe.scores import (
    crps,
    energy_score_by_degree,
    finite_difference_crps,
    spectral_power_crps_by_degree,
)
from respeval.loss_probe.whitening import whitening_factor


@dataclass(frozen=True)
class LossWeights:
    """Weights of the loss's terms; the defaults are ACE's ensemble loss.

    alpha: of the almost-fair CRPS. finite_difference_levels: of the finite-difference CRPS.
    variables: name of an output -> what its prediction and target are multiplied with, in
        normalized units, in every term; 1 for those that are not named.
    """

    crps: float = 0.9
    energy_score: float = 0.1
    finite_difference_crps: float = 0.0
    alpha: float = 0.95
    finite_difference_levels: int = 1
    variables: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        weights = (self.crps, self.energy_score, self.finite_difference_crps)
        if min(weights) < 0 or not 0 < sum(weights) < float("inf"):
            raise ValueError(
                "the weights of CRPS, energy score and finite-difference CRPS must not be negative "
                f"and one must be positive, got {', '.join(f'{w:g}' for w in weights)}"
            )
        if not 0.0 <= self.alpha <= 1.0:
            raise ValueError(f"alpha must lie in [0, 1], got {self.alpha}")
        if self.finite_difference_levels < 1:
            raise ValueError("finite_difference_levels must be at least 1")
        for name, weight in self.variables.items():
            if not 0.0 <= weight < float("inf"):
                raise ValueError(f"the weight of {name} must not be negative, got {weight:g}")

    def __str__(self) -> str:
        return (
            f"{self.crps:g} CRPS (alpha {self.alpha:g}) + {self.energy_score:g} energy score + "
            f"{self.finite_difference_crps:g} finite-difference CRPS"
        )

    def of_variables(self, names: Sequence[str]) -> torch.Tensor | None:
        """Weights of these outputs, [output, 1, 1], float64; None where all are 1."""
        weights = [float(self.variables.get(name, 1.0)) for name in names]
        if all(weight == 1.0 for weight in weights):
            return None
        return torch.tensor(weights, dtype=torch.float64)[:, None, None]


@dataclass(frozen=True)
class ArmLoss:
    """One arm's loss of a batch, and its spectral term before it was averaged.

    total: scalar, differentiable. by_degree: [sample, variable, l], the spectral term's parts.
    factor: [sample, variable, l], the whitening factor, ones where the arm has none.
    """

    total: torch.Tensor
    by_degree: torch.Tensor
    factor: torch.Tensor


def full_truncation(grid: Grid) -> int:
    """Degrees of the largest triangular truncation that a grid resolves: every order m < num_lon / 2."""
    return min(grid.num_lat, (grid.num_lon + 1) // 2)


class ScoredEnsemble:
    """An ensemble beside its target, with what the losses of all arms share computed once.

    ensemble: [member, sample, variable, lat, lon]; target: [sample, variable, lat, lon]; both in
        normalized units and in the precision of `transform`. Gradients flow into the ensemble.
    of_variables: weights of the variables, [variable, 1, 1]; None where all are 1.
    target_coefficients: of the target without these weights, [sample, variable, l, m].
    Grid-space scores are plain means over cells, as ACE has them, not weighted by area.
    """

    def __init__(
        self,
        ensemble: torch.Tensor,
        target: torch.Tensor,
        transform: SphericalTransform,
        weights: LossWeights,
        of_variables: torch.Tensor | None = None,
    ) -> None:
        self._weights = weights
        self._num_lat, self._num_lon = (int(size) for size in target.shape[-2:])
        self.target_coefficients = self._target = transform.forward(target)
        if of_variables is not None:
            of_variables = of_variables.to(target)
            ensemble, target = of_variables * ensemble, of_variables * target
            self._target = of_variables * self._target
        self._ensemble = transform.forward(ensemble)
        self._shared = weights.crps * crps(ensemble, target, weights.alpha).mean()
        if weights.finite_difference_crps:
            score = finite_difference_crps(
                ensemble, target, weights.alpha, weights.finite_difference_levels
            )
            self._shared = self._shared + weights.finite_difference_crps * score.mean()

    def loss(self, arm: Arm) -> ArmLoss:
        """The loss under one arm: a mean over samples and variables of the weighted terms."""
        by_degree, factor = self._spectral_term(arm)
        spectral = by_degree.sum(dim=-1).mean()
        total = self._shared + self._weights.energy_score * spectral
        return ArmLoss(total, by_degree, torch.ones_like(by_degree) if factor is None else factor)

    def _spectral_term(self, arm: Arm) -> tuple[torch.Tensor, torch.Tensor | None]:
        members, target = self._ensemble, self._target
        if isinstance(arm, SpectralPower):
            alpha = self._weights.alpha
            return spectral_power_crps_by_degree(members, target, alpha, arm.floor), None
        factor = None
        if isinstance(arm, PerSample):
            factor = whitening_factor(target, arm.gamma, arm.eps, arm.max_ratio)
        size = (self._num_lat, self._num_lon)
        return energy_score_by_degree(members, target, *size, factor), factor


def ensemble_loss(
    ensemble: torch.Tensor,
    target: torch.Tensor,
    transform: SphericalTransform,
    arm: Arm,
    weights: LossWeights = LossWeights(),
) -> torch.Tensor:
    """One arm's loss, a scalar: what a training minimizes. Arguments as in `ScoredEnsemble`."""
    return ScoredEnsemble(ensemble, target, transform, weights).loss(arm).total
