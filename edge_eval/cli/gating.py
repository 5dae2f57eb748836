"""The options of quality gates, which end in exit code 1, and the gates that they ask for."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from models.errors import InputError

from .options import PATH

if TYPE_CHECKING:
    from ..gates import Gates

Command = TypeVar("Command", bound=Callable[..., Any])
Kind = Literal["quality", "latency"]

RATIO_HELP = """\
  --max-latency-ratio: A and B are file names, recipes, tools compared with, or runtimes; @RUNTIME is
  needed where a name fits several rows. Medians are compared, at every size and thread count.
"""
BASELINE_HELP = """\
  --baseline: results of an earlier --json, or folder of run. No row may be missing, no PSNR-Y fall, no
  file grow, nor its time as a part of other rows', by more than --tolerance allows.
"""


def gate_help(*kinds: Kind) -> str:
    """What to know of `gate_options`, for a command's help."""
    return "\b\nGates:\n" + (RATIO_HELP if "latency" in kinds else "") + BASELINE_HELP


def gate_options(*kinds: Kind) -> Callable[[Command], Command]:
    """The options of the gates on these kinds of result; their values go to `gates_of`."""
    quality = (
        click.option(
            "--min-psnr",
            metavar="DB",
            type=click.FloatRange(min=0),
            help="Fail (exit 1) if any file's mean PSNR-Y is lower.",
        ),
        click.option(
            "--max-drop",
            metavar="DB",
            type=click.FloatRange(min=0),
            help="Fail (exit 1) if any file loses more mean PSNR-Y against the float network.",
        ),
    )
    latency = (
        click.option(
            "--max-latency-ratio",
            "max_latency_ratio",
            multiple=True,
            metavar="A/B=NUMBER",
            help="Fail (exit 1) if A takes more than NUMBER times as long as B, as w8a8/fp32@tflite=0.5.",
        ),
    )
    always = (
        click.option(
            "--tolerance",
            metavar="NAME=NUMBER,...",
            help="What --baseline allows: psnr in dB, size and latency as parts."
            "  [default: psnr=0.01,size=0.01,latency=0.15]",
        ),
        click.option(
            "--baseline", type=PATH, metavar="JSON|DIR", help="Fail (exit 1) if a result is worse than here."
        ),
    )
    table: Mapping[Kind, tuple[Any, ...]] = {"quality": quality, "latency": latency}

    def add(command: Command) -> Command:
        for option in (*always, *(option for kind in kinds for option in table[kind])):
            command = option(command)
        return command

    return add


def gates_of(
    kinds: Sequence[Kind],
    *,
    max_drop: float | None = None,
    min_psnr: float | None = None,
    max_latency_ratio: tuple[str, ...] = (),
    baseline: Path | None = None,
    tolerance: str | None = None,
) -> "Gates":
    """The gates; a baseline is read now, so that it is refused before any work.

    Raises:
        InputError: a limit or the baseline cannot be used.
    """
    from ..baseline import Allowed, read_baseline
    from ..gates import Gates
    from ..latency_gate import LatencyRatio

    if tolerance is not None and baseline is None:
        raise InputError("--tolerance says what --baseline allows; give --baseline JSON too")
    allowed = Allowed() if tolerance is None else Allowed.read(tolerance)
    return Gates(
        max_drop_db=max_drop,
        min_psnr_db=min_psnr,
        max_latency_ratios=tuple(LatencyRatio.read(text) for text in max_latency_ratio),
        baseline=None if baseline is None else read_baseline(baseline, allowed, needs=kinds),
    )
