"""The kernel algebra that turns a Conv3XC into one 3x3 convolution.

A 1x1 convolution is a matrix over channels, and convolution is linear, so with matrices A (first 1x1), C
(last 1x1), S (skip), biases a, b, c, s, and the 3x3 kernel B[:, :, u, v]:

    C (sum_uv B_uv (A x_uv + a) + b) + c + S x_11 + s
        = sum_uv (C B_uv A + [u = v = 1] S) x_uv + C (sum_uv B_uv a + b) + c + s

The zero padding comes before A, so a padded pixel contributes B_uv a like any other: the bias is the same at
the border as inside, and the folded kernel with zero padding is exact on the whole image.
"""

import copy

import torch
from torch import Tensor, nn

from .blocks import Conv3XC
from .deploy import SpanDeploy
from .span import Span


def chain_pointwise_first(
    kernel: Tensor, bias: Tensor, point: Tensor, shift: Tensor
) -> tuple[Tensor, Tensor]:
    """The k x k convolution equal to a 1x1 followed by an unpadded k x k: (B_uv A, b + sum_uv B_uv a).

    Args:
        kernel: B, (O, M, k, k), the second convolution.
        bias: b, (O,).
        point: A, (M, I, 1, 1), the first convolution.
        shift: a, (M,).
    """
    return torch.einsum("omuv,mi->oiuv", kernel, point[:, :, 0, 0]), bias + kernel.sum((2, 3)) @ shift


def chain_pointwise_last(kernel: Tensor, bias: Tensor, point: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """The k x k convolution equal to a k x k, padded or not, followed by a 1x1: (C B_uv, C b + c).

    Args:
        kernel: B, (M, I, k, k), the first convolution.
        bias: b, (M,).
        point: C, (O, M, 1, 1), the second convolution.
        shift: c, (O,).
    """
    matrix = point[:, :, 0, 0]
    return torch.einsum("om,miuv->oiuv", matrix, kernel), matrix @ bias + shift


def add_pointwise(kernel: Tensor, bias: Tensor, point: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """The k x k convolution (k odd) equal to a centred k x k plus a 1x1: (B + S at the centre, b + s).

    Args:
        kernel: B, (O, I, k, k).
        bias: b, (O,).
        point: S, (O, I, 1, 1).
        shift: s, (O,).
    """
    margin = kernel.shape[-1] // 2
    return kernel + nn.functional.pad(point, [margin] * 4), bias + shift


def fold_conv3xc(conv: Conv3XC) -> tuple[Tensor, Tensor]:
    """The kernel (C_out, C_in, 3, 3) and bias (C_out,) of the one 3x3 convolution that equals `conv`.

    Plain tensor operations in the parameters' dtype: gradients flow to the branches.
    """
    first, middle, last = (_weight_and_bias(conv.conv[i]) for i in range(3))
    # Last first: the product with the smaller side is cheaper, C has half as many rows as B.
    kernel, bias = chain_pointwise_last(*middle, *last)
    kernel, bias = chain_pointwise_first(kernel, bias, *first)
    return add_pointwise(kernel, bias, *_weight_and_bias(conv.sk))


def folded_state(network: Span) -> dict[str, Tensor]:
    """The state of the `SpanDeploy` that equals `network`, in its dtype; gradients flow to its parameters."""
    state: dict[str, Tensor] = dict(network.named_parameters())
    for name, module in network.named_modules():
        if isinstance(module, Conv3XC):
            state = {key: value for key, value in state.items() if not key.startswith(f"{name}.")}
            state[f"{name}.weight"], state[f"{name}.bias"] = fold_conv3xc(module)
    return state


def reparameterize(network: nn.Module) -> SpanDeploy:
    """A new folded network that computes what `network` computes, in eval mode, float32, without gradients.

    Args:
        network: a `Span`, folded in float64, or a `SpanDeploy`, copied. It is left unchanged.

    Raises:
        TypeError: `network` is neither.
    """
    if isinstance(network, SpanDeploy):
        return copy.deepcopy(network).float().eval().requires_grad_(False)
    if not isinstance(network, Span):
        raise TypeError(f"cannot fold a {type(network).__name__}; a Span or a SpanDeploy is wanted")
    with torch.no_grad():
        state = folded_state(copy.deepcopy(network).double())
    deploy = SpanDeploy(network.config)
    deploy.load_state_dict({name: value.float() for name, value in state.items()})
    return deploy.eval().requires_grad_(False)


def _weight_and_bias(conv: nn.Module) -> tuple[Tensor, Tensor]:
    assert isinstance(conv, nn.Conv2d) and conv.bias is not None
    return conv.weight, conv.bias
