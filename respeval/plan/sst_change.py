"""What the emulator will really see of each SST change, measured before a rollout starts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from respeval.case.case import Case
from respeval.emulator.contract import Emulator
from respeval.fields.forcing import Forcing
from respeval.fields.grid import BoolArray, FloatArray
from respeval.fields.notices import Notices
from respeval.fields.perturbation import perturb_initial, perturb_over_ocean
from respeval.fields.ranges import Usual, how_far
from respeval.run_folder.layout import Layout


@dataclass(frozen=True)
class SstChange:
    """The change of surface temperature that reaches the emulator in one group.

    mean_K: mean over ocean cells; coast_K: over ocean cells beside land; area_share: share of the
    globe's area that changes at all.
    """

    label: str
    mean_K: float
    coast_K: float
    area_share: float

    def __str__(self) -> str:
        coast = "" if np.isnan(self.coast_K) else f"{self.coast_K:+.2f} K at coasts, "
        return (
            f"{self.label}: SST as the emulator sees it {self.mean_K:+.2f} K over ocean, {coast}"
            f"{100 * self.area_share:.0f} % of the globe changed"
        )


def seen_sst(
    emulator: Emulator, surface_temperature: torch.Tensor, next_forcing: torch.Tensor
) -> torch.Tensor:
    """Surface temperature [member, lat, lon] after one step's prescribing, or the input itself.

    surface_temperature: the state's, [member, lat, lon], unused where it is only a forcing.
    next_forcing: [member, required_forcing, lat, lon].
    """
    spec = emulator.spec
    if spec.prescribes_sst:
        return emulator.prescribe(surface_temperature, next_forcing)
    assert spec.surface_temperature is not None
    return next_forcing[:, spec.required_forcing.index(spec.surface_temperature)]


def measure_change(
    label: str,
    change: FloatArray,
    ocean_mask: BoolArray,
    land_mask: BoolArray,
    area_weight: FloatArray,
) -> SstChange:
    """Summary of a change of surface temperature [lat, lon], K; NaN where there is no such cell."""
    beside_land = np.zeros_like(land_mask)
    for shift, axis in ((1, 1), (-1, 1)):
        beside_land |= np.roll(land_mask, shift, axis)
    beside_land[1:] |= land_mask[:-1]
    beside_land[:-1] |= land_mask[1:]
    changed = (change != 0) & np.isfinite(change)
    return SstChange(
        label,
        _mean(change, area_weight, ocean_mask),
        _mean(change, area_weight, ocean_mask & beside_land),
        float(area_weight[changed].sum()),
    )


def _mean(values: FloatArray, weight: FloatArray, mask: BoolArray) -> float:
    total = float(weight[mask].sum())
    return float((values[mask] * weight[mask]).sum() / total) if total > 0 else float("nan")


def preflight(
    emulator: Emulator,
    case: Case,
    forcing: Forcing,
    initial: NDArray[np.float64],
    patterns: NDArray[np.float64],
    layout: Layout,
    notices: Notices,
    known: Usual,
) -> tuple[SstChange, ...]:
    """The SST change that each perturbation really makes at the first step; tells where what comes of
    it is out of what is `known` of SST."""
    spec, cutoff = emulator.spec, case.ocean_fraction_cutoff
    fields = forcing.read(0, 1, [0], torch.float64).fields
    names = list(forcing.names)
    sst, ocean = names.index(spec.surface_temperature or ""), names.index(spec.ocean_fraction or "")
    prognostic = [variable.name for variable in spec.prognostic]
    state = torch.from_numpy(initial[0])
    at = prognostic.index(spec.surface_temperature or "") if spec.prescribes_sst else 0
    baseline = seen_sst(emulator, state[None, at], fields[-1:])
    changes = list[SstChange]()
    for label, pattern in zip(case.groups[1:], torch.from_numpy(patterns[1:]), strict=True):
        perturbed, started = fields.clone(), state[None, at].clone()
        perturbed[:, sst] = perturb_over_ocean(fields[:, sst], fields[:, ocean], pattern, cutoff)
        seen = seen_sst(emulator, state[None, at], perturbed[-1:])
        difference = (seen - baseline)[0].double().numpy()
        masks = layout.ocean_mask, layout.land_mask
        changes.append(measure_change(label, difference, *masks, layout.area_weight))
        if spec.prescribes_sst:
            scope = case.initial_condition_scope
            started = perturb_initial(started, fields[:1, ocean], pattern, cutoff, scope)
        told = _far_from_usual(known, torch.cat([started, seen.to(started)]))
        if told is not None:
            notices.tell(f"{label}: {spec.surface_temperature}: {told}")
    return tuple(changes)


def _far_from_usual(known: Usual, fields: torch.Tensor) -> str | None:
    """How far fields [any, lat, lon] lie from what is usual, in words; None where they don't."""
    values = fields.double().cpu().numpy()
    far = known.far(values)
    return how_far(known, values, far) if far.any() else None
