"""`span-edge models`: the checkpoints that come with span-edge."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from rich.table import Table

from .terminal import Terminal, terminal

if TYPE_CHECKING:
    from models.bundled import BundledCheckpoint

EPILOG = """\b
Examples:
  span-edge models
  span-edge models span_x4_ch28
  span-edge models --json

A name stands wherever a checkpoint is asked for: span-edge convert span_x4_ch28 --format tflite -o x4.tflite.
A file of that name in the current folder is taken first, and a note then says so.
"""


@click.command("models", epilog=EPILOG, short_help="List the checkpoints that come with span-edge.")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
def list_models(*, name: str | None, as_json: bool) -> None:
    """List the checkpoints that come with span-edge, or show the model card of one."""
    with terminal() as screen:
        from models.bundled import bundled_names, card_text, describe

        found = [describe(known) for known in (bundled_names() if name is None else (name,))]
        if as_json:
            screen.emit_json({"schema": 1, "models": [one.to_json() for one in found]}, "-")
        elif name is not None:
            screen.write(card_text(found[0]))
        else:
            _show(screen, found)


def _show(screen: Terminal, found: Sequence["BundledCheckpoint"]) -> None:
    """One row each, the figures of every test set that any was measured on."""
    from models.bundled import DEFAULT

    sets = list(dict.fromkeys(name for one in found for name in one.measured.psnr_y_db))
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("name")
    for column in ("scale", "channels", "parameters", "MACs per output pixel", *(f"{s} dB" for s in sets)):
        table.add_column(column, justify="right")
    for one in found:
        figures = (one.measured.psnr_y_db.get(name) for name in sets)
        table.add_row(
            one.name,
            f"x{one.config.upscale}",
            f"{one.config.feature_channels}",
            f"{one.parameters:,}",
            f"{one.macs_per_output_pixel:,.0f}",
            *("-" if figure is None else f"{figure:.2f}" for figure in figures),
        )
    screen.out.print(table)
    screen.out.print(
        "dB: mean PSNR-Y of the float network over whole images; parameters: once folded\n"
        f"{DEFAULT} is what span-edge run takes where no checkpoint is given; "
        "span-edge models NAME says how one was made",
        soft_wrap=True,
    )
