"""The native checkpoint: one `.pt` file with a JSON manifest and weights, and the emulator in it.

`torch.load(weights_only=True)` reads it, so that opening a file never runs code from it.
"""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import nn

from respeval.calendar import canonical_calendar
from respeval.emulator import OCEAN_CUTOFF, EmulatorSpec, NoiseSource, Roles, Variable
from respeval.errors import InputError
from respeval.grid import Grid, GridKind

FORMAT = "respeval/1"

Count = Annotated[int, Field(ge=1, le=100_000)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SfnoArguments(_Frozen):
    """Arguments of torch-harmonics' SphericalFourierNeuralOperator.

    `scale_factor` and `residual_prediction` are left out because they are broken in torch-harmonics
    0.8.0, and the spectral position embedding because its meaning changed in 0.9.
    """

    embed_dim: Count = 32
    num_layers: Annotated[int, Field(ge=1, le=200)] = 2
    activation_function: Literal["relu", "gelu", "identity"] = "gelu"
    use_mlp: bool = True
    mlp_ratio: Annotated[float, Field(gt=0, le=64)] = 2.0
    normalization_layer: Literal["none", "layer_norm", "instance_norm"] = "none"
    pos_embed: Literal["none", "sequence", "learnable lat", "learnable latlon"] = "none"
    drop_rate: Annotated[float, Field(ge=0, lt=1)] = 0.0
    drop_path_rate: Annotated[float, Field(ge=0, lt=1)] = 0.0
    hard_thresholding_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    bias: bool = False


class TransformSettings(_Frozen):
    """The spectral transform inside the network; torch-harmonics' defaults are never relied on."""

    lmax: Count
    mmax: Count
    grid: Literal["legendre-gauss", "equiangular", "lobatto"]
    norm: Literal["ortho"] = "ortho"


class Architecture(_Frozen):
    name: Literal["sfno"]
    arguments: SfnoArguments
    transform: TransformSettings


class GridSettings(_Frozen):
    kind: GridKind
    latitude: list[float]
    longitude: list[float]


class VariableSettings(_Frozen):
    name: Annotated[str, Field(min_length=1)]
    units: str
    long_name: str


class Normalization(_Frozen):
    """(x - mean) / scale; a residual prediction is multiplied by `residual_scale`."""

    mean: float
    scale: Annotated[float, Field(gt=0)]
    residual_scale: Annotated[float, Field(gt=0)] | None = None


class RoleSettings(_Frozen):
    near_surface_temperature: str | None = None
    column_temperature: list[str] = []
    surface_level: str | None = None
    upper_level: str | None = None


class Manifest(_Frozen):
    """Everything about a native checkpoint but its weights.

    climatology: variables whose mean is a field, `climatology.NAME` in the state dictionary.
    split_surface_temperature: ocean and land surface temperature enter as two channels.
    levels_hPa: nominal pressure of `roles.column_temperature`.
    training: how the weights were made, free text by key.
    """

    architecture: Architecture
    grid: GridSettings
    timestep_s: Annotated[int, Field(ge=1)]
    calendar: str
    prognostic: Annotated[list[VariableSettings], Field(min_length=1)]
    diagnostic: list[VariableSettings] = []
    forcing: list[VariableSettings] = []
    surface_temperature: str | None = None
    ocean_fraction: str | None = None
    land_fraction: str | None = None
    roles: RoleSettings = RoleSettings()
    normalization: dict[str, Normalization]
    climatology: list[str] = []
    split_surface_temperature: bool = False
    prediction: Literal["full", "residual"]
    num_noise_channels: Annotated[int, Field(ge=0, le=10_000)] = 0
    levels_hPa: list[float] = []
    training: dict[str, str | float | int] = {}

    @model_validator(mode="after")
    def _check_names(self) -> Manifest:
        names = [v.name for v in self.prognostic + self.diagnostic + self.forcing]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"variables named twice: {', '.join(twice)}")
        missing = [name for name in names if name not in self.normalization]
        if missing:
            raise ValueError(f"normalization lacks {', '.join(missing)}")
        if self.prediction == "residual":
            for variable in self.prognostic:
                if self.normalization[variable.name].residual_scale is None:
                    raise ValueError(f"normalization of {variable.name} lacks residual_scale")
        if (self.surface_temperature is None) != (self.ocean_fraction is None):
            raise ValueError("surface_temperature and ocean_fraction must be named together")
        canonical_calendar(self.calendar)
        self._check_roles()
        unknown = [name for name in self.climatology if name not in names]
        if unknown:
            raise ValueError(f"climatology names unknown variables: {', '.join(unknown)}")
        if self.split_surface_temperature:
            forcing = [v.name for v in self.forcing]
            if self.surface_temperature not in names or self.ocean_fraction not in forcing:
                raise ValueError(
                    "split_surface_temperature needs surface_temperature among the variables and "
                    "ocean_fraction in forcing"
                )
        return self

    def _check_roles(self) -> None:
        outputs = [v.name for v in self.prognostic + self.diagnostic]
        roles = self.roles
        named = [roles.near_surface_temperature, roles.surface_level, roles.upper_level]
        for name in [*roles.column_temperature, *(name for name in named if name is not None)]:
            if name not in outputs:
                raise ValueError(f"roles name {name!r}, which is no output")
        if self.levels_hPa and len(self.levels_hPa) != len(roles.column_temperature):
            raise ValueError("levels_hPa needs one pressure for each of roles.column_temperature")

    def spec(self) -> EmulatorSpec:
        """The emulator's description. Raises ValueError where the grid is none."""
        grid = Grid(self.grid.latitude, self.grid.longitude, self.grid.kind)  # type: ignore[arg-type]
        return EmulatorSpec(
            architecture=self.architecture.name,
            grid=grid,
            timestep_s=self.timestep_s,
            calendar=self.calendar,
            prognostic=_variables(self.prognostic),
            diagnostic=_variables(self.diagnostic),
            forcing=_variables(self.forcing),
            surface_temperature=self.surface_temperature,
            ocean_fraction=self.ocean_fraction,
            land_fraction=self.land_fraction,
            roles=Roles(
                self.roles.near_surface_temperature,
                tuple(self.roles.column_temperature),
                self.roles.surface_level,
                self.roles.upper_level,
            ),
            normalization={k: (v.mean, v.scale) for k, v in self.normalization.items()},
            num_noise_channels=self.num_noise_channels,
            levels_hPa=tuple(self.levels_hPa),
        )


def _variables(settings: list[VariableSettings]) -> tuple[Variable, ...]:
    return tuple(Variable(v.name, v.units, v.long_name) for v in settings)


def _column(values: list[float]) -> torch.Tensor:
    """One number per variable, [variable, 1, 1]."""
    return torch.tensor(values, dtype=torch.float32)[:, None, None]


class NativeEmulator(nn.Module):
    """A network with its normalization, prediction rule and prescribed ocean; see `Emulator`.

    Built from a manifest alone it has untrained weights and a zero climatology.
    """

    _input_scale: torch.Tensor
    _output_scale: torch.Tensor
    _residual_scale: torch.Tensor

    def __init__(self, manifest: Manifest) -> None:
        super().__init__()
        self.manifest = manifest
        self.spec = spec = manifest.spec()
        self._forcing_index = {name: i for i, name in enumerate(spec.required_forcing)}
        self._outputs = [v.name for v in spec.outputs]
        self._inputs = [v.name for v in spec.prognostic] + [v.name for v in spec.forcing]
        num_inputs = len(self._inputs) + manifest.num_noise_channels
        self.network = _build_sfno(
            manifest.architecture,
            spec.grid,
            num_inputs + manifest.split_surface_temperature,
            len(self._outputs),
        )
        self.climatology = nn.ParameterDict(
            {n: nn.Parameter(torch.zeros(spec.grid.shape), False) for n in manifest.climatology}
        )
        norms = manifest.normalization
        num_prognostic = len(spec.prognostic)
        residual = [norms[n].residual_scale or 1.0 for n in self._outputs[:num_prognostic]]
        self.register_buffer(
            "_input_scale", _column([norms[n].scale for n in self._inputs]), persistent=False
        )
        self.register_buffer(
            "_output_scale", _column([norms[n].scale for n in self._outputs]), persistent=False
        )
        self.register_buffer("_residual_scale", _column(residual), persistent=False)

    def describe_climatology(self) -> None:
        """Put the climatologies that were loaded into `spec.normalization`."""
        norms = dict(self.spec.normalization)
        for name, mean in self.climatology.items():
            norms[name] = (mean.detach().cpu().double().numpy(), norms[name][1])
        self.spec = replace(self.spec, normalization=norms)

    def _means(self, names: list[str]) -> torch.Tensor:
        """Mean of each variable, [variable, lat, lon], its climatology where it has one."""
        reference = self._input_scale
        fields = [
            self.climatology[name]
            if name in self.climatology
            else reference.new_full(self.spec.grid.shape, self.manifest.normalization[name].mean)
            for name in names
        ]
        return torch.stack(fields)

    def normalize_outputs(self, outputs: torch.Tensor) -> torch.Tensor:
        """Outputs [..., output, lat, lon] in units of their normalization, for scores."""
        return (outputs - self._means(self._outputs)) / self._output_scale

    def prescribe(
        self, surface_temperature: torch.Tensor, next_forcing: torch.Tensor
    ) -> torch.Tensor:
        """Surface temperature [member, lat, lon], from the forcing where ocean fraction > 0.5."""
        spec = self.spec
        assert spec.surface_temperature is not None and spec.ocean_fraction is not None
        ocean = next_forcing[:, self._forcing_index[spec.ocean_fraction]] > OCEAN_CUTOFF
        prescribed = next_forcing[:, self._forcing_index[spec.surface_temperature]]
        return torch.where(ocean, prescribed, surface_temperature)

    def conserve(
        self, state: torch.Tensor, forcing: torch.Tensor, next_forcing: torch.Tensor
    ) -> torch.Tensor | None:
        """None: a step needs nothing of the initial state; see `Emulator.conserve`."""
        return None

    def step(
        self,
        state: torch.Tensor,
        forcing: torch.Tensor,
        next_forcing: torch.Tensor,
        noise: NoiseSource,
        conserved: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """See `Emulator.step`."""
        spec, manifest = self.spec, self.manifest
        num_prognostic = len(spec.prognostic)
        physical = torch.cat([state, forcing[:, : len(spec.forcing)]], dim=1)
        inputs = (physical - self._means(self._inputs)) / self._input_scale
        if manifest.split_surface_temperature:
            assert spec.ocean_fraction is not None and spec.surface_temperature is not None
            ocean = forcing[:, self._forcing_index[spec.ocean_fraction], None] > OCEAN_CUTOFF
            at = self._inputs.index(spec.surface_temperature)
            surface = inputs[:, at : at + 1]
            zero = torch.zeros_like(surface)
            sea, land = torch.where(ocean, surface, zero), torch.where(ocean, zero, surface)
            inputs = torch.cat([inputs[:, :at], sea, land, inputs[:, at + 1 :]], dim=1)
        if manifest.num_noise_channels:
            drawn = noise.normal(manifest.num_noise_channels, *spec.grid.shape)
            inputs = torch.cat([inputs, drawn.to(inputs)], dim=1)
        predicted = self._run_network(inputs)
        outputs = predicted * self._output_scale + self._means(self._outputs)
        if manifest.prediction == "residual":
            change = predicted[:, :num_prognostic] * self._residual_scale
            outputs = torch.cat([state + change, outputs[:, num_prognostic:]], dim=1)
        if spec.prescribes_sst:
            assert spec.surface_temperature is not None
            at = self._outputs.index(spec.surface_temperature)
            surface = self.prescribe(outputs[:, at], next_forcing)[:, None]
            outputs = torch.cat([outputs[:, :at], surface, outputs[:, at + 1 :]], dim=1)
        return outputs

    def _run_network(self, inputs: torch.Tensor) -> torch.Tensor:
        """The network's transforms run north to south; fields that do not are flipped for it."""
        if self.spec.grid.north_to_south:
            result: torch.Tensor = self.network(inputs)
            return result
        return self.network(inputs.flip(-2)).flip(-2)  # type: ignore[no-any-return]


def _build_sfno(
    architecture: Architecture, grid: Grid, num_inputs: int, num_outputs: int
) -> nn.Module:
    from torch_harmonics.examples.models.sfno import SphericalFourierNeuralOperator

    settings = architecture.transform
    if settings.grid != grid.kind:
        raise ValueError(
            f"the transform's grid {settings.grid!r} differs from the grid's kind {grid.kind!r}"
        )
    network = SphericalFourierNeuralOperator(
        img_size=grid.shape,
        grid=settings.grid,
        grid_internal=settings.grid,
        scale_factor=1,
        in_chans=num_inputs,
        out_chans=num_outputs,
        encoder_layers=1,
        residual_prediction=False,
        **architecture.arguments.model_dump(),
    )
    for name in ("trans_down", "itrans_up", "trans", "itrans"):
        built = getattr(network, name)
        got = TransformSettings(lmax=built.lmax, mmax=built.mmax, grid=built.grid, norm=built.norm)
        if got != settings:
            raise ValueError(f"this torch-harmonics builds {got}, the manifest asks for {settings}")
    return network  # type: ignore[no-any-return]


def save_checkpoint(path: Path, emulator: NativeEmulator) -> None:
    """Write the emulator's manifest and weights to `path`."""
    weights = {key: value.detach().cpu() for key, value in emulator.state_dict().items()}
    manifest = emulator.manifest.model_dump_json(exclude_unset=True)
    torch.save({"format": FORMAT, "manifest": manifest, "state_dict": weights}, path)


def read_native(path: Path, options: Mapping[str, Any], trust: bool) -> NativeEmulator:
    """The native format's `Reader.read`; trust changes nothing, since a native file needs none."""
    if options:
        raise InputError(
            f"{path}: the native reader has no options (got reader: {', '.join(options)})"
        )
    try:
        return load_checkpoint(path)
    except InputError as error:
        if trust and "needs code to load" in str(error):
            raise InputError(f"{error}; --trust-checkpoint does not change that") from None
        raise


def load_checkpoint(path: Path) -> NativeEmulator:
    """Read a native checkpoint; the emulator is in evaluation mode, on the CPU.

    Raises InputError in one line that says what is wrong: no checkpoint, a file that needs code to
    load, an unknown format, a faulty manifest, missing or surplus weights, wrong shapes.
    """
    content = _load_plain(path)
    if not isinstance(content, dict) or "format" not in content:
        raise InputError(f"{path} is no respeval checkpoint: it has no 'format' entry")
    if content["format"] != FORMAT:
        raise InputError(f"{path} has format {content['format']!r}; this respeval reads {FORMAT!r}")
    manifest = parse_manifest(content.get("manifest"), path)
    _check_size(manifest.architecture, path)
    try:
        emulator = NativeEmulator(manifest)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    _load_weights(emulator, content.get("state_dict"), path)
    return emulator.eval()


def _check_size(architecture: Architecture, path: Path) -> None:
    """Raise InputError where the network is larger than the file, before memory is taken for it."""
    arguments, degrees = architecture.arguments, architecture.transform.lmax
    filters = arguments.num_layers * arguments.embed_dim**2 * degrees * 8
    size = path.stat().st_size
    if filters > size:
        raise InputError(
            f"{path}: its manifest asks for {filters / 1e6:.1f} MB of spectral filters, the file has "
            f"{size / 1e6:.1f} MB"
        )


def _load_plain(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch remarks on how a foreign pickle was written
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error)
        if "Unsupported global" in reason or "Unsupported class" in reason or "GLOBAL" in reason:
            raise InputError(
                f"{path} needs code to load ({_needed_code(reason)}); respeval opens only plain "
                "weights, write it again with respeval.checkpoints.native.save_checkpoint"
            ) from None
        raise InputError(f"{path} is no checkpoint: it can't be read as saved weights") from None
    except (RuntimeError, EOFError, KeyError, ValueError, TypeError, AttributeError, IndexError):
        raise InputError(f"{path} is no checkpoint: it can't be read as saved weights") from None


def _needed_code(reason: str) -> str:
    words = reason.replace("`", " ").split()
    after = [words[i + 1] for i, word in enumerate(words[:-1]) if word == "GLOBAL"]
    return after[0] if after else "a class that is not plain data"


def parse_manifest(text: object, path: Path) -> Manifest:
    """The manifest of a checkpoint. Raises InputError with the faulty entry's name."""
    if not isinstance(text, str):
        raise InputError(f"{path} has no manifest (JSON text)")
    try:
        return Manifest.model_validate(json.loads(text))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "manifest"
        message = str(first["msg"]).removeprefix("Value error, ")
        raise InputError(f"{path}: manifest entry {where}: {message}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: its manifest is no JSON ({error})") from None


def _load_weights(emulator: NativeEmulator, weights: object, path: Path) -> None:
    if not isinstance(weights, dict):
        raise InputError(f"{path} has no state_dict")
    expected = emulator.state_dict()
    for problem, names in (
        ("lacks weights", sorted(set(expected) - set(weights))),
        ("has surplus weights", sorted(str(name) for name in set(weights) - set(expected))),
    ):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise InputError(f"{path} {problem}: {', '.join(names[:3])}{more}")
    for name, tensor in expected.items():
        given = weights[name]
        if not isinstance(given, torch.Tensor) or given.shape != tensor.shape:
            shape = list(given.shape) if isinstance(given, torch.Tensor) else type(given).__name__
            raise InputError(
                f"{path}: {name} is {shape}, its manifest asks for {list(tensor.shape)}"
            )
        if given.dtype != tensor.dtype:
            raise InputError(f"{path}: {name} is {given.dtype}, expected {tensor.dtype}")
    emulator.load_state_dict(weights)
    emulator.describe_climatology()
