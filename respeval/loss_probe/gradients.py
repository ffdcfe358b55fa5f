"""One ensemble forward pass of a batch, and the gradients of every arm's loss through it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from respeval.emulator.contract import Emulator, EmulatorSpec
from respeval.emulator.noise import CounterNoise
from respeval.errors import InputError
from respeval.fields.transform import SphericalTransform
from respeval.loss_probe.arms import Arm
from respeval.loss_probe.filters import SpectralFilter
from respeval.loss_probe.loss import ArmLoss, LossWeights, ScoredEnsemble
from respeval.loss_probe.pairs import Batch
from respeval.loss_probe.scores import mean_power

#: Step number of the noise that is added to inputs, apart from the emulator's own at step 0.
_INPUT_NOISE_STEP = 1


class Normalization:
    """Outputs in the loss's units: (x - mean) / scale, [..., loss output, lat, lon].

    names: of the loss outputs; state_scale: of the prognostic variables in the network's own units,
    [prognostic, 1, 1].
    Raises InputError where the emulator does not say an output's.
    """

    def __init__(self, spec: EmulatorSpec, dtype: torch.dtype, device: torch.device) -> None:
        names = [variable.name for variable in spec.loss_outputs]
        units = spec.loss_normalization or spec.normalization
        state = [variable.name for variable in spec.prognostic]
        missing = [n for n in names if n not in units]
        missing += [n for n in state if n not in spec.normalization and n not in missing]
        if missing:
            raise InputError(f"the checkpoint has no normalization of {', '.join(missing)}")

        def column(scales: list[float]) -> torch.Tensor:
            return torch.tensor(scales, dtype=dtype)[:, None, None].to(device)

        means = [torch.as_tensor(units[name][0], dtype=dtype) for name in names]
        fields = [mean.expand(spec.grid.shape) for mean in means]
        self.mean = torch.stack(fields).to(device, dtype)
        self.scale = column([float(units[name][1]) for name in names])
        self.state_scale = column([float(spec.normalization[name][1]) for name in state])
        self.names = tuple(names)
        outputs = [variable.name for variable in spec.outputs]
        self._scored = None if names == outputs else [outputs.index(name) for name in names]

    def predicted(self, outputs: torch.Tensor) -> torch.Tensor:
        """What the loss scores of all outputs, [..., output, lat, lon], normalized."""
        return self(outputs if self._scored is None else outputs[..., self._scored, :, :])

    def __call__(self, outputs: torch.Tensor) -> torch.Tensor:
        """Normalized, of the outputs that the loss scores."""
        return (outputs - self.mean) / self.scale


@dataclass(frozen=True)
class Ensemble:
    """How the members of a batch are made.

    input_noise: standard deviation of noise that is added to the state, in normalized units.
    """

    num_members: int
    seed: int
    input_noise: float = 0.0


@dataclass(frozen=True)
class ArmGradients:
    """One arm's loss of a batch and its gradients.

    output: dL/d(normalized output), [member, sample, loss output, lat, lon].
    filters: dL/d(weights) of every filter, of the shape of its parameter.
    """

    loss: ArmLoss
    output: torch.Tensor
    filters: list[torch.Tensor]


@dataclass(frozen=True)
class BatchGradients:
    """target: coefficients [sample, loss output, l, m]; arms: in the order of the probe's."""

    target: torch.Tensor
    arms: list[ArmGradients]


@dataclass(frozen=True)
class Probe:
    """What is asked of an emulator: arms of a loss, and the filters whose gradients are wanted.

    recompute: keep no graph of a whole batch, but run each member of each sample a second time and
        go backward through it alone; the memory is then that of one trajectory's graph.
    """

    emulator: Emulator
    filters: tuple[SpectralFilter, ...]
    arms: tuple[Arm, ...]
    weights: LossWeights
    ensemble: Ensemble
    normalize: Normalization
    transform: SphericalTransform
    recompute: bool = False

    def predict(self, batch: Batch, chosen: Sequence[tuple[int, int]]) -> torch.Tensor:
        """Normalized outputs of (sample, member) pairs, [chosen, loss output, lat, lon].

        Noise depends on the seed, the sample's row in the record and the member, on nothing else.
        """
        samples = [sample for sample, _ in chosen]
        streams = [(batch.rows[sample], member) for sample, member in chosen]
        state, seed = batch.state[samples], self.ensemble.seed
        if self.ensemble.input_noise:
            noise = CounterNoise(seed, streams, _INPUT_NOISE_STEP, state.device)
            scale = self.ensemble.input_noise * self.normalize.state_scale
            state = state + scale * noise.normal(*state.shape[1:]).to(state)
        noise = CounterNoise(seed, streams, 0, state.device)
        forcing, next_forcing = batch.forcing[samples], batch.next_forcing[samples]
        return self.normalize.predicted(self.emulator.step(state, forcing, next_forcing, noise))

    def gradients(self, batch: Batch) -> BatchGradients:
        """Losses and gradients of all arms on one batch.

        There is one forward pass, and one backward pass per arm through its graph.
        """
        num_samples, num_members = len(batch.rows), self.ensemble.num_members
        chosen = [
            (sample, member) for member in range(num_members) for sample in range(num_samples)
        ]
        with torch.set_grad_enabled(not self.recompute):
            fields = self.predict(batch, chosen)
        shape = (num_members, num_samples, *fields.shape[1:])
        members = fields.detach().reshape(shape).requires_grad_()
        with torch.enable_grad():
            target = self.normalize(batch.target)
            weights = self.weights.of_variables(self.normalize.names)
            scored = ScoredEnsemble(members, target, self.transform, self.weights, weights)
            losses = [scored.loss(arm) for arm in self.arms]
        outputs = [
            torch.autograd.grad(loss.total, members, retain_graph=i + 1 < len(losses))[0]
            for i, loss in enumerate(losses)
        ]
        flat = [gradient.reshape(fields.shape) for gradient in outputs]
        parts = self._again(batch, chosen, flat) if self.recompute else iter([(fields, flat)])
        hint = getattr(self.emulator, "probe_hint", "")
        of_filters = _filter_gradients(parts, self.filters, len(self.arms), hint)
        found = zip(losses, outputs, of_filters, strict=True)
        return BatchGradients(scored.target_coefficients, [ArmGradients(*f) for f in found])

    def _again(
        self, batch: Batch, chosen: Sequence[tuple[int, int]], gradients: Sequence[torch.Tensor]
    ) -> Iterator[tuple[torch.Tensor, list[torch.Tensor]]]:
        """One trajectory after the other: its outputs with their graph, and dL/d(output) per arm."""
        for i in range(len(chosen)):
            with torch.enable_grad():
                fields = self.predict(batch, chosen[i : i + 1])
            yield fields, [gradient[i : i + 1] for gradient in gradients]


def _filter_gradients(
    parts: Iterator[tuple[torch.Tensor, list[torch.Tensor]]],
    filters: Sequence[SpectralFilter],
    num_arms: int,
    hint: str,
) -> list[list[torch.Tensor]]:
    """Gradients [arm][filter], summed over the parts of a batch.

    Raises InputError where a filter takes no part in the outputs, as in a network that was exported
    for inference alone; `hint` says what to do.
    """
    parameters = [entry.parameter for entry in filters]
    totals = [
        [torch.zeros_like(p, requires_grad=False) for p in parameters] for _ in range(num_arms)
    ]
    for fields, output_gradients in parts:
        if not fields.requires_grad:
            raise _no_gradient(filters, hint)
        for arm, gradient in enumerate(output_gradients):
            found = torch.autograd.grad(
                fields, parameters, gradient, retain_graph=arm + 1 < num_arms, allow_unused=True
            )
            without = [f for f, part in zip(filters, found, strict=True) if part is None]
            if without:
                raise _no_gradient(without, hint)
            for total, part in zip(totals[arm], found, strict=True):
                total += part
    return totals


def _no_gradient(filters: Sequence[SpectralFilter], hint: str) -> InputError:
    names = ", ".join(entry.name for entry in filters)
    return InputError(
        f"no gradient reaches the spectral filters {names}" + f"; {hint}" * bool(hint)
    )


def output_gradient_power(
    gradient: torch.Tensor, area_weight: torch.Tensor, transform: SphericalTransform
) -> torch.Tensor:
    """Mean power of a loss's gradient with respect to a field, by degree, [..., l].

    gradient: dL/d(cell value), [..., lat, lon]; area_weight: [lat, lon], summing to 1. Divided by it,
    the gradient is the field G with dL = ∫ G δu dA over the sphere's mean, so that a loss of degree l
    alone has all its power there; see `mean_power`.
    """
    return mean_power(transform.forward(gradient / area_weight))
