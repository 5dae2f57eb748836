"""The report as one HTML page that needs nothing else: no network, no script, pictures inside."""

import base64
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from models.errors import InputError

from .report_data import Picture, Report, Row
from .report_text import agreement_text, db_text, drift_text, drop_text, megabytes_text, ms_text, ssim_text

TEMPLATE = "report.html.j2"
MEDIA_TYPES = {".png": "image/png", ".webp": "image/webp"}
KINDS = ("input", "float", "artifact", "difference")


@dataclass(frozen=True, kw_only=True)
class Card:
    """One figure of the summary."""

    label: str
    figure: str
    unit: str
    what: str


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One picture with its caption; `uri` holds the whole file."""

    kind: str
    uri: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One image side by side, ready for the page; `box` places the enlarged part, if there is any, as CSS."""

    artifact: str
    image: str
    drop_db: float | None
    box: str
    whole: tuple[Cell, ...]
    zoom: tuple[Cell, ...]


def report_html(report: Report) -> str:
    """The page: summary, table, pictures, every image, latency, environment and commands.

    Raises:
        InputError: a picture that the report names is missing.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    rows = report.rows()
    page = Environment(loader=PackageLoader("edge_eval"), autoescape=True, undefined=StrictUndefined)
    largest_drop = max((row.quality.drop_db or 0.0 for row in rows if row.quality), default=0.0)
    page.filters |= {**FORMATS, "drop_share": partial(_drop_share, largest=largest_drop)}
    return page.get_template(TEMPLATE).render(
        report=report,
        rows=rows,
        cards=_cards(report, rows),
        subtitle=_subtitle(report),
        gates=_gates(report.gates),
        pictures=[_shot(picture, report.folder) for picture in report.pictures],
        qualities=report.quality,
        latencies=report.latency,
        facts=list(_facts(report)),
    )


FORMATS: Mapping[str, Callable[..., str]] = {
    "agreement": agreement_text,
    "db": db_text,
    "drop": drop_text,
    "drift": drift_text,
    "ms": ms_text,
    "ssim": ssim_text,
    "breakable": lambda name: Markup("_<wbr>").join(escape(part) for part in name.split("_")),
    "megabytes": megabytes_text,
}


def _drop_share(row: Row, *, largest: float) -> str:
    """The length of the drop's bar in percent of its column."""
    if row.quality is None or row.quality.drop_db is None or largest <= 0:
        return "0"
    return f"{100 * max(row.quality.drop_db, 0) / largest:.0f}"


def _cards(report: Report, rows: tuple[Row, ...]) -> list[Card]:
    qualities = [row.quality for row in rows if row.quality]
    cards = []
    if qualities:
        first = qualities[0]
        worst = max(qualities, key=lambda quality: quality.drop_db or -math.inf)
        over = f"{first.dataset}, {first.images} image{'s' * (first.images != 1)}, ×{first.scale}"
        cards += [
            Card(label="Float network, PSNR-Y", figure=db_text(first.float_psnr_y_db), unit="dB", what=over),
            Card(label="Largest mean drop", figure=drop_text(worst.drop_db), unit="dB", what=worst.artifact),
        ]
    sized = [row for row in rows if row.step.size_bytes and row.step.status == "OK"]
    sized = [row for row in sized if row.step.format != "checkpoint"]
    if sized:
        smallest = min(sized, key=lambda row: row.step.size_bytes or 0)
        cards.append(
            Card(
                label="Smallest file", figure=megabytes_text(smallest), unit="MB", what=smallest.step.artifact
            )
        )
    times = [row.latency for row in rows if row.latency and row.latency.median_ms and row.step.status == "OK"]
    if times:
        fastest = min(times, key=lambda timed: timed.median_ms or math.inf)
        threads = f"{fastest.threads} thread{'s' * (fastest.threads != 1)}"
        size = f"{fastest.artifact}, {fastest.input_hw[0]}×{fastest.input_hw[1]}, {threads}"
        cards.append(
            Card(label="Fastest on this host", figure=ms_text(fastest.median_ms), unit="ms", what=size)
        )
    counts = {
        status: sum(step.status == status for step in report.steps) for status in ("OK", "FAILED", "SKIPPED")
    }
    if report.steps:
        rest = f"{counts['FAILED']} failed, {counts['SKIPPED']} skipped"
        cards.append(
            Card(label="Artifacts", figure=str(counts["OK"]), unit=f"of {len(report.steps)} OK", what=rest)
        )
    return cards


def _subtitle(report: Report) -> str:
    parts = [report.created]
    config = report.checkpoint.get("config")
    if config:
        parts.append(
            f"{config['network'].upper()} ×{config['upscale']}, {config['feature_channels']} channels"
        )
    parts += [f"evaluated on {name}" for name in dict.fromkeys(quality.dataset for quality in report.quality)]
    return " · ".join(part for part in parts if part)


def _gates(gates: Mapping[str, float | None]) -> str:
    words = {"max_drop_db": "mean drop at most {:g} dB", "min_psnr_db": "mean PSNR-Y at least {:g} dB"}
    return ", ".join(words[name].format(limit) for name, limit in gates.items() if limit is not None)


def _shot(picture: Picture, folder: Path) -> Shot:
    top, left, height, width = picture.crop
    full_height, full_width = picture.frame_hw
    difference = f"difference × {picture.gain}" if picture.gain else "no difference in any 8-bit pixel"
    captions = dict(zip(KINDS, ("input", "float PyTorch", picture.artifact, difference), strict=True))

    def cells(files: Mapping[str, str]) -> tuple[Cell, ...]:
        return tuple(
            Cell(kind=kind, uri=_data_uri(folder / files[kind]), caption=captions[kind]) for kind in KINDS
        )

    box = (
        f"left: {100 * left / full_width:.3f}%; top: {100 * top / full_height:.3f}%; "
        f"width: {100 * width / full_width:.3f}%; height: {100 * height / full_height:.3f}%"
    )
    return Shot(
        artifact=picture.artifact,
        image=picture.image,
        drop_db=picture.drop_db,
        box=box,
        whole=cells(picture.whole),
        zoom=cells(picture.zoom) if picture.gain else (),
    )


def _data_uri(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"the report shows {path}, which cannot be read: {error.strerror}") from error
    return f"data:{MEDIA_TYPES[path.suffix]};base64,{base64.b64encode(content).decode('ascii')}"


def _facts(report: Report) -> Iterable[tuple[str, str]]:
    """Name and value of everything known about the making: checkpoint, then environment."""
    for name in ("sha256", "form", "parameters", "macs_per_lr_pixel"):
        if name in report.checkpoint:
            yield f"checkpoint {name.replace('_', ' ')}", _plain(report.checkpoint[name])
    for name, value in (report.calibration or {}).items():
        yield f"calibration {name}", _plain(value)
    for name, value in report.environment.items():
        yield name.replace("_", " "), _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(inner)}" for name, inner in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_plain(inner) for inner in value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
