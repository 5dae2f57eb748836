"""`span-edge run`: the main job."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from models.errors import InputError

from .gating import gate_help, gate_options, gates_of
from .options import (
    CHECKPOINT,
    PATH,
    available_formats,
    available_recipes,
    data_options,
    names_of,
    network_options,
    overwrite_option,
    quantization_options,
    recipe_lines,
    size,
    threads_option,
)
from .outcome import GateError
from .terminal import Terminal, progress_bars, terminal

if TYPE_CHECKING:
    from ..quantization import EffortName
    from ..quantized_file import QuantizedCheckpoint
    from ..report_data import Report

EPILOG = f"""\b
Examples:
  span-edge run
  span-edge run spanx4_ch48.pth
  span-edge run spanx4_ch48.pth --data Set5 --recipes fp16,w8,w8a8 --max-drop 0.1 --out set5
  span-edge run spanx4_ch48_w8a8.safetensors --data Set5

\b
The folder gets:
  NAME_RECIPE.safetensors                     a quantized checkpoint per integer recipe
  NAME_RECIPE.tflite, NAME_RECIPE.mlpackage   the files, each with a .json beside it
  report.html                                 figures and pictures; open it in a browser
  eval.json, bench.json, run.json             the same for programs

{recipe_lines(available_recipes())}

Each integer recipe is quantized once, and the files of every format get the same integers and scales. A
quantized checkpoint is compared with the float one that it names, found near it or given by --reference.
Core ML files run in an emulator of their arithmetic, for quality; they have no latency without a Mac.

{gate_help("quality", "latency")}"""

DEFAULT_RECIPES = ("fp16", "w8a8")


@click.command(epilog=EPILOG)
@click.argument("checkpoint", type=CHECKPOINT, required=False)
@data_options
@click.option(
    "--recipes",
    type=names_of("recipe", available_recipes),
    metavar="NAME,...",
    help="What to convert to, in every format that has it.  [default: fp16,w8a8]",
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
@quantization_options("--calibration")
@click.option(
    "--reference", type=CHECKPOINT, metavar="CHECKPOINT", help="Float network of a quantized CHECKPOINT."
)
@click.option("--out", type=PATH, default="out", show_default=True, metavar="DIR", help="Folder for all.")
@click.option("--runs", type=click.IntRange(min=0), default=30, show_default=True, help="Timed runs each.")
@threads_option
@gate_options("quality", "latency")
@network_options
@overwrite_option
def run(
    *,
    checkpoint: Path | None,
    data: Path | None,
    lr: Path | None,
    recipes: tuple[str, ...] | None,
    formats: tuple[str, ...],
    size_hw: tuple[int, int],
    method: str | None,
    calibration: Path | None,
    effort: "EffortName | None",
    seed: int | None,
    reference: Path | None,
    out: Path,
    runs: int,
    threads: int | None,
    max_drop: float | None,
    min_psnr: float | None,
    max_latency_ratio: tuple[str, ...],
    baseline: Path | None,
    tolerance: str | None,
    img_range: float | None,
    rgb_mean: tuple[float, ...] | None,
    overwrite: bool,
) -> None:
    """Quantize and convert a checkpoint to every format, evaluate and time the files, write a report.

    Without CHECKPOINT, the x4 network that comes with span-edge is taken: see span-edge models.
    """
    from models.bundled import DEFAULT, bundled_path

    from ..output_folder import refuse_taken_folder

    refuse_taken_folder(out, overwrite=overwrite)
    limits = {"max_latency_ratio": max_latency_ratio, "baseline": baseline, "tolerance": tolerance}
    gates = gates_of(("quality", "latency"), max_drop=max_drop, min_psnr=min_psnr, **limits)  # type: ignore[arg-type]
    with terminal() as screen:
        from convert.formats import FORMATS

        from ..datasets import open_dataset
        from ..pipeline import Job, run_pipeline
        from ..quantization import refuse_shared_images
        from .quantizing import asked_quantization
        from .sources import channels_of, load_float_and_quantized

        with progress_bars(screen) as bars:
            loaded, quantized = load_float_and_quantized(
                checkpoint or bundled_path(DEFAULT),
                reference,
                img_range=img_range,
                rgb_mean=rgb_mean,
                progress=bars,
            )
            config = loaded.checkpoint.config
            names = recipes_of_run(recipes, formats, quantized)
            dataset = open_dataset(data, scale=config.upscale, lr=lr, channels=channels_of(config))
            quantization = asked_quantization(
                names,
                quantized,
                config=config,
                calibration=calibration,
                method=method,
                effort=effort,
                seed=seed,
            )
            if quantization is not None:
                refuse_shared_images(quantization.calibration, dataset)
            job = Job(
                checkpoint=loaded.checkpoint,
                network=loaded.network,
                dataset=dataset,
                recipes=names,
                formats=tuple(FORMATS[name].name for name in formats),  # type: ignore[index]
                size=size_hw,
                quantization=quantization,
                quantized=quantized,
                threads=threads,
                runs=runs,
                gates=gates,
                command=shlex.join(["span-edge", *sys.argv[1:]]),
            )
            report = run_pipeline(job, out=out, overwrite=overwrite, progress=bars)
        _show(screen, report, loaded.checkpoint.notes)
    if report.failures:
        raise GateError(report.failures)


def recipes_of_run(
    asked: tuple[str, ...] | None, formats: tuple[str, ...], quantized: "QuantizedCheckpoint | None"
) -> tuple[str, ...]:
    """The recipes that a run makes.

    Raises:
        InputError: no format has any of them, or the checkpoint was quantized by another.
    """
    from quantize.recipe import RECIPES

    if quantized is not None:
        recipe = quantized.quantized.recipe
        if asked not in (None, (recipe,)):
            raise InputError(
                f"{quantized.path} was quantized by {recipe}; leave --recipes out, "
                "or give the float checkpoint"
            )
        asked = (recipe,)
    asked = asked or DEFAULT_RECIPES
    if not any(format_name in RECIPES[recipe].formats for recipe in asked for format_name in formats):
        raise InputError(
            f"none of {', '.join(asked)} is made for {' or '.join(formats)}; "
            "give other --recipes or --formats"
        )
    return asked


def _show(screen: Terminal, report: "Report", notes: tuple[str, ...]) -> None:
    """The table, and where everything is."""
    from ..report import report_tables
    from ..report_data import HTML_FILE

    for note in notes:
        screen.say(f"note: {note}")
    for part in report_tables(report):
        screen.out.print(part)
    screen.out.print(f"report: {report.folder / HTML_FILE}", soft_wrap=True)
