"""Factors and mixtures of channels that make a tensor's one scale fit all its channels; exact in float.

An integer kernel has one scale per activation tensor, so a channel that is a hundred times smaller than the
largest one has a hundred times fewer levels. Where only linear operations touch a tensor, its channels may
be rescaled or mixed, and the next convolution takes it back.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from .graph import SpanNodes
from .quantized import QParams
from .ranges import Sample, channel_ranges, observe
from .rewrite import MASK

COLOURS_SHARE = 0.05
"""What pure colours count beside photographs where channels are mixed."""

COLOURS_SIDE = 24
"""Of the areas of pure colours that are looked at, in LR pixels."""


def scale_channels(network: SpanNodes, group: Sequence[str], factor: Tensor) -> None:
    """Multiply a group's tensors by a factor per channel, in place; the network's output stays.

    Args:
        network: its convolutions are changed.
        group: a row of `network.scaled`.
        factor: (C,), positive.
    """
    factor = factor.double()
    for node in network.nodes:
        if node.op != "conv2d":
            continue
        conv = network.conv(node.name)
        assert conv.bias is not None
        weight, bias = conv.weight.double(), conv.bias.double()
        for source, at in network.parts(node.inputs[0]).items():
            if source in group and conv.groups > 1:
                weight = weight / factor.view(-1, 1, 1, 1)
            elif source in group:
                weight[:, at] /= factor.view(1, -1, 1, 1)
        if node.name in group:
            weight, bias = weight * factor.view(-1, 1, 1, 1), bias * factor
        conv.weight.copy_(weight)
        conv.bias.copy_(bias)


def mix_channels(network: SpanNodes, names: Sequence[str], matrix: Tensor) -> None:
    """Multiply the channels of some tensors by a matrix, in place; the network's output stays.

    Args:
        network: its convolutions are changed.
        names: outputs of convolutions and their sums, read by convolutions alone; such as `network.mixed`.
        matrix: (C, C), float64.
    """
    inverse = torch.linalg.inv(matrix.double())
    for node in network.nodes:
        if node.op != "conv2d":
            continue
        conv = network.conv(node.name)
        assert conv.bias is not None
        if node.name in names:
            conv.weight.copy_(torch.einsum("om,miuv->oiuv", matrix, conv.weight.double()))
            conv.bias.copy_(matrix @ conv.bias.double())
        for source, at in network.parts(node.inputs[0]).items():
            if source in names:
                taken = conv.weight[:, at].double()
                conv.weight[:, at] = torch.einsum("omuv,mi->oiuv", taken, inverse)


def spreading_matrix(moments: Tensor, gain: Tensor) -> Tensor:
    """The mixture under which equal noise in every channel does least harm after a linear layer.

    Of all matrices M that give each channel of M p unit power, it minimizes the power of the layer's response
    to white noise, tr(gain M^-1 M^-T). With B = gain^1/2 moments^1/2 = P S V^T the optimum, up to scale, is
    H S^-1/2 P^T gain^1/2 for any orthogonal H that gives all channels the same power: a strong component is
    spread over all channels, and its rounding errors average out. Of those, H begins with a random rotation:
    equal power is not equal range, and sums of many independent components have the shortest tails.

    Args:
        moments: (C, C), E[p p^T], not centred, since a mean needs range too.
        gain: (C, C), the layer's kernel as a Gram matrix over its outputs and taps.

    Returns:
        (C, C), float64.
    """
    channels = moments.shape[0]
    turn = _random_rotation(channels)
    root_gain, root_moments = _root(gain), _root(moments)
    left, power, _ = torch.linalg.svd(root_gain @ root_moments)
    power = power.clamp(min=power[0] * 1e-5)
    even = equal_diagonal(turn @ torch.diag(power) @ turn.T) @ turn
    mixture: Tensor = even @ torch.diag(power.rsqrt()) @ left.T @ root_gain
    mixture /= (power.sum() / channels).sqrt()
    return mixture


def equal_diagonal(matrix: Tensor) -> Tensor:
    """An orthogonal H that makes the diagonal of H matrix H^T constant (Schur-Horn, by rotations).

    Args:
        matrix: (C, C), symmetric, float64.
    """
    current, turned = matrix.clone(), torch.eye(len(matrix), dtype=matrix.dtype)
    mean = matrix.diagonal().mean()
    for _ in range(len(matrix) - 1):
        diagonal = current.diagonal()
        i, j = int(diagonal.argmin()), int(diagonal.argmax())
        low, high, cross = diagonal[i] - mean, diagonal[j] - mean, current[i, j]
        if high - low <= 1e-12 * mean.abs():
            break
        # tan of the angle that brings entry i to the mean: low + 2 t cross + t^2 high = 0
        tangent = (-cross - (cross**2 - low * high).clamp(min=0).sqrt()) / high
        cosine = 1 / (1 + tangent**2).sqrt()
        turn = torch.eye(len(matrix), dtype=matrix.dtype)
        turn[i, i] = turn[j, j] = cosine
        turn[i, j], turn[j, i] = tangent * cosine, -tangent * cosine
        current, turned = turn @ current @ turn.T, turn @ turned
    return turned


def _random_rotation(channels: int) -> Tensor:
    """An orthogonal matrix, always the same for a number of channels, (C, C), float64."""
    generator = torch.Generator().manual_seed(channels)
    drawn = torch.randn(channels, channels, generator=generator, dtype=torch.float64)
    rotation: Tensor = torch.linalg.qr(drawn)[0]
    return rotation


def _root(matrix: Tensor) -> Tensor:
    """The symmetric square root of a positive matrix, kept invertible."""
    values, vectors = torch.linalg.eigh(matrix.double())
    root: Tensor = vectors @ torch.diag(values.clamp(min=values[-1] * 1e-10).sqrt()) @ vectors.T
    return root


def balance(network: SpanNodes, lr_nchw: Tensor) -> None:
    """Choose every factor and mixture of channels that `network` allows, in place, from a batch.

    Args:
        network: as `rewrite` made it; its output stays the same.
        lr_nchw: (N, C, H, W) in [0, 1].
    """
    for group in network.scaled:
        samples = observe(network, lr_nchw, probes=1)
        with torch.no_grad():
            scale_channels(network, group, _even_factors([samples[name] for name in group]))
    if network.mixed:
        _mix(network, lr_nchw)


@torch.no_grad()
def _mix(network: SpanNodes, lr_nchw: Tensor) -> None:
    """Spread strong components of `network.mixed` over all channels.

    Photographs hold little of pure colours. From them alone the mixture would make much of what little there
    is, and clip a red flower to another red; so areas of pure colours count too, as `COLOURS_SHARE`.
    """
    mixed = network.mixed[-1]
    seen = _moments(_features(network, mixed, lr_nchw))
    inside = slice(COLOURS_SIDE // 3, 2 * COLOURS_SIDE // 3)
    pure = _moments(_features(network, mixed, pure_colours(lr_nchw.shape[1]))[..., inside, inside])
    (reader,) = network.consumers(mixed)
    kernel = network.conv(reader.name).weight.double()
    moments = (1 - COLOURS_SHARE) * seen + COLOURS_SHARE * pure
    matrix = spreading_matrix(moments, torch.einsum("ocuv,oduv->cd", kernel, kernel))
    mix_channels(network, network.mixed, matrix)


def pure_colours(channels: int) -> Tensor:
    """Areas of one colour each, all whose channels are 0 or 1: (2**C, C, COLOURS_SIDE, COLOURS_SIDE)."""
    colours = torch.tensor(list(itertools.product((0.0, 1.0), repeat=channels)))
    return colours[:, :, None, None].repeat(1, 1, COLOURS_SIDE, COLOURS_SIDE)


def _features(network: SpanNodes, name: str, lr_nchw: Tensor) -> Tensor:
    kept: dict[str, Tensor] = {}
    network.run(
        lr_nchw, tensor=lambda tensor, value: kept.setdefault(tensor, value) if tensor == name else value
    )
    return kept[name].double()


def _moments(features: Tensor) -> Tensor:
    """E[p p^T] over pixels, (C, C)."""
    return torch.einsum("nchw,ndhw->cd", features, features) / (features.numel() / features.shape[1])


def _even_factors(samples: Sequence[Sample]) -> Tensor:
    """Factors that bring the channels' ranges together, as well as one factor can for several tensors."""
    ranges = torch.stack([channel_ranges(sample).log() for sample in samples])
    wanted = ranges.amax(1, keepdim=True) - ranges
    return wanted.mean(0).exp()


@torch.no_grad()
def place_image(network: SpanNodes, samples: dict[str, Sample], activations: Mapping[str, QParams]) -> None:
    """Give the image that is joined with other channels their scale and zero point, in place.

    A `concat` has one scale. A pixel of k / 255 gets the 8-bit integer k - 128 at any scale and zero point:
    what that stands for is a linear function of the pixel and of one, and the channel of ones takes its shift
    back, at the border too.

    Args:
        network: its convolutions are changed; its output stays.
        samples: the values of the image, and of what it is joined with, are changed likewise.
        activations: of int8; the image's are those of the `concat`.
    """
    for name, sources in network.joined().items():
        if MASK not in sources:
            continue
        low, high = activations[MASK].low, activations[MASK].high
        matrix = torch.eye(network.config.in_channels + 1, dtype=torch.float64) * (high - low)
        matrix[:, -1] = low
        matrix[-1, -1] = max(low, high, key=abs)
        mix_channels(network, (MASK,), matrix)
        at = network.parts(name)[MASK]
        for tensor, places in ((MASK, slice(None)), (name, at)):
            values = samples[tensor].values.clone()
            values[:, places] = torch.einsum("oc,nchw->nohw", matrix.float(), values[:, places])
            samples[tensor] = replace(samples[tensor], values=values)
