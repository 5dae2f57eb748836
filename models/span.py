"""The network in training form, and what it shares with the folded form."""

import torch
from torch import Tensor, nn

from .blocks import Conv3, Conv3XC
from .config import SpanConfig
from .variants import NETWORKS


class SpanGraph(nn.Module):
    """A network of `NETWORKS` whose 3x3 convolutions are made by a given factory. Parameters start at random.

    Attributes:
        config: its hyper-parameters.
        mean: buffer (1, C, 1, 1), subtracted from the image; not part of the state dict.
    """

    config: SpanConfig
    mean: Tensor

    def __init__(self, config: SpanConfig, conv3: Conv3) -> None:
        super().__init__()
        if config.normalize and len(config.rgb_mean) != config.in_channels:
            raise ValueError(f"{len(config.rgb_mean)} means for {config.in_channels} input channels")
        self.config = config
        self.register_buffer("mean", torch.tensor(config.rgb_mean).view(1, -1, 1, 1), persistent=False)
        for name, module in NETWORKS[config.network].layers(config, conv3).items():
            self.add_module(name, module)

    def forward(self, lr_nchw: Tensor) -> Tensor:
        """Upscale a batch.

        Args:
            lr_nchw: (N, C, H, W) RGB in [0, 1].

        Returns:
            (N, C_out, s*H, s*W), nominally [0, 1], unclipped.
        """
        x = (lr_nchw - self.mean) * self.config.img_range if self.config.normalize else lr_nchw
        return NETWORKS[self.config.network].forward(dict(self.named_children()), x)


class Span(SpanGraph):
    """A network in training form: every 3x3 convolution but the upsampler's is a `Conv3XC`."""

    def __init__(self, config: SpanConfig) -> None:
        super().__init__(config, Conv3XC)
