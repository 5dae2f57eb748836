"""The costs of an ML Program, off the types that it declares, or off a run where those are flexible.

A quantize after an operation and a dequantize before one are taken as part of it: the operation then reads or
writes the 8-bit tensor, and a convolution between two of them computes in 8 bits. Core ML may do otherwise.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np

from models.errors import InputError

from ..mil import Feature, Machine, Operation, Program, load_program
from ..mil.program import Constant, Reference
from .operation import PRECISIONS, Costs, OpCost

Shape = tuple[int, ...]
Macs = Callable[[Shape, Shape, Shape], int]

MACS: Mapping[str, tuple[str, str, Macs]] = {
    "conv": ("x", "weight", lambda source, weight, result: prod(result) * prod(weight[1:])),
    "conv_transpose": ("x", "weight", lambda source, weight, result: prod(source) * prod(weight[1:])),
    "linear": ("x", "weight", lambda source, weight, result: prod(result) * weight[-1]),
    "matmul": ("x", "y", lambda source, weight, result: prod(result) * source[-1]),
}
"""Inputs that hold data and weight, and multiply-accumulates by (data, weight, result) shapes: NCHW, OIHW."""

MOVERS = frozenset(
    {
        "concat",
        "depth_to_space",
        "expand_dims",
        "gather",
        "identity",
        "pad",
        "pixel_shuffle",
        "pixel_unshuffle",
        "reshape",
        "slice_by_index",
        "slice_by_size",
        "space_to_depth",
        "split",
        "squeeze",
        "stack",
        "transpose",
    }
)
SETTINGS = ("int32", "uint32", "bool", "string")
"""Types of constants that are strides and the like, not weights."""

BITS = {"int4": 4, "uint1": 1, "uint2": 2, "uint3": 3, "uint4": 4, "uint6": 6, "bool": 8}


@dataclass(frozen=True, kw_only=True)
class _Value:
    """A tensor: `element` and `stored_bytes` are of what holds it in the file or in memory."""

    element: str
    shape: Shape
    stored_bytes: int
    constant: bool = False


def count_mil(path: Path, input_hw: tuple[int, int] | None) -> Costs:
    """What every operation of an ML Program computes and moves.

    Raises:
        InputError: not an ML Program with one image in, or a size that it does not take.
    """
    program = load_program(path)
    hw = _wanted_hw(program, input_hw)
    shapes = _shapes(program, hw)
    readers = Counter(
        binding.name
        for op in program.operations
        for bindings in op.inputs.values()
        for binding in bindings
        if isinstance(binding, Reference)
    )
    values = {p.name: _value(p.type.element, shapes[p.name]) for p in program.parameters}
    quantizes = {
        _source(op): op.results[0].name
        for op in program.operations
        if op.kind == "quantize" and readers[_source(op)] == 1 and _source(op) not in values
    }
    costs: list[OpCost] = []
    for op in program.operations:
        cost = _visit(op, values, shapes, quantizes)
        if cost is not None:
            costs.append(cost)
    return Costs(artifact=path.name, format="coreml", input_hw=hw, operations=tuple(costs))


def _visit(
    op: Operation, values: dict[str, _Value], shapes: Mapping[str, Shape], quantizes: Mapping[str, str]
) -> OpCost | None:
    """Enter the operation's results, and tell its cost, or None where it is no work of its own."""
    read = _read(op, values)
    for result in op.results:
        values[result.name] = _value(result.type.element, shapes.get(result.name, ()))
    if all(value.constant for value in read):
        stored = sum(value.stored_bytes for value in read)
        for result in op.results:
            element = min(
                (v.element for v in read if v.shape == values[result.name].shape), default="", key=_bits
            )
            made = values[result.name]
            kept = replace(made, element=element or made.element, stored_bytes=stored, constant=True)
            values[result.name] = kept
        return None
    data = [value for value in read if not value.constant]
    if op.kind == "dequantize":
        values[op.results[0].name] = replace(data[0], shape=values[op.results[0].name].shape)
        return None
    if op.kind == "quantize" and quantizes.get(_source(op)) == op.results[0].name:
        return None
    written = [_value_written(result.name, values, op, shapes, quantizes) for result in op.results]
    return _cost(op, read, data, written, values)


def _value_written(
    name: str,
    values: Mapping[str, _Value],
    op: Operation,
    shapes: Mapping[str, Shape],
    quantizes: Mapping[str, str],
) -> _Value:
    """The result as it goes to memory: 8 bits where nothing but a quantize reads it."""
    value = values[name]
    return _value("int8", value.shape) if name in quantizes else value


def _cost(
    op: Operation, read: list[_Value], data: list[_Value], written: list[_Value], values: Mapping[str, _Value]
) -> OpCost:
    macs, precision = 0, data[0].element
    if op.kind in MACS:
        source_name, weight_name, formula = MACS[op.kind]
        source, weight = (_bound(op, name, values) for name in (source_name, weight_name))
        macs = formula(source.shape, weight.shape, values[op.results[0].name].shape)
        if source.element in ("int8", "uint8") and weight.element not in ("int8", "uint8"):
            precision = "float16"
    elif precision in ("int8", "uint8") and op.kind not in MOVERS:
        precision = "float16"
    computes = op.kind not in MACS and op.kind not in MOVERS
    return OpCost(
        name=op.results[0].name,
        kind=op.kind,
        precision=PRECISIONS.get(precision, precision),
        macs=macs,
        other_ops=sum(prod(value.shape) for value in written) if computes else 0,
        weight_bytes=sum(v.stored_bytes for v in read if v.constant and v.element not in SETTINGS),
        read_bytes=sum(value.stored_bytes for value in data),
        write_bytes=sum(value.stored_bytes for value in written),
    )


def _read(op: Operation, values: Mapping[str, _Value]) -> list[_Value]:
    """Everything bound to the operation's inputs that has elements."""
    found: list[_Value] = []
    for bindings in op.inputs.values():
        for binding in bindings:
            if isinstance(binding, Reference):
                found.append(values[binding.name])
            elif isinstance(binding, Constant) and isinstance(binding.value, np.ndarray):
                found.append(_value(binding.type.element, binding.value.shape, constant=True))
    return found


def _bound(op: Operation, name: str, values: Mapping[str, _Value]) -> _Value:
    binding = op.inputs[name][0]
    if isinstance(binding, Reference):
        return values[binding.name]
    return _value(binding.type.element, np.shape(binding.value), constant=True)


def _value(element: str, shape: Shape, *, constant: bool = False) -> _Value:
    bits = _bits(element) * prod(shape)
    return _Value(element=element, shape=shape, stored_bytes=-(-bits // 8), constant=constant)


def _bits(element: str) -> int:
    if element in BITS:
        return BITS[element]
    return 8 * np.dtype(element).itemsize if element in PRECISIONS or element in ("int32", "uint32") else 0


def _source(op: Operation) -> str:
    binding = op.inputs["input"][0]
    return binding.name if isinstance(binding, Reference) else ""


def _wanted_hw(program: Program, input_hw: tuple[int, int] | None) -> tuple[int, int]:
    if len(program.inputs) != 1:
        raise InputError(f"{program.path} has {len(program.inputs)} inputs; one image is accepted")
    feature = program.inputs[0]
    hw = input_hw or (feature.shape[-2], feature.shape[-1])
    if not feature.allows(_feature_shape(feature, hw)):
        raise InputError(
            f"{program.path} does not go at {hw[0]}x{hw[1]} (HxW); it takes {feature.describe_shapes()}"
        )
    return hw


def _feature_shape(feature: Feature, hw: tuple[int, int]) -> Shape:
    return hw if feature.kind == "image" else (*feature.shape[:2], *hw)


def _shapes(program: Program, hw: tuple[int, int]) -> dict[str, Shape]:
    """The shape of every result: the declared ones where they are whole, else of a run on black pixels."""
    declared = {p.name: p.type.shape for p in program.parameters}
    declared |= {r.name: r.type.shape for op in program.operations for r in op.results}
    flexible = program.inputs[0].is_flexible or any(
        shape is None or None in shape for shape in (p.type.shape for p in program.parameters)
    )
    known = {
        name: tuple(side for side in shape if side is not None)
        for name, shape in declared.items()
        if shape is not None and None not in shape
    }
    if not flexible:
        return known
    feature = program.inputs[0]
    shape = _feature_shape(feature, hw)
    if feature.kind == "image" and feature.channels == 3:
        shape = (*shape, 3)
    black = np.zeros(shape, np.uint8 if feature.kind == "image" else np.float32)
    run = Machine(program).run({feature.name: black}, keep=True, raw=True)
    parameter = (1, feature.channels, *hw) if feature.kind == "image" else shape
    return {
        **known,
        **{name: array.shape for name, array in run.items()},
        program.parameters[0].name: tuple(int(side or 1) for side in parameter),
    }
