"""Bicubic resizing with the pixels of MATLAB's `imresize`, which is how the field makes low resolution."""

import math
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError

Pixels = TypeVar("Pixels", NDArray[np.uint8], NDArray[np.float32], NDArray[np.float64])

KERNEL_WIDTH = 4.0
"""Support of the cubic kernel at scale 1, in input pixels."""


def imresize(image: Pixels, scale: float) -> Pixels:
    """Resize as MATLAB's `imresize(image, scale, 'bicubic')` does.

    The cubic kernel has a = -0.5 (Keys, "Cubic convolution interpolation for digital image processing", 1981,
    eq. 15) and is widened by 1 / scale for a reduction; weights are normalized; the image continues
    symmetrically beyond its border. Rows come first, then columns. `uint8` images are clipped and rounded
    after each of the two, half away from zero, as MATLAB does.

    Args:
        image: (H, W) or (H, W, C), any range.
        scale: pixels out per pixel in, along each side.

    Returns:
        (ceil(scale * H), ceil(scale * W)[, C]), same dtype; floats are computed in float64 and not clipped.

    Raises:
        ValueError: the scale is not positive, or the image is empty or not of rank 2 or 3.
    """
    if not scale > 0 or not math.isfinite(scale):
        raise ValueError(f"scale {scale} is not a positive number")
    if image.ndim not in (2, 3) or image.size == 0:
        raise ValueError(f"an image of shape {image.shape} cannot be resized; give (H, W) or (H, W, C)")
    rows = _resize_axis(image, scale, axis=0)
    return _resize_axis(rows, scale, axis=1)


def modcrop(image: Pixels, factor: int) -> Pixels:
    """The image cut at the bottom and right so that both sides are multiples of `factor`; a view.

    Raises:
        InputError: a side is shorter than `factor`.
    """
    height, width = (side - side % factor for side in image.shape[:2])
    if not height or not width:
        raise InputError(
            f"an image of {image.shape[0]}x{image.shape[1]} pixels (HxW) is too small for a scale of "
            f"{factor}; give one with at least {factor} pixels on both sides"
        )
    return image[:height, :width]


def downscale(image: Pixels, factor: int) -> Pixels:
    """The low-resolution image: `imresize` by exactly 1 / `factor`.

    `uint8` images are resized as floats and rounded once, as the field's scripts do (`im2double`, `imresize`,
    `imwrite`). With the two roundings of MATLAB's `imresize` of a `uint8` image, the published x2 figures of
    SPAN come out lower, by up to 0.02 dB.

    Raises:
        ValueError: a side is no multiple of `factor` (see `modcrop`).
    """
    if any(side % factor for side in image.shape[:2]):
        raise ValueError(f"sides {image.shape[:2]} are not multiples of {factor}; modcrop first")
    if factor == 1:
        return image.copy()
    if image.dtype != np.uint8:
        return imresize(image, 1 / factor)
    smooth = imresize(image.astype(np.float64), 1 / factor)
    return np.floor(np.clip(smooth, 0, 255) + 0.5).astype(image.dtype)


def axis_weights(length: int, scale: float) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Which input pixels make each output pixel along one axis, and with what weight.

    Args:
        length: input pixels along the axis.
        scale: pixels out per pixel in.

    Returns:
        Indices (border resolved) and weights, both (out_length, taps); each row of weights sums to 1.
    """
    out_length = math.ceil(round(length * scale, 9))
    shrink = min(scale, 1.0)
    width = KERNEL_WIDTH / shrink
    centre = (np.arange(out_length) + 0.5) / scale - 0.5
    first = np.floor(centre - width / 2).astype(np.intp)
    taps = first[:, None] + np.arange(math.ceil(width) + 2)
    weights = cubic(shrink * (centre[:, None] - taps))
    weights /= weights.sum(axis=1, keepdims=True)
    used = weights.any(axis=0)
    mirrored = np.concatenate([np.arange(length), np.arange(length)[::-1]])
    return mirrored[taps[:, used] % (2 * length)], weights[:, used]


def cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution kernel with a = -0.5, zero beyond |x| = 2 (Keys 1981, eq. 15)."""
    d = np.abs(x)
    near = (1.5 * d - 2.5) * d * d + 1
    far = ((-0.5 * d + 2.5) * d - 4) * d + 2
    return np.where(d <= 1, near, np.where(d <= 2, far, 0.0))


def _resize_axis(image: Pixels, scale: float, *, axis: int) -> Pixels:
    indices, weights = axis_weights(image.shape[axis], scale)
    shape = [1] * image.ndim
    shape[axis] = -1
    total = np.zeros([*image.shape[:axis], len(indices), *image.shape[axis + 1 :]])
    for index, weight in zip(indices.T, weights.T, strict=True):
        total += weight.reshape(shape) * image.take(index, axis=axis)
    if image.dtype == np.uint8:
        total = np.floor(np.clip(total, 0, 255) + 0.5)
    return total.astype(image.dtype)
