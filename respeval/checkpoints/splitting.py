"""Networks that work on one block of their fields, the other blocks being other processes'.

Transforms, and norms over the globe, exchange what they need. Filters by degree are held by the
degrees of this process; what belongs to places, by its block. All else is pointwise, and stays.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from respeval.distributed.mesh import Mesh
from respeval.emulator.splitting import BY_BLOCKS, BY_ROWS, split_weight
from respeval.fields.split_transform import split_transforms


def split_sfno(network: nn.Module, mesh: Mesh) -> None:
    """torch-harmonics' SphericalFourierNeuralOperator, in place, for blocks with rows from the north."""
    whole: Any = network
    split_transforms(network, mesh)
    for block in whole.blocks:
        convolution = block.global_conv
        convolution.weight = by_degree(convolution.weight, mesh)
        block.norm = split_norm(block.norm, mesh, whole.img_size)
    position = getattr(whole.pos_embed, "position_embeddings", None)
    if position is not None:
        whole.pos_embed.position_embeddings = placed(position, mesh)


def split_norm(
    norm: nn.Module, mesh: Mesh, shape: tuple[int, int], north_to_south: bool = True
) -> nn.Module:
    """What a norm over fields of this shape becomes; any other module stays as it is."""
    if isinstance(norm, nn.LayerNorm):
        return SplitLayerNorm(norm, mesh, north_to_south)
    return SplitInstanceNorm(norm, mesh, shape) if isinstance(norm, nn.InstanceNorm2d) else norm


def by_degree(weight: nn.Parameter, mesh: Mesh, axis: int = -1) -> nn.Parameter:
    """The filters of this process's degrees, which lie along an axis."""
    degrees = mesh.of_height(weight.shape[axis])
    part = weight.narrow(axis, degrees.start, degrees.stop - degrees.start)
    return split_weight(weight, part, BY_ROWS)


def placed(values: torch.Tensor, mesh: Mesh, north_to_south: bool = True) -> torch.Tensor:
    """The block of a weight or buffer [..., lat, lon], or its rows where it has one column."""
    tile = mesh.tile((values.shape[-2], values.shape[-1]), north_to_south)
    by_rows = values.shape[-1] == 1
    part = values[..., tile.rows, :] if by_rows else tile.of(values)
    if isinstance(values, nn.Parameter):
        return split_weight(values, part, BY_ROWS if by_rows else BY_BLOCKS)
    return part.clone()


class SplitLayerNorm(nn.Module):
    """torch's LayerNorm of fields whose last axes are latitude and longitude, from blocks of them."""

    def __init__(self, norm: nn.LayerNorm, mesh: Mesh, north_to_south: bool = True) -> None:
        super().__init__()
        self.eps, self._mesh = norm.eps, mesh
        self._num_axes = len(norm.normalized_shape)
        self._count = torch.Size(norm.normalized_shape).numel()
        self.weight, self.bias = (
            None if values is None else placed(values, mesh, north_to_south)
            for values in (norm.weight, norm.bias)
        )

    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        axes = tuple(range(-self._num_axes, 0))
        normed = _normed(fields, axes, self._count, self.eps, self._mesh)
        if self.weight is not None:
            normed = normed * self.weight
        return normed if self.bias is None else normed + self.bias


class SplitInstanceNorm(nn.Module):
    """torch's InstanceNorm2d, with weights and no running averages, of fields of this shape."""

    def __init__(self, norm: nn.InstanceNorm2d, mesh: Mesh, shape: tuple[int, int]) -> None:
        super().__init__()
        self.eps, self._mesh, self._count = norm.eps, mesh, shape[0] * shape[1]
        assert norm.affine and not norm.track_running_stats
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        normed = _normed(fields, (-2, -1), self._count, self.eps, self._mesh)
        return normed * self.weight[:, None, None] + self.bias[:, None, None]


def _normed(
    fields: torch.Tensor, axes: tuple[int, ...], count: int, eps: float, mesh: Mesh
) -> torch.Tensor:
    """Fields less their mean, over their standard deviation, of all blocks; sums are in float64."""
    mean = mesh.total(fields.sum(axes, keepdim=True, dtype=torch.float64)) / count
    centred = fields - mean.to(fields.dtype)
    squares = centred.square().sum(axes, keepdim=True, dtype=torch.float64)
    variance = mesh.total(squares) / count
    return centred * torch.rsqrt(variance + eps).to(fields.dtype)
