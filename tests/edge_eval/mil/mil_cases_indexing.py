"""Cases of slices, gathers, scatters and sorting."""

import numpy as np
from mil_case import Case, floats, ints

X = floats(2, 3, 4, 5)
INDEXED = [
    Case(
        op="slice_by_index",
        inputs={"x": X, "begin": [0, 1, -3, 1], "end": [2, 3, -1, 4]},
        expected=lambda x, **_: x[0:2, 1:3, -3:-1, 1:4],
    ),
    Case(
        op="slice_by_index",
        inputs={
            "x": X,
            "begin": [1, 0, 3, 4],
            "end": [0, 2, 0, 0],
            "stride": [1, 2, -2, -1],
            "begin_mask": [False, True, False, False],
            "end_mask": [False, True, False, True],
            "squeeze_mask": [True, False, False, False],
        },
        expected=lambda x, **_: x[1, ::2, 3:0:-2, ::-1],
    ),
    Case(
        op="slice_by_index",
        inputs={
            "x": X,
            "begin": [-1, 0, 0, 0],
            "end": [0, 3, 4, 5],
            "squeeze_mask": [True, False, False, False],
        },
        expected=lambda x, **_: x[-1],
    ),
    Case(
        op="slice_update",
        inputs={
            "x": X,
            "update": floats(2, 2, 2, 5),
            "begin": [0, 1, 0, 0],
            "end": [2, 3, 4, 0],
            "stride": [1, 1, 2, 1],
            "end_mask": [False, False, False, True],
        },
        expected=lambda x, update, **_: np.concatenate(
            [x[:, :1], np.stack([update[:, :, 0], x[:, 1:, 1], update[:, :, 1], x[:, 1:, 3]], axis=2)], axis=1
        ),
        variable=("x", "update"),
        opset="CoreML8",
        inferred=False,
    ),
    Case(
        op="slice_by_size",
        inputs={"x": X, "begin": [0, 1, 2, -3], "size": [1, -1, 2, 2]},
        expected=lambda x, **_: x[0:1, 1:, 2:4, 2:4],
    ),
    Case(
        op="gather",
        inputs={"x": X, "indices": ints(2, 3, low=0, high=4), "axis": -2},
        expected=lambda x, indices, axis: np.take(x, indices, 2),
        variable=("x", "indices"),
    ),
    Case(
        op="gather",
        inputs={"x": X, "indices": np.int32([1, -1])},
        expected=lambda x, indices: x[[1, 1]],
        opset="CoreML5",
    ),
    Case(
        op="gather",
        inputs={"x": X, "indices": ints(2, 3, low=0, high=4), "axis": 2, "batch_dims": 1},
        expected=lambda x, indices, **_: np.stack([np.take(x[i], indices[i], 1) for i in range(2)]),
    ),
    Case(
        op="gather_along_axis",
        inputs={"x": X, "indices": ints(2, 3, 4, 7, low=0, high=5), "axis": -1},
        expected=lambda x, indices, axis: np.take_along_axis(x, indices, 3),
        variable=("x", "indices"),
    ),
    Case(
        op="gather_along_axis",
        inputs={"x": X, "indices": ints(5, 3, 4, 5, low=0, high=2)},
        expected=lambda x, indices: np.take_along_axis(x, indices, 0),
    ),
    Case(
        op="gather_nd",
        inputs={"x": X, "indices": np.int32([[0, 2], [1, 0]])},
        expected=lambda x, indices: np.stack([x[0, 2], x[1, 0]]),
        variable=("x", "indices"),
    ),
    Case(
        op="gather_nd",
        inputs={"x": X, "indices": np.int32([[[0, 2]], [[1, 0]]]), "batch_dims": 1},
        expected=lambda x, indices, batch_dims: np.stack([x[0, 0, 2], x[1, 1, 0]])[:, None],
    ),
    Case(
        op="topk",
        inputs={"x": X, "k": 2, "axis": 1},
        expected=lambda x, **_: (-np.sort(-x, axis=1)[:, :2], np.argsort(-x, axis=1)[:, :2]),
    ),
    Case(
        op="topk",
        inputs={"x": X, "ascending": True},
        expected=lambda x, **_: (x.min(-1, keepdims=True), x.argmin(-1)[..., None]),
    ),
    Case(
        op="topk",
        inputs={"x": X, "k": 3, "sort": True, "return_indices": False},
        expected=lambda x, **_: np.sort(x)[..., :1:-1][..., :3],
    ),
    Case(op="argsort", inputs={"x": X[0, 0]}, expected=lambda x: np.argsort(-x)),
    Case(
        op="argsort",
        inputs={"x": X[0, 0], "axis": 0, "ascending": True},
        expected=lambda x, **_: np.argsort(x, axis=0),
    ),
    Case(op="non_zero", inputs={"x": ints(3, 4, low=0, high=2)}, expected=lambda x: np.argwhere(x)),
]


def _scattered(data, places, updates, mode):
    """`updates[i]` put into a copy of `data` at `places[i]`, one after another."""
    out = data.copy()
    for place, update in zip(places, updates, strict=True):
        if mode == "update":
            out[place] = update
        else:
            f = {
                "add": np.add,
                "sub": np.subtract,
                "mul": np.multiply,
                "div": np.divide,
                "max": np.maximum,
                "min": np.minimum,
            }
            out[place] = f[mode](out[place], update)
    return out


MODES = ("add", "sub", "mul", "div", "max", "min", "update")
SCATTERED = [
    *[
        Case(
            op="scatter",
            inputs={
                "data": floats(4, 3),
                "indices": np.int32([2, 0]),
                "updates": floats(2, 3, low=1),
                "mode": mode,
            },
            expected=lambda data, indices, updates, mode: _scattered(data, indices, updates, mode),
            variable=("data", "indices", "updates"),
        )
        for mode in MODES
    ],
    Case(
        op="scatter",
        inputs={"data": floats(3, 4), "indices": np.int32([2, 2]), "updates": floats(3, 2), "axis": 1},
        expected=lambda data, indices, updates, axis: _scattered(data.T, indices, updates.T, "add").T,
        variable=("data", "updates"),
    ),
    *[
        Case(
            op="scatter_along_axis",
            inputs={
                "data": floats(4, 3),
                "indices": np.int32([[0, 1, 3]]),
                "updates": floats(1, 3),
                **options,
            },
            expected=lambda data, indices, updates, mode="add": _scattered(
                data, list(zip(indices[0], range(3), strict=True)), updates[0], mode
            ),
            variable=("data", "updates"),
            inferred=False,  # coremltools' inference ignores `mode`
        )
        for options in ({}, {"mode": "update"})
    ],
    Case(
        op="scatter_along_axis",
        inputs={
            "data": floats(3, 4),
            "indices": np.int32([[0], [1], [3]]),
            "updates": floats(3, 1),
            "axis": 1,
        },
        expected=lambda data, indices, updates, axis: _scattered(
            data, list(zip(range(3), indices[:, 0], strict=True)), updates[:, 0], "add"
        ),
        variable=("data", "updates"),
        inferred=False,
    ),
    *[
        Case(
            op="scatter_nd",
            inputs={
                "data": floats(3, 4, 2),
                "indices": np.int32([[0, 1], [2, 3]]),
                "updates": floats(2, 2),
                **options,
            },
            expected=lambda data, indices, updates, mode="add": _scattered(
                data, [tuple(i) for i in indices], updates, mode
            ),
            variable=("data", "updates"),
        )
        for options in ({}, {"mode": "update"})
    ],
]

CASES = [*INDEXED, *SCATTERED]
