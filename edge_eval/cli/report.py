"""`span-edge report`: results as one HTML page."""

from pathlib import Path

import click

from ..report_data import read_report
from .options import PATH, overwrite_option
from .terminal import terminal

EPILOG = """\b
Examples:
  span-edge report out -o report.html          a folder that span-edge run wrote, with pictures
  span-edge report eval.json -o eval.html      one result of span-edge eval or bench

The page holds everything it shows and needs no network.
"""


@click.command(epilog=EPILOG)
@click.argument("source", type=PATH, metavar="DIR|JSON")
@click.option("-o", "--out", type=PATH, required=True, metavar="HTML", help="Page to write.")
@overwrite_option
def report(*, source: Path, out: Path, overwrite: bool) -> None:
    """Make an HTML page of results: figures, pictures, environment."""
    from models.files import refuse_existing, written_whole

    from ..report_html import report_html

    refuse_existing(out, overwrite=overwrite)
    page = report_html(read_report(source))
    with terminal() as screen:
        with written_whole(out, overwrite=overwrite) as scratch:
            scratch.write_text(page, encoding="utf-8")
        screen.out.print(str(out), soft_wrap=True)
