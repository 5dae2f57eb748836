"""The network in folded form: plain convolutions, as it is quantized, converted and shipped."""

from torch import nn

from .blocks import Spab, plain_conv3
from .config import SpanConfig
from .span import SpanGraph
from .variants import NETWORKS


class SpanDeploy(SpanGraph):
    """A folded network of `NETWORKS`. It can be exported and traced; no operation works in place.

    Its parts keep the published names without the `eval_conv` level. SPAN has `conv_1`, `block_1` to
    `block_6` (each with `c1_r`, `c2_r`, `c3_r`), `conv_2`, `conv_cat` and `upsampler` (a convolution, then a
    pixel shuffle); SPAN-F has `conv_near`, `block_1` to `block_5`, `conv_cat`, `conv_2` and `shuffle`.
    """

    conv_1: nn.Conv2d
    conv_2: nn.Conv2d
    conv_cat: nn.Conv2d
    conv_near: nn.Conv2d
    upsampler: nn.Sequential
    block_1: Spab

    def __init__(self, config: SpanConfig) -> None:
        super().__init__(config, plain_conv3)

    def convolutions(self) -> dict[str, nn.Conv2d]:
        """Every convolution by its full name (`block_1.c1_r`, `upsampler.0`), in the order of the data."""
        return {name: module for name, module in self.named_modules() if isinstance(module, nn.Conv2d)}

    @property
    def receptive_radius(self) -> int:
        """How far, in LR pixels, an output pixel looks up, down, left and right of the LR pixel it lies in.

        The sum of the kernels' radii along the longest path, which every convolution is on but those that the
        table calls parallel.
        """
        parallel = NETWORKS[self.config.network].parallel
        return sum(
            (conv.kernel_size[0] // 2) * conv.dilation[0]
            for name, conv in self.convolutions().items()
            if name not in parallel
        )
