"""`respeval gradient-probe` beside a plain loop over fme's own TrainStepper, layer by layer."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dacite
import numpy as np
import pytest
import torch
import xarray as xr
import yaml
from fme.ace.data_loading.batch_data import BatchData
from fme.ace.stepper.single_module import (
    Stepper,
    TrainStepper,
    TrainStepperConfig,
    load_stepper,
)
from fme.core.dataset.schedule import IntSchedule
from fme.core.dataset.xarray import XarrayDataConfig
from fme.core.labels import LabelEncoding
from fme.core.optimization import NullOptimization
from torch.overrides import TorchFunctionMode
from typer.testing import CliRunner

from respeval.cli import app
from respeval.emulator.noise import CounterNoise
from tests.support.ace.files import AceFiles

NUM_BATCHES, BATCH_SIZE = 3, 2
SIZE = ["--batches", NUM_BATCHES, "--batch-size", BATCH_SIZE]
#: With a floor so high that some degrees lie under it.
WHITENING = {"kind": "per_sample", "exponent": 0.75, "eps_frac": 0.5}
KWARGS = {
    "crps_weight": 0.6,
    "energy_score_weight": 0.4,
    "finite_difference_crps_weight": 0.2,
    "finite_difference_crps_levels": 2,
    "almost_fair_crps_alpha": 0.95,
    "energy_score_whitening": WHITENING,
}
WEIGHTS = {"TMP2m": 0.5, "PRATEsfc": 2.0}


@dataclass(frozen=True)
class Model:
    """A trained checkpoint: its ensemble, its labels, and the axis of the degree in its filters.

    mean_taken_out: whether a normalization behind the filter takes out what its degree 0 does, so that
        the gradient of that is zero but for rounding.
    """

    num_members: int
    degree_axis: int
    labels: tuple[str, ...] = ()
    mean_taken_out: bool = False

    @property
    def reader(self) -> list[str]:
        return ["--reader", f"labels=[{', '.join(self.labels)}]"] if self.labels else []


MODELS = {
    "stochastic": Model(2, degree_axis=1),  # (group, l, out, in, 2)
    "labels": Model(2, degree_axis=1, labels=("winter",)),
    "deterministic": Model(1, degree_axis=2),  # (in, out, l, 2)
    "interpolate": Model(1, degree_axis=2, mean_taken_out=True),  # (in, out, l, 2)
}


class SameNoise(TorchFunctionMode):
    """Gives fme's draws, which it makes for a whole batch, the numbers of its trajectories."""

    def __init__(self, streams: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.source = CounterNoise(0, streams, 0)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not torch.randn:
            return func(*args, **(kwargs or {}))
        (shape,) = args
        assert shape[0] == len(self.source.streams)
        return self.source.normal(*shape[1:])


class OnlyBackward(NullOptimization):
    """What a training does with a loss, without the step."""

    def __init__(self) -> None:
        super().__init__()
        self.loss = 0.0

    def accumulate_loss(self, loss: torch.Tensor) -> None:
        self.loss = loss.item()
        loss.backward()  # type: ignore[no-untyped-call]

    def set_mode(self, modules: torch.nn.ModuleList) -> None:
        modules.train()


def write_loss(folder: Path, model: Model, **kwargs: Any) -> Path:
    loss = {"type": "EnsembleLoss", "kwargs": {**KWARGS, **kwargs}, "weights": WEIGHTS}
    path = folder / "train.yaml"
    content = {"stepper_training": {"loss": loss, "n_ensemble": model.num_members}}
    path.write_text(yaml.safe_dump(content))
    return path


def training(stepper: Stepper, loss_file: Path) -> TrainStepper:
    """fme's trainer with the loss in a file, as fme reads it."""
    section = yaml.safe_load(loss_file.read_text())["stepper_training"]
    config = dacite.from_dict(TrainStepperConfig, section, dacite.Config(strict=True))
    return TrainStepper(stepper, config)


def batches(ace: AceFiles, stepper: Stepper, model: Model, rows: np.ndarray) -> list[BatchData]:
    """Batches of two times, read by fme from its training layout."""
    names = stepper.config.get_evaluation_window_data_requirements(1).names
    config = XarrayDataConfig(str(ace.training_folder), labels=list(model.labels) or None)
    dataset, _ = config.build(names, IntSchedule.from_constant(2))
    known = sorted(stepper.training_dataset_info.all_labels)
    encoding = LabelEncoding(known) if known else None
    return [
        BatchData.from_sample_tuples(
            [dataset[int(row)] for row in of_batch], label_encoding=encoding
        )
        for of_batch in rows
    ]


def plain_script(
    ace: AceFiles, name: str, loss_file: Path, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Losses [batch], and gradient RMS over batches [layer, degree], per real weight."""
    model = MODELS[name]
    stepper = load_stepper(ace.checkpoint(name), use_ema_if_available=True)
    trainer = training(stepper, loss_file)
    weights = [
        weight
        for key, weight in stepper.modules.named_parameters()
        if key.endswith("filter.filter.weight")
    ]
    losses, squares = [], []
    for batch, of_batch in zip(batches(ace, stepper, model, rows), rows, strict=True):
        streams = [(int(row), member) for row in of_batch for member in range(model.num_members)]
        optimization = OnlyBackward()
        stepper.modules.zero_grad()
        with SameNoise(streams):
            trainer.train_on_batch(batch, optimization)
        losses.append(optimization.loss)
        by_degree = [w.grad.double().square().movedim(model.degree_axis, 0) for w in weights]
        squares.append([square.flatten(1).mean(dim=1).numpy() for square in by_degree])
    return np.array(losses), np.sqrt(np.mean(squares, axis=0))


def probe(ace: AceFiles, name: str, loss_file: Path, out: Path, *options: Any) -> xr.Dataset:
    """gradient_profile.nc of the command."""
    given = ["--data", ace.training_folder, "--loss-config", loss_file, "-o", out]
    arguments = [ace.checkpoint(name), *given, *MODELS[name].reader, *SIZE, *options]
    result = CliRunner().invoke(app, ["gradient-probe", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    (out / "said.txt").write_text(result.output)
    return xr.load_dataset(out / "gradient_profile.nc")


def drawn_rows(ace: AceFiles) -> np.ndarray:
    """Rows of the record that start the pairs of the batches, [batch, sample], as the probe draws them."""
    with xr.open_mfdataset(ace.training_data, data_vars="minimal") as record:
        num_pairs = record.sizes["time"] - 1
    drawn = np.random.default_rng(0).permutation(num_pairs)[: NUM_BATCHES * BATCH_SIZE]
    return np.sort(drawn.reshape(NUM_BATCHES, BATCH_SIZE), axis=1)


@pytest.mark.parametrize("name", MODELS)
def test_the_gradient_by_degree_is_that_of_fme_s_training(
    ace: AceFiles, name: str, tmp_path: Path
) -> None:
    loss_file = write_loss(tmp_path, MODELS[name])
    profile = probe(ace, name, loss_file, tmp_path / "out")
    assert list(profile["arm"].values) == ["none", "per_sample:gamma=0.75,eps=0.5"]
    for arm, whitening in enumerate((None, WHITENING)):
        plain = write_loss(tmp_path, MODELS[name], energy_score_whitening=whitening)
        losses, rms = plain_script(ace, name, plain, drawn_rows(ace))
        found = profile.isel(arm=arm)
        np.testing.assert_allclose(found["loss"], losses, rtol=1e-5)
        if MODELS[name].mean_taken_out:
            for values in (found["grad_rms"].values, rms):
                assert (values[:, 0] < 1e-6 * rms.max()).all()
                values[:, 0] = 0.0
        np.testing.assert_allclose(found["grad_rms"], rms, rtol=1e-4)


def test_a_training_configuration_that_fme_wrote_is_read(ace: AceFiles, tmp_path: Path) -> None:
    """The one that fme left beside the checkpoint: CRPS and energy score, no whitening, two members."""
    config = ace.checkpoint("stochastic").parents[1] / "config.yaml"
    profile = probe(ace, "stochastic", config, tmp_path / "out")
    assert list(profile["arm"].values) == ["none"]
    losses, rms = plain_script(ace, "stochastic", config, drawn_rows(ace))
    np.testing.assert_allclose(profile["loss"][0], losses, rtol=1e-5)
    np.testing.assert_allclose(profile["grad_rms"][0], rms, rtol=1e-4)


def test_recomputed_activations_and_two_processes_give_the_same(
    ace: AceFiles, tmp_path: Path
) -> None:
    loss_file = write_loss(tmp_path, MODELS["stochastic"])
    kept = probe(ace, "stochastic", loss_file, tmp_path / "kept")
    out = tmp_path / "again"
    again = probe(ace, "stochastic", loss_file, out, "--checkpoint-activations")
    for name in ("grad_rms", "loss"):
        np.testing.assert_allclose(again[name], kept[name], rtol=1e-5)
    given = ["--data", ace.training_folder, "--loss-config", loss_file, *SIZE]
    launch = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        2,
        "-m",
        "respeval",
    ]
    command = [sys.executable, *launch, "gradient-probe", ace.checkpoint("stochastic"), *given]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    environment |= {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(
        [*map(str, command), "-o", str(tmp_path / "two")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    two = xr.load_dataset(tmp_path / "two" / "gradient_profile.nc")
    for name in ("grad_rms", "grad_snr", "loss"):
        np.testing.assert_allclose(two[name], kept[name], rtol=1e-9)


def test_derived_variables_stay_out_of_the_loss(ace: AceFiles, tmp_path: Path) -> None:
    """`reader: {derived: true}` may stand in the case file that a run and a probe share."""
    loss_file = write_loss(tmp_path, MODELS["stochastic"])
    plain = probe(ace, "stochastic", loss_file, tmp_path / "plain")
    reader = ["--reader", "derived=true"]
    derived = probe(ace, "stochastic", loss_file, tmp_path / "derived", *reader)
    for name in ("grad_rms", "loss", "output_gradient"):
        np.testing.assert_array_equal(derived[name], plain[name])
    said = (tmp_path / "derived" / "said.txt").read_text()
    assert "; without " in said
    assert "total_water_path" in said
    assert "; without " not in (tmp_path / "plain" / "said.txt").read_text()
