"""The forms that a SiLU between two convolutions can have, exact in float, and what rounding each costs.

    plain   c -> sigmoid -> times c -> s
    tanh    c -> half -> tanh -> plus one -> half -> times c -> s: finer steps where c is negative
    halves  c, with a factor e_k in every group k of its channels, -> group k -> times 1 / e_k -> (plain or
            tanh) -> times f_k / e_k -> times group k -> s.k;  concat -> s.  thirds and quarters likewise
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
from .ranges import Ranges, Sample, channel_ranges, possible_ranges
from .rewrite import TWIN
from .scales import covering

FormName = Literal["plain", "tanh", "halves", "thirds", "quarters", "twin"]

GROUPS: Mapping[FormName, int] = {"halves": 2, "thirds": 3, "quarters": 4}
"""Equal groups that a tensor can be split into; XNNPACK splits no further."""

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
        given: factors of the convolution's channels, in their new order; the same within a group, but for a
            twin.
        factors: likewise, of the result's; a twin's are the convolution's.
        tanh: whether a group's sigmoid is that of 1 + tanh.
        twin: whether the sigmoid reads a copy without factors.
    """

    groups: tuple[Tensor, ...]
    given: Tensor
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
    twin = least_noise_factors([before, after])
    forms: dict[FormName, Form] = {
        "plain": Form(groups=(every,), given=ones, factors=ones, tanh=(False,)),
        "tanh": Form(groups=(every,), given=ones, factors=ones, tanh=(True,)),
        "twin": Form(groups=(every,), given=twin, factors=twin, tanh=(False,), twin=True),
    }
    counts = possible_groups(len(every))
    order = by_range(before) if counts else every
    for name, count in counts.items():
        forms[name] = _grouped(before, after, torch.split(order, len(order) // count))
    return {kind: (_error(before, after, form), form) for kind, form in forms.items()}


def possible_groups(channels: int) -> dict[FormName, int]:
    """Those of `GROUPS` that so many channels can be split into."""
    return {name: count for name, count in GROUPS.items() if channels % count == 0}


def by_range(sample: Sample) -> Tensor:
    """A tensor's channels in the order of their ranges."""
    return channel_ranges(sample).sum(0).argsort()


def group_factors(sample: Sample, groups: Sequence[Tensor]) -> Tensor:
    """The factors of groups of a tensor's channels under which rounding it does least harm, per channel.

    Returns:
        (C,), in the groups' order; the last group's are 1.
    """
    found = least_noise_factors([_as_channels(sample, groups)])
    return (found / found[-1]).repeat_interleave(len(groups[0]))


def _grouped(before: Sample, after: Sample, groups: tuple[Tensor, ...]) -> Form:
    given, factors = (group_factors(sample, groups) for sample in (before, after))
    form = Form(groups=groups, given=given, factors=factors, tanh=(False,) * len(groups))
    ranges = possible_ranges(with_factors(_only(before, form.order), given))
    tanh = tuple(
        _table_error(_only(before, group), _only(after, group), reach, tanh=True)
        < FINER * _table_error(_only(before, group), _only(after, group), reach, tanh=False)
        for group, reach in _reaches(ranges, form)
    )
    return replace(form, tanh=tanh)


def _reaches(ranges: Ranges, form: Form) -> Iterator[tuple[Tensor, tuple[float, float]]]:
    """Every group, and how far its channels reach before factors where the convolution's range is best."""
    low, high = ranges.best()
    for group, given in zip(form.groups, form.given[:: len(form.groups[0])], strict=True):
        yield group, (low / float(given), high / float(given))


def _error(before: Sample, after: Sample, form: Form) -> float:
    given, result = _only(before, form.order), _only(after, form.order)
    total = possible_ranges(with_factors(result, form.factors)).least
    if form.twin:
        gate = given.values.sigmoid()
        product = replace(given, weights=result.weights * gate.square())
        total += possible_ranges(with_factors(product, form.given)).least
        slope = given.values * gate * (1 - gate)
        before = replace(given, weights=result.weights * slope.square())
        form = replace(form, given=torch.ones_like(form.given))
    ranges = possible_ranges(with_factors(_only(before, form.order), form.given))
    total += ranges.least
    for (group, reach), tanh in zip(_reaches(ranges, form), form.tanh, strict=True):
        total += _table_error(_only(before, group), _only(after, group), reach, tanh=tanh)
    return total


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


def with_factors(sample: Sample, factors: Tensor) -> Sample:
    """A tensor's sample where its channels are multiplied by factors, (C,), that its readers take back."""
    spread = factors.view(1, -1, 1, 1)
    return Sample(values=sample.values * spread, weights=sample.weights / spread**2)


def _as_channels(sample: Sample, groups: Sequence[Tensor]) -> Sample:
    """The groups as channels."""

    def stacked(values: Tensor) -> Tensor:
        return torch.stack([values[:, one].flatten(1) for one in groups], dim=1)[..., None]

    return Sample(values=stacked(sample.values), weights=stacked(sample.weights))


def with_form(network: SpanNodes, silu: Silu, form: Form) -> SpanNodes:
    """The network with a SiLU in another form."""
    nodes: list[Node] = []
    convs = {name: network.conv(name) for name in network.conv_names()}
    whole, order = convs.pop(silu.conv), form.order
    assert whole.bias is not None
    given = form.given.view(-1, 1, 1, 1)
    convs[silu.conv] = conv_of(whole.weight[order] * given, whole.bias[order] * form.given)
    if form.twin:
        convs[silu.conv + TWIN] = conv_of(1 / given, torch.zeros(len(order)), groups=len(order))
    for node in network.nodes:
        if node.name in (silu.conv, silu.gate):
            continue
        if node.name == silu.name:
            nodes += _silu_nodes(network.input_of(silu.conv), silu, form)
            continue
        nodes.append(node)
        parts = network.parts(node.inputs[0])
        if node.op == "conv2d" and silu.name in parts:
            convs[node.name] = _reader(network.conv(node.name), parts[silu.name], form)
    return SpanNodes(network.config, nodes, convs, scaled=network.scaled, mixed=network.mixed).eval()


def group_nodes(tensor: str, count: int) -> tuple[Node, ...]:
    """The groups of a tensor's channels."""
    return tuple(
        Node(name=f"{tensor}.{number}", op="group", inputs=(tensor,), number=number, of=count)
        for number in range(count)
    )


def _silu_nodes(source: str, silu: Silu, form: Form) -> Iterator[Node]:
    yield Node(name=silu.conv, op="conv2d", inputs=(source,))
    groups = group_nodes(silu.conv, len(form.groups)) if len(form.groups) > 1 else ()
    yield from groups
    names = [node.name for node in groups] or [silu.conv]
    products = [f"{name}.silu" for name in names] if groups else [silu.name]
    firsts = range(0, len(form.order), len(form.groups[0]))
    for name, product, tanh, first in zip(names, products, form.tanh, firsts, strict=True):
        inner, gate = name, f"{name}.gate"
        given, factor = float(form.given[first]), float(form.factors[first])
        if form.twin:
            inner, given, factor = name + TWIN, 1.0, 1.0
            yield Node(name=inner, op="conv2d", inputs=(name,))
        before, after = (0.5 / given, 0.5 * factor / given) if tanh else (1 / given, factor / given)
        if before != 1:
            yield Node(name=f"{name}.given", op="times", inputs=(inner,), factor=before)
            inner = f"{name}.given"
        if tanh:
            yield Node(name=f"{name}.tanh", op="tanh", inputs=(inner,))
            yield Node(name=gate, op="plus_one", inputs=(f"{name}.tanh",))
        else:
            yield Node(name=gate, op="sigmoid", inputs=(inner,))
        if after != 1:
            yield Node(name=f"{gate}.scaled", op="times", inputs=(gate,), factor=after)
            gate += ".scaled"
        yield Node(name=product, op="mul", inputs=(name, gate))
    if groups:
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
