"""Picture quality in figures: PSNR and SSIM as super-resolution takes them, and drift between two outputs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError

from .runner import FloatImage, Frame, require_finite

PEAK_8BIT = 255.0
BT601_STUDIO = (65.481, 128.553, 24.966)
"""Y = 16 + this * RGB for RGB in [0, 1]: ITU-R BT.601, 16..235, the coefficients of MATLAB's `rgb2ycbcr`."""
SSIM_WINDOW = 11


def luma(frame: Frame) -> NDArray[np.float64]:
    """The Y channel of a frame (BT.601 studio range), not rounded; a grey frame's Y is its only channel.

    MATLAB's `rgb2ycbcr` rounds Y of an 8-bit image to 8 bits; this does not, nor did the evaluation
    behind the published figures of SPAN.

    Args:
        frame: (H, W, 3) or (H, W, 1).

    Returns:
        (H, W), 16..235 for colour, 0..255 for grey.

    Raises:
        ValueError: neither 1 nor 3 channels, or not uint8.
    """
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] not in (1, 3):
        raise ValueError(f"a frame is uint8 (H, W, 1 or 3), not {frame.dtype} {frame.shape}")
    if frame.shape[2] == 1:
        return frame[:, :, 0].astype(np.float64)
    weights = np.array(BT601_STUDIO) / PEAK_8BIT
    result: NDArray[np.float64] = 16.0 + frame.astype(np.float64) @ weights
    return result


def psnr_y_db(frame: Frame, truth: Frame, *, border: int) -> float | None:
    """PSNR on Y of two frames of one shape, `border` pixels cut on each side; None if they are identical."""
    return psnr_db(*_cut_alike(luma(frame), luma(truth), border), peak=PEAK_8BIT)


def psnr_rgb_db(frame: Frame, truth: Frame, *, border: int) -> float | None:
    """PSNR over all channels of two frames, `border` pixels cut on each side; None if they are identical."""
    return psnr_db(*_cut_alike(frame, truth, border), peak=PEAK_8BIT)


def ssim_y(frame: Frame, truth: Frame, *, border: int) -> float:
    """SSIM on Y of two frames of the same shape, `border` pixels cut on each side.

    Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004: Gaussian
    window of 11x11 with sigma 1.5, K1 = 0.01, K2 = 0.03, L = 255, population covariance, mean over the pixels
    whose whole window lies inside the (cut) image, as the authors' code and the field do.

    Raises:
        InputError: the image is smaller than the window once the border is cut.
    """
    from skimage.metrics import structural_similarity

    a, b = _cut_alike(luma(frame), luma(truth), border)
    if min(a.shape) < SSIM_WINDOW:
        raise InputError(
            f"SSIM needs {SSIM_WINDOW}x{SSIM_WINDOW} pixels or more after a border of {border} is cut, and "
            f"{frame.shape[0]}x{frame.shape[1]} (HxW) leaves {a.shape[0]}x{a.shape[1]}; use larger images"
        )
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(a, b, data_range=PEAK_8BIT, **options))


def drift_psnr_db(output: FloatImage, reference: FloatImage) -> float | None:
    """PSNR between two outputs before rounding: peak 1.0, all channels, no border cut; None if identical.

    Raises:
        InputError: one of them holds NaN or infinity.
    """
    return psnr_db(output, reference, peak=1.0)


def drift_psnr_y_db(frame: Frame, reference: Frame, *, border: int) -> float | None:
    """PSNR on Y between two 8-bit outputs; None where they are identical."""
    return psnr_y_db(frame, reference, border=border)


def max_abs_8bit(frame: Frame, reference: Frame) -> int:
    """The largest difference of two frames of the same shape in any channel of any pixel, in grey levels."""
    _require_same_shape(frame, reference)
    return int(np.abs(frame.astype(np.int16) - reference.astype(np.int16)).max())


def psnr_db(a: NDArray[Any], b: NDArray[Any], *, peak: float) -> float | None:
    """10 log10(peak^2 / mean squared difference), computed in float64; None where `a` and `b` are identical.

    Raises:
        InputError: NaN or infinity in `a` or `b`.
        ValueError: the shapes differ, or there are no pixels.
    """
    _require_same_shape(a, b)
    require_finite(a)
    require_finite(b)
    error = float(np.mean(np.square(a.astype(np.float64) - b.astype(np.float64))))
    return None if error == 0.0 else float(10 * np.log10(peak * peak / error))


def mean_of(values: Sequence[float | None]) -> float | None:
    """The mean of the values that are numbers; None where none is."""
    numbers = [value for value in values if value is not None]
    return float(np.mean(numbers)) if numbers else None


def _cut_alike(a: NDArray[Any], b: NDArray[Any], border: int) -> tuple[NDArray[Any], NDArray[Any]]:
    _require_same_shape(a, b)
    if min(a.shape[:2]) <= 2 * border:
        raise InputError(
            f"nothing is left of {a.shape[0]}x{a.shape[1]} pixels (HxW) after a border of {border} is cut; "
            f"images need more than {2 * border} pixels on each side"
        )
    inside = (slice(border, a.shape[0] - border), slice(border, a.shape[1] - border))
    return a[inside], b[inside]


def _require_same_shape(a: NDArray[Any], b: NDArray[Any]) -> None:
    if a.shape != b.shape or a.size == 0:
        raise ValueError(f"images to compare must be of one shape and not empty, not {a.shape} and {b.shape}")
