"""Where a fraction of a cell, ocean's or land's, is above a cutoff: one comparison for all that ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

#: A cell is land where its land fraction is strictly above this.
LAND_CUTOFF = 0.5


@overload
def is_above(fraction: NDArray[Any], cutoff: float) -> NDArray[np.bool_]: ...
@overload
def is_above(fraction: torch.Tensor, cutoff: float) -> torch.Tensor: ...
def is_above(
    fraction: NDArray[Any] | torch.Tensor, cutoff: float
) -> NDArray[np.bool_] | torch.Tensor:
    """Whether fractions lie strictly above the cutoff, both rounded to float32; an array or a tensor.

    In float32 because that is what networks get, and what most files hold: 0.3 in float32 is above 0.3 in
    float64, so that a cell could count as ocean, and its SST stay as it is. fme rounds the fraction to a
    whole number instead, which is the same for a cutoff of 0.5 (0.5 itself is rounded to 0).

    >>> stored = np.array([0.3, 0.5, 0.7], np.float32)
    >>> is_above(stored, 0.3).tolist(), is_above(stored.astype(np.float64), 0.3).tolist()
    ([False, True, True], [False, True, True])
    """
    limit = float(np.float32(cutoff))
    if isinstance(fraction, np.ndarray):
        return np.greater(fraction.astype(np.float32), limit)
    return fraction.float() > limit
