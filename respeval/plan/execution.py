"""How a run is computed; nothing here changes its results beyond rounding."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from respeval.checkpoints import Checkpoint, InMemory
from respeval.distributed.comm import Comm
from respeval.emulator.computing import check_precision
from respeval.emulator.contract import EmulatorSpec
from respeval.emulator.splitting import check_split, localize
from respeval.errors import InputError
from respeval.plan.plan import Plan
from respeval.rollout.members import Member
from respeval.rollout.steps import Rollout


class Threads:
    """Threads of this process: as asked, else one until the emulator is known, then its default."""

    def __init__(self, asked: int | None) -> None:
        self._asked = min(asked, os.cpu_count() or 1) if asked else None
        self._usual = torch.get_num_threads()
        torch.set_num_threads(self._asked or 1)

    def choose(self, spec: EmulatorSpec, comm: Comm) -> None:
        torch.set_num_threads(self._asked or default_threads(spec, comm) or self._usual)


#: Grids with fewer cells than this run faster on one thread than on several.
SMALL_GRID_CELLS = 64 * 128


@dataclass(frozen=True)
class Execution:
    """How a run is computed; nothing here changes its results beyond rounding.

    window_length: steps of forcing read at once, None for about 64 MiB.
    samples_per_batch: samples stepped at once with all their groups; None for one on a CPU, where
        a small batch is fastest, and for all on a GPU. `with_batch_size` puts a number in the place
        of `auto`.
    fail_fast: whether the first member that blows up ends the run, instead of leaving the means.
    compile: whether the network runs as torch.compile makes it.
    fast_transforms: whether the network's spectral convolutions are computed in their fast form.

    Raises InputError where both of the last two are asked for.
    """

    window_length: int | None = None
    samples_per_batch: int | Literal["auto"] | None = None
    fail_fast: bool = False
    compile: bool = False
    fast_transforms: bool = False

    def __post_init__(self) -> None:
        if self.compile and self.fast_transforms:
            raise InputError(
                "--fast-transforms is made of products that torch.compile would take apart again; leave "
                "out either --compile or --fast-transforms"
            )


def default_threads(spec: EmulatorSpec, comm: Comm) -> int | None:
    """Threads of this process, None for torch's own choice.

    One under torchrun and on small grids, where threads wait for each other more than they work.
    """
    small = spec.grid.num_lat * spec.grid.num_lon < SMALL_GRID_CELLS
    return 1 if comm.num_processes > 1 or small else None


def check_execution(plan: Plan, checkpoint: Checkpoint, execution: Execution, comm: Comm) -> None:
    """Raise InputError where the plan's emulator, of this checkpoint, can't compute so."""
    precision = plan.case.precision
    check_precision(plan.emulator, precision, comm.device)
    changing = {
        "spatial": comm.mesh.is_split,
        "compile": execution.compile,
        "fast_transforms": execution.fast_transforms,
    }
    if isinstance(checkpoint, InMemory) and any(changing.values()):
        asked = next(name for name, is_asked in changing.items() if is_asked)
        raise InputError(
            f"{asked} changes a network for good, and {checkpoint} is to stay as it is: leave it out, or "
            "save a checkpoint and run that"
        )
    if not comm.mesh.is_split:
        return
    for asked, is_asked in (
        ("--compile", execution.compile),
        ("--fast-transforms", execution.fast_transforms),
        ("precision bfloat16", precision == "bfloat16"),
    ):
        if is_asked:
            raise InputError(
                f"{asked} is not for fields that are split (--spatial {comm.mesh}); leave out either"
            )
    check_split(plan.emulator, comm.mesh.height, comm.mesh.width, str(checkpoint))


def localize_emulator(plan: Plan, comm: Comm) -> None:
    """Make the plan's emulator work on this process's block of the grid; every process calls it, once.

    What needs whole fields, such as the plan itself, comes before.
    """
    with torch.inference_mode(False):
        comm.together(lambda: localize(plan.emulator, comm.mesh))


def samples_at_once(plan: Plan, execution: Execution, comm: Comm) -> int:
    """How many samples of this process are stepped as one batch, with all their groups."""
    usual = 1 if comm.device.type == "cpu" else plan.num_samples
    asked = execution.samples_per_batch
    return asked if isinstance(asked, int) else usual


def make_rollout(
    plan: Plan, members: Sequence[Member], execution: Execution, comm: Comm
) -> Rollout:
    """The rollout of this process's members on its device."""
    case = plan.case
    # Weights that move within a run's inference mode would be good for inference alone ever after, and
    # programs of torch.export can't be moved there.
    with torch.inference_mode(False):
        emulator = plan.emulator.to(comm.device)
    return Rollout(
        emulator,
        plan.forcing,
        plan.initial,
        plan.patterns,
        members,
        plan.num_steps,
        case.ocean_fraction_cutoff,
        case.initial_condition_scope,
        case.seed,
        case.paired_noise,
        samples_at_once(plan, execution, comm) * len(case.groups),
        execution.window_length or plan.forcing.window_length(),
        comm,
        case.precision,
        execution.compile,
        execution.fast_transforms,
    )
