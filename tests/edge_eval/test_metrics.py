"""Metrics against their definitions, written out, and against what must be refused."""

import numpy as np
import pytest

from edge_eval import metrics
from edge_eval.runner import to_frame, to_image
from models.errors import InputError


def frames(height: int = 40, width: int = 36, channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 256, (height, width, channels), dtype=np.uint8)
    noise = rng.integers(-9, 10, truth.shape)
    return np.clip(truth.astype(int) + noise, 0, 255).astype(np.uint8), truth


def test_luma_of_known_colours() -> None:
    """MATLAB: rgb2ycbcr of black, white, red, green, blue gives Y 16, 235, 81.481, 144.553, 40.966."""
    colours = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    np.testing.assert_allclose(metrics.luma(colours)[0], [16, 235, 81.481, 144.553, 40.966], atol=1e-9)


def test_luma_of_grey_is_the_channel() -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
    np.testing.assert_array_equal(metrics.luma(grey), grey[:, :, 0])


def test_luma_takes_frames_only() -> None:
    with pytest.raises(ValueError, match="a frame is uint8"):
        metrics.luma(np.zeros((4, 4, 3), np.float32))
    with pytest.raises(ValueError, match="a frame is uint8"):
        metrics.luma(np.zeros((4, 4, 4), np.uint8))


def test_psnr_y_is_its_definition() -> None:
    a, b = frames()
    weights = [65.481 / 255, 128.553 / 255, 24.966 / 255]
    total, count = 0.0, 0
    for y in range(4, 36):
        for x in range(4, 32):
            ya, yb = (16 + sum(w * float(v) for w, v in zip(weights, f[y, x], strict=True)) for f in (a, b))
            total, count = total + (ya - yb) ** 2, count + 1
    expected = 10 * np.log10(255**2 / (total / count))
    assert metrics.psnr_y_db(a, b, border=4) == pytest.approx(expected, abs=1e-9)
    assert metrics.psnr_y_db(a, b, border=0) != pytest.approx(expected, abs=1e-3)


def test_rgb_psnr_of_a_shift_of_one_level() -> None:
    frame = np.full((20, 20, 3), 100, np.uint8)
    assert metrics.psnr_rgb_db(frame, frame + 1, border=2) == pytest.approx(48.1308, abs=1e-4)


def test_identical_frames_have_no_psnr() -> None:
    a, _ = frames()
    assert metrics.psnr_y_db(a, a, border=4) is None
    assert metrics.psnr_rgb_db(a, a, border=4) is None
    assert metrics.drift_psnr_db(to_image(a), to_image(a)) is None
    assert metrics.ssim_y(a, a, border=4) == pytest.approx(1.0)


def test_ssim_is_wang_et_al() -> None:
    """Gaussian window over valid positions, written out with explicit sums."""
    a, b = frames(24, 22)
    x, y = (metrics.luma(f)[2:-2, 2:-2] for f in (a, b))
    line = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(line, line) / np.outer(line, line).sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for i in range(x.shape[0] - 10):
        for j in range(x.shape[1] - 10):
            p, q = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
            mp, mq = (window * p).sum(), (window * q).sum()
            vp, vq = (window * p * p).sum() - mp**2, (window * q * q).sum() - mq**2
            cov = (window * p * q).sum() - mp * mq
            values.append((2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    assert metrics.ssim_y(a, b, border=2) == pytest.approx(np.mean(values), abs=1e-9)


def test_ssim_needs_a_window() -> None:
    a, b = frames(18, 30)
    with pytest.raises(
        InputError, match=r"SSIM needs 11x11 pixels or more after a border of 4 .* leaves 10x22"
    ):
        metrics.ssim_y(a, b, border=4)


def test_border_that_leaves_nothing() -> None:
    a, b = frames(8, 30)
    with pytest.raises(InputError, match=r"nothing is left of 8x30 pixels \(HxW\) after a border of 4"):
        metrics.psnr_y_db(a, b, border=4)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="must be of one shape"):
        metrics.psnr_y_db(frames(20)[0], frames(24)[0], border=2)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", [0, 1])
def test_what_is_not_finite_gives_no_figure(bad: float, side: int) -> None:
    images = [np.zeros((4, 4, 3), np.float32), np.ones((4, 4, 3), np.float32)]
    images[side][1, 2, 0] = bad
    with pytest.raises(InputError, match="1 of 48 output values are NaN or infinite"):
        metrics.drift_psnr_db(*images)
    with pytest.raises(InputError, match="1 of 48 output values are NaN or infinite"):
        to_frame(images[side])


def test_drift_has_peak_one() -> None:
    a = np.zeros((5, 5, 3), np.float32)
    assert metrics.drift_psnr_db(a + np.float32(0.01), a) == pytest.approx(40.0, abs=1e-5)


def test_max_abs_does_not_wrap() -> None:
    a, b = np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2, 3), np.uint8)
    a[0, 0, 0], b[1, 1, 2] = 3, 250
    assert metrics.max_abs_8bit(a, b) == 250


def test_mean_of_leaves_out_none() -> None:
    assert metrics.mean_of([1.0, None, 3.0]) == 2.0
    assert metrics.mean_of([None, None]) is None


def test_frames_and_images_are_inverse() -> None:
    frame = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    np.testing.assert_array_equal(to_frame(to_image(frame)), frame)
    np.testing.assert_array_equal(to_frame(np.array([[[-0.5], [1.5]]], np.float32)), [[[0], [255]]])
