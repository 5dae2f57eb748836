"""The images that training reads, and those that it holds out to choose by."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from models.progress import Progress, silent

from .datasets import Dataset
from .resize import downscale, imresize, modcrop
from .runner import Frame

if TYPE_CHECKING:
    from models import SpanDeploy
    from models.training import TrainingPair


def split_off(dataset: Dataset, held_out: Collection[int]) -> tuple[Dataset, Dataset]:
    """The dataset without the samples of these indices, and these alone."""
    kept, others = (
        tuple(pair for index, pair in enumerate(dataset.pairs) if (index in held_out) is held)
        for held in (False, True)
    )
    return replace(dataset, pairs=kept), replace(dataset, pairs=others)


def read_pairs(
    dataset: Dataset, stage: str, *, most: int | None = None, progress: Progress = silent
) -> "tuple[TrainingPair, ...]":
    """Every sample, in memory.

    Args:
        dataset: with high resolution.
        stage: what `progress` is told is being read.
        most: longest side in LR pixels; of larger images the middle is taken. None to take them whole.
        progress: told after each image.

    Raises:
        InputError: an image cannot be read.
    """
    from models.training import TrainingPair

    pairs = []
    for done, sample in enumerate(dataset, start=1):
        assert sample.hr is not None, "training data has high resolution"
        lr, hr = sample.lr, sample.hr
        if most is not None:
            top, left = (max(0, (side - most) // 2) for side in lr.shape[:2])
            lr = lr[top : top + most, left : left + most]
            top, left, large = (dataset.scale * length for length in (top, left, most))
            hr = hr[top : top + large, left : left + large]
        pairs.append(TrainingPair(name=sample.name, lr=lr, hr=hr))
        progress(stage, done, len(dataset), sample.name)
    return tuple(pairs)


def with_smaller(
    pairs: "Sequence[TrainingPair]",
    factors: Iterable[float],
    *,
    scale: int,
    least: int,
    stage: str,
    progress: Progress = silent,
) -> "tuple[TrainingPair, ...]":
    """The pairs, and each again as a photograph made smaller, from which low resolution is made anew.

    Photographs are compressed, blurred and noisy pixel by pixel; made smaller they are not, and hold finer
    detail. A network that is trained on both is not drawn to the flaws of one collection.

    Args:
        pairs: without a teacher's output.
        factors: sizes, as parts of the pair's own, below 1.
        scale: HR pixels per LR pixel.
        least: shortest side in LR pixels; smaller images are left out.
        stage: what `progress` is told is being made.
        progress: told after each pair.
    """
    made, factors = list(pairs), tuple(factors)
    for done, pair in enumerate(pairs, start=1):
        for factor in factors:
            if factor * min(pair.hr.shape[:2]) < scale * least:
                continue
            made.append(_reduced(f"{pair.name} x{factor:g}", pair.hr, factor, scale))
        progress(stage, done, len(pairs), pair.name)
    return tuple(made)


def of_text(
    network: "SpanDeploy", count: int, *, side: int, seed: int, stage: str, progress: Progress = silent
) -> "tuple[TrainingPair, ...]":
    """Half of `count` pages of drawn text: those that the float network overshoots least.

    Args:
        network: in float.
        count: pages that are drawn.
        side: height and width in LR pixels.
        seed: of letters, sizes and colours.
        stage: what `progress` is told is being made.
        progress: told after each page.

    Raises:
        InputError: Pillow cannot draw letters.
    """
    import torch

    from quantize.text import FINER, mastered, pages

    scale, made = network.config.upscale, []
    for done, page in enumerate(pages(count, side, channels=network.config.in_channels, seed=seed), start=1):
        made.append(_reduced(f"page {done}", page, scale / FINER, scale))
        progress(stage, done, count, f"page {done}")
    small = torch.from_numpy(np.stack([pair.lr for pair in made])).permute(0, 3, 1, 2).float() / 255
    return tuple(replace(made[index], drawn=True) for index in mastered(network, small))


def _reduced(name: str, hr: Frame, factor: float, scale: int) -> "TrainingPair":
    """An image made smaller, and low resolution from that."""
    from models.training import TrainingPair

    smaller = modcrop(imresize(hr, factor), scale)
    return TrainingPair(name=name, lr=downscale(smaller, scale), hr=smaller)
