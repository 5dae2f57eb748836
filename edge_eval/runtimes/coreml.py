"""Core ML itself, on macOS."""

import platform
from pathlib import Path
from typing import Any, get_args

import numpy as np

from convert.coreml_library import load_coremltools
from models.errors import InputError

from ..mil import Feature
from ..mil.features import read_feature
from ..runner import FloatImage, require_image, scale_between, to_frame
from .coreml_units import RUNTIME_OF_UNITS, Units
from .sizes import fitting_hw

PROBE_SIDE = 16


class CoreMLRunner:
    """An `.mlpackage` with one image, or one (1, C, H, W) tensor in [0, 1], in and out, run by Core ML.

    An image input takes 8-bit pixels, so the image is rounded to them; Core ML rounds an image output itself.

    Args:
        model: the loaded `MLModel`, of which `get_spec` and `predict` are used.
        path: where it came from, for messages.
        input_hw: the only size to take; None: any size that the file permits.
        units: the processors that the model was loaded for.
    """

    def __init__(
        self, model: Any, path: Path, *, input_hw: tuple[int, int] | None = None, units: Units = "ALL"
    ) -> None:
        self.runtime = RUNTIME_OF_UNITS[units]
        self._model = model
        self._path = path
        description = model.get_spec().description
        self._in = self._single(description.input, "input")
        self._out = self._single(description.output, "output")
        self.channels = self._in.channels or self._in.shape[1]
        if input_hw is not None and not self._in.allows(self._shape(input_hw)):
            raise InputError(
                f"{path} does not go at {input_hw[0]}x{input_hw[1]} (HxW); "
                f"it takes {self._in.describe_shapes()}"
            )
        self.native_hw = (self._in.shape[-2], self._in.shape[-1])
        self.input_hw = input_hw or (None if self._in.is_flexible else self.native_hw)
        self._given: dict[str, Any] = {}
        self._result: dict[str, Any] = {}
        self.scale = self._probed_scale()

    def run(self, image: FloatImage) -> FloatImage:
        """Upscale one image; see `Runner.run`."""
        self.load(image)
        self.invoke()
        return self._upscaled()

    def load(self, image: FloatImage) -> None:
        """Put an image where `invoke` finds it."""
        require_image(image, channels=self.channels, input_hw=self.input_hw)
        if not self._in.allows(self._shape((image.shape[0], image.shape[1]))):
            raise InputError(
                f"{self._path} takes {self._in.describe_shapes()}, and the image has "
                f"{image.shape[0]}x{image.shape[1]} (HxW); run it in tiles"
            )
        if self._in.kind == "tensor":
            value: Any = np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32)
        else:
            from PIL import Image

            frame = to_frame(image)
            value = Image.fromarray(frame[:, :, 0] if self.channels == 1 else frame)
        self._given = {self._in.name: value}

    def invoke(self) -> None:
        """Run on the loaded image."""
        self._result = self._model.predict(self._given)

    def fitting_hw(self, wanted_hw: tuple[int, int]) -> tuple[int, int]:
        """The size nearest to `wanted_hw` that the file takes; see `sizes.fitting_hw`."""
        return fitting_hw(self._in, wanted_hw)

    def _upscaled(self) -> FloatImage:
        result = np.asarray(self._result[self._out.name])
        if self._out.kind == "tensor":
            return np.ascontiguousarray(result[0].transpose(1, 2, 0), np.float32)
        pixels = result[:, :, None] if result.ndim == 2 else result[:, :, : self._out.channels]
        return pixels.astype(np.float32) / np.float32(255)

    def _single(self, features: Any, what: str) -> Feature:
        if len(features) != 1:
            names = [feature.name for feature in features]
            raise InputError(
                f"{self._path} has the {what}s {names}; networks with one {what} can be evaluated"
            )
        return read_feature(features[0])

    def _shape(self, input_hw: tuple[int, int]) -> tuple[int, ...]:
        return input_hw if self._in.kind == "image" else (1, self.channels, *input_hw)

    def _probed_scale(self) -> int:
        """Found by running it on black pixels, at its own size or, if any goes, at a small one."""
        side_hw = self.input_hw or self.native_hw
        if self._in.allows(self._shape((PROBE_SIDE, PROBE_SIDE))):
            side_hw = (PROBE_SIDE, PROBE_SIDE)
        pinned, self.input_hw = self.input_hw, None
        upscaled = self.run(np.zeros((*side_hw, self.channels), np.float32))
        self.input_hw = pinned
        return scale_between(side_hw, (upscaled.shape[0], upscaled.shape[1]), what=str(self._path))


def open_coreml(
    path: Path, *, threads: int, input_hw: tuple[int, int] | None = None, units: Units = "ALL"
) -> CoreMLRunner:
    """A runner for an ML Program on Core ML.

    Args:
        path: the `.mlpackage`.
        threads: not used; Core ML chooses its own.
        input_hw: the only size to take; None: any size that the file permits.
        units: the processors that Core ML may use.

    Raises:
        InputError: this is no Mac, the units are unknown, or Core ML does not take the file.
    """
    return CoreMLRunner(load_model(path, units), path, input_hw=input_hw, units=units)


def load_model(path: Path, units: Units) -> Any:
    """The `MLModel` of an ML Program, for these processors.

    Raises:
        InputError: this is no Mac, the units are unknown, or Core ML does not take the file.
    """
    system = platform.system()
    if system != "Darwin":
        raise InputError(
            f"{path}: Core ML runs on macOS only and this is {system}; use the emulator, runtime mil"
        )
    if units not in get_args(Units):
        raise InputError(f"compute units {units!r} are unknown; choose {', '.join(get_args(Units))}")
    ct = load_coremltools()
    try:
        return ct.models.MLModel(str(path), compute_units=ct.ComputeUnit[units])
    except (RuntimeError, ValueError, OSError) as error:
        raise InputError(f"{path} cannot be run by Core ML: {' '.join(str(error).split())}") from error
