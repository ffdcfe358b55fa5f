"""The folder of a finished run of many months, written by respeval's own code without an emulator."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import cftime
import numpy as np
import torch

from benchmarks.studies import DIAGNOSTIC, NUM_LEVELS, PROGNOSTIC, scales
from respeval.case.file import load_case
from respeval.fields.calendar import DAY_S, to_seconds
from respeval.fields.grid import Grid
from respeval.fields.variables import Roles, Variable
from respeval.rollout.members import Member
from respeval.rollout.segments import plan_segments
from respeval.rollout.sums import GroupSums, MemberSums
from respeval.run_folder.folder import RunFolder
from respeval.run_folder.layout import Layout

WARMING_K = 4.0


def write_finished_run(folder: Path, shape: tuple[int, int], num_months: int) -> None:
    """A run of a baseline and +4 K with ACE2's 40 outputs: random fields, one warmer by its SST."""
    grid, start = Grid.legendre_gauss(*shape), cftime.datetime(2001, 1, 1, calendar="noleap")
    outputs = tuple(Variable(n, scales(n)[2], n) for n in (*PROGNOSTIC, *DIAGNOSTIC))
    levels = tuple(f"air_temperature_{level}" for level in range(NUM_LEVELS))
    roles = Roles("TMP2m", levels, levels[-1], levels[2])
    ocean = np.broadcast_to(np.cos(2 * np.radians(grid.longitude)) > 0, shape)
    layout = Layout(
        *(grid, outputs, ("baseline", "p4K"), (start,), "noleap"),
        *(ocean.astype(float), ocean, ~ocean, grid.area_weights()),
    )
    perturbations = {"p4K": {"type": "uniform", "amplitude_K": WARMING_K}}
    paths = {"forcing": "forcing", "initial_condition": "initial.nc"}
    num_steps = 365 * num_months // 12
    case = load_case(None, {**paths, "steps": num_steps, "perturbations": perturbations})
    header = {"case_digest": case.digest(), "checkpoint_sha256": "-", "roles": asdict(roles)}
    output = RunFolder(folder, header, layout, to_seconds(start))
    output.open()
    output.begin(case.to_yaml())
    members = [Member(0, 0), Member(0, 1)]
    masks, sums = torch.from_numpy(layout.surface_masks()), _sums(outputs, shape)
    generator = torch.Generator().manual_seed(0)
    climate = sums.total.clone()
    for segment in plan_segments(start, DAY_S, num_steps, "month", 0):
        length = segment.stop_step - segment.first_step
        weather = torch.randn(climate.shape[1:3], generator=generator)[..., None]
        sums.restore(climate * length + (length * weather[None]), length)
        means = GroupSums.encode(sums, members, 2, 1, masks).means()
        output.publish_segment(segment, means)
        output.commit(segment.stop_step, {}, [])
    output.join()
    output.finish()
    output.close()


def _sums(outputs: tuple[Variable, ...], shape: tuple[int, int]) -> MemberSums:
    """A climate of smooth noise about each output's mean, the second member warmer in kelvins."""
    generator = np.random.default_rng(0)
    sums = MemberSums((2, len(outputs), *shape), torch.device("cpu"))
    for i, output in enumerate(outputs):
        mean, scale, units = scales(output.name)
        field = mean + scale * generator.standard_normal(shape)
        warmer = field + (WARMING_K if units == "K" else 0.1 * scale)
        sums.total[0, i], sums.total[1, i] = torch.from_numpy(field), torch.from_numpy(warmer)
    return sums
