"""Small networks with known random weights, and what runs their files."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from convert import Source
from models import SpanConfig, SpanDeploy
from quantize import RECIPES, QParams, QuantizedSpan, QWeight, quantize_ptq, split
from quantize.balance import place_image
from quantize.graph import SpanNodes
from quantize.quantized import plain_conv
from quantize.ranges import Sample
from quantize.rewrite import rewrite
from quantize.scales import relabelled

SOURCE = Source(name="random", sha256="0" * 64)
SIZE = (12, 16)


def random_network(**config: object) -> SpanDeploy:
    """A folded network with random weights, small enough to convert in seconds."""
    torch.manual_seed(3)
    settings = {"feature_channels": 8, "concat_channels": 6, "upscale": 2, **config}
    network = SpanDeploy(SpanConfig(**settings)).eval().requires_grad_(False)  # type: ignore[arg-type]
    for conv in network.convolutions().values():
        conv.weight.mul_(1.7)
    return network


def run_tflite(path: Path, image: np.ndarray, kernels: str = "AUTO") -> np.ndarray:
    """One (H, W, C) image through a TFLite file at the image's own size, by the named set of kernels."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(str(path), experimental_op_resolver_type=OpResolverType[kernels], num_threads=1)
    (given,) = interpreter.get_input_details()
    interpreter.resize_tensor_input(given["index"], [1, *image.shape])
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], image[None])
    interpreter.invoke()
    (got,) = interpreter.get_output_details()
    return interpreter.get_tensor(got["index"])[0]


def run_torch(network: torch.nn.Module, image: np.ndarray) -> np.ndarray:
    """One (H, W, C) image in [0, 1] through a network."""
    lr = torch.from_numpy(image.transpose(2, 0, 1)[None].copy())
    with torch.no_grad():
        return network(lr)[0].numpy().transpose(1, 2, 0)


def psnr_db(a: np.ndarray, b: np.ndarray) -> float:
    """PSNR with a peak of 1.0, in decibels."""
    return float(-10 * np.log10(np.square(a.astype(np.float64) - b).mean()))


def snr_db(got: np.ndarray, expected: np.ndarray) -> float:
    """How much stronger what was expected is than the error, in decibels."""
    error = np.square(got.astype(np.float64) - expected).mean()
    return float(10 * np.log10(np.square(expected.astype(np.float64)).mean() / error))


def quantized_network(
    recipe: str = "w8a8", *, float_nodes: tuple[str, ...] = (), **config: object
) -> QuantizedSpan:
    """A random network, quantized on one random image."""
    network = _within_unit_range(random_network(**config), _random_image(config))
    return quantized_simply(network, _random_image(config), recipe, float_nodes)


def quantized_simply(
    network: SpanDeploy, image: torch.Tensor, recipe: str = "w8a8", float_nodes: tuple[str, ...] = ()
) -> QuantizedSpan:
    """A network quantized the simplest way: ranges from least to greatest value on one image (1, C, H, W)."""
    row, seen = RECIPES[recipe], {}
    nodes = rewrite(network, activation_bits=row.activation_bits)
    with torch.no_grad():
        nodes.run(image, tensor=lambda name, value: seen.setdefault(name, value))
    bits = row.activation_bits
    grids = {name: _qparams(nodes, name, value, bits) for name, value in seen.items() if bits}
    for node in nodes.nodes:
        if node.op == "times" and bits:
            grids[node.name] = relabelled(node, grids[node.inputs[0]])
    for name, sources in nodes.joined().items():
        grids |= dict.fromkeys((name, *sources), grids[sources[-1]])
    samples = {name: Sample(values=value, weights=value) for name, value in seen.items()}
    place_image(nodes, (samples,), grids)
    weights = {name: _quantized_weight(nodes.conv(name)) for name in nodes.conv_names()}
    convs = {name: plain_conv(weight, nodes.conv(name).groups) for name, weight in weights.items()}
    return QuantizedSpan(
        config=nodes.config,
        recipe=row.name,
        method="ptq",
        network=SpanNodes(nodes.config, nodes.nodes, convs).eval(),
        weights=weights,
        activations={name: grid for name, grid in grids.items() if name not in float_nodes},
        float_nodes=float_nodes,
    )


def quantized_in_groups(monkeypatch: pytest.MonkeyPatch, *, form: str, **config: object) -> QuantizedSpan:
    """A random network whose SiLUs all have one form, the first block's attention in four groups."""
    monkeypatch.setattr(split, "TAKES", {name: 1e12 * (name != form) for name in split.TAKES})
    network = _within_unit_range(random_network(**config), _random_image(config))
    image = (_random_image(config)[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    return quantize_ptq(network, recipe="w8a8", images=[image], effort="smoke")


def _random_image(config: Mapping[str, object]) -> torch.Tensor:
    return torch.rand(1, config.get("in_channels", 3), 24, 24, generator=torch.Generator().manual_seed(7))


def _within_unit_range(network: SpanDeploy, image: torch.Tensor) -> SpanDeploy:
    """The network with its last convolution scaled, so that its output is 0.5 with a deviation of 0.15."""
    last = network.conv_2 if network.config.network == "spanf" else network.upsampler[0]
    last.bias.zero_()
    last.weight.mul_(0.15 / network(image).std())
    last.bias.fill_(0.5)
    return network


def _quantized_weight(conv: torch.nn.Conv2d) -> QWeight:
    assert conv.bias is not None
    scale = (conv.weight.detach().abs().amax(dim=(1, 2, 3)) / 127).clamp(min=1e-12)
    values = torch.round(conv.weight.detach() / scale.view(-1, 1, 1, 1)).to(torch.int8)
    return QWeight(values=values, scale=scale, bias=conv.bias.detach())


def _qparams(nodes: SpanNodes, name: str, value: torch.Tensor, bits: int) -> QParams:
    """Scale and zero point of a tensor; of pixels and of what TFLite dictates, theirs."""
    fixed = {8: (1 / 256, 1 / 255, -128), 16: (1 / 32768, 1 / 255 / 64, 0)}[bits]
    dtype = "int8" if bits == 8 else "int16"
    op = nodes.op_of(name)
    if op in ("sigmoid", "center"):
        return QParams(scale=fixed[0], zero_point=fixed[2] if op == "sigmoid" else 0, dtype=dtype)
    if op in ("tanh", "plus_one") and bits == 8:
        return QParams(scale=1 / 128, zero_point=0 if op == "tanh" else -128)
    if name in ("image", "upscaled") or any(n.op == "pixel_shuffle" for n in nodes.consumers(name)):
        return QParams(scale=fixed[1], zero_point=fixed[2], dtype=dtype)
    low, high = min(float(value.min()), 0.0), max(float(value.max()), 0.0)
    if bits == 16:
        return QParams(scale=max(-low, high) / 32767, zero_point=0, dtype=dtype)
    scale = max(high - low, 1e-6) / 255
    return QParams(scale=scale, zero_point=round(-128 - low / scale), dtype=dtype)
