"""The pictures that a run keeps: which images, which part of them, and that no pixel is lost."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edge_eval.datasets import Sample
from edge_eval.gallery import MOST_SCENES, Gallery
from edge_eval.report_pictures import (
    BYTES_PER_PIXEL,
    PAGE_BYTES,
    SIDES,
    Scene,
    affordable_side,
    file_name,
    largest_difference,
)
from edge_eval.runner import to_image

SCALE = 2
LR_HW = (100, 90)


def sample(index: int) -> Sample:
    """A noisy picture with its truth."""
    random = np.random.default_rng(index)
    lr = random.integers(40, 200, (*LR_HW, 3), dtype=np.uint8)
    return Sample(name=f"image {index}", lr=lr, hr=lr.repeat(SCALE, 0).repeat(SCALE, 1))


def output_of(one: Sample, error: int, at: tuple[int, int] = (0, 0)) -> NDArray[np.float32]:
    """The truth, wrong by so many grey levels in a square."""
    assert one.hr is not None
    frame = one.hr.copy()
    frame[at[0] : at[0] + 20, at[1] : at[1] + 20] += np.uint8(error)
    return to_image(frame)


def look_at(gallery: Gallery, artifact: str, errors: list[int], at: tuple[int, int] = (0, 0)) -> None:
    """Evaluate a file that is wrong by these levels on the images; the float network is wrong by 1."""
    look = gallery.collector(artifact)
    for index, error in enumerate(errors):
        one = sample(index)
        look(one, output_of(one, 1, at), output_of(one, error, at))


def saved(gallery: Gallery, tmp_path: Path, *artifacts: str) -> tuple[Scene, ...]:
    """What the gallery writes."""
    return gallery.save(tmp_path / "pictures", root=tmp_path, artifacts=artifacts)


def opened(tmp_path: Path, name: str) -> NDArray[np.uint8]:
    """A picture's pixels."""
    return np.asarray(Image.open(tmp_path / name))


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    """An empty one, with the smallest pictures."""
    (tmp_path / "scratch").mkdir()
    return Gallery(tmp_path / "scratch", artifacts=1000, images=9)


def test_the_images_on_which_most_is_lost_are_shown_the_worst_first(gallery: Gallery, tmp_path: Path) -> None:
    look_at(gallery, "a.tflite", [2, 9, 3, 4, 5, 6])
    look_at(gallery, "b.tflite", [2, 2, 2, 2, 20, 2])
    scenes = saved(gallery, tmp_path, "a.tflite", "b.tflite")
    assert [scene.image for scene in scenes] == ["image 4", "image 1", "image 5", "image 3"]
    assert len(scenes) == MOST_SCENES
    drops = scenes[0].drops_db
    assert drops["b.tflite"] > drops["a.tflite"] > 0  # type: ignore[operator]


def test_the_part_is_where_the_difference_is_and_every_pixel_is_exact(
    gallery: Gallery, tmp_path: Path
) -> None:
    look_at(gallery, "a.tflite", [30], at=(170, 150))
    (scene,) = saved(gallery, tmp_path, "a.tflite")
    top, left, height, width = scene.crop
    assert (height, width) == (SIDES[0], SIDES[0]) and scene.frame_hw == (200, 180)
    assert top <= 170 and top + height >= 190 and left <= 150 and left + width >= 170
    one = sample(0)
    assert one.hr is not None
    cut = np.s_[top : top + height, left : left + width]
    wrong = np.rint(output_of(one, 30, (170, 150)) * 255).astype(np.uint8)
    assert np.array_equal(opened(tmp_path, scene.files["original"]), one.hr[cut])
    assert np.array_equal(opened(tmp_path, scene.artifacts["a.tflite"]), wrong[cut])
    small = one.lr[top // 2 : (top + height) // 2, left // 2 : (left + width) // 2]
    assert np.array_equal(opened(tmp_path, scene.files["input"]), small)
    assert opened(tmp_path, scene.files["bicubic"]).shape == (height, width, 3)
    assert not np.array_equal(
        opened(tmp_path, scene.files["float"]), opened(tmp_path, scene.artifacts["a.tflite"])
    )


def test_files_that_are_not_asked_for_decide_on_the_part_but_are_not_shown(
    gallery: Gallery, tmp_path: Path
) -> None:
    look_at(gallery, "simulation", [30], at=(170, 150))
    look_at(gallery, "a.tflite", [30], at=(0, 0))
    (scene,) = saved(gallery, tmp_path, "a.tflite", "never evaluated")
    assert list(scene.artifacts) == ["a.tflite"]
    assert scene.crop[0] > 0 and scene.crop[1] > 0


def test_images_that_are_left_out_have_no_picture_and_the_next_file_decides(
    gallery: Gallery, tmp_path: Path
) -> None:
    look_at(gallery, "a.tflite", [30, 30], at=(170, 150))
    gallery.leave_out("a.tflite", [0])
    look_at(gallery, "b.tflite", [40, 10], at=(0, 0))
    first, second = saved(gallery, tmp_path, "a.tflite", "b.tflite")
    assert (first.image, list(first.artifacts), first.crop[:2]) == ("image 0", ["b.tflite"], (0, 0))
    assert (second.image, list(second.artifacts)) == ("image 1", ["a.tflite", "b.tflite"])


def test_a_file_that_failed_is_forgotten(gallery: Gallery, tmp_path: Path) -> None:
    look_at(gallery, "a.tflite", [30])
    gallery.forget("a.tflite")
    gallery.forget("never evaluated")
    assert saved(gallery, tmp_path, "a.tflite") == ()


def test_without_a_truth_drift_decides(gallery: Gallery, tmp_path: Path) -> None:
    look = gallery.collector("a.tflite")
    for index, error in enumerate((2, 9, 4)):
        one = sample(index)
        blind = Sample(name=one.name, lr=one.lr, hr=None)
        look(blind, output_of(one, 1), output_of(one, error))
    scenes = saved(gallery, tmp_path, "a.tflite")
    assert [scene.image for scene in scenes] == ["image 1", "image 2", "image 0"]
    assert "original" not in scenes[0].files and scenes[0].drops_db == {"a.tflite": None}


def test_grey_images_are_shown(gallery: Gallery, tmp_path: Path) -> None:
    one = sample(0)
    assert one.hr is not None
    grey = Sample(name="grey", lr=one.lr[:, :, :1], hr=one.hr[:, :, :1])
    gallery.collector("a")(grey, output_of(one, 1)[:, :, :1], output_of(one, 3)[:, :, :1])
    (scene,) = saved(gallery, tmp_path, "a")
    assert opened(tmp_path, scene.files["bicubic"]).shape == (128, 128, 3)


@pytest.mark.parametrize("pictures", [1, 20, 28, 100])
def test_pictures_are_as_large_as_the_page_affords(pictures: int) -> None:
    side = affordable_side(pictures)
    assert SIDES[0] <= side <= SIDES[1]
    assert side == SIDES[0] or pictures * side**2 * BYTES_PER_PIXEL <= PAGE_BYTES


def test_the_part_stands_on_whole_input_pixels() -> None:
    difference = np.zeros((100, 120, 3), np.int16)
    difference[70:76, 100:104] = 9
    top, left, height, width = largest_difference(difference, scale=2, side=49)
    assert (height, width) == (48, 48)
    assert top <= 70 and top + height >= 76 and left <= 100 and left + width >= 104
    assert top % 2 == left % 2 == 0
    assert largest_difference(difference, scale=2, side=512) == (0, 0, 100, 120)


def test_names_of_files_are_tame() -> None:
    assert file_name("a b/../c:d.png") == "a_b_.._c_d.png"
