"""Options that several commands share, and the types of their values."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from models.errors import InputError

Command = TypeVar("Command", bound=Callable[..., Any])


MOST_PIXELS = 4096 * 4096
"""Largest low-resolution size of a file; 48 channels of it are 3 GB in float32."""


def size(text: str | tuple[int, int]) -> tuple[int, int]:
    """`HxW` in low-resolution pixels, as `(H, W)`.

    Raises:
        click.BadParameter: it is something else.
    """
    if isinstance(text, tuple):
        return text
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text.lower())
    if match is None:
        raise click.BadParameter(
            f"{text!r} is not a size; give height x width in low-resolution pixels, such as 128x128"
        )
    if int(match[1]) * int(match[2]) > MOST_PIXELS:
        raise click.BadParameter(
            f"{text!r} has more than {MOST_PIXELS:,} pixels, for which memory is short on phones and here; "
            "give a smaller size, larger images are run in tiles"
        )
    return int(match[1]), int(match[2])


def names_of(
    what: str, known: Callable[[], tuple[str, ...]]
) -> Callable[[str | tuple[str, ...]], tuple[str, ...]]:
    """A parser for comma-separated names out of a table: those given, in order, each once.

    Args:
        what: what a name is called in the message.
        known: the table's names.
    """

    def names(text: str | tuple[str, ...]) -> tuple[str, ...]:
        if isinstance(text, tuple):
            return text
        given = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
        unknown = [name for name in given if name not in known()]
        if unknown or not given:
            listed = ", ".join(unknown) or "nothing"
            raise click.BadParameter(f"{listed} is no {what} here; choose from {', '.join(known())}")
        return given

    return names


def mean(text: str | tuple[float, ...]) -> tuple[float, ...]:
    """Comma-separated numbers in [0, 1], one per input channel.

    Raises:
        click.BadParameter: it is something else.
    """
    if isinstance(text, tuple):
        return text
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or not all(0 <= number <= 1 for number in numbers):
        raise click.BadParameter(f"{text!r} is no mean; give numbers from 0 to 1, as 0.4488,0.4371,0.4040")
    return numbers


PATH = click.Path(path_type=Path)
"""A path that the command itself checks, so that the message can say what to do."""


class CheckpointPath(click.Path):
    """A path, or the name of a bundled checkpoint, which becomes the path of its file.

    A file of that name is taken first; loading it says so.
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path."""
        from models.bundled import located

        path = super().convert(value, param, ctx)
        return located(path) if isinstance(path, Path) else path


CHECKPOINT = CheckpointPath(path_type=Path)
"""Like `PATH`, for whatever may be a checkpoint."""


def overwrite_option(command: Command) -> Command:
    """`--overwrite`."""
    return click.option("--overwrite", is_flag=True, help="Replace files that exist already.")(command)


def network_options(command: Command) -> Command:
    """`--img-range` and `--rgb-mean`: what a checkpoint cannot say of itself."""
    for option in (
        click.option(
            "--rgb-mean",
            type=mean,
            metavar="R,G,B",
            help="Mean that the network subtracts, in [0, 1]; not stored in checkpoints.  [default: DIV2K's]",
        ),
        click.option(
            "--img-range",
            type=click.FloatRange(min=0, min_open=True),
            help="Factor on the [0, 1] image inside the network; not stored in checkpoints.  [default: 255]",
        ),
    ):
        command = option(command)
    return command


def json_option(command: Command) -> Command:
    """`--json FILE`, `-` for standard output."""
    return click.option(
        "--json", "json_target", metavar="FILE", help="Write the result as JSON; - is standard output."
    )(command)


def markdown_option(command: Command) -> Command:
    """`--markdown FILE`, `-` or nothing for standard output."""
    return click.option(
        "--markdown",
        "markdown_target",
        is_flag=False,
        flag_value="-",
        metavar="[FILE]",
        help="Write the table as Markdown; - or nothing is standard output. Give it after the files.",
    )(command)


def available_recipes() -> tuple[str, ...]:
    """Every recipe."""
    from quantize.recipe import RECIPES

    return tuple(RECIPES)


def integer_recipes() -> tuple[str, ...]:
    """The recipes that a quantized checkpoint can be of."""
    from quantize.recipe import RECIPES

    return tuple(row.name for row in RECIPES.values() if row.calibrated)


def recipe_lines(names: tuple[str, ...]) -> str:
    """A block for a command's help: every recipe, and which formats have it."""
    from quantize.recipe import RECIPES

    width = max(map(len, names))
    rows = (RECIPES[name] for name in names)
    lines = (f"  {row.name:{width}}  {row.title} ({' and '.join(row.formats)})" for row in rows)
    return "\n".join(["\b", "Recipes:", *lines])


def method(text: str) -> str:
    """A row of `METHODS`.

    Raises:
        click.BadParameter: it is none.
    """
    from ..quantization import METHODS

    if text not in METHODS:
        raise click.BadParameter(f"{text!r} is not in this version; there is {', '.join(METHODS)}")
    return text


def quantization_options(*calibration_names: str) -> Callable[[Command], Command]:
    """`--method`, `--effort`, `--seed` and the images to calibrate on, under the names given.

    What is not given is None, so that a command can tell.
    """
    images = "Images to calibrate on, not those to evaluate on.  [default: scikit-image's]"

    def add(command: Command) -> Command:
        for option in (
            click.option("--seed", type=click.IntRange(min=0), help="Of random draws.  [default: 0]"),
            click.option(
                "--effort",
                type=click.Choice(["fast", "best"]),
                help="Of the search: best takes the best of eight starts.  [default: fast]",
            ),
            click.option(*calibration_names, "calibration", type=PATH, metavar="DIR", help=images),
            click.option("--method", type=method, metavar="ptq|qat", help="How to quantize.  [default: ptq]"),
        ):
            command = option(command)
        return command

    return add


def available_formats() -> tuple[str, ...]:
    """The formats that a network can be converted to."""
    from convert.formats import FORMATS

    return tuple(FORMATS)


def data_options(command: Command) -> Command:
    """`--data` and `--lr`: the images to evaluate on."""
    for name, what in (
        ("--lr", "Their low resolution.  [default: made by bicubic]"),
        ("--data", "Images.  [default: scikit-image's photographs]"),
    ):
        command = click.option(name, type=PATH, metavar="DIR", help=what)(command)
    return command


def threads_option(command: Command) -> Command:
    """`--threads`."""
    what = "CPU threads.  [default: all cores]"
    option = click.option("--threads", type=click.IntRange(min=1), help=what, callback=_within_cores)
    return option(command)


def _within_cores(_context: click.Context, _parameter: click.Parameter, threads: int | None) -> int | None:
    if threads is not None:
        refuse_threads((threads,))
    return threads


def refuse_threads(counts: Iterable[int]) -> None:
    """Refuse more threads than there are cores.

    Raises:
        InputError: naming the counts.
    """
    from ..runtimes.table import available_cores

    cores = available_cores()
    wrong = [str(count) for count in counts if count > cores]
    if wrong:
        raise InputError(
            f"{', '.join(wrong)} threads on {cores} cores would time the scheduler; give 1 to {cores}"
        )


def runtime_option(command: Command) -> Command:
    """`--runtime`."""
    what = "What runs the files.  [default: the fastest here]"
    return click.option("--runtime", metavar="NAME", help=what)(command)
