"""One process and two, and how members are dealt to many."""

from __future__ import annotations

import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.frame import Benchmark, Goal, Options, Outcome, Table, alternate, spread
from benchmarks.processes import watched
from benchmarks.studies import DIAGNOSTIC, PROGNOSTIC, Size, native_study, run_command
from respeval.accumulate import GroupSums, MemberSums, deal_members

NUM_OUTPUTS = len(PROGNOSTIC) + len(DIAGNOSTIC)
LAUNCHER = ("-m", "torch.distributed.run", "--standalone")


def stepping_s(checkpoint: Path, size: Size, num_processes: int, folder: Path) -> float:
    """Seconds of the root process between the plan and the last segment: steps, sums and files."""
    launcher = (*LAUNCHER, f"--nproc-per-node={num_processes}") if num_processes > 1 else ()
    command = run_command(checkpoint, size, folder)
    _, found = watched("watched_run", *command, python=(sys.executable, *launcher))
    return float(found["stepping_s"])


def speedups(options: Options) -> dict[int, list[tuple[float, float]]]:
    """Samples -> seconds on one process and on two, in every round."""
    size = Size((16, 32), 8, 1, 6, "3 steps", 2) if options.quick else None
    size = size or Size((45, 90), 96, 4, 20, "10 steps", 8)
    found = {}
    with tempfile.TemporaryDirectory() as name:
        checkpoint, numbers = native_study(Path(name), size), iter(range(100))
        for num_samples in (2,) if options.quick else (2, 3, 8):
            fewer = replace(size, num_samples=num_samples)

            def stepping(num_processes: int, fewer: Size = fewer) -> float:
                folder = Path(name) / f"out{next(numbers)}"
                return stepping_s(checkpoint, fewer, num_processes, folder)

            rounds = 1 if options.quick else max(1, options.rounds - 1)
            found[num_samples] = alternate(rounds, lambda: stepping(1), lambda: stepping(2))
    return found


def imbalance(num_samples: int, num_groups: int, num_processes: int) -> float:
    """Members of the process that has most, over the mean."""
    counts = [len(members) for members in deal_members(num_samples, num_groups, num_processes)]
    return max(counts) * num_processes / (num_samples * num_groups)


def collective_MiB(shape: tuple[int, int], num_samples: int, num_groups: int) -> float:
    """What each process sends at a segment's end; made without memory for its numbers."""
    meta = torch.device("meta")
    sums = MemberSums((1, NUM_OUTPUTS, *shape), meta)
    surfaces = torch.ones((3, *shape), dtype=torch.bool, device=meta)
    packed = GroupSums.encode(sums, [], num_groups, num_samples, surfaces).pack()
    return packed.numel() * packed.element_size() / 2**20


def dealing() -> Table:
    processes = (1, 2, 3, 4, 8, 16, 32, 64)
    rows = []
    for num_samples, num_groups in ((1, 4), (5, 3), (8, 2), (50, 3), (64, 4)):
        ratios = [imbalance(num_samples, num_groups, count) for count in processes]
        buffers = [
            f"{collective_MiB(s, num_samples, num_groups):.1f}" for s in ((45, 90), (180, 360))
        ]
        name = f"{num_samples} samples, {num_groups} climates"
        rows.append((name, *(f"{ratio:.2f}" for ratio in ratios), *buffers))
    header = ("members", *(f"{count} proc." for count in processes), "MiB, 45 x 90", "180 x 360")
    title = "Members of the busiest process over the mean; size of the one collective per segment"
    return Table(title, header, rows)


def run(options: Options) -> Outcome:
    rows, goals, numbers = [], [], {}
    for num_samples, pairs in speedups(options).items():
        ratios = [one / two for one, two in pairs]
        columns = (
            spread([one for one, _ in pairs], ".1f"),
            spread([two for _, two in pairs], ".1f"),
        )
        even = 2.0 / imbalance(num_samples, 2, 2)
        rows.append((f"{num_samples} samples", *columns, spread(ratios), f"{even:.2f}"))
        numbers[f"{num_samples} samples"] = pairs
        if num_samples == 8:
            goals.append(Goal("8 samples: speed-up", statistics.median(ratios), 1.9, at_least=True))
    header = ("what", "1 process, s", "2 processes, s", "speed-up", "at most")
    table = Table("Stepping, two climates, one thread per process", header, rows)
    return Outcome([table, dealing()], goals, (), numbers)


BENCHMARK = Benchmark(
    "Scaling",
    "Native SFNO at 45 x 90, two climates; seconds from the plan to the last segment, on one process and "
    "on two under torchrun, each with one thread. `at most` is what the dealing of the members allows: "
    "three samples on two processes are two and one. The second table is of simulated processes: how evenly "
    "`deal_members` deals, and the bytes that each process sends at a segment's end.",
    run,
)
