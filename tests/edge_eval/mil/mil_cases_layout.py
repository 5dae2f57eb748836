"""Cases of the operations that reshape, join, pad and shuffle."""

import numpy as np
from mil_case import Case, floats, padded

X = floats(2, 3, 4, 5)
BLOCKS = floats(2, 8, 3, 2)
WIDE = floats(2, 2, 6, 4)


def blocks_from_depth(x: np.ndarray, b: int, *, outer: bool) -> np.ndarray:
    """Depth to space one element at a time; `outer`: the block index varies slower than the channel."""
    n, c, h, w = x.shape
    out = np.zeros((n, c // b**2, h * b, w * b))
    for k, i, j in np.ndindex(c // b**2, b, b):
        out[:, k, i::b, j::b] = x[:, (i * b + j) * (c // b**2) + k if outer else (k * b + i) * b + j]
    return out


def depth_from_blocks(x: np.ndarray, b: int, *, outer: bool) -> np.ndarray:
    """Space to depth one element at a time."""
    n, c, h, w = x.shape
    out = np.zeros((n, c * b**2, h // b, w // b))
    for k, i, j in np.ndindex(c, b, b):
        out[:, (i * b + j) * c + k if outer else (k * b + i) * b + j] = x[:, k, i::b, j::b]
    return out


def batch_from_space(x: np.ndarray, shape: tuple[int, int], pads: list[tuple[int, int]]) -> np.ndarray:
    """Space to batch one place of the block at a time (TensorFlow's SpaceToBatchND with channels first)."""
    x = padded(x, pads)
    return np.concatenate(
        [x[:, :, i :: shape[0], j :: shape[1]] for i in range(shape[0]) for j in range(shape[1])]
    )


def space_from_batch(x: np.ndarray, shape: tuple[int, int], crops: list[tuple[int, int]]) -> np.ndarray:
    """Batch to space one place of the block at a time."""
    n = x.shape[0] // (shape[0] * shape[1])
    out = np.zeros((n, x.shape[1], x.shape[2] * shape[0], x.shape[3] * shape[1]))
    for place, (i, j) in enumerate(np.ndindex(*shape)):
        out[:, :, i :: shape[0], j :: shape[1]] = x[place * n : (place + 1) * n]
    (top, bottom), (left, right) = crops
    return out[:, :, top : out.shape[2] - bottom, left : out.shape[3] - right]


SHAPES = [
    Case(op="reshape", inputs={"x": X, "shape": [6, -1]}, expected=lambda x, shape: x.reshape(6, 20)),
    Case(
        op="reshape",
        inputs={"x": X, "shape": [0, 0, 5, -1]},
        expected=lambda x, shape: x.reshape(2, 3, 5, 4),
        opset="CoreML5",
        inferred=False,
    ),
    Case(
        op="reshape", inputs={"x": X, "shape": [1, 6, 0, 0]}, expected=lambda x, shape: x.reshape(1, 6, 4, 5)
    ),
    Case(
        op="reshape",
        inputs={"x": floats(2, 5), "shape": [1, 0, -1, 0]},
        expected=lambda x, shape: x.reshape(1, 1, 2, 5),
        inferred=False,
    ),
    Case(
        op="reshape_like",
        inputs={
            "x": floats(6, 5),
            "ref_tensors": (floats(2, 3, 4), floats(1, 5, 1)),
            "begins": (0, 1),
            "ends": (2, 0),
            "end_masks": (False, True),
        },
        expected=lambda x, **_: x.reshape(2, 3, 5, 1),
        variable=("x", "ref_tensors"),
    ),
    Case(
        op="transpose", inputs={"x": X, "perm": [0, -1, 1, 2]}, expected=lambda x, perm: np.moveaxis(x, 3, 1)
    ),
    Case(
        op="expand_dims", inputs={"x": X[0, 0], "axes": [0, -1]}, expected=lambda x, axes: x[None, :, :, None]
    ),
    Case(op="squeeze", inputs={"x": X[:1, :1]}, expected=lambda x: x[0, 0]),
    Case(op="squeeze", inputs={"x": X[:1, :1], "axes": [1]}, expected=lambda x, axes: x[:, 0]),
    Case(op="flatten2d", inputs={"x": X, "axis": 2}, expected=lambda x, axis: x.reshape(6, 20)),
    Case(op="flatten2d", inputs={"x": X}, expected=lambda x: x.reshape(2, 60)),
    Case(
        op="concat",
        inputs={"values": (X, floats(2, 1, 4, 5)), "axis": 1},
        expected=lambda values, axis: np.concatenate(values, 1),
        variable=("values",),
    ),
    Case(
        op="concat",
        inputs={"values": (X, X + 1), "axis": -2, "interleave": True},
        expected=lambda values, **_: np.stack([values[i % 2][:, :, i // 2] for i in range(8)], axis=2),
        variable=("values",),
        inferred=False,  # coremltools' inference ignores `interleave`
    ),
    Case(
        op="stack",
        inputs={"values": (X, X * 2), "axis": 1},
        expected=lambda values, axis: np.stack(values, 1),
        variable=("values",),
    ),
    Case(
        op="split",
        inputs={"x": X, "num_splits": 2, "axis": -2},
        expected=lambda x, **_: (x[:, :, :2], x[:, :, 2:]),
    ),
    Case(
        op="split",
        inputs={"x": X, "split_sizes": [3, 1, 1], "axis": 3},
        expected=lambda x, **_: (x[..., :3], x[..., 3:4], x[..., 4:]),
    ),
    Case(
        op="tile",
        inputs={"x": X[0, 0], "reps": [2, 3]},
        expected=lambda x, reps: np.block([[x, x, x], [x, x, x]]),
    ),
    Case(op="reverse", inputs={"x": X, "axes": [1, -1]}, expected=lambda x, axes: x[:, ::-1, :, ::-1]),
    Case(op="reverse", inputs={"x": X[0]}, expected=lambda x: x[::-1, ::-1, ::-1]),
    Case(
        op="pad",
        inputs={"x": X, "pad": [1, 2, 0, 3]},
        expected=lambda x, pad: np.pad(x, [(0, 0), (0, 0), (1, 2), (0, 3)]),
    ),
    Case(
        op="pad",
        inputs={"x": X, "pad": [1, 2, 0, 3], "mode": "constant", "constant_val": 1.5},
        expected=lambda x, **_: np.pad(x, [(0, 0), (0, 0), (1, 2), (0, 3)], constant_values=1.5),
    ),
    Case(
        op="pad",
        inputs={"x": X, "pad": [3, 2, 4, 0], "mode": "reflect"},
        expected=lambda x, **_: np.pad(x, [(0, 0), (0, 0), (3, 2), (4, 0)], "reflect"),
    ),
    Case(
        op="pad",
        inputs={"x": X, "pad": [1, 0, 3, 2, 4, 0], "mode": "replicate"},
        expected=lambda x, **_: np.pad(x, [(0, 0), (1, 0), (3, 2), (4, 0)], "edge"),
    ),
    Case(
        op="pixel_shuffle",
        inputs={"x": BLOCKS, "upscale_factor": 2},
        expected=lambda x, upscale_factor: blocks_from_depth(x, 2, outer=False),
    ),
    Case(
        op="depth_to_space",
        inputs={"x": BLOCKS, "block_size": 2},
        expected=lambda x, block_size: blocks_from_depth(x, 2, outer=True),
    ),
    Case(
        op="pixel_unshuffle",
        inputs={"x": WIDE, "downscale_factor": np.uint32(2)},
        expected=lambda x, downscale_factor: depth_from_blocks(x, 2, outer=False),
    ),
    Case(
        op="space_to_depth",
        inputs={"x": WIDE, "block_size": 2},
        expected=lambda x, block_size: depth_from_blocks(x, 2, outer=True),
    ),
    Case(
        op="space_to_batch",
        inputs={"x": WIDE, "block_shape": [2, 3], "paddings": [[1, 1], [0, 2]]},
        expected=lambda x, **_: batch_from_space(x, (2, 3), [(1, 1), (0, 2)]),
    ),
    Case(
        op="batch_to_space",
        inputs={"x": floats(12, 2, 3, 2), "block_shape": [2, 3], "crops": [[1, 0], [0, 2]]},
        expected=lambda x, **_: space_from_batch(x, (2, 3), [(1, 0), (0, 2)]),
    ),
    Case(
        op="sliding_windows",
        inputs={"x": X, "axis": 2, "size": 3},
        expected=lambda x, **_: np.stack([x[:, :, i : i + 3] for i in range(2)], axis=2),
    ),
    Case(
        op="sliding_windows",
        inputs={"x": X, "axis": -1, "size": 2, "stride": 3},
        expected=lambda x, **_: np.stack([x[..., 0:2], x[..., 3:5]], axis=3),
    ),
]

CASES = SHAPES
