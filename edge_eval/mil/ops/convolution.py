"""Convolutions and matrix products: accumulated in float32, the bias included, then rounded once."""

import torch
import torch.nn.functional as F

from ..registry import Tensor, kernel
from .windows import Sides, flat_for_torch, ones, paddings

CONVOLUTIONS = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}
TRANSPOSED = {3: F.conv_transpose1d, 4: F.conv_transpose2d, 5: F.conv_transpose3d}


@kernel()
def conv(
    *,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    strides: tuple[int, ...] | None = None,
    pad_type: str = "valid",
    pad: tuple[int, ...] | None = None,
    dilations: tuple[int, ...] | None = None,
    groups: int = 1,
) -> Tensor:
    """The convolution of x (N, C_in, spatial) with weight (C_out, C_in / groups, taps)."""
    strides, dilations = strides or ones(x), dilations or ones(x)
    pads = paddings(
        pad_type=pad_type,
        pad=pad,
        spatial=tuple(x.shape[2:]),
        kernel=tuple(weight.shape[2:]),
        strides=strides,
        dilations=dilations,
    )
    padding = [before for before, _ in pads]
    if any(before != after for before, after in pads):
        x, padding = F.pad(x, flat_for_torch(pads)), [0] * len(pads)
    return CONVOLUTIONS[x.ndim](x, weight, bias, strides, padding, dilations, groups)


@kernel()
def conv_transpose(
    *,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    pad: tuple[int, ...] | None = None,
    output_shape: tuple[int, ...] | None = None,
    pad_type: str = "valid",
    strides: tuple[int, ...] | None = None,
    dilations: tuple[int, ...] | None = None,
    groups: int = 1,
) -> Tensor:
    """The transposed convolution of x (N, C_in, spatial) with weight (C_in, C_out / groups, taps).

    Padding is cut off the whole result; `same` gives side * stride outputs and cuts an odd element after.
    """
    strides, dilations = strides or ones(x), dilations or ones(x)
    whole = TRANSPOSED[x.ndim](x, weight, None, strides, 0, 0, groups, dilations)
    sides = _transposed_sides(
        spatial=tuple(x.shape[2:]),
        whole=tuple(whole.shape[2:]),
        pad_type=pad_type,
        pad=pad,
        strides=strides,
        output_shape=output_shape,
    )
    for axis, (begin, side) in enumerate(sides, start=2):
        missing = begin + side - whole.shape[axis]
        if missing > 0:
            rest = list(whole.shape)
            rest[axis] = missing
            whole = torch.cat([whole, whole.new_zeros(rest)], axis)
        whole = whole.narrow(axis, begin, side)
    return whole if bias is None else whole + bias.reshape(-1, *ones(x))


def _transposed_sides(
    *,
    spatial: Sides,
    whole: Sides,
    pad_type: str,
    pad: Sides | None,
    strides: Sides,
    output_shape: Sides | None,
) -> list[tuple[int, int]]:
    """(first element kept, elements kept) along each spatial axis of the whole result."""
    asked = output_shape[2:] if output_shape else None
    if pad_type == "same":
        kept = asked or tuple(side * stride for side, stride in zip(spatial, strides, strict=True))
        return [(max(0, all_ - side) // 2, side) for all_, side in zip(whole, kept, strict=True)]
    pads = paddings(
        pad_type=pad_type, pad=pad, spatial=spatial, kernel=whole, strides=strides, dilations=strides
    )
    kept = asked or tuple(all_ - before - after for all_, (before, after) in zip(whole, pads, strict=True))
    return [(before, side) for (before, _), side in zip(pads, kept, strict=True)]


@kernel()
def linear(*, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """X (..., D_in) times the transpose of weight (D_out, D_in), plus bias."""
    return F.linear(x, weight, bias)


@kernel()
def matmul(*, x: Tensor, y: Tensor, transpose_x: bool = False, transpose_y: bool = False) -> Tensor:
    """The matrix product over the last two axes, the other ones broadcast; one axis is as in numpy."""
    left = x.transpose(-1, -2) if transpose_x and x.ndim > 1 else x
    right = y.transpose(-1, -2) if transpose_y and y.ndim > 1 else y
    return torch.matmul(left, right)


@kernel()
def einsum(*, values: list[Tensor], equation: str) -> Tensor:
    """The product and sum that `equation` says."""
    return torch.einsum(equation, *values)


@kernel(since="CoreML8")
def scaled_dot_product_attention(
    *, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None
) -> Tensor:
    """softmax(query key^T / sqrt(d) + mask) value; a boolean mask forbids where it is false."""
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, -torch.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask
    return torch.softmax(scores, -1) @ value
