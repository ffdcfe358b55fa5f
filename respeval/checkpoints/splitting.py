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
        if isinstance(block.norm, nn.LayerNorm):
            block.norm = SplitLayerNorm(block.norm, mesh)
        elif isinstance(block.norm, nn.InstanceNorm2d):
            block.norm = SplitInstanceNorm(block.norm, mesh, *whole.img_size)
    position = getattr(whole.pos_embed, "position_embeddings", None)
    if position is not None:
        whole.pos_embed.position_embeddings = _placed(position, mesh)


def by_degree(weight: nn.Parameter, mesh: Mesh, axis: int = -1) -> nn.Parameter:
    """The filters of this process's degrees, which lie along an axis."""
    degrees = mesh.of_height(weight.shape[axis])
    part = weight.narrow(axis, degrees.start, degrees.stop - degrees.start)
    return split_weight(weight, part, BY_ROWS)


def _placed(values: torch.Tensor, mesh: Mesh) -> torch.Tensor:
    """The block of a weight or buffer [..., lat, lon], or its rows where it has one column."""
    rows, columns = mesh.of_height(values.shape[-2]), mesh.of_width(values.shape[-1])
    by_rows = values.shape[-1] == 1
    part = values[..., rows, :] if by_rows else values[..., rows, columns]
    if isinstance(values, nn.Parameter):
        return split_weight(values, part, BY_ROWS if by_rows else BY_BLOCKS)
    return part.clone()


class SplitLayerNorm(nn.Module):
    """torch's LayerNorm of fields whose last axes are latitude and longitude, from blocks of them."""

    def __init__(self, norm: nn.LayerNorm, mesh: Mesh) -> None:
        super().__init__()
        self.eps, self._mesh = norm.eps, mesh
        self._num_axes = len(norm.normalized_shape)
        self._count = torch.Size(norm.normalized_shape).numel()
        self.weight = None if norm.weight is None else _placed(norm.weight, mesh)
        self.bias = None if norm.bias is None else _placed(norm.bias, mesh)

    def forward(self, fields: torch.Tensor) -> torch.Tensor:
        axes = tuple(range(-self._num_axes, 0))
        normed = _normed(fields, axes, self._count, self.eps, self._mesh)
        if self.weight is not None:
            normed = normed * self.weight
        return normed if self.bias is None else normed + self.bias


class SplitInstanceNorm(nn.Module):
    """torch's InstanceNorm2d, with weights and no running averages, of num_lat x num_lon fields."""

    def __init__(self, norm: nn.InstanceNorm2d, mesh: Mesh, num_lat: int, num_lon: int) -> None:
        super().__init__()
        self.eps, self._mesh, self._count = norm.eps, mesh, num_lat * num_lon
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
