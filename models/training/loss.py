"""What training minimizes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from .crops import Batch
from .validation import luma

Distance = Literal["absolute", "squared"]


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Factors of the terms; a term with factor 0 is not computed.

    Attributes:
        pixel: mean difference to the original.
        frequency: mean absolute difference to the original of real and imaginary parts of the 2-D Fourier
            transform, normalized to keep energy (`ortho`), so that it is of the size of the pixel term.
        distillation: mean difference to the teacher's output.
        luma_share: part of the pixel and distillation terms that is counted on luma, which PSNR-Y measures;
            the rest on the channels. Grey images have no such part.
        distance: how a difference counts in these two; squares are those of grey levels.
        margin: LR pixels along each side of a crop that count in no term: near its border the network sees
            padding where the image goes on.
    """

    pixel: float = 1.0
    frequency: float = 0.0
    distillation: float = 0.0
    luma_share: float = 0.0
    distance: Distance = "absolute"
    margin: int = 0


def training_loss(upscaled: Tensor, batch: Batch, weights: LossWeights) -> Tensor:
    """The weighted sum of the terms, a float32 scalar.

    Args:
        upscaled: (N, C, s*H, s*W), any float dtype, unclipped.
        batch: has a teacher's output where `weights.distillation` is not 0.
        weights: factors.

    Raises:
        ValueError: a teacher's output is wanted and absent.
    """
    inside = _inside(batch, weights.margin)
    upscaled = upscaled[inside].float()
    difference = upscaled - batch.hr[inside]
    loss = difference.new_zeros(())
    if weights.pixel:
        loss = loss + weights.pixel * _distance(difference, weights)
    if weights.frequency:
        spectrum = torch.view_as_real(torch.fft.rfft2(difference, norm="ortho"))
        loss = loss + weights.frequency * spectrum.abs().mean()
    if weights.distillation:
        if batch.teacher is None:
            raise ValueError("distillation needs training images with a teacher's output")
        loss = loss + weights.distillation * _distance(upscaled - batch.teacher[inside], weights)
    return loss


def _inside(batch: Batch, margin: int) -> tuple[Any, ...]:
    """The part of (N, C, s*H, s*W) that counts."""
    cut = margin * (batch.hr.shape[-1] // batch.lr.shape[-1])
    return (..., *(slice(cut, side - cut) for side in batch.hr.shape[-2:]))


def _distance(difference: Tensor, weights: LossWeights) -> Tensor:
    """The mean over pixels of a difference in [0, 1], (N, C, H, W)."""
    mean = _MEANS[weights.distance]
    if not weights.luma_share or difference.shape[1] != 3:
        return mean(difference)
    return weights.luma_share * mean(luma(difference)) + (1 - weights.luma_share) * mean(difference)


_MEANS: dict[Distance, Callable[[Tensor], Tensor]] = {
    "absolute": lambda difference: difference.abs().mean(),
    "squared": lambda difference: 255**2 * difference.square().mean(),
}
