"""What the emulator will really see of each SST change, measured before a rollout starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from respeval.case.case import Case
from respeval.emulator.contract import Emulator
from respeval.fields.forcing import Forcing
from respeval.fields.grid import BoolArray, FloatArray
from respeval.fields.perturbation import perturb_initial, perturb_over_ocean
from respeval.run_folder.layout import Layout

#: An input this many scales from its mean is outside what the normalization was made for.
USUAL_SCALES = 6.0


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


def inputs_out_of_range(
    emulator: Emulator, names: Sequence[str], inputs: torch.Tensor
) -> list[str]:
    """Which inputs [variable, lat, lon] lie far from their normalization, one phrase for each."""
    found = []
    for name, field in zip(names, inputs.double().cpu().numpy(), strict=True):
        if name not in emulator.spec.normalization:
            continue
        mean, scale = emulator.spec.normalization[name]
        distance = np.abs(field - mean) / scale
        if np.nanmax(distance) > USUAL_SCALES:
            share = 100 * float((distance > USUAL_SCALES).mean())
            found.append(
                f"{name}: up to {np.nanmax(distance):.1f} scales from its mean ({share:.1f} % of "
                f"cells beyond {USUAL_SCALES:g})"
            )
    return found


def preflight(
    emulator: Emulator,
    case: Case,
    forcing: Forcing,
    initial: NDArray[np.float64],
    patterns: NDArray[np.float64],
    layout: Layout,
) -> tuple[tuple[SstChange, ...], tuple[str, ...]]:
    """The SST change that each group really sees at the first step, and inputs out of range."""
    spec, cutoff = emulator.spec, case.ocean_fraction_cutoff
    fields = forcing.read(0, 1, [0], torch.float64).fields
    names = list(forcing.names)
    sst, ocean = names.index(spec.surface_temperature or ""), names.index(spec.ocean_fraction or "")
    prognostic = [variable.name for variable in spec.prognostic]
    state = torch.from_numpy(initial[0])
    at = prognostic.index(spec.surface_temperature or "") if spec.prescribes_sst else 0
    baseline = seen_sst(emulator, state[None, at], fields[-1:])
    input_names = prognostic + [variable.name for variable in spec.forcing]
    changes, warnings = list[SstChange](), list[str]()
    for label, pattern in zip(case.groups, torch.from_numpy(patterns), strict=True):
        perturbed, started = fields.clone(), state.clone()
        perturbed[:, sst] = perturb_over_ocean(fields[:, sst], fields[:, ocean], pattern, cutoff)
        seen = seen_sst(emulator, state[None, at], perturbed[-1:])
        difference = (seen - baseline)[0].double().numpy()
        masks = layout.ocean_mask, layout.land_mask
        changes.append(measure_change(label, difference, *masks, layout.area_weight))
        if spec.prescribes_sst:
            scope = case.initial_condition_scope
            started[at] = perturb_initial(state[at], fields[0, ocean], pattern, cutoff, scope)
        inputs = torch.cat([started, perturbed[0, : len(spec.forcing)], seen.to(started)])
        names_of_inputs = [*input_names, spec.surface_temperature or ""]
        for phrase in inputs_out_of_range(emulator, names_of_inputs, inputs):
            if not any(phrase in earlier for earlier in warnings):
                warnings.append(f"{label}: {phrase}")
    return tuple(changes[1:]), tuple(warnings)
