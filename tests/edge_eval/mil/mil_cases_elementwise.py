"""Cases of the elementwise operations, activations and reductions."""

import numpy as np
import scipy.special
from mil_case import Case, bools, floats, ints, per_channel, sigmoid

X = floats(2, 3, 4, 5)
UNIT = floats(2, 3, 4, low=-0.9, high=0.9)
POSITIVE = floats(2, 3, 4, low=0.1, high=4)

UNARY = {
    "abs": (X, np.abs),
    "acos": (UNIT, np.arccos),
    "asin": (UNIT, np.arcsin),
    "atan": (X, np.arctan),
    "atanh": (UNIT, np.arctanh),
    "ceil": (X, np.ceil),
    "cos": (X, np.cos),
    "cosh": (X, np.cosh),
    "erf": (X, scipy.special.erf),
    "exp": (X, np.exp),
    "exp2": (X, lambda x: 2.0**x),
    "floor": (X, np.floor),
    "sign": (X, np.sign),
    "sin": (X, np.sin),
    "sinh": (X, np.sinh),
    "sqrt": (POSITIVE, np.sqrt),
    "square": (X, lambda x: x * x),
    "tan": (UNIT, np.tan),
    "tanh": (X, np.tanh),
    "relu": (X, lambda x: np.maximum(x, 0)),
    "relu6": (X * 4, lambda x: np.clip(x, 0, 6)),
    "sigmoid": (X, scipy.special.expit),
    "silu": (X, lambda x: x * sigmoid(x)),
    "softplus": (X * 4, lambda x: np.log1p(np.exp(x))),
    "softsign": (X, lambda x: x / (1 + np.abs(x))),
    "identity": (X, lambda x: x),
}
BINARY = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "real_div": np.divide,
    "floor_div": lambda x, y: np.floor(x / y),
    "mod": lambda x, y: x - y * np.floor(x / y),
    "equal": np.equal,
    "not_equal": np.not_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
}
COMPARED = floats(3, 4).round()


def _pairs() -> list[Case]:
    """Every binary operation on floats that broadcast, and on integers where it takes those."""
    cases = []
    for op, f in BINARY.items():
        x, y = (COMPARED, floats(1, 4).round()) if "equal" in op else (floats(3, 4), floats(2, 1, 4, low=0.5))
        cases.append(
            Case(op=op, inputs={"x": x, "y": y}, expected=lambda x, y, f=f: f(x, y), variable=("x", "y"))
        )
        if op != "real_div":
            x, y = ints(3, 4), np.where(ints(1, 4) < 0, -2, 3).astype(np.int32)
            cases.append(Case(op=op, inputs={"x": x, "y": y}, expected=lambda x, y, f=f: f(x, y)))
    return cases


REDUCTIONS = {
    "reduce_sum": np.sum,
    "reduce_mean": np.mean,
    "reduce_max": np.max,
    "reduce_min": np.min,
    "reduce_prod": np.prod,
    "reduce_l1_norm": lambda x, **k: np.abs(x).sum(**k),
    "reduce_l2_norm": lambda x, **k: np.sqrt((x**2).sum(**k)),
    "reduce_sum_square": lambda x, **k: (x**2).sum(**k),
    "reduce_log_sum": lambda x, **k: np.log(x.sum(**k)),
    "reduce_log_sum_exp": lambda x, **k: scipy.special.logsumexp(x, **k),
}


def _reductions() -> list[Case]:
    cases = []
    for op, f in REDUCTIONS.items():
        x = POSITIVE if op != "reduce_prod" else floats(2, 3, 4, low=0.5, high=1.5)
        for options in ({}, {"axes": [1, -1]}, {"axes": [-3], "keep_dims": True}):
            cases.append(
                Case(
                    op=op,
                    inputs={"x": x, **options},
                    expected=lambda x, axes=None, keep_dims=False, f=f: f(
                        x, axis=None if axes is None else tuple(axes), keepdims=keep_dims
                    ),
                )
            )
    for op in ("reduce_sum", "reduce_max", "reduce_prod", "reduce_sum_square", "reduce_l1_norm"):
        cases.append(
            Case(
                op=op,
                inputs={"x": ints(3, 4), "axes": [1]},
                expected=lambda x, axes, f=REDUCTIONS[op]: f(x, axis=1),
            )
        )
    for op, g in (("reduce_argmax", np.argmax), ("reduce_argmin", np.argmin)):
        cases.append(Case(op=op, inputs={"x": X}, expected=lambda x, g=g: g(x, axis=-1)))
        cases.append(
            Case(
                op=op,
                inputs={"x": X, "axis": 1, "keep_dims": True, "output_dtype": "uint16"},
                expected=lambda x, g=g, **_: g(x, axis=1)[:, None],
            )
        )
    return cases


ACTIVATIONS = [
    Case(op="gelu", inputs={"x": X}, expected=lambda x: x * scipy.special.ndtr(x)),
    Case(
        op="gelu",
        inputs={"x": X, "mode": "TANH_APPROXIMATION"},
        expected=lambda x, mode: x * sigmoid(2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)),
    ),
    Case(
        op="gelu",
        inputs={"x": X, "mode": "SIGMOID_APPROXIMATION"},
        expected=lambda x, mode: x / (1 + np.exp(-1.702 * x)),
    ),
    Case(
        op="clamped_relu",
        inputs={"x": X, "alpha": 0.25, "beta": 1.5},
        expected=lambda x, alpha, beta: np.minimum(np.where(x < 0, alpha * x, x), beta),
    ),
    Case(
        op="clamped_relu",
        inputs={"x": X, "alpha": -2.0, "beta": 1.5},
        expected=lambda x, alpha, beta: np.minimum(np.where(x < 0, alpha * x, x), beta),
    ),
    Case(
        op="thresholded_relu",
        inputs={"x": X, "alpha": 0.5},
        expected=lambda x, alpha: x * (x >= alpha),
        inferred=False,  # coremltools' inference writes into its own input
    ),
    Case(
        op="leaky_relu",
        inputs={"x": X, "alpha": 0.125},
        expected=lambda x, alpha: np.maximum(x, 0) + alpha * np.minimum(x, 0),
    ),
    Case(
        op="prelu",
        inputs={"x": X, "alpha": floats(3, low=0)},
        expected=lambda x, alpha: np.maximum(x, 0) + per_channel(alpha, 4) * np.minimum(x, 0),
    ),
    Case(
        op="elu",
        inputs={"x": X, "alpha": 0.5},
        expected=lambda x, alpha: np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0)),
    ),
    Case(
        op="sigmoid_hard",
        inputs={"x": X, "alpha": 0.25, "beta": 0.5},
        expected=lambda x, alpha, beta: np.clip(0.25 * x + 0.5, 0, 1),
    ),
    Case(
        op="softplus_parametric",
        inputs={"x": X, "alpha": floats(3), "beta": floats(3)},
        expected=lambda x, alpha, beta: per_channel(alpha, 4) * np.log1p(np.exp(per_channel(beta, 4) * x)),
    ),
    Case(
        op="scaled_tanh",
        inputs={"x": X, "alpha": 1.5, "beta": 0.5},
        expected=lambda x, alpha, beta: alpha * np.tanh(beta * x),
    ),
    Case(
        op="linear_activation",
        inputs={"x": X, "alpha": 1.5, "beta": 0.5},
        expected=lambda x, alpha, beta: alpha * x + beta,
    ),
    Case(op="softmax", inputs={"x": X}, expected=lambda x: scipy.special.softmax(x, axis=-1)),
    Case(
        op="softmax",
        inputs={"x": X * 20, "axis": 1},
        expected=lambda x, axis: scipy.special.softmax(x, axis=1),
    ),
]

ELEMENTWISE = [
    *[Case(op=op, inputs={"x": x}, expected=lambda x, f=f: f(x)) for op, (x, f) in UNARY.items()],
    *[
        Case(op=op, inputs={"x": ints(2, 3)}, expected=lambda x, f=UNARY[op][1]: f(x))
        for op in ("abs", "sign", "square")
    ],
    Case(op="exp2", inputs={"x": ints(2, 3, low=0)}, expected=lambda x: 2**x),
    Case(
        op="round",
        inputs={"x": np.float32([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 2.6])},
        expected=lambda x: np.rint(x),
    ),
    Case(op="round", inputs={"x": X}, expected=lambda x: np.rint(x)),
    Case(
        op="clip",
        inputs={"x": X, "alpha": -1.0, "beta": 0.5},
        expected=lambda x, alpha, beta: np.clip(x, -1, 0.5),
    ),
    Case(op="threshold", inputs={"x": X, "alpha": 0.5}, expected=lambda x, alpha: np.maximum(x, alpha)),
    Case(op="inverse", inputs={"x": POSITIVE}, expected=lambda x: 1 / (x + 1e-4)),
    Case(op="inverse", inputs={"x": POSITIVE, "epsilon": 0.5}, expected=lambda x, epsilon: 1 / (x + 0.5)),
    Case(op="log", inputs={"x": POSITIVE}, expected=lambda x: np.log(x)),
    Case(op="log", inputs={"x": POSITIVE, "epsilon": 0.5}, expected=lambda x, epsilon: np.log(x + 0.5)),
    Case(op="rsqrt", inputs={"x": POSITIVE}, expected=lambda x: x**-0.5),
    Case(op="rsqrt", inputs={"x": POSITIVE, "epsilon": 0.5}, expected=lambda x, epsilon: (x + 0.5) ** -0.5),
    Case(
        op="pow",
        inputs={"x": POSITIVE, "y": floats(4)},
        expected=lambda x, y: np.exp(y * np.log(x)),
        variable=("x", "y"),
    ),
    Case(op="logical_not", inputs={"x": bools(3, 4)}, expected=lambda x: ~x),
    Case(
        op="logical_and",
        inputs={"x": bools(3, 4), "y": bools(4)},
        expected=lambda x, y: x & y,
        variable=("x", "y"),
    ),
    Case(
        op="logical_or",
        inputs={"x": bools(3, 4), "y": bools(4)},
        expected=lambda x, y: x | y,
        variable=("x", "y"),
    ),
    Case(
        op="logical_xor",
        inputs={"x": bools(3, 4), "y": bools(4)},
        expected=lambda x, y: x ^ y,
        variable=("x", "y"),
    ),
    Case(
        op="select",
        inputs={"cond": bools(3, 4), "a": floats(3, 4), "b": floats(3, 4)},
        expected=lambda cond, a, b: cond * a + ~cond * b,
        variable=("cond", "a", "b"),
    ),
    *[
        Case(op="cast", inputs={"x": X * 9, "dtype": dtype}, expected=lambda x, dtype: np.trunc(x))
        for dtype in ("int32", "int8", "int16")
    ],
    *[
        Case(op="cast", inputs={"x": POSITIVE * 9, "dtype": dtype}, expected=lambda x, dtype: np.trunc(x))
        for dtype in ("uint8", "uint16")
    ],
    Case(
        op="cast", inputs={"x": ints(3, 4, low=0, high=2), "dtype": "bool"}, expected=lambda x, dtype: x != 0
    ),
    Case(
        op="cast",
        inputs={"x": np.float32([1 + 2**-11, 1 + 3 * 2**-11, 1 / 3, 65503]), "dtype": "fp16"},
        expected=lambda x, dtype: x.astype(np.float16).astype(np.float64),
        fixed=("x",),
    ),
    Case(op="cast", inputs={"x": ints(3, 4), "dtype": "fp32"}, expected=lambda x, dtype: x),
]

CASES = [*ELEMENTWISE, *_pairs(), *ACTIVATIONS, *_reductions()]
