"""The report's pictures: files of one part of an image, as every network made it, pixel for pixel."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .runner import Frame

PAGE_BYTES = 5_000_000
"""What the pictures of one page may come to, before base64 adds a third: the page stays under 8 MB."""
BYTES_PER_PIXEL = 1.6
"""Of a losslessly packed photograph, rather more than measured on Set5 (0.8 to 1.1)."""
SIDES = (128, 512)
"""Smallest and largest side of the part of an image that is shown, in output pixels."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Which part of which image is shown.

    Attributes:
        image: name of the image in the data set.
        scale: output pixels per input pixel, along each side.
        crop: (top, left, height, width) in output pixels, on whole input pixels.
        frame_hw: (H, W) of the whole output.
    """

    image: str
    scale: int
    crop: tuple[int, int, int, int]
    frame_hw: tuple[int, int]

    def cut(self, frame: Frame) -> Frame:
        """The part, of a frame of the output's size or of the input's."""
        unit = self.frame_hw[0] // frame.shape[0]
        top, left, height, width = (length // unit for length in self.crop)
        return frame[top : top + height, left : left + width]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The pictures of one place; file names are relative to the report's folder, pixels are exact.

    Attributes:
        image: see `Place`, as are `scale`, `crop` and `frame_hw`.
        files: of `input` (small), `bicubic`, `float` and, where it is known, `original`.
        artifacts: by artifact, the file of what it made.
        drops_db: by artifact, what it loses on the whole image; None where that is unknown.
    """

    image: str
    scale: int
    crop: tuple[int, int, int, int]
    frame_hw: tuple[int, int]
    files: Mapping[str, str]
    artifacts: Mapping[str, str]
    drops_db: Mapping[str, float | None]


def affordable_side(pictures: int) -> int:
    """The side of square pictures, in pixels, such that so many of them keep within `PAGE_BYTES`."""
    side = int((PAGE_BYTES / (max(pictures, 1) * BYTES_PER_PIXEL)) ** 0.5)
    return min(max(side, SIDES[0]), SIDES[1])


def place_of(image: str, expected: Frame, output: Frame, *, scale: int, side: int) -> Place:
    """The part of an image where two outputs differ most.

    Args:
        image: its name.
        expected: (sH, sW, C).
        output: the same size.
        scale: output pixels per input pixel.
        side: of the part, in output pixels; it is rounded down to whole input pixels.
    """
    difference = np.abs(expected.astype(np.int16) - output.astype(np.int16))
    return Place(
        image=image,
        scale=scale,
        crop=largest_difference(difference, scale=scale, side=side),
        frame_hw=(expected.shape[0], expected.shape[1]),
    )


def largest_difference(difference: NDArray[np.int16], *, scale: int, side: int) -> tuple[int, int, int, int]:
    """(top, left, height, width) of the window with the most difference, on whole input pixels.

    Args:
        difference: (sH, sW, C), absolute, in grey levels.
        scale: output pixels per input pixel, along each side.
        side: of the window in output pixels; smaller where the image is.
    """
    height, width = (min(length, side) // scale for length in difference.shape[:2])
    total = difference.sum(axis=2, dtype=np.int64)
    blocks = total.reshape(total.shape[0] // scale, scale, total.shape[1] // scale, scale).sum(axis=(1, 3))
    sums = np.pad(blocks, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    rows, columns = blocks.shape[0] - height + 1, blocks.shape[1] - width + 1
    windows = sums[height:, width:] - sums[:rows, width:] - sums[height:, :columns] + sums[:rows, :columns]
    top, left = np.unravel_index(int(windows.argmax()), windows.shape)
    return int(top) * scale, int(left) * scale, height * scale, width * scale


def save_picture(frame: Frame, folder: Path, name: str, *, root: Path) -> str:
    """Write a frame as lossless WebP; its file's name relative to `root`."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{file_name(name)}.webp"
    picture = Image.fromarray(frame.squeeze(-1) if frame.shape[-1] == 1 else frame).convert("RGB")
    picture.save(path, lossless=True, quality=80, method=4)
    return path.relative_to(root).as_posix()


def file_name(name: str) -> str:
    """A name that every file system takes."""
    return re.sub(r"[^\w.-]", "_", name)
