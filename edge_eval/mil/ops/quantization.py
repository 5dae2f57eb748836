"""Quantize and dequantize at run time. Rounding is half to even; integers are exact."""

import torch

from ..registry import Tensor, kernel
from ..types import ELEMENT_TYPES


def along_axis(parameter: Tensor, x: Tensor, axis: int | None) -> Tensor:
    """A scalar, or a vector over `axis` of `x`, ready to broadcast against `x`."""
    if not parameter.ndim or axis is None:
        return parameter
    return parameter.reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])


@kernel(since="CoreML7", stored=True)
def quantize(
    *,
    input: Tensor,
    zero_point: Tensor | None = None,
    scale: Tensor,
    axis: int | None = None,
    output_dtype: str,
) -> Tensor:
    """clip(round(input / scale) + zero_point) in `output_dtype`; the quotient is a float32."""
    dtype = ELEMENT_TYPES[output_dtype].torch
    steps = torch.round(input.float() / along_axis(scale.float(), input, axis))
    if zero_point is not None:
        steps = steps + along_axis(zero_point.float(), input, axis)
    limits = torch.iinfo(dtype)
    return steps.clamp(limits.min, limits.max).to(dtype)


@kernel(since="CoreML7", stored=True)
def dequantize(
    *, input: Tensor, zero_point: Tensor | None = None, scale: Tensor, axis: int | None = None
) -> Tensor:
    """Scale * (input - zero_point) in the type of the scale, rounded once."""
    steps = input.float()
    if zero_point is not None:
        steps = steps - along_axis(zero_point.float(), input, axis)
    return (steps * along_axis(scale.float(), input, axis)).to(scale.dtype)
