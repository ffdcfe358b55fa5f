"""The emulator of a checkpoint stepped on tensors in memory, and nothing else.

python -m benchmarks.bare_loop REPORT CHECKPOINT NUM_MEMBERS NUM_STEPS [--threads N] [--as-in-runs]
    [--fast-transforms]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.processes import peak_bytes, since_begin
from respeval.checkpoints import open_checkpoint
from respeval.emulator.contract import EmulatorSpec
from respeval.emulator.noise import CounterNoise
from respeval.emulator.transforms import fast_transforms
from respeval.interpreter import keep_freed, take_huge_pages


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bare_loop")
    parser.add_argument("report", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("num_members", type=int)
    parser.add_argument("num_steps", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--as-in-runs", action="store_true", help="memory taken as runs take it")
    parser.add_argument("--fast-transforms", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    if asked.as_in_runs:
        take_huge_pages()
    emulator, count = open_checkpoint(asked.checkpoint, {}), asked.num_members
    loaded_bytes, spec = peak_bytes(), emulator.spec
    if asked.as_in_runs:
        keep_freed()
    first_step_s, step_s = None, []
    with contextlib.ExitStack() as stack:
        if asked.fast_transforms:
            stack.enter_context(fast_transforms(emulator))
        stack.enter_context(torch.inference_mode())
        state = at_their_means(spec, [variable.name for variable in spec.prognostic], count)
        forcing = at_their_means(spec, spec.required_forcing, count)
        noise = CounterNoise(0, [(0, 0)] * count, 0, None)
        for _ in range(asked.num_steps):
            begun, faults = time.perf_counter(), _page_faults()
            outputs = emulator.step(state, forcing, forcing, noise)
            state = outputs[:, : len(spec.prognostic)]
            first_step_s = first_step_s or since_begin()
            step_s.append(time.perf_counter() - begun)
    found = {
        "first_step_s": first_step_s,
        "step_s": step_s,
        "page_faults": _page_faults() - faults,  # of the last step
        "loaded_bytes": loaded_bytes,
        "peak_bytes": peak_bytes(),
    }
    asked.report.write_text(json.dumps(found))


def _page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def at_their_means(spec: EmulatorSpec, names: Sequence[str], num_members: int) -> torch.Tensor:
    """Fields [member, variable, lat, lon] at the means of the normalization."""
    means = torch.tensor([spec.normalization[name][0] for name in names], dtype=torch.float32)
    return means[None, :, None, None].expand(num_members, -1, *spec.grid.shape).contiguous()


if __name__ == "__main__":
    main()
