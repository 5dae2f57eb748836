"""The images that quantization learns from: which pixels, in which order, and the hash that names them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from models.errors import InputError

Frame = NDArray[np.uint8]
TEXT_DRAW = 2**30
"""Number of the draw of letters, apart from those of crops."""

TEXT_FINER = 8
"""Positions of an edge of a letter within a pixel."""

TEXT_HEIGHTS = (7, 22)
"""Heights of a line of text, in pixels; the second is not reached."""

LETTERS = (33, 127)
"""The printable ASCII characters but the space; the second is not reached."""

SMALLEST_SIDE = 16
"""Images with a shorter side are refused: the network sees mostly its own padding."""


@dataclass(frozen=True, kw_only=True)
class CalibrationSet:
    """Low-resolution frames and how crops are drawn from them.

    Attributes:
        frames: (H, W, C), uint8, RGB, low resolution: what the network will be given.
        seed: of the crops.
    """

    frames: tuple[Frame, ...]
    seed: int = 0

    @classmethod
    def of(cls, frames: Sequence[Frame], *, channels: int = 3, seed: int = 0) -> "CalibrationSet":
        """The set of these frames, checked.

        Raises:
            InputError: there are none, or one is not uint8 (H, W, channels), or smaller than 16 pixels.
        """
        if not frames:
            raise InputError("no calibration images; give at least one, better 50 to 500 (--calibration DIR)")
        for number, frame in enumerate(frames, start=1):
            if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != channels:
                raise InputError(
                    f"calibration image {number} is {frame.dtype} {frame.shape}; "
                    f"give uint8 (H, W, {channels})"
                )
            if min(frame.shape[:2]) < SMALLEST_SIDE:
                raise InputError(
                    f"calibration image {number} is {frame.shape[0]}x{frame.shape[1]} (HxW), reduced; "
                    f"give images of at least {SMALLEST_SIDE}x{SMALLEST_SIDE} after reduction"
                )
        return cls(frames=tuple(frames), seed=seed)

    @property
    def sha256(self) -> str:
        """The hash of all pixels and shapes, in order."""
        digest = hashlib.sha256()
        for frame in self.frames:
            digest.update(f"{frame.shape}".encode())
            digest.update(np.ascontiguousarray(frame).tobytes())
        return digest.hexdigest()

    def crops(self, count: int, side: int, *, draw: int = 0) -> Tensor:
        """Random crops, the same for the same set, `side` and `draw`.

        Args:
            count: how many.
            side: height and width; less where the smallest image is smaller.
            draw: number of the draw: a training step, say.

        Returns:
            (count, C, side, side) in [0, 1], float32.
        """
        random = np.random.default_rng((self.seed, draw))
        side = min(side, *(min(frame.shape[:2]) for frame in self.frames))
        chosen = random.permutation(len(self.frames))
        crops = []
        for i in range(count):
            frame = self.frames[chosen[i % len(chosen)]]
            y, x = (random.integers(0, length - side + 1) for length in frame.shape[:2])
            crops.append(frame[y : y + side, x : x + side].transpose(2, 0, 1))
        return torch.from_numpy(np.stack(crops)).float() / 255


def drawn_text(count: int, side: int, *, channels: int = 3, seed: int = 0) -> Tensor:
    """Lines of random letters, black on white, white on black and in every other crop two colours.

    Text and drawings have steeper edges than photographs. They lie between pixels, as they do after a picture
    was made smaller.

    Args:
        count: how many.
        side: height and width.
        channels: 3, or 1 for grey.
        seed: of letters, sizes and colours.

    Returns:
        (count, channels, side, side) in [0, 1], float32.
    """
    random, drawn = np.random.default_rng((seed, TEXT_DRAW)), []
    for number in range(count):
        paper, ink = (255, 255, 255), (0, 0, 0)
        if number % 2:
            paper, ink = (tuple(random.integers(0, 256, 3).tolist()) for _ in range(2))
        elif number % 4:
            paper, ink = ink, paper
        image = Image.new("RGB", (side * TEXT_FINER, side * TEXT_FINER), paper)
        height = int(random.integers(*TEXT_HEIGHTS)) * TEXT_FINER
        pen, font = ImageDraw.Draw(image), ImageFont.load_default(size=height)
        for top in range(0, image.height, height + height // 5):
            letters = "".join(map(chr, random.integers(*LETTERS, 4 * image.width // height)))
            pen.text((int(random.integers(-height, 1)), top), letters, fill=ink, font=font)
        small = image.resize((side, side), Image.Resampling.BICUBIC)
        drawn.append(np.atleast_3d(np.asarray(small if channels == 3 else small.convert("L"))))
    return torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2).float() / 255
