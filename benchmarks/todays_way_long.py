"""One run of all climates against one fme inference per climate, where starting and ending hardly count."""

from __future__ import annotations

from benchmarks.frame import Benchmark, Options, Outcome
from benchmarks.todays_way import Comparison, compare, size


def comparisons(options: Options) -> list[Comparison]:
    num_steps = 12 if options.quick else 2000
    chosen = [Comparison(2, size(options, num_steps), 1, 0.90)]
    if options.long:
        chosen.append(Comparison(4, size(options, num_steps), 1, None))
    return chosen


def run(options: Options) -> Outcome:
    return compare(comparisons(options), options.ace_python)


BENCHMARK = Benchmark(
    "Today's way, long runs",
    "The same with 2000 steps of 6 hours, where what is left to win is in the steps themselves. "
    "`BENCH_ARGS=--long` adds four climates.",
    run,
    needs_ace=True,
)
