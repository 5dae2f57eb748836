"""Runners of files that take and give planes, (1, C, H, W) float32, as most exporters write them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError

from ..runner import FloatImage, require_image, scale_between

PROBE_HW = (16, 24)
"""Size at which a file of any size tells how many times it enlarges."""


def planes(image: FloatImage) -> NDArray[np.float32]:
    """(H, W, C) as contiguous (1, C, H, W)."""
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32)


def picture(output_nchw: NDArray[Any]) -> FloatImage:
    """(1, C, H, W) as contiguous (H, W, C)."""
    return np.ascontiguousarray(output_nchw[0].transpose(1, 2, 0), np.float32)


class PlanarRunner:
    """A file with one image in and one out. A subclass compiles, loads and runs.

    Attributes:
        native_hw: the size that the file was made for; None where any goes.
        input_hw: the only size it takes, or None where any size goes.
    """

    def __init__(
        self,
        *,
        runtime: str,
        what: str,
        shape: tuple[int | None, ...],
        input_hw: tuple[int, int] | None,
    ) -> None:
        if len(shape) != 4 or shape[1] not in (1, 3):
            raise InputError(f"{what}: its input is {shape}; one image (1, 1 or 3, H, W) is accepted")
        self.runtime = runtime
        self.channels = int(shape[1] or 0)
        height, width = shape[2:]
        self.native_hw = (height, width) if height and width else None
        if input_hw and self.native_hw and input_hw != self.native_hw:
            raise InputError(
                f"{what} does not go at {input_hw[0]}x{input_hw[1]} (HxW); it was made for "
                f"{self.native_hw[0]}x{self.native_hw[1]} only"
            )
        self.input_hw = input_hw or self.native_hw
        probe_hw = self.input_hw or PROBE_HW
        result = self._result(np.zeros((*probe_hw, self.channels), np.float32))
        self.scale = scale_between(probe_hw, (result.shape[0], result.shape[1]), what=what)

    def run(self, image: FloatImage) -> FloatImage:
        """Upscale one image; see `Runner.run`."""
        require_image(image, channels=self.channels, input_hw=self.input_hw)
        return self._result(image)

    def load(self, image: FloatImage) -> None:
        """Put an image where `invoke` finds it."""
        require_image(image, channels=self.channels, input_hw=self.input_hw)
        self._put(planes(image))

    def invoke(self) -> None:
        """Run on the loaded image."""
        raise NotImplementedError

    def _put(self, lr_nchw: NDArray[np.float32]) -> None:
        raise NotImplementedError

    def _get(self) -> NDArray[Any]:
        raise NotImplementedError

    def _result(self, image: FloatImage) -> FloatImage:
        self._put(planes(image))
        self.invoke()
        return picture(self._get())
