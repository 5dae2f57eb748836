"""Cases of normalizations, convolutions, matrix products and pooling."""

import numpy as np
import scipy.special
from mil_case import Case, conv_by_taps, floats, per_channel, pooled, same_pads, transposed_by_scatter

X = floats(2, 3, 4, 5)

NORMALIZATIONS = [
    Case(
        op="batch_norm",
        inputs={"x": X, "mean": floats(3), "variance": floats(3, low=0.5)},
        expected=lambda x, mean, variance: (
            (x - per_channel(mean, 4)) / per_channel(np.sqrt(variance + 1e-5), 4)
        ),
    ),
    Case(
        op="batch_norm",
        inputs={
            "x": X,
            "mean": floats(3),
            "variance": floats(3, low=0.5),
            "gamma": floats(3),
            "beta": floats(3),
            "epsilon": 0.5,
        },
        expected=lambda x, mean, variance, gamma, beta, epsilon: (
            (x - per_channel(mean, 4)) * per_channel(gamma / np.sqrt(variance + epsilon), 4)
            + per_channel(beta, 4)
        ),
    ),
    Case(
        op="instance_norm",
        inputs={"x": X},
        expected=lambda x: (x - x.mean((2, 3), keepdims=True)) / np.sqrt(x.var((2, 3), keepdims=True) + 1e-5),
    ),
    Case(
        op="instance_norm",
        inputs={"x": X, "gamma": floats(3), "beta": floats(3), "epsilon": 0.25},
        expected=lambda x, gamma, beta, epsilon: (
            (x - x.mean((2, 3), keepdims=True))
            / np.sqrt(x.var((2, 3), keepdims=True) + epsilon)
            * per_channel(gamma, 4)
            + per_channel(beta, 4)
        ),
    ),
    Case(
        op="layer_norm",
        inputs={"x": X, "axes": [1, -1], "gamma": floats(3, 5), "beta": floats(3, 5), "epsilon": 0.25},
        expected=lambda x, axes, gamma, beta, epsilon: (
            (x - x.mean((1, 3), keepdims=True))
            / np.sqrt(x.var((1, 3), keepdims=True) + epsilon)
            * gamma[None, :, None, :]
            + beta[None, :, None, :]
        ),
    ),
    Case(
        op="layer_norm",
        inputs={"x": X, "axes": [0, 1, 2, 3]},
        expected=lambda x, axes: (x - x.mean()) / np.sqrt(x.var() + 1e-5),
    ),
    Case(
        op="l2_norm",
        inputs={"x": X},
        expected=lambda x: x / np.sqrt(np.einsum("nchw,nchw->n", x, x) + 1e-6)[:, None, None, None],
    ),
    Case(
        op="l2_norm",
        inputs={"x": X, "epsilon": 2.0},
        expected=lambda x, epsilon: x / np.sqrt(np.einsum("nchw,nchw->n", x, x) + 2)[:, None, None, None],
    ),
    *[
        Case(
            op="local_response_norm",
            inputs={"x": floats(2, 6, 3, 3), "size": 3, **options},
            expected=lambda x, size, alpha=1e-4, beta=0.75, k=1.0: (
                x
                / np.stack(
                    [(k + alpha / 3 * (x[:, max(0, c - 1) : c + 2] ** 2).sum(1)) ** beta for c in range(6)],
                    axis=1,
                )
            ),
        )
        for options in ({}, {"alpha": 0.5, "beta": 0.5, "k": 2.0})
    ],
]

IMAGE = floats(2, 4, 9, 8, low=-1, high=1)
KERNEL = floats(6, 4, 3, 3, low=-1, high=1)
BIAS = floats(6)
CONVOLUTIONS = [
    Case(
        op="conv",
        inputs={"x": IMAGE, "weight": KERNEL},
        expected=lambda x, weight: conv_by_taps(x, weight, None, (1, 1), [(0, 0)] * 2, (1, 1), 1),
    ),
    Case(
        op="conv",
        inputs={"x": IMAGE, "weight": KERNEL, "bias": BIAS, "pad_type": "custom", "pad": [1, 1, 1, 1]},
        expected=lambda x, weight, bias, **_: conv_by_taps(x, weight, bias, (1, 1), [(1, 1)] * 2, (1, 1), 1),
    ),
    Case(
        op="conv",
        inputs={
            "x": IMAGE,
            "weight": floats(6, 2, 2, 3),
            "bias": BIAS,
            "pad_type": "custom",
            "pad": [0, 2, 3, 1],
            "strides": [2, 3],
            "dilations": [2, 1],
            "groups": 2,
        },
        expected=lambda x, weight, bias, **_: conv_by_taps(
            x, weight, bias, (2, 3), [(0, 2), (3, 1)], (2, 1), 2
        ),
    ),
    *[
        Case(
            op="conv",
            inputs={"x": IMAGE, "weight": floats(6, 4, 2, 4), "pad_type": pad_type, "strides": [1, 2]},
            expected=lambda x, weight, pad_type, strides: conv_by_taps(
                x,
                weight,
                None,
                (1, 2),
                same_pads((9, 8), (2, 4), (1, 2), (1, 1), lower=pad_type == "same_lower"),
                (1, 1),
                1,
            ),
        )
        for pad_type in ("same", "same_lower")
    ],
    Case(
        op="conv",
        inputs={"x": floats(1, 3, 11), "weight": floats(4, 3, 3), "dilations": [3]},
        expected=lambda x, weight, dilations: conv_by_taps(x, weight, None, (1,), [(0, 0)], (3,), 1),
    ),
    Case(
        op="conv",
        inputs={"x": floats(1, 2, 4, 5, 6), "weight": floats(3, 2, 2, 2, 2), "bias": floats(3)},
        expected=lambda x, weight, bias: conv_by_taps(x, weight, bias, (1,) * 3, [(0, 0)] * 3, (1,) * 3, 1),
    ),
    Case(
        op="conv_transpose",
        inputs={"x": floats(1, 4, 5, 4), "weight": floats(4, 3, 3, 2)},
        expected=lambda x, weight: transposed_by_scatter(
            x, weight, None, (1, 1), [(0, 7), (0, 5)], (1, 1), 1
        ),
    ),
    Case(
        op="conv_transpose",
        inputs={
            "x": floats(1, 4, 5, 4),
            "weight": floats(4, 3, 3, 2),
            "bias": floats(6),
            "pad_type": "custom",
            "pad": [1, 0, 0, 1],
            "strides": [2, 3],
            "dilations": [1, 2],
            "groups": 2,
        },
        expected=lambda x, weight, bias, **_: transposed_by_scatter(
            x, weight, bias, (2, 3), [(1, 10), (0, 11)], (1, 2), 2
        ),
    ),
    Case(
        op="conv_transpose",
        inputs={"x": floats(1, 4, 5, 4), "weight": floats(4, 3, 3, 4), "pad_type": "same", "strides": [2, 2]},
        expected=lambda x, weight, **_: transposed_by_scatter(
            x, weight, None, (2, 2), [(0, 10), (1, 8)], (1, 1), 1
        ),
    ),
    Case(
        op="conv_transpose",
        inputs={
            "x": floats(1, 4, 5, 4),
            "weight": floats(4, 3, 2, 2),
            "bias": floats(3),
            "pad_type": "custom",
            "pad": [1, 1, 0, 0],
            "output_shape": [1, 3, 9, 9],
            "strides": [2, 2],
        },
        expected=lambda x, weight, bias, **_: transposed_by_scatter(
            x, weight, bias, (2, 2), [(1, 9), (0, 9)], (1, 1), 1
        ),
    ),
    Case(
        op="linear",
        inputs={"x": floats(2, 3, 4), "weight": floats(5, 4)},
        expected=lambda x, weight: x @ weight.T,
    ),
    Case(
        op="linear",
        inputs={"x": floats(3, 4), "weight": floats(5, 4), "bias": floats(5)},
        expected=lambda x, weight, bias: np.einsum("ni,oi->no", x, weight) + bias,
    ),
    Case(
        op="matmul",
        inputs={"x": floats(2, 3, 4), "y": floats(4, 5)},
        expected=lambda x, y: np.einsum("bij,jk->bik", x, y),
        variable=("x", "y"),
    ),
    Case(
        op="matmul",
        inputs={"x": floats(2, 4, 3), "y": floats(2, 5, 4), "transpose_x": True, "transpose_y": True},
        expected=lambda x, y, **_: np.einsum("bji,bkj->bik", x, y),
        variable=("x", "y"),
    ),
    Case(
        op="einsum",
        inputs={"values": (floats(1, 3, 4, 5), floats(1, 5, 4, 6)), "equation": "nchw,nwhu->nchu"},
        expected=lambda values, equation: np.einsum(equation, *values),
        variable=("values",),
    ),
    Case(
        op="scaled_dot_product_attention",
        inputs={"query": floats(1, 2, 4, 8), "key": floats(1, 2, 5, 8), "value": floats(1, 2, 5, 6)},
        expected=lambda query, key, value: (
            scipy.special.softmax(np.einsum("bhqe,bhke->bhqk", query, key) / np.sqrt(8), axis=-1) @ value
        ),
        variable=("query", "key", "value"),
        opset="CoreML8",
    ),
    Case(
        op="scaled_dot_product_attention",
        inputs={
            "query": floats(1, 4, 8),
            "key": floats(1, 5, 8),
            "value": floats(1, 5, 6),
            "attn_mask": np.array([[True, True, False, True, False]] * 4),
        },
        expected=lambda query, key, value, attn_mask: (
            scipy.special.softmax(query @ key[:, [0, 1, 3]].transpose(0, 2, 1) / np.sqrt(8), axis=-1)
            @ value[:, [0, 1, 3]]
        ),
        variable=("query", "key", "value"),
        opset="CoreML8",
    ),
    Case(
        op="scaled_dot_product_attention",
        inputs={
            "query": floats(1, 4, 8),
            "key": floats(1, 5, 8),
            "value": floats(1, 5, 6),
            "attn_mask": floats(4, 5),
        },
        expected=lambda query, key, value, attn_mask: (
            scipy.special.softmax(query @ key.transpose(0, 2, 1) / np.sqrt(8) + attn_mask, axis=-1) @ value
        ),
        variable=("query", "key", "value", "attn_mask"),
        opset="CoreML8",
    ),
]


def _pools() -> list[Case]:
    """Each pooling with no, custom and same padding, and rounded up."""
    image = floats(1, 2, 9, 8)
    ways = [
        ({"pad_type": "valid"}, (1, 1), [(0, 0), (0, 0)], (7, 7)),
        ({"pad_type": "custom", "pad": [1, 0, 1, 1], "strides": [2, 2]}, (2, 2), [(1, 0), (1, 1)], (4, 5)),
        ({"pad_type": "same", "strides": [2, 3]}, (2, 3), same_pads((9, 8), (3, 2), (2, 3), (1, 1)), (5, 3)),
        ({"pad_type": "same_lower"}, (1, 1), same_pads((9, 8), (3, 2), (1, 1), (1, 1), lower=True), (9, 8)),
        (
            {"pad_type": "custom", "pad": [1, 1, 0, 0], "strides": [3, 3], "ceil_mode": True},
            (3, 3),
            [(1, 1), (0, 0)],
            (4, 3),
        ),
        ({"pad_type": "valid", "strides": [2, 2], "ceil_mode": True}, (2, 2), [(0, 0), (0, 0)], (4, 4)),
    ]
    reduces = {
        "max_pool": lambda w: w.max(-1),
        "l2_pool": lambda w: np.sqrt((w * w).sum(-1)),
        "avg_pool": lambda w: w.mean(-1),
    }
    cases = []
    for op, reduce in reduces.items():
        for options, strides, pads, counts in ways:
            more = {"exclude_padding_from_average": True} if op == "avg_pool" else {}
            cases.append(
                Case(
                    op=op,
                    inputs={"x": image, "kernel_sizes": [3, 2], **options, **more},
                    expected=lambda x, s=strides, p=pads, c=counts, r=reduce, **_: pooled(
                        x, (3, 2), s, p, c, r
                    ),
                )
            )
    cases.append(
        Case(
            op="avg_pool",
            inputs={
                "x": image,
                "kernel_sizes": [3, 2],
                "pad_type": "custom",
                "pad": [1, 0, 1, 1],
                "strides": [2, 2],
            },
            expected=lambda x, **_: (
                pooled(x, (3, 2), (2, 2), [(1, 0), (1, 1)], (4, 5), lambda w: w.sum(-1)) / 6
            ),
        )
    )
    return cases


CASES = [*NORMALIZATIONS, *CONVOLUTIONS, *_pools()]
