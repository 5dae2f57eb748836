"""An 8-bit convolution as ML Programs have it: between dequantize and quantize."""

from pathlib import Path

import numpy as np
import pytest

from edge_eval.cost import count_costs, count_mil
from edge_eval.mil.features import Feature
from edge_eval.mil.program import Binding, Constant, Operation, Program, Reference, Result
from edge_eval.mil.types import ValueType

SHAPE = (1, 4, 8, 8)


def result(name: str, element: str, shape: tuple[int, ...] = SHAPE) -> Result:
    return Result(name=name, type=ValueType(element=element, shape=shape))


def constant(element: str, values: np.ndarray) -> Constant:
    return Constant(type=ValueType(element=element, shape=values.shape), value=values)


def op(kind: str, made: Result, **inputs: str | Constant) -> Operation:
    bound: dict[str, tuple[Binding, ...]] = {
        key: (Reference(name=value) if isinstance(value, str) else value,) for key, value in inputs.items()
    }
    return Operation(kind=kind, name=made.name, inputs=bound, results=(made,))


def program(*, quantized_weights: bool = True, quantized_data: bool = True) -> Program:
    """A convolution, an activation, and what makes them 8 bits."""
    kernel = constant("int8", np.ones((4, 4, 3, 3), np.int8))
    scale = constant("float16", np.ones((), np.float16))
    operations = [
        op("quantize", result("q0", "int8"), input="x", scale=scale),
        op("dequantize", result("d0", "float16"), input="q0", scale=scale),
        op("dequantize", result("w", "float16", (4, 4, 3, 3)), input=kernel, scale=scale),
    ]
    weight: str | Constant = (
        "w" if quantized_weights else constant("float16", np.ones((4, 4, 3, 3), np.float16))
    )
    data = "d0" if quantized_data else "x"
    operations += [
        op("conv", result("c", "float16"), x=data, weight=weight),
        op("quantize", result("q1", "int8"), input="c", scale=scale),
        op("dequantize", result("d1", "float16"), input="q1", scale=scale),
        op("relu", result("y", "float16"), x="d1"),
    ]
    feature = Feature(name="x", kind="tensor", dtype="float16", color=None, shape=SHAPE, sizes=(), ranges=())
    return Program(
        path=Path("q.mlpackage"),
        function="main",
        opset="CoreML7",
        inputs=(feature,),
        outputs=(),
        parameters=(result("x", "float16"),),
        operations=tuple(operations),
        metadata={},
    )


@pytest.mark.parametrize(
    ("weights", "data", "precision", "weight_bytes", "read_bytes"),
    [
        (True, True, "int8", 144 + 2, 256),
        (False, True, "fp16", 288, 256),
        (True, False, "fp16", 144 + 2, 512),
        (False, False, "fp16", 288, 512),
    ],
)
def test_a_convolution_is_8_bit_where_both_sides_are(
    monkeypatch: pytest.MonkeyPatch,
    weights: bool,
    data: bool,
    precision: str,
    weight_bytes: int,
    read_bytes: int,
) -> None:
    made = program(quantized_weights=weights, quantized_data=data)
    monkeypatch.setattr(count_mil, "load_program", lambda path: made)
    costs = {cost.kind: cost for cost in count_costs(Path("q.mlpackage")).operations}
    conv = costs["conv"]
    assert (conv.precision, conv.macs) == (precision, 256 * 4 * 9)
    assert (conv.weight_bytes, conv.read_bytes, conv.write_bytes) == (weight_bytes, read_bytes, 256)
    relu = costs["relu"]
    assert (relu.precision, relu.read_bytes, relu.write_bytes, relu.other_ops) == ("fp16", 256, 512, 256)


def test_what_is_part_of_another_operation_costs_nothing_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(count_mil, "load_program", lambda path: program())
    operations = count_costs(Path("q.mlpackage")).operations
    assert [cost.kind for cost in operations] == ["quantize", "conv", "relu"]
    assert (operations[0].read_bytes, operations[0].write_bytes) == (512, 256)
