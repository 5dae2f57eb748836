"""`imresize` against a slow oracle written from Keys' formula, and against numbers that MATLAB gives."""

import math

import numpy as np
import pytest

from edge_eval.resize import axis_weights, downscale, imresize, modcrop
from models.errors import InputError


def keys_kernel(x: float) -> float:
    """Keys 1981, equation 15, with a = -1/2, written out term by term."""
    d = abs(x)
    if d <= 1:
        return 1.5 * d**3 - 2.5 * d**2 + 1
    if d < 2:
        return -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    return 0.0


def mirrored(index: int, length: int) -> int:
    while not 0 <= index < length:
        index = -1 - index if index < 0 else 2 * length - 1 - index
    return index


def oracle_line(line: list[float], scale: float) -> list[float]:
    """One line, pixel by pixel, in MATLAB's coordinates (pixel 1 has its centre at 1)."""
    stretch = max(1 / scale, 1.0)
    result = []
    for k in range(1, math.ceil(len(line) * scale) + 1):
        u = k / scale + 0.5 * (1 - 1 / scale)
        near = range(math.floor(u - 3 * stretch), math.ceil(u + 3 * stretch) + 1)
        weights = {p: keys_kernel((u - p) / stretch) for p in near}
        total = sum(weights.values())
        result.append(sum(w * line[mirrored(p - 1, len(line))] for p, w in weights.items()) / total)
    return result


def oracle(image: np.ndarray, scale: float) -> np.ndarray:
    rows = np.array([oracle_line(list(column), scale) for column in image.T]).T
    return np.array([oracle_line(list(row), scale) for row in rows])


@pytest.mark.parametrize("scale", [1 / 2, 1 / 3, 1 / 4, 2.0, 3.0, 0.7, 1.4])
def test_imresize_is_keys_formula(scale: float) -> None:
    image = np.random.default_rng(1).random((24, 12))
    np.testing.assert_allclose(imresize(image, scale), oracle(image, scale), rtol=0, atol=1e-12)


def test_oracle_can_fail() -> None:
    image = np.random.default_rng(1).random((24, 12))
    plain = image[::2, ::2]
    assert np.abs(plain - oracle(image, 0.5)).max() > 0.05


def test_uint8_is_rounded_after_each_axis() -> None:
    image = np.random.default_rng(2).integers(0, 256, (32, 20), dtype=np.uint8)

    def rounded(values: np.ndarray) -> np.ndarray:
        return np.floor(np.clip(values, 0, 255) + 0.5)

    rows = rounded(np.array([oracle_line(list(map(float, c)), 0.25) for c in image.T]).T)
    expected = rounded(np.array([oracle_line(list(row), 0.25) for row in rows]))
    result = imresize(image, 0.25)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, expected)


def test_rounding_once_would_differ() -> None:
    image = np.random.default_rng(2).integers(0, 256, (64, 64), dtype=np.uint8)
    once = np.floor(np.clip(imresize(image.astype(np.float64), 0.25), 0, 255) + 0.5)
    difference = np.abs(once - imresize(image, 0.25))
    assert 0 < difference.max() <= 1


def test_weights_of_half_size_are_known() -> None:
    """At scale 1/2 every inner pixel has the kernel at 1/4, 3/4, 5/4, 7/4 (halved): -3, -9, 29, 111 / 256."""
    indices, weights = axis_weights(16, 0.5)
    inner = {int(i): w for i, w in zip(indices[3], weights[3], strict=True) if w}
    expected = np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 256
    np.testing.assert_allclose([inner[i] for i in sorted(inner)], expected, atol=1e-15)
    assert sorted(inner) == list(range(3, 11))


def test_known_values_of_doubling() -> None:
    """imresize([1 2 3; 4 5 6; 7 8 9], 2): its first row, to MATLAB's four decimals."""
    result = imresize(np.arange(1.0, 10).reshape(3, 3), 2.0)
    np.testing.assert_allclose(result[0], [0.6250, 0.8984, 1.4453, 1.9922, 2.5391, 2.8125], atol=5e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_a_flat_image_stays_flat(dtype: type) -> None:
    image = np.full((17, 9, 3), 77, dtype)
    for scale in (0.25, 1 / 3, 2.0):
        result = imresize(image, scale)
        assert result.dtype == dtype
        np.testing.assert_allclose(result, 77, atol=1e-4)


def test_sizes_round_up_and_thirds_are_exact() -> None:
    assert imresize(np.zeros((10, 300)), 1 / 3).shape == (4, 100)
    assert imresize(np.zeros((9, 7, 3), np.uint8), 0.5).shape == (5, 4, 3)


def test_modcrop_and_downscale() -> None:
    image = np.arange(7 * 9 * 3, dtype=np.uint8).reshape(7, 9, 3)
    cropped = modcrop(image, 4)
    np.testing.assert_array_equal(cropped, image[:4, :8])
    assert downscale(cropped, 4).shape == (1, 2, 3)
    np.testing.assert_array_equal(downscale(image, 1), image)
    with pytest.raises(ValueError, match="modcrop first"):
        downscale(image, 4)


def test_low_resolution_is_rounded_once() -> None:
    image = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    once = np.floor(np.clip(imresize(image.astype(np.float64), 0.25), 0, 255) + 0.5)
    np.testing.assert_array_equal(downscale(image, 4), once)
    assert not np.array_equal(once, imresize(image, 0.25))


def test_too_small_for_the_scale() -> None:
    with pytest.raises(
        InputError, match=r"3x9 pixels \(HxW\) is too small for a scale of 4; give one with at"
    ):
        modcrop(np.zeros((3, 9, 3), np.uint8), 4)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
def test_scales_that_are_none(scale: float) -> None:
    with pytest.raises(ValueError, match="is not a positive number"):
        imresize(np.zeros((4, 4)), scale)
