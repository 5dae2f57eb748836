"""Benchmarks as tables for a terminal: times, what they mean, and where they go."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from .report import HOST_NOTE, latency_tables
from .report_data import results_of
from .report_text import drop_text, ms_text

SHOWN_OPERATIONS = 12
LEFT = ("artifact", "runtime", "operation", "layer", "kernel", "kind")


def bench_tables(document: Mapping[str, Any]) -> Iterable[RenderableType]:
    """A document of `bench --json` of this computer: times, ratios, what was compared, and profiles."""
    results: Sequence[Mapping[str, Any]] = document["results"]
    yield from latency_tables(results_of(document)[1], note=HOST_NOTE)
    timed = [result for result in results if result["median_ms"] is not None]
    if timed:
        yield Text()
        yield _ratios(timed)
        yield from _legend(document, timed)
    for result in results:
        if result.get("profile"):
            yield from _profile(result)


def _ratios(timed: Sequence[Mapping[str, Any]]) -> Table:
    """What the times mean."""
    table = _table(
        "artifact",
        "runtime",
        "input",
        "threads",
        "x float",
        "x floor",
        "GMAC",
        "frames/s",
        "ms/MP",
        "drop dB",
    )
    for result in timed:
        quality = result["quality"] or {}
        table.add_row(
            result["artifact"],
            result["runtime"],
            "x".join(map(str, result["input_hw"])),
            str(result["threads"]),
            _number(result["float_ratio"]),
            _number(result["floor_ratio"]),
            _number(result["macs"] and result["macs"] / 1e9),
            _number(result["fps"]),
            ms_text(result["ms_per_output_mp"]),
            drop_text(quality.get("drop_db")),
        )
    return table


def _legend(document: Mapping[str, Any], timed: Sequence[Mapping[str, Any]]) -> Iterable[Text]:
    """What the ratios are to."""
    bases = dict.fromkeys(result["float_row"] for result in timed if result["float_row"])
    if bases:
        yield _dim(f"x float: time over that of {', '.join(bases)}, at the same size and threads")
    else:
        yield _dim("x float: no straight fp32 file of the same network is among the files")
    for floor in document["floor"]:
        rates = ", ".join(f"{name} {rate:.0f}" for name, rate in floor["gmacs_per_s"].items())
        at = f"{_threads(floor['threads'])}, beside {'x'.join(map(str, floor['input_hw']))}"
        yield _dim(f"x floor: time over MACs at this computer's matrix product, GMAC/s: {rates} ({at})")
    qualities = [result["quality"] for result in timed if result["quality"]]
    if qualities:
        yield _dim(f"drop: PSNR-Y lost against the float network, {_images(qualities[0])}")
    resized = [
        r for r in timed if r["native_hw"] and r["native_hw"] != r["input_hw"] and r["compared"] is None
    ]
    for name in dict.fromkeys(result["artifact"] for result in resized):
        yield _dim(f"{name} was made for another size; its input was resized")
    for name, what in document["compared"].items():
        yield _dim(f"{name}: {what}")


def _images(quality: Mapping[str, Any]) -> str:
    return f"{quality['dataset']}, {quality['images']} images"


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
            _number(operation["macs"] / 1e6) if operation["macs"] else "–",
            "–" if operation["bytes"] is None else f"{operation['bytes'] / 1e3:.0f}",
            _number(operation["gmacs_per_s"] or None),
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
            _number(layer["macs"] / 1e6) if layer["macs"] else "–",
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


def _number(value: float | None) -> str:
    """Three significant digits, or a dash."""
    return "–" if value is None else f"{value:.3g}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"
