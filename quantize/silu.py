"""The forms that a SiLU between two convolutions can have, exact in float, and what rounding each costs.

    plain   c -> sigmoid -> times c -> s
    tanh    c -> half -> tanh -> plus one -> half -> times c -> s: finer steps where c is negative
    groups  c.k -> (plain or tanh) -> times f_k -> times c.k -> s.k for every group k;  concat -> s
    twin    c f -> times sigmoid(c) -> s f, with a factor per channel, and c from a 1x1 depthwise convolution

The channels of groups are put in the order of their ranges; what reads s takes order and factors back.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from .balance import least_noise_factors
from .graph import Node, SpanNodes
from .ranges import Sample, channel_ranges, possible_ranges
from .rewrite import TWIN
from .scales import covering

FormName = Literal["plain", "tanh", "groups", "twin"]

GROUP = 16
"""Output channels that XNNPACK's kernels compute at a time, on x86 and on Arm."""

FINER = 0.8
"""Part of a sigmoid's rounding error that is left where a group takes tanh instead."""

TANH_STEPS = range(128, 256, 16)
"""Steps from 0 to 1 of a tanh that are looked at."""


@dataclass(frozen=True, kw_only=True)
class Silu:
    """A SiLU and the convolution before it.

    Attributes:
        conv: name of the convolution, and of its tensor.
        gate: of the sigmoid.
        name: of the product.
    """

    conv: str
    gate: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Form:
    """How a SiLU is computed.

    Attributes:
        groups: channels of every group.
        factors: of the result's channels, in their new order; the same within a group, but for a twin.
        tanh: whether a group's sigmoid is that of 1 + tanh.
        twin: whether the factors are the convolution's already.
    """

    groups: tuple[Tensor, ...]
    factors: Tensor
    tanh: tuple[bool, ...]
    twin: bool = False

    @property
    def order(self) -> Tensor:
        """The channels in their new order."""
        return torch.cat(self.groups)


def silus(network: SpanNodes) -> Iterator[Silu]:
    """Those whose convolution nothing else reads."""
    for node in network.nodes:
        conv, gate = node.inputs[0], node.inputs[-1]
        readers = {reader.name for reader in network.consumers(conv)}
        if node.op == "mul" and network.op_of(gate) == "sigmoid" and readers == {node.name, gate}:
            yield Silu(conv=conv, gate=gate, name=node.name)


def forms_of(before: Sample, after: Sample) -> Mapping[FormName, tuple[float, Form]]:
    """The forms that a SiLU could have, and the squared output error that each is predicted to make.

    Args:
        before: of the SiLU's input.
        after: of its result.
    """
    every = torch.arange(before.values.shape[1])
    ones = torch.ones(len(every))
    forms: dict[FormName, Form] = {
        "plain": Form(groups=(every,), factors=ones, tanh=(False,)),
        "tanh": Form(groups=(every,), factors=ones, tanh=(True,)),
        "twin": Form(groups=(every,), factors=least_noise_factors([before, after]), tanh=(False,), twin=True),
    }
    if len(every) > GROUP:
        groups = torch.split(channel_ranges(before).sum(0).argsort(), GROUP)
        factors = least_noise_factors([_as_channels(after, groups)])
        tanh = tuple(_prefers_tanh(_only(before, one), _only(after, one)) for one in groups)
        spread = torch.cat([one.expand(len(group)) for one, group in zip(factors, groups, strict=True)])
        forms["groups"] = Form(groups=groups, factors=spread / spread.min(), tanh=tanh)
    return {kind: (_error(before, after, form), form) for kind, form in forms.items()}


def _error(before: Sample, after: Sample, form: Form) -> float:
    factors = form.factors.view(1, -1, 1, 1)
    result = _only(after, form.order)
    total = possible_ranges(Sample(values=result.values * factors, weights=result.weights / factors**2)).least
    for group, tanh in zip(form.groups, form.tanh, strict=True):
        source, result = _only(before, group), _only(after, group)
        if form.twin:
            gate = source.values.sigmoid()
            slope = source.values * gate * (1 - gate)
            product = Sample(values=source.values * factors, weights=result.weights * (gate / factors) ** 2)
            source = replace(source, weights=result.weights * slope.square())
            total += possible_ranges(product).least
        ranges = possible_ranges(source)
        total += ranges.least + _table_error(source, result, ranges.best(), tanh=tanh)
    return total


def _prefers_tanh(source: Sample, result: Sample) -> bool:
    reach = possible_ranges(source).best()
    plain, tanh = (_table_error(source, result, reach, tanh=form) for form in (False, True))
    return tanh < FINER * plain


def _table_error(source: Sample, result: Sample, reach: tuple[float, float], *, tanh: bool) -> float:
    """What rounding the sigmoid, or 1 + tanh, costs."""
    value = covering(*reach).rounded(source.values)
    gate = value.sigmoid()
    weight = result.weights * value.square()
    if not tanh:
        return float((weight * ((gate * 256).round().clamp(max=255) / 256 - gate).square()).sum())
    return min(
        float((weight * ((gate * 2 * n).round().clamp(max=255) / (2 * n) - gate).square()).sum())
        for n in TANH_STEPS
    )


def _only(sample: Sample, channels: Tensor) -> Sample:
    return Sample(values=sample.values[:, channels], weights=sample.weights[:, channels])


def _as_channels(sample: Sample, groups: Sequence[Tensor]) -> Sample:
    """The groups as channels, short ones filled up with zeros that weigh nothing."""

    def stacked(values: Tensor) -> Tensor:
        parts = [values[:, one].flatten(1) for one in groups]
        most = max(part.shape[1] for part in parts)
        filled = [nn.functional.pad(part, (0, most - part.shape[1])) for part in parts]
        return torch.stack(filled, dim=1)[..., None]

    return Sample(values=stacked(sample.values), weights=stacked(sample.weights))


def with_form(network: SpanNodes, silu: Silu, form: Form) -> SpanNodes:
    """The network with a SiLU in another form."""
    nodes: list[Node] = []
    convs = {name: network.conv(name) for name in network.conv_names()}
    whole, order = convs.pop(silu.conv), form.order
    assert whole.bias is not None
    weight, bias = whole.weight[order], whole.bias[order]
    if form.twin:
        weight, bias = weight * form.factors.view(-1, 1, 1, 1), bias * form.factors
    names = group_names(silu.conv, form.groups)
    sizes = [len(group) for group in form.groups]
    for name, kernel, shift in zip(names, torch.split(weight, sizes), torch.split(bias, sizes), strict=True):
        convs[name] = conv_of(kernel, shift)
    if form.twin:
        inverse = 1 / form.factors.view(-1, 1, 1, 1)
        convs[silu.conv + TWIN] = conv_of(inverse, torch.zeros(len(order)), groups=len(order))
    for node in network.nodes:
        if node.name in (silu.conv, silu.gate):
            continue
        if node.name == silu.name:
            nodes += _silu_nodes(network.input_of(silu.conv), silu, form, names)
            continue
        nodes.append(node)
        parts = network.parts(node.inputs[0])
        if node.op == "conv2d" and silu.name in parts:
            convs[node.name] = _reader(network.conv(node.name), parts[silu.name], form)
    return SpanNodes(network.config, nodes, convs, scaled=network.scaled, mixed=network.mixed).eval()


def group_names(name: str, groups: Sequence[object]) -> list[str]:
    """The names of a tensor's groups; its own where there is one group."""
    return [name] if len(groups) == 1 else [f"{name}.{number}" for number in range(len(groups))]


def _silu_nodes(source: str, silu: Silu, form: Form, convs: Sequence[str]) -> Iterator[Node]:
    products, first = [], 0
    for conv, tanh, group in zip(convs, form.tanh, form.groups, strict=True):
        gate, inner = f"{conv}.gate", conv
        factor = 1.0 if form.twin else float(form.factors[first])
        first += len(group)
        yield Node(name=conv, op="conv2d", inputs=(source,))
        if form.twin:
            inner = conv + TWIN
            yield Node(name=inner, op="conv2d", inputs=(conv,))
        if tanh:
            yield Node(name=f"{conv}.half", op="times", inputs=(inner,), factor=0.5)
            yield Node(name=f"{conv}.tanh", op="tanh", inputs=(f"{conv}.half",))
            yield Node(name=gate, op="plus_one", inputs=(f"{conv}.tanh",))
            factor *= 0.5
        else:
            yield Node(name=gate, op="sigmoid", inputs=(inner,))
        if factor != 1:
            yield Node(name=f"{gate}.scaled", op="times", inputs=(gate,), factor=factor)
            gate += ".scaled"
        products.append(silu.name if len(convs) == 1 else f"{conv}.silu")
        yield Node(name=products[-1], op="mul", inputs=(conv, gate))
    if len(convs) > 1:
        yield Node(name=silu.name, op="concat", inputs=tuple(products))


def _reader(conv: nn.Conv2d, at: slice, form: Form) -> nn.Conv2d:
    """A convolution as it reads a result with order and factors, as its channels `at`."""
    assert conv.bias is not None
    weight = conv.weight.clone()
    weight[:, at] = weight[:, at][:, form.order] / form.factors.view(1, -1, 1, 1)
    return conv_of(weight, conv.bias, groups=conv.groups)


def conv_of(weight: Tensor, bias: Tensor, groups: int = 1) -> nn.Conv2d:
    """The convolution with these numbers."""
    out, per_group, k, _ = weight.shape
    conv = nn.Conv2d(per_group * groups, out, k, padding=k // 2, groups=groups)
    conv.load_state_dict({"weight": weight, "bias": bias})
    return conv.requires_grad_(False)
