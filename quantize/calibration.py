"""The images that quantization learns from: which pixels, in which order, and the hash that names them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.errors import InputError

Frame = NDArray[np.uint8]
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
