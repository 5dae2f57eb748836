"""Scales of their own for groups of channels, where a tensor's channels differ in range; exact in float.

An integer kernel has one scale per activation tensor, and a nonlinearity lets no factor per channel through.
But kernels compute `silu.GROUP` output channels at a time, so that a convolution may be several of so many
channels each, at no more multiplications: each with a scale of its own, and a nonlinearity of its own.
XNNPACK makes one table of 256 entries of all operations between two 8-bit tensors, if they are a chain.

SiLUs take one of the forms of `quantize.silu`. The attention of the first block, whose parts have factors per
channel:

    Given   c -> half -> tanh -> depthwise -> a;  c -> depthwise -> r
    Result  the same from c.k to a.k and r.k for every group k;  concat -> a;  concat -> r

with all channels that are added to its own in the order of its ranges.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from . import silu
from .graph import Node, SpanNodes
from .ranges import Sample, channel_ranges, possible_ranges
from .silu import FormName, conv_of, forms_of, group_names, silus, with_form

WORTH = 0.02
"""What the operations of a split must take off the rounding error of the whole network, as a part of it."""

TAKES: Mapping[FormName, float] = {"plain": 0.0, "tanh": 0.3, "groups": 1.0, "twin": 2.0}
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
        if (
            node.op == "conv2d"
            and ops.keys() == {"times", "conv2d"}
            and network.channels(node.name) > silu.GROUP
        ):
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
    """The network with an attention in groups, and all tensors beside it in the order of its channels."""
    order = channel_ranges(samples[names.conv]).sum(0).argsort()
    network = _reordered(network, names.conv, order)
    sizes = [len(group) for group in torch.split(order, silu.GROUP)]
    convs = {name: network.conv(name) for name in network.conv_names()}
    nodes: list[Node] = []
    for node in network.nodes:
        if node.name not in vars(names).values():
            nodes.append(node)
            continue
        (source,) = node.inputs
        parts = group_names(node.name, sizes)
        sources = [source] * len(sizes) if node.name == names.conv else group_names(source, sizes)
        nodes += [replace(node, name=part, inputs=(one,)) for part, one in zip(parts, sources, strict=True)]
        if node.op == "conv2d":
            whole = convs.pop(node.name)
            assert whole.bias is not None
            pieces = (torch.split(tensor, sizes) for tensor in (whole.weight, whole.bias))
            for part, weight, bias in zip(parts, *pieces, strict=True):
                convs[part] = conv_of(weight, bias, groups=len(weight) if whole.groups > 1 else 1)
        if node.name in (names.scaled, names.attention):
            nodes.append(Node(name=node.name, op="concat", inputs=tuple(parts)))
    return SpanNodes(network.config, nodes, convs, scaled=network.scaled, mixed=network.mixed).eval()


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
