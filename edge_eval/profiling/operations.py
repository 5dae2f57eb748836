"""The operations of a TFLite file, which kernels ran them, and which layer of the network each belongs to."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from convert.quiet import quiet
from convert.tflite_file import open_model

from ..cost import count_costs
from ..cost.operation import OpCost

KERNELS: Mapping[str, str] = {
    "ADD": r"Add",
    "AVERAGE_POOL_2D": r"Average Pooling|Mean",
    "CONCATENATION": r"Copy|Concatenate",
    "CONV_2D": r"Convolution|Fully Connected",
    "DEPTHWISE_CONV_2D": r"Convolution|Multiply",
    "DEPTH_TO_SPACE": r"Depth To Space|Transpose",
    "DEQUANTIZE": r"Convert|Unary",
    "FULLY_CONNECTED": r"Fully Connected",
    "LOGISTIC": r"Sigmoid|Unary",
    "MUL": r"Multiply",
    "PAD": r"Constant Pad|Pad",
    "QUANTIZE": r"Convert|Unary|Copy",
    "RESHAPE": r"Copy|Reshape",
    "SPLIT": r"Copy|Split",
    "SUB": r"Subtract",
    "TANH": r"Tanh|TanH|Unary",
    "TRANSPOSE": r"Transpose",
}
"""What XNNPACK calls its kernel for an operation: regular expressions on the beginning of its name."""

UNARY = re.compile(r".*Unary")
FUSED = frozenset({"LOGISTIC", "TANH", "MUL", "SUB", "ADD", "QUANTIZE", "DEQUANTIZE"})
"""8-bit operations on one tensor that XNNPACK makes one table look-up of, as LOGISTIC and MUL of a SiLU."""

LONGEST_FUSION = 5
MOST_COPIES = 8
DROPPED = frozenset({"RESHAPE", "PAD", "QUANTIZE", "DEQUANTIZE", "CONCATENATION", "TRANSPOSE"})
"""Operations that may cost no kernel of their own."""

IMPOSSIBLE = 10**9


@dataclass(frozen=True, kw_only=True)
class FileOperation:
    """One operation of a file.

    Attributes:
        index: its number in the file.
        kind: TFLite's name.
        name: its result's name.
        types: element types of what it reads and writes, constants left out.
        cost: what it computes and moves; None for operations on constants, which run once.
    """

    index: int
    kind: str
    name: str
    types: tuple[str, ...]
    cost: OpCost | None


def file_operations(path: Path, input_hw: tuple[int, int]) -> tuple[FileOperation, ...]:
    """The operations in the order in which they stand in a file.

    Raises:
        InputError: not a TFLite file, or a size that it does not take.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    open_model(path)
    costs = {cost.name: cost for cost in count_costs(path, input_hw=input_hw).operations}
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    with quiet():
        interpreter = Interpreter(model_path=str(path), experimental_op_resolver_type=plain)
        interpreter.allocate_tensors()
    tensors = {int(told["index"]): told for told in interpreter.get_tensor_details()}
    made = {int(index) for told in interpreter._get_ops_details() for index in told["outputs"]}
    made |= {int(told["index"]) for told in interpreter.get_input_details()}
    operations = []
    for told in interpreter._get_ops_details():
        name = tensors[int(told["outputs"][0])]["name"]
        ends = [int(i) for i in (*told["inputs"], *told["outputs"]) if int(i) in made]
        operations.append(
            FileOperation(
                index=int(told["index"]),
                kind=told["op_name"],
                name=name,
                types=tuple(dict.fromkeys(np.dtype(tensors[i]["dtype"]).name for i in ends)),
                cost=costs.get(name),
            )
        )
    return tuple(operations)


def align(operations: Sequence[FileOperation], kernels: Sequence[str]) -> list[tuple[int, ...]] | None:
    """Which kernels ran each operation, found by matching both sequences in order.

    XNNPACK keeps the order of operations. It may make one table look-up of several on one 8-bit tensor, copy
    each source of a concatenation, or result of a split, by itself, and drop operations that only move data.

    Args:
        operations: those that the delegate took.
        kernels: names of its kernels, in order.

    Returns:
        For each operation the numbers of its kernels; operations that share one have the same. None where
        the sequences do not match.
    """
    kinds = [operation.kind for operation in operations]

    @cache
    def best(done: int, used: int) -> tuple[int, tuple[int, int]]:
        """Least cost of the rest, and how many operations and kernels to take next."""
        if done == len(kinds):
            return (0 if used == len(kernels) else IMPOSSIBLE), (0, 0)
        steps = []
        for taken, copies, price in _steps(kinds, kernels, done, used):
            rest, _ = best(done + taken, used + copies)
            steps.append((price + rest, (taken, copies)))
        return min(steps, default=(IMPOSSIBLE, (0, 0)))

    result: list[tuple[int, ...]] = []
    used = 0
    while len(result) < len(kinds):
        price, (taken, copies) = best(len(result), used)
        if price >= IMPOSSIBLE:
            return None
        result += [tuple(range(used, used + copies))] * taken
        used += copies
    return result if used == len(kernels) else None


def _steps(kinds: Sequence[str], kernels: Sequence[str], done: int, used: int) -> list[tuple[int, int, int]]:
    """Ways to go on: operations taken, kernels taken, and a price that keeps odd ways for want of others."""
    kind = kinds[done]
    steps = [(1, 0, 3)] if kind in DROPPED else []
    if used == len(kernels):
        return steps
    pattern = KERNELS.get(kind)
    if pattern is not None and re.match(pattern, kernels[used]):
        steps.append((1, 1, 0))
    if kind in ("CONCATENATION", "SPLIT"):
        for copies in range(2, min(MOST_COPIES, len(kernels) - used) + 1):
            if all(re.match(KERNELS[kind], kernel) for kernel in kernels[used : used + copies]):
                steps.append((1, copies, 1))
    if UNARY.match(kernels[used]):
        for taken in range(2, min(LONGEST_FUSION, len(kinds) - done) + 1):
            if FUSED.issuperset(kinds[done : done + taken]):
                steps.append((taken, 1, 1))
    return steps


def why_outside(operation: FileOperation) -> str:
    """Why XNNPACK left an operation to LiteRT's own kernels, as far as its rules are known here."""
    types = set(operation.types)
    if "int16" in types:
        return "XNNPACK has no kernels for 16-bit activations"
    if operation.kind in ("QUANTIZE", "DEQUANTIZE") and {"uint8", "int8"} <= types:
        return "XNNPACK has no kernel between uint8 and int8"
    if types & {"int32", "int64", "bool"}:
        return f"XNNPACK has no {operation.kind} for {', '.join(sorted(types))}"
    return "XNNPACK's delegate does not say"


def layer_of(name: str, layers: Sequence[str]) -> str:
    """The layer that an operation belongs to: the longest of `layers` that its result's name begins with.

    Args:
        name: such as `block_1.c1_r/logistic` or `block_1.c1_r.silu`.
        layers: names of the network's convolutions and of what holds them.

    Returns:
        Where none fits, the name up to its first slash.
    """
    plain = name.split("/", maxsplit=1)[0]
    fitting = [layer for layer in layers if plain == layer or plain.startswith(f"{layer}.")]
    return max(fitting, key=len, default=plain)
