"""The scale and zero point of every tensor, for recipes with integer activations."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from .graph import IMAGE, UPSCALED, Node, SpanNodes
from .quantized import QParams
from .ranges import Sample, Table, around_tables, edges_weight, possible_ranges
from .recipe import Recipe
from .rewrite import MASKS

Dtype = Literal["int8", "int16"]
PIXEL = 1 / 255

FIXED_SCALES: dict[str, dict[str, tuple[float, int]]] = {
    "int8": {"sigmoid": (1 / 256, -128), "center": (1 / 256, 0), "pixels": (PIXEL, -128)},
    "int16": {"sigmoid": (1 / 32768, 0), "center": (1 / 32768, 0), "pixels": (PIXEL / 64, 0)},
}
"""Scale and zero point that a kernel or the file's edge dictates; TFLite's LOGISTIC has no others."""

TABLES: dict[str, Callable[[Tensor], Tensor]] = {"sigmoid": torch.sigmoid, "tanh": torch.tanh}
"""Operations that are a table of 256 entries in 8-bit integers."""

RELABELS = ("center", "plus_one", "times", "group")
"""Operations that keep the integers that they are given as they are, at another scale or zero point."""


def choose_ranges(
    nodes: SpanNodes, recipe: Recipe, samples: Mapping[str, Sample], edges: Mapping[str, Sample]
) -> dict[str, QParams]:
    """Scale and zero point of every tensor, for a recipe with integer activations."""
    dtype: Dtype = "int8" if recipe.activation_bits == 8 else "int16"
    tensors = [Node(name=IMAGE, op="center", inputs=()), *nodes.nodes]
    dictated = {node.name: fixed_scale(node, nodes, dtype) for node in tensors}
    found = {name: qparams for name, qparams in dictated.items() if qparams is not None}
    joined = nodes.joined()
    shared = {source: name for name, sources in joined.items() for source in sources}
    derived = {node.name for node in nodes.nodes if node.op in RELABELS} - found.keys()
    free = [name for name in dictated if name not in {*found, *shared, *derived}]
    samples, edges = (_of_joined(joined, one) for one in (samples, edges))
    if dtype == "int16":
        for name in free:
            largest = max(float(one.values.abs().max()) for one in (samples[name], edges[name]))
            found[name] = QParams(scale=largest * 1.25 / 32767, zero_point=0, dtype=dtype)
    else:
        ranges = {name: possible_ranges(samples[name], edges=edges[name]) for name in free}
        weight = edges_weight([*ranges.values()])
        found |= {name: covering(*one.best(edges_weight=weight)) for name, one in ranges.items()}
        for source, tables in _tables(nodes).items():
            found |= _around(source, tables, found, [(1.0, samples), (weight, edges)])
    found |= {source: found[name] for source, name in shared.items()}
    for node in nodes.nodes:
        if node.name in derived:
            found[node.name] = relabelled(node, found[node.inputs[0]])
    return found


def relabelled(node: Node, source: QParams) -> QParams:
    """What the integers of `source` stand for after an operation of `RELABELS` that is not dictated."""
    if node.op == "plus_one":
        return replace(source, zero_point=source.zero_point - round(1 / source.scale))
    return replace(source, scale=source.scale * node.factor)


def _of_joined(joined: Mapping[str, tuple[str, ...]], samples: Mapping[str, Sample]) -> dict[str, Sample]:
    """The samples, a `concat`'s made from those of what it joins, but for the image, which fits any scale."""
    found = dict(samples)
    for name, sources in joined.items():
        parts = [samples[source] for source in sources if source not in MASKS]
        found[name] = Sample(
            values=torch.cat([one.values for one in parts], dim=1),
            weights=torch.cat([one.weights for one in parts], dim=1),
        )
    return found


@dataclass(frozen=True, kw_only=True)
class _Reads:
    """A table and how it reads a tensor.

    Attributes:
        node: the table.
        reader: what reads it.
        given: the tensor, or the group of its channels.
        factor: by which that is multiplied before.
    """

    node: Node
    reader: Node
    given: str
    factor: float


def _tables(nodes: SpanNodes) -> dict[str, list[_Reads]]:
    """By tensor: the tables that read it, or groups of its channels, or either after a factor."""
    makers = {node.name: node for node in nodes.nodes}
    found: dict[str, list[_Reads]] = {}
    for node in nodes.nodes:
        if node.op not in TABLES:
            continue
        (given,), factor = node.inputs, 1.0
        while makers[given].op == "times":
            factor *= makers[given].factor
            (given,) = makers[given].inputs
        source = makers[given].inputs[0] if makers[given].op == "group" else given
        reads = _Reads(node=node, reader=nodes.consumers(node.name)[0], given=given, factor=factor)
        found.setdefault(source, []).append(reads)
    return found


def _around(
    source: str,
    tables: Sequence[_Reads],
    found: Mapping[str, QParams],
    weighed: Sequence[tuple[float, Mapping[str, Sample]]],
) -> dict[str, QParams]:
    """Scales around the tables that read one tensor: its own, and theirs."""
    before, after = around_tables(
        found[source],
        [(share, samples[source]) for share, samples in weighed],
        [
            Table(
                samples=[(share, samples[one.given], samples[one.node.name]) for share, samples in weighed],
                function=partial(_at_factor, one.node.op, one.factor),
                gates=[found[one.node.name]] if one.node.op == "sigmoid" else _tanh_scales(one.reader),
            )
            for one in tables
        ],
    )
    gates = zip((one.node.name for one in tables), after, strict=True)
    return {source: before, **dict(gates)}


def _at_factor(op: str, factor: float, value: Tensor) -> Tensor:
    return TABLES[op](value * factor)


def _tanh_scales(reader: Node) -> list[QParams]:
    """Scales and zero points of a tanh that can be tried: all of it is within 128 steps of zero.

    Of one that a 1 is added to, -1 is the lowest integer and the 1 a whole number of steps.
    """
    steps = range(128, 256) if reader.op == "plus_one" else range(128, 640, 8)
    return [
        QParams(scale=1 / n, zero_point=zero_point)
        for n in steps
        for zero_point in ([n - 128] if reader.op == "plus_one" else range(-127, 128, 15))
        if zero_point <= 127
    ]


def fixed_scale(node: Node, nodes: SpanNodes, dtype: Dtype) -> QParams | None:
    """The scale and zero point that a kernel or the file's edge dictates; None where they are free."""
    fixed = FIXED_SCALES[dtype]
    if node.name in (IMAGE, *MASKS, UPSCALED) or nodes.consumers(node.name)[0].op == "pixel_shuffle":
        scale, zero_point = (
            (PIXEL, 0) if dtype == "int16" and node.name in (IMAGE, *MASKS) else fixed["pixels"]
        )
        return QParams(scale=scale, zero_point=zero_point, dtype=dtype)
    if node.op not in fixed:
        return None
    return QParams(scale=fixed[node.op][0], zero_point=fixed[node.op][1], dtype=dtype)


def covering(low: float, high: float) -> QParams:
    """The 8-bit scale and zero point for a range with zero in it."""
    scale = (high - low) / 255
    return QParams(scale=scale, zero_point=max(-128, min(127, round(-128 - low / scale))))
