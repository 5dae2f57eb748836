"""The costs of a TFLite file: operations and constants off the file, shapes off LiteRT's interpreter."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from convert.quiet import quiet
from convert.tflite_file import open_model
from models.errors import InputError

from .operation import PRECISIONS, Costs, OpCost

Shape = tuple[int, ...]
Macs = Callable[[Shape, Shape, Shape], int]

MACS: Mapping[str, Macs] = {
    "CONV_2D": lambda source, weight, result: prod(result) * prod(weight[1:]),
    "DEPTHWISE_CONV_2D": lambda source, weight, result: prod(result) * weight[1] * weight[2],
    "TRANSPOSE_CONV": lambda source, weight, result: prod(source) * prod(weight[:3]),
    "FULLY_CONNECTED": lambda source, weight, result: prod(result) * weight[-1],
    "BATCH_MATMUL": lambda source, weight, result: prod(result) * source[-1],
}
"""Multiply-accumulates by (data, weight, result) shapes: NHWC, and OHWI weights (1HWC where depthwise)."""

SOURCE_OF_TRANSPOSE_CONV = 2
MOVERS = frozenset(
    {
        "CONCATENATION",
        "DEPTH_TO_SPACE",
        "EXPAND_DIMS",
        "GATHER",
        "PACK",
        "PAD",
        "RESHAPE",
        "SLICE",
        "SPACE_TO_DEPTH",
        "SPLIT",
        "SQUEEZE",
        "STRIDED_SLICE",
        "TRANSPOSE",
        "UNPACK",
    }
)
"""Operations that move data and compute nothing."""


@dataclass(frozen=True, kw_only=True)
class _Tensor:
    name: str
    shape: Shape
    dtype: str
    constant: bool

    @property
    def bytes(self) -> int:
        return prod(self.shape) * np.dtype(self.dtype).itemsize


def count_tflite(path: Path, input_hw: tuple[int, int] | None) -> Costs:
    """What every operation of a TFLite file computes and moves.

    Raises:
        InputError: not a whole TFLite file with one image in, or a size that it does not take.
    """
    constants = _constants(path)
    interpreter, hw = _opened(path, input_hw)
    tensors = {
        int(told["index"]): _Tensor(
            name=told["name"],
            shape=tuple(int(side) for side in told["shape"]),
            dtype=np.dtype(told["dtype"]).name if told["dtype"] is not np.bytes_ else "uint8",
            constant=int(told["index"]) in constants,
        )
        for told in interpreter.get_tensor_details()
    }
    folded = dict(tensors)
    costs: list[OpCost] = []
    for told in interpreter._get_ops_details():
        inputs = [folded[int(i)] for i in told["inputs"] if int(i) in folded]
        outputs = [int(i) for i in told["outputs"]]
        if inputs and all(tensor.constant for tensor in inputs):
            _fold(folded, inputs, outputs)
            continue
        costs.append(_cost(told["op_name"], inputs, [folded[i] for i in outputs]))
    return Costs(artifact=path.name, format="tflite", input_hw=hw, operations=tuple(costs))


def _fold(tensors: dict[int, _Tensor], inputs: list[_Tensor], outputs: list[int]) -> None:
    """What constants make is constant; it counts with the type that is stored, float16 say."""
    for index in outputs:
        made = tensors[index]
        same = next((tensor for tensor in inputs if tensor.shape == made.shape), made)
        tensors[index] = _Tensor(name=made.name, shape=made.shape, dtype=same.dtype, constant=True)


def _cost(kind: str, inputs: list[_Tensor], outputs: list[_Tensor]) -> OpCost:
    data = [tensor for tensor in inputs if not tensor.constant]
    first = data[0] if data else outputs[0]
    macs = 0
    if kind in MACS:
        weight = inputs[1]
        source = inputs[SOURCE_OF_TRANSPOSE_CONV] if kind == "TRANSPOSE_CONV" else inputs[0]
        macs = MACS[kind](source.shape, weight.shape, outputs[0].shape)
    computes = kind not in MACS and kind not in MOVERS
    return OpCost(
        name=outputs[0].name,
        kind=kind,
        precision=PRECISIONS.get(first.dtype, first.dtype),
        macs=macs,
        other_ops=sum(prod(tensor.shape) for tensor in outputs) if computes else 0,
        weight_bytes=_bytes(tensor for tensor in inputs if tensor.constant),
        read_bytes=_bytes(data),
        write_bytes=_bytes(outputs),
    )


def _bytes(tensors: Iterable[_Tensor]) -> int:
    return sum(tensor.bytes for tensor in tensors)


def _constants(path: Path) -> set[int]:
    """Numbers of the tensors whose values are in the file, in the flatbuffer or after it."""
    model = open_model(path)
    graph = model.Subgraphs(0)
    buffers = [model.Buffers(graph.Tensors(index).Buffer()) for index in range(graph.TensorsLength())]
    return {index for index, buffer in enumerate(buffers) if buffer.DataLength() or buffer.Size()}


def _opened(path: Path, input_hw: tuple[int, int] | None) -> tuple[Any, tuple[int, int]]:
    """The interpreter without delegates, at a size, and that size."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    with quiet():
        interpreter = Interpreter(model_path=str(path), experimental_op_resolver_type=plain)
        details = interpreter.get_input_details()
        if len(details) != 1 or len(details[0]["shape"]) != 4:
            raise InputError(f"{path} has {len(details)} inputs; one image (1, H, W, C) is accepted")
        _, height, width, channels = (int(side) for side in details[0]["shape"])
        hw = input_hw or (height, width)
        try:
            interpreter.resize_tensor_input(details[0]["index"], [1, *hw, channels])
            interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            said = " ".join(str(error).split())
            raise InputError(f"{path} does not go at {hw[0]}x{hw[1]} (HxW): {said}") from error
    return interpreter, hw
