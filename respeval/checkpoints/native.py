"""The native checkpoint: one `.pt` file with a JSON manifest and weights, and the emulator in it.

`torch.load(weights_only=True)` reads it, so that opening a file never runs code from it.
"""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import nn

from respeval.checkpoints.filling import Unfilled, load_mapped, pieces
from respeval.checkpoints.manifest import (
    Frozen,
    GridSettings,
    ModelManifest,
    Normalization,
    RoleSettings,
    VariableSettings,
    parse_manifest,
)
from respeval.checkpoints.normalized import NormalizedEmulator
from respeval.checkpoints.splitting import split_sfno
from respeval.checkpoints.weights_file import HOW_TO_EXPORT, check_plain
from respeval.distributed.mesh import Mesh
from respeval.errors import InputError, pass_on
from respeval.fields.grid import Grid
from respeval.interpreter import lazily_compiled

__all__ = [
    "Architecture",
    "GridSettings",
    "Manifest",
    "NativeEmulator",
    "Normalization",
    "RoleSettings",
    "SfnoArguments",
    "TransformSettings",
    "VariableSettings",
    "load_checkpoint",
    "save_checkpoint",
]

FORMAT = "respeval/1"

#: What torch's DataParallel and DistributedDataParallel, and torch.compile, put into names of weights.
_WRAPPERS = ("module", "_orig_mod")

#: Most bytes of a transform's functions: so many, and so many for each byte of the file.
_MAX_FUNCTIONS, _FUNCTIONS_PER_BYTE = 256 * 2**20, 64

Count = Annotated[int, Field(ge=1, le=100_000)]


class SfnoArguments(Frozen):
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


class TransformSettings(Frozen):
    """The spectral transform inside the network; torch-harmonics' defaults are never relied on."""

    lmax: Count
    mmax: Count
    grid: Literal["legendre-gauss", "equiangular", "lobatto"]
    norm: Literal["ortho"] = "ortho"


class Architecture(Frozen):
    name: Literal["sfno"]
    arguments: SfnoArguments
    transform: TransformSettings


class Manifest(ModelManifest):
    """Everything about a native checkpoint but its weights.

    climatology: variables whose mean is a field, `climatology.NAME` in the state dictionary.
    """

    architecture: Architecture
    climatology: list[str] = Field(default_factory=list)

    def architecture_name(self) -> str:
        return self.architecture.name

    def climatology_names(self) -> Iterable[str]:
        return self.climatology


class NativeEmulator(NormalizedEmulator):
    """The emulator of a native checkpoint.

    Built from a manifest alone it has untrained weights and a zero climatology.
    """

    manifest: Manifest

    def __init__(self, manifest: Manifest) -> None:
        network = _build_sfno(
            manifest.architecture,
            manifest.spec().grid,
            manifest.num_network_inputs(),
            manifest.num_network_outputs(),
        )
        super().__init__(manifest, network)

    @property
    def most_parts(self) -> tuple[int, int]:
        """See `Emulator`."""
        transform, (rows, columns) = self.manifest.architecture.transform, self.spec.grid.shape
        return min(rows, transform.lmax), min(columns, transform.mmax)

    def localize(self, mesh: Mesh) -> None:
        """See `Emulator`."""
        if mesh.is_split:
            self.keep_tile(mesh)
            split_sfno(self.network, mesh)

    def _run_network(self, inputs: torch.Tensor) -> torch.Tensor:
        """The network's transforms run north to south; fields that do not are flipped for it."""
        if self.spec.grid.north_to_south:
            return super()._run_network(inputs)
        return super()._run_network(inputs.flip(-2)).flip(-2)


def _build_sfno(
    architecture: Architecture, grid: Grid, num_inputs: int, num_outputs: int
) -> nn.Module:
    with lazily_compiled():
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


def read_native(
    path: Path, options: Mapping[str, Any], trust: bool, with_weights: bool = True
) -> NativeEmulator:
    """The native format's `Reader.read`; trust changes nothing, since a native file needs none."""
    if options:
        raise InputError(
            f"{path}: the native reader has no options (got reader: {', '.join(options)})"
        )
    try:
        return load_checkpoint(path, with_weights)
    except InputError as error:
        if trust and "needs code to load" in str(error):
            raise InputError(f"{error}; --trust-checkpoint does not change that") from None
        raise


def load_checkpoint(path: Path, with_weights: bool = True) -> NativeEmulator:
    """Read a native checkpoint; the emulator is in evaluation mode, on the CPU.

    with_weights: whether it gets numbers, or shapes alone, on torch's meta device. Raises InputError in
    one line that says what is wrong: no checkpoint, a file that needs code to load, an unknown format,
    a faulty manifest, missing or surplus weights, wrong shapes.
    """
    content, mapped = _load_plain(path)
    if not isinstance(content, dict) or "format" not in content:
        raise InputError(f"{path} is no respeval checkpoint: {_held(content)}; {HOW_TO_EXPORT}")
    if not isinstance(content["format"], str):
        raise InputError(f"{path} is no respeval checkpoint: its 'format' is no text")
    if content["format"] != FORMAT:
        raise InputError(
            f"{path} has format {content['format']!r:.60}; this respeval reads {FORMAT!r}"
        )
    manifest = parse_manifest(Manifest, content.get("manifest"), path)
    _check_size(manifest, path)
    with Unfilled(tables=with_weights) as unfilled:
        try:
            emulator = NativeEmulator(manifest)
        except ValueError as error:
            raise InputError(f"{path}: {error}") from None
        emulator.load_state_dict(_checked(emulator, content.get("state_dict"), path, mapped))
    if with_weights:
        unfilled.fill([emulator], torch.device("cpu"), mapped)
        emulator.describe_climatology()
    return emulator.eval()


def _held(content: object) -> str:
    """What a file holds that is no native checkpoint."""
    if not isinstance(content, dict) or not content:
        return "it has no 'format' entry"
    names = [name if isinstance(name, str) else type(name).__name__ for name in content]
    shown = textwrap.shorten(", ".join(names), 60, placeholder=" …")
    if all(isinstance(value, torch.Tensor) for value in content.values()):
        return (
            f"it holds weights alone ({shown}), which do not say of what network, on what grid and in what "
            "units"
        )
    return f"it has no 'format' entry (it has: {shown})"


def _check_size(manifest: Manifest, path: Path) -> None:
    """Raise InputError where the network is larger than the file, before memory is taken for it."""
    architecture, size = manifest.architecture, path.stat().st_size
    arguments, degrees = architecture.arguments, architecture.transform.lmax
    num_lat, num_lon = len(manifest.grid.latitude), len(manifest.grid.longitude)
    width, num_channels = arguments.embed_dim, manifest.num_network_inputs()
    hidden = int(width * arguments.mlp_ratio) if arguments.use_mlp else 0
    position = num_lat * num_lon if arguments.pos_embed == "learnable latlon" else 0
    for what, num_bytes in (
        ("spectral filters", arguments.num_layers * width**2 * degrees * 8),
        ("weights within cells", arguments.num_layers * 2 * width * hidden * 4),
        ("weights of its inputs", width * (num_channels + position) * 4),
        ("climatology", len(manifest.climatology) * num_lat * num_lon * 4),
    ):
        if num_bytes > size:
            raise InputError(
                f"{path}: its manifest asks for {_bytes(num_bytes)} of {what}, the file has "
                f"{_bytes(size)}"
            )
    functions = degrees * architecture.transform.mmax * num_lat * 8
    if functions > _MAX_FUNCTIONS + _FUNCTIONS_PER_BYTE * size:
        raise InputError(
            f"{path}: its manifest asks for a transform of {_bytes(functions)}, far more than "
            f"weights of {_bytes(size)} need"
        )


def _bytes(number: int) -> str:
    return f"{number / 1e6:.1f} MB" if number >= 10**6 else f"{number:,} bytes"


def _load_plain(path: Path) -> tuple[Any, bool]:
    check_plain(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch remarks on how a foreign pickle was written
            return load_mapped(path)
    except Exception as error:  # torch's loader ends in any error where a file is broken
        pass_on(error)
        raise InputError(
            f"{path} is no checkpoint: it can't be read as saved weights; if it was copied, compare its "
            "size with the original's"
        ) from None


def _unwrapped(weights: Mapping[Any, Any], expected: Collection[str], path: Path) -> dict[Any, Any]:
    """Weights under their own names, where a wrapper of the network put its own before them."""
    found: dict[Any, Any] = {}
    names: dict[Any, Any] = {}
    for given, value in weights.items():
        name = given
        if isinstance(given, str) and given not in expected:
            plain = ".".join(part for part in given.split(".") if part not in _WRAPPERS)
            name = plain if plain in expected else given
        if name in found:
            raise InputError(
                f"{path} holds {name} twice, as {names[name]} and as {given}; leave one of them out"
            )
        found[name], names[name] = value, given
    return found


def _checked(
    emulator: NativeEmulator, weights: object, path: Path, mapped: bool
) -> dict[str, torch.Tensor]:
    """A file's weights. Raises InputError where they are not those that its manifest asks for."""
    if not isinstance(weights, dict):
        raise InputError(f"{path} has no state_dict")
    expected = emulator.state_dict()
    weights = _unwrapped(weights, expected, path)
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
        if not all(bool(torch.isfinite(piece).all()) for piece in pieces(given, mapped)):
            raise InputError(
                f"{path}: {name} has values that are not finite; a training that diverged leaves such "
                "a file"
            )
    return weights
