"""Where training from scratch begins: as bilinear upscaling, with blocks of steady activations."""

import copy
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

import torch
from torch import Tensor, nn

from ..blocks import Conv3XC
from ..config import SpanConfig
from ..errors import InputError
from ..span import Span

FIRST_STD, INNER_STD, THIRD_STD = 1.0, 1.5, 2.0
"""Standard deviations wanted of conv_1, of a block's first two convolutions, and of its third.

A block multiplies by sigmoid(c3) - 0.5, which is c3 / 4 for small c3: activations would vanish as a power
of the depth. With a third convolution of about 2, a block's output is about as large as its input."""

HEAD_SCALE = 0.1
"""Factor on the last convolution's weights for all features but the image itself, so that the first output
is bilinear."""


def initialize(config: SpanConfig, *, seed: int, sample: Tensor) -> Span:
    """A `Span` with random weights that upscales bilinearly, up to small noise, before the first step.

    The first channels of `conv_1` hold the image, `conv_cat` hands them on, and the upsampler interpolates
    them. Every other convolution is scaled so that its output on `sample` has the standard deviation that
    the module names.

    Args:
        config: of network `span`, with at least as many feature and concat channels as the image has,
            normalized.
        seed: of the weights.
        sample: (N, C, H, W) in [0, 1], training crops.

    Raises:
        InputError: another network, or too few channels.
    """
    image = config.in_channels
    if config.network != "span" or min(config.feature_channels, config.concat_channels) < image:
        raise InputError(
            f"cannot begin a {config.network} of {config.feature_channels} feature and "
            f"{config.concat_channels} concat channels from scratch; accepted is a "
            f"span with at least {image} feature and concat channels"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        span = Span(config)
    with torch.no_grad():
        _bilinear_path(span)
        _scale_blocks(span, sample)
    return span


def with_img_range(span: Span, img_range: float) -> Span:
    """A network of the same output, up to rounding, whose image is scaled by another factor first.

    The first convolution's input weights take up the difference; the padding is zero either way.
    """
    scaled = Span(replace(span.config, img_range=img_range))
    scaled.load_state_dict(copy.deepcopy(span.state_dict()))
    parameters = dict(scaled.named_parameters())
    with torch.no_grad():
        for name in ("conv_1.sk.weight", "conv_1.conv.0.weight"):
            parameters[name].mul_(span.config.img_range / img_range)
    return scaled.to(next(span.parameters()).device).train(span.training)


def _bilinear_path(span: Span) -> None:
    """Make the image pass conv_1 and conv_cat unchanged, and the upsampler interpolate it."""
    config, image = span.config, span.config.in_channels
    eye = torch.eye(image)[:, :, None, None]
    parameters = dict(span.named_parameters())
    for name in ("conv_1.sk", "conv_1.conv.2"):
        parameters[f"{name}.weight"][:image] = 0
        parameters[f"{name}.bias"][:image] = 0
    # The image in [0, 1] less its mean, whatever img_range is.
    parameters["conv_1.sk.weight"][:image] = eye / (config.img_range if config.normalize else 1.0)
    parameters["conv_cat.weight"][:image] = 0
    parameters["conv_cat.weight"][:image, :image] = eye
    parameters["conv_cat.bias"][:] = 0
    parameters["upsampler.0.weight"].mul_(HEAD_SCALE)
    parameters["upsampler.0.weight"][:, :image] = _bilinear_kernels(config)
    mean = torch.tensor(config.rgb_mean) if config.normalize else torch.zeros(config.out_channels)
    parameters["upsampler.0.bias"][:] = mean.repeat_interleave(config.upscale**2)


def _bilinear_kernels(config: SpanConfig) -> Tensor:
    """(C_out * s * s, C_in, 3, 3), in PyTorch's order of channels before a pixel shuffle."""
    s = config.upscale
    offset = (torch.arange(s) + 0.5) / s - 0.5
    taps = torch.stack([(-offset).clamp_min(0), 1 - offset.abs(), offset.clamp_min(0)], dim=1)
    planes = torch.einsum("yu,xv->yxuv", taps, taps).reshape(s * s, 3, 3)
    same = torch.eye(config.out_channels, config.in_channels)
    return torch.einsum("oi,puv->opiuv", same, planes).reshape(-1, config.in_channels, 3, 3)


def _scale_blocks(span: Span, sample: Tensor) -> None:
    """Scale each Conv3XC, in the order of the data, to its wanted standard deviation on `sample`."""
    wanted = {
        "c1_r": INNER_STD,
        "c2_r": INNER_STD,
        "c3_r": THIRD_STD,
        "conv_1": FIRST_STD,
        "conv_2": FIRST_STD,
    }
    with ExitStack() as hooks:
        for name, module in span.named_modules():
            if isinstance(module, Conv3XC):
                first = span.config.in_channels if name == "conv_1" else 0
                hook = _scaling_hook(wanted[name.rpartition(".")[2]], first)
                hooks.callback(module.register_forward_hook(hook).remove)
        span(sample)


def _scaling_hook(std: float, first: int) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
    """A hook that scales a Conv3XC's output channels from `first` on, and its weights with them."""

    def scale(conv: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        factor = std / float(output[:, first:].std())
        parameters = dict(conv.named_parameters())
        for name in ("sk.weight", "sk.bias", "conv.2.weight", "conv.2.bias"):
            parameters[name][first:] *= factor
        return torch.cat([output[:, :first], output[:, first:] * factor], dim=1)

    return scale
