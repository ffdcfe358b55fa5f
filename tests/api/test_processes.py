"""`respeval.run` on two processes, and beside a process group of the caller's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import respeval
from tests.support import studies
from tests.support.processes import assert_close, torchrun

PROGRAM = """
import sys
import torch
import respeval
from respeval.checkpoints.native import load_checkpoint

checkpoint, folder, own = sys.argv[1:]
case = checkpoint.replace("tiny.pt", "case.yaml")
if own == "own":
    torch.distributed.init_process_group("gloo")
for name, source in (("a", checkpoint), ("b", load_checkpoint(__import__("pathlib").Path(checkpoint)))):
    run = respeval.run(source, case=case, output=f"{folder}/{name}")
    assert run.status == "finished"
split = respeval.run(checkpoint, case=case, output=f"{folder}/d", spatial="2x1")
assert split.status == "finished"
try:
    respeval.run(checkpoint, case=case, output=f"{folder}/c", until="nothing:0.05")
except respeval.InputError as error:
    assert "nothing" in str(error)
else:
    raise AssertionError("no error")
assert torch.distributed.is_initialized() == (own == "own")
if own == "own":
    total = torch.ones(1)
    torch.distributed.all_reduce(total)
    assert total.item() == 2
    torch.distributed.destroy_process_group()
"""


@pytest.mark.parametrize("own", ["own", "none"])
def test_two_processes_give_what_one_gives(tmp_path: Path, own: str) -> None:
    checkpoint = studies.write_study(tmp_path, num_samples=2, steps=4, days=None, segment="2 steps")
    expected = respeval.run(checkpoint, output=tmp_path / "expected").folder
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = torchrun(2, checkpoint, tmp_path, own, program=[program])
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    for name in ("a", "b"):
        assert_close(tmp_path / name, expected)


PROBE = """
import sys
from pathlib import Path
import respeval
from respeval.checkpoints.native import load_checkpoint

checkpoint, folder = sys.argv[1:]
emulator = load_checkpoint(Path(checkpoint))
sizes = dict(data=f"{folder}/training.nc", num_batches=2, batch_size=2, seed=3)
for refused in ({}, {"output": f"{folder}/split", "spatial": "2x1"}):
    try:
        respeval.probe(emulator, **sizes, **refused)
    except respeval.InputError as error:
        assert "one" in str(error) or "for good" in str(error), error
    else:
        raise AssertionError(f"{refused} is not refused")
found = respeval.probe(emulator, **sizes, output=f"{folder}/together")
assert found.summary
"""


def test_a_probe_on_two_processes_is_that_on_one(tmp_path: Path) -> None:
    checkpoint = studies.write_study(tmp_path, num_samples=1, steps=2, days=None)
    studies.training_states(12).to_netcdf(tmp_path / "training.nc")
    program = tmp_path / "program.py"
    program.write_text(PROBE)
    done = torchrun(2, checkpoint, tmp_path, program=[program])
    assert done.returncode == 0, done.stderr
    sizes: dict[str, Any] = {"num_batches": 2, "batch_size": 2, "seed": 3}
    alone = respeval.probe(checkpoint, data=tmp_path / "training.nc", **sizes)
    together = respeval.Probe(tmp_path / "together")
    largest = float(abs(alone.profile["grad_rms"]).max())
    np.testing.assert_allclose(
        together.profile["grad_rms"], alone.profile["grad_rms"], rtol=1e-4, atol=1e-6 * largest
    )
    assert not (tmp_path / "split").exists()
