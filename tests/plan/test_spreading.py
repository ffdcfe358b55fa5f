"""How a run is spread: members first, fields where one does not fit or processes are left over."""

from __future__ import annotations

from pathlib import Path

import pytest

from respeval.plan.estimate import Estimate
from respeval.plan.spreading import Need, smallest_layout, spread

GIB = 2**30
FITS, UNKNOWN = Need(GIB, 80 * GIB), Need(None, 80 * GIB)


@pytest.mark.parametrize(
    ("num_members", "num_processes", "most", "need", "shape", "why"),
    [
        (12, 4, (90, 90), FITS, (1, 1), "12 members on 4 processes"),
        (2, 8, (90, 90), FITS, (4, 1), "2 members on 8 processes leave 6 over"),
        (3, 8, (90, 90), FITS, (2, 1), "leave 5 over"),
        (3, 4, (90, 90), FITS, (1, 1), "3 members on 4 processes"),  # one idle, no group without
        (1, 1, (90, 90), FITS, (1, 1), "1 member on 1 process"),
        (1, 8, (2, 90), FITS, (2, 4), "leave 7 over"),
        (1, 8, (2, 2), FITS, (2, 2), "leave 7 over"),
        (1, 8, None, FITS, (1, 1), "but they can't be split"),
        (
            12,
            4,
            (90, 90),
            Need(100 * GIB, 80 * GIB),
            (2, 1),
            "one needs 1e+02 GiB, 80 GiB are free",
        ),
        (12, 8, (90, 90), Need(200 * GIB, 80 * GIB), (2, 2), "one needs 2e+02 GiB"),
        (12, 4, (90, 90), Need(900 * GIB, 80 * GIB), (4, 1), "one needs 9e+02 GiB"),
        (12, 4, (90, 90), UNKNOWN, (2, 1), "one needs more memory, 80 GiB are free"),
        (1, 4, (90, 90), UNKNOWN, (4, 1), "one needs more memory"),
        (12, 4, None, UNKNOWN, (1, 1), "but they can't be split"),
        (12, 1, (90, 90), UNKNOWN, (1, 1), "too few processes to split them"),
    ],
)
def test_members_first_then_fields(
    num_members: int,
    num_processes: int,
    most: tuple[int, int] | None,
    need: Need,
    shape: tuple[int, int],
    why: str,
) -> None:
    chosen = spread(num_members, num_processes, most, need)
    assert (chosen.height, chosen.width) == shape
    assert why in str(chosen)


@pytest.mark.parametrize(
    ("memory", "parts", "most", "expected"),
    [
        (50, (1, 1), (90, 90), ((1, 1), 50)),
        (90, (1, 1), (90, 90), ((2, 1), 50)),  # 10 held, 80 shared out
        (90, (2, 1), (90, 90), ((1, 3), 63)),  # a third part in latitude wins little
        (200, (1, 1), (2, 90), ((1, 3), 73)),
        (200, (1, 1), None, None),
        (10_000, (1, 1), (90, 90), None),
    ],
)
def test_the_smallest_layout_that_fits_100_bytes(
    memory: int,
    parts: tuple[int, int],
    most: tuple[int, int] | None,
    expected: tuple[tuple[int, int], int] | None,
) -> None:
    estimate = Estimate(
        Path("c"), Path("o"), memory=memory, held=10, free=90, parts=parts, most_parts=most
    )
    assert smallest_layout(estimate) == expected
