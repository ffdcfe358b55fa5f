"""Who runs on which process: members, and how they are dealt."""

from __future__ import annotations

from typing import NamedTuple


class Member(NamedTuple):
    """One trajectory: which sample it belongs to, and which group (0 is the baseline)."""

    sample: int
    group: int


def deal_members(num_samples: int, num_groups: int, num_processes: int) -> list[list[Member]]:
    """The members of each process, as even as they go.

    All groups of a sample stay together while there are at least as many samples as processes, so
    that a pair shares its forcing and noise; with fewer samples the groups are spread too. With
    more processes than members the last ones get none.
    """
    if num_samples >= num_processes:
        blocks = [
            [Member(sample, group) for group in range(num_groups)] for sample in range(num_samples)
        ]
    else:
        blocks = [
            [Member(sample, group)] for sample in range(num_samples) for group in range(num_groups)
        ]
    share, extra = divmod(len(blocks), num_processes)
    dealt: list[list[Member]] = []
    start = 0
    for process in range(num_processes):
        stop = start + share + (process < extra)
        dealt.append([member for block in blocks[start:stop] for member in block])
        start = stop
    return dealt
