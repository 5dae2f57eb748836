"""A teacher's outputs, computed once per training image."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from ..progress import Progress, silent
from .crops import Frame, TrainingPair


@torch.no_grad()
def with_teacher(
    pairs: Sequence[TrainingPair],
    teacher: nn.Module,
    *,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> tuple[TrainingPair, ...]:
    """The pairs, each with what `teacher` makes of its whole LR image, clipped and rounded to 8 bits.

    Whole images are run once instead of crops on every step: a step then costs no teacher, and its crops
    have no artificial border in the teacher's view.

    Args:
        pairs: training images.
        teacher: (N, C, H, W) in [0, 1] -> (N, C, s*H, s*W); in eval mode, on `device`.
        device: where it runs.
        progress: told after each image.
    """
    taught = []
    for done, pair in enumerate(pairs, start=1):
        lr = torch.from_numpy(pair.lr).to(device).permute(2, 0, 1)[None].float() / 255
        output = (teacher(lr)[0].clamp(0, 1) * 255).round().to(torch.uint8)
        frame: Frame = np.ascontiguousarray(output.permute(1, 2, 0).cpu().numpy())
        taught.append(replace(pair, teacher=frame))
        progress("teacher", done, len(pairs), pair.name)
    return tuple(taught)
