"""What the integer files compute, without a file.

Between 8-bit tensors every number is the one that XNNPACK's kernels give, to the bit: sums of products of
integers are exact in floating point while they stay below 2**24, and what brings them to the output's
integers is done in the kernels' own precision and order (XNNPACK, `qs8_requantization` and `qs8-vadd`).
16-bit tensors and what stays in floating point are computed in float32 and rounded once.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from .graph import Node, OpName
from .quantized import QParams, QuantizedSpan

Grids = tuple[QParams, ...]

EXACT = 2**24
"""Up to here float32 holds every integer."""

ADD_BITS = 20
"""Bits of the larger of the two factors that bring the terms of a sum to the output's step."""


def simulate(
    quantized: QuantizedSpan, lr_nchw: Tensor, *, seen: Callable[[str, Tensor], None] | None = None
) -> Tensor:
    """What the integer network computes.

    Args:
        quantized: of any recipe with integer weights.
        lr_nchw: (N, C, H, W) in [0, 1]; an image of k / 255 goes in without loss.
        seen: called with every tensor, the image included: its name, and what is stored of it.

    Returns:
        (N, C_out, s*H, s*W); for integer outputs, multiples of 1/255 in [0, 1].
    """
    network, activations = quantized.network, quantized.activations

    def compute(node: Node, given: list[Tensor]) -> Tensor:
        grids = tuple(activations[name] for name in (*node.inputs, node.name) if name in activations)
        in_8_bits = quantized.is_integer(node) and all(grid.dtype == "int8" for grid in grids)
        if node.op not in KERNELS or not in_8_bits:
            return network.compute(node, given, weight=lambda _: _real_weight(quantized, node))
        integers = [torch.round(value / grid.scale) for value, grid in zip(given, grids, strict=False)]
        made, out = KERNELS[node.op](quantized, node, integers, grids), grids[-1]
        return made.clamp(out.quant_min - out.zero_point, out.quant_max - out.zero_point) * out.scale

    def tensor(name: str, value: Tensor) -> Tensor:
        stored = activations[name].rounded(value) if name in activations else value
        if seen is not None:
            seen(name, stored)
        return stored

    with torch.no_grad():
        return network.run(lr_nchw, compute=compute, tensor=tensor)


def _real_weight(quantized: QuantizedSpan, node: Node) -> tuple[Tensor, Tensor]:
    """The kernel and bias that the integers stand for."""
    stored = quantized.weights[node.name]
    if not quantized.is_integer(node):
        return stored.kernel(), stored.bias
    grid = quantized.activations[node.inputs[0]]
    return stored.kernel(), (stored.integer_bias(grid, stored.scale) * stored.scale * grid.scale).float()


def _convolved(quantized: QuantizedSpan, node: Node, integers: list[Tensor], grids: Grids) -> Tensor:
    """Sums of products, then times a float32 factor per channel, halves to even."""
    (source, out), weight = grids, quantized.weights[node.name]
    scale = weight.integer_scale(source, out)
    bias = weight.integer_bias(source, scale)
    largest = max(source.quant_max - source.zero_point, source.zero_point - source.quant_min)
    reach = weight.values.double().abs().sum((1, 2, 3)) * largest + bias.abs()
    dtype = torch.float32 if float(reach.max()) < EXACT else torch.float64
    sums = quantized.network.convolve(
        node, integers[0].to(dtype), weight.values.to(dtype), bias.to(dtype)
    ).round_()
    factor = scale * _float32(source.scale, scale) / _float32(out.scale, scale)
    return torch.round(sums.float() * factor.view(1, -1, 1, 1))


def _multiplied(quantized: QuantizedSpan, node: Node, integers: list[Tensor], grids: Grids) -> Tensor:
    """Products, then times one float32 factor, halves to even."""
    first, second, out = (_float32(grid.scale, integers[0]) for grid in grids)
    return torch.round(integers[0] * integers[1] * (first * second / out))


def _added(quantized: QuantizedSpan, node: Node, integers: list[Tensor], grids: Grids) -> Tensor:
    """Both terms times an integer factor, their sum shifted right with halves up."""
    *terms, out = (_float32(grid.scale, integers[0]) for grid in grids)
    ratios = [float(term / out) for term in terms]
    shift = ADD_BITS - (math.frexp(max(ratios))[1] - 1)
    factors = [round(math.ldexp(ratio, shift)) for ratio in ratios]
    first, second = (value.long() * factor for value, factor in zip(integers, factors, strict=True))
    return ((first + second + (1 << (shift - 1))) >> shift).to(integers[0])


def _float32(value: float, like: Tensor) -> Tensor:
    return torch.tensor(value, dtype=torch.float32, device=like.device)


KERNELS: Mapping[OpName, Callable[[QuantizedSpan, Node, list[Tensor], Grids], Tensor]] = {
    "conv2d": _convolved,
    "mul": _multiplied,
    "add": _added,
}
"""The operations whose kernels compute; the others look a number up or move it.

Each is given the inputs' integers less their zero points and the tensors' grids, the output's last, and gives
the output's integers less its zero point, unclipped.
"""
