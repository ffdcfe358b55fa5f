"""Four arms in one gradient probe against four probes of one arm each, alternating in one run.

The arms share the forward pass, the transforms and the data, so that the first should cost less than
0.75 of the second. Loading and planning, which four separate commands would repeat, are left out.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from respeval.checkpoints import open_checkpoint
from respeval.comm import Comm, connect
from respeval.console import SilentProbeReporter
from respeval.grid import Grid
from respeval.loss_probe.arms import Arm, parse_arms
from respeval.output import write_netcdf
from respeval.planet import shipped_checkpoint
from respeval.planet.datasets import make_record
from respeval.probe_plan import ProbeSettings, plan_probe
from respeval.probe_runner import run_probe

ARMS = ["none", "per_sample", "per_sample:gamma=1.0", "spectral_power"]


def seconds(arms: tuple[Arm, ...], location: str, num_batches: int, comm: Comm) -> float:
    """Wall-clock time of one probe with two members."""
    checkpoint = shipped_checkpoint("perturbed_sst")
    settings = ProbeSettings(arms=arms, num_batches=num_batches, input_noise=0.1)
    plan = plan_probe(open_checkpoint(checkpoint, {}), settings, location, None, checkpoint)
    started = time.perf_counter()
    run_probe(plan, comm, SilentProbeReporter())
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=6)
    options = parser.parse_args()
    torch.set_num_threads(1)
    arms, comm = parse_arms(ARMS), connect("cpu")
    with tempfile.TemporaryDirectory() as folder:
        location = str(Path(folder) / "training.nc")
        write_netcdf(make_record(Grid.legendre_gauss(24, 48), 60), Path(location))
        seconds(arms, location, 1, comm)
        ratios = []
        for number in range(options.rounds):
            together = seconds(arms, location, options.batches, comm)
            apart = sum(seconds((arm,), location, options.batches, comm) for arm in arms)
            ratios.append(together / apart)
            print(
                f"round {number + 1}: four arms {together:.2f} s, four probes {apart:.2f} s, "
                f"ratio {ratios[-1]:.3f}"
            )
    print(f"median ratio {statistics.median(ratios):.3f} (goal: below 0.75)")


if __name__ == "__main__":
    main()
