"""Bytes of an SFNO of any size on one of the processes that share its fields, and what these send.

Weights, tables and what is sent follow from shapes. What a step and a probe's forward pass hold is so
many numbers per channel and cell of a process's block, and so many per cell, which the benchmark
`spatial` measures on a small grid and keeps.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.frame import RESULTS
from benchmarks.memory import WINDOW_MIB
from benchmarks.studies import DIAGNOSTIC, FORCING, PROGNOSTIC
from respeval.loss_probe.activations import Kept, Recompute
from respeval.loss_probe.footprint import Footprint

FLOAT, COMPLEX, DOUBLE = 4, 8, 8

#: Transforms of a native SFNO, each with a table of its own.
NUM_TRANSFORMS = 4

#: Hidden channels of the perceptron within a block, over its channels.
MLP_RATIO = 2


@dataclass(frozen=True)
class Layout:
    """Parts in latitude and in longitude."""

    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.height}x{self.width}"

    @classmethod
    def parse(cls, text: str) -> Layout:
        return cls(*map(int, text.split("x")))

    @property
    def size(self) -> int:
        return self.height * self.width


WHOLE = Layout(1, 1)


@dataclass(frozen=True)
class Line:
    """Numbers of a process for each cell of its block: by_channel for each of the network's channels,
    and fixed beside them."""

    by_channel: float
    fixed: float

    @classmethod
    def through(cls, first: tuple[int, float], second: tuple[int, float]) -> Line:
        """From (channels, numbers for each cell) of two networks."""
        slope = (second[1] - first[1]) / (second[0] - first[0])
        return cls(slope, first[1] - slope * first[0])

    def of(self, channels: int) -> float:
        return self.by_channel * channels + self.fixed


@dataclass(frozen=True)
class Coefficients:
    """What a layout takes beside weights and tables.

    activations: at most, of a step. beside, inputs, first, inside, work: of a probe's forward pass: kept
    beside the blocks, of the input of each block, inside the first one and inside every other, and
    the most beside what is kept.
    """

    activations: Line
    beside: Line
    inputs: Line
    first: Line
    inside: Line
    work: Line

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> Coefficients:
        return cls(**{name: Line(**line) for name, line in kept.items()})


def coefficients() -> dict[Layout, Coefficients]:
    """Those that the benchmark kept, by layout."""
    found = json.loads((RESULTS / "spatial.json").read_text())["numbers"]["coefficients"]
    return {Layout.parse(layout): Coefficients.read(kept) for layout, kept in found.items()}


@dataclass(frozen=True)
class ModelSize:
    """A native SFNO with ACE2's variables on a Gaussian grid.

    All bytes are of the process with the largest share of its fields.
    """

    shape: tuple[int, int]
    embed_dim: int
    num_layers: int
    num_inputs: int = len(PROGNOSTIC) + len(FORCING)
    num_outputs: int = len(PROGNOSTIC) + len(DIAGNOSTIC)

    @property
    def degrees(self) -> int:
        """Degrees, and orders, of its transforms."""
        return min(self.shape[0], self.shape[1] // 2)

    @property
    def num_parameters(self) -> int:
        """Real numbers."""
        return self.weights(WHOLE) // FLOAT

    def cells(self, layout: Layout) -> int:
        return _most(self.shape[0], layout.height) * _most(self.shape[1], layout.width)

    def filters(self, layout: Layout) -> int:
        """Of all layers: complex, for every pair of channels and every degree of this process."""
        return self.num_layers * self.one_filter(layout)

    def one_filter(self, layout: Layout) -> int:
        return COMPLEX * self.embed_dim**2 * _most(self.degrees, layout.height)

    def weights(self, layout: Layout) -> int:
        """With those that act within a cell, which every process has."""
        width, hidden = self.embed_dim, MLP_RATIO * self.embed_dim
        within = width * (self.num_inputs + self.num_outputs)
        within += self.num_layers * (2 * width * hidden + hidden)
        return self.filters(layout) + FLOAT * within

    def tables(self, layout: Layout) -> int:
        """Legendre functions, by order, degree and latitude: shared out by orders, and by latitudes (of
        analyses) or degrees (of syntheses)."""
        orders = _most(self.degrees, layout.width)
        analysis = orders * self.degrees * _most(self.shape[0], layout.height)
        synthesis = orders * _most(self.degrees, layout.height) * self.shape[0]
        return FLOAT * NUM_TRANSFORMS // 2 * (analysis + synthesis)

    def activations(self, layout: Layout, found: Coefficients) -> int:
        """Of a step of one member, at most."""
        return self._bytes(found.activations, layout)

    def fields(self, layout: Layout) -> int:
        """That a run keeps of a member from step to step: its outputs, and their sums in float64."""
        return (FLOAT + DOUBLE) * self.num_outputs * self.cells(layout)

    def member(self, layout: Layout, found: Coefficients) -> int:
        """What one more member takes that is stepped with others at a time."""
        return self.activations(layout, found) + self.fields(layout)

    def run(self, layout: Layout, found: Coefficients, num_members: int = 1) -> int:
        """Of a run that steps so many members at a time, with two windows of forcing."""
        shared = self.weights(layout) + self.tables(layout) + 2 * round(WINDOW_MIB * 2**20)
        return shared + num_members * self.member(layout, found)

    def probe(
        self,
        layout: Layout,
        found: Coefficients,
        recompute: Recompute,
        num_trajectories: int = 2,
        num_arms: int = 2,
    ) -> int:
        """Of a probe of several batches, whose loss sees whole fields on every process: what it says
        itself (`Footprint`), with weights, tables, and those of the loss's own two transforms."""
        inside = [self._bytes(line, layout) for line in (found.first, found.inside)]
        blocks = (inside[0], *(inside[1],) * (self.num_layers - 1))
        inputs = self.num_layers * self._bytes(found.inputs, layout)
        kept = Kept(self._bytes(found.beside, layout), inputs, blocks, can_repeat=True)
        filters = self.filters(layout)
        footprint = Footprint(
            kept,
            self._bytes(found.work, layout),
            0.0,
            num_trajectories,
            num_arms,
            FLOAT * self.num_outputs * self.cells(WHOLE),
            num_arms * filters,
            filters,
            self.one_filter(layout),
        )
        of_loss = 2 * FLOAT * self.degrees**2 * self.shape[0]
        return self.weights(layout) + self.tables(layout) + of_loss + footprint.memory(recompute)

    def sent(self, layout: Layout) -> tuple[float, float]:
        """Bytes that a process sends to others for a step of one member: across latitudes, and across
        longitudes.

        A layer has an analysis and a synthesis of C fields on H x W processes. Across the circles of
        its rows a process sends, for each, its block of C fields (4 bytes a cell), and of C / W fields
        the waves, 8 bytes an order and row, all but the W-th part of them that is its own: together
        2·C·(nlat/H)·(4·nlon + 8·mmax)/W·(W-1)/W. Across latitudes it sends partial sums of its
        orders: of all degrees from the analysis, for all rows from the synthesis, all but the H-th part:
        8·C·(mmax/W)·(lmax + nlat)·(H-1)/H.
        """
        (rows, columns), degrees = self.shape, self.degrees
        fields = self.num_layers * self.embed_dim
        height, width = layout.height, layout.width
        orders = degrees / width
        latitude = COMPLEX * fields * orders * (degrees + rows) * (height - 1) / height
        circle = (FLOAT * columns + COMPLEX * degrees) / width
        longitude = 2 * fields * rows / height * circle * (width - 1) / width
        return latitude, longitude

    def _bytes(self, line: Line, layout: Layout) -> int:
        return round(FLOAT * line.of(self.embed_dim) * self.cells(layout))


def _most(number: int, parts: int) -> int:
    return -(-number // parts)
