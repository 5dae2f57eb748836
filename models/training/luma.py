"""Y of RGB differences, which PSNR-Y is taken on."""

import torch
from torch import Tensor

BT601_STUDIO = (65.481, 128.553, 24.966)
"""Y = 16 + this * RGB for RGB in [0, 1] (ITU-R BT.601, 16..235); the offset cancels in a difference."""


def luma(difference: Tensor) -> Tensor:
    """The Y of a difference, (N, C, H, W) to (N, H, W), in its unit; grey images are their own."""
    weights = BT601_STUDIO if difference.shape[1] == 3 else (255.0,)
    return torch.einsum("nchw,c->nhw", difference, difference.new_tensor(weights) / 255)
