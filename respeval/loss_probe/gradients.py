"""One ensemble forward pass of a batch, and the gradients of every arm's loss through it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import nn

from respeval.distributed.mesh import Mesh, Tile
from respeval.emulator.contract import Emulator, EmulatorSpec
from respeval.emulator.noise import CounterNoise
from respeval.errors import InputError
from respeval.fields.transform import SphericalTransform
from respeval.loss_probe.activations import Recompute, blocks_of, called_through, run_again
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

    def predicted(self, outputs: torch.Tensor, tile: Tile) -> torch.Tensor:
        """What the loss scores of all outputs, [..., output, lat, lon], normalized; tile: their block."""
        scored = outputs if self._scored is None else outputs[..., self._scored, :, :]
        return (scored - tile.of(self.mean)) / self.scale

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


#: Takes (number of the arm, number of the filter, dL/d(weights)), of the shape of its parameter.
Take = Callable[[int, int, torch.Tensor], None]


@dataclass(frozen=True)
class ArmGradients:
    """One arm's loss of a batch, and its gradient with respect to the outputs.

    output: dL/d(normalized output), [member, sample, loss output, lat, lon].
    """

    loss: ArmLoss
    output: torch.Tensor


@dataclass(frozen=True)
class BatchGradients:
    """target: coefficients [sample, loss output, l, m]; arms: in the order of the probe's."""

    target: torch.Tensor
    arms: list[ArmGradients]


@dataclass(frozen=True)
class Probe:
    """What is asked of an emulator: arms of a loss, and the filters whose gradients are wanted.

    recompute: what runs a second time instead of being kept; see `Recompute`.
    mesh: the processes that share the network's fields. Outputs are gathered for the loss, which every
    one of them computes whole, and its gradient goes back through each one's block.
    """

    emulator: Emulator
    filters: tuple[SpectralFilter, ...]
    arms: tuple[Arm, ...]
    weights: LossWeights
    ensemble: Ensemble
    normalize: Normalization
    transform: SphericalTransform
    recompute: Recompute = "nothing"
    mesh: Mesh = field(default_factory=Mesh)

    @property
    def tile(self) -> Tile:
        """This process's block of the grid."""
        grid = self.emulator.spec.grid
        return self.mesh.tile(grid.shape, grid.north_to_south)

    def predict(self, batch: Batch, chosen: Sequence[tuple[int, int]]) -> torch.Tensor:
        """Normalized outputs of (sample, member) pairs, [chosen, loss output, lat, lon], in this block.

        Noise depends on the seed, the sample's row in the record and the member, on nothing else.
        """
        samples = [sample for sample, _ in chosen]
        streams = [(batch.rows[sample], member) for sample, member in chosen]
        state, seed = batch.state[samples], self.ensemble.seed
        if self.ensemble.input_noise:
            noise = CounterNoise(seed, streams, _INPUT_NOISE_STEP, state.device)
            scale = self.ensemble.input_noise * self.normalize.state_scale
            drawn = noise.normal(state.shape[1], *self.tile.shape)
            state = state + scale * self.tile.of(drawn).to(state)
        noise = CounterNoise(seed, streams, 0, state.device)
        forcing, next_forcing = batch.forcing[samples], batch.next_forcing[samples]
        outputs = self.emulator.step(state, forcing, next_forcing, noise)
        return self.normalize.predicted(outputs, self.tile)

    def gradients(self, batch: Batch, take: Take) -> BatchGradients:
        """Losses of all arms on one batch, and their gradients; those of filters go to `take`.

        There is one forward pass, and one backward pass per arm through its graph. Each filter's
        gradient is handed over when it is there, and then let go.
        Raises InputError where a filter takes no part in the outputs, as in a network that was exported
        for inference alone.
        """
        num_samples, num_members = len(batch.rows), self.ensemble.num_members
        chosen = [
            (sample, member) for member in range(num_members) for sample in range(num_samples)
        ]
        with contextlib.ExitStack() as stack:
            if self.recompute != "nothing":
                stack.enter_context(called_through(self.blocks(), run_again))
            fields = self._forward(batch, chosen)
            whole = self.mesh.whole(fields.detach(), self.tile)
            members = whole.unflatten(0, (num_members, num_samples)).requires_grad_()
            with torch.enable_grad():
                target = self.normalize(batch.target)
                weights = self.weights.of_variables(self.normalize.names)
                scored = ScoredEnsemble(members, target, self.transform, self.weights, weights)
                losses = [scored.loss(arm) for arm in self.arms]
            outputs = [
                torch.autograd.grad(loss.total, members, retain_graph=i + 1 < len(losses))[0]
                for i, loss in enumerate(losses)
            ]
            flat = [self.tile.of(gradient.flatten(0, 1)).contiguous() for gradient in outputs]
            if self._one_by_one:
                del fields
                self._go_back(self._again(batch, chosen, flat), len(chosen), take)
            else:
                self._go_back(iter([(fields, flat)]), 1, take)
        found = zip(losses, outputs, strict=True)
        return BatchGradients(scored.target_coefficients, [ArmGradients(*f) for f in found])

    def blocks(self) -> list[nn.Module]:
        """The parts of the network that can run again."""
        assert isinstance(self.emulator, nn.Module)
        return blocks_of(self.emulator, self.filters)

    @property
    def _one_by_one(self) -> bool:
        return self.recompute == "trajectories"

    def _forward(self, batch: Batch, chosen: Sequence[tuple[int, int]]) -> torch.Tensor:
        """Normalized outputs of all trajectories, with their graph if it is kept."""
        if not self._one_by_one:
            with torch.enable_grad():
                return self.predict(batch, chosen)
        with torch.no_grad():
            return torch.cat([self.predict(batch, [pair]) for pair in chosen])

    def _again(
        self, batch: Batch, chosen: Sequence[tuple[int, int]], gradients: Sequence[torch.Tensor]
    ) -> Iterator[tuple[torch.Tensor, list[torch.Tensor]]]:
        """One trajectory after the other: its outputs with their graph, and dL/d(output) per arm."""
        for i in range(len(chosen)):
            with torch.enable_grad():
                fields = self.predict(batch, chosen[i : i + 1])
            yield fields, [gradient[i : i + 1] for gradient in gradients]

    def _go_back(
        self, parts: Iterator[tuple[torch.Tensor, list[torch.Tensor]]], num_parts: int, take: Take
    ) -> None:
        """Hand over the filters' gradients, summed over the parts of a batch."""
        hint = getattr(self.emulator, "probe_hint", "")
        weights = [entry.parameter for entry in self.filters]
        handover = _Handover(num_parts, self._totals_of(take))
        for part, (fields, output_gradients) in enumerate(parts):
            if not fields.requires_grad:
                raise _no_gradient(self.filters, hint)
            for arm, gradient in enumerate(output_gradients):
                retain = arm + 1 < len(output_gradients)
                with handover.of(weights, part, arm) as reached:
                    torch.autograd.backward(fields, gradient, retain_graph=retain, inputs=weights)
                without = [entry for i, entry in enumerate(self.filters) if i not in reached]
                if without:
                    raise _no_gradient(without, hint)

    def _totals_of(self, take: Take) -> Take:
        """Takes gradients of this process's block, and hands over those of the whole circle: filters by
        degree are the same on all processes of a row."""

        def take_total(arm: int, layer: int, gradient: torch.Tensor) -> None:
            take(arm, layer, self.mesh.row_total(gradient))

        return take_total


class _Handover:
    """Takes each filter's gradient as soon as backward has it, and hands over its sum over parts."""

    def __init__(self, num_parts: int, take: Take) -> None:
        self._num_parts, self._take = num_parts, take
        self._totals: dict[tuple[int, int], torch.Tensor] = {}

    @contextlib.contextmanager
    def of(self, weights: Sequence[nn.Parameter], part: int, arm: int) -> Iterator[set[int]]:
        """Within this, gradients of these weights go here and nowhere else; yields whose came."""
        reached: set[int] = set()

        def hook(layer: int, weight: torch.Tensor) -> None:
            found, weight.grad = weight.grad, None
            assert found is not None
            reached.add(layer)
            self._add(part, (arm, layer), found)

        with contextlib.ExitStack() as undo:
            for layer, weight in enumerate(weights):
                undo.callback(setattr, weight, "grad", weight.grad)
                weight.grad = None
                handle = weight.register_post_accumulate_grad_hook(partial(hook, layer))
                undo.callback(handle.remove)
            yield reached

    def _add(self, part: int, key: tuple[int, int], found: torch.Tensor) -> None:
        total = self._totals.pop(key, None)
        total = found if total is None else total.add_(found)
        if part + 1 < self._num_parts:
            self._totals[key] = total
        else:
            self._take(*key, total)


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
