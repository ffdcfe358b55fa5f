"""The per-sample whitening factor: more weight for the degrees in which a target has little power."""

from __future__ import annotations

import torch

from respeval.fields.transform import sum_over_orders
from respeval.loss_probe.scores import degree_amplitude


def whitening_factor(
    target: torch.Tensor,
    gamma: float = 0.5,
    eps: float = 0.02,
    max_ratio: float | None = None,
) -> torch.Tensor:
    """Weight of every degree of a target's energy score, [..., l] of coefficients [..., l, m].

    With A_l of `degree_amplitude`: f_l = (1 / max(A_l, eps mean_l A_l))^gamma, and the factor is
    α f_l with α = Σ_lm w |c| / Σ_lm w f_l |c|, so that the amplitude-weighted total Σ_lm w |c|
    stays what it was (the per-sample whitening of ACE's ensemble loss).
    max_ratio: largest f_l allowed over the smallest. A target of zeros has the factor 1.
    No gradient flows through the factor. Raises ValueError where an option is out of its range.

    >>> red = (torch.ones(3, 3).tril() / torch.tensor([[1.0], [4.0], [16.0]])).cfloat()
    >>> factor = whitening_factor(red, gamma=0.5)
    >>> [f"{value:.3f}" for value in factor / factor[0]]
    ['1.000', '2.000', '4.000']
    >>> before, after = sum_over_orders(red.abs()).sum(), (factor * sum_over_orders(red.abs())).sum()
    >>> print(f"{after / before:.6f}")
    1.000000
    """
    check_whitening(gamma, eps, max_ratio)
    target = target.detach()
    amplitude = degree_amplitude(target)
    mean = amplitude.mean(dim=-1, keepdim=True)
    # Relative to the mean, which α takes out again; so no power of a small number overflows.
    relative = torch.where(mean > 0, amplitude / mean, torch.ones_like(amplitude))
    factor = relative.clamp(min=eps).pow(-gamma)
    if max_ratio is not None:
        factor = torch.minimum(factor, max_ratio * factor.amin(dim=-1, keepdim=True))
    modulus = sum_over_orders(target.abs())
    before = modulus.sum(dim=-1, keepdim=True)
    after = (factor * modulus).sum(dim=-1, keepdim=True)
    return torch.where(after > 0, before / after, torch.ones_like(after)) * factor


def check_whitening(gamma: float, eps: float, max_ratio: float | None) -> None:
    """Raises ValueError where an option of the whitening is out of its range."""
    if not 0.0 < gamma <= 1.0:
        raise ValueError(
            f"gamma must lie in (0, 1], got {gamma} (the arm without whitening is none)"
        )
    if not 0.0 < eps < 1.0:
        raise ValueError(f"eps must lie in (0, 1), got {eps}")
    if max_ratio is not None and not 1.0 <= max_ratio < float("inf"):
        raise ValueError(f"max_ratio must be a number of at least 1, got {max_ratio}")
