"""PSNR on held-out images, as evaluation takes it: on Y, 8-bit, border cut."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .crops import TrainingPair

BT601_STUDIO = (65.481, 128.553, 24.966)
"""Y = 16 + this * RGB for RGB in [0, 1] (ITU-R BT.601, 16..235); the offset cancels in a difference."""


@torch.no_grad()
def total_psnr_y_db(
    network: nn.Module, pairs: Sequence[TrainingPair], *, scale: int, device: torch.device
) -> Tensor:
    """The sum over `pairs` of PSNR-Y in dB, float64, on `device`; divide by their number for the mean.

    The output is clipped and rounded to 8 bits, `scale` pixels are cut from the border (not from images too
    small for that). Grey images count as Y.

    Args:
        network: (N, C, H, W) in [0, 1] -> (N, C, s*H, s*W).
        pairs: whole images; one is run at a time.
        scale: pixels cut.
        device: where the network is.
    """
    total = torch.zeros((), dtype=torch.float64, device=device)
    for pair in pairs:
        lr = torch.from_numpy(pair.lr).to(device).permute(2, 0, 1)[None].float() / 255
        hr = torch.from_numpy(pair.hr).to(device).permute(2, 0, 1)[None].double()
        upscaled = (network(lr).float().clamp(0, 1) * 255).round().double()
        total += _psnr_y_db(upscaled - hr, scale)
    return total


def _psnr_y_db(difference: Tensor, border: int) -> Tensor:
    """PSNR-Y of (1, C, H, W) in grey levels; identical images count as 100 dB."""
    y = luma(difference)
    if min(y.shape[1:]) > 2 * border:
        y = y[:, border : y.shape[1] - border, border : y.shape[2] - border]
    return (10 * torch.log10(255**2 / y.square().mean().clamp_min(255**2 * 1e-10))).squeeze()


def luma(difference: Tensor) -> Tensor:
    """The Y of a difference, (N, C, H, W) to (N, H, W), in its unit; grey images are their own."""
    weights = BT601_STUDIO if difference.shape[1] == 3 else (255.0,)
    return torch.einsum("nchw,c->nhw", difference, difference.new_tensor(weights) / 255)
