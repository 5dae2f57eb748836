"""The report's tables as columns of text, for the terminal and for Markdown alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from .report_data import HostLatency, Report, Row
from .report_text import db_text, drift_text, drop_text, figure_text, megabytes_text, ms_text, ssim_text

Line = TypeVar("Line")


@dataclass(frozen=True, kw_only=True)
class Column(Generic[Line]):
    """One column.

    Attributes:
        title: with its unit.
        text: what stands in it.
        left: whether it is of names and not of figures.
    """

    title: str
    text: Callable[[Line], str]
    left: bool = False


def _of_quality(text: Callable[[Row], str]) -> Callable[[Row], str]:
    return lambda row: text(row) if row.quality else "–"


def _worst(row: Row) -> str:
    assert row.quality is not None
    return f"{row.quality.worst.name} {drop_text(row.quality.worst.drop_db)}"


ROWS: Sequence[Column[Row]] = (
    Column(title="artifact", left=True, text=lambda row: row.step.artifact),
    Column(title="runs on", left=True, text=lambda row: row.quality.runtime if row.quality else "–"),
    Column(title="status", left=True, text=lambda row: row.step.status),
    Column(title="MB", text=megabytes_text),
    Column(
        title="PSNR-Y dB",
        text=lambda row: db_text(row.quality.psnr_y_db if row.quality else row.float_psnr_y_db),
    ),
    Column(title="SSIM-Y", text=lambda row: ssim_text(row.quality.ssim_y) if row.quality else "–"),
    Column(title="drop dB", text=lambda row: drop_text(row.quality.drop_db) if row.quality else "–"),
    Column(
        title="drift dB", text=lambda row: drift_text(row.quality.drift_psnr_y_db) if row.quality else "–"
    ),
    Column(title="worst image", left=True, text=_of_quality(_worst)),
    Column(title="host ms", text=lambda row: ms_text(row.latency.median_ms) if row.latency else "–"),
)
"""What there is, file by file."""

TIMED: Sequence[Column[HostLatency]] = (
    Column(title="artifact", left=True, text=lambda timed: timed.artifact),
    Column(title="runtime", left=True, text=lambda timed: timed.runtime),
    Column(title="input", text=lambda timed: f"{timed.input_hw[0]}x{timed.input_hw[1]}"),
    Column(title="threads", text=lambda timed: str(timed.threads)),
)
"""What was timed, and how."""

MEDIANS: Sequence[Column[HostLatency]] = (
    Column(title="median ms", text=lambda timed: ms_text(timed.median_ms)),
    Column(title="p90 ms", text=lambda timed: ms_text(timed.p90_ms)),
)

SPREAD: Sequence[Column[HostLatency]] = (
    Column(title="min ms", text=lambda timed: ms_text(timed.min_ms)),
    Column(title="std ms", text=lambda timed: ms_text(timed.std_ms)),
    Column(title="load ms", text=lambda timed: ms_text(timed.init_ms)),
    Column(title="peak MB", text=lambda timed: peak_text(timed.peak_rss_mb)),
    Column(title="runs", text=lambda timed: str(timed.runs)),
)

MEANING: Sequence[Column[HostLatency]] = (
    Column(title="x float", text=lambda timed: figure_text(timed.float_ratio)),
    Column(title="x floor", text=lambda timed: figure_text(timed.floor_ratio)),
    Column(title="GMAC", text=lambda timed: figure_text(timed.macs / 1e9 if timed.macs else None)),
    Column(title="frames/s", text=lambda timed: figure_text(timed.fps)),
    Column(title="ms/MP", text=lambda timed: ms_text(timed.ms_per_output_mp)),
    Column(title="drop dB", text=lambda timed: drop_text((timed.quality or {}).get("drop_db"))),
)
"""What the times mean."""

TIMES: Sequence[Column[HostLatency]] = (*TIMED, *MEDIANS, *SPREAD)
"""Times on the terminal, one row per file, runtime, size and thread count."""

RATIOS: Sequence[Column[HostLatency]] = (*TIMED, *MEANING)
"""What stands under them there."""

LATENCIES: Sequence[Column[HostLatency]] = (
    *TIMED,
    *MEDIANS,
    *MEANING,
    Column(title="MB", text=lambda timed: f"{timed.size_bytes / 1e6:.2f}"),
    Column(title="peak MB", text=lambda timed: peak_text(timed.peak_rss_mb)),
)
"""Both as one table, in Markdown."""

PAGE: Sequence[Column[HostLatency]] = (*TIMED, *MEDIANS, *MEANING, *SPREAD)
"""Both as one table, on the page."""


def filled(columns: Sequence[Column[Line]], rows: Sequence[Line]) -> list[Column[Line]]:
    """The columns that say something; those of which every cell is a dash say nothing."""
    return [column for column in columns if any(column.text(row) != "–" for row in rows)]


def peak_text(megabytes: float | None) -> str:
    """Memory in whole MiB, or a dash."""
    return "–" if megabytes is None else f"{megabytes:.0f}"


def has_quality(report: Report) -> bool:
    """Whether `ROWS` says more of the report than `LATENCIES` does."""
    return bool(report.quality or report.steps)
