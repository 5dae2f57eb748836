"""Calibration images kept apart from evaluation images, agreement of files, the plot of costs."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from edge_eval.agreement import Agreement
from edge_eval.datasets import Sample, bundled_photographs, open_dataset
from edge_eval.quantization import open_calibration, refuse_shared_images
from edge_eval.quantized_file import is_quantized
from edge_eval.report_data import AgreementFigures
from edge_eval.report_text import agreement_text
from edge_eval.runner import to_image
from edge_eval.sensitivity import draw_costs
from models import InputError
from quantize import Cost


def folder_of(path: Path, pictures: dict[str, np.ndarray]) -> Path:
    path.mkdir()
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(path / name)
    return path


@pytest.fixture
def pixels() -> np.ndarray:
    """Three different pictures."""
    return np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


def test_the_same_pixels_are_found_under_any_name_and_format(tmp_path: Path, pixels: np.ndarray) -> None:
    evaluation = folder_of(tmp_path / "e", {"x.png": pixels[0], "y.png": pixels[1]})
    calibration = folder_of(tmp_path / "c", {"other.bmp": pixels[1], "z.png": pixels[2]})
    with pytest.raises(InputError, match=r"1 of the 2 evaluation images \(y\) are among .*--calibration DIR"):
        refuse_shared_images(open_dataset(calibration, scale=2), open_dataset(evaluation, scale=2))


def test_different_pixels_of_one_name_are_no_overlap(tmp_path: Path, pixels: np.ndarray) -> None:
    near = pixels[0].copy()
    near[3, 4, 1] ^= 1
    evaluation = folder_of(tmp_path / "e", {"x.png": pixels[0]})
    calibration = folder_of(tmp_path / "c", {"x.png": near})
    refuse_shared_images(open_dataset(calibration, scale=2), open_dataset(evaluation, scale=2))


def test_bundled_photographs_for_calibration_are_not_those_for_evaluation() -> None:
    calibration = open_calibration(None, scale=4, channels=3)
    assert calibration.name == "skimage-calibration"
    refuse_shared_images(calibration, bundled_photographs("evaluation", scale=4))
    with pytest.raises(InputError, match="3 of the 3"):
        refuse_shared_images(calibration, calibration)


def test_agreement_compares_files_of_one_recipe_image_by_image(tmp_path: Path, pixels: np.ndarray) -> None:
    sample = Sample(name="x", lr=pixels[0], hr=None)
    other = pixels.copy()
    other[1] ^= 1
    outputs = {"a.tflite": pixels, "a.mlpackage": other}
    agreement = Agreement(tmp_path)
    for name, frames in outputs.items():
        look = agreement.collector("w8a8", name)
        for frame in frames:
            look(sample, to_image(frame), to_image(frame))
    agreement.collector("w8", "b.tflite")(sample, to_image(pixels[0]), to_image(pixels[0]))
    (agreed,) = agreement.results()
    assert (agreed.first, agreed.second, agreed.recipe) == ("a.tflite", "a.mlpackage", "w8a8")
    assert (agreed.images, agreed.identical, agreed.max_abs_8bit) == (3, 2, 1)
    assert agreed.psnr_db == agreed.least_psnr_db == pytest.approx(20 * np.log10(255))


def test_a_file_that_failed_on_the_way_is_not_compared(tmp_path: Path, pixels: np.ndarray) -> None:
    sample, agreement = Sample(name="x", lr=pixels[0], hr=None), Agreement(tmp_path)
    for name, count in (("a", 2), ("b", 1)):
        look = agreement.collector("w8a8", name)
        for frame in pixels[:count]:
            look(sample, to_image(frame), to_image(frame))
    agreement.forget("w8a8", "b")
    assert agreement.results() == ()


def test_images_that_were_mirrored_for_one_file_are_not_compared(tmp_path: Path, pixels: np.ndarray) -> None:
    sample, agreement = Sample(name="x", lr=pixels[0], hr=None), Agreement(tmp_path)
    for name, frames in (("a", pixels), ("b", pixels ^ np.uint8(1))):
        look = agreement.collector("w8a8", name)
        for frame in frames:
            look(sample, to_image(frame), to_image(frame))
    agreement.leave_out("w8a8", "b", [1])
    assert [agreed.images for agreed in agreement.results()] == [2]
    agreement.leave_out("w8a8", "a", [0, 2])
    (agreed,) = agreement.results()
    assert agreed.images == 0
    assert agreement_text(msgspec.convert(agreed.to_json(), AgreementFigures)).startswith(
        "SKIPPED agreement of a and b"
    )


@pytest.mark.parametrize("content", [b"", b"{", b"\x08\0\0\0\0\0\0\0{}      ", b"PK\x03\x04"])
def test_other_files_are_no_quantized_checkpoints(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    assert not is_quantized(tmp_path / "x.safetensors")
    assert not is_quantized(tmp_path / "absent") and not is_quantized(tmp_path)


def test_costs_are_drawn_one_kind_beside_the_other_and_nothing_is_no_error(tmp_path: Path) -> None:
    costs = [
        Cost(name="block_1.out", kind="activation", error=2.0, drop_db=0.02),
        Cost(name="conv_1", kind="weight", error=0.0, drop_db=0.0),
    ]
    draw_costs(costs, tmp_path / "p.svg", title="t")
    text = (tmp_path / "p.svg").read_text()
    assert "block_1.out" in text and "conv_1" in text
    with pytest.raises(InputError, match="exists already"):
        draw_costs(costs, tmp_path / "p.svg", title="t")
    draw_costs(costs[1:], tmp_path / "p.png", title="t")
