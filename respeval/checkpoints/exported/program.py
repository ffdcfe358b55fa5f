"""The graph of an exported program as plain data: torch's own schema, less all that can run code.

torch reads a program from JSON in which names become functions, expressions and Python source. These
classes accept the part of its schema that is plain data; what they were not told of is refused where
torch would act upon it, and dropped where torch would only carry it along.
"""

from __future__ import annotations

import keyword
import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from respeval.checkpoints.exported.operators import is_allowed, is_plain_expression, is_symbol

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PATH = re.compile(r"\w+(\.\w+)*", re.ASCII)
_STACK = re.compile(r"[\w.,;:<>@()\[\]' ]*", re.ASCII)


def _check_name(name: str) -> str:
    """Names of values are written into Python source."""
    if not _NAME.fullmatch(name) or name.startswith("__") or keyword.iskeyword(name):
        raise ValueError(f"{name!r} is no plain name")
    return name


def _check_name_if_any(name: str) -> str:
    return _check_name(name) if name else name


def _check_path(path: str) -> str:
    """Names of weights, such as blocks.0.weight; they are written into Python source."""
    if not _PATH.fullmatch(path) or any(part.startswith("__") for part in path.split(".")):
        raise ValueError(f"{path!r} is no plain name")
    return path


def _check_target(target: str) -> str:
    if not is_allowed(target):
        raise ValueError(f"it calls {target}, which respeval does not know to be harmless")
    return target


def _check_expression(text: str) -> str:
    if not is_plain_expression(text):
        raise ValueError(f"{text!r} is no plain arithmetic of sizes")
    return text


def _plain_or_nothing(stack: str) -> str:
    return stack if _STACK.fullmatch(stack) else ""


def _check_symbol(name: str) -> str:
    if not is_symbol(name):
        raise ValueError(f"{name!r} is no size")
    return name


Name = Annotated[str, AfterValidator(_check_name)]
Path = Annotated[str, AfterValidator(_check_path)]
Target = Annotated[str, AfterValidator(_check_target)]
Expression = Annotated[str, AfterValidator(_check_expression)]
SymbolName = Annotated[str, AfterValidator(_check_symbol)]
Number = float | Literal["Infinity", "-Infinity", "NaN"]


class Part(BaseModel):
    """Fields that are not named are dropped: later versions of torch add some that are optional."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class OneOf(BaseModel):
    """Exactly one of the fields; one that is not named is refused, by its name."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError("expected exactly one kind of value")
        return self


class Device(Part):
    """Any device of the file becomes the CPU: a checkpoint is opened there, and moved afterwards."""

    type: str = "cpu"
    index: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _to_cpu(cls, given: Any) -> Any:
        return {"type": "cpu", "index": None}


class Hint(OneOf):
    as_int: int = 0
    as_bool: bool = False
    as_float: Number = 0.0


class Symbolic(Part):
    expr_str: Expression
    hint: Hint | None = None


class SymInt(OneOf):
    as_expr: Symbolic | None = None
    as_int: int = 0


class SymFloat(OneOf):
    as_expr: Symbolic | None = None
    as_float: Number = 0.0


class SymBool(OneOf):
    as_expr: Symbolic | None = None
    as_bool: bool = False


class TensorMeta(Part):
    """Type and shape of a tensor; dtype and layout are torch's serial numbers of them."""

    dtype: int
    sizes: list[SymInt]
    requires_grad: bool
    device: Device
    strides: list[SymInt]
    storage_offset: SymInt
    layout: Literal[7]


class TensorName(Part):
    name: Name


class SymIntName(OneOf):
    as_name: Name = ""
    as_int: int = 0


class SymFloatName(OneOf):
    as_name: Name = ""
    as_float: Number = 0.0


class SymBoolName(OneOf):
    as_name: Name = ""
    as_bool: bool = False


class OptionalTensor(OneOf):
    as_tensor: TensorName | None = None
    as_none: bool = True


class Complex(Part):
    real: Number
    imag: Number


class Argument(OneOf):
    """A value that an operator is given. torch's schema knows custom objects and operators too."""

    as_none: bool = True
    as_tensor: TensorName | None = None
    as_tensors: list[TensorName] | None = None
    as_int: int = 0
    as_ints: list[int] | None = None
    as_float: Number = 0.0
    as_floats: list[Number] | None = None
    as_string: str = ""
    as_sym_int: SymIntName | None = None
    as_sym_ints: list[SymIntName] | None = None
    as_scalar_type: int = 0
    as_memory_format: int = 0
    as_layout: int = 0
    as_device: Device | None = None
    as_bool: bool = False
    as_bools: list[bool] | None = None
    as_sym_bool: SymBoolName | None = None
    as_sym_bools: list[SymBoolName] | None = None
    as_graph: SubGraph | None = None
    as_optional_tensors: list[OptionalTensor] | None = None
    as_sym_float: SymFloatName | None = None
    as_sym_floats: list[SymFloatName] | None = None
    as_optional_tensor: OptionalTensor | None = None
    as_complex: Complex | None = None


class SubGraph(Part):
    name: Name
    graph: Graph


class NamedArgument(Part):
    name: Annotated[str, AfterValidator(_check_name_if_any)]
    arg: Argument
    kind: int | None = None


class NodeMetadata(Part):
    """Which module of the exported network a node came from; the rest of torch's is dropped."""

    nn_module_stack: Annotated[str, AfterValidator(_plain_or_nothing)] = ""


class Node(Part):
    target: Target
    inputs: list[NamedArgument]
    outputs: list[Argument]
    metadata: NodeMetadata
    is_hop_single_tensor_return: bool | None = None
    name: Name | None = None


class Graph(Part):
    inputs: list[Argument]
    outputs: list[Argument]
    nodes: list[Node]
    tensor_values: dict[Name, TensorMeta]
    sym_int_values: dict[Name, SymInt]
    sym_bool_values: dict[Name, SymBool]
    is_single_tensor_return: bool = False
    sym_float_values: dict[Name, SymFloat] = {}


class UserValue(Part):
    arg: Argument


class ParameterInput(Part):
    arg: TensorName
    parameter_name: Path


class BufferInput(Part):
    arg: TensorName
    buffer_name: Path
    persistent: bool


class ConstantInput(Part):
    arg: TensorName
    tensor_constant_name: Path


class InputSpec(OneOf):
    user_input: UserValue | None = None
    parameter: ParameterInput | None = None
    buffer: BufferInput | None = None
    tensor_constant: ConstantInput | None = None


class OutputSpec(OneOf):
    user_output: UserValue | None = None


class Signature(Part):
    input_specs: list[InputSpec]
    output_specs: list[OutputSpec]


class CallSignature(Part):
    """How the network is called; only one call is known, `network(fields)` with one result."""

    inputs: Annotated[list[Any], Field(max_length=0)]
    outputs: Annotated[list[Any], Field(max_length=0)]
    in_spec: str
    out_spec: str
    forward_arg_names: list[Name] | None = None


class ModuleCall(Part):
    fqn: Literal[""]
    signature: CallSignature


class GraphModule(Part):
    graph: Graph
    signature: Signature
    module_call_graph: Annotated[list[ModuleCall], Field(min_length=1, max_length=1)]


class Range(Part):
    min_val: int | None
    max_val: int | None


class SchemaVersion(Part):
    major: int
    minor: int


class Program(Part):
    graph_module: GraphModule
    opset_version: dict[Name, int]
    range_constraints: dict[SymbolName, Range]
    schema_version: SchemaVersion
    verifiers: list[Literal["TRAINING", "ATEN"]]
    torch_version: Annotated[str, Field(pattern=r"^[\w.+]*$")] = ""


class Payload(Part):
    """Where a tensor lies in the archive."""

    path_name: Annotated[str, Field(pattern=r"^(weight|tensor)_[0-9]+$")]
    is_param: bool
    use_pickle: Literal[False]
    tensor_meta: TensorMeta


class Payloads(Part):
    config: dict[Path, Payload]


_ = Argument.model_rebuild()
