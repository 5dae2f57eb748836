"""What an app gives to a Core ML model and gets from it: images or tensors, of which channels and sizes."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from models.config import SpanConfig

from .artifact import INPUT_NAME, OUTPUT_NAME
from .coreml_library import load_coremltools
from .coreml_sizes import Sizes

Io = Literal["image", "tensor"]


@dataclass(frozen=True, kw_only=True)
class Edges:
    """Both ends of a model.

    Attributes:
        io: images (RGB, or grey for one channel; 0..255), or float32 tensors (1, C, H, W) in [0, 1].
        sizes: of the input.
        config: of the network, for channels and upscale.
    """

    io: Io
    sizes: Sizes
    config: SpanConfig

    @property
    def white(self) -> float:
        """What intensity 1 is inside the model at either end."""
        return 255.0 if self.io == "image" else 1.0

    def input_type(self) -> Any:
        """The input as coremltools takes it."""
        return self._feature(INPUT_NAME, self.config.in_channels, shape=self._input_shape())

    def output_type(self) -> Any:
        """The output as coremltools takes it."""
        return self._feature(OUTPUT_NAME, self.config.out_channels)

    def _feature(self, name: str, channels: int, **shape: Any) -> Any:
        ct = load_coremltools()
        if self.io == "tensor":
            return ct.TensorType(name=name, dtype=np.float32, **shape)
        colors = ct.colorlayout.RGB if channels == 3 else ct.colorlayout.GRAYSCALE
        return ct.ImageType(name=name, color_layout=colors, **shape)

    def _input_shape(self) -> Any:
        ct, sizes, channels = load_coremltools(), self.sizes, self.config.in_channels
        if sizes.enumerated:
            shapes = [(1, channels, *size) for size in sizes.enumerated]
            return ct.EnumeratedShapes(shapes=shapes, default=(1, channels, *sizes.default))
        if sizes.smallest is None or sizes.largest is None:
            return ct.Shape((1, channels, *sizes.default))
        sides = zip(sizes.smallest, sizes.largest, sizes.default, strict=True)
        ranges = (ct.RangeDim(lower_bound=low, upper_bound=high, default=side) for low, high, side in sides)
        return ct.Shape((1, channels, *ranges))
