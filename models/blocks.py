"""The parts that SPAN networks are made of: Conv3XC, the plain convolution it folds to, the SPAB block."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

Conv3 = Callable[[int, int], nn.Module]
"""Makes a 3x3 convolution from channels in to channels out that keeps height and width."""

GAIN = 2
"""Conv3XC widens to this many times its channels between its convolutions."""


class Conv3XC(nn.Module):
    """The trainable 3x3 convolution: a 1x1 -> 3x3 -> 1x1 branch plus a 1x1 skip, all linear, all with bias.

    The zero padding stands before the first 1x1, so at the border the 3x3 sees that convolution's bias and
    not zero; this is what makes the fold to one padded 3x3 exact there too. Parameters are named as in the
    published checkpoints (`sk`, `conv.0`, `conv.1`, `conv.2`), less the cached `eval_conv`: see
    `models.reparam`.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.sk = nn.Conv2d(in_channels, out_channels, 1)
        self.conv = nn.Sequential(
            nn.Conv2d(in_channels, in_channels * GAIN, 1),
            nn.Conv2d(in_channels * GAIN, out_channels * GAIN, 3),
            nn.Conv2d(out_channels * GAIN, out_channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H, W)."""
        branch: Tensor = self.conv(functional.pad(x, (1, 1, 1, 1)))
        skip: Tensor = self.sk(x)
        return branch + skip


def plain_conv3(in_channels: int, out_channels: int) -> nn.Conv2d:
    """The folded counterpart of `Conv3XC`: one zero-padded 3x3 convolution with bias."""
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)


class Spab(nn.Module):
    """Swift parameter-free attention block (SPAN, arXiv:2311.12770, section 3.2).

    out = (c3 + x) * (sigmoid(c3) - 0.5), where c3 is the third of three convolutions with SiLU between them.
    A block whose channels change (the first of SPAN-F) has neither residual nor attention: its output is c3.
    """

    def __init__(self, in_channels: int, out_channels: int, conv3: Conv3) -> None:
        super().__init__()
        self.attention = in_channels == out_channels
        self.c1_r = conv3(in_channels, out_channels)
        self.c2_r = conv3(out_channels, out_channels)
        self.c3_r = conv3(out_channels, out_channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C_in, H, W) -> the output and the activated first convolution, both (N, C_out, H, W)."""
        first = functional.silu(self.c1_r(x))
        third: Tensor = self.c3_r(functional.silu(self.c2_r(first)))
        if not self.attention:
            return third, first
        return (third + x) * (third.sigmoid() - 0.5), first
