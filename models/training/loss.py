"""What training minimizes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from .crops import Batch
from .luma import luma

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
        image_floor: where it is given, a crop's difference counts in these two by one over `Batch.error`, the
            teacher's own on the image, plus this floor. An error is worth so much in an image's PSNR: what
            is lost on a smooth image, which the teacher gets almost right, counts for more than the same on
            one full of texture, whose error no network of this size can lower.
    """

    pixel: float = 1.0
    frequency: float = 0.0
    distillation: float = 0.0
    luma_share: float = 0.0
    distance: Distance = "absolute"
    margin: int = 0
    image_floor: float | None = None


def training_loss(upscaled: Tensor, batch: Batch, weights: LossWeights) -> Tensor:
    """The weighted sum of the terms, a float32 scalar.

    Args:
        upscaled: (N, C, s*H, s*W), any float dtype, unclipped.
        batch: has a teacher's output where `weights.distillation` is not 0 or there is an `image_floor`.
        weights: factors.

    Raises:
        ValueError: a teacher's output is wanted and absent.
    """
    if batch.teacher is None and (weights.distillation or weights.image_floor is not None):
        raise ValueError("distillation and weights of images need training images with a teacher's output")
    inside = _inside(batch, weights.margin)
    upscaled, hr = upscaled[inside].float(), batch.hr[inside]
    teacher = hr if batch.teacher is None else batch.teacher[inside]
    crops = _crop_weights(batch, weights.image_floor)
    difference = upscaled - hr
    loss = difference.new_zeros(())
    if weights.pixel:
        loss = loss + weights.pixel * _distance(difference, weights, crops)
    if weights.frequency:
        spectrum = torch.view_as_real(torch.fft.rfft2(difference, norm="ortho"))
        loss = loss + weights.frequency * spectrum.abs().mean()
    if weights.distillation:
        loss = loss + weights.distillation * _distance(upscaled - teacher, weights, crops)
    return loss


def _inside(batch: Batch, margin: int) -> tuple[Any, ...]:
    """The part of (N, C, s*H, s*W) that counts."""
    cut = margin * (batch.hr.shape[-1] // batch.lr.shape[-1])
    return (..., *(slice(cut, side - cut) for side in batch.hr.shape[-2:]))


def _crop_weights(batch: Batch, floor: float | None) -> Tensor | None:
    """What each crop counts, (N, 1, 1, 1); None where all count the same."""
    return None if floor is None or batch.error is None else (1 / (batch.error + floor)).view(-1, 1, 1, 1)


def _distance(difference: Tensor, weights: LossWeights, crops: Tensor | None) -> Tensor:
    """The mean over pixels of a difference in [0, 1], (N, C, H, W), its crops weighted if they are."""

    def mean_of(difference: Tensor) -> Tensor:
        counted = _COUNTED[weights.distance](difference)
        return (counted if crops is None else crops * counted).mean()

    mean = mean_of(difference)
    if not weights.luma_share or difference.shape[1] != 3:
        return mean
    on_luma = mean_of(luma(difference)[:, None])
    return weights.luma_share * on_luma + (1 - weights.luma_share) * mean


_COUNTED: dict[Distance, Callable[[Tensor], Tensor]] = {
    "absolute": torch.abs,
    "squared": lambda difference: 255**2 * difference.square(),
}
