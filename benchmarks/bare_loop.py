"""The emulator of a checkpoint stepped on tensors in memory, and nothing else.

python -m benchmarks.bare_loop REPORT CHECKPOINT NUM_MEMBERS NUM_STEPS
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.processes import peak_bytes, since_begin
from respeval.checkpoints import open_checkpoint
from respeval.emulator.contract import EmulatorSpec
from respeval.emulator.noise import CounterNoise


def main() -> None:
    report, checkpoint, num_members, num_steps = sys.argv[1:]
    torch.set_num_threads(1)
    emulator, count = open_checkpoint(Path(checkpoint), {}), int(num_members)
    spec = emulator.spec
    first_step_s = None
    with torch.inference_mode():
        state = _at_their_means(spec, [variable.name for variable in spec.prognostic], count)
        forcing = _at_their_means(spec, spec.required_forcing, count)
        noise = CounterNoise(0, [(0, 0)] * count, 0, None)
        for _ in range(int(num_steps)):
            outputs = emulator.step(state, forcing, forcing, noise)
            state = outputs[:, : len(spec.prognostic)]
            first_step_s = first_step_s or since_begin()
    found = {"first_step_s": first_step_s, "peak_bytes": peak_bytes()}
    Path(report).write_text(json.dumps(found))


def _at_their_means(spec: EmulatorSpec, names: Sequence[str], num_members: int) -> torch.Tensor:
    """Fields [member, variable, lat, lon] at the means of the normalization."""
    means = torch.tensor([spec.normalization[name][0] for name in names], dtype=torch.float32)
    return means[None, :, None, None].expand(num_members, -1, *spec.grid.shape).contiguous()


if __name__ == "__main__":
    main()
