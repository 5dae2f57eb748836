"""The options of quantization-aware training, which are many and only one method's."""

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

OPTIONS: dict[str, tuple[click.ParamType[Any], str]] = {
    "minutes": (POSITIVE, "Budget in time.  [default: 60]"),
    "steps": (COUNT, "Budget in steps: repeatable."),
    "val": (PATH, "Images to choose the best by.  [default: some of --data]"),
    "hold-out": (COUNT, "How many of --data, without --val.  [default: 20, of few images a third]"),
    "trains": (click.Choice(["folded", "branches"]), "Folded weights, or branches.  [default: folded]"),
    "teacher-share": (
        click.FloatRange(0, 1),
        "Weight of the difference to the float network; the rest goes to the original.  [default: 0.5]",
    ),
    "batch": (COUNT, "Crops per step, over all processes.  [default: 8]"),
    "crop": (click.IntRange(min=8), "Side of a crop in LR pixels.  [default: 32]"),
    "pace": (POSITIVE, "Factor on all step sizes.  [default: 1]"),
    "validate-every": (COUNT, "Steps between looks at the held-out images.  [default: 250]"),
    "patience": (COUNT, "End after so many looks without gain."),
    "device": (click.Choice(["auto", "cpu", "cuda"]), "[default: auto]"),
    "precision": (
        click.Choice(["auto", "float32", "bfloat16"]),
        "Of convolutions in training; auto: bfloat16 where the processor has it.  [default: auto]",
    ),
}
"""By name: its type, and what it says of itself; every default is that of `QatOptions`."""

FIELDS = {"hold_out": "held_out", "trains": "trained"}
"""Fields of `QatOptions` that are called otherwise than their option."""


def training_options(command: Command) -> Command:
    """All of `OPTIONS`; what was given is kept in the context for `asked_training`."""
    for name, (kind, says) in reversed(OPTIONS.items()):
        metavar = "DIR" if kind is PATH else None
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
