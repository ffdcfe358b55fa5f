"""Sums over the batches of a probe, and the profile per degree that they give.

Everything that depends on a single batch is kept by batch, so that a bootstrap can draw batches
again; of the gradients themselves only the sum over batches is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from respeval.distributed.mesh import Mesh
from respeval.fields.transform import SphericalTransform
from respeval.loss_probe.arms import Arm, PerSample
from respeval.loss_probe.filters import SpectralFilter
from respeval.loss_probe.gradients import BatchGradients, output_gradient_power
from respeval.loss_probe.scores import degree_amplitude

FloatArray = NDArray[np.float64]

#: Quantiles of the whitening factor over samples and variables.
FACTOR_QUANTILES = (0.1, 0.9)

#: Bytes up to which sums of gradients are kept in float64; a model's size alone decides, so that its
#: numbers are the same on every machine.
_MUCH = 2**30


class ProbeSums:
    """What a probe adds up on the compute device; the same on every process.

    All is float64, but `filter_sum` has the gradients' own precision where float64 takes much memory.

    loss: [arm, batch]. spectral: [arm, batch, degree], parts of the spectral term, mean over samples
    and variables. output_power: [arm, batch, degree], mean power of the loss's gradient with respect
    to the outputs. target_square: [batch, degree], mean of A_l². factor: [arm, batch, sample,
    output, degree]. filter_square[layer]: [arm, batch, degree], sum of |dL/dw|².
    filter_sum[layer]: [arm, *weight shape, 2 where complex], sum of the gradients over batches; empty
    for a single batch, which has no signal-to-noise ratio.
    square_of_sum[layer]: [arm, degree], |its sum|², once it is `reduce`d.
    Entries of batches that this process was not dealt are zero. Where fields are split, filters are
    those of this process's degrees.
    """

    def __init__(
        self,
        num_batches: int,
        batch_size: int,
        num_outputs: int,
        arms: Sequence[Arm],
        filters: Sequence[SpectralFilter],
        num_degrees: int,
        device: torch.device,
    ) -> None:
        def zeros(*shape: int) -> torch.Tensor:
            return torch.zeros(shape, dtype=torch.float64, device=device)

        num_arms = len(arms)
        self._filters = filters
        self.loss = zeros(num_arms, num_batches)
        self.spectral = zeros(num_arms, num_batches, num_degrees)
        self.output_power = zeros(num_arms, num_batches, num_degrees)
        self.target_square = zeros(num_batches, num_degrees)
        self.factor = zeros(num_arms, num_batches, batch_size, num_outputs, num_degrees)
        self.filter_square = [zeros(num_arms, num_batches, f.num_degrees) for f in filters]
        self.filter_sum = [
            torch.zeros((num_arms, *_real(f.parameter).shape), dtype=dtype, device=device)
            for f, dtype in zip(filters, sum_dtypes(filters, num_arms, num_batches), strict=False)
        ]
        self.square_of_sum: list[torch.Tensor] = []

    def take(self, batch: int, arm: int, layer: int, gradient: torch.Tensor) -> None:
        """Take in one filter's gradient."""
        self.filter_square[layer][arm, batch] = self._filters[layer].square_by_degree(gradient)
        if self.filter_sum:
            self.filter_sum[layer][arm] += _real(gradient)

    def add(
        self,
        batch: int,
        found: BatchGradients,
        area_weight: torch.Tensor,
        transform: SphericalTransform,
    ) -> None:
        """Take in what a batch gave beside the filters' gradients."""
        amplitude = degree_amplitude(found.target).double()
        self.target_square[batch] = amplitude.square().mean(dim=(0, 1))
        for arm, of_arm in enumerate(found.arms):
            self.loss[arm, batch] = of_arm.loss.total.detach()
            self.spectral[arm, batch] = of_arm.loss.by_degree.detach().double().mean(dim=(0, 1))
            power = output_gradient_power(of_arm.output, area_weight, transform)
            self.output_power[arm, batch] = power.double().mean(dim=(0, 1, 2))
            self.factor[arm, batch] = of_arm.loss.factor.detach()

    def reduce(self, sum_to_root: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Add up all processes' sums: what depends on a batch in one collective, each filter in one."""
        by_batch = [self.loss, self.spectral, self.output_power, self.target_square, self.factor]
        by_batch += self.filter_square
        packed = sum_to_root(torch.cat([tensor.reshape(-1) for tensor in by_batch]))
        parts = packed.split([tensor.numel() for tensor in by_batch])
        for tensor, part in zip(by_batch, parts, strict=True):
            tensor.copy_(part.reshape(tensor.shape))
        for total, entry in zip(self.filter_sum, self._filters, strict=False):
            for of_arm in total:
                of_arm.copy_(sum_to_root(of_arm))
            self.square_of_sum.append(_square_of_sum(total, entry))

    def gather_degrees(self, mesh: Mesh, num_degrees: Sequence[int]) -> None:
        """Put the filters' degrees, of which each process of a mesh has some, in their places among all.

        num_degrees: of every filter; those that share fields with the root call it behind `reduce`.
        """
        if not mesh.is_split:
            return

        def whole(part: torch.Tensor, number: int) -> torch.Tensor:
            placed = part.new_zeros(*part.shape[:-1], number)
            if mesh.column == 0:
                placed[..., mesh.of_height(number)] = part
            return mesh.total(placed)

        self.filter_square = list(map(whole, self.filter_square, num_degrees))
        self.square_of_sum = list(map(whole, self.square_of_sum, num_degrees))


def sum_dtypes(
    filters: Sequence[SpectralFilter], num_arms: int, num_batches: int
) -> list[torch.dtype]:
    """Of the sums of each filter's gradients over batches; none for a single batch."""
    sizes = [_real(entry.parameter).numel() for entry in filters]
    if num_batches < 2:
        return []
    if num_arms * sum(sizes) * torch.float64.itemsize <= _MUCH:
        return [torch.float64] * len(filters)
    return [_real(entry.parameter).dtype for entry in filters]


def _real(values: torch.Tensor) -> torch.Tensor:
    values = values.detach()
    return torch.view_as_real(values) if values.is_complex() else values


@dataclass(frozen=True)
class Profile:
    """Quantities per degree, float64; NaN at degrees that a filter does not have.

    batch_square: [arm, batch, layer, degree], mean of |dL/dw|² over a degree's weights in one batch.
    grad_rms: [arm, layer, degree], its root mean over batches: the gradient per real weight.
    grad_snr: [arm, layer, degree], |mean gradient| / spread between batches; see `signal_to_noise`.
    weight_rms: [layer, degree]. relative_update: [arm, layer, degree], grad_rms / weight_rms.
    energy_score: [arm, degree], parts of the spectral term; energy_share: of its total.
    whitening_factor: [arm, degree], mean over samples and outputs; its quantiles [quantile, arm,
    degree]. output_gradient: [arm, degree], root of the mean power. target_amplitude: [degree],
    root mean square of A_l. loss: [arm, batch]. The factor is NaN for arms without one but `none`.
    """

    batch_square: FloatArray
    grad_rms: FloatArray
    grad_snr: FloatArray
    weight_rms: FloatArray
    relative_update: FloatArray
    energy_score: FloatArray
    energy_share: FloatArray
    whitening_factor: FloatArray
    whitening_factor_quantiles: FloatArray
    output_gradient: FloatArray
    target_amplitude: FloatArray
    loss: FloatArray


def signal_to_noise(
    square_of_sum: FloatArray, sum_of_squares: FloatArray, num_batches: int
) -> FloatArray:
    """|ḡ| / sqrt(Σ_b |g_b - ḡ|² / (B - 1)) of the gradient vectors g_b of B batches, ḡ their mean.

    square_of_sum: |Σ_b g_b|²; sum_of_squares: Σ_b |g_b|². Pure noise gives 1 / sqrt(B) on average
    (the mean of B vectors is that much shorter). NaN for a single batch and where nothing varies.
    """
    if num_batches < 2:
        return np.full_like(square_of_sum, np.nan)
    spread = (sum_of_squares - square_of_sum / num_batches) / (num_batches - 1)
    ratio = square_of_sum / num_batches**2 / np.where(spread > 0, spread, np.nan)
    result: FloatArray = np.sqrt(ratio)
    return result


def make_profile(
    sums: ProbeSums, filters: Sequence[SpectralFilter], arms: Sequence[Arm]
) -> Profile:
    """The profile from the sums over all batches."""
    num_arms, num_batches = sums.loss.shape
    num_degrees = max(sums.spectral.shape[-1], *(f.num_degrees for f in filters))
    shape = (num_arms, num_batches, len(filters), num_degrees)
    square, snr = np.full(shape, np.nan), np.full((shape[0], *shape[2:]), np.nan)
    weight_rms = np.full(shape[2:], np.nan)
    for layer, entry in enumerate(filters):
        kept, count = slice(entry.num_degrees), entry.num_weights().numpy()
        by_batch = sums.filter_square[layer].cpu().numpy()
        square[:, :, layer, kept] = by_batch / count
        if sums.square_of_sum:
            of_sum = sums.square_of_sum[layer].cpu().numpy()
            snr[:, layer, kept] = signal_to_noise(of_sum, by_batch.sum(axis=1), num_batches)
        weights = entry.square_by_degree(entry.parameter).cpu().numpy()
        weight_rms[layer, kept] = np.sqrt(weights / count)
    grad_rms = np.sqrt(square.mean(axis=1))
    spectral = _padded(sums.spectral.mean(dim=1), num_degrees)
    mean, quantiles = _factors(sums.factor, arms)
    with np.errstate(divide="ignore", invalid="ignore"):
        return Profile(
            batch_square=square,
            grad_rms=grad_rms,
            grad_snr=snr,
            weight_rms=weight_rms,
            relative_update=grad_rms / np.where(weight_rms > 0, weight_rms, np.nan),
            energy_score=spectral,
            energy_share=spectral / np.nansum(spectral, axis=-1, keepdims=True),
            whitening_factor=_padded(mean, num_degrees),
            whitening_factor_quantiles=_padded(quantiles, num_degrees),
            output_gradient=_padded(sums.output_power.mean(dim=1).sqrt(), num_degrees),
            target_amplitude=_padded(sums.target_square.mean(dim=0).sqrt(), num_degrees),
            loss=sums.loss.cpu().numpy(),
        )


def _square_of_sum(total: torch.Tensor, entry: SpectralFilter) -> torch.Tensor:
    """|Σ_b g_b|², [arm, degree], of the summed gradients [arm, *weight shape, 2 where complex]."""
    vectors = torch.view_as_complex(total) if entry.parameter.is_complex() else total
    return torch.stack([entry.square_by_degree(vector) for vector in vectors])


def _factors(factor: torch.Tensor, arms: Sequence[Arm]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean [arm, degree] and quantiles [quantile, arm, degree] over batches, samples and outputs."""
    flat = factor.flatten(1, 3)
    levels = torch.tensor(FACTOR_QUANTILES, dtype=flat.dtype, device=flat.device)
    # One degree at a time: torch.quantile takes no more than 16 million numbers.
    per_degree = [torch.quantile(flat[..., i], levels, dim=1) for i in range(flat.shape[-1])]
    mean, quantiles = flat.mean(dim=1), torch.stack(per_degree, dim=-1)
    for i, arm in enumerate(arms):
        if arm.kind != "none" and not isinstance(arm, PerSample):
            mean[i], quantiles[:, i] = float("nan"), float("nan")
    return mean, quantiles


def _padded(values: torch.Tensor, num_degrees: int) -> FloatArray:
    """Values [..., degree] with NaN at the degrees up to `num_degrees` that they lack."""
    found: FloatArray = values.cpu().numpy()
    padding = [(0, 0)] * (found.ndim - 1) + [(0, num_degrees - found.shape[-1])]
    return np.pad(found, padding, constant_values=np.nan)
