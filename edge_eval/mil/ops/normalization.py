"""Normalizations, computed in float32 from end to end and rounded once."""

import torch
import torch.nn.functional as F

from ..registry import Tensor, kernel


@kernel()
def batch_norm(
    *,
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, one of each per channel (axis 1)."""
    return F.batch_norm(x, mean, variance, gamma, beta, training=False, eps=epsilon)


@kernel()
def instance_norm(
    *, x: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None, epsilon: float = 1e-5
) -> Tensor:
    """Each channel of each image normalized over its spatial axes."""
    axes = tuple(range(2, x.ndim))
    deviation = x - x.mean(axes, keepdim=True)
    result = deviation / torch.sqrt((deviation * deviation).mean(axes, keepdim=True) + epsilon)
    per_channel = (-1, *[1] * len(axes))
    result = result if gamma is None else result * gamma.reshape(per_channel)
    return result if beta is None else result + beta.reshape(per_channel)


@kernel()
def layer_norm(
    *,
    x: Tensor,
    axes: tuple[int, ...] | None = None,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    """X normalized over `axes`, all by default; gamma and beta have the shape of those axes."""
    over = sorted(axis % x.ndim for axis in axes) if axes else list(range(x.ndim))
    shape = [x.shape[axis] if axis in over else 1 for axis in range(x.ndim)]
    deviation = x - x.mean(over, keepdim=True)
    result = deviation / torch.sqrt((deviation * deviation).mean(over, keepdim=True) + epsilon)
    result = result if gamma is None else result * gamma.reshape(shape)
    return result if beta is None else result + beta.reshape(shape)


@kernel()
def l2_norm(*, x: Tensor, epsilon: float = 1e-6) -> Tensor:
    """X over the root of (the sum of squares of its last three axes + epsilon)."""
    return x / torch.sqrt((x * x).sum((-3, -2, -1), keepdim=True) + epsilon)


@kernel()
def local_response_norm(
    *, x: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """X / (k + alpha / size * the sum of squares of the `size` channels around)^beta."""
    return F.local_response_norm(x, size, alpha, beta, k)
