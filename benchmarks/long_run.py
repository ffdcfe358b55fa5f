"""Memory and number of files of a run of very many segments: both must stay flat."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch

from benchmarks.frame import Benchmark, Goal, Options, Outcome, Table
from respeval.analysis.results import analyse
from respeval.case.file import load_case
from respeval.case.roles import settings_of
from respeval.distributed.comm import Comm
from respeval.plan.execution import Execution
from respeval.plan.plan import prepare
from respeval.plan.resume import open_output
from respeval.rollout.segments import Segment
from respeval.rollout.sums import GroupSums
from respeval.runner import Reporter, execute
from tests.support import studies


def resident_MiB() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


class Watch(Reporter):
    """Notes memory and files now and then: rows of (when, MiB, files, seconds)."""

    def __init__(self, folder: Path, interval: int) -> None:
        self._folder, self._interval = folder, interval
        self._begun = time.monotonic()
        self.rows: list[tuple[str, float, int, float]] = []

    def published(self, segment: Segment, means: GroupSums) -> None:
        if segment.number % self._interval == 0:
            self.note(f"{segment.number:,}")

    def note(self, when: str) -> None:
        count = sum(1 for path in self._folder.rglob("*") if path.is_file())
        self.rows.append((when, resident_MiB(), count, time.monotonic() - self._begun))


def watched_run(num_segments: int) -> list[tuple[str, float, int, float]]:
    """A small random checkpoint, segments of one step, the whole of `respeval run` in this process."""
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary)
        checkpoint = studies.write_study(base, days=num_segments, segment="1 steps", repeat="year")
        (base / "forcing.nc").unlink()
        studies.forcing(num_times=366).to_netcdf(base / "forcing.nc")
        plan = prepare(checkpoint, load_case(base / "case.yaml", {}))
        watch = Watch(base / "out", max(1, num_segments // 10))
        output = open_output(plan, checkpoint, base / "out", Comm())
        output.open()
        with torch.inference_mode():
            execute(plan, output, Comm(), Execution(), watch)
        output.join()
        watch.note("joined")
        levels = plan.emulator.spec.levels_hPa
        analyse(base / "out", settings_of(plan.case, plan.roles, levels))
        watch.note("analysed")
        output.finish()
        output.close()
        return watch.rows


def run(options: Options) -> Outcome:
    num_segments = 20 if options.quick else 10_000 if options.long else 2_000
    found = watched_run(num_segments)
    rows = [(when, f"{m:.0f}", str(files), f"{s:.0f}") for when, m, files, s in found]
    grown = found[9][1] / found[1][1]
    goals = [Goal("memory after all segments over that after a fifth of them", grown, 1.05)]
    table = Table(f"{num_segments:,} segments", ("segments", "MiB", "files", "s"), rows)
    return Outcome([table], goals, (), {"rows": found})


BENCHMARK = Benchmark(
    "A run of very many segments",
    "A small random checkpoint, segments of one step; memory and the number of files while the run goes on, "
    "as a terminal would see them. 2,000 segments, 10,000 with `BENCH_ARGS=--long`.",
    run,
)
