"""Which parameters of a network are spectral filters, and along which axis the degree l runs."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

#: (module that defines the class, class, parameter) -> axis of the degree. A table, because an
#: axis can't be told by its size: channels may be as many as degrees.
DEGREE_AXES: dict[tuple[str, str, str], int] = {
    ("torch_harmonics.examples.models._layers", "SpectralConvS2", "weight"): 2,
    ("torch_harmonics.spectral_convolution", "SpectralConvS2", "weight"): 3,
}


@dataclass(frozen=True)
class SpectralFilter:
    """A parameter that holds one weight per degree along `degree_axis`."""

    name: str
    parameter: nn.Parameter
    degree_axis: int

    @property
    def num_degrees(self) -> int:
        return int(self.parameter.shape[self.degree_axis])


def find_filters(network: nn.Module) -> list[SpectralFilter]:
    """The spectral filters of a network in the order of its modules."""
    found = []
    for module_name, module in network.named_modules():
        kind = type(module)
        for name, parameter in module.named_parameters(prefix=module_name, recurse=False):
            axis = DEGREE_AXES.get((kind.__module__, kind.__name__, name.rpartition(".")[2]))
            if axis is not None:
                found.append(SpectralFilter(name, parameter, axis))
    return found
