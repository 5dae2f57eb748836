"""Pooling over windows of the spatial axes."""

import torch
import torch.nn.functional as F

from ..registry import Tensor, kernel
from .windows import Sides, flat_for_torch, ones, paddings


@kernel()
def avg_pool(
    *,
    x: Tensor,
    kernel_sizes: tuple[int, ...],
    strides: tuple[int, ...] | None = None,
    pad_type: str,
    pad: tuple[int, ...] | None = None,
    exclude_padding_from_average: bool = False,
    ceil_mode: bool = False,
) -> Tensor:
    """The mean of each window; padding counts as zeros, or not at all."""
    steps = strides or ones(x)
    pads, more = _pads(x, sizes=kernel_sizes, strides=steps, pad_type=pad_type, pad=pad, ceil_mode=ceil_mode)
    counted = torch.ones_like(x[:1, :1])
    counted = F.pad(counted, flat_for_torch(pads), value=0.0 if exclude_padding_from_average else 1.0)
    counts = _windows(F.pad(counted, flat_for_torch(more)), kernel_sizes, steps).sum(-1)
    return (
        _windows(F.pad(F.pad(x, flat_for_torch(pads)), flat_for_torch(more)), kernel_sizes, steps).sum(-1)
        / counts
    )


@kernel()
def max_pool(
    *,
    x: Tensor,
    kernel_sizes: tuple[int, ...],
    strides: tuple[int, ...] | None = None,
    pad_type: str,
    pad: tuple[int, ...] | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """The largest element of each window."""
    steps = strides or ones(x)
    pads, more = _pads(x, sizes=kernel_sizes, strides=steps, pad_type=pad_type, pad=pad, ceil_mode=ceil_mode)
    both = [(before, after + extra) for (before, after), (_, extra) in zip(pads, more, strict=True)]
    return _windows(F.pad(x, flat_for_torch(both), value=-torch.inf), kernel_sizes, steps).amax(-1)


@kernel()
def l2_pool(
    *,
    x: Tensor,
    kernel_sizes: tuple[int, ...],
    strides: tuple[int, ...] | None = None,
    pad_type: str,
    pad: tuple[int, ...] | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """The root of the sum of squares of each window."""
    steps = strides or ones(x)
    pads, more = _pads(x, sizes=kernel_sizes, strides=steps, pad_type=pad_type, pad=pad, ceil_mode=ceil_mode)
    both = [(before, after + extra) for (before, after), (_, extra) in zip(pads, more, strict=True)]
    return _windows(F.pad(x * x, flat_for_torch(both)), kernel_sizes, steps).sum(-1).sqrt()


def _windows(x: Tensor, sizes: Sides, strides: Sides) -> Tensor:
    """Every window of `x` (N, C, spatial) as one last axis: (N, C, out spatial, elements)."""
    for axis, (size, stride) in enumerate(zip(sizes, strides, strict=True), start=2):
        x = x.unfold(axis, size, stride)
    return x.flatten(-len(sizes))


def _pads(
    x: Tensor, *, sizes: Sides, strides: Sides, pad_type: str, pad: Sides | None, ceil_mode: bool
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The paddings, and what `ceil_mode` adds after them so that the last window is whole."""
    spatial = tuple(x.shape[2:])
    pads = paddings(
        pad_type=pad_type, pad=pad, spatial=spatial, kernel=sizes, strides=strides, dilations=ones(x)
    )
    more = []
    for side, size, stride, (before, after) in zip(spatial, sizes, strides, pads, strict=True):
        length = side + before + after
        count = (length - size + (stride - 1 if ceil_mode else 0)) // stride + 1
        if ceil_mode and (before or after) and (count - 1) * stride >= side + before:
            count -= 1
        more.append((0, max(0, (count - 1) * stride + size - length)))
    return pads, more
