"""From the state of an ACE checkpoint to an emulator: fme's model, and what respeval says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dacite
import torch
from fme.ace.stepper.single_module import Stepper
from fme.core.ema import load_ema_params_if_available
from torch import nn

from respeval.checkpoints.ace.emulator import AceEmulator, Builder
from respeval.checkpoints.ace.fme import fme_on, fme_version
from respeval.checkpoints.ace.options import AceOptions
from respeval.checkpoints.ace.spec import describe, entries
from respeval.checkpoints.filling import Unfilled, fill_like
from respeval.errors import InputError, first_line, pass_on

_CPU = torch.device("cpu")


def build_emulator(
    path: Path,
    state: Mapping[str, Any],
    ema: Mapping[str, Any],
    facts: Mapping[str, str],
    options: AceOptions,
    mapped: bool,
    with_weights: bool,
) -> AceEmulator:
    """The emulator in an ACE checkpoint's stepper state.

    ema: the checkpoint's moving average, empty where it has none; facts: what it says of its training.
    mapped: whether tensors lie in the mapped file. with_weights: whether the emulator gets numbers, or
    stays on torch's meta device. Raises InputError where respeval can't run the model, with the reason.
    """
    _check_grid_kind(path, state)
    with fme_on(_CPU), Unfilled(tables=with_weights) as unfilled:
        stepper = _from_state(path, state)
        averaged = _use_average(path, stepper, ema if options.ema else {})
    build = _builder(path, unfilled.shapes(state))
    if with_weights:
        _fill(path, unfilled, stepper, mapped)
    _check_step(path, stepper)
    labels = _choose_labels(path, state, options.labels)
    spec, names = describe(path, stepper, state["config"], options)
    description = {
        **facts,
        "weights": _which_weights(averaged, ema, options.ema),
        "fme": fme_version(),
        **_history(stepper, labels),
    }
    return AceEmulator(replace(spec, description=description), names, build, stepper, labels)


def _builder(path: Path, shapes: Mapping[str, Any]) -> Builder:
    """What makes the model on a device, with the weights of another one's modules."""

    def build(
        modules: nn.ModuleList, device: torch.device, change: Callable[[Stepper], None]
    ) -> Stepper:
        with fme_on(device), Unfilled():
            stepper = _from_state(path, shapes)
        change(stepper)
        fill_like(stepper.modules, modules, device)
        return stepper

    return build


def _fill(path: Path, unfilled: Unfilled, stepper: Stepper, mapped: bool) -> None:
    try:
        unfilled.fill(stepper.modules, _CPU, mapped)
    except KeyError as error:
        raise InputError(f"{path} does not hold all of its model: it lacks {error}") from None


def _from_state(path: Path, state: Mapping[str, Any]) -> Stepper:
    try:
        return Stepper.from_state(dict(state))
    except dacite.exceptions.DaciteError as error:
        raise InputError(
            f"{path} was written by another version of fme than the installed {fme_version()}: "
            f"{first_line(error)}"
        ) from None
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        pass_on(error)
        raise InputError(
            f"{path}: fme {fme_version()} can't build its model ({type(error).__name__}: "
            f"{first_line(error)})"
        ) from None
    except NotImplementedError as error:
        raise InputError(f"{path}: {first_line(error)}") from None


def _use_average(path: Path, stepper: Stepper, average: Mapping[str, Any]) -> bool:
    """Put the moving average of the weights into the model; False where the file has none."""
    try:
        return bool(load_ema_params_if_available({"ema": average}, stepper.modules, str(path)))
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        pass_on(error)
        raise InputError(
            f"{path}: its moving average does not fit its model ({first_line(error)}); --reader ema=false "
            "leaves it out"
        ) from None


def _which_weights(averaged: bool, ema: Mapping[str, Any], wanted: bool) -> str:
    if averaged:
        return f"moving average (updates: {int(ema['num_updates'])})"
    if wanted:
        return "as stored; the file has no moving average beside them"
    return "as stored, without a moving average (reader: {ema: false})"


def _check_grid_kind(path: Path, state: Mapping[str, Any]) -> None:
    info = state.get("dataset_info")
    coordinates = info.get("horizontal_coordinates") if isinstance(info, Mapping) else None
    if isinstance(coordinates, Mapping) and "face" in coordinates:
        raise InputError(
            f"{path} is on a HEALPix grid, which respeval does not support yet; it runs models on "
            "latitude-longitude grids"
        )


def _check_step(path: Path, stepper: Stepper) -> None:
    ocean = stepper.config.get_ocean()
    if ocean is not None and ocean.is_slab:
        raise InputError(
            f"{path} has a slab ocean, which computes its SST and does not read the forcing's, so a change "
            "of SST can't reach it; respeval runs prescribed oceans only"
        )
    if stepper.n_ic_timesteps != 1:
        raise InputError(
            f"{path} starts from {stepper.n_ic_timesteps} times; respeval runs models that start from one"
        )


def _choose_labels(
    path: Path, state: Mapping[str, Any], asked: Sequence[str] | None
) -> tuple[str, ...] | None:
    """Labels that every member gets; None where the model takes none."""
    encodings = [entry for entry in entries(state.get("step"), "label_encoding") if entry]
    if not encodings:
        if asked is not None:
            raise InputError(f"{path} takes no labels (reader option labels: {', '.join(asked)})")
        return None
    known = [str(label) for label in encodings[0]["labels"]]
    choice = f"reader: {{labels: [{known[0]}]}} in the case file, or --reader labels={known[0]}"
    if not asked:
        raise InputError(f"{path} needs labels (it knows: {', '.join(known)}): {choice}")
    unknown = [label for label in asked if label not in known]
    if unknown:
        raise InputError(
            f"{path} does not know the label {', '.join(unknown)} (it knows: {', '.join(known)}): {choice}"
        )
    return tuple(asked)


def _history(stepper: Stepper, labels: Sequence[str] | None) -> dict[str, str]:
    jobs = [
        " ".join(text for text in (job.job_id, job.git_sha and f"fme at {job.git_sha}") if text)
        for job in stepper.training_history
    ]
    told = [job for job in jobs if job]
    facts = {"training jobs": "; ".join(told)} if told else {}
    known = sorted(stepper.training_dataset_info.all_labels)
    if known:
        facts["labels"] = f"{', '.join(known)} (used: {', '.join(labels) if labels else 'none'})"
    return facts
