"""Image files as frames: what is read, what is converted on the way, and what is refused."""

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from models.errors import InputError
from models.files import written_whole

from .runner import Frame

Channels = Literal[1, 3]

FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".bmp": "BMP",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
"""Suffixes of the image files that are read."""

DECODERS = tuple(sorted(set(FORMATS.values())))
"""JPEG's takes MPO too, the JPEG that some phones write, with a second picture behind the first."""
READABLE = "PNG, JPEG, BMP, WebP or TIFF"

PLAIN_MODES = {"1": "L", "L": "L", "RGB": "RGB", "P": "RGB"}
GREY_MODES = ("1", "L", "LA", "La")
ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
REFUSED_MODES = {
    "CMYK": "holds printing inks (CMYK), whose colours depend on a profile; convert it to RGB",
    "LAB": "holds L*a*b* colours; convert it to RGB",
    "YCbCr": "holds YCbCr without a conversion to RGB; convert it to RGB",
    "HSV": "holds HSV colours; convert it to RGB",
    "F": "holds floating-point pixels; convert it to 8 bits per channel",
}
DEEP = "has 16 bits or more per channel; convert it to 8 bits, so that the rounding is your own"

TIFF_BITS_PER_SAMPLE = 258
PNG_BIT_DEPTH_OFFSET = 24
"""Where IHDR keeps the bit depth: Pillow drops the low byte of 16-bit colour without saying so."""

BROKEN_FILE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    KeyError,
    IndexError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow's decoders raise on damaged files."""


def is_image(path: Path) -> bool:
    """Whether the name is that of an image file we read; hidden files are not."""
    return path.suffix.lower() in FORMATS and not path.name.startswith(".")


def read_frame(path: Path, *, channels: Channels = 3) -> Frame:
    """The pixels of an image file, upright (EXIF orientation applied), colour profiles ignored.

    Grey, bilevel and palette images become RGB exactly. With `channels=1` colour becomes grey by BT.601 luma
    in full range, so that a grey picture stored as RGB keeps its values. An alpha channel is dropped if it is
    opaque everywhere. Of an MPO the first picture is taken.

    Returns:
        (H, W, channels).

    Raises:
        InputError: not an image, damaged, more than 8 bits per channel, transparent, CMYK or another colour
            space, or several pictures in one file.
    """
    plain = _without_alpha(_upright(path), path)
    return _pixels(plain, channels)


@dataclass(frozen=True, kw_only=True)
class Layers:
    """An image file as it is to be upscaled: what `read_frame` refuses or forgets is kept.

    Attributes:
        frame: (H, W, C), the colours, also under transparent pixels.
        alpha: (H, W, 1), or None where the file is opaque everywhere.
        grey: whether the file holds grey only.
    """

    frame: Frame
    alpha: Frame | None
    grey: bool


def read_layers(path: Path, *, channels: Channels = 3) -> Layers:
    """The pixels of an image file and its alpha channel.

    Raises:
        InputError: as `read_frame`, but transparent images are taken.
    """
    upright = _upright(path)
    grey = upright.mode in GREY_MODES
    alpha = None
    if upright.mode in ALPHA_MODES or (upright.mode in PLAIN_MODES and "transparency" in upright.info):
        upright = upright.convert("RGBA")
        alpha = np.asarray(upright.getchannel("A"))[:, :, None].copy()
        upright = upright.convert("RGB")
    frame = _pixels(_without_alpha(upright, path), channels)
    return Layers(frame=frame, alpha=None if alpha is None or alpha.min() == 255 else alpha, grey=grey)


def write_layers(layers: Layers, path: Path, *, overwrite: bool = False) -> None:
    """Write a frame with its alpha channel as PNG, grey where `layers.grey` says so.

    Raises:
        InputError: as `write_frame`.
    """
    frame = layers.frame
    if layers.grey:
        frame = _pixels(_as_image(frame), 1)
    if layers.alpha is not None:
        frame = np.concatenate([frame, layers.alpha], axis=2)
    _write_png(frame, path, overwrite=overwrite)


def write_frame(frame: Frame, path: Path, *, overwrite: bool = False) -> None:
    """Write a frame as PNG, whole or not at all.

    Args:
        frame: (H, W, 1 or 3).
        path: where; the suffix must be `.png`.
        overwrite: replace a file that is there.

    Raises:
        InputError: the suffix is another, the file exists, or the folder cannot be written.
    """
    _write_png(frame, path, overwrite=overwrite)


def _write_png(frame: Frame, path: Path, *, overwrite: bool) -> None:
    if path.suffix.lower() != ".png":
        raise InputError(
            f"{path} would not be a PNG file; results are written as PNG, so give a name that ends in .png"
        )
    with written_whole(path, overwrite=overwrite) as scratch:
        _as_image(frame).save(scratch, format="PNG")


def _as_image(frame: Frame) -> Image.Image:
    """The frame for Pillow: L, LA, RGB or RGBA by its channels."""
    return Image.fromarray(frame[:, :, 0] if frame.shape[2] == 1 else frame)


def _pixels(image: Image.Image, channels: Channels) -> Frame:
    pixels = np.asarray(image.convert("RGB" if channels == 3 else "L"))
    return pixels.reshape(*pixels.shape[:2], channels).copy()


def _upright(path: Path) -> Image.Image:
    """The decoded picture with its EXIF orientation applied, or a refusal."""
    try:
        with Image.open(path, formats=DECODERS) as image:
            _refuse_if_deep(image, path)
            _refuse_if_several(image, path)
            upright = ImageOps.exif_transpose(image)
            upright.load()
    except UnidentifiedImageError as error:
        raise InputError(f"{path} cannot be read: it is empty, damaged or not {READABLE}") from error
    except BROKEN_FILE_ERRORS as error:
        raise InputError(
            f"{path} cannot be read: {_one_line(error)}; it is damaged, truncated or not {READABLE}"
        ) from error
    return upright


def _refuse_if_deep(image: Image.Image, path: Path) -> None:
    bits: tuple[int, ...] = (8,)
    if image.format == "PNG":
        with path.open("rb") as stream:
            bits = (stream.read(PNG_BIT_DEPTH_OFFSET + 1)[-1],)
    elif isinstance(image, TiffImageFile):
        bits = tuple(image.tag_v2.get(TIFF_BITS_PER_SAMPLE, (1,)))
    if max(bits) > 8 and image.mode != "F":
        raise InputError(f"{path} {DEEP}")


def _refuse_if_several(image: Image.Image, path: Path) -> None:
    pictures = getattr(image, "n_frames", 1)
    if pictures > 1 and image.format != "MPO":
        raise InputError(
            f"{path} holds {pictures} pictures (an animation or pages); give one picture per file"
        )


def _without_alpha(image: Image.Image, path: Path) -> Image.Image:
    """The image in mode L or RGB, or a refusal."""
    if image.mode in REFUSED_MODES:
        raise InputError(f"{path} {REFUSED_MODES[image.mode]}")
    if image.mode not in (*PLAIN_MODES, *ALPHA_MODES):
        raise InputError(
            f"{path} {DEEP if image.mode.startswith('I') else f'has pixels of kind {image.mode}; convert it'}"
        )
    if image.mode in PLAIN_MODES and "transparency" not in image.info:
        return image.convert(PLAIN_MODES[image.mode])
    with_alpha = image.convert("RGBA")
    if with_alpha.getchannel("A").getextrema() != (255, 255):
        raise InputError(
            f"{path} has transparent pixels, whose colour is not defined; flatten it onto a background, "
            "or remove the alpha channel"
        )
    return with_alpha.convert("RGB")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
