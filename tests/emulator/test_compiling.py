"""--compile: what is compiled, what is told of it, and what it is refused for.

Inductor's C++ takes a quarter of a minute to build; torch.compile is given other backends here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch

from respeval.case.file import load_case
from respeval.distributed.comm import Comm
from respeval.emulator.computing import compiled, forget_compiled
from respeval.emulator.noise import CounterNoise
from respeval.errors import InputError
from respeval.plan.execution import Execution
from respeval.plan.plan import prepare
from respeval.plan.rehearsal import Compiling, measure_compiling
from respeval.presentation.console.rehearsal import compiling_line
from tests.support.invoking import invoked
from tests.support.studies import GRID, assert_equal_runs
from tests.support.toy import Toy, plan
from tests.support.toy import study as toy_study

STEPS = 5
NORMAL = CounterNoise.normal


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("respeval.analysis.results.Pictures", MagicMock())


def compile_by(monkeypatch: pytest.MonkeyPatch, change: Callable[..., Any]) -> None:
    """Let torch.compile return `change(function)`."""

    def fake(function: Any, **options: Any) -> Any:
        assert options == {"dynamic": False}
        return change(function)

    monkeypatch.setattr(torch, "compile", fake)


def test_each_batch_size_is_compiled_once_before_the_run(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dynamo traces, and a backend that runs the trace as it is notes what it was traced for."""
    sizes, real = [], torch.compile

    def noting(graph: Any, inputs: list[torch.Tensor]) -> Any:
        sizes.append(next(len(i) for i in inputs if i.dim() == 4 and i.shape[2:] == GRID.shape))
        return graph.forward

    compile_by(monkeypatch, lambda function: real(function, backend=noting, dynamic=False))
    command = ["run", study, "--steps", STEPS, "--samples-per-batch", 2]
    text = invoked(*command, "-o", tmp_path / "compiled", "--compile").stderr
    assert sizes == [6, 3]  # three groups of two samples, then those of the third
    told = " ".join(text.split())
    assert "compiled in " in told
    assert "in float32, compiled, on 1 process" in told
    assert "in float32 on 1 process" in " ".join(
        invoked(*command, "-o", tmp_path / "eager").stderr.split()
    )
    assert_equal_runs(tmp_path / "compiled", tmp_path / "eager")
    files = [sorted(os.listdir(tmp_path / name)) for name in ("compiled", "eager")]
    assert files[0] == files[1]


class DrawsWithin(torch.nn.Module):
    """A network that asks for its noise itself, as fme's models do."""

    noise: CounterNoise

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs * 2 + self.noise.normal(*inputs.shape[1:])


def test_noise_that_a_compiled_network_draws_keeps_its_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing of the draw reaches the compiler, whose kernels round as they please."""
    traced: list[torch.fx.Node] = []

    def noting(graph: Any, inputs: list[torch.Tensor]) -> Any:
        traced.extend(node for node in graph.graph.nodes if node.op.startswith("call"))
        return graph.forward

    real = torch.compile
    compile_by(monkeypatch, lambda function: real(function, backend=noting, dynamic=False))
    network, inputs = DrawsWithin(), torch.arange(12.0).reshape(2, 6)
    emulator: Any = SimpleNamespace(network=network)
    with torch.inference_mode():
        for step in range(3):
            with compiled(emulator):
                network.noise = CounterNoise(5, [(0, 0), (1, 0)], step)
                found = network(inputs)
            expected = inputs * 2 + CounterNoise(5, [(0, 0), (1, 0)], step).normal(6)
            assert torch.equal(found, expected)
    assert CounterNoise.normal is NORMAL
    assert 2 <= len(traced) <= 6  # the product and the sum
    forget_compiled()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("fail", "the network can't be compiled (no C++ compiler); leave --compile out"),
        ("wrong", "the compiled network computes something else (air_temperature_0 differs by"),
    ],
)
def test_what_can_not_be_compiled_is_told_in_one_line(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, expected: str
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no C++ compiler\nTraceback of the compiler")

    changes = {"fail": lambda _: fail, "wrong": lambda function: lambda x: 1.5 * function(x)}
    compile_by(monkeypatch, changes[change])
    for more, code in (([], 2), (["--dry-run"], 1)):
        told = invoked("run", study, "-o", tmp_path / "out", "--compile", *more, code=code).output
        assert expected in " ".join(told.split())
        assert "Traceback" not in told
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_an_emulator_that_names_no_network_is_refused(tmp_path: Path) -> None:
    planned = plan(toy_study(tmp_path), Toy(), steps=2)
    with pytest.raises(InputError, match="--compile needs the emulator's network"):
        measure_compiling(planned, Comm(), Execution(compile=True))


def test_times_are_those_of_the_first_step_and_of_the_others(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that only the network moves: by 3 s as it is, by 1 s compiled, 100 s for compiling."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(
        "respeval.plan.rehearsal.time", SimpleNamespace(perf_counter=lambda: clock.now)
    )
    planned = prepare(study, load_case(study.parent / "case.yaml", {}))
    network: Any = planned.emulator.network  # type: ignore[attr-defined]

    def spend(seconds: float) -> None:
        clock.now += seconds

    network.register_forward_pre_hook(lambda *_: spend(3.0))
    costs = iter([101.0] + [1.0] * 50)

    def faster(fields: torch.Tensor) -> Any:
        spend(next(costs))
        return network.forward(fields)

    compile_by(monkeypatch, lambda _: faster)
    execution = Execution(compile=True, samples_per_batch=3)
    found = measure_compiling(planned, Comm(), execution)
    assert found == Compiling(98.0, 1.0, 3.0)
    assert found.steps_to_pay == 49.0
    assert network._compiled_call_impl is None


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Compiling(40.0, 0.2, 0.4), "compiled in 40 s; a step takes 0.2 s instead of 0.4 s, "),
        (Compiling(40.0, 0.2, 0.4), ", which pays after 200 of 1,000 steps"),
        (Compiling(400.0, 0.2, 0.4), "pays after 2,000 steps, more than are left; leave"),
        (Compiling(40.0, 0.4, 0.4), "which never pays; leave --compile out"),
    ],
)
def test_a_user_learns_whether_it_paid(found: Compiling, expected: str) -> None:
    assert expected in compiling_line(found, 1000)
