"""SPAN-F (NTIRE 2025 efficient super-resolution, team 24): parts, how they are joined, what shapes tell."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .blocks import Conv3, Spab
from .config import Dimensions, SpanConfig

BLOCKS = 5


def layers(config: SpanConfig, conv3: Conv3) -> dict[str, nn.Module]:
    """The named parts, in the order in which data passes them."""
    width, out = config.feature_channels, config.out_channels * config.upscale**2
    return {
        "conv_near": nn.Conv2d(config.in_channels, out, 3, padding=1, groups=config.in_channels, bias=False),
        "block_1": Spab(config.in_channels, width, conv3),
        **{f"block_{i}": Spab(width, width, conv3) for i in range(2, BLOCKS + 1)},
        "conv_cat": nn.Conv2d(out + 2 * width, config.concat_channels, 1),
        "conv_2": conv3(config.concat_channels, out),
        "shuffle": nn.PixelShuffle(config.upscale),
    }


def forward(parts: Mapping[str, nn.Module], x: Tensor) -> Tensor:
    """The image (N, C, H, W) in [0, 1] through the network; (N, C_out, s*H, s*W)."""
    block_1, _ = parts["block_1"](x)
    out = block_1
    for i in range(2, BLOCKS + 1):
        out, _ = parts[f"block_{i}"](out)
    joined = torch.cat([parts["conv_near"](x), out, block_1], dim=1)
    upscaled: Tensor = parts["shuffle"](parts["conv_2"](parts["conv_cat"](joined)))
    return upscaled


def dimensions(shapes: Mapping[str, tuple[int, ...]]) -> Dimensions:
    """The sizes, read off the weights' shapes (out, in, ...) under folded names."""
    return Dimensions(
        in_channels=shapes["block_1.c1_r.weight"][1],
        feature_channels=shapes["block_1.c1_r.weight"][0],
        concat_channels=shapes["conv_cat.weight"][0],
        shuffled_channels=shapes["conv_2.weight"][0],
    )
