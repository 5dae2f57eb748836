"""Cases of the operations that make or resize tensors."""

import numpy as np
from mil_case import Case, floats, grid, interpolated, ints

X = floats(2, 3, 4, 5)
MADE = [
    Case(op="shape", inputs={"x": X}, expected=lambda x: np.array([2, 3, 4, 5]), inferred=False),
    Case(
        op="fill",
        inputs={"shape": np.int32([2, 3])},
        expected=lambda shape: np.zeros((2, 3)),
        variable=("shape",),
    ),
    Case(
        op="fill",
        inputs={"shape": np.int32([2, 3]), "value": 7},
        expected=lambda shape, value: np.full((2, 3), 7),
        variable=("shape",),
    ),
    Case(
        op="fill_like",
        inputs={"ref_tensor": X},
        expected=lambda ref_tensor: np.zeros((2, 3, 4, 5)),
        variable=("ref_tensor",),
    ),
    Case(
        op="fill_like",
        inputs={"ref_tensor": X, "value": 1.5},
        expected=lambda ref_tensor, value: np.full((2, 3, 4, 5), 1.5),
        variable=("ref_tensor",),
    ),
    Case(
        op="range_1d",
        inputs={"end": np.int32(11), "start": np.int32(2), "step": np.int32(3)},
        expected=lambda end, start, step: np.array([2, 5, 8]),
        variable=(),
    ),
    Case(
        op="range_1d",
        inputs={"end": np.float32(1), "start": np.float32(0), "step": np.float32(0.25)},
        expected=lambda end, start, step: np.array([0, 0.25, 0.5, 0.75]),
        variable=(),
    ),
    Case(
        op="one_hot",
        inputs={"indices": np.int32([2, 0]), "one_hot_vector_size": 3},
        expected=lambda indices, one_hot_vector_size: np.eye(3)[[2, 0]],
        variable=("indices",),
    ),
    Case(
        op="one_hot",
        inputs={
            "indices": np.int32([2, 0]),
            "one_hot_vector_size": 3,
            "axis": 0,
            "on_value": 2.5,
            "off_value": -1.0,
        },
        expected=lambda **_: (np.eye(3)[[2, 0]] * 3.5 - 1).T,
        variable=("indices",),
    ),
    Case(op="band_part", inputs={"x": X}, expected=lambda x: x),
    Case(
        op="band_part",
        inputs={"x": X, "lower": 1, "upper": 0},
        expected=lambda x, **_: np.triu(np.tril(x), -1),
    ),
    Case(op="band_part", inputs={"x": X, "lower": -1, "upper": 2}, expected=lambda x, **_: np.tril(x, 2)),
    Case(op="cumsum", inputs={"x": X}, expected=lambda x: np.cumsum(x, 0)),
    Case(
        op="cumsum",
        inputs={"x": ints(3, 4), "axis": 1, "exclusive": True},
        expected=lambda x, **_: np.cumsum(x, 1) - x,
        inferred=False,
    ),
    Case(
        op="cumsum",
        inputs={"x": X, "axis": -1, "reverse": True},
        expected=lambda x, **_: x.sum(-1, keepdims=True) - np.cumsum(x, -1) + x,
    ),
]

SMALL = floats(1, 2, 4, 5)


def nearest(x: np.ndarray, h: int, w: int) -> np.ndarray:
    """The last two axes resized, each sample the element at or before it."""
    rows = [i * x.shape[-2] // h for i in range(h)]
    columns = [i * x.shape[-1] // w for i in range(w)]
    return x[..., rows, :][..., columns]


RESIZED = [
    Case(
        op="upsample_nearest_neighbor",
        inputs={"x": SMALL, "scale_factor_height": 2, "scale_factor_width": 3},
        expected=lambda x, **_: x.repeat(2, -2).repeat(3, -1),
    ),
    Case(
        op="upsample_nearest_neighbor",
        inputs={"x": SMALL, "scale_factor_width": 1.5},
        expected=lambda x, **_: nearest(x, 4, 7),
        fixed=("scale_factor_width",),
    ),
    Case(op="upsample_nearest_neighbor", inputs={"x": SMALL}, expected=lambda x: x),
    Case(
        op="resize_nearest_neighbor",
        inputs={"x": SMALL, "target_size_height": 7, "target_size_width": 3},
        expected=lambda x, **_: nearest(x, 7, 3),
    ),
    Case(
        op="upsample_bilinear",
        inputs={"x": SMALL, "scale_factor_height": 2, "scale_factor_width": 3},
        expected=lambda x, **_: interpolated(x, np.linspace(0, 3, 8), np.linspace(0, 4, 15)),
    ),
    Case(op="upsample_bilinear", inputs={"x": SMALL}, expected=lambda x: x),
    Case(
        op="upsample_bilinear",
        inputs={"x": SMALL, "scale_factor_height": 2, "scale_factor_width": 3, "align_corners": False},
        expected=lambda x, **_: interpolated(
            x, grid("UNALIGN_CORNERS", 4, 8), grid("UNALIGN_CORNERS", 5, 15)
        ),
    ),
    Case(
        op="upsample_bilinear",
        inputs={
            "x": SMALL,
            "scale_factor_height": 2,
            "scale_factor_width": 3,
            "align_corners": False,
            "half_pixel_centers": False,
        },
        expected=lambda x, **_: interpolated(x, grid("DEFAULT", 4, 8), grid("DEFAULT", 5, 15)),
    ),
    *[
        Case(
            op="resize_bilinear",
            inputs={"x": SMALL, "target_size_height": h, "target_size_width": w, "sampling_mode": mode},
            expected=lambda x, target_size_height, target_size_width, sampling_mode: interpolated(
                x, grid(sampling_mode, 4, target_size_height), grid(sampling_mode, 5, target_size_width)
            ),
        )
        for mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "DEFAULT", "OFFSET_CORNERS", "UNALIGN_CORNERS")
        for h, w in ((7, 3), (1, 10))
    ],
    Case(op="resize_bilinear", inputs={"x": SMALL}, expected=lambda x: x[..., :1, :1]),
    Case(
        op="resize",
        inputs={"x": SMALL, "shape": np.int32([1, 8, 0]), "resized_dims": np.uint32(2)},
        expected=lambda x, **_: interpolated(x, grid("DEFAULT", 4, 8), np.arange(5.0)),
    ),
    Case(
        op="resize",
        inputs={
            "x": SMALL,
            "shape": np.int32([8, 10]),
            "resized_dims": np.uint32(2),
            "interpolation_mode": "NEAREST_NEIGHBOR",
        },
        expected=lambda x, **_: x.repeat(2, -2).repeat(2, -1),
        variable=("x", "shape"),
    ),
    Case(
        op="crop",
        inputs={"x": SMALL, "crop_height": [1, 0], "crop_width": [2, 1]},
        expected=lambda x, **_: x[:, :, 1:, 2:4],
    ),
]


CASES = [*MADE, *RESIZED]
