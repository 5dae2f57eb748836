"""The report's pictures: input, float network, artifact, and their difference made visible."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .report_data import Picture
from .runner import Frame

ZOOM_INPUT_PIXELS = 24
"""Side of the enlarged part, in input pixels."""
WEBP_QUALITY = 90
"""Of whole pictures, which are for orientation; enlarged parts are lossless."""
MAX_GAIN = 128


def save_pictures(
    *,
    input_frame: Frame,
    float_frame: Frame,
    artifact_frame: Frame,
    folder: Path,
    root: Path,
    artifact: str,
    image: str,
    drop_db: float | None,
) -> Picture:
    """Write the picture files of one image into `folder`, and say what they show.

    Args:
        input_frame: (H, W, 3) as the networks got it.
        float_frame: (sH, sW, 3), the float network's output.
        artifact_frame: (sH, sW, 3), the artifact's output.
        folder: where the files go; made if absent.
        root: file names are given relative to it.
        artifact: the artifact's name.
        image: the image's name.
        drop_db: what the artifact loses on this image.
    """
    scale = float_frame.shape[0] // input_frame.shape[0]
    difference = np.abs(float_frame.astype(np.int16) - artifact_frame.astype(np.int16))
    gain = visible_gain(int(difference.max()))
    visible = np.minimum(difference * gain, 255).astype(np.uint8)
    top, left, height, width = largest_difference(difference, scale=scale)
    frames = {"input": input_frame, "float": float_frame, "artifact": artifact_frame, "difference": visible}
    whole, zoom = {}, {}
    folder.mkdir(parents=True, exist_ok=True)
    for kind, frame in frames.items():
        unit = scale if kind == "input" else 1
        cut = frame[top // unit : (top + height) // unit, left // unit : (left + width) // unit]
        whole[kind] = _save(frame, folder / f"{kind}.webp", root)
        zoom[kind] = _save(cut, folder / f"{kind}-zoom.png", root)
    return Picture(
        artifact=artifact,
        image=image,
        drop_db=drop_db,
        gain=gain,
        crop=(top, left, height, width),
        frame_hw=(float_frame.shape[0], float_frame.shape[1]),
        whole=whole,
        zoom=zoom,
    )


def visible_gain(largest: int) -> int:
    """The largest power of two that keeps a difference of `largest` grey levels within 255; 0 for none."""
    if largest == 0:
        return 0
    return min(MAX_GAIN, 1 << ((255 // largest).bit_length() - 1))


def largest_difference(difference: NDArray[np.int16], *, scale: int) -> tuple[int, int, int, int]:
    """(top, left, height, width) of the window with the most difference, on whole input pixels.

    Args:
        difference: (sH, sW, C), absolute, in grey levels.
        scale: output pixels per input pixel, along each side.
    """
    height, width = (min(side // scale, ZOOM_INPUT_PIXELS) for side in difference.shape[:2])
    total = difference.sum(axis=2, dtype=np.int64)
    blocks = total.reshape(total.shape[0] // scale, scale, total.shape[1] // scale, scale).sum(axis=(1, 3))
    sums = np.pad(blocks, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    windows = (
        sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    )
    top, left = np.unravel_index(int(windows.argmax()), windows.shape)
    return int(top) * scale, int(left) * scale, height * scale, width * scale


def _save(frame: Frame, path: Path, root: Path) -> str:
    from PIL import Image

    picture = Image.fromarray(frame.squeeze(-1) if frame.shape[-1] == 1 else frame)
    if path.suffix == ".webp":
        picture.save(path, quality=WEBP_QUALITY, method=4)
    else:
        picture.save(path, optimize=True)
    return path.relative_to(root).as_posix()
