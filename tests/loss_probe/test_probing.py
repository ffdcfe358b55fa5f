"""The gradient probe from the command to its files, against a plain loop, alone and on processes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from typer.testing import CliRunner

from respeval.case.file import load_case
from respeval.checkpoints.native import NativeEmulator, load_checkpoint
from respeval.cli import app
from respeval.distributed.comm import Comm
from respeval.emulator.noise import METHOD, CounterNoise
from respeval.errors import InputError
from respeval.fields.grid import Grid
from respeval.fields.transform import SphericalTransform
from respeval.loss_probe.arms import PerSample, Plain, SpectralPower, parse_arms
from respeval.loss_probe.loss import LossWeights, ensemble_loss
from respeval.loss_probe.plan import ProbeSettings, plan_probe
from respeval.loss_probe.probing import ProbeReporter, run_probe, write_probe
from respeval.loss_probe.profile import make_profile
from respeval.loss_probe.summary import told_of_batches
from respeval.planet import shipped_checkpoint
from respeval.planet.datasets import make_record
from respeval.plotting import gradient_profile
from respeval.presentation.console.parts import natural_width
from respeval.presentation.console.probe import probe_table, probe_tables
from tests.support.processes import torchrun
from tests.support.studies import GRID, checkpoint, write_study
from tests.support.training import training


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tiny.pt, deterministic; noisy.pt, stochastic; training.nc; case.yaml naming it."""
    made = tmp_path_factory.mktemp("probe")
    write_study(made, probe_data="training.nc")
    checkpoint(made / "noisy.pt", num_noise_channels=2)
    training().to_netcdf(made / "training.nc")
    return made


def probe(name: Path, **options: Any) -> Any:
    """Profile of a probe of a checkpoint in its folder, through the functions."""
    settings = ProbeSettings(**{"num_batches": 3, "batch_size": 4, **options})
    emulator = load_checkpoint(name)
    plan = plan_probe(emulator, settings, str(name.parent / "training.nc"), None, name)
    sums = run_probe(plan, Comm(), ProbeReporter())
    return plan, make_profile(sums, plan.filters, settings.arms)


def command(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["gradient-probe", *map(str, arguments)])


def loop_step(emulator: NativeEmulator, record: xr.Dataset, row: int, member: int) -> torch.Tensor:
    """Outputs of one trajectory, physical units."""

    def fields(names: Any, at: int) -> torch.Tensor:
        values = [
            np.broadcast_to(record[n].isel(time=at, missing_dims="ignore"), GRID.shape)
            for n in names
        ]
        return torch.from_numpy(np.stack(values)).float()[None]

    spec = emulator.spec
    return emulator.step(
        fields([v.name for v in spec.prognostic], row),
        fields(spec.required_forcing, row),
        fields(spec.required_forcing, row + 1),
        CounterNoise(0, [(row, member)], 0),
    )[0]


def loop_target(emulator: NativeEmulator, record: xr.Dataset, rows: Any) -> torch.Tensor:
    """Normalized states a step later, [sample, output, lat, lon]."""
    names = [v.name for v in emulator.spec.outputs]
    after = np.stack([[record[name].values[row + 1] for name in names] for row in rows])
    return emulator.normalize_outputs(torch.from_numpy(after).float())


@pytest.mark.parametrize("name", ["tiny.pt", "noisy.pt"])
def test_gradients_are_those_of_one_arm_at_a_time_with_a_fresh_forward(folder, name) -> None:
    arms = (Plain(), PerSample(gamma=1.0), SpectralPower())
    plan, profile = probe(folder / name, arms=arms)
    emulator, record = load_checkpoint(folder / name), training()
    transform = SphericalTransform(GRID, 8, 8, torch.float32)
    num_members = plan.ensemble.num_members
    assert num_members == (2 if name == "noisy.pt" else 1)
    for a, arm in enumerate(arms):
        gradients, losses = [], []
        for rows in plan.pairs.rows:
            emulator.zero_grad()
            members = [
                [loop_step(emulator, record, int(r), m) for r in rows] for m in range(num_members)
            ]
            ensemble = torch.stack([torch.stack(samples) for samples in members])
            ensemble = emulator.normalize_outputs(ensemble)
            loss = ensemble_loss(ensemble, loop_target(emulator, record, rows), transform, arm)
            loss.backward()
            losses.append(loss.item())
            weights = [block.global_conv.weight for block in emulator.network.blocks]
            gradients.append([w.grad.numpy().astype(complex) for w in weights])
        vectors = np.moveaxis(np.array(gradients), -1, 2).reshape(len(losses), 2, 8, -1)
        rms = np.sqrt((abs(vectors) ** 2).mean(axis=(0, 3)) / 2)  # two real numbers per weight
        np.testing.assert_allclose(profile.grad_rms[a], rms, rtol=2e-4)
        np.testing.assert_allclose(profile.loss[a], losses, rtol=1e-5)
        mean = vectors.mean(axis=0)
        spread = np.sqrt((abs(vectors - mean) ** 2).sum(axis=(0, 3)) / (len(losses) - 1))
        snr = np.linalg.norm(mean, axis=-1) / spread
        np.testing.assert_allclose(profile.grad_snr[a], snr, rtol=1e-3)


def test_the_loss_scores_the_outputs_of_its_own_normalization_in_its_units(
    folder, tmp_path
) -> None:
    """Two outputs of four, in other units than the network's; the others need no target."""
    units = {"skin": (270.0, 2.0), "air_temperature_1": (290.0, 5.0)}
    emulator, record = load_checkpoint(folder / "tiny.pt"), training()
    emulator.spec = dataclasses.replace(emulator.spec, loss_normalization=units)
    record.drop_vars("rain").to_netcdf(tmp_path / "training.nc")
    weights = LossWeights(crps=1.0, energy_score=0.0)
    settings = ProbeSettings(arms=(Plain(),), num_batches=2, batch_size=3, weights=weights)
    location = str(tmp_path / "training.nc")
    plan = plan_probe(emulator, settings, location, None, folder / "tiny.pt")
    profile = make_profile(run_probe(plan, Comm(), ProbeReporter()), plan.filters, settings.arms)
    names = [v.name for v in emulator.spec.outputs]
    for b, rows in enumerate(plan.pairs.rows):
        errors = []
        for row in rows:
            outputs = loop_step(emulator, record, int(row), 0).detach().numpy()
            for name, (_, scale) in units.items():
                target = record[name].values[row + 1]
                errors.append(np.abs(outputs[names.index(name)] - target) / scale)
        np.testing.assert_allclose(profile.loss[0, b], np.mean(errors), rtol=1e-5)


def test_recomputing_gives_the_same_as_keeping_the_graph(folder) -> None:
    arms = (Plain(), PerSample())
    kept = probe(folder / "noisy.pt", arms=arms, input_noise=0.1)[1]
    again = probe(folder / "noisy.pt", arms=arms, input_noise=0.1, recompute="trajectories")[1]
    np.testing.assert_allclose(again.grad_rms, kept.grad_rms, rtol=1e-4)
    np.testing.assert_allclose(again.grad_snr, kept.grad_snr, rtol=1e-3)
    np.testing.assert_allclose(again.loss, kept.loss, rtol=1e-5)


def test_weights_and_flags_are_left_as_they_were(folder) -> None:
    name = folder / "tiny.pt"
    emulator = load_checkpoint(name)
    emulator.network.blocks[0].global_conv.weight.requires_grad_(False)
    before = {key: value.clone() for key, value in emulator.state_dict().items()}
    flags = [p.requires_grad for p in emulator.parameters()]
    torch.set_float32_matmul_precision("medium")  # as a notebook may have done
    settings = ProbeSettings(num_batches=2, batch_size=2)
    plan = plan_probe(emulator, settings, str(folder / "training.nc"), None, name)
    run_probe(plan, Comm(), ProbeReporter())
    assert all(torch.equal(before[key], value) for key, value in emulator.state_dict().items())
    assert [p.requires_grad for p in emulator.parameters()] == flags
    assert torch.get_float32_matmul_precision() == "highest"
    assert all(p.grad is None for p in emulator.parameters())


def test_finite_differences_take_as_many_levels_as_there_are_rows_for(folder: Path) -> None:
    weights = LossWeights(finite_difference_crps=0.5, finite_difference_levels=3)
    profile = probe(folder / "tiny.pt", weights=weights, num_batches=2)[1]
    assert (profile.loss > probe(folder / "tiny.pt", num_batches=2)[1].loss).all()


def test_noise_makes_members_differ_and_the_seed_repeats_it(folder) -> None:
    first = probe(folder / "tiny.pt", input_noise=0.2)
    assert first[0].ensemble.num_members == 2
    np.testing.assert_array_equal(first[1].loss, probe(folder / "tiny.pt", input_noise=0.2)[1].loss)
    other = probe(folder / "tiny.pt", input_noise=0.2, seed=1)[1]
    assert (other.loss != first[1].loss).all()
    plain = probe(folder / "tiny.pt")[1]
    # With the same pairs and no noise the two members would be equal: noise lets the spread in.
    assert (first[1].loss != plain.loss).all()


@pytest.fixture(scope="module")
def done(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A probe by the command, with the data of the case file."""
    out = tmp_path_factory.mktemp("out") / "probe"
    arms = ["--arm", "none", "--arm", "per_sample", "--arm", "spectral_power"]
    result = command(folder / "noisy.pt", "-o", out, *arms, "--batches", 5, "--batch-size", 3)
    assert result.exit_code == 0, result.output
    assert "log-log slope" in result.output
    loss = "loss: 0.9 CRPS (alpha 0.95) + 0.1 energy score + 0 finite-difference CRPS\n"
    assert loss in result.output
    return out


def test_the_files_are_as_the_contract_says(done: Path) -> None:
    with xr.open_dataset(done / "gradient_profile.nc") as profile:
        sizes = {"arm": 3, "layer": 2, "degree": 8, "batch": 5}
        dims = {
            ("arm", "layer", "degree"): ("grad_rms", "grad_snr", "relative_update"),
            ("layer", "degree"): ("weight_rms",),
            ("arm", "degree"): ("energy_score", "whitening_factor", "output_gradient"),
            ("degree",): ("target_amplitude",),
            ("arm", "batch"): ("loss",),
        }
        for expected, names in dims.items():
            for name in names:
                assert profile[name].dims == expected
                assert profile[name].attrs["units"] == "1"
                assert profile[name].attrs["long_name"]
        assert {dim: profile.sizes[dim] for dim in sizes} == sizes
        assert profile.attrs["Conventions"] == "CF-1.11"
        assert "3 finite" not in profile.attrs["loss_terms"]
        assert profile.attrs["noise"] == METHOD
        assert list(profile["arm"].values) == ["none", "per_sample", "spectral_power"]
        assert (profile["whitening_factor"].sel(arm="none") == 1).all()
        assert profile["whitening_factor"].sel(arm="spectral_power").isnull().all()
        np.testing.assert_allclose(profile["energy_share"].sum("degree"), 1.0)
        np.testing.assert_allclose(
            profile["relative_update"], profile["grad_rms"] / profile["weight_rms"]
        )
        np.testing.assert_allclose(
            profile["grad_rms"], np.sqrt(profile["batch_square"].mean("batch"))
        )
    summary = json.loads((done / "summary.json").read_text())
    for name in ("gradient_low_to_high_ratio", "gradient_rank_correlation", "gradient_log_slope"):
        assert len(summary[f"per_sample/{name}_interval"]) == 2
        assert f"per_sample/{name}_minus_none_interval" in summary
    assert (done / "figures" / "gradient_profile.png").stat().st_size > 10_000


@pytest.mark.parametrize(("options", "named"), [([], None), (["--input-noise", 0.1], METHOD)])
def test_a_probe_without_noise_names_none(
    folder: Path, tmp_path: Path, options: list[object], named: str | None
) -> None:
    size = ["--batches", 1, "--batch-size", 1]
    assert command(folder / "tiny.pt", "-o", tmp_path / "out", *size, *options).exit_code == 0
    with xr.open_dataset(tmp_path / "out" / "gradient_profile.nc") as profile:
        assert profile.attrs.get("noise") == named


def test_the_figure_shows_every_arm_and_layer(done: Path) -> None:
    with xr.open_dataset(done / "gradient_profile.nc") as profile:
        panels = gradient_profile(profile).axes
        assert len(panels) == 6
        arms = [text.get_text() for text in panels[0].figure.legends[0].get_texts()]
        assert arms[:3] == ["none", "per_sample", "spectral_power"]
        thick = [
            line for line in panels[0].lines if line.get_linewidth() > 1 and len(line.get_xdata())
        ]
        mean = profile["grad_rms"].mean("layer").values[:, 1:]
        for line, expected in zip(thick, mean, strict=True):
            np.testing.assert_allclose(line.get_ydata(), expected)
        assert panels[1].get_title(loc="left") == "b  Gradient / none"
        alone = gradient_profile(profile.isel(arm=[0], layer=[0])).axes
        assert alone[1].get_title(loc="left") == "b  Gradient of outputs"


def test_the_table_has_a_column_for_every_arm(done: Path) -> None:
    summary = json.loads((done / "summary.json").read_text())
    with xr.open_dataset(done / "gradient_profile.nc") as profile:
        table = probe_table(summary, profile, "probe")
        assert [column.header for column in table.columns[1:]] == list(profile["arm"].values)
        alone = probe_table(summary, profile.isel(arm=[0]), "probe")
        assert alone.row_count == table.row_count - 4  # no differences and their intervals
        num_batches = profile.sizes["batch"]
        assert table.caption == told_of_batches(num_batches)
        assert (table.caption is None) == (num_batches >= 6)


def test_arms_that_find_no_room_are_in_a_further_table(done: Path) -> None:
    summary = json.loads((done / "summary.json").read_text())
    with xr.open_dataset(done / "gradient_profile.nc") as profile:
        whole = probe_table(summary, profile, "probe")
        width = natural_width(whole) - 1
        tables = probe_tables(summary, profile, "probe", width)
    assert [len(table.columns) for table in tables] == [3, 2]
    assert max(map(natural_width, tables)) <= width
    parts = [list(column.cells) for table in tables for column in table.columns[1:]]
    assert parts == [list(column.cells) for column in whole.columns[1:]]


def test_the_table_has_the_digits_that_the_intervals_leave(done: Path) -> None:
    summary = json.loads((done / "summary.json").read_text())
    key = "per_sample/gradient_log_slope_minus_none"
    summary |= {key: 0.0812, f"{key}_interval": [0.0803, 0.0821]}
    with xr.open_dataset(done / "gradient_profile.nc") as profile:
        cells = list(probe_table(summary, profile, "probe").columns[2].cells)
    assert cells[cells.index("+0.0812") + 1] == "+0.0803 to +0.0821"
    assert f"{summary['per_sample/gradient_rms_low']:.2e}" in cells


def test_intervals_of_few_batches_say_so() -> None:
    assert told_of_batches(6) is None
    assert (
        told_of_batches(5) == "intervals are from 5 batches, too narrow: give --batches 6 or more"
    )
    assert told_of_batches(1) == "there are no intervals, as there is one batch; give --batches"


def test_two_processes_give_what_one_gives(folder: Path, done: Path, tmp_path: Path) -> None:
    out = tmp_path / "two"
    arms = ["--arm", "none", "--arm", "per_sample", "--arm", "spectral_power"]
    size = ["--batches", 5, "--batch-size", 3]
    result = torchrun(2, "gradient-probe", folder / "noisy.pt", "-o", out, *arms, *size)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("log-log slope") == 1
    with (
        xr.open_dataset(done / "gradient_profile.nc") as one,
        xr.open_dataset(out / "gradient_profile.nc") as two,
    ):
        for name in one.data_vars:
            np.testing.assert_allclose(two[name], one[name], rtol=1e-9, err_msg=str(name))


def test_an_error_on_one_process_ends_all_with_one_line(folder: Path, tmp_path: Path) -> None:
    """The one batch is the root's; the other process has none and waits."""
    size = ["--batches", 1, "--batch-size", 2]
    broken = training()
    broken["air_temperature_0"][:, 3, 3] = np.nan
    broken.to_netcdf(tmp_path / "broken.nc")
    arguments = ["--data", tmp_path / "broken.nc", "-o", tmp_path / "none", *size]
    result = torchrun(2, "gradient-probe", folder / "tiny.pt", *arguments)
    said = [line for line in result.stderr.splitlines() if line.startswith("respeval:")]
    assert len(said) == 1
    assert "air_temperature_0 is missing at" in said[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--ensemble", "2"],
            "is deterministic, so its 2 members would be equal: add --input-noise",
        ),
        (["--ensemble", "2"], "or use --ensemble 1"),
        (["--ensemble", "0"], "expected 2 members or more for a spread"),
        (["--ensemble", "1", "--input-noise", "0.1"], "one member has no spread"),
        (["--input-noise", "-1"], "expected a number of at least 0"),
        (["--arm", "per_sample:gamma=1.5"], "gamma must lie in (0, 1], got 1.5"),
        (["--arm", "per_sampl"], "did you mean 'per_sample'?"),
        (["--arm", "none", "--arm", "none"], "given twice"),
        (
            ["--batches", "9", "--batch-size", "9"],
            "40 pairs of a state and the next; 9 batches of 9",
        ),
        (["--batches", "0"], "--batches 0: expected a whole number of at least 1"),
        (
            ["--filter", "nothing*"],
            "fits none of the spectral filters (network.blocks.0.global_conv",
        ),
        (["--crps-weight", "0", "--energy-score-weight", "0"], "one must be positive"),
        (["--alpha", "2"], "alpha must lie in [0, 1]"),
        (["--data", "nowhere.nc"], "nowhere.nc: no such file"),
        (["--seed", "-1"], "--seed -1"),
        (["--finite-difference-levels", "4"], "8 latitudes allow at most 3"),
    ],
)
def test_a_wrong_option_is_refused_in_one_line(folder, tmp_path, options, message) -> None:
    result = command(folder / "tiny.pt", "-o", tmp_path / "out", *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


LOSS = """
stepper_training:
  n_ensemble: 2
  loss:
    type: EnsembleLoss
    weights: {rain: 0.5}
    kwargs:
      crps_weight: 0.1
      energy_score_weight: 0.9
      energy_score_whitening: {kind: per_sample, exponent: 1.0}
"""


def test_the_loss_of_a_training_s_configuration_is_probed(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "train.yaml"
    path.write_text(LOSS)
    size, out = ["--batches", 2, "--batch-size", 3], tmp_path / "out"
    done = command(folder / "noisy.pt", "-o", out, "--loss-config", path, *size)
    assert done.exit_code == 0, done.output
    weights = LossWeights(0.1, 0.9, alpha=1.0, variables={"rain": 0.5})
    arms = (Plain(), PerSample(gamma=1.0))
    _, same = probe(folder / "noisy.pt", arms=arms, weights=weights, num_batches=2, batch_size=3)
    _, other = probe(
        folder / "noisy.pt",
        arms=arms,
        weights=dataclasses.replace(weights, variables={}),
        num_batches=2,
        batch_size=3,
    )
    with xr.open_dataset(out / "gradient_profile.nc") as profile:
        assert list(profile["arm"].values) == ["none", "per_sample:gamma=1.0"]
        np.testing.assert_array_equal(profile["grad_rms"], same.grad_rms)
        np.testing.assert_array_equal(profile["target_amplitude"], other.target_amplitude)
        assert (profile["loss"].values < other.loss).all()
        assert profile.attrs["loss_config"] == "train.yaml"
        assert profile.attrs["loss_variable_weights"] == "rain 0.5"


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (LOSS, ["--alpha", "0.9"], "states the whole loss: leave out --alpha, or the file"),
        (LOSS, [], "is deterministic, so its 2 members would be equal"),
        ("type: MSE", [], "the loss is MSE, which respeval can't score"),
        (
            "{type: EnsembleLoss, weights: {snow: 1}}",
            [],
            "weights: the loss scores no snow (it scores: air_temperature_0, air_temperature_1, skin, rain)",
        ),
        (
            "{type: EnsembleLoss, kwargs: {finite_difference_crps_levels: 4}}",
            [],
            "finite_difference_crps_levels 4: 8 latitudes allow at most 3",
        ),
    ],
)
def test_a_loss_that_does_not_fit_is_refused_in_one_line(
    folder, tmp_path, text, options, message
) -> None:
    path = tmp_path / "loss.yaml"
    path.write_text(text)
    given = ["--loss-config", path, *options]
    result = command(folder / "tiny.pt", "-o", tmp_path / "out", *given)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def one_time(record: xr.Dataset) -> xr.Dataset:
    return record.isel(time=slice(0, 1))


def no_time(record: xr.Dataset) -> xr.Dataset:
    return record.isel(time=0, drop=True)


def no_rain(record: xr.Dataset) -> xr.Dataset:
    return record.drop_vars("rain")


def gap(record: xr.Dataset) -> xr.Dataset:
    return record.isel(time=[*range(10), *range(20, 41)])


def hole(record: xr.Dataset) -> xr.Dataset:
    return record.where((record["time"] != 5) | (record["lat"] < 70))


def other_grid(record: xr.Dataset) -> xr.Dataset:
    return training(Grid.legendre_gauss(6, 12))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (one_time, "has 1 time: the probe needs a state and the next state"),
        (no_time, "has 0 times: the probe needs a state and the next state"),
        (no_rain, "has no 'rain'"),
        (gap, "has a gap: no times between"),
        (hole, "is missing at"),
        (other_grid, "on another grid than the emulator's"),
    ],
)
def test_data_that_does_not_fit_is_refused_in_one_line(folder, tmp_path, change, message) -> None:
    change(training()).to_netcdf(tmp_path / "data.nc")
    arguments = ["--data", tmp_path / "data.nc", "--batches", 1, "--batch-size", 10]
    if change is hole:
        arguments[-1] = 40
    result = command(folder / "tiny.pt", "-o", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_numbers_that_are_none_are_not_written(folder: Path, tmp_path: Path, what: str) -> None:
    settings = ProbeSettings(num_batches=2, batch_size=2)
    name = folder / "tiny.pt"
    plan = plan_probe(load_checkpoint(name), settings, str(folder / "training.nc"), None, name)
    sums = run_probe(plan, Comm(), ProbeReporter())
    broken = sums.loss if what == "loss" else sums.filter_square[1]
    broken[1, 0] = torch.nan
    with pytest.raises(InputError, match=f"the {what} of arm per_sample is not finite"):
        write_probe(plan, sums, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_data_the_option_is_named(folder, tmp_path) -> None:
    checkpoint(tmp_path / "tiny.pt")
    result = command(tmp_path / "tiny.pt", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "give --data FILE" in result.stderr
    data = ["--data", folder / "training.nc", "--batches", 2, "--batch-size", 2]
    assert command(tmp_path / "tiny.pt", "-o", tmp_path / "out", *data).exit_code == 0
    refused = command(tmp_path / "tiny.pt", "-o", tmp_path, *data)
    assert refused.exit_code == 2
    assert "holds no gradient probe" in refused.stderr
    assert not (tmp_path / ".lock").exists()


def test_the_checkpoint_file_is_not_touched(folder: Path, tmp_path: Path) -> None:
    name = folder / "tiny.pt"
    before = hashlib.sha256(name.read_bytes()).hexdigest()
    size = ["--batches", 2, "--batch-size", 2]
    assert command(name, "-o", tmp_path / "out", *size).exit_code == 0
    assert hashlib.sha256(name.read_bytes()).hexdigest() == before


def test_whitening_lifts_high_degrees_of_the_shipped_checkpoint(tmp_path: Path) -> None:
    """The plain arm declines with degree, and the arms tilt the gradient in order of gamma."""
    record = make_record(Grid.legendre_gauss(24, 48), 20)
    record.to_netcdf(tmp_path / "training.nc")
    name = shipped_checkpoint("perturbed_sst")
    arms = parse_arms(["none", "per_sample:gamma=0.5", "per_sample:gamma=1.0"])
    settings = ProbeSettings(arms=arms, num_batches=4, batch_size=4)
    plan = plan_probe(load_checkpoint(name), settings, str(tmp_path / "training.nc"), None, name)
    sums = run_probe(plan, Comm(), ProbeReporter())
    (tmp_path / "out").mkdir()
    summary = write_probe(plan, sums, tmp_path / "out").summary
    assert summary["none/gradient_rank_correlation"] < -0.9
    assert summary["none/gradient_low_to_high_ratio"] > 2
    labels = [str(arm) for arm in arms]
    for statistic, sign in (("gradient_low_to_high_ratio", -1), ("gradient_log_slope", 1)):
        values = [summary[f"{label}/{statistic}"] for label in labels]
        assert (np.diff(values) * sign > 0).all(), statistic
    low, _ = summary[f"{labels[2]}/gradient_log_slope_minus_none_interval"]
    assert low > 0


def test_roles_of_the_case_name_the_forcing_in_the_data(folder: Path, tmp_path: Path) -> None:
    record = training().rename(ocean_fraction="sea")
    record.to_netcdf(tmp_path / "data.nc")
    case = load_case(folder / "case.yaml", {"roles": {"ocean_fraction": "sea"}})
    settings = ProbeSettings(num_batches=2, batch_size=2, weights=LossWeights(energy_score=0.5))
    name = folder / "tiny.pt"
    plan = plan_probe(load_checkpoint(name), settings, str(tmp_path / "data.nc"), case, name)
    renamed = make_profile(run_probe(plan, Comm(), ProbeReporter()), plan.filters, settings.arms)
    same = probe(name, num_batches=2, batch_size=2, weights=LossWeights(energy_score=0.5))[1]
    np.testing.assert_array_equal(renamed.loss, same.loss)
