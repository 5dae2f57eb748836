"""The option of `span-edge bench` for Core ML's processors, on macOS, and what it does."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from models.errors import InputError

from ..runtimes.coreml_units import RUNTIME_OF_UNITS, Units
from .options import names_of
from .terminal import Terminal

if TYPE_CHECKING:
    from ..device.compute_plan import ComputePlan

Command = TypeVar("Command", bound=Callable[..., Any])


def units_option(command: Command) -> Command:
    """`--compute-units`."""
    known = get_args(Units)
    return click.option(
        "--compute-units",
        type=names_of("choice of compute units", lambda: known),
        metavar="NAME,...",
        help=f"On macOS: time Core ML files on these processors, and show its plan: {', '.join(known)}.",
    )(command)


def runtimes_of_units(
    units: Sequence[Units], models: Sequence[Path], runtimes: Sequence[str]
) -> tuple[str, ...]:
    """The runtimes that stand for compute units.

    Raises:
        InputError: there are other files than Core ML's, or there is a `--runtime`, or this is no Mac.
    """
    from ..runtimes.table import RUNTIMES

    others = [model.name for model in models if model.suffix != ".mlpackage"]
    if others:
        raise InputError(f"--compute-units is for .mlpackage files; leave {', '.join(others)} out")
    if runtimes:
        raise InputError("--compute-units chooses the runtimes of Core ML; leave --runtime out")
    names = tuple(RUNTIME_OF_UNITS[one] for one in units)
    reason = RUNTIMES[names[0]].unavailable()
    if reason is not None:
        raise InputError(f"--compute-units {','.join(units)}: {reason}")
    return names


def plans_of(screen: Terminal, models: Sequence[Path], units: Sequence[Units]) -> "list[ComputePlan]":
    """Core ML's plan for every file and choice of processors; what is worth knowing goes to the terminal.

    Raises:
        InputError: see `compute_plan`.
    """
    from ..device.compute_plan import compute_plan

    plans = [compute_plan(model, one) for model in models for one in units]
    for plan in plans:
        for line in plan.lines():
            screen.say(line)
    return plans
