"""Folders, pairs, single files and the bundled photographs."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_eval.datasets import BUNDLED, bundled_photographs, open_dataset
from edge_eval.resize import downscale
from models.errors import InputError


def picture(path: Path, height: int = 16, width: int = 24, seed: int = 0) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def names(folder: Path, **options: object) -> list[str]:
    return [pair.name for pair in open_dataset(folder, scale=2, **options).pairs]


def test_a_folder_in_natural_order(tmp_path: Path) -> None:
    for name in ("img10.png", "img2.png", "Img1.png", "b.jpg", "._img3.png", "notes.txt"):
        picture(tmp_path / name) if name.endswith(("png", "jpg")) else (tmp_path / name).write_text("x")
    (tmp_path / "inner").mkdir()
    dataset = open_dataset(tmp_path, scale=2)
    assert [sample.name for sample in dataset] == ["b", "Img1", "img2", "img10"]
    assert len(dataset) == 4 and dataset.ignored == 3


def test_low_resolution_is_made(tmp_path: Path) -> None:
    pixels = picture(tmp_path / "a.png", 18, 27)
    sample = open_dataset(tmp_path, scale=4).sample(0)
    np.testing.assert_array_equal(sample.hr, pixels[:16, :24])
    np.testing.assert_array_equal(sample.lr, downscale(pixels[:16, :24], 4))


def test_a_single_file_and_grey(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    dataset = open_dataset(tmp_path / "a.png", scale=2, channels=1)
    assert dataset.sample(0).lr.shape == (8, 12, 1) and dataset.name == "a.png"


def test_pairs_by_name_and_by_marks(tmp_path: Path) -> None:
    for hr, lr in (("a", "a"), ("b", "bx4"), ("img_1_HR", "img_1_LR_x4"), ("c_GT", "c_LRBI")):
        picture(tmp_path / "hr" / f"{hr}.png", 32, 40)
        picture(tmp_path / "lr" / f"{lr}.png", 8, 10)
    dataset = open_dataset(tmp_path / "hr", scale=4, lr=tmp_path / "lr")
    assert [pair.name for pair in dataset.pairs] == ["a", "b", "c", "img_1"]
    assert all(sample.hr.shape[0] == 4 * sample.lr.shape[0] for sample in dataset)


def test_equal_names_that_end_like_marks_match(tmp_path: Path) -> None:
    for name in ("matrix2", "matrix3"):
        picture(tmp_path / "hr" / f"{name}.png", 8, 8)
        picture(tmp_path / "lr" / f"{name}.png", 4, 4)
    assert names(tmp_path / "hr", lr=tmp_path / "lr") == ["matrix2", "matrix3"]


def test_two_files_are_a_pair_whatever_their_names(tmp_path: Path) -> None:
    picture(tmp_path / "big.png", 8, 8)
    picture(tmp_path / "small.png", 4, 4)
    assert open_dataset(tmp_path / "big.png", scale=2, lr=tmp_path / "small.png").sample(0).lr.shape == (
        4,
        4,
        3,
    )


def test_low_resolution_alone(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    sample = open_dataset(scale=4, lr=tmp_path).sample(0)
    assert sample.hr is None and sample.lr.shape == (16, 24, 3)


def test_lonely_images_are_refused(tmp_path: Path) -> None:
    for index in range(7):
        picture(tmp_path / "hr" / f"n{index}.png")
    picture(tmp_path / "lr" / "other.png")
    with pytest.raises(
        InputError, match=r"8 images have no partner .*: n0, n1, n2, n3, n4, \.\.\.; both folders"
    ):
        open_dataset(tmp_path / "hr", scale=2, lr=tmp_path / "lr")


def test_sizes_of_a_pair_must_fit(tmp_path: Path) -> None:
    picture(tmp_path / "hr" / "a.png", 17, 24)
    picture(tmp_path / "lr" / "a.png", 8, 12)
    dataset = open_dataset(tmp_path / "hr", scale=2, lr=tmp_path / "lr")
    with pytest.raises(
        InputError, match=r"a\.png is 17x24 \(HxW\), but .* is 8x12 and 2 times that is 16x24"
    ):
        dataset.sample(0)


@pytest.mark.parametrize(("first", "second"), [("a.png", "a.jpg"), ("b.PNG", "b.bmp")])
def test_twins_are_refused(tmp_path: Path, first: str, second: str) -> None:
    picture(tmp_path / first)
    picture(tmp_path / second)
    with pytest.raises(InputError, match="would both be called '[ab]'; keep one or rename it"):
        open_dataset(tmp_path, scale=2)


def test_twins_without_their_marks_are_refused(tmp_path: Path) -> None:
    picture(tmp_path / "hr" / "a.png", 8, 8)
    for name in ("ax2", "a_LR"):
        picture(tmp_path / "lr" / f"{name}.png", 4, 4)
    with pytest.raises(InputError, match="would both be called 'a'"):
        open_dataset(tmp_path / "hr", scale=2, lr=tmp_path / "lr")


def test_folders_without_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no image among its 0 entries; give a folder with PNG, JPEG"):
        open_dataset(tmp_path, scale=2)
    (tmp_path / "notes.txt").write_text("x")
    picture(tmp_path / "inner" / "a.png")
    with pytest.raises(InputError, match=r"among its 2 entries.*folders inside it are not searched"):
        open_dataset(tmp_path, scale=2)
    with pytest.raises(
        InputError, match=r"nowhere does not exist; give an image \(PNG, JPEG, BMP, WebP or TIFF\)"
    ):
        open_dataset(tmp_path / "nowhere", scale=2)


def test_images_too_small_for_the_scale_are_named(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 3, 24)
    with pytest.raises(
        InputError, match=r"a\.png: an image of 3x24 pixels \(HxW\) is too small for a scale of 4"
    ):
        open_dataset(tmp_path, scale=4).sample(0)


def test_the_hash_is_of_contents_and_scale(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    before = open_dataset(tmp_path, scale=2).sha256
    assert before == open_dataset(tmp_path, scale=2).sha256
    assert before != open_dataset(tmp_path, scale=4).sha256
    assert before != open_dataset(lr=tmp_path, scale=2).sha256
    picture(tmp_path / "a.png", seed=1)
    assert before != open_dataset(tmp_path, scale=2).sha256


def test_first_is_a_dataset_of_its_own(tmp_path: Path) -> None:
    for name in "abc":
        picture(tmp_path / f"{name}.png")
    dataset = open_dataset(tmp_path, scale=2)
    assert [s.name for s in dataset.first(2)] == ["a", "b"]
    assert dataset.first(2).sha256 != dataset.sha256


def test_bundled_photographs_are_disjoint_and_there() -> None:
    assert not set(BUNDLED["evaluation"]) & set(BUNDLED["calibration"])
    for purpose in BUNDLED:
        dataset = bundled_photographs(purpose, scale=4)
        for sample in dataset:
            assert sample.lr.shape[2] == 3 and min(sample.hr.shape[:2]) >= 300
    assert open_dataset(scale=4).pairs == bundled_photographs("evaluation", scale=4).pairs


def test_bundled_photographs_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUNDLED, "evaluation", ("astronaut.png", "nobody.png"))
    with pytest.raises(InputError, match=r"does not carry nobody\.png; give a folder of images of your own"):
        open_dataset(scale=4)
