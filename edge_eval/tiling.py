"""Images larger than a network's fixed size, in tiles that together equal the whole image's result exactly.

A convolutional network's output pixel depends on the LR pixels within its receptive radius R, and on zeros
where those lie beyond the image. So a tile's pixels are right if they are R or more away from each side
of the tile, or if that side lies on the image's border, where the tile's zero padding is the image's.
Tiles are placed flush with the border, therefore, and of each one only what is right is kept. What
remains is the order in which a runtime adds up: float kernels may add in another order for another
width, so that float results can differ in the last bits.

An image smaller than the tile cannot be run exactly: its zero padding would have to happen inside the tile,
after every layer, where the file does not put it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from models.errors import InputError
from models.progress import Progress, silent

from .runner import FloatImage, Runner


@dataclass(frozen=True, kw_only=True)
class Span:
    """One tile along an axis: it reads [start, start + tile); [keep_from, keep_to) of the image is kept."""

    start: int
    keep_from: int
    keep_to: int


def plan_axis(length: int, tile: int, radius: int) -> tuple[Span, ...]:
    """The tiles along one axis; what they keep covers [0, length) once.

    Args:
        length: LR pixels of the image.
        tile: LR pixels of a tile.
        radius: receptive radius in LR pixels.

    Raises:
        InputError: the image is smaller than the tile, or tiles are too small to keep any of an inner one.
    """
    if length < tile:
        raise InputError(
            f"the image has {length} pixels along a side where the network takes exactly {tile}: filling it "
            "up would change the result at its border; convert with a flexible size, or one no larger than "
            "the smallest image"
        )
    if length == tile:
        return (Span(start=0, keep_from=0, keep_to=length),)
    step = tile - 2 * radius
    if step < 1 and length > 2 * (tile - radius):
        raise InputError(
            f"tiles of {tile} pixels are too small: the network looks {radius} pixels far, so tiles need "
            f"at least {2 * radius + 1}; convert with a larger size, or a flexible one"
        )
    spans = []
    kept = 0
    while kept < length:
        start = min(max(kept - radius, 0), length - tile)
        keep_to = length if start == length - tile else start + tile - radius
        spans.append(Span(start=start, keep_from=kept, keep_to=keep_to))
        kept = keep_to
    return tuple(spans)


def run_tiled(
    runner: Runner,
    image: FloatImage,
    *,
    radius: int,
    tile: tuple[int, int] | None = None,
    progress: Progress = silent,
) -> FloatImage:
    """Upscale an image of any size; see the module's description.

    Args:
        runner: fixed or flexible.
        image: (H, W, C) in [0, 1].
        radius: the network's receptive radius in LR pixels (`SpanDeploy.receptive_radius`).
        tile: (H, W) of the tiles for a runner that takes any size, to bound the memory; None: the whole
            image. A side shorter than the tile's is taken whole. A runner with a fixed size has its own.
        progress: told after each tile.

    Returns:
        (scale*H, scale*W, C), as `Runner.run` gives of the whole image.

    Raises:
        InputError: the image is smaller than the runner's fixed size, or the tiles are too small.
    """
    height, width = image.shape[:2]
    tile_hw = tile_for(runner, (height, width), tile)
    if tile_hw == (height, width):
        return runner.run(image)
    rows, columns = plan_axis(height, tile_hw[0], radius), plan_axis(width, tile_hw[1], radius)
    scale = runner.scale
    result = np.empty((scale * height, scale * width, image.shape[2]), np.float32)
    for done, (row, column) in enumerate([(row, column) for row in rows for column in columns]):
        y, x = row.start, column.start
        piece = runner.run(np.ascontiguousarray(image[y : y + tile_hw[0], x : x + tile_hw[1]]))
        kept = piece[_scaled(row, y, scale), _scaled(column, x, scale)]
        result[_scaled(row, 0, scale), _scaled(column, 0, scale)] = kept
        progress("tiles", done + 1, len(rows) * len(columns))
    return result


def fill_up(image: FloatImage, least_hw: tuple[int, int]) -> FloatImage:
    """The image continued by mirroring at the bottom and right to at least `least_hw`; itself where it is.

    This is not exact: some pixels at the right and the bottom differ from those of a run on the image alone.
    """
    missing = [max(need - have, 0) for need, have in zip(least_hw, image.shape[:2], strict=True)]
    if not any(missing):
        return image
    return np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")


def tile_for(runner: Runner, image_hw: tuple[int, int], tile: tuple[int, int] | None) -> tuple[int, int]:
    """The (H, W) at which a runner runs an image: its only size, or what is asked for if it takes that.

    Args:
        runner: fixed, flexible, or with some sizes only (its `fitting_hw` then says which).
        image_hw: of the image.
        tile: the size asked for, None for the whole image; sides longer than the image's become those.
    """
    if runner.input_hw is not None:
        return runner.input_hw
    wanted_hw = image_hw if tile is None else (min(tile[0], image_hw[0]), min(tile[1], image_hw[1]))
    fitting_hw: Callable[[tuple[int, int]], tuple[int, int]] | None = getattr(runner, "fitting_hw", None)
    return fitting_hw(wanted_hw) if fitting_hw else wanted_hw


def _scaled(span: Span, origin: int, scale: int) -> slice:
    """What is kept of a tile, in output pixels counted from the LR pixel `origin`."""
    return slice(scale * (span.keep_from - origin), scale * (span.keep_to - origin))
