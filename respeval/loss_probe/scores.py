"""Scores of an ensemble against a target, in grid space and by spherical-harmonic degree.

The ensemble is [member, ...] and the target [...], with the same trailing axes; one member has no
spread term. Everything runs in the precision of its arguments and is differentiable.
"""

from __future__ import annotations

from itertools import combinations

import torch

from respeval.fields.transform import sum_over_orders

#: Floor of a degree's mean power, as a share of the target's mean over degrees, in its logarithm.
POWER_FLOOR = 1e-12


def pairwise_spread(ensemble: torch.Tensor) -> torch.Tensor:
    """Mean of |X_i - X_j| over the pairs i < j of [member, ...], real [...]; zero for one member."""
    pairs = list(combinations(range(ensemble.shape[0]), 2))
    if not pairs:
        return torch.zeros_like(ensemble[0].abs())
    total = (ensemble[pairs[0][0]] - ensemble[pairs[0][1]]).abs()
    for i, j in pairs[1:]:
        total = total + (ensemble[i] - ensemble[j]).abs()
    return total / len(pairs)


def crps(ensemble: torch.Tensor, target: torch.Tensor, alpha: float = 0.95) -> torch.Tensor:
    """Almost-fair continuous ranked probability score of each value, [...].

    mean_i |X_i - y| - (1 - ε) ½ mean_{i<j} |X_i - X_j| with ε = (1 - alpha) / 2, as ACE has it after
    Lang et al. (2024, arXiv:2412.15832): alpha = 1 is the fair score. Raises ValueError where alpha
    is outside [0, 1] or the shapes do not fit.

    >>> ensemble, target = torch.tensor([[1.0], [3.0]]), torch.tensor([2.0])
    >>> crps(ensemble, target, alpha=1.0).tolist()  # an error of 1, less half a spread of 2
    [0.0]
    >>> crps(ensemble[:1], target).tolist()
    [1.0]
    """
    _check(ensemble, target)
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"alpha must lie in [0, 1], got {alpha}")
    error = (ensemble - target).abs().mean(dim=0)
    if ensemble.shape[0] == 1:
        return error
    epsilon = 0.5 * (1.0 - alpha)
    return error - (1.0 - epsilon) * 0.5 * pairwise_spread(ensemble)


def finite_difference_crps(
    ensemble: torch.Tensor, target: torch.Tensor, alpha: float = 0.95, num_levels: int = 1
) -> torch.Tensor:
    """Mean CRPS of the differences between neighbouring cells, [...] of [member, ..., lat, lon].

    Half of it is of differences along latitude, half along periodic longitude. Each further level
    has both fields averaged over 2 x 2 cells once more (an odd row or column is averaged alone);
    the levels' means are averaged. Raises ValueError where a level has fewer than two rows.
    """
    _check(ensemble, target)
    if num_levels < 1:
        raise ValueError(f"num_levels must be at least 1, got {num_levels}")
    total = torch.zeros_like(target[..., 0, 0])
    for level in range(num_levels):
        if level:
            ensemble, target = _pool(ensemble), _pool(target)
        if target.shape[-2] < 2:
            raise ValueError(
                f"{num_levels} levels leave fewer than two rows of cells; use at most {level}"
            )
        for difference in (_along_latitude, _along_longitude):
            score = crps(difference(ensemble), difference(target), alpha)
            total = total + 0.5 * score.mean(dim=(-2, -1))
    return total / num_levels


def _along_latitude(field: torch.Tensor) -> torch.Tensor:
    return field[..., 1:, :] - field[..., :-1, :]


def _along_longitude(field: torch.Tensor) -> torch.Tensor:
    return field.roll(-1, dims=-1) - field


def _pool(field: torch.Tensor) -> torch.Tensor:
    """Means of 2 x 2 cells of [..., lat, lon]."""
    flat = field.reshape(-1, 1, *field.shape[-2:])
    pooled = torch.nn.functional.avg_pool2d(flat, 2, stride=2, ceil_mode=True)
    return pooled.reshape(*field.shape[:-2], *pooled.shape[-2:])


def energy_score_by_degree(
    ensemble: torch.Tensor,
    target: torch.Tensor,
    num_lat: int,
    num_lon: int,
    factor: torch.Tensor | None = None,
) -> torch.Tensor:
    """Each degree's part of the spectral energy score, [..., l]; their sum is the score.

    ensemble: coefficients [member, ..., l, m]; target: [..., l, m]; orders m > l must be zero.
    num_lat, num_lon: of the grid, for the scale. factor: [..., l], of each degree's weight.
    Of a mode it is mean_i |X_i - y| - ½ mean_{i<j} |X_i - X_j| with the complex modulus (Gneiting and
    Raftery 2007, section 4.3, β = 1, the fair form); a degree's part is the sum over all its orders
    divided by 2 sqrt(num_l num_m), num_l = num_lat, num_m = num_lon // 2 + 1, as in ACE.
    """
    _check(ensemble, target)
    score = (ensemble - target).abs().mean(dim=0)
    if ensemble.shape[0] > 1:
        score = score - 0.5 * pairwise_spread(ensemble)
    scale: float = 2.0 * (num_lat * (num_lon // 2 + 1)) ** 0.5
    by_degree = sum_over_orders(score) / scale
    return by_degree if factor is None else by_degree * factor


def mean_power(coefficients: torch.Tensor) -> torch.Tensor:
    """Mean of |c_lm|² over the 2l + 1 orders of each degree, [..., l] of [..., l, m].

    Σ_l (2l + 1) mean_power_l / 4π is the field's mean square over the sphere.
    """
    square = coefficients.real.square() + coefficients.imag.square()
    return sum_over_orders(square) / num_orders(coefficients)


def num_orders(coefficients: torch.Tensor) -> torch.Tensor:
    """How many orders each degree of [..., l, m] has within the truncation, [l]."""
    lmax, mmax = coefficients.shape[-2:]
    degree = torch.arange(lmax, device=coefficients.device)
    kept = degree.clamp(max=mmax - 1)
    return (2 * kept + 1).to(coefficients.real.dtype)


def degree_amplitude(coefficients: torch.Tensor) -> torch.Tensor:
    """A_l = sqrt(Σ_m w_m |c_lm|² / Σ_m w_m), [..., l] of [..., l, m]; w_0 = 1, w_{m>0} = 2, m <= l."""
    return mean_power(coefficients).sqrt()


def spectral_power_crps_by_degree(
    ensemble: torch.Tensor, target: torch.Tensor, alpha: float = 0.95, floor: float = POWER_FLOOR
) -> torch.Tensor:
    """Each degree's part of the CRPS of the logarithm of mean power, [..., l]; their sum is the score.

    ensemble: coefficients [member, ..., l, m]; target: [..., l, m]. Phases do not enter. To every
    power `floor` times the target's mean over degrees is added, so that the logarithm stays finite.
    """
    _check(ensemble, target)
    power = mean_power(target)
    least = floor * power.detach().mean(dim=-1, keepdim=True)
    least = least + torch.finfo(power.dtype).tiny
    score = crps((mean_power(ensemble) + least).log(), (power + least).log(), alpha)
    return score / score.shape[-1]


def _check(ensemble: torch.Tensor, target: torch.Tensor) -> None:
    if ensemble.ndim != target.ndim + 1 or ensemble.shape[1:] != target.shape:
        raise ValueError(
            f"an ensemble must be [member, ...] with the target's axes, got {list(ensemble.shape)} "
            f"for a target {list(target.shape)}"
        )
    if ensemble.shape[0] < 1:
        raise ValueError("an ensemble needs at least one member")
