"""What a gradient probe needs, opened and checked: checkpoint, filters, data and ensemble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from respeval.case.case import Case
from respeval.case.file import case_beside, load_case
from respeval.checkpoints import Checkpoint, InMemory, open_checkpoint
from respeval.emulator.contract import Emulator, EmulatorSpec
from respeval.emulator.splitting import check_split
from respeval.errors import InputError
from respeval.fields.notices import Notices
from respeval.fields.ranges import RangeCheck
from respeval.fields.transform import SphericalTransform
from respeval.loss_probe.activations import Recompute
from respeval.loss_probe.arms import Arm, PerSample, Plain, parse_arms
from respeval.loss_probe.filters import SpectralFilter, select_filters
from respeval.loss_probe.gradients import Ensemble, Normalization
from respeval.loss_probe.loss import LossWeights, full_truncation
from respeval.loss_probe.options import BATCH_SIZE, LOSS, NUM_BATCHES
from respeval.loss_probe.pairs import Pairs
from respeval.loss_probe.training_loss import load_loss_config
from respeval.plan.plan import usual_ranges

DEFAULT_ARMS: tuple[Arm, ...] = (Plain(), PerSample())


@dataclass(frozen=True)
class ProbeSettings:
    """What a probe is asked for. Defaults:

    - 16 batches of 8, so that the spread between batches is known to about a fifth;
    - two members where the emulator is stochastic (or gets input noise), as ACE trains, else one.

    input_noise: standard deviation of noise on the state, in units of the normalization.
    filters: glob over names of filters, None for all. recompute: what runs again instead of being
    kept; None for what fits into memory.
    loss_config: the file that the loss came from, if there was one.
    """

    arms: tuple[Arm, ...] = DEFAULT_ARMS
    num_batches: int = NUM_BATCHES
    batch_size: int = BATCH_SIZE
    num_members: int | None = None
    input_noise: float = 0.0
    filters: str | None = None
    seed: int = 0
    weights: LossWeights = field(default_factory=LossWeights)
    recompute: Recompute | None = None
    loss_config: Path | None = None


#: An ensemble is in memory as a whole, with its graph.
_MAX_MEMBERS = 1000


def parse_settings(
    arms: Sequence[str] | None,
    loss: Mapping[str, Any],
    options: Mapping[str, Any],
    loss_config: Path | None = None,
) -> ProbeSettings:
    """Settings from the command line's texts and numbers.

    loss: fields of `LossWeights`, None where they were not given. loss_config: file with a training's
    loss, which stands for all of them; arms and the number of members in `options` win over its own.
    Raises InputError that says what is allowed.
    """
    options = dict(options)
    given = {name: value for name, value in loss.items() if value is not None}
    chosen = DEFAULT_ARMS
    if loss_config is not None:
        if given:
            raise InputError(
                f"--loss-config {loss_config} states the whole loss: leave out "
                f"{', '.join(option.flag for option in LOSS if option.key in given)}, or the file"
            )
        training = load_loss_config(loss_config)
        weights, chosen = training.weights, training.arms
        if options.get("num_members") is None:
            options["num_members"] = training.num_members
    else:
        try:
            weights = LossWeights(**given)
        except ValueError as error:
            raise InputError(f"the loss: {error}") from None
    parsed = parse_arms(list(arms)) if arms else chosen
    if not 0 <= options.get("seed", 0) < 2**63:
        raise InputError(f"--seed {options['seed']}: expected a whole number from 0 to 2**63 - 1")
    return ProbeSettings(arms=parsed, weights=weights, loss_config=loss_config, **options)


@dataclass(frozen=True)
class ProbePlan:
    """A probe, checked and ready: everything that is the same on every process.

    notices: its warnings, those too that come while its data are read. reader: options of the
    checkpoint's reader.
    """

    checkpoint: Checkpoint
    location: str
    emulator: Emulator
    filters: tuple[SpectralFilter, ...]
    pairs: Pairs
    ensemble: Ensemble
    settings: ProbeSettings
    notices: Notices
    reader: Mapping[str, Any] = field(default_factory=dict)


def prepare_probe(
    checkpoint: Checkpoint,
    settings: ProbeSettings,
    data: str | None,
    case_file: Path | None,
    reader: Mapping[str, Any] = MappingProxyType({}),
    trust: bool = False,
) -> ProbePlan:
    """Open and check everything that a probe reads. Raises InputError in one line.

    data: a dataset of consecutive states; default: `probe_data` of the case file. case_file: default
    case.yaml beside the checkpoint, where there is one. reader: options of the checkpoint's reader on
    top of the case's. trust: whether code that the checkpoint holds may run.
    """
    path = case_file or case_beside(checkpoint)
    case = load_case(path, {}, takes_options=False) if path is not None else None
    options = {**(case.reader if case else {}), **reader}
    emulator = open_checkpoint(checkpoint, options, trust)
    location = data or (case.probe_data if case else None)
    if location is None:
        source = f"{path} has no probe_data" if path else f"no case.yaml beside {checkpoint}"
        if isinstance(checkpoint, InMemory) and not path:
            source = "no case"
        raise InputError(f"no data to probe with ({source}): give --data FILE")
    return replace(plan_probe(emulator, settings, location, case, checkpoint), reader=options)


def plan_probe(
    emulator: Emulator,
    settings: ProbeSettings,
    location: str,
    case: Case | None,
    checkpoint: Checkpoint,
) -> ProbePlan:
    """The plan of a probe of an emulator that is already loaded."""
    spec = emulator.spec
    if not isinstance(emulator, nn.Module):
        raise InputError(f"{checkpoint}: {spec.architecture} has no weights to probe")
    filters = select_filters(emulator, settings.filters, str(checkpoint))
    ensemble = _ensemble(spec, settings, checkpoint)
    _check_loss(spec, settings)
    try:
        transform_of(spec)
    except ValueError as error:
        raise InputError(f"{checkpoint}: {error}") from None
    notices = Notices()
    pairs = Pairs(
        location,
        spec,
        settings.num_batches,
        settings.batch_size,
        settings.seed,
        _aliases(spec, case),
        RangeCheck(usual_ranges(spec), notices, case is not None and case.allow_out_of_range),
    )
    Normalization(spec, torch.float32, torch.device("cpu"))
    opened = checkpoint, location, emulator, tuple(filters), pairs, ensemble
    return ProbePlan(*opened, settings, notices)


def check_probe_split(plan: ProbePlan, height: int, width: int) -> None:
    """Raise InputError where a probe's network can't be split into height x width parts."""
    check_split(plan.emulator, height, width, str(plan.checkpoint))
    by_order = [entry.name for entry in plan.filters if entry.order_axes]
    if by_order and height * width > 1:
        raise InputError(
            f"{plan.checkpoint}: the filters {', '.join(by_order[:3])} have weights for each order, which a "
            "split probe does not take; leave --spatial out"
        )


def _check_loss(spec: EmulatorSpec, settings: ProbeSettings) -> None:
    """Raise InputError where the loss asks for what the emulator's outputs do not have."""
    source = f"{settings.loss_config}: " if settings.loss_config else ""
    num_levels = settings.weights.finite_difference_levels
    most = (spec.grid.num_lat - 1).bit_length()
    if num_levels > most:
        name = "finite_difference_crps_levels" if source else "--finite-difference-levels"
        raise InputError(
            f"{source}{name} {num_levels}: {spec.grid.num_lat} latitudes allow at most {most}"
        )
    scored = [variable.name for variable in spec.loss_outputs]
    unknown = [name for name in settings.weights.variables if name not in scored]
    if unknown:
        raise InputError(
            f"{source}weights: the loss scores no {', '.join(unknown)} (it scores: {', '.join(scored)})"
        )


def _ensemble(spec: EmulatorSpec, settings: ProbeSettings, checkpoint: Checkpoint) -> Ensemble:
    """How many members, and whether anything makes them differ."""
    noise = settings.input_noise
    if not 0.0 <= noise < float("inf"):
        raise InputError(f"--input-noise {noise}: expected a number of at least 0")
    differ = spec.num_noise_channels > 0 or noise > 0
    asked = settings.num_members
    num_members = (2 if differ else 1) if asked is None else asked
    if num_members > _MAX_MEMBERS:
        raise InputError(f"--ensemble {num_members}: expected at most {_MAX_MEMBERS} members")
    if num_members < 1:
        raise InputError(
            f"--ensemble {num_members}: expected 2 members or more for a spread, or 1 for none"
        )
    if num_members > 1 and not differ:
        raise InputError(
            f"{checkpoint} is deterministic, so its {num_members} members would be equal: add "
            "--input-noise STD (in units of the normalization, e.g. 0.1), or use --ensemble 1"
        )
    if num_members == 1 and noise > 0:
        raise InputError(
            "--input-noise makes members differ and one member has no spread: use --ensemble 2 or "
            "more, or leave --input-noise out"
        )
    return Ensemble(num_members, settings.seed, noise)


def _aliases(spec: EmulatorSpec, case: Case | None) -> dict[str, str]:
    """Names of the forcing's variables in the files, where the case names them."""
    if case is None:
        return {}
    given = {
        spec.surface_temperature: case.roles.surface_temperature,
        spec.ocean_fraction: case.roles.ocean_fraction,
    }
    return {name: alias for name, alias in given.items() if name and alias}


def transform_of(spec: EmulatorSpec) -> SphericalTransform:
    """The transform of an emulator's outputs, at the full truncation of its grid.

    Raises ValueError where the grid has no quadrature.
    """
    lmax = full_truncation(spec.grid)
    return SphericalTransform(spec.grid, lmax, lmax, getattr(torch, spec.precision))
