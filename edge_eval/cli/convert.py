"""`span-edge convert`: one checkpoint to one file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from models.errors import InputError

from .options import PATH, available_formats, available_recipes, network_options, overwrite_option, size
from .terminal import Terminal, progress_bars, terminal

if TYPE_CHECKING:
    from convert.artifact import Artifact, FormatName

EPILOG = """\b
Examples:
  span-edge convert spanx4_ch48.pth --format tflite --recipe fp16 --size 128x128 -o span.tflite
  span-edge convert spanx4_ch48.pth --format coreml --size 256x256 --size 512x512 -o span.mlpackage

A JSON file beside the result (span.tflite.json) says what it was made from, its sha256, inputs and outputs.
"""

DEFAULT_SIZE = (128, 128)
FORMAT_OPTIONS = ("--min-size", "--max-size", "--backend", "--io", "--ios")
"""Options that not every format has."""


@click.command(epilog=EPILOG)
@click.argument("checkpoint", type=PATH)
@click.option("--format", "format_name", type=click.Choice(available_formats()), required=True)
@click.option("--recipe", type=click.Choice(available_recipes()), default="fp16", show_default=True)
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
    "--io", "io_kind", type=click.Choice(["image", "tensor"]), help="Core ML: what it takes and gives."
)
@click.option("--ios", type=click.IntRange(min=15), help="Core ML: oldest iOS it must run on.  [default: 17]")
@click.option("-o", "--out", type=PATH, required=True, metavar="FILE", help="File to write.")
@network_options
@overwrite_option
def convert(
    *,
    checkpoint: Path,
    format_name: str,
    recipe: str,
    sizes: tuple[tuple[int, int], ...],
    min_size: tuple[int, int] | None,
    max_size: tuple[int, int] | None,
    backend: str | None,
    io_kind: str | None,
    ios: int | None,
    out: Path,
    img_range: float | None,
    rgb_mean: tuple[float, ...] | None,
    overwrite: bool,
) -> None:
    """Convert a checkpoint to one TFLite or Core ML file."""
    from models.files import refuse_existing, refuse_unwritable

    refuse_existing(out, overwrite=overwrite)
    refuse_unwritable(out)
    asked = {
        "--min-size": min_size,
        "--max-size": max_size,
        "--backend": backend,
        "--io": io_kind,
        "--ios": ios,
    }
    options = OPTIONS[format_name](sizes, {name: value for name, value in asked.items() if value is not None})
    with terminal() as screen:
        from convert.formats import FORMATS

        from .sources import load_network

        loaded = load_network(checkpoint, img_range=img_range, rgb_mean=rgb_mean)
        for note in loaded.checkpoint.notes:
            screen.say(f"note: {note}")
        with progress_bars(screen) as bars:
            name: FormatName = format_name  # type: ignore[assignment]
            artifact = FORMATS[name].load_converter()(
                loaded.network,
                recipe=recipe,
                source=loaded.source,
                out=out,
                overwrite=overwrite,
                progress=bars,
                **options,
            )
        _tell(screen, artifact)


def _tflite_options(sizes: tuple[tuple[int, int], ...], asked: dict[str, Any]) -> dict[str, Any]:
    """The TFLite converter's own arguments."""
    _refuse_foreign(asked, known=("--backend",), format_name="tflite")
    if len(sizes) != 1:
        raise InputError(f"a TFLite file has one size, and {len(sizes)} --size were given; give one")
    return {"size": sizes[0], **({"backend": asked["--backend"]} if asked else {})}


def _coreml_options(sizes: tuple[tuple[int, int], ...], asked: dict[str, Any]) -> dict[str, Any]:
    """The Core ML converter's own arguments."""
    from convert.coreml_sizes import Sizes

    _refuse_foreign(asked, known=("--min-size", "--max-size", "--io", "--ios"), format_name="coreml")
    names = {"--io": "io", "--ios": "minimum_ios"}
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
    what = f"{artifact.info.format} {artifact.info.recipe}, {artifact.size_bytes / 1e6:.2f} MB"
    screen.out.print(f"{artifact.path}: {what}, sha256 {artifact.sha256}", soft_wrap=True)
