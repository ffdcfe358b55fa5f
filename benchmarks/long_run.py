"""Memory and number of files of a run of very many segments: both must stay flat.

A small random checkpoint, segments of one step, the whole of `respeval run` in this process:

    .venv/bin/python benchmarks/long_run.py --segments 10000
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import conftest

from respeval.accumulate import GroupSums
from respeval.comm import Comm
from respeval.config import load_case
from respeval.console import SilentReporter
from respeval.plan import prepare
from respeval.results import analyse, settings_of
from respeval.runner import Execution, execute, open_output
from respeval.segments import Segment

PAGE = resource.getpagesize()


def resident_MiB() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / 2**20


class Watch(SilentReporter):
    """Prints memory and files now and then."""

    def __init__(self, folder: Path, interval: int) -> None:
        self._folder, self._interval = folder, interval
        self._begun = time.monotonic()

    def published(self, segment: Segment, means: GroupSums) -> None:
        if segment.number % self._interval == 0:
            self.show(str(segment.number))

    def show(self, when: str) -> None:
        count = sum(1 for path in self._folder.rglob("*") if path.is_file())
        elapsed = time.monotonic() - self._begun
        print(f"{when:>10} {resident_MiB():8.1f} {count:6d} {elapsed:9.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--segments", type=int, default=10_000)
    num_segments = parser.parse_args().segments
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary)
        checkpoint = conftest.write_study(base, days=num_segments, segment="1 steps", repeat="year")
        (base / "forcing.nc").unlink()
        conftest.forcing(num_times=366).to_netcdf(base / "forcing.nc")
        plan = prepare(checkpoint, load_case(base / "case.yaml", {}))
        watch = Watch(base / "out", max(1, num_segments // 10))
        print(f"{'segments':>10} {'MiB':>8} {'files':>6} {'seconds':>9}")
        output = open_output(plan, checkpoint, base / "out", Comm())
        output.open()
        execute(plan, output, Comm(), Execution(), watch)
        output.join()
        watch.show("joined")
        levels = plan.emulator.spec.levels_hPa
        analyse(base / "out", settings_of(plan.case, plan.roles, levels))
        watch.show("analysed")
        output.finish()
        output.close()


if __name__ == "__main__":
    main()
