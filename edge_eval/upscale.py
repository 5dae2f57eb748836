"""Image files in, upscaled PNG files out, through any runner."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from models.errors import InputError
from models.files import refuse_existing, refuse_unwritable
from models.progress import Progress, renamed, silent

from .frames import Channels, Layers, read_layers, write_layers
from .resize import imresize
from .runner import Runner, to_frame, to_image
from .tiling import fill_up, run_tiled, tile_for

FLEXIBLE_TILE = (384, 384)
"""Tiles for a network that takes any size, so that a photograph of 12 megapixels fits in memory."""

FILLED_NOTE = (
    "smaller than the sizes that the file takes, so continued by mirroring: some pixels at the right and the "
    "bottom differ from an exact run"
)


@dataclass(frozen=True, kw_only=True)
class Upscaled:
    """One written file; `note` says what the user should know, or nothing."""

    source: Path
    path: Path
    output_hw: tuple[int, int]
    note: str = ""


def plan_outputs(images: Sequence[Path], folder: Path, *, overwrite: bool) -> tuple[Path, ...]:
    """The PNG file of every image, all checked before the first one is made.

    Raises:
        InputError: an image is missing, two would become the same file, a file exists, or the folder cannot
            be written.
    """
    missing = [str(image) for image in images if not image.is_file()]
    if missing:
        raise InputError(f"no image {', '.join(missing)}; give image files (folders are not searched)")
    refuse_unwritable(folder / "x.png")
    outputs: dict[Path, Path] = {}
    for image in images:
        out = folder / f"{image.stem}.png"
        if out in outputs:
            raise InputError(f"{outputs[out]} and {image} would both become {out}; rename one")
        if out.resolve() == image.resolve():
            raise InputError(f"{image} would be replaced by its own result; give another folder with -o")
        refuse_existing(out, overwrite=overwrite)
        outputs[out] = image
    return tuple(outputs)


def upscale_files(
    images: Sequence[Path],
    runner: Runner,
    *,
    channels: Channels,
    radius: int,
    folder: Path,
    overwrite: bool = False,
    progress: Progress = silent,
) -> tuple[Upscaled, ...]:
    """Upscale image files one after the other; each PNG file is written whole.

    Colours go through the network, an alpha channel through bicubic interpolation; grey files stay grey.

    Args:
        images: the files.
        runner: the network.
        channels: what the network takes, 1 or 3.
        radius: the network's receptive radius in LR pixels.
        folder: where the results go, named as the images.
        overwrite: replace existing files.
        progress: told after each tile.

    Raises:
        InputError: see `plan_outputs` and `read_layers`.
    """
    outputs = plan_outputs(images, folder, overwrite=overwrite)
    done = []
    for number, (source, path) in enumerate(zip(images, outputs, strict=True), start=1):
        stage = f"upscale {number}/{len(images)} {source.name}"
        layers = read_layers(source, channels=channels)

        image = to_image(layers.frame)
        filled = fill_up(image, tile_for(runner, (image.shape[0], image.shape[1]), FLEXIBLE_TILE))
        height, width = (runner.scale * side for side in image.shape[:2])
        tell = renamed(progress, stage)
        result = run_tiled(runner, filled, radius=radius, tile=FLEXIBLE_TILE, progress=tell)[:height, :width]
        alpha = None if layers.alpha is None else imresize(layers.alpha, runner.scale)
        write_layers(Layers(frame=to_frame(result), alpha=alpha, grey=layers.grey), path, overwrite=overwrite)
        progress(stage, 1, 1)
        note = FILLED_NOTE if filled.shape != image.shape else ""
        done.append(Upscaled(source=source, path=path, output_hw=(height, width), note=note))
    return tuple(done)
