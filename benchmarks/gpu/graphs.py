"""A whole step as one CUDA graph: what small networks, which wait for launches, could win."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from benchmarks.frame import Outcome, Table
from benchmarks.gpu.part import Part
from benchmarks.gpu.setting import SAMPLES, Inputs, Setting, first_inputs
from respeval.emulator.computing import computing_in
from respeval.emulator.contract import Emulator
from respeval.emulator.noise import CounterNoise
from respeval.errors import first_line
from respeval.rollout.steps import Rollout

NUM_COMPARED = 8
HEADER = ("grid", "members", "eager, ms", "graph, ms", "graph / eager", "differs after 8 steps")


def stepping(emulator: Emulator, given: Inputs) -> Callable[[], torch.Tensor]:
    """The emulator's step from the tensors in `given`, which draws no noise."""
    noise = CounterNoise(0, [(0, 0)] * len(given.state), 0, given.state.device)
    return lambda: emulator.step(given.state, given.forcing, given.forcing, noise)


def captured(step: Callable[[], torch.Tensor], device: torch.device) -> Callable[[], torch.Tensor]:
    """The same as a graph; on a CPU, the step itself."""
    if device.type != "cuda":
        return step
    beside = torch.cuda.Stream(device)
    beside.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(beside):
        for _ in range(3):  # plans of transforms, workspaces
            step()
    torch.cuda.current_stream(device).wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = step()

    def replay() -> torch.Tensor:
        graph.replay()
        return outputs

    return replay


def rolled(step: Callable[[], torch.Tensor], given: Inputs, begin: torch.Tensor) -> torch.Tensor:
    """Outputs after some steps, each of which starts from the one before."""
    given.state.copy_(begin)
    num_prognostic = given.state.shape[1]
    for _ in range(NUM_COMPARED):
        outputs = step()
        given.state.copy_(outputs[:, :num_prognostic])
    return outputs.clone()


def measure(setting: Setting, rollout: Rollout) -> tuple[tuple[str, ...], dict[str, Any]]:
    """A row of the table without the grid's name, and its numbers."""
    emulator, count = rollout.emulator, len(rollout.members)
    with torch.inference_mode(), computing_in("float32", emulator, setting.device):
        given = first_inputs(rollout)
        begin, eager = given.state.clone(), stepping(emulator, given)
        exact, eager_s = rolled(eager, given, begin), setting.per_call(eager)
        given.state.copy_(begin)
        first = (f"{count}", f"{1e3 * eager_s:.3f}")
        try:
            graph = captured(eager, setting.device)
            found, graph_s = rolled(graph, given, begin), setting.per_call(graph)
        except Exception as error:  # a capture ends in any error, and that is the result then
            reason = first_line(error)[:80]
            return (*first, reason, "", ""), {"eager_s": eager_s, "failed": reason}
        far = (found - exact).double().abs().amax((0, 2, 3))
        spread = exact.double().std((0, 2, 3)).clamp(min=torch.finfo(torch.float32).tiny)
        differs = float((far / spread).max())
    row = (*first, f"{1e3 * graph_s:.3f}", f"{graph_s / eager_s:.2f}", f"{differs:.1e}")
    return row, {"eager_s": eager_s, "graph_s": graph_s, "differs": differs}


def run(setting: Setting) -> Iterator[Outcome]:
    rows, numbers = [], dict[str, Any]()
    for heading, size in setting.sizes.items():
        plan = setting.plan(size, SAMPLES)
        for num_samples in (1, SAMPLES):
            row, found = measure(setting, setting.rollout(plan, num_samples=num_samples))
            rows.append((heading, *row))
            numbers[f"{heading}, {row[0]} members"] = found
            yield Outcome([Table("A step, eager and as a graph", HEADER, rows)], (), (), numbers)


PART = Part(
    "CUDA graphs",
    "`Emulator.step` of a deterministic network captured by torch.cuda.graph and replayed, in this benchmark "
    "alone; the outputs after eight steps are held against those of eager steps, relative to each one's "
    "spread.",
    60.0,
    run,
)
