"""Measure, print tables, keep them as JSON, and write docs/benchmarks.md from all that is kept.

python -m benchmarks                         all but the long variants
python -m benchmarks overhead aggregation    these two
python -m benchmarks --quick                 whether they work, at sizes that measure nothing
python -m benchmarks --write-page            the page alone, from the kept JSON
"""

from __future__ import annotations

import argparse
import compileall
import importlib
import os
import time
from pathlib import Path

from benchmarks.frame import (
    PAGE,
    RESULTS,
    ROOT,
    Benchmark,
    Options,
    Outcome,
    as_json,
    circumstances,
    from_json,
    told_circumstances,
)

#: In the order of the page; each is a module with a BENCHMARK.
NAMES = (
    *("overhead", "todays_way", "todays_way_long", "aggregation", "scaling", "spatial", "startup"),
    "memory",
    *("tricks", "noise", "probe", "full_size", "compile", "transforms"),
    *("long_run", "coverage", "stopping", "cost"),
)

#: Measured where they are asked for: they take many minutes, or hold for every machine.
_BY_NAME = (
    "todays_way_long",
    "full_size",
    "compile",
    "transforms",
    "long_run",
    "coverage",
    "stopping",
    "cost",
)

USUAL = tuple(name for name in NAMES if name not in _BY_NAME)

_INTRODUCTION = """\
# Benchmarks

`make bench` measures respeval side by side with what people use today, prints these tables, keeps them as
JSON in `benchmarks/results`, and writes this page. `make bench BENCH="overhead memory"` measures some of them
anew, `BENCH_ARGS=--long` adds the variants that take long. What is compared is measured alternately in one
run, on one thread per process, and shown as median (lowest to highest). All modules are compiled to bytecode
beforehand, those of respeval as those of fme.
"""


_CLOSING = """\
## What made it so, and what is left

What paid, each held to the same bits by `tests/rollout/test_plain_loop.py`, which runs the loop in its
plainest form:

- The outputs stay one stacked tensor from the network to the sums. Normalization, residuals and the
  prescribed ocean are done in place on tensors that are the step's own, with means that broadcast.
- On a CPU numpy adds the float64 sums, a few thousand numbers at a time, so that no float64 copy of the
  outputs leaves its cache, and small outputs of four steps together, so that the totals are read and
  written once for them. The guard takes smallest and largest values one after the other, which torch does
  far faster than both at once.
- A segment's file is defined whole before its values are written: netCDF ended its definitions for every
  one of a hundred variables. Files of a run keep 1 MiB of chunks for each variable instead of netCDF's 64.
- The forcing is read, decoded and copied to the device by a thread, one window ahead; the dates of a
  repeated year are found month by month, not one by one.
- `respeval diagnose` holds files against their checksums in processes beside the analysis, where a thread
  would wait for Python again and again, and opens none before it is known to be whole. It reads fields
  without dask and to where they belong, draws figures while it waits for checksums and while results are
  written, lays each out once for PNG and PDF, and needs no torch.
- torch's compiler, which takes longer to load than torch and which torch-harmonics and fme ask for when
  they are imported, is loaded where something is compiled, and scipy's statistics, which only fme's own
  diagnostics need, not at all. A command lets Python collect garbage rarely, and not at its end. The step
  from which fme's correctors learn what they conserve is the run's first one.
- A run lets go of a step's outputs before the next step, and of the emulator before the analysis. On a CPU
  it takes memory in huge pages, and keeps what a step has freed for the next one: no page of a step is filled
  with zeros by the system a second time.
- A checkpoint's numbers go from the mapped file into their places once; networks are built without any.
- A probe takes in each filter's gradient as backward has it, so that it holds one filter's at a time, and
  runs the network's blocks again where half of the free memory does not hold its graph.
- Noise is drawn where the emulator computes, to the same bits on every device, by arithmetic that is done
  many numbers at a time; on a CPU in pieces that stay in its cache.
- torch.compile is offered (`--compile`), and so are TF32 and bfloat16 on request, with the response's error
  told ([Precision and speed](speed.md)).
- On request (`--fast-transforms`) a network's spectral convolutions are one chain of products that read and
  write in place, over a quarter of the Legendre functions and half of the filter's orders.

What was tried, and left:

- The sums at 1°: steps that wait would take much memory there (79 MiB each with eight members), and memory
  is no longer the only bound: numpy makes float64 of a number and adds it at a pace that leaves little.
- Freed memory that is kept in gradient probes as it is in runs: the small objects of a graph lie between its
  large tensors, which then find no place again, and a probe of a model of ACE2's size took a third more
  memory in no less time. Probes take huge pages alone.
- The steps of an ACE checkpoint: nearly all of their time is fme's network, as the tables under *Today's
  way* have it. With four starts fme steps in batches too, and the network's steps alone take more than half
  of what fme's two runs take.
- More of the transforms than `--fast-transforms` has. At ACE2's size its filter's products run at the pace
  of large ones, and those with the Legendre functions at two thirds of it, also where every order lies
  together. Fourier transforms that read channels innermost, which would save a copy each way, are slower
  than a copy and one along memory; degrees multiplied in blocks of four to sixteen gain nothing over one
  after the other; rows folded about the equator one by one gain half a percent of a convolution at that
  size, and lose more on small networks.
- `respeval diagnose`: its parts are above. The maps' year-by-year statistics read every field, SHA-256
  reads every byte, and the figures are matplotlib's; on two cores there is little more to do side by side.
- Scaling: two separate runs of half the samples show what the machine allows. Of what two processes do more
  than half of one's, most is in the steps themselves, which share the machine's memory; the root's votes
  and segments' ends are in the table of its parts. Votes that are read a second later, so that no process
  waits for another within a segment, gained nothing that could be told from noise.
- Memory at 1°: the peak lies inside the network, in the steps; a segment's end, the analysis and the
  figures stay below it. (On small grids the figures need as much; freed memory is given back before them.)
  Much of it, in the bare loop too, is memory that the network has freed and the C library's heap can't
  join, which differs from run to run. Giving freed memory back at once (a lower `M_MMAP_THRESHOLD`) lowers
  the peak, and makes steps slower.
- Groups get their forcing by a gather instead of sharing it: the row `perturb` is all there is to win.
- Segments are written by the thread that steps. In another they would cost nothing on a GPU, but every
  commit would have to wait for its files beside the next segment's steps; the tests of kills hold the
  order.
- In the table of full size, the native network's steps on two threads were taken beside another process that
  had one of the two cores; ACE's show what two threads do.
- No number here is of a GPU; those are in [Benchmarks on a GPU](benchmarks_gpu.md).
"""


def load(name: str) -> Benchmark:
    found: Benchmark = importlib.import_module(f"benchmarks.{name}").BENCHMARK
    return found


def shown(outcome: Outcome) -> str:
    """Tables and goals as text."""
    lines = [table.text() for table in outcome.tables]
    return "\n\n".join(lines) + "\n" + "".join(f"\n{goal}" for goal in outcome.goals)


def page() -> str:
    """docs/benchmarks.md from the kept results."""
    parts = [_INTRODUCTION]
    for name in NAMES:
        kept = RESULTS / f"{name}.json"
        if not kept.exists():
            continue
        benchmark = load(name)
        outcome, seconds, where = from_json(kept.read_text())
        notes = "".join(f"\n{note}\n" for note in outcome.notes)
        parts.append(
            f"## {benchmark.title}\n\n{benchmark.method}\n{notes}\n```text\n{shown(outcome)}\n```\n\n"
            f"`make bench BENCH={name}`, {seconds} s: {told_circumstances(where)}.\n"
        )
    return "\n".join([*parts, _CLOSING])


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.splitlines()[0]
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--rounds", type=int, default=Options.rounds)
    parser.add_argument("--quick", action="store_true", help="sizes that measure nothing")
    parser.add_argument("--long", action="store_true", help="the long variants, too")
    parser.add_argument("--ace-python", type=Path, default=Options.ace_python)
    parser.add_argument("--write-page", action="store_true", help="measure nothing")
    asked = parser.parse_args()
    unknown = sorted(set(asked.names) - set(NAMES))
    if unknown:
        parser.error(f"no benchmark is called {', '.join(unknown)} (there are: {', '.join(NAMES)})")
    options = Options(asked.rounds, asked.quick, asked.long, asked.ace_python)
    if not asked.write_page:
        for package in ("respeval", "benchmarks"):  # of which an installation has compiled the rest
            compileall.compile_dir(ROOT / package, quiet=1)
        for name in asked.names or USUAL:
            measure(name, options)
    if not asked.quick:
        PAGE.write_text(page())
        print(f"wrote {PAGE.relative_to(ROOT)}")


def measure(name: str, options: Options) -> None:
    """Measure, print, and keep the result, unless it is a quick one."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)
    benchmark = load(name)
    print(f"\n{benchmark.title} ({name})", flush=True)
    if benchmark.needs_ace and not options.ace_python.exists():
        print(f"left out: there is no {options.ace_python}; `make ace-venv` sets it up")
        return
    where, begun = circumstances(), time.perf_counter()
    outcome = benchmark.run(options)
    seconds = time.perf_counter() - begun
    print(f"{shown(outcome)}\n{seconds:.0f} s: {told_circumstances(where)}", flush=True)
    if not options.quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(as_json(outcome, seconds, where))


if __name__ == "__main__":
    main()
