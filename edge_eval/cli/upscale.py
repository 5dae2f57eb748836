"""`span-edge upscale`: images through a converted file or a checkpoint."""

from pathlib import Path

import click

from .options import CHECKPOINT, PATH, network_options, overwrite_option, runtime_option, threads_option
from .terminal import progress_bars, terminal

EPILOG = """\b
Examples:
  span-edge upscale photo.jpg --model out/spanx4_ch48_fp16.tflite -o big/
  span-edge upscale *.png --model spanx4_ch48.pth -o big/

Results are PNG files named as the images. An image larger than the file's fixed size is run in tiles that
overlap, so that the result is that of the whole image.
"""


@click.command(epilog=EPILOG)
@click.argument("images", nargs=-1, required=True, type=PATH, metavar="IMAGE...")
@click.option("--model", type=CHECKPOINT, required=True, metavar="ARTIFACT|CHECKPOINT", help="What to run.")
@click.option("-o", "--out", type=PATH, required=True, metavar="DIR", help="Folder for the PNG files.")
@runtime_option
@threads_option
@network_options
@overwrite_option
def upscale(
    *,
    images: tuple[Path, ...],
    model: Path,
    out: Path,
    runtime: str | None,
    threads: int | None,
    img_range: float | None,
    rgb_mean: tuple[float, ...] | None,
    overwrite: bool,
) -> None:
    """Upscale images of any size."""
    with terminal() as screen:
        from ..upscale import plan_outputs, upscale_files
        from .sources import open_model

        plan_outputs(images, out, overwrite=overwrite)
        opened = open_model(model, runtime=runtime, threads=threads, img_range=img_range, rgb_mean=rgb_mean)
        with progress_bars(screen) as bars:
            results = upscale_files(
                images,
                opened.runner,
                channels=opened.channels,
                radius=opened.radius,
                folder=out,
                overwrite=overwrite,
                progress=bars,
            )
        for result in results:
            height, width = result.output_hw
            screen.out.print(f"{result.path}: {width}x{height} pixels", soft_wrap=True)
            if result.note:
                screen.say(f"note: {result.source}: {result.note}")
