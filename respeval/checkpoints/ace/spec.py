"""What respeval says of an ACE model: its names by role, its grid, its levels, its needs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import cftime
import numpy as np
import torch
import xarray as xr
from fme.ace.inference.default_metadata import get_default_variable_metadata
from fme.ace.registry.stochastic_sfno import NoiseConditionedModel
from fme.ace.stepper.insolation.config import NameConfig
from fme.ace.stepper.single_module import Stepper
from fme.core.dataset.data_typing import VariableMetadata
from fme.core.dataset_info import MissingDatasetInfo
from fme.core.derived_variables import get_derived_variable_metadata

from respeval.checkpoints.ace.fme import fme_on
from respeval.checkpoints.ace.options import AceOptions
from respeval.emulator.contract import EmulatorSpec
from respeval.errors import InputError
from respeval.fields.grid import FloatArray, Grid
from respeval.fields.records import open_record
from respeval.fields.variables import DerivedForcing, HybridLevels, Roles, Variable

#: Surface pressure at which the nominal pressures of hybrid levels are stated, Pa.
REFERENCE_PRESSURE_PA = 1.0e5
#: The upper level of the vertical warming ratio is the one nearest to this.
UPPER_LEVEL_HPA = 200.0

_TEMPERATURE_LEVEL = re.compile(r"air_temperature_(\d+)$")


def entries(state: object, key: str) -> Iterator[Any]:
    """Every value under a key in nested plain data."""
    if isinstance(state, Mapping):
        for name, value in state.items():
            if name == key:
                yield value
            yield from entries(value, key)
    elif isinstance(state, list | tuple):
        for value in state:
            yield from entries(value, key)


def _natural(name: str) -> tuple[Any, ...]:
    """Sorts level 10 behind level 9."""
    return tuple(int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name))


def _ordered(names: Collection[str]) -> tuple[str, ...]:
    return tuple(sorted(names, key=_natural))


def describe(
    path: Path, stepper: Stepper, settings: Mapping[str, Any], options: AceOptions
) -> tuple[EmulatorSpec, StepNames]:
    """The description of a model, and the names of its step's tensors.

    settings: the stepper's configuration as the checkpoint holds it. Raises InputError where the
    checkpoint does not say its grid or time step, or fme derives none of what is asked for.
    """
    config = stepper.config
    surface, ocean_fraction = stepper.surface_temperature_name, stepper.ocean_fraction_name
    prognostic = _ordered(stepper.prognostic_names)
    outputs = prognostic + _ordered(stepper.out_names - stepper.prognostic_names)
    inputs = config.input_only_names
    next_step = set(config.step.next_step_input_names)
    at_end = set(config.next_step_forcing_names)
    forcing = _ordered((inputs | next_step) - ({surface} if surface else set()))
    derived = _derived_names(path, stepper, prognostic, outputs, forcing, options.derived)
    grid = _grid(path, stepper, options)
    levels = _nominal_levels_hPa(stepper)
    described = _Described(stepper)
    ocean = config.get_ocean()
    spec = EmulatorSpec(
        architecture=next((str(b["type"]) for b in entries(settings, "builder")), "fme"),
        grid=grid,
        timestep_s=round(_timestep(path, stepper).total_seconds()),
        calendar=None,
        prognostic=tuple(described(name) for name in prognostic),
        diagnostic=tuple(described(name) for name in outputs[len(prognostic) :] + derived),
        forcing=tuple(described(name) for name in forcing),
        surface_temperature=surface,
        ocean_fraction=ocean_fraction,
        land_fraction="land_fraction" if "land_fraction" in forcing else None,
        roles=guess_roles(outputs, levels),
        normalization=_normalization(stepper, (*outputs, *forcing)),
        loss_normalization=_loss_normalization(stepper),
        num_noise_channels=_num_noise_channels(stepper),
        levels_hPa=levels,
        hybrid_levels=_hybrid_levels(stepper),
        interpolates_sst=ocean is not None and ocean.interpolate,
        derived_forcing=_derived_forcing(stepper, forcing),
        forcing_at_end=forcing,  # fme's means over a step have the label of its end
    )
    names = StepNames(
        prognostic,
        outputs,
        spec.required_forcing,
        _ordered(inputs - at_end),
        _ordered(at_end),
        _ordered(next_step),
        derived,
    )
    return spec, names


def _timestep(path: Path, stepper: Stepper) -> timedelta:
    try:
        step: timedelta = stepper.training_dataset_info.timestep
        return step
    except MissingDatasetInfo:
        raise InputError(f"{path} does not say its time step") from None


class _Described:
    """Units and long names: the checkpoint's own, else those that fme gives to usual names."""

    def __init__(self, stepper: Stepper) -> None:
        self._known: dict[str, VariableMetadata] = {
            **get_default_variable_metadata(),
            **get_derived_variable_metadata(),
            **stepper.training_variable_metadata,
        }

    def __call__(self, name: str) -> Variable:
        found = self._known.get(name)
        units, long_name = (found.units, found.long_name) if found is not None else (None, None)
        return Variable(name, units or "", long_name or name.replace("_", " "))


def _normalization(stepper: Stepper, names: Sequence[str]) -> dict[str, tuple[float, float]]:
    means, stds = stepper.normalizer.means, stepper.normalizer.stds
    return {
        name: (float(means[name]), float(stds[name]))
        for name in names
        if name in means and name in stds and float(stds[name]) > 0
    }


def _loss_normalization(stepper: Stepper) -> dict[str, tuple[float, float]]:
    """Means and scales of the outputs that fme's loss scores; derived variables are none of them."""
    units = stepper.config.step.get_loss_normalizer()
    return {
        name: (float(units.means[name]), float(units.stds[name])) for name in stepper.loss_names
    }


def _num_noise_channels(stepper: Stepper) -> int:
    models = [m for m in stepper.modules.modules() if isinstance(m, NoiseConditionedModel)]
    return sum(int(model.embed_dim) for model in models)


def _grid(path: Path, stepper: Stepper, options: AceOptions) -> Grid:
    """The grid that the checkpoint names, or the one in the file that the user names."""
    info = stepper.training_dataset_info
    shape = tuple(int(size) for size in info.img_shape)
    if options.grid is not None:
        record = open_record(options.grid)
        latitude, longitude = record["lat"].values, record["lon"].values
    else:
        try:
            coordinates = info.horizontal_coordinates.coords
        except MissingDatasetInfo:
            raise InputError(
                f"{path} does not say the latitudes and longitudes of its {shape[0]} x {shape[1]} grid; name "
                "a netCDF file that has them with --reader grid=FILE, for example one of the forcing's"
            ) from None
        latitude, longitude = coordinates["lat"], coordinates["lon"]
    try:
        grid = Grid.from_coordinates(latitude, longitude)
    except ValueError as error:
        raise InputError(f"{options.grid or path}: {error}") from None
    if grid.shape != shape:
        raise InputError(
            f"{options.grid} has a grid of {grid.num_lat} x {grid.num_lon} cells, {path} one of "
            f"{shape[0]} x {shape[1]}"
        )
    return grid


def _nominal_levels_hPa(stepper: Stepper) -> tuple[float, ...]:
    """Pressure in the middle of each hybrid level over a surface at 1000 hPa; empty without levels."""
    try:
        vertical = stepper.training_dataset_info.vertical_coordinate
        interfaces = vertical.interface_pressure(torch.tensor(REFERENCE_PRESSURE_PA))
    except (MissingDatasetInfo, AttributeError):
        return ()
    pressure = interfaces.double().cpu().numpy()
    return tuple(float(p) / 100.0 for p in 0.5 * (pressure[1:] + pressure[:-1]))


def _hybrid_levels(stepper: Stepper) -> HybridLevels | None:
    """The hybrid levels' edges; None without them."""
    try:
        vertical = stepper.training_dataset_info.vertical_coordinate
        terms = [vertical.ak, vertical.bk]
    except (MissingDatasetInfo, AttributeError):
        return None
    ap, b = (tuple(map(float, term.double().cpu().numpy())) for term in terms)
    return HybridLevels(ap, b)


def guess_roles(outputs: Collection[str], levels_hPa: Sequence[float]) -> Roles:
    """Roles of ACE's usual names: air_temperature_K from top to surface, and TMP2m.

    The upper level is the one nearest to 200 hPa, the third from the top where pressures are unknown.
    """
    column = [name for name in _ordered(outputs) if _TEMPERATURE_LEVEL.match(name)]
    near = "TMP2m" if "TMP2m" in outputs else (column[-1] if column else None)
    if not column:
        return Roles(near_surface_temperature=near)
    if len(levels_hPa) == len(column):
        upper = int(np.abs(np.array(levels_hPa) - UPPER_LEVEL_HPA).argmin())
    else:
        upper = min(2, len(column) - 1)
    return Roles(near, tuple(column), column[-1], column[upper])


def _derived_names(
    path: Path,
    stepper: Stepper,
    prognostic: Sequence[str],
    outputs: Sequence[str],
    forcing: Sequence[str],
    asked: Sequence[str],
) -> tuple[str, ...]:
    """Those of fme's derived variables that are asked for; what there is, a trial on ones tells."""
    if not asked:
        return ()
    ones = torch.ones((1, 2, *stepper.training_dataset_info.img_shape))
    given = {name: ones for name in outputs}
    with fme_on(torch.device("cpu")):
        found = stepper.derive_func(given, {name: ones for name in forcing})
    available = _ordered(set(found) - set(outputs) - set(forcing))
    if tuple(asked) == ("all",):
        return available
    unknown = [name for name in asked if name not in available]
    if unknown:
        raise InputError(
            f"{path}: fme derives no {', '.join(unknown)} from this model's outputs (it derives: "
            f"{', '.join(available) or 'nothing'})"
        )
    return _ordered(set(asked))


def _derived_forcing(stepper: Stepper, forcing: Collection[str]) -> tuple[DerivedForcing, ...]:
    insolation = stepper.forcing_deriver.insolation
    if insolation is None or insolation.config.insolation_name not in forcing:
        return ()
    constant = insolation.config.solar_constant
    needs = (constant.name,) if isinstance(constant, NameConfig) else ()
    name = insolation.config.insolation_name

    def compute(dates: Sequence[cftime.datetime], fields: Mapping[str, FloatArray]) -> FloatArray:
        with fme_on(torch.device("cpu")):
            times = xr.DataArray([list(dates)], dims=["sample", "time"])
            given = {n: torch.from_numpy(np.ascontiguousarray(f))[None] for n, f in fields.items()}
            found: torch.Tensor = insolation.compute(times, given)[name]
        return found[0].cpu().numpy()

    return (DerivedForcing(name, needs, compute),)


@dataclass(frozen=True)
class StepNames:
    """Names of the tensors of a step, in the order of the stacked fields.

    at_start, at_end: the network's inputs from the forcing of a step's start and of its end.
    next_step: further fields of the step's end, for the ocean and the correctors.
    derived: fme's derived variables, behind the outputs of the model itself.
    """

    prognostic: tuple[str, ...]
    outputs: tuple[str, ...]
    forcing: tuple[str, ...]
    at_start: tuple[str, ...]
    at_end: tuple[str, ...]
    next_step: tuple[str, ...]
    derived: tuple[str, ...] = ()
