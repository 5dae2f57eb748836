"""Benchmarks as tables for a terminal: times, what they mean, and where they go."""

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from .report import latency_tables
from .report_data import HostLatency, JudgedQuality, results_of
from .report_table import RATIOS, TIMED, Column, filled
from .report_text import figure_text
from .timed_where import device_name

SHOWN_OPERATIONS = 12
LEFT = ("artifact", "runtime", "operation", "layer", "kernel", "kind")


def bench_tables(document: Mapping[str, Any]) -> Iterable[RenderableType]:
    """A document of `bench --json`: times, ratios, what was compared, and profiles.

    Raises:
        msgspec.ValidationError: it is none.
    """
    _, latencies = results_of(document)
    device = device_name(document.get("environment", {}), latencies)
    floors, compared = document.get("floor", ()), document.get("compared", {})
    yield from timing_tables(latencies, device=device, floors=floors, compared=compared)
    for result in document["results"]:
        if result.get("profile"):
            yield from _profile(result)


def timing_tables(
    latencies: Sequence[HostLatency],
    *,
    device: str | None = None,
    floors: Sequence[Mapping[str, Any]] = (),
    compared: Mapping[str, str] | None = None,
) -> Iterable[RenderableType]:
    """Times, and what they mean.

    Args:
        latencies: the times.
        device: the device that they are of; None: this computer.
        floors: entries of `floor` of `bench --json`, where they are at hand.
        compared: what the tools that are compared with are, by their names.
    """
    yield from latency_tables(latencies, device=device)
    timed = [one for one in latencies if one.median_ms is not None]
    columns = filled(RATIOS, timed)
    if len(columns) > len(TIMED):
        yield Text()
        yield _ratios(columns, timed)
    yield from _legend({column.title for column in columns}, timed, floors)
    for name, what in (compared or {}).items():
        yield _dim(f"{name}: {what}")


def _ratios(columns: Sequence[Column[HostLatency]], timed: Sequence[HostLatency]) -> Table:
    """What the times mean."""
    table = _table(*(column.title for column in columns))
    for one in timed:
        table.add_row(*(column.text(one) for column in columns))
    return table


def _legend(
    titles: Set[str], timed: Sequence[HostLatency], floors: Sequence[Mapping[str, Any]]
) -> Iterable[Text]:
    """What the ratios that are shown are to."""
    if "x float" in titles:
        bases = dict.fromkeys(one.float_row for one in timed if one.float_row)
        base = ", ".join(bases) or "the straight fp32 file of the same network"
        yield _dim(f"x float: time over that of {base}, at the same size and threads")
    if "x floor" in titles:
        said = "x floor: time over MACs at this computer's matrix product"
        for floor in floors:
            rates = ", ".join(f"{name} {rate:.0f}" for name, rate in floor["gmacs_per_s"].items())
            at = f"{_threads(floor['threads'])}, beside {'x'.join(map(str, floor['input_hw']))}"
            yield _dim(f"{said}, GMAC/s: {rates} ({at})")
        if not floors:
            yield _dim(said)
    judged = next((one.quality for one in timed if one.quality), None)
    if judged is not None and "drop dB" in titles:
        yield _dim(f"drop: PSNR-Y lost against the float network{_images(judged)}")
    resized = [
        one for one in timed if one.native_hw and one.native_hw != one.input_hw and one.compared is None
    ]
    for name in dict.fromkeys(one.artifact for one in resized):
        yield _dim(f"{name} was made for another size; its input was resized")


def _images(quality: JudgedQuality) -> str:
    """Data set and number of images, after a comma."""
    if "dataset" not in quality or "images" not in quality:
        return ""
    return f", {quality['dataset']}, {quality['images']} images"


def _profile(result: Mapping[str, Any]) -> Iterable[RenderableType]:
    """Where a row's time goes: its dearest operations, its layers, and what is not delegated."""
    profile, name = result["profile"], f"{result['artifact']} on {result['runtime']}"
    yield Text()
    if profile["reason"]:
        yield Text(f"SKIPPED profile of {name}: {profile['reason']}", style="yellow")
        return
    size = "x".join(map(str, result["input_hw"]))
    yield Text(f"{name}, {size}, {_threads(result['threads'])}, by {profile['tool']}", style="bold")
    yield _operations(profile["operations"])
    yield _layers(profile["layers"])
    covered = "" if profile["covered"] is None else f", {profile['covered']:.1%} of each run"
    yield _dim(
        f"the parts' medians are {profile['parts_ms']:.2f} ms{covered}; whole run "
        f"{profile['total_ms']:.2f} ms when profiled, {profile['latency_ms']:.2f} ms when not "
        f"(medians, {profile['runs']} runs)"
    )
    outside = [operation for operation in profile["operations"] if operation["delegated"] is False]
    if any(operation["delegated"] for operation in profile["operations"]):
        for operation in outside:
            yield Text(f"not delegated: {operation['kind']} {operation['name']}: {operation['reason']}")
        if not outside:
            yield Text("everything is delegated")
    for note in profile["notes"]:
        yield _dim(note)


def _operations(operations: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("operation", "kind", "kernel", "ms", "share", "MMAC", "kB", "GMAC/s")
    dearest = sorted(operations, key=lambda operation: -operation["ms"])
    for operation in dearest[:SHOWN_OPERATIONS]:
        table.add_row(
            operation["name"],
            operation["kind"] or "–",
            operation["kernel"] or "–",
            f"{operation['ms']:.3f}",
            _percent(operation["share"]),
            figure_text(operation["macs"] / 1e6) if operation["macs"] else "–",
            "–" if operation["bytes"] is None else f"{operation['bytes'] / 1e3:.0f}",
            figure_text(operation["gmacs_per_s"] or None),
        )
    rest = dearest[SHOWN_OPERATIONS:]
    if rest:
        spent = sum(operation["ms"] for operation in rest)
        share = sum(operation["share"] or 0.0 for operation in rest)
        table.add_row(f"{len(rest)} more", "", "", f"{spent:.3f}", _percent(share), "", "", "")
    return table


def _layers(layers: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("layer", "ms", "share", "MMAC", "operations")
    for layer in layers:
        table.add_row(
            layer["layer"],
            f"{layer['ms']:.3f}",
            _percent(layer["share"]),
            figure_text(layer["macs"] / 1e6) if layer["macs"] else "–",
            str(layer["operations"]),
        )
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in columns:
        left = column in LEFT
        table.add_column(column, justify="left" if left else "right", overflow="fold", no_wrap=not left)
    return table


def _dim(text: str) -> Text:
    return Text(text, style="dim")


def _threads(count: int) -> str:
    return f"{count} thread" if count == 1 else f"{count} threads"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"
