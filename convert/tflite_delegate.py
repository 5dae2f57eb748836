"""Which operations of a TFLite file XNNPACK takes over, and which are left to TFLite's own kernels."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .quiet import quiet
from .tflite_file import open_model


@dataclass(frozen=True, kw_only=True)
class Delegation:
    """How a file is shared out.

    Attributes:
        partitions: connected parts that XNNPACK runs; 1 where nothing comes between them.
        taken: operations inside them, by name.
        left: operations outside, by name.
    """

    partitions: int
    taken: Mapping[str, int]
    left: Mapping[str, int]


def xnnpack_delegation(path: Path) -> Delegation:
    """What XNNPACK takes of the file on this machine.

    An operation is XNNPACK's if what it computes leaves through a delegate's outputs, or never gets memory of
    its own in the interpreter: the tensors between a delegate's operations do not.

    Raises:
        InputError: the file is missing, or is no whole TFLite file.
    """
    from ai_edge_litert.interpreter import Interpreter

    open_model(path)
    with quiet():
        interpreter = Interpreter(str(path), num_threads=1)
        interpreter.allocate_tensors()
    operations = interpreter._get_ops_details()
    delegates = [op for op in operations if op["op_name"] == "DELEGATE"]
    outputs = {int(index) for op in delegates for index in op["outputs"]}
    taken: Counter[str] = Counter()
    left: Counter[str] = Counter()
    for op in operations:
        if op["op_name"] == "DELEGATE":
            continue
        results = [int(index) for index in op["outputs"]]
        inside = all(index in outputs or not _has_memory(interpreter, index) for index in results)
        (taken if inside else left)[op["op_name"]] += 1
    return Delegation(
        partitions=len(delegates), taken=dict(taken.most_common()), left=dict(left.most_common())
    )


def _has_memory(interpreter: Any, index: int) -> bool:
    try:
        interpreter.get_tensor(index)
    except ValueError:
        return False
    return True
