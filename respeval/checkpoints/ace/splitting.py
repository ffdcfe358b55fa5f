"""ACE models whose fields are split over processes: which of them can be, and how.

fme can split fields too, but only where its own launcher started the processes; here its parts are
changed in place, as `respeval.checkpoints.splitting` does with torch-harmonics'. What is not known to
be pointwise, or changed here, is refused: a mean over one process's block would be a wrong number.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from fme.ace.models.modulus.s2convolutions import SpectralConvS2 as OlderConvolution
from fme.ace.models.modulus.sfnonet import SphericalFourierNeuralOperatorNet as OlderNet
from fme.ace.registry.stochastic_sfno import NoiseConditionedModel
from fme.ace.stepper.single_module import Stepper
from fme.core.corrector.atmosphere import (
    ConserveDryAir,
    MoistureBudgetCorrection,
    TotalEnergyBudgetCorrection,
    ZeroGlobalMeanMoistureAdvection,
)
from fme.core.corrector.registry import CorrectionSequence, EpochScheduledCorrector
from fme.core.corrector.utils import ForcePositive
from fme.core.gridded_ops import LatLonOperations
from fme.core.models.conditional_sfno.makani.spectral_convolution import SpectralConv
from fme.core.models.conditional_sfno.s2convolutions import SpectralConvS2
from fme.core.models.conditional_sfno.sfnonet import SphericalFourierNeuralOperatorNet
from fme.core.spatial_masking import NullSpatialMasking
from fme.core.step.global_mean_removal import NoGlobalMeanRemoval
from fme.core.step.multi_call import MultiCallStep
from fme.core.step.single_module import SingleModuleStep
from torch import nn

from respeval.checkpoints.splitting import placed, split_norm
from respeval.distributed.mesh import Mesh, Tile
from respeval.emulator.splitting import BY_BLOCKS, BY_ROWS, split_weight
from respeval.fields.split_transform import SplitTransform, is_transform, split_transforms

_POINTWISE_MODULES = {
    "torch.nn.modules": (
        *("Conv2d", "Linear", "Identity", "Dropout", "GELU", "ReLU", "SiLU"),
        *("Sequential", "ModuleList"),
    ),
    "fme.ace.models.modulus": ("FourierNeuralOperatorBlock", "SpectralFilterLayer", "MLP"),
    "fme.core.models.conditional_sfno": (
        *("FourierNeuralOperatorBlock", "SpectralFilterLayer", "MLP", "LoRAConv2d", "DropPath"),
        *("ConditionalLayerNorm", "ChannelLayerNorm", "NoLayerNorm"),
    ),
    "fme.core.distributed.non_distributed": ("DummyWrapper",),
}

_NETS = (SphericalFourierNeuralOperatorNet, OlderNet)

_CHANGED_MODULES = (
    *(NoiseConditionedModel, *_NETS),
    *(SpectralConvS2, SpectralConv, OlderConvolution, nn.LayerNorm, nn.InstanceNorm2d),
)

#: Corrections of which each takes its means over the globe from one attribute, and the pointwise one.
_WITH_MEANS = (
    *(ConserveDryAir, ZeroGlobalMeanMoistureAdvection),
    *(MoistureBudgetCorrection, TotalEnergyBudgetCorrection),
)
_CORRECTIONS = (ForcePositive, *_WITH_MEANS)


def hindrance(stepper: Stepper, architecture: str) -> str | None:
    """Why a model's fields can't be split, to be put behind "it"; None where they can.

    architecture: fme's name of its network, since classes of two networks may have one name.
    """
    return next(_hindrances(stepper, architecture), None)


def most_parts(stepper: Stepper) -> tuple[int, int]:
    """The most parts in latitude and in longitude of a model without a hindrance."""
    modules: list[Any] = list(stepper.modules.modules())
    transforms = [m for m in modules if is_transform(m) or isinstance(m, SplitTransform)]
    return (
        min(min(transform.nlat, transform.lmax) for transform in transforms),
        min(min(transform.nlon, transform.mmax) for transform in transforms),
    )


def split_stepper(stepper: Stepper, mesh: Mesh, north_to_south: bool) -> None:
    """Let a model without a hindrance work on blocks, in place.

    north_to_south: how rows run; fme's transforms do not ask, and take the first for the northern one.
    """
    split_networks(stepper.modules, mesh, north_to_south)
    for correction in _corrections(_single_step(stepper)):
        if isinstance(correction, _WITH_MEANS):
            operations = correction.area_weighted_mean.__self__
            shape = tuple(operations._cpu_area_global.shape[-2:])
            tile = mesh.tile(shape, north_to_south)
            correction.area_weighted_mean = _GlobalMean(operations, mesh, tile)


def split_networks(networks: nn.Module, mesh: Mesh, north_to_south: bool) -> None:
    """Let a model's networks work on blocks, in place."""
    split_transforms(networks, mesh, north_to_south)
    modules: list[Any] = list(networks.modules())
    for module in modules:
        if isinstance(module, SpectralConvS2 | SpectralConv | OlderConvolution):
            _split_convolution(module, mesh)
        elif isinstance(module, NoiseConditionedModel):
            _place(module, ("pos_embed", "label_pos_embed"), mesh, north_to_south)
            if module._inverse_sht is not None:
                module._inverse_sht = _OfWholeCoefficients(module._inverse_sht, mesh)
        elif isinstance(module, _NETS):
            _place(module, ("pos_embed",), mesh, north_to_south)
            module._spatial_h_slice = module._spatial_w_slice = slice(None)
        elif hasattr(module, "norm0"):
            module.norm0 = split_norm(module.norm0, mesh, module.input_shape_loc, north_to_south)
            module.norm1 = split_norm(module.norm1, mesh, module.output_shape_loc, north_to_south)
        if isinstance(getattr(module, "norm", None), nn.LayerNorm):
            shape = tuple(module.norm.normalized_shape[-2:])
            module.norm = split_norm(module.norm, mesh, shape, north_to_south)


def draws_coefficients(stepper: Stepper) -> bool:
    """Whether a model's noise is drawn as spectral coefficients, of the whole globe also where split."""
    models = [m for m in stepper.modules.modules() if isinstance(m, NoiseConditionedModel)]
    return any(model._inverse_sht is not None for model in models)


def _hindrances(stepper: Stepper, architecture: str) -> Iterator[str]:
    step = _single_step(stepper)
    if type(step) is not SingleModuleStep:
        yield f"is stepped by fme's {type(step).__name__}, which respeval can't split"
        return
    if not isinstance(step._global_mean_removal, NoGlobalMeanRemoval):
        yield "takes means over the globe from its fields before the network (global_mean_removal)"
    masking = stepper._output_masking
    provider = getattr(masking, "_mask", None)
    if not isinstance(stepper._input_process_func, NullSpatialMasking) or (
        provider is not None and provider.get_state()["masks"]
    ):
        yield "masks regions of its fields, whose masks respeval can't split"
    for correction in _corrections(step):
        if type(correction) not in _CORRECTIONS:
            yield f"has fme's corrector {type(correction).__name__}, which respeval can't split"
        elif isinstance(correction, _WITH_MEANS) and not isinstance(
            getattr(correction.area_weighted_mean, "__self__", None), LatLonOperations
        ):
            yield "takes its means over the globe in a way that respeval does not know"
    if not any(isinstance(module, _NETS) for module in stepper.modules[0].modules()):
        yield (
            f"has fme's network {architecture}, and respeval splits NoiseConditionedSFNO and "
            "SphericalFourierNeuralOperatorNet"
        )
        return
    for network in stepper.modules:
        yield from _of_modules(network)


def _of_modules(network: nn.Module) -> Iterator[str]:
    for module in network.modules():
        kind = type(module)
        name = f"fme's {kind.__name__}" if kind.__module__.startswith("fme") else kind.__name__
        pointwise = any(
            kind.__module__.startswith(home) and kind.__name__ in names
            for home, names in _POINTWISE_MODULES.items()
        )
        if getattr(module, "local_blocks", None):
            yield "has local (DISCO) blocks, which respeval can't split"
        elif getattr(module, "_clip_latent_global_means", False):
            yield "clips means over the globe within its network (clip_latent_global_means)"
        elif isinstance(module, nn.Conv2d) and set(module.kernel_size) != {1}:
            yield f"has convolutions of {module.kernel_size} cells, which respeval can't split"
        elif isinstance(module, OlderConvolution) and not isinstance(module.weight, nn.Parameter):
            yield "has factorized filters, which respeval can't split"
        elif not pointwise and kind not in _CHANGED_MODULES and not is_transform(module):
            yield f"has layers of {name}, which respeval can't split"


def _single_step(stepper: Stepper) -> Any:
    step = stepper._step_obj
    while isinstance(step, MultiCallStep):
        step = step._wrapped_step
    return step


def _corrections(step: Any) -> list[Any]:
    corrector = step._corrector
    while isinstance(corrector, EpochScheduledCorrector):
        corrector = corrector._wrapped
    if corrector is None:
        return []
    return (
        list(corrector._corrections) if isinstance(corrector, CorrectionSequence) else [corrector]
    )


def _split_convolution(convolution: Any, mesh: Mesh) -> None:
    """The filters of this process's degrees, and orders where they have an axis of those."""
    degrees = mesh.of_height(convolution.modes_lat)
    if isinstance(convolution, SpectralConvS2):  # [group, degree, output, input, 2]
        for name in ("weight", "lora_A", "lora_B"):
            whole = getattr(convolution, name)
            if whole is not None:
                setattr(convolution, name, split_weight(whole, whole[:, degrees], BY_ROWS))
        convolution._l_slice, convolution._has_global_mean = slice(None), degrees.start == 0
    else:  # [..., degree, (order), (2)]; no axis of 2 where weights are complex
        whole = convolution.weight
        pairs = () if whole.is_complex() else (slice(None),)
        if convolution.operator_type == "dhconv":
            part, held = whole[(..., degrees, *pairs)], BY_ROWS
        else:
            orders = mesh.of_width(convolution.modes_lon)
            part, held = whole[(..., degrees, orders, *pairs)], BY_BLOCKS
            convolution.modes_lon_local = orders.stop - orders.start
        convolution.weight = split_weight(whole, part, held)
    convolution.modes_lat_local = degrees.stop - degrees.start


def _place(module: Any, names: tuple[str, ...], mesh: Mesh, north_to_south: bool) -> None:
    """The blocks of embeddings, where a module has them."""
    for name in names:
        whole = getattr(module, name, None)
        if isinstance(whole, nn.Parameter):
            setattr(module, name, placed(whole, mesh, north_to_south))


class _OfWholeCoefficients(nn.Module):
    """A split inverse transform, of whole coefficients: noise is drawn alike by all processes."""

    def __init__(self, transform: nn.Module, mesh: Mesh) -> None:
        super().__init__()
        self._transform, self._mesh = transform, mesh

    def forward(self, coefficients: torch.Tensor) -> torch.Tensor:
        degrees, orders = coefficients.shape[-2:]
        own = self._mesh.of_height(degrees), self._mesh.of_width(orders)
        fields: torch.Tensor = self._transform(coefficients[(..., *own)])
        return fields


class _GlobalMean:
    """fme's area-weighted mean of whole fields, from blocks of them; sums are in float64."""

    def __init__(self, operations: LatLonOperations, mesh: Mesh, tile: Tile) -> None:
        weights = operations._cpu_area_global
        self._total = float(weights.double().sum())
        self._weights = tile.of(weights).to(operations._device_area.device)
        self._mesh = mesh

    def __call__(
        self, data: torch.Tensor, keepdim: bool = False, name: str | None = None
    ) -> torch.Tensor:
        assert name is None  # of a mask, which no correction has
        # As fme does, because what has no weight may be missing.
        weighted = data.where(self._weights != 0.0, 0.0) * self._weights
        total = self._mesh.total(weighted.sum((-2, -1), keepdim=keepdim, dtype=torch.float64))
        return (total / self._total).to(weighted.dtype)
