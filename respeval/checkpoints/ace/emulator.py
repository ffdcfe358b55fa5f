"""An ACE model that is stepped by respeval, through fme's public interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from fme.ace.stepper.single_module import Stepper
from fme.core.corrector.state import CorrectorState
from fme.core.labels import BatchLabels
from fme.core.step.args import StepArgs
from fme.core.stepper_state import StepperState
from torch import nn
from torch.overrides import TorchFunctionMode

from respeval.checkpoints.ace.fme import fme_on
from respeval.checkpoints.ace.spec import StepNames
from respeval.checkpoints.ace.splitting import (
    draws_coefficients,
    hindrance,
    most_parts,
    split_stepper,
)
from respeval.distributed.mesh import Mesh, Tile
from respeval.emulator.contract import EmulatorSpec
from respeval.emulator.noise import CounterNoise, NoiseSource
from respeval.errors import InputError

#: Makes a model on a device, with the weights of these modules, once it is changed as they are.
Builder = Callable[[nn.ModuleList, torch.device, Callable[[Stepper], None]], Stepper]


@dataclass(frozen=True)
class _Held:
    """Where one of a corrector's numbers by member lies among the conserved ones."""

    key: str
    shape: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class _FirstStep:
    """A step of `conserve`, which is the run's first one where no noise is drawn.

    given: state, forcing, next forcing and what is conserved; outputs: fme's.
    """

    given: tuple[torch.Tensor | None, ...]
    outputs: Mapping[str, torch.Tensor]

    def is_of(self, *given: torch.Tensor | None) -> bool:
        pairs = zip(self.given, given, strict=True)
        return all(
            a is b or (a is not None and b is not None and torch.equal(a, b)) for a, b in pairs
        )


class AceEmulator(nn.Module):
    """One ACE model; see `Emulator`.

    build: makes the model on a device.
    labels: those that every member gets; None for a model without labels.
    """

    def __init__(
        self,
        spec: EmulatorSpec,
        names: StepNames,
        build: Builder,
        stepper: Stepper,
        labels: Sequence[str] | None,
    ) -> None:
        super().__init__()
        self.spec = spec
        self._names, self._build, self._labels = names, build, labels
        self._device = torch.device("cpu")
        self._mesh, self._tile = Mesh(), Tile.whole(spec.grid.shape)
        self._held: tuple[_Held, ...] = ()
        self._first_steps: list[_FirstStep] = []
        self._use(stepper)

    def _use(self, stepper: Stepper) -> None:
        stepper.set_eval()  # fme leaves a loaded model in training mode
        self._stepper = [stepper]  # in a list, because it holds `network` again
        networks = [_unwrapped(network) for network in stepper.modules]
        self.network = networks[0] if len(networks) == 1 else nn.ModuleList(networks)
        self.eval()

    def to(self, device: torch.device) -> AceEmulator:  # type: ignore[override]
        """The emulator on `device`, built anew there, because fme's parts stay where they were made."""
        if device != self._device:
            if device.type == "cuda":
                torch.cuda.set_device(device)
            self._use(self._build(self._stepper[0].modules, device, self._split))
            self._device = device
        return self

    @property
    def split_hindrance(self) -> str | None:
        """See `Emulator`."""
        if self._mesh.is_split:
            return None
        return hindrance(self._stepper[0], self.spec.architecture)

    @property
    def most_parts(self) -> tuple[int, int]:
        """See `Emulator`."""
        return most_parts(self._stepper[0])

    def localize(self, mesh: Mesh) -> None:
        """See `Emulator`."""
        grid = self.spec.grid
        self._mesh, self._tile = mesh, mesh.tile(grid.shape, grid.north_to_south)
        # What whole fields told is this process's alone: others would wait for it in their first step.
        self._held = ()
        self._first_steps.clear()
        self._split(self._stepper[0])

    def _split(self, stepper: Stepper) -> None:
        if self._mesh.is_split:
            split_stepper(stepper, self._mesh, self.spec.grid.north_to_south)

    def _drawn_by_member(self, noise: NoiseSource, num_members: int) -> _DrawnByMember:
        whole = draws_coefficients(self._stepper[0])
        return _DrawnByMember(noise, num_members, None if whole else self._tile)

    def prescribe(
        self, surface_temperature: torch.Tensor, next_forcing: torch.Tensor
    ) -> torch.Tensor:
        """Surface temperature [member, lat, lon] as fme's ocean replaces it; see `Emulator`."""
        name = self.spec.surface_temperature
        assert name is not None
        forced = self._named(self._names.forcing, next_forcing)
        result = self._stepper[0].prescribe_sst(forced, {name: surface_temperature}, forced)
        prescribed: torch.Tensor = result[name]
        return prescribed

    def conserve(
        self, state: torch.Tensor, forcing: torch.Tensor, next_forcing: torch.Tensor
    ) -> torch.Tensor | None:
        """What fme's correctors hold at its initial value, such as the global mass of dry air.

        It takes a step to find out, which is kept for the `step` that is asked for next.
        """
        unused = CounterNoise(0, [(0, 0)] * len(state), 0, self._device)
        with torch.no_grad(), fme_on(self._device), self._drawn_by_member(unused, len(state)):
            stepped = self._stepper[0].step(self._arguments(state, forcing, next_forcing, None))
        conserved = self._flatten(stepped.stepper_state)
        if not self.spec.num_noise_channels:
            given = (state, forcing, next_forcing, conserved)
            self._first_steps.append(_FirstStep(given, dict(stepped.output)))
        return conserved

    def _flatten(self, after: StepperState | None) -> torch.Tensor | None:
        """The correctors' numbers [member, number] behind a step, whose places are noted in `_held`."""
        if after is None or after.corrector_state is None:
            return None
        numbers = after.corrector_state.to_state_dict()
        self._held = tuple(
            _Held(key, tuple(value.shape[1:]), value.dtype)
            for key, value in sorted(numbers.items())
        )
        kept = [numbers[held.key] for held in self._held]
        flat = [value.reshape(len(value), -1).double() for value in kept]
        return torch.cat(flat, dim=1) if flat else None

    def step(
        self,
        state: torch.Tensor,
        forcing: torch.Tensor,
        next_forcing: torch.Tensor,
        noise: NoiseSource,
        conserved: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """See `Emulator.step`."""
        if conserved is not None and not self._held:
            self.conserve(state, forcing, next_forcing)  # a run that goes on: only to learn `_held`
            self._first_steps.clear()
        with fme_on(self._device):
            outputs = self._kept(state, forcing, next_forcing, conserved)
            if outputs is None:
                arguments = self._arguments(state, forcing, next_forcing, conserved)
                drawn = self._drawn_by_member(noise, len(state))
                with drawn if self.spec.num_noise_channels else nullcontext():
                    outputs = dict(self._stepper[0].step(arguments).output)
            if self._names.derived:
                outputs |= self._derive(state, outputs, forcing, next_forcing)
        return torch.stack([outputs[name] for name in self._outputs], dim=1)

    def _kept(self, *given: torch.Tensor | None) -> dict[str, torch.Tensor] | None:
        """What `conserve` found of this very step; None where it took another, or gradients are asked."""
        if not self._first_steps or torch.is_grad_enabled():
            return None
        first = self._first_steps.pop(0)
        # All processes that share fields step, or none does.
        others = torch.tensor(0.0 if first.is_of(*given) else 1.0, device=self._device)
        if not self._mesh.total(others):
            return dict(first.outputs)
        self._first_steps.clear()
        return None

    @property
    def _outputs(self) -> tuple[str, ...]:
        return self._names.outputs + self._names.derived

    def _named(self, names: Sequence[str], fields: torch.Tensor) -> dict[str, torch.Tensor]:
        return {name: fields[:, i] for i, name in enumerate(names)}

    def _arguments(
        self,
        state: torch.Tensor,
        forcing: torch.Tensor,
        next_forcing: torch.Tensor,
        conserved: torch.Tensor | None,
    ) -> StepArgs:
        names = self._names
        now, following = (self._named(names.forcing, f) for f in (forcing, next_forcing))
        inputs = self._named(names.prognostic, state)
        inputs |= {name: now[name] for name in names.at_start}
        inputs |= {name: following[name] for name in names.at_end}
        labels = None
        if self._labels is not None:
            labels = BatchLabels.new_from_set(set(self._labels), len(state), self._device)
        return StepArgs(
            input=inputs,
            next_step_input_data={name: following[name] for name in names.next_step},
            labels=labels,
            stepper_state=None if conserved is None else self._stepper_state(conserved),
        )

    def _stepper_state(self, conserved: torch.Tensor) -> StepperState:
        numbers, first = {}, 0
        for held in self._held:
            count = int(torch.Size(held.shape).numel())
            part = conserved[:, first : first + count]
            numbers[held.key] = part.reshape(-1, *held.shape).to(held.dtype)
            first += count
        return StepperState(corrector_state=CorrectorState.from_state_dict(numbers))

    def _derive(
        self,
        state: torch.Tensor,
        outputs: Mapping[str, torch.Tensor],
        forcing: torch.Tensor,
        next_forcing: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """Derived variables of a step's end; fme makes them from a series, here of its two times.

        Only the state is known at the start; what is an output alone is missing there.
        """
        before = self._named(self._names.prognostic, state)
        series = {
            name: torch.stack([before.get(name, torch.full_like(field, torch.nan)), field], dim=1)
            for name, field in outputs.items()
        }
        forced = torch.stack([forcing, next_forcing], dim=2)
        found = self._stepper[0].derive_func(series, self._named(self._names.forcing, forced))
        return {name: found[name][:, -1] for name in self._names.derived}


def _unwrapped(network: nn.Module) -> nn.Module:
    """The network without the wrapper that fme puts around it for its own distributed training."""
    children = dict(network.named_children())
    bare = type(network).__name__ == "DummyWrapper" and list(children) == ["module"]
    return children["module"] if bare else network


class _DrawnByMember(TorchFunctionMode):
    """Within this, torch's standard normal numbers of a batch come from a source by member.

    fme draws one field over the whole batch, so that members of a pair could not get equal noise, and
    a member's noise would depend on the others in its batch.

    tile: the block that fields are of; they are drawn whole, and the block is kept. None where what is
        drawn are no fields.
    """

    _OTHERS = (torch.rand, torch.rand_like, torch.normal, torch.randint, torch.bernoulli)

    def __init__(self, noise: NoiseSource, num_members: int, tile: Tile | None = None) -> None:
        super().__init__()
        self._noise, self._num_members = noise, num_members
        self._tile = None if tile is None or tile.is_whole else tile

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if func is torch.randn_like:
            like = args[0]
            given.setdefault("dtype", like.dtype)
            given.setdefault("device", like.device)
            return self._draw(tuple(like.shape), given)
        if func is torch.randn:
            shape = given.pop("size", None) or (
                args[0] if len(args) == 1 and not isinstance(args[0], int) else args
            )
            return self._draw(tuple(shape), given)
        if func in self._OTHERS:
            raise InputError(
                f"the model draws random numbers by torch.{func.__name__}, which respeval can't draw by "
                "member; only normal noise is supported"
            )
        return func(*args, **given)

    def _draw(self, shape: tuple[int, ...], options: Mapping[str, Any]) -> torch.Tensor:
        if not shape or shape[0] != self._num_members:
            raise InputError(
                f"the model draws noise of shape {list(shape)} for {self._num_members} members; "
                "respeval needs one draw for each member"
            )
        drawn = self._normal(shape[1:])
        drawn = drawn.to(options.get("device"), options.get("dtype") or torch.get_default_dtype())
        # Some models change what they drew in place, and members of a pair may share one tensor.
        return drawn.contiguous()

    def _normal(self, shape: tuple[int, ...]) -> torch.Tensor:
        tile = self._tile
        if tile is None:
            return self._noise.normal(*shape)
        if shape[-2:] != tile.size:
            raise InputError(
                f"the model draws noise of shape {list(shape)} for fields of {tile.size[0]} x {tile.size[1]} "
                "cells of this process; respeval splits noise that is a field; leave --spatial out"
            )
        return tile.of(self._noise.normal(*shape[:-2], *tile.shape))
