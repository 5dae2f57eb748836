"""`span-edge prepare-aarch64`: fetch what the emulated Arm cores need."""

from pathlib import Path

import click

from .options import PATH, overwrite_option
from .terminal import progress_bars, terminal

EPILOG = """\b
Example:
  span-edge prepare-aarch64
  span-edge eval out/*.tflite --data Set5 --runtime tflite-aarch64

The Arm packages and wheels come from the registries that apt and pip are set up with, and are only unpacked;
nothing is installed. It takes half a minute and 160 MB. qemu-user-static must be installed.
"""


@click.command("prepare-aarch64", epilog=EPILOG)
@click.option(
    "--folder", type=PATH, metavar="DIR", help="Where to put them.  [default: the user's cache folder]"
)
@overwrite_option
def prepare_aarch64(*, folder: Path | None, overwrite: bool) -> None:
    """Fetch LiteRT for Arm, so that files can be run on emulated Arm cores."""
    with terminal() as screen:
        from ..arm import prepare_folder
        from ..arm.folder import FOLDER_VARIABLE, default_folder, qemu

        with progress_bars(screen) as bars:
            made = prepare_folder(folder, overwrite=overwrite, progress=bars)
        screen.out.print(f"{made} is ready: span-edge eval ... --runtime tflite-aarch64")
        if qemu() is None:
            screen.say("qemu-aarch64-static is not on the PATH: install qemu-user-static before using it")
        if made.resolve() != default_folder().resolve():
            screen.say(f"it is used where {FOLDER_VARIABLE}={made.resolve()} is set")
