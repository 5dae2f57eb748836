"""An ML Program as data: operations in order, their types, constants read from the weight file."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError

from .features import Feature, read_feature
from .package import Package, open_package
from .types import ELEMENT_TYPES, SUB_BYTE_BITS, ValueType

OPSETS = ("CoreML5", "CoreML6", "CoreML7", "CoreML8", "CoreML9")
"""Operation sets in order of age: iOS 15, 16, 17, 18 and 26."""

SPECIFICATION_VERSIONS = range(6, 11)
"""Model specification versions that can hold an ML Program: iOS 15 to iOS 26."""

PlainValue = NDArray[Any] | str | list[Any]


@dataclass(frozen=True, kw_only=True)
class Constant:
    """A value written in the file. Strings are `str`, lists are `list`, all else is an array."""

    type: ValueType
    value: PlainValue


@dataclass(frozen=True, kw_only=True)
class Reference:
    """An operation's input that is a result of an earlier operation, or an input of the program."""

    name: str


Binding = Reference | Constant


@dataclass(frozen=True, kw_only=True)
class Result:
    """A value that an operation makes: its name and its declared type."""

    name: str
    type: ValueType


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation.

    Attributes:
        kind: MIL's name of it, such as `conv`.
        name: its own name in the program.
        inputs: what is bound to each input; several bindings where the input is a list (`concat`).
        results: what it makes, in order.
    """

    kind: str
    name: str
    inputs: Mapping[str, tuple[Binding, ...]]
    results: tuple[Result, ...]


@dataclass(frozen=True, kw_only=True)
class Program:
    """One function of an ML Program, with the descriptions of its inputs and outputs.

    Attributes:
        path: the `.mlpackage` folder.
        function: name of the function; `main` unless the file holds several.
        opset: row of `OPSETS` that the function is written in.
        inputs: what an app gives, in order.
        outputs: what an app gets, in order.
        parameters: the function's own inputs, with their declared types.
        operations: in the order to run.
        metadata: the user-defined metadata of the file.
    """

    path: Path
    function: str
    opset: str
    inputs: tuple[Feature, ...]
    outputs: tuple[Feature, ...]
    parameters: tuple[Result, ...]
    operations: tuple[Operation, ...]
    metadata: Mapping[str, str]

    def count_operations(self) -> dict[str, int]:
        """How many operations of each kind there are, constants left out, sorted by name."""
        kinds = [op.kind for op in self.operations if op.kind != "const"]
        return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


def load_program(path: str | Path, *, function: str | None = None) -> Program:
    """One function of the ML Program at `path`, its constants read.

    Args:
        path: an `.mlpackage` folder.
        function: which function; by default the one that the file names as default, else `main`.

    Raises:
        InputError: it is not an `.mlpackage`, or not a whole one, or holds something else than an ML Program.
    """
    package = open_package(Path(path))
    spec = package.spec
    if spec.specificationVersion not in SPECIFICATION_VERSIONS:
        raise InputError(
            f"{path}: specification version {spec.specificationVersion} is not one of"
            f" {SPECIFICATION_VERSIONS.start} to {SPECIFICATION_VERSIONS.stop - 1} (iOS 15 to iOS 26)"
        )
    name = _choose_function(package, function)
    body = spec.mlProgram.functions[name]
    if body.opset not in OPSETS or body.opset not in body.block_specializations:
        raise InputError(f"{path}: operation set {body.opset!r} is not known; known are {', '.join(OPSETS)}")
    block = body.block_specializations[body.opset]
    inputs, outputs = _described(package, name)
    program = Program(
        path=package.path,
        function=name,
        opset=body.opset,
        inputs=inputs,
        outputs=outputs,
        parameters=tuple(Result(name=i.name, type=_value_type(i.type)) for i in body.inputs),
        operations=tuple(_operation(package, op) for op in block.operations),
        metadata=dict(spec.description.metadata.userDefined),
    )
    _check_names(program, tuple(block.outputs))
    return program


def _choose_function(package: Package, asked: str | None) -> str:
    functions = sorted(package.spec.mlProgram.functions)
    name = asked or package.spec.description.defaultFunctionName or "main"
    if name not in functions:
        raise InputError(
            f"{package.path}: there is no function {name!r}; there are {', '.join(functions) or 'none'}"
        )
    return name


def _described(package: Package, function: str) -> tuple[tuple[Feature, ...], tuple[Feature, ...]]:
    """The inputs and outputs that the file describes for `function`."""
    description: Any = package.spec.description
    for candidate in description.functions:
        if candidate.name == function:
            description = candidate
            break
    if len(description.state):
        raise InputError(f"{package.path}: it keeps state between calls, which is not emulated")
    with _blaming(package.path):
        inputs = tuple(read_feature(f) for f in description.input)
        return inputs, tuple(read_feature(f) for f in description.output)


@contextlib.contextmanager
def _blaming(path: Path) -> Iterator[None]:
    """Put the file's name before the message of an InputError."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _check_names(program: Program, returned: tuple[str, ...]) -> None:
    """Refuse a program that uses a value before it is made, or describes one that it does not make."""
    known = {p.name for p in program.parameters}
    problems = [
        f"input {f.name!r} is described, but is no parameter" for f in program.inputs if f.name not in known
    ]
    for op in program.operations:
        used = [b.name for bindings in op.inputs.values() for b in bindings if isinstance(b, Reference)]
        problems += [
            f"{op.kind} {op.name!r} uses {name!r} before it is made" for name in used if name not in known
        ]
        known.update(r.name for r in op.results)
    problems += [
        f"output {f.name!r} is described, but not made" for f in program.outputs if f.name not in known
    ]
    problems += [f"{name!r} is returned, but not made" for name in returned if name not in known]
    if problems:
        raise InputError(f"{program.path}: the program is broken: {'; '.join(problems)}")


def _operation(package: Package, op: Any) -> Operation:
    inputs: dict[str, tuple[Binding, ...]] = {}
    name = ""
    for key, value in op.attributes.items():
        if key == "name":
            name = str(_constant(package, value).value)
        else:
            inputs[key] = (_constant(package, value),)
    for key, argument in op.inputs.items():
        inputs[key] = tuple(
            Reference(name=b.name) if b.WhichOneof("binding") == "name" else _constant(package, b.value)
            for b in argument.arguments
        )
    results = tuple(Result(name=o.name, type=_value_type(o.type)) for o in op.outputs)
    return Operation(
        kind=op.type, name=name or (results[0].name if results else ""), inputs=inputs, results=results
    )


def _value_type(proto: Any) -> ValueType:
    kind = proto.WhichOneof("type")
    if kind != "tensorType":
        return ValueType(element=str(kind).removesuffix("Type"), shape=None)
    tensor = proto.tensorType
    element = (
        type(tensor).DESCRIPTOR.fields_by_name["dataType"].enum_type.values_by_number[tensor.dataType].name
    )
    sides = [d.constant.size if d.WhichOneof("dimension") == "constant" else None for d in tensor.dimensions]
    if any(d.WhichOneof("dimension") == "unknown" and d.unknown.variadic for d in tensor.dimensions):
        return ValueType(element=element.lower(), shape=None)
    return ValueType(element=element.lower(), shape=tuple(sides))


def _constant(package: Package, value: Any) -> Constant:
    value_type = _value_type(value.type)
    if value.WhichOneof("value") == "blobFileValue":
        blob = value.blobFileValue
        return Constant(type=value_type, value=package.read_blob(blob.fileName, blob.offset, value_type))
    immediate = value.immediateValue
    if immediate.WhichOneof("value") == "list":
        return Constant(
            type=value_type, value=[_constant(package, item).value for item in immediate.list.values]
        )
    if immediate.WhichOneof("value") != "tensor":
        return Constant(type=value_type, value=[])
    return Constant(type=value_type, value=_immediate(package.path, immediate.tensor, value_type))


def _immediate(path: Path, tensor: Any, value_type: ValueType) -> NDArray[Any] | str | list[Any]:
    field = tensor.WhichOneof("value")
    stored = getattr(tensor, field).values if field else []
    if value_type.element == "string":
        return str(stored[0]) if value_type.shape == () else [str(s) for s in stored]
    element = ELEMENT_TYPES.get(value_type.element)
    shape = value_type.shape
    if element is None or shape is None or None in shape:
        raise InputError(f"{path}: a constant of type {value_type} is not emulated")
    sides = tuple(side for side in shape if side is not None)
    if isinstance(stored, bytes):
        array = _from_bytes(stored, value_type.element, int(np.prod(sides)))
    else:
        array = np.array(stored, dtype=element.numpy)
    if array.size != int(np.prod(sides)):
        raise InputError(f"{path}: a constant of type {value_type} holds {array.size} elements")
    return array.reshape(sides)


def _from_bytes(stored: bytes, element: str, count: int) -> NDArray[Any]:
    """Elements from little-endian bytes; sub-byte ones are packed from the lowest bit up."""
    bits = SUB_BYTE_BITS.get(element)
    if bits is None:
        return np.frombuffer(stored, dtype=ELEMENT_TYPES[element].numpy)
    planes = np.unpackbits(np.frombuffer(stored, np.uint8), bitorder="little")[: count * bits].reshape(
        -1, bits
    )
    values = planes @ (1 << np.arange(bits))
    if element == "int4":
        values = np.where(values > 7, values - 16, values)
    return values.astype(ELEMENT_TYPES[element].numpy)
