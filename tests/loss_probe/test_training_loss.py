"""fme's loss section as the probe's loss and arms: what it means, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from respeval.errors import InputError
from respeval.fields.grid import Grid
from respeval.fields.transform import SphericalTransform
from respeval.loss_probe.arms import PerSample, Plain, SpectralPower
from respeval.loss_probe.loss import LossWeights, ScoredEnsemble, ensemble_loss
from respeval.loss_probe.plan import parse_settings
from respeval.loss_probe.training_loss import load_loss_config

WHITENED = {"kind": "per_sample", "eps_frac": 0.05, "exponent": 0.75}


def write(folder: Path, content: Any) -> Path:
    path = folder / "loss.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def section(**kwargs: Any) -> dict[str, Any]:
    return {"type": "EnsembleLoss", "kwargs": kwargs}


def test_defaults_are_those_of_fme_and_not_of_respeval(tmp_path: Path) -> None:
    loss = load_loss_config(write(tmp_path, {"type": "EnsembleLoss"}))
    assert loss.weights == LossWeights(crps=1.0, energy_score=0.0, alpha=1.0)
    assert loss.arms == (Plain(),)
    assert loss.num_members is None


def test_every_key_has_its_place(tmp_path: Path) -> None:
    kwargs = {
        "crps_weight": 0.1,
        "energy_score_weight": 0.9,
        "finite_difference_crps_weight": 0.3,
        "finite_difference_crps_levels": 2,
        "almost_fair_crps_alpha": 0.95,
        "energy_score_whitening": WHITENED,
    }
    content = section(**kwargs) | {"weights": {"a": 0.5}, "sqrt_loss_step_decay_constant": 1.0}
    loss = load_loss_config(write(tmp_path, content | {"global_mean_type": None}))
    assert loss.weights == LossWeights(0.1, 0.9, 0.3, 0.95, 2, {"a": 0.5})
    assert loss.arms == (Plain(), PerSample(gamma=0.75, eps=0.05))


@pytest.mark.parametrize(
    ("whitening", "arms"),
    [
        ({"kind": "per_sample"}, (Plain(), PerSample(gamma=0.5, eps=0.02))),
        ({"kind": "none"}, (Plain(),)),
        (None, (Plain(),)),
    ],
)
def test_the_arms_are_none_and_the_training_s_whitening(tmp_path, whitening, arms) -> None:
    loss = load_loss_config(write(tmp_path, section(energy_score_whitening=whitening)))
    assert loss.arms == arms


@pytest.mark.parametrize("name", ["stepper_training", "stepper"])
def test_a_training_s_configuration_is_read_where_its_loss_stands(tmp_path, name) -> None:
    training = {"loss": section(crps_weight=0.4), "n_ensemble": 3, "n_forward_steps": 2}
    content = {"max_epochs": 3, "stepper": {"step": {"type": "single_module"}}}
    loss = load_loss_config(write(tmp_path, content | {name: training}))
    assert loss.weights.crps == 0.4
    assert loss.num_members == 3
    training["n_ensemble"] = -1  # fme's default, said aloud
    assert load_loss_config(write(tmp_path, content | {name: training})).num_members is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"type": "MSE"}, "the loss is MSE, which respeval can't score (EnsembleLoss: CRPS"),
        ({"kwargs": {}}, "the loss is MSE (fme's default), which respeval can't score"),
        ({"type": "LpLoss", "kwargs": {"p": 2}}, "the loss is LpLoss"),
        (section(crps_wieght=1), "unknown key 'kwargs.crps_wieght'; did you mean 'crps_weight'?"),
        (section() | {"weight": {}}, "unknown key 'weight'; did you mean 'weights'?"),
        (
            section(energy_score_whitening={"kind": "per_sample", "gamma": 1}),
            "unknown key 'kwargs.energy_score_whitening.gamma'; known keys: kind, eps_frac, exponent",
        ),
        (section(energy_score_whitening={"kind": "zca"}), "'none' or 'per_sample', got 'zca'"),
        (section(energy_score_whitening={"exponent": 1}), "eps_frac and exponent need kind"),
        (section(energy_score_whitening=WHITENED | {"exponent": 2}), "gamma must lie in (0, 1]"),
        (section(crps_weight="much"), "kwargs.crps_weight: Input should be a valid number"),
        (section(crps_weight=0.0), "one must be positive"),
        (section(almost_fair_crps_alpha=2), "alpha must lie in [0, 1], got 2"),
        (section() | {"weights": {"a": -1}}, "the weight of a must not be negative, got -1"),
        (section() | {"global_mean_type": "LpLoss"}, "global_mean_type 'LpLoss' adds a loss"),
        ({"stepper_training": {}}, "has no loss section under stepper_training: loss:"),
        ({"stepper": {"checkpoint_path": "a"}}, "has no loss section"),
        (
            {"stepper_training": {"loss": section(), "corrector_loss": {"weight": 1}}},
            "stepper_training.corrector_loss is a part of the loss that respeval can't score",
        ),
        (
            {"stepper_training": {"loss": section(), "n_ensemble": 0}},
            "stepper_training.n_ensemble must be a whole number of at least 1, got 0",
        ),
        ("type: EnsembleLoss\ntype: MSE\n", "'type' is given twice"),
        ("- EnsembleLoss\n", "is no loss configuration: expected lines of 'key: value'"),
    ],
)
def test_what_can_t_be_scored_is_refused_in_one_line(tmp_path, content, message) -> None:
    path = write(tmp_path, content)
    with pytest.raises(InputError) as refused:
        load_loss_config(path)
    assert message in str(refused.value)
    assert str(refused.value).startswith(f"{path}")
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere.yaml: no such loss configuration"):
        load_loss_config(tmp_path / "nowhere.yaml")


def test_the_command_line_wins_over_arms_and_members_and_can_t_add_terms(tmp_path: Path) -> None:
    training = {"loss": section(energy_score_whitening=WHITENED), "n_ensemble": 2}
    path = write(tmp_path, {"stepper_training": training})
    nothing = {"crps": None, "alpha": None}
    settings = parse_settings(None, nothing, {"num_members": None}, path)
    assert settings.arms == (Plain(), PerSample(gamma=0.75, eps=0.05))
    assert (settings.num_members, settings.loss_config) == (2, path)
    settings = parse_settings(["spectral_power"], nothing, {"num_members": 4}, path)
    assert settings.arms == (SpectralPower(),)
    assert settings.num_members == 4
    with pytest.raises(InputError, match="states the whole loss: leave out --alpha, or the file"):
        parse_settings(None, nothing | {"alpha": 0.5}, {}, path)


@pytest.mark.parametrize("arm", [Plain(), PerSample()], ids=str)
def test_a_variable_s_weight_multiplies_prediction_and_target(arm) -> None:
    """All terms are mean moduli, so each output's part of the loss is proportional to its weight."""
    grid = Grid.legendre_gauss(8, 16)
    transform = SphericalTransform(grid, 8, 8)
    draw = torch.Generator().manual_seed(0)
    ensemble = torch.randn(2, 3, 3, 8, 16, generator=draw, dtype=torch.float64)
    target = torch.randn(3, 3, 8, 16, generator=draw, dtype=torch.float64)
    named = {"a": 0.25, "c": 3.0}
    weights = LossWeights(0.5, 0.3, 0.2, variables=named)
    factors = weights.of_variables(["a", "b", "c"])
    scored = ScoredEnsemble(ensemble, target, transform, weights, factors)
    parts = [
        weight * float(ensemble_loss(ensemble[:, :, [i]], target[:, [i]], transform, arm, weights))
        for i, weight in enumerate((0.25, 1.0, 3.0))
    ]
    assert float(scored.loss(arm).total) == pytest.approx(np.mean(parts), rel=1e-12)
    assert torch.equal(scored.target_coefficients, transform.forward(target))
    assert LossWeights(variables={"a": 1.0}).of_variables(["a", "b"]) is None
