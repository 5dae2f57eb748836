"""The report's plots as SVG that takes its colours from the page, so that dark, light and print are legible.

Every colour is drawn as a stand-in and replaced by a variable of the page's style sheet; text stays text.
"""

import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from quantize.recipe import RECIPES

from .layer_errors import LayerErrors
from .report_data import HostLatency, Quality, Row
from .report_text import db_text, drop_text, format_name
from .runtimes.coreml_units import RUNTIME_OF_UNITS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS: Mapping[str, str] = {
    "#010101": "var(--ink)",
    "#020202": "var(--soft)",
    "#030303": "var(--line)",
    "#040404": "var(--card)",
    **{f"#0{index}0a0b": f"var(--series-{index})" for index in range(1, 9)},
}
"""What stands for which variable of the style sheet."""
INK, SOFT, LINE, CARD, *SERIES = COLOURS
MARKERS = {"tflite": "o", "coreml": "s", "checkpoint": "D", "other": "^"}
"""By format, so that colour is not all that tells points apart."""
STYLE: Mapping[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "span-edge",
    "font.family": "sans-serif",
    "font.size": 10.5,
    "text.color": INK,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "axes.titlecolor": INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
}
LEAST_ERROR = 1e-5
"""What is drawn for smaller errors by layer: the axis is logarithmic."""
WIDE, NARROW = 12.6, 6.2
"""Widths in inches that give text of the page's size, over the whole page and over half of it."""
OFFSETS = [(10, 0, "left"), (-10, 0, "right"), (0, 12, "center"), (0, -12, "center")]
OFFSETS += [
    (sign * 10, rise, side) for rise in (14, -14, 28, -28) for sign, side in ((1, "left"), (-1, "right"))
]
"""Where a point's label may stand, in points about it, the best place first, and how it is aligned."""


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A drawing and what it says, for those who do not see it.

    Attributes:
        title: a few words.
        svg: for the page.
        words: the same as text.
    """

    title: str
    svg: str
    words: str


@dataclass(frozen=True, kw_only=True)
class _Point:
    x: float
    y: float
    label: str
    recipe: str
    format: str


def quality_plots(rows: Sequence[Row]) -> list[Plot]:
    """Quality against size and against latency, for those of the files that have both figures."""
    judged = [row for row in rows if row.quality and row.quality.psnr_y_db is not None]
    files = [row for row in judged if row.step.format != "checkpoint"]
    float_db = next((row.quality.float_psnr_y_db for row in judged if row.quality), None)
    sizes = [_point(row, row.step.size_bytes / 1e6) for row in files if row.step.size_bytes]
    times = [_point(row, row.latency.median_ms) for row in files if row.latency and row.latency.median_ms]
    plots = []
    for points, what, unit in (
        (sizes, "size", "file size, MB"),
        (times, "latency", "median time on this host, ms"),
    ):
        if len(points) > 1:
            plots.append(_scatter(points, float_db, title=f"Quality against {what}", unit=unit, name=what))
    return plots


def bench_plot(latencies: Sequence[HostLatency], *, place: str = "this host") -> Plot | None:
    """Quality against time where a benchmark measured both, at the size and thread count with most rows."""
    judged = [row for row in latencies if row.median_ms is not None and (row.quality or {}).get("psnr_y_db")]
    if len(judged) < 2:
        return None
    settings = Counter((row.input_hw, row.threads) for row in judged)
    (height, width), threads = settings.most_common(1)[0][0]
    points = [
        _bench_point(row) for row in judged if (row.input_hw, row.threads) == ((height, width), threads)
    ]
    title = f"Quality against time, {height}×{width}, {threads} thread{'s' * (threads != 1)}"
    float_db = (judged[0].quality or {}).get("float_psnr_y_db")
    return _scatter(
        points, float_db, title=title, unit=f"median time on {place}, ms", name="bench", width=WIDE
    )


def _bench_point(row: HostLatency) -> _Point:
    assert row.median_ms is not None and row.quality is not None
    kinds = {"torch": "checkpoint", **dict.fromkeys(RUNTIME_OF_UNITS.values(), "coreml")}
    kind = kinds.get(row.runtime, "tflite" if row.runtime.startswith(("tflite", "tensorflow")) else "other")
    label = row.compared or f"{row.recipe or row.artifact} {row.runtime}"
    psnr = row.quality["psnr_y_db"]
    assert psnr is not None
    return _Point(
        x=row.median_ms, y=psnr, label=label, recipe="" if row.compared else row.recipe or "", format=kind
    )


def drop_plot(qualities: Sequence[Quality]) -> Plot | None:
    """What each file loses on each image, a strip per file; None where no drop is known."""
    known = [quality for quality in qualities if any(i.drop_db is not None for i in quality.per_image)]
    if not known:
        return None
    with _drawing(WIDE, 0.9 + 0.44 * len(known)) as figure:
        axes = figure.subplots()
        for index, quality in enumerate(known):
            _strip(axes, index, quality, _colour(quality.recipe))
        axes.axvline(0, color=SOFT, linewidth=1)
        axes.set_yticks(range(len(known)), [f"{_label(quality.recipe, quality.format)}" for quality in known])
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set_ylim(len(known) - 0.5, -0.5)
        axes.margins(x=0.12)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("drop of PSNR-Y against the float network, dB; larger is worse")
        svg = _svg(figure, "drops")
    words = "; ".join(
        f"{_label(q.recipe, q.format)}: mean {drop_text(q.drop_db)} dB, "
        f"worst {drop_text(q.worst.drop_db)} dB on {q.worst.name}"
        for q in known
    )
    return Plot(title="Drop per image", svg=svg, words=words)


def layer_plot(errors: Sequence[LayerErrors]) -> Plot | None:
    """The error of every operation's output relative to its signal, in the order in which they run."""
    if not errors:
        return None
    longest = max(errors, key=lambda one: len(one.nodes))
    names = [node.name for node in longest.nodes]
    with _drawing(max(WIDE, 1.2 + 0.155 * len(names)), 4.6) as figure:
        axes = figure.subplots()
        for one in errors:
            places = [names.index(node.name) for node in one.nodes if node.name in names]
            values = [max(node.relative_error, LEAST_ERROR) for node in one.nodes if node.name in names]
            colour = _colour(one.recipe)
            axes.plot(places, values, color=colour, linewidth=1.2, alpha=0.55)
            axes.plot(places, values, "o", color=colour, markersize=4, label=one.recipe)
        axes.set_yscale("log")
        axes.set_xlim(-1, len(names))
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7.5)
        axes.set_ylabel("squared error / variance")
        if len(errors) > 1:
            axes.legend(loc="upper left", ncols=len(errors), frameon=False, labelcolor=INK)
        svg = _svg(figure, "layers")
    words = "; ".join(f"{one.recipe}: {_worst_nodes(one)}" for one in errors)
    return Plot(title="Error by layer", svg=svg, words=words)


def _worst_nodes(errors: LayerErrors) -> str:
    worst = sorted(errors.nodes, key=lambda node: -node.relative_error)[:3]
    last = errors.nodes[-1]
    listed = ", ".join(f"{node.name} {node.relative_error:.2g}" for node in worst)
    return f"largest at {listed}; at the end, {last.name}, {last.relative_error:.2g}"


def _strip(axes: "Axes", index: int, quality: Quality, colour: str) -> None:
    """One file's images as dots, its mean as a line, its worst image named."""
    drops = [image.drop_db for image in quality.per_image if image.drop_db is not None]
    spread = np.linspace(-0.16, 0.16, len(drops)) if len(drops) > 1 else np.zeros(1)
    order = np.random.default_rng(0).permutation(len(drops))
    axes.scatter(
        drops,
        index + spread[order],
        s=26,
        color=colour,
        alpha=0.75,
        linewidths=0,
        marker=MARKERS.get(quality.format, "o"),
    )
    if quality.drop_db is not None:
        axes.plot([quality.drop_db] * 2, [index - 0.32, index + 0.32], color=INK, linewidth=1.8)
    worst = quality.worst
    if len(drops) > 1 and worst.drop_db is not None:
        at = (
            worst.drop_db,
            index
            + spread[order][[i.name for i in quality.per_image if i.drop_db is not None].index(worst.name)],
        )
        axes.annotate(
            worst.name, at, (7, 0), textcoords="offset points", va="center", fontsize=8.5, color=SOFT
        )


def _point(row: Row, x: float) -> _Point:
    assert row.quality is not None and row.quality.psnr_y_db is not None
    quality = row.quality
    return _Point(
        x=x,
        y=row.quality.psnr_y_db,
        label=_label(quality.recipe, quality.format),
        recipe=quality.recipe,
        format=quality.format,
    )


def _label(recipe: str, format_key: str) -> str:
    return f"{recipe} {format_name(format_key)}"


def _colour(recipe: str) -> str:
    """The same colour for a recipe in every plot; one for all recipes that are not ours."""
    names = list(RECIPES)
    return SERIES[names.index(recipe) % len(SERIES)] if recipe in names else SOFT


def _scatter(
    points: Sequence[_Point],
    float_db: float | None,
    *,
    title: str,
    unit: str,
    name: str,
    width: float = NARROW,
) -> Plot:
    """Labelled points, and a line where the float network stands."""
    with _drawing(width, 4.0) as figure:
        axes = figure.subplots()
        taken: list[Any] = []
        for point in points:
            axes.plot(
                point.x,
                point.y,
                MARKERS.get(point.format, "o"),
                color=_colour(point.recipe),
                markersize=8.5,
                markeredgecolor=CARD,
            )
        if float_db is not None:
            axes.axhline(float_db, color=SOFT, linewidth=1, linestyle=(0, (4, 3)))
            taken.append(
                axes.annotate(
                    "float network",
                    (0, float_db),
                    (6, 3),
                    xycoords=axes.get_yaxis_transform(),
                    textcoords="offset points",
                    fontsize=8.5,
                    color=SOFT,
                )
            )
        heights = [point.y for point in points] + ([float_db] if float_db is not None else [])
        reach = max(max(heights) - min(heights), 0.02)
        axes.set_ylim(min(heights) - 0.35 * reach, max(heights) + 0.25 * reach)
        axes.set_xlim(0, 1.18 * max(point.x for point in points))
        axes.set_xlabel(unit)
        axes.set_ylabel("PSNR-Y, dB")
        axes.ticklabel_format(axis="y", useOffset=False)
        _name_points(figure, axes, points, taken)
        svg = _svg(figure, name)
    words = "; ".join(f"{point.label}: {point.x:.3g}, {db_text(point.y)} dB" for point in points)
    return Plot(title=title, svg=svg, words=f"{unit}, PSNR-Y: {words}")


def _name_points(figure: "Figure", axes: "Axes", points: Sequence[_Point], words: Sequence[Any]) -> None:
    """A label beside each point, where it covers neither a point nor another label nor these words."""
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    frame = axes.get_window_extent(renderer)
    spots = [axes.transData.transform((point.x, point.y)) for point in points]
    taken = [text.get_window_extent(renderer) for text in words]
    level = [text.xy[1] for text in words]
    lines = [axes.transData.transform((0, height))[1] for height in level]
    for point in points:
        candidates = [_annotated(axes, point, offset) for offset in OFFSETS]
        costs = [
            _crowding(label.get_window_extent(renderer), taken, spots, frame, lines) for label in candidates
        ]
        best = candidates[int(np.argmin(costs))]
        for label in candidates:
            if label is not best:
                label.remove()
        taken.append(best.get_window_extent(renderer))


def _annotated(axes: "Axes", point: _Point, offset: tuple[int, int, str]) -> Any:
    right, up, side = offset
    return axes.annotate(
        point.label,
        (point.x, point.y),
        (right, up),
        textcoords="offset points",
        ha=side,
        va="center",
        fontsize=9,
    )


def _crowding(
    box: Any, taken: Sequence[Any], spots: Sequence[Any], frame: Any, lines: Sequence[float]
) -> int:
    """How much a label's box is in the way of others, of points, of the edge, of lines across."""
    outside = box.x0 < frame.x0 or box.x1 > frame.x1 + 8 or box.y0 < frame.y0 or box.y1 > frame.y1 + 8
    covered = sum(box.x0 - 3 < x < box.x1 + 3 and box.y0 - 3 < y < box.y1 + 3 for x, y in spots)
    crossed = sum(box.y0 < height < box.y1 for height in lines)
    return int(100 * outside + 10 * sum(box.overlaps(other) for other in taken) + 10 * covered + 5 * crossed)


@contextmanager
def _drawing(width: float, height: float) -> Iterator["Figure"]:
    """A figure of so many inches in the page's style."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(dict(STYLE)):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def _svg(figure: "Figure", name: str) -> str:
    """The figure as an `svg` element of a page: names of its own, the page's colours, as wide as may be."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    for stand_in, variable in COLOURS.items():
        svg = svg.replace(stand_in, variable)
    return svg.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)
