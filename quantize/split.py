"""Factors of their own for groups of channels, where a tensor's channels differ in range; exact in float.

An integer kernel has one scale per activation tensor, and a nonlinearity lets no factor per channel through.
But a convolution may multiply groups of its channels by a factor each, and every group have a nonlinearity of
its own, which divides by that factor: XNNPACK makes one table of 256 entries of all operations between two
8-bit tensors, if they are a chain.

SiLUs take one of the forms of `quantize.silu`. The attention of the first block, whose parts have factors per
channel:

    Given   c -> half -> tanh -> depthwise -> a;  c -> depthwise -> r
    Result  c, with a factor e_k in every group k, -> group k -> times 1 / (2 e_k) -> tanh -> depthwise
            -> a.k;  concat -> a;  c -> depthwise -> r

with all channels that are added to its own in the order of its ranges.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from . import silu
from .graph import Node, SpanNodes
from .ranges import Sample, possible_ranges
from .silu import FormName, by_range, conv_of, forms_of, group_factors, silus, with_form

WORTH = 0.02
"""What the operations of a split must take off the rounding error of the whole network, as a part of it."""

TAKES: Mapping[FormName, float] = {
    "plain": 0.0,
    "tanh": 0.3,
    "halves": 0.7,
    "thirds": 1.0,
    "quarters": 1.3,
    "twin": 2.0,
}
"""What a SiLU's form must be worth, in `WORTH`: how long it takes, or on kernels that make no table."""

COUNTED = ("conv2d", "mul", "add")
"""Operations whose tensors are rounded at scales that are free."""

EVERY = 2
"""One pixel in so many of a row, and of a column, is enough to compare forms by."""


@torch.no_grad()
def split(network: SpanNodes, samples: Mapping[str, Sample]) -> SpanNodes:
    """The network with those tensors split that are worth it.

    Args:
        network: rewritten and balanced; left unchanged.
        samples: of its tensors.

    Returns:
        a network with the same output.
    """
    thinned = {name: _thinned(sample) for name, sample in samples.items()}
    found = [(one, forms_of(thinned[one.conv], thinned[one.name])) for one in silus(network)]
    others = {node.name for node in network.nodes if node.op in COUNTED}
    others -= {name for one, _ in found for name in (one.conv, one.name)}
    error = sum(min(price for price, _ in forms.values()) for _, forms in found)
    error += sum(possible_ranges(thinned[name]).least for name in others)
    for one, forms in found:
        prices = {name: price + TAKES[name] * WORTH * error for name, (price, _) in forms.items()}
        network = with_form(network, one, forms[min(prices, key=prices.__getitem__)][1])
    for attention in attentions(network):
        network = with_groups(network, attention, thinned)
    return network


def _thinned(sample: Sample) -> Sample:
    values, weights = (tensor[..., ::EVERY, ::EVERY] for tensor in (sample.values, sample.weights))
    return Sample(values=values, weights=weights * EVERY**2)


@dataclass(frozen=True, kw_only=True)
class Attention:
    """The attention of a block, whose parts have factors per channel: names of its tensors."""

    conv: str
    half: str
    gate: str
    scaled: str
    attention: str


def attentions(network: SpanNodes) -> Iterator[Attention]:
    """Those that are worth it: where channels have factors, they differ most."""
    for node in network.nodes:
        readers = network.consumers(node.name)
        ops = {reader.op: reader.name for reader in readers}
        attends = node.op == "conv2d" and ops.keys() == {"times", "conv2d"}
        if attends and silu.possible_groups(network.channels(node.name)):
            (gate,) = network.consumers(ops["times"])
            (attention,) = network.consumers(gate.name)
            yield Attention(
                conv=node.name,
                half=ops["times"],
                gate=gate.name,
                scaled=ops["conv2d"],
                attention=attention.name,
            )


def with_groups(network: SpanNodes, names: Attention, samples: Mapping[str, Sample]) -> SpanNodes:
    """The network with an attention in as many groups as there can be, and all beside it in their order."""
    order = by_range(samples[names.conv])
    groups = torch.split(order, len(order) // max(silu.possible_groups(len(order)).values()))
    given = group_factors(samples[names.conv], groups)
    network = _reordered(network, names.conv, order)
    convs = {name: network.conv(name) for name in network.conv_names()}
    for name, factor in ((names.conv, given), (names.scaled, 1 / given)):
        conv = convs[name]
        assert conv.bias is not None
        bias = conv.bias * factor if name == names.conv else conv.bias
        convs[name] = conv_of(conv.weight * factor.view(-1, 1, 1, 1), bias, groups=conv.groups)
    gates = convs.pop(names.attention)
    assert gates.bias is not None
    nodes: list[Node] = []
    for node in network.nodes:
        match node.name:
            case names.half | names.gate:
                continue
            case names.attention:
                parts = _gated(names, len(groups), given)
                nodes += parts
                pieces = (torch.split(tensor, len(groups[0])) for tensor in (gates.weight, gates.bias))
                made = [part.name for part in parts if part.op == "conv2d"]
                for part, weight, bias in zip(made, *pieces, strict=True):
                    convs[part] = conv_of(weight, bias, groups=len(weight))
            case _:
                nodes.append(node)
    return SpanNodes(network.config, nodes, convs, scaled=network.scaled, mixed=network.mixed).eval()


def _gated(names: Attention, count: int, given: Tensor) -> list[Node]:
    """The nodes from an attention's convolution, with factors, to what it multiplies by."""
    groups = silu.group_nodes(names.conv, count)
    nodes, made = [*groups], []
    for number, factor in enumerate(given.view(count, -1)[:, 0].tolist()):
        half, gate, part = (f"{name}.{number}" for name in (names.half, names.gate, names.attention))
        nodes.append(Node(name=half, op="times", inputs=(groups[number].name,), factor=0.5 / factor))
        nodes.append(Node(name=gate, op="tanh", inputs=(half,)))
        nodes.append(Node(name=part, op="conv2d", inputs=(gate,)))
        made.append(part)
    return [*nodes, Node(name=names.attention, op="concat", inputs=tuple(made))]


def _reordered(network: SpanNodes, name: str, order: Tensor) -> SpanNodes:
    """The network with the channels of the tensor `name` in another order, and of all that go with them."""
    together = {name}
    grown = True
    while grown:
        grown = False
        for node in network.nodes:
            depthwise = node.op == "conv2d" and network.conv(node.name).groups > 1
            if node.op in ("conv2d", "concat", "pixel_shuffle") and not depthwise:
                continue
            tied = {node.name, *node.inputs}
            if tied & together and not tied <= together:
                together |= tied
                grown = True
    convs = {}
    for node in network.nodes:
        if node.op != "conv2d":
            continue
        conv = network.conv(node.name)
        assert conv.bias is not None
        weight, bias = conv.weight.clone(), conv.bias
        if node.name in together:
            weight, bias = weight[order], bias[order]
        for source, at in network.parts(node.inputs[0]).items():
            if source in together and conv.groups == 1:
                weight[:, at] = weight[:, at][:, order]
        convs[node.name] = conv_of(weight, bias, groups=conv.groups)
    return SpanNodes(network.config, network.nodes, convs, scaled=network.scaled, mixed=network.mixed).eval()
