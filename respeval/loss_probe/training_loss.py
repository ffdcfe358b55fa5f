"""The loss of a training, as fme's YAML states it, for the gradient probe: its terms and its arms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from respeval.errors import InputError
from respeval.files.settings import STRICT, first_fault, read_yaml, unknown_key, wrong_value
from respeval.loss_probe.arms import Arm, PerSample, Plain
from respeval.loss_probe.loss import LossWeights

_ALLOWED = "EnsembleLoss: CRPS, spectral energy score and finite-difference CRPS"


class _Frozen(BaseModel):
    model_config = STRICT


class _Whitening(_Frozen):
    """fme's `energy_score_whitening`."""

    kind: Literal["none", "per_sample"] = "none"
    eps_frac: float | None = None
    exponent: float | None = None


class _EnsembleLoss(_Frozen):
    """The keyword arguments of fme's `EnsembleLoss`, with fme's defaults."""

    crps_weight: float = 1.0
    energy_score_weight: float = 0.0
    finite_difference_crps_weight: float = 0.0
    finite_difference_crps_levels: int = 1
    almost_fair_crps_alpha: float = 1.0
    energy_score_whitening: _Whitening | None = None


class _StepLoss(_Frozen):
    """fme's `StepLoss` section; the decay is of a training's later steps, and the probe does one."""

    type: Literal["EnsembleLoss"]
    kwargs: _EnsembleLoss = _EnsembleLoss()
    global_mean_type: None = None
    global_mean_kwargs: dict[str, Any] = {}
    global_mean_weight: float = 1.0
    sqrt_loss_step_decay_constant: float = 0.0
    weights: dict[str, float] = {}


_SECTIONS: dict[tuple[str, ...], type[BaseModel]] = {
    (): _StepLoss,
    ("kwargs",): _EnsembleLoss,
    ("kwargs", "energy_score_whitening"): _Whitening,
}


@dataclass(frozen=True)
class TrainingLoss:
    """A training's loss of one step.

    arms: the loss without whitening, and the training's own where it has one.
    num_members: of the training's ensemble; None where the file does not say it.
    """

    weights: LossWeights
    arms: tuple[Arm, ...]
    num_members: int | None


def load_loss_config(path: Path) -> TrainingLoss:
    """The loss in a YAML file: fme's loss section, or a training's configuration that holds one.

    Of a configuration the section under `stepper_training: loss:` (in older ones `stepper: loss:`) is
    read, and `n_ensemble` beside it. Raises InputError in one line, also where the loss has a part
    that respeval does not compute.
    """
    kind = "loss configuration"
    content = read_yaml(path, kind)
    section, num_members = _find_section(path, content)
    chosen = section.get("type", "MSE")
    if chosen != "EnsembleLoss":
        stated = "" if "type" in section else " (fme's default)"
        raise InputError(
            f"{path}: the loss is {chosen}{stated}, which respeval can't score ({_ALLOWED})"
        )
    if section.get("global_mean_type") is not None:
        raise InputError(
            f"{path}: global_mean_type {section['global_mean_type']!r} adds a loss of global means, which "
            f"respeval can't score; leave it out ({_ALLOWED})"
        )
    try:
        loss = _StepLoss.model_validate(section)
        return TrainingLoss(_weights(loss), _arms(loss.kwargs.energy_score_whitening), num_members)
    except ValidationError as error:
        raise InputError(f"{path}: {_explain(error)}") from None
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def _find_section(path: Path, content: Mapping[str, Any]) -> tuple[dict[str, Any], int | None]:
    """The loss section, and the number of members where it is said."""
    if "stepper_training" not in content and "stepper" not in content:
        return dict(content), None
    for name in ("stepper_training", "stepper"):
        training = content.get(name)
        if isinstance(training, Mapping) and isinstance(training.get("loss"), Mapping):
            if training.get("corrector_loss") is not None:
                raise InputError(
                    f"{path}: {name}.corrector_loss is a part of the loss that respeval can't score"
                )
            return dict(training["loss"]), _num_members(path, name, training.get("n_ensemble"))
    raise InputError(f"{path} has no loss section under stepper_training: loss: or stepper: loss:")


def _num_members(path: Path, name: str, value: object) -> int | None:
    if value is None or value == -1:  # fme's own default, which depends on the loss
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(
            f"{path}: {name}.n_ensemble must be a whole number of at least 1, got {value!r}"
        )
    return value


def _weights(loss: _StepLoss) -> LossWeights:
    terms = loss.kwargs
    return LossWeights(
        crps=terms.crps_weight,
        energy_score=terms.energy_score_weight,
        finite_difference_crps=terms.finite_difference_crps_weight,
        alpha=terms.almost_fair_crps_alpha,
        finite_difference_levels=terms.finite_difference_crps_levels,
        variables=loss.weights,
    )


def _arms(whitening: _Whitening | None) -> tuple[Arm, ...]:
    if whitening is None or whitening.kind == "none":
        if whitening is not None and (whitening.eps_frac, whitening.exponent) != (None, None):
            raise ValueError("energy_score_whitening: eps_frac and exponent need kind: per_sample")
        return (Plain(),)
    usual = PerSample()
    gamma = usual.gamma if whitening.exponent is None else whitening.exponent
    eps = usual.eps if whitening.eps_frac is None else whitening.eps_frac
    return Plain(), PerSample(gamma, eps)


def _explain(error: ValidationError) -> str:
    """The first fault of a loss section in one line, with what is allowed."""
    fault = first_fault(error)
    where = [str(part) for part in fault["loc"]]
    if fault["type"] != "extra_forbidden":
        return wrong_value(fault)
    return unknown_key(where, list(_SECTIONS[tuple(where[:-1])].model_fields))
