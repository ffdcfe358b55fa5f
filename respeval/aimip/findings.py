"""What was found out about a file of a submission."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from respeval.aimip.request import YearMonth


@dataclass
class Findings:
    """What a file lacks, what else to know of it, and the months it really holds.

    digest: of the numbers of its last month, None where it has none.
    """

    lacks: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    months: list[YearMonth] = field(default_factory=list)
    tracking_id: str | None = None
    digest: str | None = None


def attribute(owner: Any, name: str) -> Any:
    """An attribute of a file or a variable in plain types; None where it is not there."""
    found = owner.getncattr(name) if name in owner.ncattrs() else None
    return found.tolist() if isinstance(found, np.ndarray) else found
