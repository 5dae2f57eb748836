"""Activations."""

import torch
import torch.nn.functional as F

from ..registry import Tensor, kernel


@kernel()
def relu(*, x: Tensor) -> Tensor:
    """max(x, 0)."""
    return F.relu(x)


@kernel()
def relu6(*, x: Tensor) -> Tensor:
    """X between 0 and 6."""
    return F.relu6(x)


@kernel()
def clamped_relu(*, x: Tensor, alpha: float, beta: float) -> Tensor:
    """min(beta, x) where x >= 0, else min(beta, alpha * x)."""
    return torch.where(x >= 0, x, alpha * x).clamp(max=beta)


@kernel()
def thresholded_relu(*, x: Tensor, alpha: float) -> Tensor:
    """X where x >= alpha, else 0."""
    return torch.where(x >= alpha, x, torch.zeros_like(x))


@kernel()
def leaky_relu(*, x: Tensor, alpha: float) -> Tensor:
    """X where x >= 0, else alpha * x."""
    return F.leaky_relu(x, alpha)


@kernel()
def prelu(*, x: Tensor, alpha: Tensor) -> Tensor:
    """X where x >= 0, else alpha * x, one alpha per channel (axis 1)."""
    return torch.where(x >= 0, x, _per_channel(alpha, x) * x)


@kernel()
def elu(*, x: Tensor, alpha: float) -> Tensor:
    """X where x > 0, else alpha * (exp(x) - 1)."""
    return F.elu(x, alpha)


@kernel()
def gelu(*, x: Tensor, mode: str = "EXACT") -> Tensor:
    """GELU, exact or by one of its two approximations."""
    if mode == "EXACT":
        return F.gelu(x)
    if mode == "TANH_APPROXIMATION":
        return F.gelu(x, approximate="tanh")
    return x * torch.sigmoid(1.702 * x)


@kernel()
def sigmoid(*, x: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return torch.sigmoid(x)


@kernel()
def sigmoid_hard(*, x: Tensor, alpha: float, beta: float) -> Tensor:
    """Alpha * x + beta, between 0 and 1."""
    return (alpha * x + beta).clamp(0, 1)


@kernel()
def silu(*, x: Tensor) -> Tensor:
    """X * sigmoid(x)."""
    return F.silu(x)


@kernel()
def softplus(*, x: Tensor) -> Tensor:
    """log(1 + exp(x))."""
    return torch.logaddexp(x, torch.zeros_like(x))


@kernel()
def softplus_parametric(*, x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """Alpha * log(1 + exp(beta * x)), one alpha and beta per channel (axis 1)."""
    scaled = _per_channel(beta, x) * x
    return _per_channel(alpha, x) * torch.logaddexp(scaled, torch.zeros_like(scaled))


@kernel()
def softsign(*, x: Tensor) -> Tensor:
    """X / (1 + abs(x))."""
    return F.softsign(x)


@kernel()
def tanh(*, x: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return torch.tanh(x)


@kernel()
def scaled_tanh(*, x: Tensor, alpha: float, beta: float) -> Tensor:
    """Alpha * tanh(beta * x)."""
    return alpha * torch.tanh(beta * x)


@kernel()
def linear_activation(*, x: Tensor, alpha: float, beta: float) -> Tensor:
    """Alpha * x + beta."""
    return alpha * x + beta


@kernel()
def softmax(*, x: Tensor, axis: int = -1) -> Tensor:
    """exp(x) over its sum along `axis`, the largest subtracted first."""
    return torch.softmax(x, axis)


def _per_channel(parameter: Tensor, x: Tensor) -> Tensor:
    """A vector over axis 1 of `x`, ready to broadcast."""
    return parameter.reshape(-1, *[1] * (x.ndim - 2))
