"""The options of `span-edge bench` for a device, and what they do."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from models.errors import InputError

from .options import PATH, names_of
from .terminal import Terminal, progress_bars

if TYPE_CHECKING:
    from ..gates import Gates

Command = TypeVar("Command", bound=Callable[..., Any])

ONLY_DEVICE = "the only one"


def _known_delegates() -> tuple[str, ...]:
    from ..device import DELEGATES

    return tuple(DELEGATES)


def device_options(command: Command) -> Command:
    """`--adb`, `--benchmark-model` and `--delegates`."""
    for option in (
        click.option(
            "--delegates",
            type=names_of("delegate", _known_delegates),
            default="cpu,gpu,npu",
            show_default=True,
            help="With --adb: what runs the files there.",
        ),
        click.option(
            "--benchmark-model",
            "tool",
            type=PATH,
            metavar="FILE",
            help="With --adb: TensorFlow Lite's benchmark_model for the device.",
        ),
        click.option(
            "--adb",
            "serial",
            is_flag=False,
            flag_value=ONLY_DEVICE,
            metavar="[SERIAL]",
            help="Time on an Android device instead, after the files.  [default: the only one]",
        ),
    ):
        command = option(command)
    return command


def bench_device(
    screen: Terminal,
    models: tuple[Path, ...],
    *,
    gates: "Gates",
    serial: str,
    tool: Path | None,
    delegates: tuple[str, ...],
    runtime: str | None,
    **options: Any,
) -> tuple[list[Any], dict[str, Any]]:
    """The latencies on a device, and what is known of it; remarks go to the terminal.

    Raises:
        InputError: see `bench_on_device`, or options that exclude each other, or a gate names rows that there
            will not be.
    """
    from ..device import bench_on_device, find_device, planned_on_device

    if runtime is not None:
        raise InputError("--runtime is for this computer, --adb for a device; give one of them")
    if Path(serial).exists():
        raise InputError(
            f"--adb took {serial} for a serial number; write --adb after the files, or --adb=SERIAL"
        )
    if gates.max_latency_ratios:
        gates.refuse_unusable(planned_on_device(models, delegates, input_hw=options["input_hw"]))
    device = find_device(None if serial == ONLY_DEVICE else serial)
    with progress_bars(screen) as bars:
        latencies = bench_on_device(
            models, device=device, tool=tool, delegates=delegates, progress=bars, **options
        )
    for timed in latencies:
        if timed.note:
            screen.say(f"{timed.artifact}: {timed.note}")
    return list(latencies), {"serial": device.serial, **device.properties}
