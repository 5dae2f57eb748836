"""The report as one HTML page that needs nothing else: no network; pictures, plots and script inside."""

import base64
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from models.errors import InputError

from .report_data import HostLatency, Report, Row
from .report_pictures import Scene
from .report_plots import bench_plot, drop_plot, layer_plot, quality_plots
from .report_table import PAGE, Column, filled, has_quality
from .report_text import (
    agreement_text,
    db_text,
    drift_text,
    drop_text,
    format_name,
    megabytes_text,
    ms_text,
    ssim_text,
)
from .timed_where import device_name, place_text

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATE = "report.html.j2"
STYLE_SHEET = "report.css"
SCRIPT = "report.js"
MEDIA_TYPES = {".png": "image/png", ".webp": "image/webp"}
KINDS: Mapping[str, str] = {
    "input": "Input",
    "bicubic": "Bicubic",
    "original": "Original",
    "float": "Float network",
    "artifact": "File",
    "difference": "Difference",
}
"""The viewer's panes, in order, and what they are called."""
HEADINGS: Mapping[str, str] = {
    "artifact": "File",
    "runtime": "Runtime",
    "input": "Input H×W",
    "threads": "Threads",
    "median ms": "Median ms",
    "x float": "× float",
    "x floor": "× floor",
    "drop dB": "Drop dB",
    "min ms": "Min ms",
    "std ms": "Std ms",
    "load ms": "Load ms",
    "peak MB": "Peak MB",
    "runs": "Runs",
}
"""What the page calls columns of `PAGE`, where it is something else."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """One figure of the summary."""

    label: str
    figure: str
    unit: str
    what: str


@dataclass(frozen=True, kw_only=True)
class Still:
    """One picture on the page; `uri` holds the whole file, `key` is the element's name."""

    key: str
    uri: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One scene, ready for the page.

    Attributes:
        image: name of the image.
        where: which part of it is shown.
        stills: its pictures.
        data: what the script needs to know: names of elements, the place, drops as text.
    """

    image: str
    where: str
    stills: tuple[Still, ...]
    data: Mapping[str, Any]


def report_html(report: Report) -> str:
    """The page: summary, table, plots, pictures, every image, every layer, latency, environment, commands.

    Raises:
        InputError: a picture that the report names is missing.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    rows = report.rows()
    place = place_text(device_name(report.environment, report.latency))
    columns = filled(PAGE, report.latency)
    page = Environment(loader=PackageLoader("edge_eval"), autoescape=True, undefined=StrictUndefined)
    largest_drop = max((row.quality.drop_db or 0.0 for row in rows if row.quality), default=0.0)
    page.filters |= {**FORMATS, "drop_share": partial(_drop_share, largest=largest_drop)}
    shots = [_shot(index, scene, report.folder) for index, scene in enumerate(report.pictures)]
    return page.get_template(TEMPLATE).render(
        report=report,
        rows=rows,
        notes=_grouped((note, row.step.artifact) for row in rows for note in row.step.notes),
        cards=_cards(report, rows, place),
        subtitle=_subtitle(report),
        gates=gates_text(report.gates),
        judged=has_quality(report),
        plots=quality_plots(rows),
        timed_plot=bench_plot(report.latency, place=place),
        drops=drop_plot(report.quality),
        layers=layer_plot(report.layer_errors),
        shots=shots,
        shown=list(dict.fromkeys(name for scene in report.pictures for name in scene.artifacts)),
        panes=KINDS,
        qualities=report.quality,
        latencies=report.latency,
        place=place,
        columns=columns,
        latency_legend=_latency_legend(columns),
        skipped=_grouped((timed.reason, timed.artifact) for timed in report.latency if timed.reason),
        timed_notes=_grouped((timed.note, timed.artifact) for timed in report.latency if timed.note),
        operations={timed.artifact: timed.ops for timed in report.latency if timed.ops},
        facts=list(_facts(report)),
        style=_source(page, STYLE_SHEET),
        script=_source(page, SCRIPT),
    )


def _source(page: "Environment", name: str) -> Markup:
    """A file of the templates' folder as it stands."""
    assert page.loader is not None
    return Markup(page.loader.get_source(page, name)[0])


FORMATS: Mapping[str, Callable[..., str]] = {
    "agreement": agreement_text,
    "db": db_text,
    "drop": drop_text,
    "drift": drift_text,
    "ms": ms_text,
    "heading": lambda column: HEADINGS.get(column.title, column.title),
    "ssim": ssim_text,
    "breakable": lambda name: Markup("_<wbr>").join(escape(part) for part in name.split("_")),
    "megabytes": megabytes_text,
    "format_name": format_name,
    "svg": Markup,
    "above": lambda node: "–" if not node.relative_error else f"{-10 * math.log10(node.relative_error):.1f}",
}


def _drop_share(row: Row, *, largest: float) -> str:
    """The length of the drop's bar in percent of its column."""
    if row.quality is None or row.quality.drop_db is None or largest <= 0:
        return "0"
    return f"{100 * max(row.quality.drop_db, 0) / largest:.0f}"


def _latency_legend(columns: Iterable[Column[HostLatency]]) -> str:
    """What the ratios that are shown are to."""
    ratios = {
        "x float": "× float: the median over that of the straight float file of the same network",
        "x floor": "× floor: the median over the time that the multiply-accumulates take in this computer’s "
        "matrix product",
        "drop dB": "Drop: PSNR-Y lost against the float network, where it was measured",
    }
    titles = {column.title for column in columns}
    return " ".join(f"{text}." for title, text in ratios.items() if title in titles)


def _cards(report: Report, rows: tuple[Row, ...], place: str) -> list[Card]:
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
            Card(label=f"Fastest on {place}", figure=ms_text(fastest.median_ms), unit="ms", what=size)
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


def _grouped(remarks: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Every remark once, with the files that it is about."""
    files: dict[str, list[str]] = {}
    for remark, file in remarks:
        known = files.setdefault(remark, [])
        if file not in known:
            known.append(file)
    return files


def _subtitle(report: Report) -> str:
    parts = [report.created]
    config = report.checkpoint.get("config")
    if config:
        parts.append(
            f"{config['network'].upper()} ×{config['upscale']}, {config['feature_channels']} channels"
        )
    parts += [f"evaluated on {name}" for name in dict.fromkeys(quality.dataset for quality in report.quality)]
    return " · ".join(part for part in parts if part)


def gates_text(gates: Mapping[str, Any]) -> str:
    """The limits that were set, as words."""
    words = {
        "max_drop_db": "mean drop at most {:g} dB",
        "min_psnr_db": "mean PSNR-Y at least {:g} dB",
        "baseline": "not behind {}",
    }
    said = [words[name].format(gates[name]) for name in words if gates.get(name) is not None]
    return ", ".join([*said, *(f"time {ratio}" for ratio in gates.get("max_latency_ratios", []))])


def _shot(index: int, scene: Scene, folder: Path) -> Shot:
    top, left, height, width = scene.crop
    stills = []
    for kind, path in scene.files.items():
        still = Still(key=f"s{index}-{kind}", uri=_data_uri(folder / path), caption=KINDS.get(kind, kind))
        stills.append(still)
    elements = {kind: f"s{index}-{kind}" for kind in scene.files}
    artifacts = {}
    for number, (name, path) in enumerate(scene.artifacts.items()):
        artifacts[name] = f"s{index}-file{number}"
        stills.append(Still(key=artifacts[name], uri=_data_uri(folder / path), caption=name))
    data = {
        **elements,
        "image": scene.image,
        "scale": scene.scale,
        "crop": scene.crop,
        "artifacts": artifacts,
        "drops": {name: drop_text(drop) for name, drop in scene.drops_db.items() if drop is not None},
    }
    where = f"{width} × {height} pixels from column {left}, row {top}"
    if scene.frame_hw == (height, width):
        where = f"the whole image, {width} × {height} pixels"
    return Shot(image=scene.image, where=where, stills=tuple(stills), data=data)


def _data_uri(path: Path) -> str:
    if path.suffix not in MEDIA_TYPES:
        raise InputError(
            f"the report shows {path}, which is no {' or '.join(MEDIA_TYPES)} file; run it again"
        )
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
