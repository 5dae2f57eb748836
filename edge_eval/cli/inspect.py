"""`span-edge inspect`: what a checkpoint or a converted file is."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from .options import CHECKPOINT, network_options
from .terminal import Terminal, terminal

EPILOG = """\b
Examples:
  span-edge inspect spanx4_ch48.pth
  span-edge inspect out/spanx4_ch48_w8a8.safetensors
  span-edge inspect out/spanx4_ch48_fp16.tflite --json
"""


@click.command(epilog=EPILOG, short_help="Show what a checkpoint or a converted file holds.")
@click.argument("file", type=CHECKPOINT)
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
@network_options
def inspect(
    *, file: Path, as_json: bool, img_range: float | None, rgb_mean: tuple[float, ...] | None
) -> None:
    """Show what a checkpoint or a converted file holds: sizes, layers, operations, origin."""
    with terminal() as screen:
        from ..quantized_file import is_quantized
        from .sources import is_artifact

        if is_artifact(file):
            document = describe_artifact(file)
        elif is_quantized(file):
            document = describe_quantized(file)
        else:
            document = describe_checkpoint(file, img_range=img_range, rgb_mean=rgb_mean)
        if as_json:
            screen.emit_json(document, "-")
        else:
            _show(screen, document)


def describe_checkpoint(
    file: Path, *, img_range: float | None = None, rgb_mean: tuple[float, ...] | None = None
) -> dict[str, Any]:
    """Config, form, notes and cost of a checkpoint, JSON-ready.

    Raises:
        InputError: it cannot be used.
    """
    from models.cost import layer_costs

    from .sources import load_network

    loaded = load_network(file, img_range=img_range, rgb_mean=rgb_mean)
    layers = layer_costs(loaded.network)
    return {
        "schema": 1,
        "kind": "checkpoint",
        "name": loaded.checkpoint.name,
        "sha256": loaded.checkpoint.sha256,
        "form": loaded.checkpoint.form,
        "notes": list(loaded.checkpoint.notes),
        "config": loaded.checkpoint.config.to_json(),
        "parameters": sum(layer.parameters for layer in layers),
        "macs_per_lr_pixel": sum(layer.macs for layer in layers),
        "receptive_radius_lr_pixels": loaded.network.receptive_radius,
        "layers": [asdict(layer) for layer in layers],
    }


def describe_quantized(file: Path) -> dict[str, Any]:
    """Config, recipe, provenance, integers and scales of a quantized checkpoint, JSON-ready.

    Raises:
        InputError: it is damaged.
    """
    from ..quantized_file import load_quantized_checkpoint

    checkpoint = load_quantized_checkpoint(file)
    quantized = checkpoint.quantized
    return {
        "schema": 1,
        "kind": "quantized checkpoint",
        "name": file.stem,
        "sha256": checkpoint.sha256,
        "recipe": quantized.recipe,
        "method": quantized.method,
        "provenance": asdict(quantized.provenance),
        "config": quantized.config.to_json(),
        "int8_weights": sum(weight.values.numel() for weight in quantized.weights.values()),
        "tensors": dict(Counter(qparams.dtype for qparams in quantized.activations.values())),
        "float_nodes": list(quantized.float_nodes),
        "ops": checkpoint.ops,
        "scales": [
            {"tensor": name, **asdict(qparams), "low": qparams.low, "high": qparams.high}
            for name, qparams in quantized.activations.items()
        ],
        "weights": [
            {
                "layer": name,
                "shape": list(weight.values.shape),
                "least_scale": float(weight.scale.min()),
                "largest_scale": float(weight.scale.max()),
            }
            for name, weight in quantized.weights.items()
        ],
    }


def describe_artifact(file: Path) -> dict[str, Any]:
    """Metadata, inputs, outputs and operations of a converted file, JSON-ready.

    Raises:
        InputError: it is none of ours, or damaged.
    """
    from convert.formats import read_artifact

    from ..latency import count_ops

    artifact = read_artifact(file)
    return {
        "schema": 1,
        "kind": "artifact",
        "name": file.name,
        "sha256": artifact.sha256,
        "size_bytes": artifact.size_bytes,
        **{key: value for key, value in artifact.info.to_json().items() if key != "schema"},
        "ops": count_ops(artifact.path),
        **(_tflite_facts(file) if artifact.info.format == "tflite" else {}),
    }


def _tflite_facts(file: Path) -> dict[str, Any]:
    """Types of tensors, and what XNNPACK takes of the file on this machine."""
    from convert.tflite_delegate import xnnpack_delegation
    from convert.tflite_file import tflite_dtypes

    types, delegation = tflite_dtypes(file), xnnpack_delegation(file)
    return {
        "tensor_types": types,
        "wholly_integer": all(re.fullmatch(r"u?int\d+", name) for name in types),
        "xnnpack": {
            "delegated": not delegation.left,
            "partitions": delegation.partitions,
            "outside": dict(delegation.left),
        },
    }


def _show(screen: Terminal, document: Mapping[str, Any]) -> None:
    """The document as `name value` lines, its lists of layers and scales as tables."""
    lines = Table.grid(padding=(0, 2))
    lines.add_column(style="dim")
    lines.add_column(overflow="fold")
    for name, value in document.items():
        if name not in ("schema", "layers", "scales", "weights"):
            lines.add_row(name.replace("_", " "), _plain(value))
    screen.out.print(lines)
    if "layers" in document:
        screen.out.print(_layer_table(document["layers"]))
    if document.get("scales"):
        screen.out.print(_scale_table(document["scales"]))
    if "weights" in document:
        screen.out.print(_weight_table(document["weights"]))


def _table(*columns: str, numbers: tuple[str, ...]) -> Table:
    table = Table(*columns, box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in numbers:
        table.add_column(column, justify="right")
    return table


def _scale_table(scales: list[Mapping[str, Any]]) -> Table:
    table = _table("tensor", "type", numbers=("scale", "zero point", "from", "to"))
    for row in scales:
        ends = (f"{row[key]:.4g}" for key in ("low", "high"))
        table.add_row(row["tensor"], row["dtype"], f"{row['scale']:.6g}", str(row["zero_point"]), *ends)
    return table


def _weight_table(weights: list[Mapping[str, Any]]) -> Table:
    table = _table("layer", "shape", numbers=("least scale", "largest scale"))
    for row in weights:
        shape = "x".join(map(str, row["shape"]))
        table.add_row(row["layer"], shape, f"{row['least_scale']:.4g}", f"{row['largest_scale']:.4g}")
    return table


def _layer_table(layers: list[Mapping[str, Any]]) -> Table:
    table = _table("layer", "kernel", numbers=("in", "out", "groups", "parameters", "MACs per LR pixel"))
    for layer in layers:
        kernel = "x".join(str(side) for side in layer["kernel"])
        numbers = (layer[key] for key in ("in_channels", "out_channels", "groups", "parameters", "macs"))
        table.add_row(layer["name"], kernel, *(f"{number:,}" for number in numbers))
    return table


def _plain(value: Any) -> str:
    """A value on one line; an empty list is a dash."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(inner)}" for key, inner in value.items() if inner is not None)
    if isinstance(value, list | tuple):
        return ", ".join(_plain(inner) for inner in value) or "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
