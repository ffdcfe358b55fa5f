"""What a run goes on from: each member's state as bytes, in files that any number of processes can read.

Members are in the order of `deal_members`: by sample, then by group, whatever the number of
processes. A file holds the records of some consecutive members and nothing else; the manifest says
what a record is, which members a file has, and its checksum. Noise needs no state (`CounterNoise`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import torch

from respeval.distributed.mesh import Tile
from respeval.errors import InputError
from respeval.files.text import check_regular

#: Records travel to the root and into files in blocks of at most this size (but one member at least).
BLOCK_BYTES = 128 * 2**20

#: Step and first member of a restart file.
RESTART_NAME = re.compile(r"\d{9,12}_\d{5,12}\.bin")

_DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class Array:
    """Type and shape of one array in a record."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def num_bytes(self) -> int:
        return prod(self.shape) * _DTYPES[self.dtype].itemsize


@dataclass(frozen=True)
class Snapshot:
    """This process's members after `step` steps of the run.

    state: [member, prognostic, lat, lon]; conserved: [member, number], see `Emulator.conserve`.
    totals: [member, output, lat, lon], sums over the steps of the running segment; None at its start.
    """

    step: int
    state: torch.Tensor
    conserved: torch.Tensor | None = None
    totals: torch.Tensor | None = None

    def _arrays(self) -> dict[str, torch.Tensor]:
        named = {"state": self.state, "conserved": self.conserved, "totals": self.totals}
        return {name: array for name, array in named.items() if array is not None}

    def record(self) -> dict[str, Array]:
        """What each member's record holds, in order."""
        return {
            name: Array(str(array.dtype).removeprefix("torch."), tuple(array.shape[1:]))
            for name, array in self._arrays().items()
        }

    def of_tile(self, tile: Tile) -> Snapshot:
        """The same members on a block of the grid."""

        def part(fields: torch.Tensor | None) -> torch.Tensor | None:
            return fields if fields is None or tile.is_whole else tile.of(fields).contiguous()

        state = part(self.state)
        assert state is not None
        return Snapshot(self.step, state, self.conserved, part(self.totals))

    def pack(self, first: int, stop: int) -> torch.Tensor:
        """Records of these rows, [row, byte], uint8, on the arrays' device."""
        rows = [
            array[first:stop].contiguous().reshape(stop - first, -1).view(torch.uint8)
            for array in self._arrays().values()
        ]
        return torch.cat(rows, dim=1)


def record_on(record: dict[str, Array], size: tuple[int, int]) -> dict[str, Array]:
    """The record of members whose fields are of this size, [lat, lon]."""
    return {
        name: array if name == "conserved" else Array(array.dtype, (*array.shape[:-2], *size))
        for name, array in record.items()
    }


def joined(
    blocks: Sequence[torch.Tensor], record: dict[str, Array], tiles: Sequence[Tile]
) -> torch.Tensor:
    """Records [row, byte] of whole fields, from those of their blocks.

    blocks: [row, byte] of each of the tiles. record: of whole fields.
    """
    if len(blocks) == 1:
        return blocks[0]
    whole: dict[str, torch.Tensor] = {}
    for rows, tile in zip(blocks, tiles, strict=True):
        for name, values in _unpack(rows, record_on(record, tile.size)).items():
            if name == "conserved":
                whole[name] = values
                continue
            shape = len(values), *record[name].shape
            tile.of(whole.setdefault(name, values.new_empty(shape))).copy_(values)
    return Snapshot(0, **whole).pack(0, len(blocks[0]))


@dataclass(frozen=True)
class Block:
    """Consecutive members first <= m < stop that one process holds, or those that share fields."""

    owner: int
    first: int
    stop: int


def blocks_of(counts: Sequence[int], record: dict[str, Array]) -> list[Block]:
    """The members of all processes, `counts` of them each, in blocks of bounded size."""
    size = max(1, BLOCK_BYTES // sum(array.num_bytes for array in record.values()))
    blocks, begin = [], 0
    for owner, count in enumerate(counts):
        for first in range(begin, begin + count, size):
            blocks.append(Block(owner, first, min(first + size, begin + count)))
        begin += count
    return blocks


@dataclass(frozen=True)
class Part:
    """A file of a restart, its path within the run's folder, and the members that it holds."""

    file: str
    first: int
    stop: int
    sha256: str


@dataclass(frozen=True)
class Restart:
    """What the manifest says of the restart files."""

    step: int
    record: dict[str, Array]
    parts: tuple[Part, ...]

    def to_json(self) -> dict[str, Any]:
        """The manifest's entry."""
        return {
            "step": self.step,
            "record": {
                n: {"dtype": a.dtype, "shape": list(a.shape)} for n, a in self.record.items()
            },
            "parts": [vars(part) for part in self.parts],
        }

    @classmethod
    def from_json(cls, entry: Any, source: str) -> Restart:
        """The inverse of `to_json`. Raises InputError where the entry is none."""
        try:
            record = {
                name: Array(array["dtype"], tuple(_whole(size) for size in array["shape"]))
                for name, array in entry["record"].items()
            }
            parts = tuple(
                Part(p["file"], _whole(p["first"]), _whole(p["stop"]), str(p["sha256"]))
                for p in entry["parts"]
            )
            if "state" not in record or not record.keys() <= {"state", "conserved", "totals"}:
                raise ValueError
            if any(array.dtype not in _DTYPES or min(array.shape) < 1 for array in record.values()):
                raise ValueError
            if not all(_is_restart_file(part.file) for part in parts):
                raise ValueError
            if any(p.stop != after.first or p.first >= p.stop for p, after in pairwise(parts)):
                raise ValueError
            return cls(_whole(entry["step"]), record, parts)
        except (TypeError, KeyError, ValueError, AttributeError):
            raise InputError(f"{source}: its restart entry can't be read") from None

    def read(
        self, folder: Path, first: int, stop: int, shapes: Mapping[str, tuple[int, ...]]
    ) -> Snapshot:
        """The members first <= m < stop, on the CPU.

        shapes: of one member's state and totals, as the run needs them. Raises InputError where a
        file is missing or damaged, or the arrays have other shapes.
        """
        for name, array in self.record.items():
            if shapes.get(name, array.shape) != array.shape:
                raise InputError(f"{folder}: the restart's {name} has shape {array.shape}")
        width = sum(array.num_bytes for array in self.record.values())
        needed = [part for part in self.parts if part.first < stop and first < part.stop]
        missing = stop - first - sum(min(stop, p.stop) - max(first, p.first) for p in needed)
        if missing:
            raise InputError(f"{folder}: the restart files lack {missing} members of the run")
        for part in needed:
            _check_size(folder / part.file, part, width)
        rows = torch.empty((stop - first, width), dtype=torch.uint8)
        for part in needed:
            low, high = max(first, part.first), min(stop, part.stop)
            content = _read_part(folder / part.file, part, width)
            rows[low - first : high - first] = content[low - part.first : high - part.first]
        return Snapshot(self.step, **_unpack(rows, self.record))


def _is_restart_file(path: str) -> bool:
    """Whether a path within a run's folder is that of a restart file."""
    folder, _, name = path.partition("/")
    return folder == "restart" and RESTART_NAME.fullmatch(name) is not None


def _whole(number: object) -> int:
    """A whole number of at least 0. Raises ValueError otherwise."""
    if type(number) is not int or number < 0:
        raise ValueError(number)
    return number


def _check_size(path: Path, part: Part, width: int) -> None:
    """Raise InputError where a file has another size than its records, before memory is taken."""
    if not path.exists():
        return  # told of where it is read
    check_regular(path, "restart file")
    found = path.stat().st_size
    if found != (part.stop - part.first) * width:
        raise InputError(f"{path} is damaged (it has {found:,} bytes); see --restart-fresh")


def _read_part(path: Path, part: Part, width: int) -> torch.Tensor:
    try:
        content = bytearray(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} can't be read ({error.strerror}); see --restart-fresh") from None
    if hashlib.sha256(content).hexdigest() != part.sha256:
        raise InputError(f"{path} is damaged (its checksum differs); see --restart-fresh")
    return torch.frombuffer(content, dtype=torch.uint8).view(-1, width)


def _unpack(rows: torch.Tensor, record: dict[str, Array]) -> dict[str, Any]:
    arrays, at = {}, 0
    for name, array in record.items():
        column = rows[:, at : at + array.num_bytes].clone(memory_format=torch.contiguous_format)
        arrays[name] = column.view(_DTYPES[array.dtype]).view(len(rows), *array.shape)
        at += array.num_bytes
    return arrays
