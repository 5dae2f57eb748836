"""What an app gives to a Core ML model and gets from it: tensors or images, and which sizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from models.errors import InputError

from .types import ELEMENT_TYPES

Color = Literal["RGB", "BGR", "GRAYSCALE", "GRAYSCALE_FLOAT16"]
CHANNELS: dict[Color, int] = {"RGB": 3, "BGR": 3, "GRAYSCALE": 1, "GRAYSCALE_FLOAT16": 1}
PIL_MODES: dict[Color, str] = {"RGB": "RGB", "BGR": "RGB", "GRAYSCALE": "L", "GRAYSCALE_FLOAT16": "F"}


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One input or output as the file describes it.

    Attributes:
        name: the name an app uses.
        kind: `image` (pixel buffer) or `tensor` (multi-array).
        dtype: element type of the array; `uint8` for images, `float16` for `GRAYSCALE_FLOAT16`.
        color: order of the channels in the program, for images. The arrays here are RGB either way.
        shape: default shape, (H, W) for images; empty where the file states none (flexible outputs).
        sizes: the only shapes allowed, where they are enumerated; else empty.
        ranges: (least, most or None) for each axis of `shape`, where it is flexible in ranges; else empty.
    """

    name: str
    kind: Literal["image", "tensor"]
    dtype: str
    color: Color | None
    shape: tuple[int, ...]
    sizes: tuple[tuple[int, ...], ...] = ()
    ranges: tuple[tuple[int, int | None], ...] = ()

    @property
    def channels(self) -> int | None:
        """Channels of an image; None for tensors."""
        return CHANNELS[self.color] if self.color else None

    @property
    def is_flexible(self) -> bool:
        """Whether more than one shape is allowed."""
        return len(self.sizes) > 1 or any(low != high for low, high in self.ranges)

    def allows(self, shape: Sequence[int]) -> bool:
        """Whether an array of this shape, (H, W) for images, may be given."""
        given = tuple(shape)
        if self.sizes:
            return given in self.sizes
        if self.ranges:
            return len(given) == len(self.ranges) and all(
                low <= side and (high is None or side <= high)
                for side, (low, high) in zip(given, self.ranges, strict=True)
            )
        return given == self.shape

    def describe_shapes(self) -> str:
        """The allowed shapes in words."""
        if self.sizes:
            return "one of " + ", ".join(_by(size) for size in self.sizes)
        if self.ranges:
            return _by(
                [
                    low if low == high else f"{low}..{'any' if high is None else high}"
                    for low, high in self.ranges
                ]
            )
        return _by(self.shape)


def _by(sides: Sequence[object]) -> str:
    return " x ".join(map(str, sides))


def read_feature(proto: Any) -> Feature:
    """The feature behind a `FeatureDescription` of the model specification.

    Raises:
        InputError: its type is neither image nor multi-array.
    """
    kind = proto.type.WhichOneof("Type")
    if kind == "imageType":
        return _image(proto.name, proto.type.imageType)
    if kind == "multiArrayType":
        return _multi_array(proto.name, proto.type.multiArrayType)
    raise InputError(f"{proto.name!r} is of type {kind}; only images and multi-arrays can be emulated")


def _enum_name(message: Any, name: str) -> str:
    number = getattr(message, name)
    return str(type(message).DESCRIPTOR.fields_by_name[name].enum_type.values_by_number[number].name)


def _range(bounds: Any) -> tuple[int, int | None]:
    """Bounds as a pair; the format writes an upper bound of -1 where there is none."""
    return int(bounds.lowerBound), None if bounds.upperBound < 0 else int(bounds.upperBound)


def _image(name: str, proto: Any) -> Feature:
    color = _enum_name(proto, "colorSpace")
    if color not in CHANNELS:
        raise InputError(f"image {name!r} has the color space {color}; known are {', '.join(CHANNELS)}")
    flexible = proto.WhichOneof("SizeFlexibility")
    sizes: tuple[tuple[int, ...], ...] = ()
    ranges: tuple[tuple[int, int | None], ...] = ()
    if flexible == "enumeratedSizes":
        sizes = tuple((int(s.height), int(s.width)) for s in proto.enumeratedSizes.sizes)
    elif flexible == "imageSizeRange":
        ranges = (_range(proto.imageSizeRange.heightRange), _range(proto.imageSizeRange.widthRange))
    return Feature(
        name=name,
        kind="image",
        dtype="float16" if color == "GRAYSCALE_FLOAT16" else "uint8",
        color=next(c for c in CHANNELS if c == color),
        shape=(int(proto.height), int(proto.width)),
        sizes=sizes,
        ranges=ranges,
    )


def _multi_array(name: str, proto: Any) -> Feature:
    flexible = proto.WhichOneof("ShapeFlexibility")
    sizes: tuple[tuple[int, ...], ...] = ()
    ranges: tuple[tuple[int, int | None], ...] = ()
    if flexible == "enumeratedShapes":
        sizes = tuple(tuple(map(int, s.shape)) for s in proto.enumeratedShapes.shapes)
    elif flexible == "shapeRange":
        ranges = tuple(_range(r) for r in proto.shapeRange.sizeRanges)
    dtype = _enum_name(proto, "dataType").lower()
    shape = tuple(map(int, proto.shape))
    return Feature(name=name, kind="tensor", dtype=dtype, color=None, shape=shape, sizes=sizes, ranges=ranges)


def to_tensor(feature: Feature, value: Any, dtype: torch.dtype) -> torch.Tensor:
    """What the program gets for a value that an app gives.

    Args:
        feature: the input.
        value: a PIL image or a `uint8` array (H, W, 3) RGB or (H, W) grey for images; an array or tensor for
            tensors, floats of any width where the program takes floats (rounded to its type), else integers.
        dtype: the type that the program declares.

    Returns:
        (1, C, H, W) in 0..255 for images, in the program's order of channels; else the array as it is.

    Raises:
        InputError: wrong kind, size, channels or element type.
    """
    array = value.numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    if feature.kind == "tensor":
        _refuse_shape(feature, array.shape)
        return _number_tensor(feature, array, dtype)
    mode = getattr(value, "mode", None)
    channels = CHANNELS[feature.color] if feature.color else 0
    expected = (2,) if channels == 1 else (3,)
    if channels == 1 and array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    is_shape_right = array.ndim in expected and (channels == 1 or array.shape[2] == channels)
    if (
        str(array.dtype) != feature.dtype
        or not is_shape_right
        or mode not in (None, PIL_MODES[feature.color or "RGB"])
    ):
        wanted = f"(H, W, {channels}) RGB" if channels == 3 else "(H, W) grey"
        what = f"a PIL image of mode {mode}" if mode else f"{array.dtype} {array.shape}"
        raise InputError(
            f"image input {feature.name!r} takes {feature.dtype} {wanted}, not {what}; convert it first"
        )
    _refuse_shape(feature, array.shape[:2])
    planes = torch.from_numpy(np.array(array)).reshape(*array.shape[:2], channels).permute(2, 0, 1)
    return (planes.flip(0) if feature.color == "BGR" else planes).unsqueeze(0).to(dtype).contiguous()


def _refuse_shape(feature: Feature, shape: tuple[int, ...]) -> None:
    if not feature.allows(shape):
        raise InputError(f"input {feature.name!r} takes {feature.describe_shapes()}, not {_by(shape)}")


def _number_tensor(feature: Feature, array: NDArray[Any], dtype: torch.dtype) -> torch.Tensor:
    if array.dtype.kind != ("f" if dtype.is_floating_point else "i"):
        kind = "floats" if dtype.is_floating_point else "integers"
        raise InputError(f"input {feature.name!r} takes {kind} ({feature.dtype}), not {array.dtype}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(f"input {feature.name!r} holds NaN or infinity; give finite numbers")
    return torch.from_numpy(np.array(array)).to(dtype)


def to_array(feature: Feature, tensor: torch.Tensor, *, raw: bool) -> NDArray[Any]:
    """What an app gets for a result of the program.

    An 8-bit image is clipped to 0..255 and rounded half to even: an assumption (see the package's docstring).

    Args:
        feature: the output.
        tensor: the program's result.
        raw: give images as the program computes them, (1, C, H, W), neither clipped nor rounded.

    Returns:
        `uint8` (H, W, 3) RGB or (H, W) grey for images, `float16` (H, W) for `GRAYSCALE_FLOAT16`; else the
        described type.

    Raises:
        InputError: an image output is not (1, C, H, W).
    """
    if feature.kind == "tensor" or raw:
        element = ELEMENT_TYPES.get(feature.dtype) if feature.kind == "tensor" else None
        return (tensor.to(element.torch) if element else tensor).numpy()
    if tensor.ndim != 4 or tensor.shape[0] != 1 or tensor.shape[1] != feature.channels:
        raise InputError(f"image output {feature.name!r} is of shape {tuple(tensor.shape)}, not (1, C, H, W)")
    planes = tensor[0].flip(0) if feature.color == "BGR" else tensor[0]
    if feature.dtype == "uint8":
        planes = planes.float().clamp(0, 255).round().to(torch.uint8)
    frame = planes.permute(1, 2, 0).contiguous().numpy()
    return frame if feature.channels == 3 else frame[:, :, 0]
