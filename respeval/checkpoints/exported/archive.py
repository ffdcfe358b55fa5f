"""The zip file of an exported program, read so that nothing in it can run.

`torch.export.load` unpickles what it finds, evaluates expressions and executes guards from the file.
It is therefore never given an unknown file, but a copy in memory that holds what was checked here and
nothing else: the program as plain data, and its tensors' shapes. Their numbers are read afterwards, each
once, into their places.
"""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch.export import ExportedProgram

from respeval.checkpoints.exported.program import Part, Payload, Payloads, Program
from respeval.errors import InputError

MODEL = "models/model.json"
WEIGHTS = "data/weights/"
CONSTANTS = "data/constants/"
CONFIGS = {
    WEIGHTS + "model_weights_config.json": WEIGHTS,
    CONSTANTS + "model_constants_config.json": CONSTANTS,
}
#: Example inputs are a pickle; an empty one stands for none.
SAMPLE_INPUTS = "data/sample_inputs/model.pt"
#: Small members by which torch tells the format.
MARKS = ("archive_format", "archive_version", "byteorder", ".data/version", "version")

HOW_TO_EXPORT = "write it with torch.export.save of torch 2.9 or newer (docs/readers.md)"

#: Bytes of the types of numbers that torch's serial numbers stand for.
_ITEM_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 2, 7: 4, 8: 8, 9: 4, 10: 8, 11: 16, 12: 1, 13: 2}

#: How a network is called, as torch writes it: with one tensor, giving one.
_LEAF: dict[str, Any] = {"type": None, "context": None, "children_spec": []}
_CALL = {
    "type": "builtins.tuple",
    "context": "null",
    "children_spec": [
        {"type": "builtins.tuple", "context": "null", "children_spec": [_LEAF]},
        {"type": "builtins.dict", "context": "[]", "children_spec": []},
    ],
}

#: Kinds of values that a program may have and that are refused, by torch's name.
_CODE = {
    "as_custom_obj": "a custom object",
    "custom_obj": "a custom object",
    "as_operator": "an operator that another one calls",
}
_STATE = {
    "buffer_mutation": "changes a buffer",
    "parameter_mutation": "changes a weight",
    "user_input_mutation": "changes its input",
    "constant_input": "has an input that is no tensor",
}


class UntrustedError(InputError):
    """The archive asks for more than plain data, which `--trust-checkpoint` would allow."""


class _Members:
    """Members of an opened archive, by their name below its one folder."""

    def __init__(self, opened: zipfile.ZipFile, path: Path) -> None:
        self.path, self._opened = path, opened
        self.infos: dict[str, zipfile.ZipInfo] = {}
        for info in opened.infolist():
            name = info.filename.partition("/")[2] or info.filename
            if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
                raise InputError(f"{path}: {info.filename} is compressed; {HOW_TO_EXPORT}")
            if name in self.infos:
                raise InputError(f"{path} has two members named {name}")
            self.infos[name] = info
        if sum(info.file_size for info in self.infos.values()) > path.stat().st_size:
            raise InputError(f"{path}: its members are said to be larger than the file")

    def __contains__(self, name: str) -> bool:
        return name in self.infos

    def read(self, name: str) -> bytes:
        if name not in self.infos:
            raise InputError(f"{self.path} lacks {name}; {HOW_TO_EXPORT}")
        return self._opened.read(self.infos[name])

    def read_numbers(self, name: str) -> torch.Tensor:
        """A member's bytes, [byte], uint8."""
        info = self.infos[name]
        numbers = torch.empty(info.file_size, dtype=torch.uint8)
        with self._opened.open(info) as member:
            if member.readinto(numbers.numpy().data) != info.file_size:  # type: ignore[attr-defined]
                raise EOFError(f"{name} ends early")
        return numbers

    def load(self, name: str) -> dict[str, Any]:
        try:
            content = json.loads(self.read(name))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{self.path}: {name} is no JSON ({error})") from None
        if not isinstance(content, dict):
            raise InputError(f"{self.path}: {name} holds no JSON object")
        return content


@dataclass(frozen=True)
class Numbers:
    """Where an archive holds the numbers of a program's tensors: name -> payload, by folder."""

    path: Path
    payloads: Mapping[str, Mapping[str, Payload]]

    def fill(self, program: ExportedProgram) -> None:
        """Give the program, which has shapes alone, its numbers. Raises InputError."""
        with _opened(self.path) as opened:
            members = _Members(opened, self.path)
            for folder, held in ((WEIGHTS, program.state_dict), (CONSTANTS, program.constants)):
                read: dict[str, torch.Tensor] = {}
                for name, payload in self.payloads[folder].items():
                    shaped, member = held[name], folder + payload.path_name
                    if member not in read:  # tied weights share their numbers
                        read[member] = members.read_numbers(member)
                    value = _placed(read[member], payload, shaped)
                    is_weight = isinstance(shaped, torch.nn.Parameter)
                    held[name] = (
                        torch.nn.Parameter(value, shaped.requires_grad) if is_weight else value
                    )


def _placed(numbers: torch.Tensor, payload: Payload, like: torch.Tensor) -> torch.Tensor:
    """A tensor of this payload's shape in its bytes."""
    meta = payload.tensor_meta
    sizes, strides = ([size.as_int for size in axes] for axes in (meta.sizes, meta.strides))
    usable = len(numbers) // like.itemsize * like.itemsize
    return numbers[:usable].view(like.dtype).as_strided(sizes, strides, meta.storage_offset.as_int)


def plain_copy(path: Path) -> tuple[io.BytesIO, Numbers]:
    """An archive for torch to read, with the program and its tensors' shapes, and their numbers.

    Raises UntrustedError that names what could run code, and InputError where the file is no archive
    of one exported program that takes one tensor and gives one.
    """
    with _opened(path) as opened:
        members = _Members(opened, path)
        _check_kind(members)
        program = _read_program(members)
        plain: dict[str, bytes] = {SAMPLE_INPUTS: b"", MODEL: _dump(program)}
        payloads: dict[str, Mapping[str, Payload]] = {}
        for config, folder in CONFIGS.items():
            found = _read_payloads(members, config, folder)
            payloads[folder] = {str(name): payload for name, payload in found.config.items()}
            plain[config] = _dump(Payloads(config={n: _shaped(p) for n, p in found.config.items()}))
            for payload in found.config.values():
                plain[folder + payload.path_name] = bytes(max(_ITEM_SIZES.values()))
        plain |= {name: members.read(name) for name in MARKS if name in members}
    copy = io.BytesIO()
    with zipfile.ZipFile(copy, "w", zipfile.ZIP_STORED) as written:
        for name, content in plain.items():
            written.writestr(f"archive/{name}", content)
    copy.seek(0)
    return copy, Numbers(path, payloads)


def _shaped(payload: Payload) -> Payload:
    """The same shape in the memory of one number."""
    meta = payload.tensor_meta
    strides = [stride.model_copy(update={"as_int": 0}) for stride in meta.strides]
    offset = meta.storage_offset.model_copy(update={"as_int": 0})
    shaped = meta.model_copy(update={"strides": strides, "storage_offset": offset})
    return payload.model_copy(update={"tensor_meta": shaped})


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as opened:
            yield opened
    except InputError:
        raise
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError) as error:
        raise InputError(
            f"{path} is no whole archive of torch.export ({error}); {HOW_TO_EXPORT}"
        ) from None


def _check_kind(members: _Members) -> None:
    """Raise InputError where there is no program, or one that another kind of machine wrote."""
    if MODEL not in members:
        held = "no exported program"
        if any(name.startswith("data/aotinductor/") for name in members.infos):
            held = "compiled code (AOTInductor) and no exported program"
        elif "serialized_exported_program.json" in members:
            held = "a program in the layout of an older torch"
        raise InputError(f"{members.path} holds {held}; {HOW_TO_EXPORT}")
    if "byteorder" in members and members.read("byteorder").decode("latin1") != sys.byteorder:
        raise InputError(f"{members.path} was written on a machine with another order of bytes")


def _read_program(members: _Members) -> Program:
    content = members.load(MODEL)
    _keep_root_call(content)
    where = f"{members.path}: {MODEL}"
    try:
        program = Program.model_validate(content)
    except ValidationError as error:
        raise _refusal(error, where) from None
    _check_call(program, members.path)
    return program


def _check_call(program: Program, path: Path) -> None:
    """Raise InputError where the program takes or gives anything but one tensor."""
    call = program.graph_module.module_call_graph[0].signature
    taken, given = (_load_or_none(text) for text in (call.in_spec, call.out_spec))
    if taken != [1, _CALL] or given != [1, _LEAF]:
        specs = program.graph_module.signature
        num_inputs = sum(spec.user_input is not None for spec in specs.input_specs)
        raise InputError(
            f"{path} takes {num_inputs} and gives {len(specs.output_specs)} values, or takes or gives "
            "them in containers; export a module with one tensor [batch, channel, lat, lon] in and one "
            "out"
        )


def _load_or_none(text: str) -> object:
    try:
        result: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return result


def _keep_root_call(content: dict[str, Any]) -> None:
    """Leave out how the network's own modules are called: only its own call is needed."""
    graph_module = content.get("graph_module")
    if isinstance(graph_module, dict) and isinstance(graph_module.get("module_call_graph"), list):
        graph_module["module_call_graph"] = [
            entry
            for entry in graph_module["module_call_graph"]
            if isinstance(entry, dict) and entry.get("fqn") == ""
        ]


def _read_payloads(members: _Members, config: str, folder: str) -> Payloads:
    content, where = members.load(config), f"{members.path}: {config}"
    entries = content.get("config")
    for name, entry in entries.items() if isinstance(entries, dict) else ():
        if isinstance(entry, dict) and (entry.get("use_pickle") or not entry.get("tensor_meta")):
            raise UntrustedError(f"{where}: {name} is a pickled object ({entry.get('path_name')})")
    try:
        payloads = Payloads.model_validate(content)
    except ValidationError as error:
        raise _refusal(error, where) from None
    for name, payload in payloads.config.items():
        member = folder + payload.path_name
        if member not in members:
            raise InputError(f"{members.path} lacks {member}, the numbers of {name}")
        _check_extent(payload, members.infos[member].file_size, f"{where}: {name}")
    return payloads


def _check_extent(payload: Payload, num_bytes: int, where: str) -> None:
    """Raise InputError where a tensor reaches beyond its numbers, before memory is taken for it."""
    meta = payload.tensor_meta
    sizes = [size.as_int for size in meta.sizes]
    strides = [stride.as_int for stride in meta.strides]
    values = [*sizes, *strides, meta.storage_offset.as_int]
    if len(sizes) != len(strides) or min(values) < 0 or meta.dtype not in _ITEM_SIZES:
        raise InputError(f"{where} has an impossible shape")
    reach = sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
    last = 0 if 0 in sizes else meta.storage_offset.as_int + reach + 1
    if last * _ITEM_SIZES[meta.dtype] > num_bytes:
        raise InputError(f"{where} has {num_bytes} bytes, its shape {sizes} needs more")


def _refusal(error: ValidationError, where: str) -> InputError:
    """What a program has that is no plain data, as an error."""
    first = error.errors()[0]
    names = [str(part) for part in first["loc"]]
    place, last = ".".join(names), names[-1] if names else ""
    if first["type"] != "extra_forbidden":
        message = str(first["msg"]).removeprefix("Value error, ")
        return UntrustedError(f"{where}: {message} ({place})")
    if last in _STATE:
        return InputError(
            f"{where}: the program {_STATE[last]}, so a step would depend on earlier ones; export a "
            "module in evaluation mode that keeps no state"
        )
    given = first["input"] if isinstance(first["input"], dict) else {}
    named = given.get("class_fqn") or given.get("custom_obj_name") or place
    return UntrustedError(f"{where}: it needs {_CODE.get(last, last)} ({named})")


def _dump(part: Part) -> bytes:
    return json.dumps(part.model_dump(exclude_unset=True)).encode()
