"""Crops belong together, depend on seed and step alone, and are shared out without a gap."""

from typing import Any

import numpy as np
import pytest
import torch

from models import InputError
from models.training import (
    CropSource,
    LossWeights,
    TrainingPair,
    total_psnr_y_db,
    training_loss,
    with_teacher,
)
from models.training.crops import Batch

SCALE = 2


def pair(seed: int, height: int = 10, width: int = 13, *, taught: bool = False) -> TrainingPair:
    """Random low resolution, each pixel repeated for high resolution, and its negative as the teacher's."""
    lr = np.random.default_rng(seed).integers(256, size=(height, width, 3), dtype=np.uint8)
    hr = lr.repeat(SCALE, axis=0).repeat(SCALE, axis=1)
    return TrainingPair(name=f"image {seed}", lr=lr, hr=hr, teacher=255 - hr if taught else None)


def source(**options: bool) -> CropSource:
    return CropSource([pair(0, **options), pair(1, 16, 9, **options)], scale=SCALE, crop=6)


def test_high_resolution_and_teacher_show_what_low_resolution_shows() -> None:
    batch = source(taught=True).batch(size=40, seed=0, step=0)
    assert batch.lr.shape == (40, 3, 6, 6) and batch.lr.dtype == torch.float32 and float(batch.lr.max()) <= 1
    repeated = batch.lr.repeat_interleave(SCALE, dim=2).repeat_interleave(SCALE, dim=3)
    assert torch.equal(batch.hr, repeated)
    assert batch.teacher is not None
    torch.testing.assert_close(batch.teacher, 1 - repeated)


def test_all_eight_symmetries_and_every_place_occur() -> None:
    one = pair(0, 7, 8)
    batch = CropSource([one], scale=SCALE, crop=6).batch(size=400, seed=0, step=0)
    found = {tuple(crop.flatten().mul(255).round().int().tolist()) for crop in batch.lr}
    assert len(found) == 8 * 2 * 3


def test_crops_depend_on_seed_and_step() -> None:
    crops = source()
    first, again = (crops.batch(size=8, seed=5, step=7).lr for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, crops.batch(size=8, seed=5, step=8).lr)
    assert not torch.equal(first, crops.batch(size=8, seed=6, step=7).lr)


def test_processes_share_a_batch_without_gap() -> None:
    crops = source()
    whole = crops.batch(size=6, seed=0, step=3)
    parts = [crops.batch(size=6, seed=0, step=3, rank=rank, world=2) for rank in range(2)]
    assert torch.equal(whole.hr, torch.stack([part.hr for part in parts], dim=1).flatten(0, 1))


def test_without_a_teacher_there_is_none() -> None:
    assert source().batch(size=2, seed=0, step=0).teacher is None


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], r"there is no image to train on"),
        ([pair(0), pair(1, 5, 20)], r"1 training images are too small for crops of 6 .* image 1 \(10x40\)"),
        ([TrainingPair(name="odd", lr=pair(0).lr, hr=pair(1, 11).hr)], r"odd: .* is not 2 times"),
        ([pair(0), pair(1, taught=True)], r"1 of 2 training images have a teacher's output"),
    ],
)
def test_refusals(pairs: list[TrainingPair], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CropSource(pairs, scale=SCALE, crop=6)


def batch_of(value: float, teacher: float | None = None) -> Batch:
    hr = torch.full((1, 3, 8, 8), value)
    return Batch(lr=hr, hr=hr, teacher=None if teacher is None else torch.full_like(hr, teacher))


def test_loss_terms() -> None:
    upscaled = torch.full((1, 3, 8, 8), 0.5)
    batch = batch_of(0.3, teacher=0.9)

    def loss(**weights: float) -> float:
        return float(training_loss(upscaled, batch, LossWeights(**weights)))

    assert loss() == pytest.approx(0.2)
    assert loss(pixel=0, distillation=1) == pytest.approx(0.4)
    assert loss(pixel=0.5, distillation=0.5) == pytest.approx(0.3)
    # A constant has one coefficient, 0.2 * 64 / sqrt(64), among 8 * 5 complex ones of two parts each.
    assert loss(pixel=0, frequency=1) == pytest.approx(0.2 * 8 / 80)
    with pytest.raises(ValueError, match="teacher"):
        training_loss(upscaled, batch_of(0.3), LossWeights(distillation=1))


def test_luma_counts_as_the_evaluation_counts_it_and_squares_are_of_grey_levels() -> None:
    batch = batch_of(0.3)
    upscaled = batch.hr.clone()
    upscaled[:, 1] += 0.2
    luma = 0.2 * 128.553 / 255

    def loss(**weights: Any) -> float:
        return float(training_loss(upscaled, batch, LossWeights(**weights)))

    assert loss(luma_share=1.0) == pytest.approx(luma)
    assert loss(luma_share=0.25) == pytest.approx(0.25 * luma + 0.75 * 0.2 / 3)
    assert loss(distance="squared") == pytest.approx((0.2 * 255) ** 2 / 3)
    assert loss(distance="squared", luma_share=1.0) == pytest.approx((luma * 255) ** 2)
    grey = Batch(lr=batch.lr[:, :1], hr=batch.hr[:, :1], teacher=None)
    assert float(training_loss(upscaled[:, 1:2], grey, LossWeights(luma_share=0.5))) == pytest.approx(0.2)


def test_crops_count_by_the_teachers_error_on_their_images() -> None:
    hr = torch.zeros(2, 3, 8, 8)
    teacher = hr + torch.tensor([0, 4 / 255]).view(-1, 1, 1, 1)
    batch = Batch(lr=torch.zeros(2, 3, 4, 4), hr=hr, teacher=teacher, error=torch.tensor([0.5, 3.0]))
    upscaled = teacher + 2 / 255

    def loss(**weights: Any) -> float:
        options: dict[str, Any] = {"distance": "squared", "image_floor": 0.1, **weights}
        return float(training_loss(upscaled, batch, LossWeights(**options)))

    assert loss(pixel=0, distillation=1) == pytest.approx((4 / 0.6 + 4 / 3.1) / 2)
    assert loss() == pytest.approx((4 / 0.6 + 36 / 3.1) / 2)
    assert loss(image_floor=None) == pytest.approx((4 + 36) / 2)
    with pytest.raises(ValueError, match="weights of images need .* a teacher's output"):
        training_loss(batch_of(0.3).hr, batch_of(0.3), LossWeights(image_floor=0.1))


def test_teachers_errors_are_relative_to_the_middle_photograph_and_drawings_count_no_more() -> None:
    def image(off: int, *, drawn: bool = False) -> TrainingPair:
        hr = np.full((16, 16, 3), 100, np.uint8)
        return TrainingPair(name="", lr=hr[::2, ::2], hr=hr, teacher=hr + np.uint8(off), drawn=drawn)

    def errors(*pairs: TrainingPair) -> list[float]:
        source = CropSource(pairs, scale=2, crop=4)
        batch = source.batch(size=64, seed=0, step=0)
        assert batch.error is not None and batch.teacher is not None
        halves = [source.batch(size=64, seed=0, step=0, rank=rank, world=2).error for rank in (0, 1)]
        assert all(half is not None and half.equal(batch.error[k::2]) for k, half in enumerate(halves))
        off = ((batch.teacher - batch.hr) * 255).mean((1, 2, 3)).round()
        by_image = {int(key): float(error) for key, error in zip(off, batch.error, strict=True)}
        return [by_image[key] for key in sorted(by_image)]

    assert errors(image(2), image(4), image(8)) == pytest.approx([0.25, 1, 4])
    drawings = image(1, drawn=True), image(16, drawn=True)
    assert errors(*drawings, image(2), image(4), image(8)) == pytest.approx([1, 0.25, 1, 4, 16])
    assert errors(image(2, drawn=True), image(4, drawn=True)) == pytest.approx([1, 4])
    assert errors(image(0), image(0), image(3)) == [1, 1]


def test_what_lies_in_the_margin_does_not_count() -> None:
    hr = torch.zeros(1, 3, 8, 8)
    batch = Batch(lr=torch.zeros(1, 3, 4, 4), hr=hr, teacher=hr + 0.5)
    upscaled = hr.clone()
    upscaled[..., :2, :] = 9.0
    upscaled[..., -2:] = 9.0
    assert float(training_loss(upscaled, batch, LossWeights(margin=1))) == 0
    assert float(training_loss(upscaled, batch, LossWeights())) > 1
    assert float(
        training_loss(upscaled, batch, LossWeights(pixel=0, distillation=1, margin=1))
    ) == pytest.approx(0.5)


def test_crops_lie_as_they_do_in_the_image_unless_they_are_turned() -> None:
    image = pair(0)
    batch = CropSource([image], scale=SCALE, crop=6, turned=False).batch(size=8, seed=0, step=0)
    pixels = (batch.hr * 255).round().to(torch.uint8)
    windows = torch.from_numpy(image.hr).unfold(0, 12, SCALE).unfold(1, 12, SCALE).flatten(0, 1)
    assert all(bool((windows == one).all((1, 2, 3)).any()) for one in pixels)
    turned = CropSource([image], scale=SCALE, crop=6).batch(size=8, seed=0, step=0)
    pixels = (turned.hr * 255).round().to(torch.uint8)
    assert not all(bool((windows == one).all((1, 2, 3)).any()) for one in pixels)


class Repeat(torch.nn.Module):
    """Nearest neighbour, a little brighter."""

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        return lr.repeat_interleave(SCALE, dim=2).repeat_interleave(SCALE, dim=3) + 3 / 255


def test_teacher_sees_whole_images_and_is_clipped() -> None:
    (taught,) = with_teacher([pair(0)], Repeat())
    assert taught.teacher is not None
    assert np.array_equal(taught.teacher, np.minimum(taught.hr.astype(int) + 3, 255))


@pytest.mark.parametrize("channels", [1, 3])
def test_validation_is_the_evaluations_psnr(channels: int) -> None:
    from edge_eval.metrics import psnr_y_db

    pairs = [
        TrainingPair(name=one.name, lr=one.lr[..., :channels], hr=one.hr[..., :channels])
        for one in (pair(0), pair(1))
    ]
    total = total_psnr_y_db(Repeat(), pairs, scale=SCALE, device=torch.device("cpu"))
    brighter = [np.minimum(one.hr.astype(int) + 3, 255).astype(np.uint8) for one in pairs]
    expected = [psnr_y_db(frame, one.hr, border=SCALE) for frame, one in zip(brighter, pairs, strict=True)]
    assert float(total) == pytest.approx(sum(value or 0 for value in expected), abs=1e-9)
