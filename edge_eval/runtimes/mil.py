"""ML Programs in our emulator: Core ML's numbers, as far as they can be known, on any machine."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError

from ..mil import Feature, Machine, Program, load_program, with_any_size
from ..runner import FloatImage, require_image, scale_between, to_frame
from .sizes import fitting_hw

LEAST_PROBE = 16
"""Side of the image that tells the scale of a file with flexible sizes, if the file allows one so small."""


class MilRunner:
    """An `.mlpackage` with one image, or one (1, C, H, W) tensor in [0, 1], in and out.

    An image input takes 8-bit pixels, so the image is rounded to them. An image output is taken before
    Core ML would round it.
    """

    runtime = "mil"

    def __init__(
        self,
        path: Path,
        *,
        threads: int,
        input_hw: tuple[int, int] | None = None,
        program: Program | None = None,
    ) -> None:
        self.program = program or load_program(path)
        self.threads = threads
        self._path = path
        self._in = self._single(self.program.inputs, "input")
        self._out = self._single(self.program.outputs, "output")
        self._machine = Machine(self.program, threads=threads)
        self.channels = self._in.channels or self._in.shape[1]
        self.native_hw = (self._in.shape[-2], self._in.shape[-1])
        if input_hw is not None and not self._in.allows(self._shape(input_hw)):
            raise InputError(
                f"{path} does not go at {input_hw[0]}x{input_hw[1]} (HxW); "
                f"it takes {self._in.describe_shapes()}"
            )
        self.input_hw = input_hw or (None if self._in.is_flexible else self.native_hw)
        self.scale = self._probed_scale()

    def run(self, image: FloatImage) -> FloatImage:
        """Upscale one image; see `Runner.run`."""
        require_image(image, channels=self.channels, input_hw=self.input_hw)
        if self._in.kind == "image":
            given = to_frame(image)
            value = given[:, :, 0] if self.channels == 1 else given
        else:
            value = np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32)
        result = self._machine.run({self._in.name: value}, raw=True)[self._out.name].astype(np.float32)
        if self._out.kind == "image":
            result = (result[:, ::-1] if self._out.color == "BGR" else result) / np.float32(255)
        return np.ascontiguousarray(result[0].transpose(1, 2, 0), np.float32)

    def fitting_hw(self, wanted_hw: tuple[int, int]) -> tuple[int, int]:
        """The size nearest to `wanted_hw` that the file takes; see `sizes.fitting_hw`."""
        return fitting_hw(self._in, wanted_hw)

    def any_size(self) -> "MilRunner | None":
        """The same file on images of any size, which no device would run; see `mil.with_any_size`."""
        program = with_any_size(self.program)
        return None if program is None else MilRunner(self._path, threads=self.threads, program=program)

    def _single(self, features: tuple[Feature, ...], what: str) -> Feature:
        names = [feature.name for feature in features]
        if len(features) != 1:
            raise InputError(
                f"{self._path} has the {what}s {names}; networks with one {what} can be evaluated"
            )
        feature = features[0]
        is_pixels = (
            feature.kind == "image"
            or not feature.shape
            or (len(feature.shape) == 4 and feature.shape[1] in (1, 3))
        )
        if not is_pixels:
            raise InputError(
                f"{self._path}: {what} {feature.name!r} is {feature.describe_shapes()}; an image or "
                f"(1, 1 or 3, H, W) "
                "can be evaluated"
            )
        return feature

    def _shape(self, input_hw: tuple[int, int]) -> tuple[int, ...]:
        return input_hw if self._in.kind == "image" else (1, self.channels, *input_hw)

    def _probed_scale(self) -> int:
        """Off the declared output where there is one, else off a run at a small size."""
        source = self._in.shape[-2:]
        if self._out.shape and not self._in.is_flexible:
            result = self._out.shape[-2:]
            return scale_between((source[0], source[1]), (result[0], result[1]), what=str(self._path))
        side_hw = self.input_hw or self._smallest()
        upscaled = self._machine.run({self._in.name: self._blank(side_hw)}, raw=True)[self._out.name]
        return scale_between(side_hw, (upscaled.shape[-2], upscaled.shape[-1]), what=str(self._path))

    def _smallest(self) -> tuple[int, int]:
        if self._in.sizes:
            shape = min(self._in.sizes, key=lambda size: size[-2] * size[-1])
            return shape[-2], shape[-1]
        sides = [max(low, min(LEAST_PROBE, high or LEAST_PROBE)) for low, high in self._in.ranges[-2:]]
        return sides[0], sides[1]

    def _blank(self, input_hw: tuple[int, int]) -> NDArray[Any]:
        if self._in.kind == "image":
            return np.zeros(input_hw if self.channels == 1 else (*input_hw, self.channels), np.uint8)
        return np.zeros(self._shape(input_hw), np.float32)


def open_mil(path: Path, *, threads: int, input_hw: tuple[int, int] | None = None) -> MilRunner:
    """A runner for an ML Program in the emulator.

    Raises:
        InputError: not an ML Program, an operation that is not emulated, not one image in and one out,
            or a size that the file does not allow.
    """
    return MilRunner(path, threads=threads, input_hw=input_hw)
