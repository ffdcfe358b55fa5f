"""Drives a gradient probe: prepares it, runs its batches, reduces once, and writes its files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import torch
import xarray as xr
from torch import nn

from respeval.checkpoints import open_checkpoint
from respeval.comm import Comm
from respeval.config import Case, load_case
from respeval.emulator import Emulator, EmulatorSpec
from respeval.errors import InputError
from respeval.grid import SphericalTransform
from respeval.loss_probe.arms import Arm, PerSample, Plain, parse_arms
from respeval.loss_probe.files import profile_dataset
from respeval.loss_probe.filters import SpectralFilter, select_filters
from respeval.loss_probe.gradients import Ensemble, Normalization, Probe
from respeval.loss_probe.loss import LossWeights, full_truncation
from respeval.loss_probe.pairs import Pairs
from respeval.loss_probe.profile import ProbeSums, make_profile
from respeval.loss_probe.summary import summarize
from respeval.output import FIGURES, SUMMARY, write_json, write_netcdf
from respeval.plotting import gradient_profile, save

PROFILE = "gradient_profile.nc"
DEFAULT_ARMS: tuple[Arm, ...] = (Plain(), PerSample())


@dataclass(frozen=True)
class ProbeSettings:
    """What a probe is asked for. Defaults:

    - 16 batches of 8, so that the spread between batches is known to about a fifth;
    - two members where the emulator is stochastic (or gets input noise), as ACE trains, else one.

    input_noise: standard deviation of noise on the state, in units of the normalization.
    filters: glob over names of filters, None for all. recompute: see `Probe`.
    """

    arms: tuple[Arm, ...] = DEFAULT_ARMS
    num_batches: int = 16
    batch_size: int = 8
    num_members: int | None = None
    input_noise: float = 0.0
    filters: str | None = None
    seed: int = 0
    weights: LossWeights = field(default_factory=LossWeights)
    recompute: bool = False


def parse_settings(
    arms: Sequence[str] | None, loss: tuple[Any, ...], options: Mapping[str, Any]
) -> ProbeSettings:
    """Settings from the command line's texts and numbers; loss: arguments of `LossWeights`.

    Raises InputError that says what is allowed.
    """
    parsed = parse_arms(list(arms)) if arms else DEFAULT_ARMS
    try:
        weights = LossWeights(*loss)
    except ValueError as error:
        raise InputError(f"the loss: {error}") from None
    if options.get("seed", 0) < 0:
        raise InputError(f"--seed {options['seed']}: expected a whole number of at least 0")
    return ProbeSettings(arms=parsed, weights=weights, **options)


@dataclass(frozen=True)
class ProbePlan:
    """A probe, checked and ready: everything that is the same on every process."""

    checkpoint: Path
    location: str
    emulator: Emulator
    filters: tuple[SpectralFilter, ...]
    pairs: Pairs
    ensemble: Ensemble
    settings: ProbeSettings


class ProbeReporter(Protocol):
    """What a probe tells while it runs; on the root process alone."""

    def planned(self, plan: ProbePlan) -> None: ...

    def probed(self, batch: int) -> None: ...

    def close(self) -> None: ...


def prepare_probe(
    checkpoint: Path, settings: ProbeSettings, data: str | None, case_file: Path | None
) -> ProbePlan:
    """Open and check everything that a probe reads. Raises InputError in one line.

    data: a dataset of consecutive states; default: `probe_data` of the case file. case_file: default
    case.yaml beside the checkpoint, where there is one.
    """
    beside = checkpoint.parent / "case.yaml"
    path = case_file or (beside if beside.is_file() else None)
    case = load_case(path, {}) if path is not None else None
    emulator = open_checkpoint(checkpoint, case.reader if case else {})
    location = data or (case.probe_data if case else None)
    if location is None:
        source = f"{path} has no probe_data" if path else f"no case.yaml beside {checkpoint}"
        raise InputError(f"no data to probe with ({source}): give --data FILE")
    return plan_probe(emulator, settings, location, case, checkpoint)


def plan_probe(
    emulator: Emulator,
    settings: ProbeSettings,
    location: str,
    case: Case | None,
    checkpoint: Path,
) -> ProbePlan:
    """The plan of a probe of an emulator that is already loaded."""
    spec = emulator.spec
    if not isinstance(emulator, nn.Module):
        raise InputError(f"{checkpoint}: {spec.architecture} has no weights to probe")
    filters = select_filters(emulator, settings.filters, str(checkpoint))
    ensemble = _ensemble(spec, settings, checkpoint)
    try:
        _transform(spec)
    except ValueError as error:
        raise InputError(f"{checkpoint}: {error}") from None
    pairs = Pairs(
        location,
        spec,
        settings.num_batches,
        settings.batch_size,
        settings.seed,
        _aliases(spec, case),
    )
    Normalization(spec, torch.float32, torch.device("cpu"))
    return ProbePlan(checkpoint, location, emulator, tuple(filters), pairs, ensemble, settings)


def _ensemble(spec: EmulatorSpec, settings: ProbeSettings, checkpoint: Path) -> Ensemble:
    """How many members, and whether anything makes them differ."""
    noise = settings.input_noise
    if not 0.0 <= noise < float("inf"):
        raise InputError(f"--input-noise {noise}: expected a number of at least 0")
    differ = spec.num_noise_channels > 0 or noise > 0
    asked = settings.num_members
    num_members = (2 if differ else 1) if asked is None else asked
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


def _transform(spec: EmulatorSpec) -> SphericalTransform:
    lmax = full_truncation(spec.grid)
    return SphericalTransform(spec.grid, lmax, lmax, getattr(torch, spec.precision))


def run_probe(plan: ProbePlan, comm: Comm, reporter: ProbeReporter) -> ProbeSums:
    """Run this process's batches and add up all processes'; the sums are whole on the root.

    Every process calls it. Weights and modes are left as they were found.
    """
    reporter.planned(plan)
    spec, settings, device = plan.emulator.spec, plan.settings, comm.device
    dtype = getattr(torch, spec.precision)
    emulator = plan.emulator.to(device)
    assert isinstance(emulator, nn.Module)
    emulator.eval()
    filters = tuple(select_filters(emulator, settings.filters, str(plan.checkpoint)))
    transform = _transform(spec).to(device)
    normalize = Normalization(spec, dtype, device)
    probe = Probe(
        emulator,
        filters,
        settings.arms,
        settings.weights,
        plan.ensemble,
        normalize,
        transform,
        settings.recompute,
    )
    area_weight = torch.from_numpy(spec.grid.area_weights()).to(device, dtype)
    pairs = plan.pairs
    sums = ProbeSums(
        pairs.num_batches,
        pairs.batch_size,
        len(spec.outputs),
        settings.arms,
        filters,
        transform.lmax,
        device,
    )

    def probe_batches() -> None:
        for batch in range(comm.rank, pairs.num_batches, comm.num_processes):
            found = probe.gradients(pairs.read(batch, dtype, device))
            sums.add(batch, found, area_weight, transform)
            reporter.probed(batch)

    wanted = _only_filters_need_gradients(emulator, filters)
    comm.together(probe_batches)
    for parameter, flag in wanted:
        parameter.requires_grad_(flag)
    sums.unpack(comm.sum_to_root(sums.pack()))
    return sums


def _only_filters_need_gradients(
    network: nn.Module, filters: tuple[SpectralFilter, ...]
) -> list[tuple[nn.Parameter, bool]]:
    """Ask for gradients of the filters alone, which saves memory; returns what was asked before."""
    before = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    for parameter, _ in before:
        parameter.requires_grad_(any(parameter is entry.parameter for entry in filters))
    return before


def check_folder(folder: Path) -> None:
    """Raises InputError where a folder holds anything but an earlier probe, or can't be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        present = {entry.name for entry in folder.iterdir()}
    except OSError as error:
        raise InputError(f"{folder} can't be made ({error.strerror})") from None
    if present and PROFILE not in present:
        raise InputError(
            f"{folder} is not empty and holds no gradient probe; choose another folder with -o"
        )


@dataclass(frozen=True)
class ProbeFiles:
    """What a probe wrote: the contents of gradient_profile.nc and summary.json, the figure's path."""

    profile: xr.Dataset
    summary: dict[str, float | list[float] | None]
    figure: Path


def write_probe(plan: ProbePlan, sums: ProbeSums, folder: Path) -> ProbeFiles:
    """Write gradient_profile.nc, summary.json and the figure.

    Raises InputError where a loss is not finite.
    """
    settings = plan.settings
    arms = [str(arm) for arm in settings.arms]
    profile = make_profile(sums, plan.filters, settings.arms)
    for i, arm in enumerate(arms):
        if not bool(torch.isfinite(torch.from_numpy(profile.loss[i])).all()):
            raise InputError(f"{plan.checkpoint}: the loss of arm {arm} is not finite")
    layers = [entry.name for entry in plan.filters]
    dataset = profile_dataset(profile, arms, layers, _provenance(plan))
    write_netcdf(dataset, folder / PROFILE)
    summary = summarize(profile.batch_square, profile.loss, arms, settings.seed)
    write_json(folder / SUMMARY, summary)
    (folder / FIGURES).mkdir(exist_ok=True)
    figure = save(gradient_profile(dataset), folder / FIGURES / "gradient_profile.png")
    return ProbeFiles(dataset, summary, figure)


def _provenance(plan: ProbePlan) -> dict[str, object]:
    with plan.checkpoint.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    settings, weights = plan.settings, plan.settings.weights
    return {
        "checkpoint": plan.checkpoint.name,
        "checkpoint_sha256": digest,
        "data": plan.location,
        "batches": f"{settings.num_batches} of {settings.batch_size}, drawn with seed {settings.seed}",
        "ensemble": f"{plan.ensemble.num_members} members, input noise {plan.ensemble.input_noise:g}",
        "loss": f"{weights.crps:g} CRPS (alpha {weights.alpha:g}) + {weights.energy_score:g} energy "
        f"score + {weights.finite_difference_crps:g} finite-difference CRPS",
        "history": f"{datetime.now(UTC).isoformat(timespec='seconds')} respeval gradient-probe",
    }
