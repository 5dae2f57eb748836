"""The report's table as Markdown, for a pull request."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from .report_data import HostLatency, Report
from .report_table import LATENCIES, ROWS, Column, filled, has_quality
from .report_text import agreement_text
from .timed_where import device_name, note_text

Line = TypeVar("Line")


def report_markdown(report: Report) -> str:
    """A heading, what failed, the table of files (or of times, where there is nothing else), and remarks."""
    lines = [f"### span-edge: {_escaped(report.title)}" if report.title else "### span-edge", ""]
    for failure in report.failures:
        lines.append(f"- **FAILED** {_escaped(failure)}")
    if report.failures:
        lines.append("")
    judged = has_quality(report)
    timed = markdown_table(filled(LATENCIES, report.latency), report.latency)
    lines += markdown_table(ROWS, report.rows()) if judged else timed
    lines.append("")
    remarks = list(_remarks(report, judged=judged))
    lines += [*(f"- {_escaped(remark)}" for remark in remarks), *([""] if remarks else [])]
    return "\n".join(lines)


def markdown_table(columns: Sequence[Column[Line]], rows: Sequence[Line]) -> list[str]:
    """A table's lines; figures stand at the right."""
    return [
        _row([column.title for column in columns]),
        _row(["---" if column.left else "---:" for column in columns]),
        *(_row([_escaped(column.text(row)) for column in columns]) for row in rows),
    ]


def _remarks(report: Report, *, judged: bool) -> Iterator[str]:
    for step in report.steps:
        if step.reason:
            yield f"{step.status} {step.artifact}: {step.reason}"
    for agreed in report.agreement:
        yield agreement_text(agreed)
    notes: dict[str, list[str]] = {}
    for name, note in _notes(report, judged=judged):
        notes.setdefault(note, []).append(name)
    for note, names in notes.items():
        yield f"{', '.join(dict.fromkeys(names))}: {note}"
    for name, scale, images in dict.fromkeys((one.dataset, one.scale, one.images) for one in report.quality):
        over = f"{images} image{'s' * (images != 1)}"
        yield f"On {name} x{scale}, {over}; drop: PSNR-Y lost against the float network."
    if any(timed.median_ms is not None for timed in report.latency):
        whose = note_text(device_name(report.environment, report.latency))
        yield f"{whose[0].upper()}{whose[1:]}."


def _notes(report: Report, *, judged: bool) -> Iterator[tuple[str, str]]:
    for step in report.steps:
        yield from ((step.artifact, note) for note in step.notes)
    if not judged:
        yield from ((timed.artifact, f"SKIPPED: {timed.reason}") for timed in _untimed(report))
        yield from ((timed.artifact, timed.note) for timed in report.latency if timed.note)


def _untimed(report: Report) -> list[HostLatency]:
    return [timed for timed in report.latency if timed.reason]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Text that Markdown takes as it stands; names keep their underscores."""
    for mark in ("\\", "|", "*", "`", "<", "[", "_"):
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())
