"""PSNR on held-out images, as evaluation takes it: on Y, 8-bit, border cut."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from .crops import Frame, TrainingPair
from .luma import luma

MOST_PIXELS = 2**16
"""LR pixels that are run together."""


@torch.no_grad()
def total_psnr_y_db(
    network: nn.Module, pairs: Sequence[TrainingPair], *, scale: int, device: torch.device
) -> Tensor:
    """The sum over `pairs` of PSNR-Y in dB, float64, on `device`; divide by their number for the mean.

    The output is clipped and rounded to 8 bits, `scale` pixels are cut from the border (not from images too
    small for that). Grey images count as Y.

    Args:
        network: (N, C, H, W) in [0, 1] -> (N, C, s*H, s*W).
        pairs: whole images; small ones of one size are run together.
        scale: pixels cut.
        device: where the network is.
    """
    total = torch.zeros((), dtype=torch.float64, device=device)
    for together in _batches(pairs):
        lr, hr = (_nchw(frames, device) for frames in zip(*((p.lr, p.hr) for p in together), strict=True))
        upscaled = (network(lr.float() / 255).float().clamp(0, 1) * 255).round().double()
        total += _psnr_y_db(upscaled - hr.double(), scale).sum()
    return total


def _batches(pairs: Sequence[TrainingPair]) -> Iterator[Sequence[TrainingPair]]:
    """The pairs, those of one size together as far as `MOST_PIXELS` allows."""
    by_size: dict[tuple[int, ...], list[TrainingPair]] = {}
    for pair in pairs:
        by_size.setdefault(pair.lr.shape, []).append(pair)
    for shape, alike in by_size.items():
        count = max(1, MOST_PIXELS // (shape[0] * shape[1]))
        yield from (alike[k : k + count] for k in range(0, len(alike), count))


def _nchw(frames: Sequence[Frame], device: torch.device) -> Tensor:
    return torch.from_numpy(np.stack(frames)).to(device).permute(0, 3, 1, 2)


def _psnr_y_db(difference: Tensor, border: int) -> Tensor:
    """PSNR-Y of (N, C, H, W) in grey levels, of each image; identical images count as 100 dB."""
    y = luma(difference)
    if min(y.shape[1:]) > 2 * border:
        y = y[:, border : y.shape[1] - border, border : y.shape[2] - border]
    return 10 * torch.log10(255**2 / y.square().mean((1, 2)).clamp_min(255**2 * 1e-10))
