"""`respeval.run`: the command's files, and the caller's process as it was."""

from __future__ import annotations

import gc
import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

import respeval
from respeval.api.keys import CaseKeys
from respeval.api.untouched import evaluated
from respeval.case.options import KEYS
from respeval.checkpoints import InMemory
from respeval.checkpoints.native import NativeEmulator, load_checkpoint
from tests.support import studies
from tests.support.invoking import invoke

DAYS = 40


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return studies.write_study(tmp_path_factory.mktemp("api"), num_times=91)


@pytest.fixture(scope="module")
def by_command(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("command") / "out"
    invoke("run", checkpoint, "-o", folder, "--days", DAYS, "--perturb", "p3K=uniform:3")
    return folder


def assert_equal_numbers(found: Path, expected: Path) -> None:
    got, wanted = studies.numbers(found), studies.numbers(expected)
    assert got.keys() == wanted.keys()
    for name, values in wanted.items():
        np.testing.assert_array_equal(got[name], values, err_msg=name)


def test_a_run_is_the_commands_and_says_nothing(
    checkpoint: Path, by_command: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    run = respeval.run(
        checkpoint, output=tmp_path / "out", days=DAYS, perturb={"p3K": np.float32(3)}
    )
    assert capfd.readouterr() == ("", "")
    assert_equal_numbers(run.folder, by_command)
    written = (tmp_path / "out" / "summary.json").read_bytes()
    assert written == (by_command / "summary.json").read_bytes()
    digests = [
        json.loads((f / "manifest.json").read_text())["case_digest"]
        for f in (run.folder, by_command)
    ]
    assert digests[0] == digests[1]


def test_a_finished_run_is_found(checkpoint: Path, by_command: Path) -> None:
    before = (by_command / "manifest.json").read_bytes()
    run = respeval.run(checkpoint, output=by_command, days=DAYS, perturb={"p3K": 3.0})
    assert run.status == "finished"
    assert (by_command / "manifest.json").read_bytes() == before


@pytest.mark.parametrize("change", [3, "uniform:3", {"type": "uniform", "amplitude_K": 3.0}])
def test_changes_are_numbers_texts_or_entries(
    checkpoint: Path, by_command: Path, change: Any
) -> None:
    run = respeval.run(checkpoint, output=by_command, days=DAYS, perturb={"p3K": change})
    assert run.case.amplitudes_K == {"p3K": 3.0}


def test_a_case_is_a_file_content_or_a_case(checkpoint: Path, by_command: Path) -> None:
    path = checkpoint.parent / "case.yaml"
    content = respeval.open(by_command).case.model_dump(mode="json", exclude_none=True)
    for case in (path, content, respeval.open(by_command).case):
        respeval.run(checkpoint, case=case, output=by_command, days=DAYS, perturb={"p3K": 3.0})


def test_progress_is_told_when_it_is_asked_for(
    checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    respeval.run(checkpoint, output=tmp_path / "out", steps=2, segment="all", progress=True)
    told = capfd.readouterr()
    assert "x 3 samples, 2 steps of 24 h" in told.out + told.err


def test_an_emulator_in_memory_gives_what_its_file_gives(
    checkpoint: Path, by_command: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {
        "case": checkpoint.parent / "case.yaml",
        "days": DAYS,
        "perturb": {"p3K": 3.0},
    }
    emulator = load_checkpoint(checkpoint)
    run = respeval.run(emulator, output=tmp_path / "out", **options)
    assert_equal_numbers(run.folder, by_command)
    assert run.manifest["checkpoint"] == "in memory: respeval.checkpoints.native.NativeEmulator"
    respeval.run(load_checkpoint(checkpoint), output=tmp_path / "out", **options)
    with torch.no_grad():
        next(emulator.network.parameters()).view(-1)[0] += 1e-3
    with pytest.raises(respeval.InputError, match="contents of the checkpoint"):
        respeval.run(emulator, output=tmp_path / "out", **options)


def process_state() -> dict[str, Any]:
    return {
        "torch": torch.get_rng_state().tolist(),
        "numpy": str(np.random.get_state()),  # noqa: NPY002
        "python": random.getstate(),
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "matmul": torch.get_float32_matmul_precision(),
        "tf32": torch.backends.cudnn.allow_tf32,
        "collects": (gc.isenabled(), gc.get_threshold()),
        "signals": [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)],
    }


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_training_goes_on_bit_by_bit(checkpoint: Path, tmp_path: Path, precision: str) -> None:
    """Two steps of a training with a run between them, and without one."""
    case = checkpoint.parent / "case.yaml"
    options: dict[str, Any] = {"case": case, "steps": 2, "segment": "all", "precision": precision}

    def train(with_run: bool) -> tuple[dict[str, torch.Tensor], list[float]]:
        torch.manual_seed(1)
        emulator = load_checkpoint(checkpoint).train()
        emulator.network.encoder.eval()  # type: ignore[operator, union-attr]
        descent, losses = torch.optim.Adam(emulator.network.parameters(), lr=1e-3), []
        for epoch in range(2):
            inputs = torch.randn(2, emulator.manifest.num_network_inputs(), 8, 16)
            loss = emulator.network(inputs).square().mean()
            loss.backward()
            if with_run:
                before, modes = process_state(), [m.training for m in emulator.modules()]
                held = [set(vars(module)) for module in emulator.modules()]
                gradients = [p.grad for p in emulator.parameters()]
                respeval.run(emulator, output=tmp_path / f"epoch{epoch}", **options)
                assert process_state() == before
                assert [m.training for m in emulator.modules()] == modes
                assert [set(vars(module)) for module in emulator.modules()] == held
                assert all(
                    a is p.grad for a, p in zip(gradients, emulator.parameters(), strict=True)
                )
            descent.step()
            descent.zero_grad()
            losses.append(float(loss.detach()))
        return emulator.state_dict(), losses

    weights, losses = train(with_run=True)
    expected, as_expected = train(with_run=False)
    assert losses == as_expected
    for name, value in expected.items():
        assert torch.equal(weights[name], value), name


class Restless(NativeEmulator):
    """Leaves everything in disorder at every step; it is in evaluation mode at the first one."""

    modes: ClassVar[list[bool]] = []

    def step(self, *arguments: Any, **named: Any) -> torch.Tensor:
        self.modes.append(self.training)
        torch.rand(1), np.random.rand(1), random.random()  # noqa: NPY002
        gc.disable()
        gc.set_threshold(9, 9, 9)
        torch.set_num_threads(2)
        torch.backends.cudnn.allow_tf32 = False
        self.kept = torch.ones(1)
        self.eval()
        self.network.train()
        return super().step(*arguments, **named)


def test_nothing_of_a_restless_emulator_stays(checkpoint: Path, tmp_path: Path) -> None:
    plain = load_checkpoint(checkpoint)
    emulator = Restless(plain.manifest)
    emulator.load_state_dict(plain.state_dict())
    emulator.train()
    torch.set_default_dtype(torch.float64)
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    before = process_state()
    try:
        case = checkpoint.parent / "case.yaml"
        respeval.run(emulator, case=case, output=tmp_path / "out", steps=2, segment="all")
        assert process_state() == before
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_float32_matmul_precision("highest")
    assert Restless.modes[0] is False
    assert emulator.training
    assert not hasattr(emulator, "kept")


def test_settings_are_restored_where_a_run_fails(checkpoint: Path, tmp_path: Path) -> None:
    emulator, before = load_checkpoint(checkpoint).train(), process_state()
    with pytest.raises(
        respeval.InputError, match="num_realizations is 2, but the NativeEmulator in memory"
    ):
        respeval.run(
            emulator, case=checkpoint.parent / "case.yaml", output=tmp_path, num_realizations=2
        )
    assert emulator.training
    assert process_state() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"yaers": 3}, "unknown key 'yaers'; did you mean 'years'"),
        ({"perturb": {"p4K": "unifrom:4"}}, "unifrom"),
        ({"perturb": 4.0}, "perturb is float; expected a mapping"),
        ({"perturb": {"a": 1}, "perturbations": {"b": 2}}, "give one of them"),
        ({"threads": 0}, "threads 0: expected a whole number of at least 1"),
        ({"compile": True, "fast_transforms": True}, "leave out"),
        ({"device": "tpu"}, "expected cpu or cuda"),
        ({"spatial": (2, 1)}, "there is 1 process"),
    ],
)
def test_what_is_wrong_is_an_input_error(
    checkpoint: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(respeval.InputError, match=message):
        respeval.run(checkpoint, output=tmp_path / "out", **options)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_what_is_no_emulator_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        respeval.InputError, match="Linear is no emulator: it has no spec, prescribe"
    ):
        respeval.run(torch.nn.Linear(1, 1), output=tmp_path)  # type: ignore[call-overload]


def test_a_list_is_a_sweep(
    checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    other = studies.checkpoint(checkpoint.parent / "other.pt", seed=1)
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"no checkpoint")
    options: dict[str, Any] = {
        "case": checkpoint.parent / "case.yaml",
        "steps": 2,
        "segment": "all",
    }
    capfd.readouterr()
    sweep = respeval.run([checkpoint, other, broken], output=tmp_path / "out", **options)
    assert capfd.readouterr() == ("", "")
    assert [run.folder.name for run in sweep] == ["tiny", "other"]
    assert sweep["other"].status == "finished"
    assert list(sweep.failed) == ["broken"]


def test_every_key_of_the_case_is_a_keyword() -> None:
    assert list(CaseKeys.__annotations__) != []
    assert set(CaseKeys.__annotations__) == {key.key for key in KEYS}


def test_importing_loads_nothing_heavy_and_names_are_completed() -> None:
    program = (
        "import sys, respeval; assert {'run', 'open', 'compare', 'probe', 'inspect'} <= set(dir(respeval)); "
        "assert not {'torch', 'xarray', 'numpy', 'matplotlib'} & set(sys.modules); "
        "from respeval import InputError, run; assert issubclass(InputError, ValueError)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert set(respeval.__all__) == set(respeval._PUBLIC) <= set(dir(respeval))
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        respeval.runn  # noqa: B018


class Holder:
    """An emulator that is no torch module, and holds one."""

    def __init__(self, emulator: NativeEmulator) -> None:
        self._emulator = emulator
        self.network = emulator.network

    def __getattr__(self, name: str) -> Any:
        if name in ("state_dict", "_emulator"):
            raise AttributeError(name)
        return getattr(self._emulator, name)


def test_a_network_that_an_emulator_holds_is_evaluated_and_told_apart(checkpoint: Path) -> None:
    holder = Holder(load_checkpoint(checkpoint))
    holder.network.train()
    source = InMemory(holder)  # type: ignore[arg-type]
    with evaluated(source):
        assert not any(module.training for module in holder.network.modules())
    assert holder.network.training
    assert source.has_weights
    before = source.digest()
    with torch.no_grad():
        next(iter(holder.network.parameters())).add_(1.0)
    assert source.digest() != before


@pytest.mark.parametrize("asked", ["compile", "fast_transforms"])
def test_what_would_change_a_network_in_memory_is_refused(
    checkpoint: Path, tmp_path: Path, asked: str
) -> None:
    emulator = load_checkpoint(checkpoint)
    case = checkpoint.with_name("case.yaml")
    options: dict[str, Any] = {asked: True}
    with pytest.raises(respeval.InputError, match=f"{asked} changes a network for good"):
        respeval.run(emulator, case=case, output=tmp_path / "out", **options)
    with pytest.raises(respeval.InputError, match="a list is of files"):
        respeval.run([emulator], case=case, output=tmp_path / "out")  # type: ignore[list-item]
