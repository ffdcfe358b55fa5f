"""One step of any network that works on normalized fields; checkpoint formats share it."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from respeval.checkpoints.manifest import ModelManifest
from respeval.distributed.mesh import Mesh, Tile
from respeval.emulator.contract import OCEAN_CUTOFF
from respeval.emulator.noise import NoiseSource
from respeval.fields.fractions import is_above


def _column(values: list[float]) -> torch.Tensor:
    """One number per variable, [variable, 1, 1]."""
    return torch.tensor(values, dtype=torch.float32)[:, None, None]


class NormalizedEmulator(nn.Module):
    """A network with its normalization, prediction rule and prescribed ocean; see `Emulator`.

    network: normalized inputs [member, channel, lat, lon] -> normalized outputs, channels as the
        manifest orders them. Climatologies that the manifest does not have are zero until they are loaded.
    """

    _input_mean: torch.Tensor
    _input_scale: torch.Tensor
    _output_mean: torch.Tensor
    _output_scale: torch.Tensor
    _residual_scale: torch.Tensor

    def __init__(self, manifest: ModelManifest, network: nn.Module) -> None:
        super().__init__()
        self.manifest = manifest
        self.spec = spec = manifest.spec()
        self._tile = Tile.whole(spec.grid.shape)
        self._forcing_index = {name: i for i, name in enumerate(spec.required_forcing)}
        self._outputs = [v.name for v in spec.outputs]
        self._inputs = [v.name for v in spec.prognostic] + [v.name for v in spec.forcing]
        self.network = network
        given = {name: manifest.climatology_field(name) for name in manifest.climatology_names()}
        self.climatology = nn.ParameterDict(
            {
                name: nn.Parameter(
                    torch.zeros(spec.grid.shape)
                    if field is None
                    else torch.from_numpy(field).float(),
                    requires_grad=False,
                )
                for name, field in given.items()
            }
        )
        norms = manifest.normalization
        num_prognostic = len(spec.prognostic)
        residual = [norms[n].residual_scale or 1.0 for n in self._outputs[:num_prognostic]]
        for name, values in (
            ("_input_mean", [norms[n].mean for n in self._inputs]),
            ("_input_scale", [norms[n].scale for n in self._inputs]),
            ("_output_mean", [norms[n].mean for n in self._outputs]),
            ("_output_scale", [norms[n].scale for n in self._outputs]),
            ("_residual_scale", residual),
        ):
            self.register_buffer(name, _column(values), persistent=False)
        if not any(field is None for field in given.values()):
            self.describe_climatology()

    def describe_climatology(self) -> None:
        """Put the climatologies, once they are there, into `spec.normalization`."""
        norms = dict(self.spec.normalization)
        for name, mean in self.climatology.items():
            norms[name] = (mean.detach().cpu().double().numpy(), norms[name][1])
        self.spec = replace(self.spec, normalization=norms)

    def keep_tile(self, mesh: Mesh) -> None:
        """Keep this process's block of all that is a field here, of which the network has no part.

        For the `localize` of a kind whose network works on blocks then; see `Emulator`.
        """
        self._tile = mesh.tile(self.spec.grid.shape, self.spec.grid.north_to_south)
        for name, mean in self.climatology.items():
            self.climatology[name] = nn.Parameter(self._tile.of(mean.detach()).clone(), False)

    def _means(self, names: list[str], means: torch.Tensor) -> torch.Tensor:
        """`means` [variable, 1, 1] with climatologies in their places; broadcasts to the grid."""
        if not self.climatology:
            return means
        fields = [
            self.climatology[name] if name in self.climatology else mean.expand(self._tile.size)
            for name, mean in zip(names, means, strict=True)
        ]
        return torch.stack(fields)

    def normalize_outputs(self, outputs: torch.Tensor) -> torch.Tensor:
        """Outputs [..., output, lat, lon] in units of their normalization, for scores."""
        means = self._means(self._outputs, self._output_mean)
        return (outputs - means) / self._output_scale

    def prescribe(
        self, surface_temperature: torch.Tensor, next_forcing: torch.Tensor
    ) -> torch.Tensor:
        """Surface temperature [member, lat, lon], from the forcing where ocean fraction > 0.5."""
        spec = self.spec
        assert spec.surface_temperature is not None and spec.ocean_fraction is not None
        fraction = next_forcing[:, self._forcing_index[spec.ocean_fraction]]
        prescribed = next_forcing[:, self._forcing_index[spec.surface_temperature]]
        return torch.where(is_above(fraction, OCEAN_CUTOFF), prescribed, surface_temperature)

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
        # Of a tensor that is this step's own it is done in place: these copies cost most beside the network.
        inputs = torch.cat([state, forcing[:, : len(spec.forcing)]], dim=1)
        inputs = inputs.sub_(self._means(self._inputs, self._input_mean)).div_(self._input_scale)
        if manifest.split_surface_temperature:
            assert spec.ocean_fraction is not None and spec.surface_temperature is not None
            fraction = forcing[:, self._forcing_index[spec.ocean_fraction], None]
            ocean = is_above(fraction, OCEAN_CUTOFF)
            at = self._inputs.index(spec.surface_temperature)
            surface = inputs[:, at : at + 1]
            zero = torch.zeros_like(surface)
            sea, land = torch.where(ocean, surface, zero), torch.where(ocean, zero, surface)
            inputs = torch.cat([inputs[:, :at], sea, land, inputs[:, at + 1 :]], dim=1)
        if manifest.num_noise_channels:
            whole = noise.normal(manifest.num_noise_channels, *spec.grid.shape)
            drawn = self._tile.of(whole)
            inputs = torch.cat([inputs, drawn.to(inputs)], dim=1)
        predicted = self._run_network(inputs)
        outputs = predicted * self._output_scale
        outputs.add_(self._means(self._outputs, self._output_mean))
        if manifest.prediction == "residual":
            change = predicted[:, :num_prognostic] * self._residual_scale
            outputs[:, :num_prognostic] = state + change
        if spec.prescribes_sst:
            assert spec.surface_temperature is not None
            at = self._outputs.index(spec.surface_temperature)
            outputs[:, at] = self.prescribe(outputs[:, at], next_forcing)
        return outputs

    def _run_network(self, inputs: torch.Tensor) -> torch.Tensor:
        """Normalized outputs of normalized inputs."""
        result: torch.Tensor = self.network(inputs)
        return result
