"""`span-edge report`: results as one HTML page, as Markdown, or on the terminal."""

from pathlib import Path

import click

from models.errors import InputError

from ..report_data import Report, read_report
from .options import PATH, markdown_option, overwrite_option
from .terminal import Terminal, refuse_taken_json, terminal

EPILOG = """\b
Examples:
  span-edge report out                          the table, on the terminal
  span-edge report out -o report.html           a folder that span-edge run wrote, with plots and pictures
  span-edge report out --markdown >> notes.md   the table for a pull request
  span-edge report eval.json -o eval.html       one result of span-edge eval or bench

The page holds everything it shows and needs no network.
"""


@click.command(epilog=EPILOG)
@click.argument("source", type=PATH, metavar="DIR|JSON")
@click.option("-o", "--out", type=PATH, metavar="HTML", help="Page to write.")
@markdown_option
@overwrite_option
def report(*, source: Path, out: Path | None, markdown_target: str | None, overwrite: bool) -> None:
    """Show results: as an HTML page, as Markdown, or else on the terminal."""
    from models.files import refuse_existing, written_whole

    if out is not None:
        refuse_existing(out, overwrite=overwrite)
    if markdown_target is not None and Path(markdown_target).is_dir():
        raise InputError(f"--markdown took {markdown_target} for its file; write --markdown after the folder")
    refuse_taken_json(markdown_target, overwrite=overwrite)
    with terminal() as screen:
        found = read_report(source)
        if out is not None:
            from ..report_html import report_html

            page = report_html(found)
            with written_whole(out, overwrite=overwrite) as scratch:
                scratch.write_text(page, encoding="utf-8")
            if markdown_target != "-":
                screen.out.print(str(out), soft_wrap=True)
        if markdown_target is not None:
            from ..report_markdown import report_markdown

            screen.emit_text(report_markdown(found), markdown_target, overwrite=overwrite)
        if out is None and markdown_target is None:
            _show(screen, found)


def _show(screen: Terminal, found: Report) -> None:
    """The table of files, or of times where there is nothing else."""
    from ..latency_text import timing_tables
    from ..report import report_tables
    from ..report_table import has_quality
    from ..timed_where import device_name

    if has_quality(found):
        parts = report_tables(found)
    else:
        parts = timing_tables(found.latency, device=device_name(found.environment, found.latency))
    for part in parts:
        screen.out.print(part)
    for timed in found.latency:
        if timed.note:
            screen.out.print(f"{timed.artifact}: {timed.note}")
