"""Four arms in one gradient probe against four probes of one arm each, and its memory."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.frame import Benchmark, Goal, Options, Outcome, Table, alternate, spread
from benchmarks.processes import watched
from respeval.checkpoints import open_checkpoint
from respeval.distributed.comm import Comm
from respeval.fields.grid import Grid
from respeval.files.netcdf import write_netcdf
from respeval.loss_probe.arms import parse_arms
from respeval.loss_probe.plan import ProbeSettings, plan_probe
from respeval.loss_probe.probing import ProbeReporter, run_probe
from respeval.planet import shipped_checkpoint
from respeval.planet.datasets import make_record

ARMS = ("none", "per_sample", "per_sample:gamma=1.0", "spectral_power")


def seconds(arms: Sequence[str], data: Path, num_batches: int) -> float:
    """Of one probe with two members, loading and planning left out."""
    checkpoint = shipped_checkpoint("perturbed_sst")
    settings = ProbeSettings(arms=parse_arms(list(arms)), num_batches=num_batches, input_noise=0.1)
    plan = plan_probe(open_checkpoint(checkpoint, {}), settings, str(data), None, checkpoint)
    begun = time.perf_counter()
    run_probe(plan, Comm(), ProbeReporter())
    return time.perf_counter() - begun


def peak_MiB(data: Path, recompute: bool, folder: Path) -> float:
    """Of the whole command, one batch."""
    arguments = [
        *("gradient-probe", str(shipped_checkpoint("perturbed_sst")), f"--output={folder}"),
        *(f"--data={data}", "--batches=1", "--batch-size=16", "--input-noise=0.1"),
        *(f"--arm={arm}" for arm in ARMS),
        *(["--checkpoint-activations"] if recompute else []),
    ]
    return float(watched("watched_run", *arguments)[1]["peak_bytes"]) / 2**20


def run(options: Options) -> Outcome:
    num_batches = 1 if options.quick else 6
    with tempfile.TemporaryDirectory() as name:
        data, numbers = Path(name) / "training.nc", iter(range(100))
        write_netcdf(make_record(Grid.legendre_gauss(24, 48), 60), data)
        seconds(ARMS, data, 1)
        pairs = alternate(
            1 if options.quick else options.rounds,
            lambda: [seconds(ARMS[:count], data, num_batches) for count in range(1, 5)],
            lambda: sum(seconds([arm], data, num_batches) for arm in ARMS),
        )
        peaks = alternate(
            1 if options.quick else 2,
            lambda: peak_MiB(data, False, Path(name) / f"out{next(numbers)}"),
            lambda: peak_MiB(data, True, Path(name) / f"out{next(numbers)}"),
        )
    ratios = [together[-1] / apart for together, apart in pairs]
    further = [(together[-1] / together[0] - 1.0) / 3.0 for together, _ in pairs]
    times = Table(
        f"Four arms, {num_batches} batches, s",
        ("one probe", "four probes", "ratio", "each further arm, of the first one's"),
        [
            (
                spread([together[-1] for together, _ in pairs]),
                spread([apart for _, apart in pairs]),
                spread(ratios),
                spread(further),
            )
        ],
    )
    memory = Table(
        "Peak of memory of the command, batches of 16, MiB",
        ("activations kept", "recomputed"),
        [
            (
                spread([kept for kept, _ in peaks], ".0f"),
                spread([less for _, less in peaks], ".0f"),
            ),
        ],
    )
    goals = [Goal("four arms over four probes", statistics.median(ratios), 0.75)]
    return Outcome([times, memory], goals, (), {"seconds": pairs, "peak_MiB": peaks})


BENCHMARK = Benchmark(
    "Gradient probe",
    "Four arms on one forward pass against four probes of one arm each, on the bundled planet's emulator "
    "(24 x 48), two members; loading and planning, which four commands would repeat, "
    "are left out. Memory is that of whole processes, libraries included.",
    run,
)
