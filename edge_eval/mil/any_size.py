"""The same program on images of another size than its file states: to evaluate whole images of every size."""

from dataclasses import replace

import numpy as np

from .features import Feature
from .program import Constant, Operation, Program, Reference, Result

SIZE_BLIND = frozenset(
    (
        "add", "cast", "clip", "concat", "conv", "dequantize", "mul", "pixel_shuffle", "quantize", "real_div",
        "relu", "scaled_tanh", "sigmoid", "silu", "sub", "tanh",
    )
)  # fmt: skip
"""Operations that compute every pixel alike, wherever it is and however many there are.

Only the zero padding of `conv` knows the border, and it lies at the border of any image. Constants that are
added or multiplied have no height and width, or an image of another size would not go with them."""


def with_any_size(program: Program) -> Program | None:
    """The program with height and width of its images and of everything in between left open.

    Nothing else is changed: operations, constants, types and channels are the file's. A device does not run
    the file so; what comes out is what the file's operations make of the image.

    Args:
        program: of one fixed size.

    Returns:
        None where sizes are open already, or where an operation might depend on the size.
    """
    features = (*program.inputs, *program.outputs)
    moving = _moving(program)
    blind = all(operation.kind in SIZE_BLIND or _splits_channels(operation, program) for operation in moving)
    if not blind or any(feature.is_flexible or feature.sizes for feature in features):
        return None
    names = {operation.name for operation in moving}
    return replace(
        program,
        inputs=tuple(_open_feature(feature) for feature in program.inputs),
        outputs=tuple(_open_feature(feature) for feature in program.outputs),
        parameters=tuple(_open_result(parameter) for parameter in program.parameters),
        operations=tuple(
            replace(operation, results=tuple(_open_result(result) for result in operation.results))
            if operation.name in names
            else operation
            for operation in program.operations
        ),
    )


def _splits_channels(operation: Operation, program: Program) -> bool:
    if operation.kind != "split":
        return False
    written = {one.results[0].name: one.inputs["val"][0] for one in program.operations if one.kind == "const"}
    (axis,) = operation.inputs["axis"]
    if isinstance(axis, Reference):
        axis = written.get(axis.name, axis)
    return isinstance(axis, Constant) and np.array_equal(axis.value, 1)


def _moving(program: Program) -> tuple[Operation, ...]:
    """The operations whose results depend on the program's inputs."""
    known = {parameter.name for parameter in program.parameters}
    moving = []
    for operation in program.operations:
        bindings = [binding for bound in operation.inputs.values() for binding in bound]
        if any(isinstance(binding, Reference) and binding.name in known for binding in bindings):
            moving.append(operation)
            known.update(result.name for result in operation.results)
    return tuple(moving)


def _open_feature(feature: Feature) -> Feature:
    """The feature with its last two axes, height and width, from 1 up."""
    kept = tuple((side, side) for side in feature.shape[:-2])
    return replace(feature, ranges=(*kept, (1, None), (1, None)))


def _open_result(result: Result) -> Result:
    """The result with its last two axes open, if it has the four of an image."""
    shape = result.type.shape
    if shape is None or len(shape) != 4:
        return result
    return replace(result, type=replace(result.type, shape=(*shape[:2], None, None)))
