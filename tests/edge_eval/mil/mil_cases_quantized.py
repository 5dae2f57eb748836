"""Cases of quantization and of compressed weights."""

import numpy as np
from mil_case import Case, SubByte, bools, floats, ints, per_channel

X = floats(2, 3, 4, 5)


def quantized(x, scale, zero_point, low, high):
    """Steps of `scale` from the zero point on, clipped."""
    return np.clip(np.rint(x / scale) + zero_point, low, high)


SCALES = np.float32([0.125, 0.0625, 0.25])
QUANTIZED = [
    Case(
        op="quantize",
        inputs={"input": X, "scale": np.float32(0.125), "output_dtype": "int8"},
        expected=lambda input, scale, **_: quantized(input, scale, 0, -128, 127),
        variable=("input",),
    ),
    Case(
        op="quantize",
        inputs={
            "input": X * 20,
            "zero_point": np.uint8(100),
            "scale": np.float32(0.125),
            "output_dtype": "uint8",
        },
        expected=lambda input, zero_point, scale, **_: quantized(input, scale, 100.0, 0, 255),
        variable=("input",),
    ),
    Case(
        op="quantize",
        inputs={
            "input": X * 4,
            "zero_point": np.int8([5, -100, 7]),
            "scale": SCALES,
            "axis": 1,
            "output_dtype": "int8",
        },
        expected=lambda input, zero_point, scale, **_: quantized(
            input, per_channel(scale, 4), per_channel(zero_point, 4), -128, 127
        ),
        variable=("input",),
    ),
    Case(
        op="quantize",
        inputs={"input": X * 4, "scale": SCALES, "axis": -3, "output_dtype": "int8"},
        expected=lambda input, scale, **_: quantized(input, per_channel(scale, 4), 0, -128, 127),
        variable=("input",),
    ),
    Case(
        op="dequantize",
        inputs={"input": ints(2, 3, 4, low=-128, high=128, dtype=np.int8), "scale": np.float32(0.3)},
        expected=lambda input, scale: input * scale,
        variable=("input",),
    ),
    Case(
        op="dequantize",
        inputs={
            "input": ints(2, 3, 4, low=0, high=256, dtype=np.uint8),
            "zero_point": np.uint8(200),
            "scale": np.float32(0.3),
        },
        expected=lambda input, zero_point, scale: (input.astype(float) - 200) * scale,
        variable=("input",),
    ),
    Case(
        op="dequantize",
        inputs={
            "input": ints(2, 3, 4, low=0, high=256, dtype=np.uint8),
            "zero_point": np.uint8([0, 128, 255]),
            "scale": SCALES,
            "axis": 1,
        },
        expected=lambda input, zero_point, scale, axis: (
            (input.astype(float) - per_channel(zero_point, 3)) * per_channel(scale, 3)
        ),
        variable=("input",),
    ),
]


def packed(values: np.ndarray, bits: int) -> np.ndarray:
    """Numbers of `bits` bits as bytes, written into one long number, lowest first."""
    number = sum(int(v) << (bits * i) for i, v in enumerate(values.reshape(-1)))
    return np.frombuffer(number.to_bytes(-(-bits * values.size // 8), "little"), np.uint8)


def _palettes() -> list[Case]:
    cases = []
    for bits in (1, 2, 4, 6, 8):
        index = ints(3, 4, 3, low=0, high=2**bits)
        cases.append(
            Case(
                op="constexpr_lut_to_dense",
                inputs={
                    "indices": packed(index, bits),
                    "lut": floats(2**bits),
                    "shape": np.uint32([3, 4, 3]),
                },
                expected=lambda indices, lut, shape, index=index: np.vectorize(lambda i: lut[i])(index),
                variable=(),
                opset="CoreML6",
            )
        )
    return cases


MASK = bools(3, 4, 5)
COMPRESSED = [
    *_palettes(),
    Case(
        op="constexpr_affine_dequantize",
        inputs={
            "quantized_data": ints(3, 4, 2, low=-128, high=128, dtype=np.int8),
            "zero_point": np.int8([3, -4, 5]),
            "scale": SCALES,
            "axis": 0,
        },
        expected=lambda quantized_data, zero_point, scale, axis: (
            (quantized_data.astype(float) - per_channel(zero_point, 3, 0)) * per_channel(scale, 3, 0)
        ),
        variable=(),
        opset="CoreML6",
    ),
    Case(
        op="constexpr_affine_dequantize",
        inputs={
            "quantized_data": ints(3, 4, 2, low=0, high=256, dtype=np.uint8),
            "zero_point": np.uint8(128),
            "scale": np.float32(0.125),
            "axis": 0,
        },
        expected=lambda quantized_data, **_: (quantized_data.astype(float) - 128) / 8,
        variable=(),
    ),
    Case(
        op="constexpr_cast",
        inputs={"source_val": floats(3, 4).astype(np.float16), "output_dtype": "fp32"},
        expected=lambda source_val, output_dtype: source_val,
        variable=(),
        opset="CoreML6",
    ),
    Case(
        op="constexpr_sparse_to_dense",
        inputs={
            "nonzero_data": floats(int(MASK.sum()), low=1),
            "mask": packed(MASK, 1),
            "shape": np.uint32([3, 4, 5]),
        },
        expected=lambda nonzero_data, **_: np.where(
            MASK, nonzero_data[np.cumsum(MASK).reshape(MASK.shape) - 1], 0
        ),
        variable=(),
        opset="CoreML6",
    ),
    Case(
        op="constexpr_blockwise_shift_scale",
        inputs={
            "data": ints(4, 6, low=-128, high=128, dtype=np.int8),
            "scale": floats(2, 3, low=0.1),
            "offset": ints(2, 3, dtype=np.int8),
        },
        expected=lambda data, scale, offset: np.block(
            [
                [
                    scale[i, j] * (data[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].astype(float) - offset[i, j])
                    for j in range(3)
                ]
                for i in range(2)
            ]
        ),
        variable=(),
        opset="CoreML8",
    ),
    Case(
        op="constexpr_blockwise_shift_scale",
        inputs={"data": ints(4, 6, low=0, high=256, dtype=np.uint8), "scale": floats(4, 1, low=0.1)},
        expected=lambda data, scale: scale * data,
        variable=(),
        opset="CoreML8",
    ),
]


def looked_up(index: np.ndarray, lut: np.ndarray) -> np.ndarray:
    """One value per index, from the table of the block that the index lies in."""
    block = [n // t for n, t in zip(index.shape, lut.shape, strict=False)]
    return np.array(
        [
            lut[(*(p // b for p, b in zip(place, block, strict=True)), index[place], 0)]
            for place in np.ndindex(*index.shape)
        ]
    ).reshape(index.shape)


def _palettes_ios18() -> list[Case]:
    cases = []
    for bits in (1, 2, 3, 4, 6):
        index = ints(4, 6, low=0, high=2**bits, dtype=np.uint8)
        cases.append(
            Case(
                op="constexpr_lut_to_dense",
                inputs={"indices": SubByte(index, f"uint{bits}"), "lut": floats(2, 3, 2**bits, 1)},
                expected=lambda indices, lut: looked_up(indices, lut),
                variable=(),
                opset="CoreML8",
            )
        )
    return cases


NO_OFFSET = np.zeros((1, 6))
KEPT = bools(4, 6)
HELD = int(KEPT.sum())
COMPRESSED += [
    *_palettes_ios18(),
    Case(
        op="constexpr_lut_to_dense",
        inputs={
            "indices": ints(2, 3, low=0, high=256, dtype=np.uint8),
            "lut": floats(1, 1, 256, 2),
            "vector_axis": -1,
        },
        expected=lambda indices, lut, vector_axis: lut[0, 0][indices].reshape(2, 6),
        variable=(),
        opset="CoreML8",
    ),
    Case(
        op="constexpr_lut_to_dense",
        inputs={
            "indices": ints(2, 3, low=0, high=256, dtype=np.uint8),
            "lut": floats(1, 1, 256, 2),
            "vector_axis": 0,
        },
        expected=lambda indices, lut, vector_axis: np.stack(
            [lut[0, 0][indices[i // 2], i % 2] for i in range(4)]
        ),
        variable=(),
        opset="CoreML8",
    ),
    Case(
        op="constexpr_sparse_to_dense",
        inputs={"nonzero_data": floats(HELD, low=1), "mask": SubByte(KEPT.astype(np.uint8), "uint1")},
        expected=lambda nonzero_data, mask: np.where(
            KEPT, nonzero_data[np.cumsum(KEPT).reshape(KEPT.shape) - 1], 0
        ),
        variable=(),
        opset="CoreML8",
    ),
    Case(
        op="constexpr_blockwise_shift_scale",
        inputs={
            "data": SubByte(ints(4, 6, low=-8, high=8, dtype=np.int8), "int4"),
            "scale": floats(1, 6, low=0.1),
            "offset": SubByte(ints(1, 6, low=-8, high=8, dtype=np.int8), "int4"),
        },
        expected=lambda data, scale, offset: scale * (data.astype(float) - offset),
        variable=(),
        opset="CoreML8",
    ),
    Case(
        op="constexpr_blockwise_shift_scale",
        inputs={
            "data": SubByte(ints(4, 6, low=0, high=16, dtype=np.uint8), "uint4"),
            "scale": floats(4, 1, low=0.1),
            "offset": floats(4, 1),
        },
        expected=lambda data, scale, offset: scale * (data.astype(float) - offset),
        variable=(),
        opset="CoreML8",
    ),
    Case(
        op="constexpr_lut_to_sparse",
        inputs={
            "indices_mask": SubByte(KEPT.astype(np.uint8), "uint1"),
            "indices_nonzero_data": SubByte(ints(HELD, low=0, high=4, dtype=np.uint8), "uint2"),
            "lut": floats(1, 1, 4, 1),
        },
        expected=lambda indices_mask, indices_nonzero_data, lut: (
            KEPT,
            lut[0, 0, :, 0][indices_nonzero_data],
        ),
        variable=(),
        opset="CoreML8",
    ),
    *[
        Case(
            op="constexpr_sparse_blockwise_shift_scale",
            inputs={
                "data_mask": SubByte(KEPT.astype(np.uint8), "uint1"),
                "nonzero_data": ints(HELD, low=-128, high=128, dtype=np.int8),
                "scale": floats(1, 6, low=0.1),
                **more,
            },
            expected=lambda data_mask, nonzero_data, scale, offset=NO_OFFSET: (
                KEPT,
                np.array(
                    [
                        scale[0, c] * (float(v) - float(offset[0, c]))
                        for v, c in zip(nonzero_data, np.argwhere(KEPT)[:, 1], strict=True)
                    ]
                ),
            ),
            variable=(),
            opset="CoreML8",
        )
        for more in ({}, {"offset": ints(1, 6, dtype=np.int8)})
    ],
]

CASES = [*QUANTIZED, *COMPRESSED]
