"""`span-edge convert`: one checkpoint to one file."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from models.errors import InputError

from .options import (
    CHECKPOINT,
    PATH,
    available_formats,
    available_recipes,
    network_options,
    overwrite_option,
    quantization_options,
    recipe_lines,
    size,
)
from .terminal import Terminal, progress_bars, terminal

if TYPE_CHECKING:
    from convert.artifact import Artifact, FormatName, Source
    from models.progress import Progress

    from ..quantization import EffortName
    from ..quantized_file import QuantizedCheckpoint
    from .sources import Loaded

EPILOG = f"""\b
Examples:
  span-edge convert spanx4_ch48.pth --format tflite --recipe fp16 --size 128x128 -o span.tflite
  span-edge convert spanx4_ch48.pth --format tflite --recipe w8a8 --calibration photos -o span_w8a8.tflite
  span-edge convert span_w8a8.safetensors --format coreml -o span_w8a8.mlpackage
  span-edge convert spanx4_ch48.pth --format coreml --size 256x256 --size 512x512 -o span.mlpackage

{recipe_lines(available_recipes())}

w and the bits of weights, a and the bits of activations; pal and the bits of an index into a table of
weights. A float checkpoint is quantized first where the recipe has integers; to give two formats the same
integers and scales, quantize once (span-edge quantize) and convert the quantized checkpoint to both.

A JSON file beside the result (span.tflite.json) says what it was made from, its sha256, inputs and outputs.
"""

DEFAULT_SIZE = (128, 128)
FLOAT_BITS = {"float16": 16, "float32": 32}


@click.command(epilog=EPILOG)
@click.argument("checkpoint", type=CHECKPOINT)
@click.option("--format", "format_name", type=click.Choice(available_formats()), required=True)
@click.option(
    "--recipe",
    type=click.Choice(available_recipes()),
    help="Kind of numbers, see below.  [default: fp16, or a quantized checkpoint's own]",
)
@quantization_options("--calibration")
@click.option(
    "--size",
    "sizes",
    type=size,
    metavar="HxW",
    multiple=True,
    default=[DEFAULT_SIZE],
    show_default="128x128",
    help="Input size, height first. Core ML: several make an enumeration, the first is its default.",
)
@click.option("--min-size", type=size, metavar="HxW", help="Core ML: smallest, with --max-size.")
@click.option("--max-size", type=size, metavar="HxW", help="Core ML: largest, with --min-size.")
@click.option("--backend", type=click.Choice(["litert", "tensorflow"]), help="TFLite: which converter.")
@click.option(
    "--saved-model",
    type=PATH,
    metavar="DIR",
    help="TFLite by --backend tensorflow: write TensorFlow's SavedModel there too, in float32.",
)
@click.option(
    "--io", "io_kind", type=click.Choice(["image", "tensor"]), help="Core ML: what it takes and gives."
)
@click.option("--ios", type=click.IntRange(min=15), help="Core ML: oldest iOS it must run on.  [default: 17]")
@click.option(
    "--arithmetic",
    type=click.Choice(["float16", "float32"]),
    help="Core ML: of a quantized network, where integers are not kept. float32 gives TFLite's pixels, "
    "and the Neural Engine does not run it.  [default: float16]",
)
@click.option("-o", "--out", type=PATH, required=True, metavar="FILE", help="File to write.")
@network_options
@overwrite_option
def convert(
    *,
    checkpoint: Path,
    format_name: str,
    recipe: str | None,
    method: str | None,
    calibration: Path | None,
    effort: "EffortName | None",
    seed: int | None,
    sizes: tuple[tuple[int, int], ...],
    min_size: tuple[int, int] | None,
    max_size: tuple[int, int] | None,
    backend: str | None,
    saved_model: Path | None,
    io_kind: str | None,
    ios: int | None,
    arithmetic: str | None,
    out: Path,
    img_range: float | None,
    rgb_mean: tuple[float, ...] | None,
    overwrite: bool,
) -> None:
    """Convert a float or quantized checkpoint to one TFLite or Core ML file."""
    from convert.artifact import refuse_taken
    from convert.formats import FORMATS
    from models.files import refuse_unwritable

    refuse_taken(out, overwrite=overwrite)
    refuse_unwritable(out)
    asked = {
        "--min-size": min_size,
        "--max-size": max_size,
        "--backend": backend,
        "--saved-model": saved_model,
        "--io": io_kind,
        "--ios": ios,
        "--arithmetic": arithmetic and FLOAT_BITS[arithmetic],
    }
    options = OPTIONS[format_name](sizes, {name: value for name, value in asked.items() if value is not None})
    with terminal() as screen:
        from .sources import Loaded, load_either

        loaded = load_either(checkpoint, img_range=img_range, rgb_mean=rgb_mean)
        if isinstance(loaded, Loaded):
            for note in loaded.checkpoint.notes:
                screen.say(f"note: {note}")
        name: FormatName = format_name  # type: ignore[assignment]
        row = FORMATS[name]
        chosen = recipe or ("fp16" if isinstance(loaded, Loaded) else loaded.quantized.recipe)
        if chosen not in row.recipes:
            raise InputError(f"{row.title} has no recipe {chosen}; it has {', '.join(row.recipes)}")
        with progress_bars(screen) as bars:
            asked_for = {"calibration": calibration, "method": method, "effort": effort, "seed": seed}
            network, source = quantized_if_asked(loaded, chosen, asked_for, progress=bars)
            artifact = row.load_converter()(
                network, recipe=chosen, source=source, out=out, overwrite=overwrite, progress=bars, **options
            )
        _tell(screen, artifact)


def quantized_if_asked(
    loaded: "Loaded | QuantizedCheckpoint", recipe: str, asked: dict[str, Any], *, progress: "Progress"
) -> tuple[Any, "Source"]:
    """The network that a converter takes for the recipe, and what its file names as its source.

    Raises:
        InputError: an option of quantization does not apply, or the network cannot be quantized.
    """
    from ..quantization import quantize_network
    from .quantizing import asked_quantization
    from .sources import Loaded

    if not isinstance(loaded, Loaded):
        asked_quantization([recipe], loaded, config=loaded.quantized.config, **asked)
        return loaded.quantized, loaded.source
    plan = asked_quantization([recipe], None, config=loaded.checkpoint.config, **asked)
    if plan is None:
        return loaded.network, loaded.source
    quantized = quantize_network(loaded.network, loaded.source, plan, recipe=recipe, progress=progress)
    return quantized, replace(loaded.source, method=quantized.method)


def _tflite_options(sizes: tuple[tuple[int, int], ...], asked: dict[str, Any]) -> dict[str, Any]:
    """The TFLite converter's own arguments."""
    names = {"--backend": "backend", "--saved-model": "saved_model"}
    _refuse_foreign(asked, known=tuple(names), format_name="tflite")
    if len(sizes) != 1:
        raise InputError(f"a TFLite file has one size, and {len(sizes)} --size were given; give one")
    return {"size": sizes[0], **{names[name]: value for name, value in asked.items()}}


def _coreml_options(sizes: tuple[tuple[int, int], ...], asked: dict[str, Any]) -> dict[str, Any]:
    """The Core ML converter's own arguments."""
    from convert.coreml_sizes import Sizes

    known = ("--min-size", "--max-size", "--io", "--ios", "--arithmetic")
    _refuse_foreign(asked, known=known, format_name="coreml")
    names = {"--io": "io", "--ios": "minimum_ios", "--arithmetic": "float_bits"}
    options = {names[name]: value for name, value in asked.items() if name in names}
    if "--min-size" not in asked and "--max-size" not in asked:
        return {"sizes": Sizes.among(sizes), **options}
    if "--min-size" not in asked or "--max-size" not in asked or len(sizes) != 1:
        raise InputError("a range needs --min-size, --max-size and one --size, its default; give all three")
    return {"sizes": Sizes.between(asked["--min-size"], asked["--max-size"], default=sizes[0]), **options}


OPTIONS = {"tflite": _tflite_options, "coreml": _coreml_options}


def _refuse_foreign(asked: dict[str, Any], *, known: tuple[str, ...], format_name: str) -> None:
    foreign = ", ".join(name for name in asked if name not in known)
    if foreign:
        raise InputError(f"{foreign} does not apply to --format {format_name}; it takes {', '.join(known)}")


def _tell(screen: Terminal, artifact: "Artifact") -> None:
    """One line on what was written."""
    how = " ".join(filter(None, (artifact.info.format, artifact.info.recipe, artifact.info.source.method)))
    what = f"{how}, {artifact.size_bytes / 1e6:.2f} MB"
    screen.out.print(f"{artifact.path}: {what}, sha256 {artifact.sha256}", soft_wrap=True)
