"""Pages of drawn text, for the edges that photographs hold few of."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from models.errors import InputError

from .calibration import Frame

FINER = 8
"""Pixels of a page per pixel of low resolution: positions of an edge within a pixel."""

HEIGHTS = (7, 22)
"""Heights of a line in pixels of low resolution; the second is not reached."""

LETTERS = (33, 127)
"""The printable ASCII characters but the space; the second is not reached."""

DRAW = 2**30
"""Number of the draw of pages, apart from those of crops."""

AT_ONCE = 16
"""Pages that the float network is shown at once."""


def pages(count: int, side: int, *, channels: int = 3, seed: int = 0) -> Iterator[Frame]:
    """Lines of random letters, black on white, white on black and in every other page two colours.

    Args:
        count: how many.
        side: height and width in pixels of low resolution.
        channels: 3, or 1 for grey.
        seed: of letters, sizes and colours.

    Yields:
        (FINER * side, FINER * side, channels), uint8.

    Raises:
        InputError: Pillow was built without FreeType, which draws the letters.
    """
    random = np.random.default_rng((seed, DRAW))
    for number in range(count):
        paper, ink = (255, 255, 255), (0, 0, 0)
        if number % 2:
            paper, ink = (tuple(random.integers(0, 256, 3).tolist()) for _ in range(2))
        elif number % 4:
            paper, ink = ink, paper
        page = Image.new("RGB", (side * FINER, side * FINER), paper)
        height = int(random.integers(*HEIGHTS)) * FINER
        pen, font = ImageDraw.Draw(page), _font(height)
        for top in range(0, page.height, height + height // 5):
            letters = "".join(map(chr, random.integers(*LETTERS, 4 * page.width // height)))
            pen.text((int(random.integers(-height, 1)), top), letters, fill=ink, font=font)
        yield np.atleast_3d(np.asarray(page if channels == 3 else page.convert("L")))


def _font(height: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    try:
        return ImageFont.load_default(size=height)
    except ImportError as error:
        raise InputError(
            "text cannot be drawn: Pillow was built without FreeType; install Pillow from PyPI's wheels"
        ) from error


def small(drawn: Iterable[Frame]) -> Tensor:
    """Pages in low resolution, (N, C, side, side) in [0, 1], float32."""
    reduced = []
    for page in drawn:
        image = Image.fromarray(page if page.shape[2] == 3 else page[..., 0])
        side = page.shape[0] // FINER
        reduced.append(np.atleast_3d(np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))))
    return torch.from_numpy(np.stack(reduced)).permute(0, 3, 1, 2).float() / 255


def mastered(network: Callable[[Tensor], Tensor], lr_nchw: Tensor) -> list[int]:
    """Which half of the images the float network overshoots least, in order.

    Fine print drives some networks to tens of times white. No range holds that, and what fits it would serve
    nothing else.

    Args:
        network: from (N, C, H, W) in [0, 1].
        lr_nchw: on the network's device.
    """
    with torch.no_grad():
        outs = [network(part) for part in torch.split(lr_nchw, AT_ONCE)]
    beyond = torch.cat([(out - out.clamp(0, 1)).abs().flatten(1).amax(1) for out in outs])
    return sorted(beyond.argsort()[: (len(beyond) + 1) // 2].tolist())
