"""What rounding costs, tensor by tensor and layer by layer; and what `w8a8_mixed` does with that."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from models.progress import Progress, silent

from .graph import Node, SpanNodes
from .learn import output_error
from .quantized import QParams, QuantizedSpan
from .ranges import Sample, noise

NOMINAL_PSNR_DB = 30.0
"""PSNR of the float network for which an error is expressed as a drop."""

MIXED_BUDGET = 0.10
"""Part of the network's operations per pixel that `w8a8_mixed` may leave in floating point."""

ELEMENTWISE = 50
"""Multiply-accumulates that take about as long as one output of a float elementwise operation."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one rounding costs, everything else in floating point.

    Attributes:
        name: of the tensor, or of the convolution.
        kind: `activation` or `weight`.
        error: squared error of the output in 8-bit levels, mostly on luma (`ranges.LUMA_SHARE`).
        drop_db: what that takes off a PSNR of `NOMINAL_PSNR_DB`, if independent of the network's own error.
    """

    name: str
    kind: Literal["activation", "weight"]
    error: float
    drop_db: float


def measure_costs(
    quantized: QuantizedSpan, float_network: SpanNodes, lr_nchw: Tensor, *, progress: Progress = silent
) -> list[Cost]:
    """Round one tensor, or one layer's weights, at a time; the dearest first.

    Args:
        quantized: any recipe with integer weights.
        float_network: rewritten and balanced as `quantized.network` was, with its weights before rounding;
            `quantized.network` itself where only activations matter.
        lr_nchw: (N, C, H, W) in [0, 1], crops.
        progress: told after every run.
    """
    runs: list[tuple[str, Literal["activation", "weight"], Callable[[], Tensor]]] = []
    for name, qparams in quantized.activations.items():
        runs.append((name, "activation", _with_tensor(float_network, name, qparams, lr_nchw)))
    for name in quantized.weights:
        runs.append((name, "weight", _with_weights(float_network, quantized, name, lr_nchw)))
    costs = []
    with torch.no_grad():
        aim = float_network(lr_nchw).clamp(0, 1)
        for done, (name, kind, run) in enumerate(runs, start=1):
            error = float(output_error(run().clamp(0, 1), aim)) * 255**2
            costs.append(Cost(name=name, kind=kind, error=error, drop_db=drop_db(error)))
            progress("sensitivity", done, len(runs), name)
    return sorted(costs, key=lambda cost: -cost.error)


def drop_db(error: float, psnr_db: float = NOMINAL_PSNR_DB) -> float:
    """The drop from `psnr_db` by an independent error, squared, in 8-bit levels."""
    return 10 * math.log10(1 + error / (255**2 * 10 ** (-psnr_db / 10)))


def _with_tensor(network: SpanNodes, name: str, qparams: QParams, lr_nchw: Tensor) -> Callable[[], Tensor]:
    def only(tensor: str, value: Tensor) -> Tensor:
        return qparams.rounded(value) if tensor == name else value

    return lambda: network.run(lr_nchw, tensor=only)


def _with_weights(
    network: SpanNodes, quantized: QuantizedSpan, name: str, lr_nchw: Tensor
) -> Callable[[], Tensor]:
    def only(conv: str) -> tuple[Tensor, Tensor]:
        if conv == name:
            return quantized.weights[name].kernel(), quantized.weights[name].bias
        plain = network.conv(conv)
        assert plain.bias is not None
        return plain.weight, plain.bias

    return lambda: network.run(lr_nchw, compute=partial(network.compute, weight=only))


def choose_float_nodes(
    network: SpanNodes,
    activations: Mapping[str, QParams],
    samples: Mapping[str, Sample],
    *,
    budget: float = MIXED_BUDGET,
) -> tuple[tuple[str, ...], dict[str, QParams]]:
    """The nodes that `w8a8_mixed` computes in floating point, and the scales of what stays integer.

    A tensor escapes rounding if its maker and all its readers are in floating point. Tensors are taken in the
    order of the error they cost per operation that has to leave the integers, until the budget is spent.

    Args:
        network: rewritten and balanced.
        activations: of every tensor.
        samples: of `ranges.observe`.
        budget: part of all operations per pixel that may leave the integers.
    """
    errors = noise(samples, {name: activations[name].rounded(samples[name].values) for name in activations})
    operations = {node.name: _operations(network, node, samples) for node in network.nodes}
    left = budget * sum(operations.values())
    chosen: set[str] = set()

    def needed(name: str) -> set[str]:
        return {name, *(node.name for node in network.consumers(name))} - chosen

    candidates = {node.name for node in network.nodes if network.consumers(node.name)}
    while candidates:
        price = {name: sum(operations[node] for node in needed(name)) for name in candidates}
        affordable = [name for name in candidates if price[name] <= left]
        if not affordable:
            break
        best = max(affordable, key=lambda name: (errors[name] / max(price[name], 1.0), name))
        left -= price[best]
        chosen |= needed(best)
        candidates = {name for name in candidates if needed(name)}
    kept = {name: q for name, q in activations.items() if _is_integer(network, name, chosen)}
    return tuple(node.name for node in network.nodes if node.name in chosen), kept


def _is_integer(network: SpanNodes, name: str, chosen: set[str]) -> bool:
    readers = network.consumers(name)
    return name not in chosen or not readers or any(reader.name not in chosen for reader in readers)


def _operations(network: SpanNodes, node: Node, samples: Mapping[str, Sample]) -> float:
    """Multiply-accumulates per low-resolution pixel; an elementwise output counts as `ELEMENTWISE`."""
    if node.op == "conv2d":
        return float(network.conv(node.name).weight.numel())
    return float(samples[node.name].values.shape[1]) * ELEMENTWISE
