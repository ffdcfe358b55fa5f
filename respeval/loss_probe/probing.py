"""Drives a gradient probe: runs its batches, reduces once, and writes its files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import nn

from respeval.distributed.comm import Comm
from respeval.distributed.held import HeldErrors
from respeval.emulator.computing import computing_in
from respeval.emulator.splitting import localize
from respeval.errors import InputError, enough_memory
from respeval.files.lock import FolderLock
from respeval.files.netcdf import write_netcdf
from respeval.files.publish import make_folder, write_json
from respeval.loss_probe.activations import Recompute
from respeval.loss_probe.files import PROFILE, profile_dataset
from respeval.loss_probe.filters import select_filters
from respeval.loss_probe.footprint import Footprint, measure_footprint
from respeval.loss_probe.gradients import Normalization, Probe
from respeval.loss_probe.identity import check_folder, identity_of
from respeval.loss_probe.plan import ProbePlan, transform_of
from respeval.loss_probe.profile import ProbeSums, make_profile
from respeval.loss_probe.summary import summarize
from respeval.plan.memory import free_memory
from respeval.plotting import gradient_profile, save
from respeval.run_folder.names import FIGURES, SUMMARY, WARNINGS

_LESS_MEMORY = "give --checkpoint-activations, a smaller --batch-size or --ensemble, or fewer --arm"


class ProbeReporter:
    """What a probe tells while it runs: nothing, on every process but the root."""

    def planned(self, plan: ProbePlan) -> None:
        """What will be probed."""

    def sized(self, footprint: Footprint, recompute: Recompute, free: int) -> None:
        """What it takes, what runs again instead of being kept, and the bytes that are free."""

    def probed(self, batch: int) -> None:
        """A batch of this process is done."""

    def close(self) -> None:
        """The probe has ended, well or badly."""


def run_probe(plan: ProbePlan, comm: Comm, reporter: ProbeReporter) -> ProbeSums:
    """Run this process's batches and add up all processes'; the sums are whole on the root.

    Every process calls it. Weights are not changed, nor what asks for gradients afterwards.
    """
    reporter.planned(plan)
    pairs, device, spec = plan.pairs, comm.device, plan.emulator.spec
    dtype = getattr(torch, spec.precision)
    area_weight = torch.from_numpy(spec.grid.area_weights()).to(device, dtype)
    with _ready(plan, comm) as probe:
        probe = replace(probe, recompute=_choose(plan, probe, comm, reporter))
        sums = ProbeSums(
            pairs.num_batches,
            pairs.batch_size,
            len(spec.loss_outputs),
            probe.arms,
            probe.filters,
            probe.transform.lmax,
            device,
        )

        def probe_batch(batch: int) -> None:
            read = comm.together_here(lambda: pairs.read(batch, dtype, device))
            found = probe.gradients(read.of_tile(probe.tile), partial(sums.take, batch))
            sums.add(batch, found, area_weight, probe.transform)
            reporter.probed(batch)

        def with_memory(batch: int) -> None:
            with enough_memory("for the probe", _LESS_MEMORY), comm.stepping():
                probe_batch(batch)

        held, split = HeldErrors(comm), comm.mesh.is_split
        for batch in range(comm.data_rank, pairs.num_batches, comm.num_data):
            held.attempt(partial(with_memory, batch), takes_part=split)
        held.gather(None)
        for told in comm.gather(plan.notices.told):
            plan.notices.take(told)
    sums.reduce(comm.sum_to_root)
    if comm.data_rank == 0:
        sums.gather_degrees(comm.mesh, [entry.num_degrees for entry in plan.filters])
    return sums


def look_ahead(plan: ProbePlan, comm: Comm) -> tuple[Footprint, int]:
    """What a probe would take on the root, and the bytes that are free there, on every process."""
    with _ready(plan, comm) as probe:
        return comm.on_first(lambda: _measure(plan, probe, comm))


def _choose(plan: ProbePlan, probe: Probe, comm: Comm, reporter: ProbeReporter) -> Recompute:
    """What runs again instead of being kept: as asked, or what fits into the root's memory."""
    footprint, free = comm.on_first(lambda: _measure(plan, probe, comm))
    chosen = plan.settings.recompute or footprint.choice(free)
    reporter.sized(footprint, chosen, free)
    return chosen


def _measure(plan: ProbePlan, probe: Probe, comm: Comm) -> tuple[Footprint, int]:
    dtype = getattr(torch, plan.emulator.spec.precision)
    with enough_memory("for one forward pass of the probe", _LESS_MEMORY):
        read = comm.together_here(lambda: plan.pairs.read(0, dtype, comm.device))
        batch = read.of_tile(probe.tile)
        footprint = measure_footprint(probe, batch, plan.pairs.num_batches)
    return footprint, free_memory(comm.device)


@contextlib.contextmanager
def _ready(plan: ProbePlan, comm: Comm) -> Iterator[Probe]:
    """The probe on this process's device, whose filters alone ask for gradients, in float32."""
    probe = _make_probe(plan, comm)
    with _only_filters_need_gradients(probe), computing_in("float32", probe.emulator, comm.device):
        yield probe


def _make_probe(plan: ProbePlan, comm: Comm) -> Probe:
    spec, settings, device = plan.emulator.spec, plan.settings, comm.device
    comm.together(lambda: localize(plan.emulator, comm.mesh))
    emulator = plan.emulator.to(device)
    assert isinstance(emulator, nn.Module)
    emulator.eval()
    return Probe(
        emulator,
        tuple(select_filters(emulator, settings.filters, str(plan.checkpoint))),
        settings.arms,
        settings.weights,
        plan.ensemble,
        Normalization(spec, getattr(torch, spec.precision), device),
        transform_of(spec).to(device),
        mesh=comm.mesh,
    )


@contextlib.contextmanager
def _only_filters_need_gradients(probe: Probe) -> Iterator[None]:
    """Ask for gradients of the filters alone, which saves memory, and of what it was before after."""
    assert isinstance(probe.emulator, nn.Module)
    before = [(parameter, parameter.requires_grad) for parameter in probe.emulator.parameters()]
    wanted = {id(entry.parameter) for entry in probe.filters}
    try:
        for parameter, _ in before:
            parameter.requires_grad_(id(parameter) in wanted)
        yield
    finally:
        for parameter, flag in before:
            parameter.requires_grad_(flag)


@contextlib.contextmanager
def own_folder(folder: Path, plan: ProbePlan, comm: Comm) -> Iterator[None]:
    """The folder of a probe's results, made where there is none, held by the root within this.

    Raises InputError, on all processes, where it can't be made, where another process works in it, or
    where it holds anything but results of this very probe.
    """
    lock = FolderLock(folder)

    def take() -> None:
        make_folder(folder)
        lock.acquire()
        check_folder(folder, plan)

    try:
        comm.on_root(take)
        yield
    finally:
        if comm.is_root:
            lock.release()


@dataclass(frozen=True)
class ProbeFiles:
    """What a probe wrote: the contents of gradient_profile.nc, summary.json's numbers, the figure's path."""

    profile: xr.Dataset
    summary: dict[str, float | list[float] | None]
    figure: Path


def write_probe(plan: ProbePlan, sums: ProbeSums, folder: Path) -> ProbeFiles:
    """Write gradient_profile.nc, summary.json and the figure.

    Raises InputError where a loss or a gradient is not finite.
    """
    settings = plan.settings
    arms = [str(arm) for arm in settings.arms]
    profile = make_profile(sums, plan.filters, settings.arms)
    has_weights = np.isfinite(profile.weight_rms)
    for i, arm in enumerate(arms):
        found = {"loss": profile.loss[i], "gradient": profile.batch_square[i][:, has_weights]}
        for what, values in found.items():
            if not np.isfinite(values).all():
                raise InputError(f"{plan.checkpoint}: the {what} of arm {arm} is not finite")
    layers = [entry.name for entry in plan.filters]
    dataset = profile_dataset(profile, arms, layers, _provenance(plan))
    write_netcdf(dataset, folder / PROFILE)
    summary = summarize(profile.batch_square, profile.loss, arms, settings.seed)
    texts = list(plan.notices.texts)
    write_json(folder / SUMMARY, {**summary, **({WARNINGS: texts} if texts else {})})
    (folder / FIGURES).mkdir(exist_ok=True)
    figure = save(gradient_profile(dataset), folder / FIGURES / "gradient_profile.png")
    return ProbeFiles(dataset, summary, figure)


def _provenance(plan: ProbePlan) -> dict[str, object]:
    file = plan.settings.loss_config
    return {
        "checkpoint": plan.checkpoint.name,
        **identity_of(plan),
        **({"loss_config": file.name} if file else {}),
        "history": f"{datetime.now(UTC).isoformat(timespec='seconds')} respeval gradient-probe",
    }
