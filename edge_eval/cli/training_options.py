"""The options of quantization-aware training, which are many and only one method's."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from models.errors import InputError

from .options import PATH, Command

if TYPE_CHECKING:
    from models.config import SpanConfig

    from ..qat import QatOptions

KEY = "span_edge.training"
"""Where a command's context keeps what was given."""

COUNT, POSITIVE = click.IntRange(min=1), click.FloatRange(min=0, min_open=True)


def parts_of_size(given: str) -> tuple[float, ...]:
    """`0.7,0.5` as numbers between 0 and 1; `none` as no number."""
    if given == "none":
        return ()
    try:
        parts = tuple(float(one) for one in given.split(","))
    except ValueError:
        parts = (0.0,)
    if not all(0 < one < 1 for one in parts):
        raise click.BadParameter(f"{given}: give parts between 0 and 1, as 0.7,0.5, or none")
    return parts


OPTIONS: dict[str, tuple[click.ParamType[Any] | Callable[[str], Any], str]] = {
    "minutes": (POSITIVE, "Budget in time.  [default: 60]"),
    "steps": (COUNT, "Budget in steps: repeatable."),
    "val": (PATH, "Images to choose the best by.  [default: some of --data]"),
    "hold-out": (COUNT, "How many of --data, without --val.  [default: 40, of few images a third]"),
    "trains": (click.Choice(["folded", "branches"]), "Folded weights, or branches.  [default: folded]"),
    "teacher-share": (
        click.FloatRange(0, 1),
        "Weight of the difference to the float network; the rest goes to the original.  [default: 0.7]",
    ),
    "batch": (COUNT, "Crops per step, over all processes.  [default: 32]"),
    "crop": (click.IntRange(min=8), "Side of a crop in LR pixels.  [default: 32]"),
    "smaller": (
        parts_of_size,
        "Sizes at which photographs are used beside their own, as parts of it; or none.  [default: 0.7,0.5]",
    ),
    "text": (
        click.BOOL,
        "Whether pages of drawn text are trained on too, one for ten photographs.  [default: true]",
    ),
    "pace": (POSITIVE, "Factor on all step sizes.  [default: 0.3]"),
    "scales-pace": (
        POSITIVE,
        "Factor on those of the tensors' scales beside: text asks for wider ranges.  [default: 3]",
    ),
    "validate-every": (COUNT, "Steps between looks at the held-out images.  [default: 250]"),
    "patience": (COUNT, "End after so many looks without gain."),
    "device": (click.Choice(["auto", "cpu", "cuda"]), "[default: auto]"),
    "precision": (
        click.Choice(["auto", "float32", "bfloat16"]),
        "Of convolutions in training; auto: bfloat16 where the processor has it.  [default: auto]",
    ),
    "compile": (
        click.Choice(["auto", "on", "off"]),
        "Whether the step is compiled first: a minute or two, then shorter steps; needs a C++ compiler. "
        "auto: for ten minutes and more on a CPU.  [default: auto]",
    ),
}
"""By name: its type, and what it says of itself; every default is that of `QatOptions`."""

FIELDS = {"hold_out": "held_out", "trains": "trained", "compile": "compiled"}
"""Fields of `QatOptions` that are called otherwise than their option."""


def training_options(command: Command) -> Command:
    """All of `OPTIONS`; what was given is kept in the context for `asked_training`."""
    for name, (kind, says) in reversed(OPTIONS.items()):
        metavar = "DIR" if kind is PATH else "PART,..." if kind is parts_of_size else None
        command = click.option(
            f"--{name}",
            type=kind,
            metavar=metavar,
            help=f"qat: {says}",
            expose_value=False,
            callback=_remember,
        )(command)
    return command


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value is not None:
        context.meta.setdefault(KEY, {})[parameter.name] = value


def asked_training(context: click.Context, method: str | None, config: "SpanConfig") -> "QatOptions | None":
    """What was asked of the training; None where there is none.

    Raises:
        InputError: an option of training was given and another method, or `--val` cannot be used.
    """
    given: dict[str, Any] = dict(context.meta.get(KEY, {}))
    if method != "qat":
        if given:
            names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise InputError(
                f"only quantization-aware training takes {names}; give --method qat, or leave it out"
            )
        return None
    from ..datasets import open_dataset
    from ..qat import QatOptions
    from .sources import channels_of

    val: Path | None = given.pop("val", None)
    options = QatOptions(**{FIELDS.get(name, name): value for name, value in given.items()})
    if val is None:
        return options
    return replace(options, val=open_dataset(val, scale=config.upscale, channels=channels_of(config)))
