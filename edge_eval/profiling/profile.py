"""Profiles of timed rows: time per operation and per layer, and how well the parts add up."""

import json
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from models.errors import InputError

from ..latency import Latency
from ..runtimes.table import kind_of
from .litert_api import KERNEL, KERNEL_MODES, OPERATOR
from .operations import FileOperation, align, file_operations, layer_of, why_outside

MOST_RUNS = 20
FEWEST_RUNS = 3
MOST_S = 5.0
"""Seconds of profiled runs."""

WHOLE_RUN = "Invoke"
"""LiteRT's event of one whole run."""

WRITTEN_FOR = "2.3.0"
"""The version of ai-edge-litert whose library `litert_api` was written for."""


def profile_latency(latency: Latency, path: Path, *, runs: int | None = None) -> dict[str, Any]:
    """`profile` of a result of `bench --json`: where the time of a row goes.

    Args:
        latency: the row, for its runtime, size and threads, and for the time to hold the total against.
        path: its file.
        runs: profiled runs, over which figures are medians; None: 20, or what `MOST_S` holds, 3 at least.

    Returns:
        A `reason` alone where this runtime cannot be profiled, or is not timed.
    """
    if latency.median_ms is None:
        return {"reason": latency.reason}
    runs = runs or min(MOST_RUNS, max(FEWEST_RUNS, int(1e3 * MOST_S / latency.median_ms)))
    if latency.runtime == "torch":
        from .torch_profile import profile_torch

        operations, total = profile_torch(path, threads=latency.threads, input_hw=latency.input_hw, runs=runs)
        return _document("torch.profiler", operations, total, latency, runs)
    if latency.runtime not in KERNEL_MODES:
        return {"reason": f"{latency.runtime} is not profiled; LiteRT's runtimes and torch are"}
    try:
        recorded = _recorded(path, latency, runs)
    except InputError as error:
        return {"reason": str(error)}
    return _of_litert(path, latency, recorded)


def _recorded(path: Path, latency: Latency, runs: int) -> list[list[list[Any]]]:
    """The events of each run, out of a process of its own.

    Raises:
        InputError: it failed.
    """
    asked = json.dumps([str(path.resolve()), latency.runtime, latency.threads, list(latency.input_hw), runs])
    command = [sys.executable, "-m", "edge_eval.profiling.worker", asked]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [""])[-1]
        said = last if done.returncode > 0 else f"ended by signal {-done.returncode}"
        raise InputError(
            f"LiteRT's profiler failed in a process of its own ({said}); it is used through LiteRT's C "
            f"interface of version {WRITTEN_FOR}, and {metadata.version('ai-edge-litert')} is installed"
        )
    runs_events: list[list[list[Any]]] = json.loads(done.stdout.strip().splitlines()[-1])["runs"]
    return runs_events


def _of_litert(path: Path, latency: Latency, recorded: Sequence[Sequence[Sequence[Any]]]) -> dict[str, Any]:
    first = recorded[0]
    same = [run for run in recorded if [event[0] for event in run] == [event[0] for event in first]]
    medians = [
        [tag, kind, statistics.median(run[at][2] for run in same) / 1e3, number]
        for at, (tag, kind, _, number) in enumerate(first)
    ]
    total = next(ms for tag, kind, ms, _ in medians if tag == WHOLE_RUN and kind == 1)
    operations = file_operations(path, latency.input_hw)
    layers = _layers(path)
    outside = {number: ms for _, kind, ms, number in medians if kind & OPERATOR}
    kernels = [(tag, ms) for tag, kind, ms, _ in medians if kind & KERNEL]
    entries = list(_entries(operations, outside, kernels, layers))
    notes = [] if len(same) == len(recorded) else [f"{len(recorded) - len(same)} runs had other events"]
    document = _document("LiteRT's profiler", entries, total, latency, len(same), notes)
    return {**document, "covered": statistics.median(_covered(run) for run in same)}


def _covered(run: Sequence[Sequence[Any]]) -> float:
    """The part of one whole run that its operations and kernels make up."""
    whole = next(us for tag, kind, us, _ in run if tag == WHOLE_RUN and kind == 1)
    return float(sum(us for _, kind, us, _ in run if kind & (OPERATOR | KERNEL)) / whole)


def _entries(
    operations: Sequence[FileOperation],
    outside: Mapping[int, float],
    kernels: Sequence[tuple[str, float]],
    layers: Sequence[str],
) -> Iterable[dict[str, Any]]:
    """One entry per operation, or per kernel where these cannot be told apart by operation."""
    runs_often = [operation for operation in operations if operation.cost is not None]
    inside = [operation for operation in runs_often if operation.index not in outside]
    matched = align(inside, [tag for tag, _ in kernels]) if kernels else None
    for operation in runs_often:
        if operation.index in outside:
            reason = why_outside(operation) if kernels else None
            yield _entry([operation], outside[operation.index], None, layers, reason=reason)
    if matched is None:
        for tag, ms in kernels:
            yield {**_entry([], ms, tag, layers), "name": tag}
        return
    sharing: dict[tuple[int, ...], list[FileOperation]] = {}
    for operation, numbers in zip(inside, matched, strict=True):
        if numbers:
            sharing.setdefault(numbers, []).append(operation)
    for numbers, together in sharing.items():
        names = dict.fromkeys(kernels[number][0] for number in numbers)
        yield _entry(together, sum(kernels[n][1] for n in numbers), ", ".join(names), layers)


def _entry(
    operations: Sequence[FileOperation],
    ms: float,
    kernel: str | None,
    layers: Sequence[str],
    *,
    reason: str | None = None,
) -> dict[str, Any]:
    """An entry of `operations`: one operation, or several that one kernel ran."""
    costs = [operation.cost for operation in operations if operation.cost is not None]
    name = operations[-1].name if operations else None
    return {
        "name": name,
        "kind": "+".join(operation.kind for operation in operations) or None,
        "layer": layer_of(name, layers) if name else None,
        "kernel": kernel,
        "ms": ms,
        "macs": sum(cost.macs for cost in costs),
        "bytes": _moved(costs),
        "delegated": kernel is not None,
        "reason": reason,
        "index": operations[0].index if operations else None,
    }


def _moved(costs: Sequence[Any]) -> int | None:
    """Bytes that operations move; what one of several in a kernel hands to the next does not leave it."""
    if not costs:
        return None
    return int(sum(c.weight_bytes for c in costs) + costs[0].read_bytes + costs[-1].write_bytes)


def _document(  # noqa: PLR0917 - parts of one document
    tool: str,
    operations: list[dict[str, Any]],
    total_ms: float,
    latency: Latency,
    runs: int,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """The profile as JSON-ready data, with its parts held against the whole."""
    parts = sum(operation["ms"] for operation in operations)
    operations = sorted(operations, key=lambda one: (one.get("index") is None, one.get("index") or 0))
    for operation in operations:
        operation.pop("index", None)
        operation["share"] = operation["ms"] / parts if parts else None
        operation["gmacs_per_s"] = 1e-6 * operation["macs"] / operation["ms"] if operation["ms"] else None
    return {
        "tool": tool,
        "runs": runs,
        "total_ms": total_ms,
        "parts_ms": parts,
        "covered": None,
        "latency_ms": latency.median_ms,
        "operations": operations,
        "layers": _by_layer(operations, parts),
        "notes": list(notes),
        "reason": None,
    }


def _by_layer(operations: Iterable[Mapping[str, Any]], parts: float) -> list[dict[str, Any]]:
    layers: dict[str, dict[str, Any]] = {}
    for operation in operations:
        name = operation["layer"] or "?"
        layer = layers.setdefault(name, {"layer": name, "ms": 0.0, "macs": 0, "operations": 0})
        layer["ms"] += operation["ms"]
        layer["macs"] += operation["macs"]
        layer["operations"] += 1
    for layer in layers.values():
        layer["share"] = layer["ms"] / parts if parts else None
    return list(layers.values())


def _layers(path: Path) -> tuple[str, ...]:
    """Names of the network's convolutions and of what holds them; none for a file that is not ours."""
    from convert.formats import FORMATS, read_artifact

    if kind_of(path) != "tflite" or FORMATS["tflite"].metadata(path) is None:
        return ()
    import torch

    from models.deploy import SpanDeploy

    with torch.device("meta"):
        names = list(SpanDeploy(read_artifact(path).info.config).convolutions())
    held = {name.rpartition(".")[0] for name in names} - {""}
    return tuple(dict.fromkeys([*names, *held]))
