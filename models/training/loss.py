"""What training minimizes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .crops import Batch


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Factors of the terms; a term with factor 0 is not computed.

    Attributes:
        pixel: mean absolute difference to the original.
        frequency: mean absolute difference to the original of real and imaginary parts of the 2-D Fourier
            transform, normalized to keep energy (`ortho`), so that it is of the size of the pixel term.
        distillation: mean absolute difference to the teacher's output.
    """

    pixel: float = 1.0
    frequency: float = 0.0
    distillation: float = 0.0


def training_loss(upscaled: Tensor, batch: Batch, weights: LossWeights) -> Tensor:
    """The weighted sum of the terms, a float32 scalar.

    Args:
        upscaled: (N, C, s*H, s*W), any float dtype, unclipped.
        batch: has a teacher's output where `weights.distillation` is not 0.
        weights: factors.

    Raises:
        ValueError: a teacher's output is wanted and absent.
    """
    difference = upscaled.float() - batch.hr
    loss = difference.new_zeros(())
    if weights.pixel:
        loss = loss + weights.pixel * difference.abs().mean()
    if weights.frequency:
        spectrum = torch.view_as_real(torch.fft.rfft2(difference, norm="ortho"))
        loss = loss + weights.frequency * spectrum.abs().mean()
    if weights.distillation:
        if batch.teacher is None:
            raise ValueError("distillation needs training images with a teacher's output")
        loss = loss + weights.distillation * (upscaled.float() - batch.teacher).abs().mean()
    return loss
