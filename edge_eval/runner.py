"""One signature for everything that can upscale an image."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

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


def to_frame(image: FloatImage) -> Frame:
    """The displayable frame: [0, 1] clipped, times 255, rounded half to even, as `uint8`, same shape."""
    frame: Frame = np.clip(np.rint(image * 255.0), 0, 255).astype(np.uint8)
    return frame


def to_image(frame: Frame) -> FloatImage:
    """A frame's pixels as [0, 1] float32, same shape."""
    return frame.astype(np.float32) / np.float32(255)
