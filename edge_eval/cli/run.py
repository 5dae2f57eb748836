"""`span-edge run`: the main job."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from models.errors import InputError

from .options import (
    PATH,
    available_formats,
    available_recipes,
    data_options,
    gate_options,
    names_of,
    network_options,
    overwrite_option,
    size,
    threads_option,
)
from .outcome import GateError
from .terminal import Terminal, progress_bars, terminal

if TYPE_CHECKING:
    from ..report_data import Report

EPILOG = """\b
Examples:
  span-edge run spanx4_ch48.pth
  span-edge run spanx4_ch48.pth --data Set5 --recipes fp32,fp16 --max-drop 0.05 --out set5

\b
The folder gets:
  NAME_RECIPE.tflite, NAME_RECIPE.mlpackage   the files, each with a .json beside it
  report.html                                 figures and pictures; open it in a browser
  eval.json, bench.json, run.json             the same for programs

Core ML files run in an emulator of their arithmetic, for quality; they have no latency without a Mac.
"""

NO_CHECKPOINT = (
    "no checkpoint given, and none comes with this version; give the file of a trained SPAN network, as in "
    "span-edge run spanx4_ch48.pth (its authors link their weights at https://github.com/hongyuanyu/SPAN)"
)


@click.command(epilog=EPILOG)
@click.argument("checkpoint", type=PATH, required=False)
@data_options
@click.option(
    "--recipes",
    type=names_of("recipe", available_recipes),
    default="fp16",
    show_default=True,
    metavar="NAME,...",
    help="What to convert to, in every format.",
)
@click.option(
    "--formats",
    type=names_of("format", available_formats),
    default="tflite,coreml",
    show_default=True,
    metavar="NAME,...",
    help="Which kinds of file.",
)
@click.option(
    "--size",
    "size_hw",
    type=size,
    default="128x128",
    show_default=True,
    metavar="HxW",
    help="Input size of the files.",
)
@click.option("--out", type=PATH, default="out", show_default=True, metavar="DIR", help="Folder for all.")
@click.option("--runs", type=click.IntRange(min=0), default=30, show_default=True, help="Timed runs each.")
@threads_option
@gate_options
@network_options
@overwrite_option
def run(
    *,
    checkpoint: Path | None,
    data: Path | None,
    lr: Path | None,
    recipes: tuple[str, ...],
    formats: tuple[str, ...],
    size_hw: tuple[int, int],
    out: Path,
    runs: int,
    threads: int | None,
    max_drop: float | None,
    min_psnr: float | None,
    img_range: float | None,
    rgb_mean: tuple[float, ...] | None,
    overwrite: bool,
) -> None:
    """Convert a checkpoint to every format, evaluate and time the files, write a report."""
    if checkpoint is None:
        raise InputError(NO_CHECKPOINT)
    from ..output_folder import refuse_taken_folder

    refuse_taken_folder(out, overwrite=overwrite)
    with terminal() as screen:
        from convert.formats import FORMATS

        from ..datasets import open_dataset
        from ..gates import Gates
        from ..pipeline import Job, run_pipeline
        from .sources import channels_of, load_network

        with progress_bars(screen) as bars:
            loaded = load_network(checkpoint, img_range=img_range, rgb_mean=rgb_mean, progress=bars)
            config = loaded.checkpoint.config
            job = Job(
                checkpoint=loaded.checkpoint,
                network=loaded.network,
                dataset=open_dataset(data, scale=config.upscale, lr=lr, channels=channels_of(config)),
                recipes=recipes,
                formats=tuple(FORMATS[name].name for name in formats),  # type: ignore[index]
                size=size_hw,
                threads=threads,
                runs=runs,
                gates=Gates(max_drop_db=max_drop, min_psnr_db=min_psnr),
                command=shlex.join(["span-edge", *sys.argv[1:]]),
            )
            report = run_pipeline(job, out=out, overwrite=overwrite, progress=bars)
        _show(screen, report, loaded.checkpoint.notes)
    if report.failures:
        raise GateError(report.failures)


def _show(screen: Terminal, report: "Report", notes: tuple[str, ...]) -> None:
    """The table, and where everything is."""
    from ..report import report_tables
    from ..report_data import HTML_FILE

    for note in notes:
        screen.say(f"note: {note}")
    for part in report_tables(report):
        screen.out.print(part)
    screen.out.print(f"report: {report.folder / HTML_FILE}", soft_wrap=True)
