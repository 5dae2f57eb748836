"""The report as tables for a terminal."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from .report_data import HostLatency, Quality, Report, Row, Step
from .report_table import ROWS, TIMES, filled
from .report_text import agreement_text, db_text, drift_text, drop_text, ssim_text
from .timed_where import device_name, note_text

STYLES = {"OK": "green", "FAILED": "bold red", "SKIPPED": "yellow", "REFERENCE": "dim"}


def report_tables(report: Report) -> Iterable[RenderableType]:
    """The artifacts' table, then one line per remark: failures, what was skipped, and what the time means."""
    table = _table(*(column.title for column in ROWS))
    for row in report.rows():
        table.add_row(*_cells(row))
    yield Fitting(table, tuple(_lines(report)))
    for step in report.steps:
        yield from _remarks(step)
    for agreed in report.agreement:
        yield Text(agreement_text(agreed))
    if report.latency:
        yield _note(device_name(report.environment, report.latency))


@dataclass(frozen=True)
class Fitting:
    """A table, or lines that say the same where the terminal is too narrow for it."""

    table: Table
    lines: tuple[Text, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Whichever fits."""
        if console.measure(self.table, options=options.update(max_width=500)).maximum <= options.max_width:
            yield self.table
        else:
            yield from self.lines


def _lines(report: Report) -> Iterable[Text]:
    for row in report.rows():
        runs_on, status, size, psnr, ssim, drop, drift, worst, time_ms = (
            column.text(row) for column in ROWS[1:]
        )
        yield Text(row.step.artifact, style="bold")
        yield Text(f"  {status}, runs on {runs_on}, {size} MB, host {time_ms} ms")
        yield Text(f"  PSNR-Y {psnr} dB, SSIM-Y {ssim}, drop {drop} dB, drift {drift} dB, worst {worst}")


def quality_tables(quality: Quality) -> Iterable[RenderableType]:
    """Every image of one artifact, and the means."""
    table = _table("image", "PSNR-Y dB", "float dB", "drop dB", "SSIM-Y", "drift dB", "largest difference")
    for image in quality.per_image:
        table.add_row(
            image.name,
            db_text(image.psnr_y_db),
            db_text(image.float_psnr_y_db),
            drop_text(image.drop_db),
            ssim_text(image.ssim_y),
            drift_text(image.drift_psnr_y_db),
            f"{image.max_abs_8bit} / 255",
        )
    yield Text(f"{quality.artifact} on {quality.runtime}, {quality.dataset} x{quality.scale}", style="bold")
    yield table


def latency_tables(
    latencies: Sequence[HostLatency], *, device: str | None = None
) -> Iterable[RenderableType]:
    """Times, then one line per file that was not timed, and whose times they are.

    Args:
        latencies: the times.
        device: the device that they are of; None: this computer.
    """
    columns = filled(TIMES, latencies)
    table = _table(*(column.title for column in columns))
    for timed in latencies:
        table.add_row(*(column.text(timed) for column in columns))
    yield table
    for timed in latencies:
        if timed.reason:
            yield Text(f"SKIPPED {timed.artifact}: {timed.reason}", style=STYLES["SKIPPED"])
    yield _note(device)


def _note(device: str | None) -> Text:
    return Text(note_text(device), style="dim")


LEFT = ("artifact", "runs on", "runtime", "status", "worst image", "image", "layer", "kernel")


def _table(*columns: str) -> Table:
    """An empty table; all but names stand at the right. `LEFT` columns wrap before figures do."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in columns:
        if column in LEFT:
            table.add_column(column, overflow="fold")
        else:
            table.add_column(column, justify="right", no_wrap=True)
    return table


def _cells(row: Row) -> Iterable[RenderableType]:
    for column in ROWS:
        text = column.text(row)
        yield Text(text, style=STYLES[row.step.status]) if column.title == "status" else text


def _remarks(step: Step) -> Iterable[Text]:
    if step.reason:
        yield Text(f"{step.status} {step.artifact}: {step.reason}", style=STYLES[step.status])
    for note in step.notes:
        yield Text(f"{step.artifact}: {note}", style="dim")
