"""One process and two, and how members are dealt to many."""

from __future__ import annotations

import statistics
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.frame import Benchmark, Goal, Options, Outcome, Table, spread
from benchmarks.processes import watched
from benchmarks.studies import DIAGNOSTIC, PROGNOSTIC, Size, native_study, run_command
from respeval.rollout.members import deal_members
from respeval.rollout.sums import GroupSums, MemberSums

NUM_OUTPUTS = len(PROGNOSTIC) + len(DIAGNOSTIC)
LAUNCHER = ("-m", "torch.distributed.run", "--standalone")


#: Samples of the goal, and the steps of its runs: long enough that segments' ends are rare.
GOAL_SAMPLES, GOAL_STEPS = 8, 60


@dataclass(frozen=True)
class Stepping:
    """Seconds of the root process between the plan and the last segment, and their parts."""

    seconds: float
    parts_s: dict[str, float]


def stepping(checkpoint: Path, size: Size, num_processes: int, folder: Path) -> Stepping:
    launcher = (*LAUNCHER, f"--nproc-per-node={num_processes}") if num_processes > 1 else ()
    command = run_command(checkpoint, size, folder)
    _, found = watched("watched_run", *command, python=(sys.executable, *launcher))
    return Stepping(float(found["stepping_s"]), found["parts_s"])


@dataclass(frozen=True)
class Round:
    """A run on one process and on two, and the seconds of two separate runs of half the samples.

    apart: those two side by side, which know nothing of each other: what the machine itself allows;
        None where the samples can't be halved.
    """

    one: Stepping
    two: Stepping
    apart: float | None

    @property
    def speed_up(self) -> float:
        return self.one.seconds / self.two.seconds


def measure(checkpoint: Path, size: Size, folder: Path, rounds: int) -> list[Round]:
    numbers = iter(range(100))

    def measured(num_processes: int, size: Size = size) -> Stepping:
        return stepping(checkpoint, size, num_processes, folder / f"out{next(numbers)}")

    def apart() -> float | None:
        if size.num_samples % 2:
            return None
        half = replace(size, num_samples=size.num_samples // 2)
        with ThreadPoolExecutor(2) as pool:
            return max(pool.map(lambda _: measured(1, half).seconds, range(2)))

    runs: dict[str, Any] = {"one": lambda: measured(1), "two": lambda: measured(2), "apart": apart}
    orders = (list(runs), list(reversed(runs)))
    return [Round(**{name: runs[name]() for name in orders[n % 2]}) for n in range(rounds)]


def rounds_of(options: Options) -> dict[int, list[Round]]:
    """Samples -> what was measured, in every round."""
    size = Size((16, 32), 8, 1, 6, "3 steps", 2) if options.quick else None
    size = size or Size((45, 90), 96, 4, 20, "10 steps", GOAL_SAMPLES)
    found = {}
    with tempfile.TemporaryDirectory() as name:
        longest = size if options.quick else replace(size, num_steps=GOAL_STEPS)
        checkpoint = native_study(Path(name) / "study", longest)
        for num_samples in (2,) if options.quick else (2, 3, GOAL_SAMPLES):
            asked = replace(size, num_samples=num_samples)
            if num_samples == GOAL_SAMPLES:
                asked = replace(asked, num_steps=GOAL_STEPS, segment=f"{GOAL_STEPS // 2} steps")
            folder = Path(name) / str(num_samples)
            folder.mkdir()
            found[num_samples] = measure(checkpoint, asked, folder, options.rounds)
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


def parts(num_samples: int, rounds: list[Round]) -> Table:
    """What the root does, on one process and on two."""
    rows = []
    for part in rounds[0].one.parts_s:
        one, two = (
            [getattr(found, kind).parts_s[part] for found in rounds] for kind in ("one", "two")
        )
        rows.append((part, spread(one), spread(two)))
    header = ("part", "1 process, s", "2 processes, s")
    return Table(f"What the root does, {num_samples} samples", header, rows)


def run(options: Options) -> Outcome:
    rows, goals, numbers = [], [], {}
    measured = rounds_of(options)
    for num_samples, rounds in measured.items():
        ratios = [found.speed_up for found in rounds]
        bounds = [found.one.seconds / found.apart for found in rounds if found.apart is not None]
        columns = (
            spread([found.one.seconds for found in rounds], ".1f"),
            spread([found.two.seconds for found in rounds], ".1f"),
            spread(ratios),
            spread(bounds) if bounds else "",
        )
        even = 2.0 / imbalance(num_samples, 2, 2)
        rows.append((f"{num_samples} samples", *columns, f"{even:.2f}"))
        numbers[f"{num_samples} samples"] = [asdict(found) for found in rounds]
        if num_samples == GOAL_SAMPLES:
            what = f"{num_samples} samples: speed-up"
            goals.append(Goal(what, statistics.median(ratios), 1.9, at_least=True))
    header = ("what", "1 process, s", "2 processes, s", "speed-up", "of two runs apart", "at most")
    table = Table("Stepping, two climates, one thread per process", header, rows)
    tables = [table, parts(*max(measured.items())), dealing()]
    return Outcome(tables, goals, (), numbers)


BENCHMARK = Benchmark(
    "Scaling",
    "Native SFNO at 45 x 90, two climates; seconds from the plan to the last segment, on one process and "
    "on two under torchrun, each with one thread. `at most` is what the dealing of the members allows: "
    "three samples on two processes are two and one. The last table is of simulated processes: how evenly "
    "`deal_members` deals, and the bytes that each process sends at a segment's end.",
    run,
)
