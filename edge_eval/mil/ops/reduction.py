"""Reductions over axes, all axes by default. They accumulate in float32; integers stay integers."""

import functools

import torch

from ..registry import Tensor, kernel
from ..types import torch_type


def _over(x: Tensor, axes: tuple[int, ...] | None) -> tuple[int, ...]:
    return axes or tuple(range(x.ndim))


@kernel()
def reduce_sum(*, x: Tensor, axes: tuple[int, ...] | None = None, keep_dims: bool = False) -> Tensor:
    """The sum."""
    return x.sum(_over(x, axes), keep_dims, dtype=x.dtype)


@kernel()
def reduce_mean(*, x: Tensor, axes: tuple[int, ...] | None = None, keep_dims: bool = False) -> Tensor:
    """The mean of floats; what integers give is not documented."""
    return x.mean(_over(x, axes), keep_dims)


@kernel()
def reduce_max(*, x: Tensor, axes: tuple[int, ...] | None = None, keep_dims: bool = False) -> Tensor:
    """The largest element."""
    return x.amax(_over(x, axes), keep_dims)


@kernel()
def reduce_min(*, x: Tensor, axes: tuple[int, ...] | None = None, keep_dims: bool = False) -> Tensor:
    """The smallest element."""
    return x.amin(_over(x, axes), keep_dims)


@kernel()
def reduce_prod(*, x: Tensor, axes: tuple[int, ...] | None = None, keep_dims: bool = False) -> Tensor:
    """The product."""
    over = sorted((axis % x.ndim for axis in _over(x, axes)), reverse=True)
    return functools.reduce(lambda t, axis: t.prod(axis, keep_dims, dtype=t.dtype), over, x)


@kernel()
def reduce_l1_norm(*, x: Tensor, axes: tuple[int, ...] | None = None, keep_dims: bool = False) -> Tensor:
    """The sum of absolute values."""
    return x.abs().sum(_over(x, axes), keep_dims, dtype=x.dtype)


@kernel()
def reduce_l2_norm(*, x: Tensor, axes: tuple[int, ...] | None = None, keep_dims: bool = False) -> Tensor:
    """The root of the sum of squares, of floats."""
    return (x * x).sum(_over(x, axes), keep_dims).sqrt()


@kernel()
def reduce_sum_square(*, x: Tensor, axes: tuple[int, ...] | None = None, keep_dims: bool = False) -> Tensor:
    """The sum of squares."""
    return (x * x).sum(_over(x, axes), keep_dims, dtype=x.dtype)


@kernel()
def reduce_log_sum(*, x: Tensor, axes: tuple[int, ...] | None = None, keep_dims: bool = False) -> Tensor:
    """The natural logarithm of the sum, of floats."""
    return x.sum(_over(x, axes), keep_dims).log()


@kernel()
def reduce_log_sum_exp(*, x: Tensor, axes: tuple[int, ...] | None = None, keep_dims: bool = False) -> Tensor:
    """The natural logarithm of the sum of exponentials, the largest element taken out first."""
    return torch.logsumexp(x, _over(x, axes), keep_dims)


@kernel()
def reduce_argmax(
    *, x: Tensor, axis: int = -1, keep_dims: bool = False, output_dtype: str = "int32"
) -> Tensor:
    """Where the largest element is; of several, which one is not said."""
    return x.argmax(axis, keep_dims).to(torch_type(output_dtype))


@kernel()
def reduce_argmin(
    *, x: Tensor, axis: int = -1, keep_dims: bool = False, output_dtype: str = "int32"
) -> Tensor:
    """Where the smallest element is; of several, which one is not said."""
    return x.argmin(axis, keep_dims).to(torch_type(output_dtype))
