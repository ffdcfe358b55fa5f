"""Who runs on which process: members, and how they are dealt."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple


class Member(NamedTuple):
    """One trajectory: which sample it belongs to, and which group (0 is the baseline)."""

    sample: int
    group: int


def deal_members(num_samples: int, num_groups: int, num_processes: int) -> list[list[Member]]:
    """The members of each process: as many or one less than the process before it has.

    They are cut in order, so that groups of a sample, which read the same forcing and draw the same
    noise, stay together but where a cut falls between them; the noise is a sample's wherever its
    groups are. With more processes than members the last ones get none.
    """
    members = [
        Member(sample, group) for sample in range(num_samples) for group in range(num_groups)
    ]
    share, extra = divmod(len(members), num_processes)
    cuts = [share * process + min(process, extra) for process in range(num_processes + 1)]
    return [members[start:stop] for start, stop in pairwise(cuts)]
