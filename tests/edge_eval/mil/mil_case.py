"""What a case of a kernel is, and reference formulas in float64 numpy, written unlike the kernels."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

RANDOM = np.random.default_rng(20240229)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One call of one operation.

    Attributes:
        op: MIL's name.
        inputs: by name; float32 arrays and Python floats are made float16 for float16 programs.
        expected: takes the inputs by keyword (floats as float64) and gives the result, or a tuple of results.
        variable: which inputs are inputs of the program; the rest are constants.
        opset: the oldest operation set to write the program in.
        fixed: inputs that keep float32 in float16 programs.
        floor: absolute tolerance, relative to the largest expected value, on top of one rounding.
        inferred: whether coremltools' own value inference, where there is one, gives the result too.
    """

    op: str
    inputs: Mapping[str, Any]
    expected: Callable[..., Any]
    variable: tuple[str, ...] = ("x",)
    opset: str = "CoreML7"
    fixed: tuple[str, ...] = ()
    floor: float = 2e-6
    inferred: bool = True


@dataclass(frozen=True)
class SubByte:
    """Integers that the file holds in fewer than 8 bits each; `kind` is coremltools' name, say `uint4`."""

    values: np.ndarray
    kind: str


def floats(*shape: int, low: float = -3.0, high: float = 3.0) -> np.ndarray:
    """Random numbers that float16 holds exactly, so that both precisions see the same inputs."""
    return RANDOM.uniform(low, high, shape).astype(np.float16).astype(np.float32)


def ints(*shape: int, low: int = -9, high: int = 10, dtype: Any = np.int32) -> np.ndarray:
    """Random integers from low up to, without, high."""
    return RANDOM.integers(low, high, shape).astype(dtype)


def bools(*shape: int) -> np.ndarray:
    """Random truth values."""
    return RANDOM.integers(0, 2, shape).astype(bool)


def per_channel(vector: Any, rank: int, axis: int = 1) -> np.ndarray:
    """A vector with axes of length 1 around it, to broadcast along `axis`."""
    return np.expand_dims(vector, tuple(i for i in range(rank) if i != axis))


def padded(x: np.ndarray, pads: list[tuple[int, int]], value: float = 0.0) -> np.ndarray:
    """`x` padded along its last axes."""
    return np.pad(x, [(0, 0)] * (x.ndim - len(pads)) + pads, constant_values=value)


def same_pads(
    sides: Any, taps: Any, strides: Any, dilations: Any, *, lower: bool = False
) -> list[tuple[int, int]]:
    """TensorFlow's SAME padding; `lower` puts the odd element before."""
    pads = []
    for side, tap, stride, dilation in zip(sides, taps, strides, dilations, strict=True):
        total = max(0, (int(np.ceil(side / stride)) - 1) * stride + (tap - 1) * dilation + 1 - side)
        pads.append((total - total // 2, total // 2) if lower else (total // 2, total - total // 2))
    return pads


def conv_by_taps(
    x: np.ndarray, weight: np.ndarray, bias: Any, strides: Any, pads: Any, dilations: Any, groups: int
) -> np.ndarray:
    """A convolution as the sum over taps of shifted matrix products."""
    x = padded(x, list(pads))
    sides = [
        (x.shape[2 + i] - (weight.shape[2 + i] - 1) * dilations[i] - 1) // strides[i] + 1
        for i in range(x.ndim - 2)
    ]
    out = np.zeros((x.shape[0], weight.shape[0], *sides))
    inner, outer = weight.shape[1], weight.shape[0] // groups
    for tap in np.ndindex(*weight.shape[2:]):
        window = tuple(
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, n, s in zip(tap, dilations, sides, strides, strict=True)
        )
        for g in range(groups):
            part = x[(slice(None), slice(g * inner, (g + 1) * inner), *window)]
            out[:, g * outer : (g + 1) * outer] += np.einsum(
                "nc...,oc->no...", part, weight[(slice(g * outer, (g + 1) * outer), slice(None), *tap)]
            )
    return out if bias is None else out + per_channel(bias, x.ndim)


def transposed_by_scatter(
    x: np.ndarray, weight: np.ndarray, bias: Any, strides: Any, keep: Any, dilations: Any, groups: int
) -> np.ndarray:
    """A transposed convolution: every input element adds its kernel; `keep`: (first, count) per axis."""
    whole = [
        (x.shape[2 + i] - 1) * strides[i] + (weight.shape[2 + i] - 1) * dilations[i] + 1
        for i in range(x.ndim - 2)
    ]
    room = [max(w, first + count) for w, (first, count) in zip(whole, keep, strict=True)]
    inner, outer = weight.shape[0] // groups, weight.shape[1]
    out = np.zeros((x.shape[0], outer * groups, *room))
    for place in np.ndindex(*x.shape[2:]):
        for tap in np.ndindex(*weight.shape[2:]):
            spot = tuple(p * s + t * d for p, s, t, d in zip(place, strides, tap, dilations, strict=True))
            for g in range(groups):
                at = (slice(None), slice(g * outer, (g + 1) * outer), *spot)
                out[at] += (
                    x[(slice(None), slice(g * inner, (g + 1) * inner), *place)]
                    @ weight[(slice(g * inner, (g + 1) * inner), slice(None), *tap)]
                )
    out = out[(slice(None), slice(None), *(slice(first, first + count) for first, count in keep))]
    return out if bias is None else out + per_channel(bias, x.ndim)


def pooled(
    x: np.ndarray, sizes: Any, strides: Any, pads: Any, counts: Any, reduce: Callable[[np.ndarray], Any]
) -> Any:
    """`reduce` over the real elements of each window, cut at the border. `counts`: windows per axis."""
    out = np.zeros((*x.shape[:2], *counts))
    for place in np.ndindex(*counts):
        window = []
        for p, size, stride, (before, _), side in zip(place, sizes, strides, pads, x.shape[2:], strict=True):
            start = p * stride - before
            window.append(slice(max(0, start), min(side, start + size)))
        out[(slice(None), slice(None), *place)] = reduce(
            x[(slice(None), slice(None), *window)].reshape(*x.shape[:2], -1)
        )
    return out


def grid(mode: str, given: int, wanted: int) -> np.ndarray:
    """Sampling points as the notes of `resize_bilinear` write them, one by one."""
    points = []
    for i in range(wanted):
        if mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
            point = (
                i * (given - 1) / (wanted - 1) if wanted > 1 else (given - 1) / 2 * (mode == "ALIGN_CORNERS")
            )
        elif mode == "DEFAULT":
            point = i * (given - given / wanted) / (wanted - 1) if wanted > 1 else 0.0
        elif mode == "OFFSET_CORNERS":
            point = 0.5 * max(1, given - 1) / wanted + i * max(1, given - 1) / wanted
        else:
            point = i * given / wanted + 0.5 * given / wanted - 0.5
        points.append(min(given - 1, max(0, point)))
    return np.array(points)


def interpolated(x: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The last two axes of `x` at those points, by hat functions."""
    hats = [
        np.maximum(0, 1 - np.abs(p[:, None] - np.arange(n)))
        for p, n in ((rows, x.shape[-2]), (columns, x.shape[-1]))
    ]
    return hats[0] @ x @ hats[1].T


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))
