"""Palettized weights: the kernels of each convolution are indices into a table of 256, 64 or 16 numbers.

The numbers are found by k-means with every error weighted by what it costs in the output, and rounded to one
after the other so that later ones make up for the error of earlier ones (Frantar et al., "GPTQ",
arXiv:2210.17323), on photographs that scikit-image ships. Of the official x4 network, on 19 crops of Set5 and
Set14, 6 bits then cost 0.02 dB on average and 4 bits 0.36; plain k-means, which coremltools does, costs 7 and
14 dB: folded kernels differ by 45 times in scale.
"""

import copy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.deploy import SpanDeploy
from models.progress import Progress, silent
from quantize.rounding import patches, spread_rounding

from .coreml_library import load_coremltools, without_bars

PHOTOGRAPHS = ("motorcycle_left.png", "rocket.jpg")
"""Files of scikit-image's data folder; they are calibration images elsewhere too, never evaluation images."""
REDUCTION = 4
CROP = 48
CROPS_AT = ((0, 0), (20, 40), (50, 90), (30, 60))
"""Upper left corners in the reduced photographs."""
DAMPING = 5e-2
"""Added to the moments' diagonal, as a part of it."""


def palettized_network(network: SpanDeploy, *, bits: int, progress: Progress = silent) -> SpanDeploy:
    """A copy of a folded network, each of whose convolutions has at most 2**bits different weights.

    Args:
        network: left unchanged.
        bits: of an index: 8, 6 or 4.
        progress: told of every convolution.
    """
    images = _crops(network.config.in_channels)
    exact = _conv_inputs(network, images)
    result = copy.deepcopy(network).requires_grad_(False)
    convs = result.convolutions()
    for number, (name, conv) in enumerate(convs.items(), start=1):
        if conv.groups == 1 and conv.bias is not None:
            compensate(conv, exact[name], _conv_inputs(result, images)[name], bits)
        else:
            flat = conv.weight.double().flatten(1)
            relative = 1 / flat.square().sum(1, keepdim=True).clamp(min=1e-30)
            conv.weight.copy_(
                _nearest(table(flat, relative.expand_as(flat), bits), flat).view_as(conv.weight)
            )
        progress("palettize weights", number, len(convs), name)
    return result


def with_palettes(model: Any, *, bits: int) -> Any:
    """A new `MLModel` that stores its kernels, which hold 2**bits numbers or fewer, as tables and indices."""
    load_coremltools()
    from coremltools.optimize import coreml as optimize

    def stored(weight: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        values = torch.from_numpy(weight.astype(np.float64).ravel())
        numbers = table(values, torch.ones_like(values), bits)
        indices = torch.searchsorted((numbers[1:] + numbers[:-1]) / 2, values)
        padded = np.pad(numbers.numpy(), (0, 2**bits - len(numbers)), mode="edge")
        return padded.astype(weight.dtype), indices.numpy()

    config = optimize.OpPalettizerConfig(mode="custom", lut_function=stored, weight_threshold=0)
    with without_bars():
        return optimize.palettize_weights(
            model, optimize.OptimizationConfig(op_type_configs={"conv": config})
        )


def compensate(conv: nn.Conv2d, exact: Tensor, given: Tensor, bits: int) -> None:
    """Give a convolution weights from a table, and a bias, that make its output what it was.

    First come the kernel and bias that minimize E[(W u - W' v)^2], which undoes on average what palettes
    before it did; then each weight becomes a number of the table, in the order of the inputs' power, and its
    error is spread over those still to come. The bias is the last, unrounded weight, with input 1.

    Args:
        conv: with one group and a bias; changed in place.
        exact: its input u in the float network, (N, I, H, W).
        given: its input v after the palettes before it, same shape.
        bits: of an index.
    """
    assert conv.bias is not None
    u, v = (patches(conv, inputs) for inputs in (exact, given))
    moments, cross = (v.T @ v).double() / len(v), (u.T @ v).double() / len(v)
    power = moments.diagonal()
    damping = torch.diag(DAMPING * power + 1e-9 * power.mean())
    whole = torch.cat([conv.weight.double().flatten(1), conv.bias.double()[:, None]], dim=1)
    rest = torch.linalg.solve(moments + damping, (whole @ (cross + damping)).T).T
    energy = (whole[:, :-1].square() * power[:-1]).sum(1, keepdim=True).clamp(min=1e-30)
    numbers = table(rest[:, :-1], power[:-1] / energy, bits)
    weight, bias, _ = spread_rounding(rest, moments + damping, partial(_nearest, numbers))
    conv.weight.copy_(weight.view_as(conv.weight))
    conv.bias.copy_(bias)


def table(weight: Tensor, importance: Tensor, bits: int) -> Tensor:
    """The at most 2**bits float16 numbers that `weight` is rounded to with the least weighted squared error.

    Args:
        weight: any shape.
        importance: of an error in each weight, same shape, positive.
        bits: of an index.

    Returns:
        ascending, float64: the exact minimum of one-dimensional k-means, by the `kmeans1d` that coremltools
        brings.
    """
    load_coremltools()
    from coremltools._deps import kmeans1d

    rounded: NDArray[Any] = weight.numpy().astype(np.float16).astype(np.float64)
    values, place = np.unique(rounded, return_inverse=True)
    counted = np.bincount(place.ravel(), weights=importance.numpy().ravel())
    found = kmeans1d.cluster(values, min(len(values), 2**bits), weights=counted)
    centroids = np.unique(np.asarray(found.centroids).astype(np.float16))
    return torch.from_numpy(centroids.astype(np.float64))


def _nearest(numbers: Tensor, values: Tensor) -> Tensor:
    """Each value's nearest number; `numbers` ascend."""
    return numbers[torch.searchsorted((numbers[1:] + numbers[:-1]) / 2, values.contiguous())]


def _conv_inputs(network: SpanDeploy, images: Tensor) -> dict[str, Tensor]:
    """What every convolution is given when the network runs on `images`."""
    inputs: dict[str, Tensor] = {}

    def watch(name: str) -> Any:
        return lambda module, given: inputs.__setitem__(name, given[0])

    handles = [conv.register_forward_pre_hook(watch(name)) for name, conv in network.convolutions().items()]
    try:
        with torch.no_grad():
            network(images)
    finally:
        for handle in handles:
            handle.remove()
    return inputs


def _crops(channels: int) -> Tensor:
    """Crops of the photographs, (N, C, 48, 48) in [0, 1]; grey in every channel unless there are 3.

    Each comes as it is, as its negative, at full contrast, and as the negative of that with its channels
    reversed: with the photographs alone, 4 bits lose 20 dB on 3 of 19 crops whose colours are far from
        theirs.
    """
    import skimage
    from PIL import Image

    crops: list[NDArray[np.float32]] = []
    for name in PHOTOGRAPHS:
        with Image.open(Path(skimage.__file__).parent / "data" / name) as photograph:
            image = photograph.convert("RGB" if channels == 3 else "L").reduce(REDUCTION)
        planes = np.asarray(image, dtype=np.float32).reshape(image.height, image.width, -1) / np.float32(255)
        planes = np.broadcast_to(planes, (*planes.shape[:2], channels))
        crops.extend(planes[y : y + CROP, x : x + CROP] for y, x in CROPS_AT)
    whole = [crop for crop in crops if crop.shape[:2] == (CROP, CROP)]
    plain = torch.from_numpy(np.stack(whole).transpose(0, 3, 1, 2).copy())
    low, high = plain.amin((1, 2, 3), keepdim=True), plain.amax((1, 2, 3), keepdim=True)
    wide = (plain - low) / (high - low)
    return torch.cat([plain, 1 - plain, wide, (1 - wide).flip(1)])
