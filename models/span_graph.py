"""SPAN (arXiv:2311.12770): what it is made of, how the parts are joined, and what its shapes tell of it."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .blocks import Conv3, Spab
from .config import Dimensions, SpanConfig

BLOCKS = 6


def layers(config: SpanConfig, conv3: Conv3) -> dict[str, nn.Module]:
    """The named parts, in the order in which data passes them."""
    width, out = config.feature_channels, config.out_channels * config.upscale**2
    return {
        "conv_1": conv3(config.in_channels, width),
        **{f"block_{i}": Spab(width, width, conv3) for i in range(1, BLOCKS + 1)},
        "conv_2": conv3(width, width),
        "conv_cat": nn.Conv2d(4 * width, config.concat_channels, 1),
        "upsampler": nn.Sequential(
            nn.Conv2d(config.concat_channels, out, 3, padding=1), nn.PixelShuffle(config.upscale)
        ),
    }


def forward(parts: Mapping[str, nn.Module], x: Tensor) -> Tensor:
    """The normalized image (N, C, H, W) through the network; (N, C_out, s*H, s*W).

    The fourth source of the concat is block 6's first convolution after its SiLU: in the published code an
    in-place activation changes that tensor before it is returned, and the weights were trained with it.
    """
    first = parts["conv_1"](x)
    block_1, _ = parts["block_1"](first)
    out = block_1
    for i in range(2, BLOCKS + 1):
        out, activated = parts[f"block_{i}"](out)
    joined = torch.cat([first, parts["conv_2"](out), block_1, activated], dim=1)
    upscaled: Tensor = parts["upsampler"](parts["conv_cat"](joined))
    return upscaled


def dimensions(shapes: Mapping[str, tuple[int, ...]]) -> Dimensions:
    """The sizes, read off the weights' shapes (out, in, ...) under folded names."""
    return Dimensions(
        in_channels=shapes["conv_1.weight"][1],
        feature_channels=shapes["conv_1.weight"][0],
        concat_channels=shapes["conv_cat.weight"][0],
        shuffled_channels=shapes["upsampler.0.weight"][0],
    )
