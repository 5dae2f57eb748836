"""One signature for everything that can upscale an image."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError

FloatImage = NDArray[np.float32]
Frame = NDArray[np.uint8]


class Runner(Protocol):
    """A network ready to run on one runtime.

    Attributes:
        runtime: row of `RUNTIMES` that made it, such as `tflite` or `mil`.
        scale: pixels out per pixel in, along each side.
        input_hw: the only size it takes, or None where any size goes.
    """

    runtime: str
    scale: int
    input_hw: tuple[int, int] | None

    def run(self, image: FloatImage) -> FloatImage:
        """Upscale one image.

        Args:
            image: (H, W, C) in [0, 1]. Integer files quantize it to uint8: with k / 255 nothing is lost.

        Returns:
            (scale*H, scale*W, C), [0, 1] nominally, before rounding; unclipped where the file does not clip.

        Raises:
            InputError: the size or the channels are not what the network takes.
        """


class Timeable(Protocol):
    """A runner whose bare run can be timed, without the conversion of pixels before and after it."""

    def load(self, image: FloatImage) -> None:
        """Put an image where the network reads its input; `Runner.run` says what goes."""

    def invoke(self) -> None:
        """Run on the loaded image; the result stays where the runtime keeps it."""


def to_frame(image: FloatImage) -> Frame:
    """The displayable frame: [0, 1] clipped, times 255, rounded half to even, as `uint8`, same shape.

    Raises:
        InputError: NaN or infinity, for which there is no pixel.
    """
    require_finite(image)
    frame: Frame = np.clip(np.rint(image * 255.0), 0, 255).astype(np.uint8)
    return frame


def to_image(frame: Frame) -> FloatImage:
    """A frame's pixels as [0, 1] float32, same shape."""
    return frame.astype(np.float32) / np.float32(255)


def require_finite(image: NDArray[Any]) -> None:
    """Refuse NaN and infinity.

    Raises:
        InputError: saying how many values of how many are not finite.
    """
    bad = int(image.size - np.count_nonzero(np.isfinite(image)))
    if bad:
        raise InputError(
            f"{bad} of {image.size} output values are NaN or infinite, so there is no picture to "
            f"show or to judge; "
            "the network overflows in this precision, or its weights are broken"
        )


def require_image(image: FloatImage, *, channels: int, input_hw: tuple[int, int] | None) -> None:
    """Refuse what a runner cannot take: all runners say it with these words.

    Raises:
        InputError: not (H, W, channels), or not the only size there is.
    """
    if image.ndim != 3 or image.shape[2] != channels or not image.size:
        raise InputError(f"the network takes images of (H, W, {channels}), not of {image.shape}")
    if input_hw is not None and image.shape[:2] != input_hw:
        raise InputError(
            f"the network takes {input_hw[0]}x{input_hw[1]} pixels (HxW) only, and the image has "
            f"{image.shape[0]}x{image.shape[1]}; run it in tiles, or convert with another or a flexible size"
        )


def scale_between(source_hw: tuple[int, int], result_hw: tuple[int, int], *, what: str) -> int:
    """How many times larger the result is, along each side.

    Raises:
        InputError: it is no whole number, or differs between the sides.
    """
    scale = result_hw[0] // source_hw[0]
    if not scale or result_hw != (scale * source_hw[0], scale * source_hw[1]):
        raise InputError(
            f"{what} makes {result_hw[0]}x{result_hw[1]} pixels (HxW) of {source_hw[0]}x{source_hw[1]}; "
            "only networks that enlarge both sides by one whole number can be evaluated"
        )
    return scale
