"""Random crops of whole images held in memory, a function of the seed and the step alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from .luma import luma

Frame = NDArray[np.uint8]

TURNS = 8
"""The symmetries of a square: four rotations, each plain or mirrored."""


@dataclass(frozen=True, kw_only=True)
class TrainingPair:
    """One training image.

    Attributes:
        name: for messages.
        lr: (H, W, C) uint8.
        hr: (s*H, s*W, C) uint8.
        teacher: what a teacher makes of `lr`, shaped like `hr`, uint8; None without one.
        drawn: whether it is a drawing and no photograph; see `Batch.error`.
    """

    name: str
    lr: Frame
    hr: Frame
    teacher: Frame | None = None
    drawn: bool = False


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Crops of one step, float32 in [0, 1].

    Attributes:
        lr: (N, C, H, W).
        hr: (N, C, s*H, s*W).
        teacher: like `hr`, or None.
        error: (N,), the teacher's squared luma error on the whole image that a crop is of, where 1 is that on
            the middle photograph; None without a teacher. A drawing, most of which is empty, has at least 1.
    """

    lr: Tensor
    hr: Tensor
    teacher: Tensor | None
    error: Tensor | None = None


class CropSource:
    """Square crops at random places of random images, turned and mirrored at random where that is wanted.

    The crops of a step depend on the seed and the step's number and on nothing else, so a resumed training
    sees what an uninterrupted one would have seen, and several processes can share a step without talking.
    """

    def __init__(
        self,
        pairs: Sequence[TrainingPair],
        *,
        scale: int,
        crop: int,
        turned: bool = True,
        device: torch.device | str = "cpu",
    ) -> None:
        """Move the images to `device`.

        Args:
            pairs: all with a teacher's output or all without.
            scale: pixels of high resolution per pixel of low, along each side.
            crop: side of a crop in LR pixels.
            turned: whether crops are turned and mirrored. A teacher's output then is that of the crop as it
                lies in the image, which is not quite what the teacher makes of the turned crop.
            device: where crops are cut and batches lie.

        Raises:
            InputError: there is no image, one is smaller than a crop, a pair's sizes do not fit, or only
                some pairs have a teacher's output.
        """
        _refuse(pairs, scale, crop)
        self.scale, self.crop, self._turns = scale, crop, TURNS if turned else 1
        self._lr = [_chw(pair.lr, device) for pair in pairs]
        self._hr = [_chw(pair.hr, device) for pair in pairs]
        teachers = [pair.teacher for pair in pairs if pair.teacher is not None]
        self._teacher = [_chw(frame, device) for frame in teachers] or None
        self._error = _relative_errors(pairs).to(device) if teachers else None
        area = np.array(
            [(lr.shape[1] - crop + 1) * (lr.shape[2] - crop + 1) for lr in self._lr], dtype=np.float64
        )
        self._odds = area / area.sum()

    def batch(self, *, size: int, seed: int, step: int, rank: int = 0, world: int = 1) -> Batch:
        """The crops of one step, or one process's share of them.

        Images are drawn in proportion to the number of places for a crop in them.

        Args:
            size: crops over all processes, a multiple of `world`.
            seed: of the training.
            step: number of the step.
            rank: number of this process.
            world: number of processes.
        """
        draw = np.random.default_rng([seed, step])
        images = draw.choice(len(self._lr), size=size, p=self._odds)
        places, turns = draw.random((size, 2)), draw.integers(self._turns, size=size)
        cut: list[list[Tensor]] = []
        for k in range(rank, size, world):
            lr = self._lr[images[k]]
            top, left = (int(places[k, axis] * (lr.shape[axis + 1] - self.crop + 1)) for axis in (0, 1))
            cut.append(
                [
                    _turned(image, top, left, side, turns[k])
                    for image, top, left, side in self._views(images[k], top, left)
                ]
            )
        lr_nchw, hr_nchw, *teacher = (
            torch.stack(list(parts)).float() / 255 for parts in zip(*cut, strict=True)
        )
        error = None if self._error is None else self._error[images[rank:size:world]]
        return Batch(lr=lr_nchw, hr=hr_nchw, teacher=teacher[0] if teacher else None, error=error)

    def _views(self, image: int, top: int, left: int) -> list[tuple[Tensor, int, int, int]]:
        """The images that a crop is cut from, each with the crop's corner and side in its own pixels."""
        s = self.scale
        large = [self._hr[image], *([self._teacher[image]] if self._teacher else [])]
        return [(self._lr[image], top, left, self.crop)] + [
            (one, s * top, s * left, s * self.crop) for one in large
        ]


def _relative_errors(pairs: Sequence[TrainingPair]) -> Tensor:
    """What `Batch.error` says of every image, (N,) float32; 1 for all where the middle one has no error."""
    errors = torch.tensor([_squared_luma_error(pair) for pair in pairs])
    drawn = torch.tensor([pair.drawn for pair in pairs])
    middle = errors[drawn if bool(drawn.all()) else ~drawn].median()
    if not bool(middle > 0):
        return torch.ones_like(errors)
    return torch.where(drawn, errors.clamp_min(middle), errors) / middle


def _squared_luma_error(pair: TrainingPair) -> float:
    """The teacher's on the whole image, in squared grey levels."""
    assert pair.teacher is not None
    difference = _chw(pair.teacher, "cpu").float() - _chw(pair.hr, "cpu").float()
    return float(luma(difference[None]).square().mean())


def _turned(chw: Tensor, top: int, left: int, side: int, turn: int) -> Tensor:
    view = chw[:, top : top + side, left : left + side]
    view = view.flip(2) if turn >= TURNS // 2 else view
    return view.rot90(int(turn) % 4, (1, 2))


def _chw(frame: Frame, device: torch.device | str) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(frame.transpose(2, 0, 1))).to(device)


def _refuse(pairs: Sequence[TrainingPair], scale: int, crop: int) -> None:
    if not pairs:
        raise InputError("there is no image to train on; give a folder with more images than are held out")
    small = [pair for pair in pairs if min(pair.lr.shape[:2]) < crop]
    if small:
        height, width = (scale * side for side in small[0].lr.shape[:2])
        raise InputError(
            f"{len(small)} training images are too small for crops of {crop} LR pixels, the first of them "
            f"{small[0].name} ({height}x{width}); give smaller crops, "
            f"or images of at least {scale * crop} pixels a side"
        )
    for pair in pairs:
        size = tuple(scale * side for side in pair.lr.shape[:2])
        others = [frame for frame in (pair.hr, pair.teacher) if frame is not None]
        if any(frame.shape[:2] != size for frame in others):
            raise InputError(
                f"{pair.name}: {others[0].shape[:2]} is not {scale} times the low resolution "
                f"{pair.lr.shape[:2]}; give pairs whose sizes differ by exactly the scale"
            )
    taught = sum(pair.teacher is not None for pair in pairs)
    if taught not in (0, len(pairs)):
        raise InputError(
            f"{taught} of {len(pairs)} training images have a teacher's output; "
            "all of them or none must have one"
        )
