"""Exact rewrites: the folded network as nodes that are kind to INT8, equal to it in float, borders included.

- mask: the mean's subtraction and `img_range` go into the first convolutions. Padding is zero after the
  subtraction, so it is not a bias: the image gets a fourth channel of ones, padded with zeros like the
  others, whose kernel is what the mean contributes to each tap.
- merge: `conv_2` and its slice of `conv_cat` are linear with nothing between: one 3x3 convolution. So are the
  first convolution and its slice: one 3x3 convolution on the image itself, which has no rounding error.
- split: `conv_cat` over a concat is the sum of convolutions, each with its source's own scale.
- join: the image fits any scale (`quantize.balance.place_image`), so one of these convolutions reads it and
  block 6 together, with one rounding instead of three.
- lean: what a pixel's own channels tell of `conv_cat` passes it by: the last convolution reads the image
  too. `quantize.balance.lean_on_image` chooses how much; here it is nothing. What is left of `conv_cat` is
  detail, whose range is short.
- twin: in the first block, where channels differ most in range, a tensor that feeds linear operations and a
  nonlinearity exists twice: once with a factor per channel, which a convolution takes back, and once
  without, made by a 1x1 depthwise convolution. `quantize.balance` chooses the factors; here they are 1.
- attention: sigmoid(c3) - 0.5 is its own tensor. In integers it is exact: TFLite fixes the sigmoid at scale
  1/256 and zero point -128, so its integer q stands for (q + 128) / 256, and q / 256 is what is wanted.
- tanh: with 8-bit activations it is tanh(c3 / 2) / 2 instead, whose scale is free. The factors change no
  integer, only what it stands for.

Join, lean, tanh and the attention's twins serve 8-bit activations alone and are left out where there are
none; the SiLUs' twins serve weights alone. With 8-bit activations `quantize.split` chooses the SiLUs' forms.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from models import SpanDeploy
from models.blocks import Spab
from models.reparam import chain_pointwise_last

from .graph import IMAGE, UPSCALED, Node, OpName, SpanNodes

MASK = "image_and_ones"
"""The image's channels and one of ones."""

OUTPUT_MASK = "output.image"
"""The same for the last convolution, which reads them at another scale."""

MASKS = (MASK, OUTPUT_MASK)

TWIN = ".plain"
"""Ends the name of a tensor without the factors per channel that its twin has."""


@dataclass
class _Build:
    """Nodes and convolutions, as they are put together."""

    nodes: list[Node] = field(default_factory=list)
    convs: dict[str, nn.Conv2d] = field(default_factory=dict)

    def add(self, name: str, op: OpName, *inputs: str, factor: float = 1.0) -> str:
        self.nodes.append(Node(name=name, op=op, inputs=inputs, factor=factor))
        return name

    def conv(self, name: str, source: str, weight: Tensor, bias: Tensor | None, groups: int = 1) -> str:
        out, per_group, k, _ = weight.shape
        conv = nn.Conv2d(per_group * groups, out, k, padding=k // 2, groups=groups)
        assert conv.bias is not None
        conv.weight.data = weight.detach().clone().float()
        conv.bias.data = (torch.zeros(out) if bias is None else bias).detach().clone().float()
        self.convs[name] = conv.requires_grad_(False)
        return self.add(name, "conv2d", source)

    def copy(self, name: str, source: str, conv: nn.Conv2d) -> str:
        return self.conv(name, source, conv.weight, conv.bias)

    def with_ones(self, name: str, channels: int) -> str:
        """The image's channels and one of ones."""
        weight = torch.eye(channels + 1, channels)[:, :, None, None]
        return self.conv(name, IMAGE, weight, torch.tensor([0.0] * channels + [1.0]))

    def times(self, name: str, source: str, channels: int, factor: float = 1.0) -> str:
        """A depthwise convolution by `factor`."""
        return self.conv(name, source, torch.full((channels, 1, 1, 1), factor), None, groups=channels)

    def silu(self, source: str, channels: int, *, twin: bool = False) -> str:
        inner = self.times(source + TWIN, source, channels) if twin else source
        return self.add(f"{source}.silu", "mul", source, self.add(f"{source}.gate", "sigmoid", inner))

    def attended(self, name: str, third: str, residual: str, *, few_bits: bool) -> str:
        """The attention of a block, from its third convolution and what is added to it."""
        if few_bits:
            attention = self.add(f"{name}.attention", "times", self.tanh_of_half(third), factor=0.5)
        else:
            gate = self.add(f"{third}.gate", "sigmoid", third)
            attention = self.add(f"{name}.attention", "center", gate)
        return self.add(name, "mul", self.add(f"{name}.sum", "add", third, residual), attention)

    def attended_with_factors(self, name: str, third: str, residual: str, channels: int) -> str:
        """The same, its parts with factors per channel."""
        attention = self.times(f"{name}.attention", self.tanh_of_half(third), channels, 0.5)
        scaled = self.times(f"{third}.scaled", third, channels)
        return self.add(name, "mul", self.add(f"{name}.sum", "add", scaled, residual), attention)

    def tanh_of_half(self, third: str) -> str:
        half = self.add(f"{third}.half", "times", third, factor=0.5)
        return self.add(f"{third}.gate", "tanh", half)

    def block(
        self, name: str, parts: Spab, source: str, residual: str, *, few_bits: bool, first: bool = False
    ) -> "_Ends":
        """A SPAB block on the tensor `source`; `residual` is the same without factors per channel.

        The first one has twins: of its attention's parts and its result with `few_bits`, else of its SiLUs.
        """
        c1, c2, c3 = parts.c1_r, parts.c2_r, parts.c3_r
        assert isinstance(c1, nn.Conv2d) and isinstance(c2, nn.Conv2d) and isinstance(c3, nn.Conv2d)
        width, twin, factors = c3.out_channels, first and not few_bits, first and few_bits
        activated = self.silu(self.copy(f"{name}.c1_r", source, c1), width, twin=twin)
        second = self.silu(self.copy(f"{name}.c2_r", activated, c2), width, twin=twin)
        out = self.copy(f"{name}.c3_r", second, c3)
        if parts.attention and factors:
            out = self.attended_with_factors(name, out, residual, width)
        elif parts.attention:
            out = self.attended(name, out, residual, few_bits=few_bits)
        plain = self.times(f"{name}{TWIN}", out, width) if factors else out
        return _Ends(out=out, plain=plain, activated=activated)


@dataclass(frozen=True, kw_only=True)
class _Ends:
    """A block's output for convolutions and for the next residual, and its activated first convolution."""

    out: str
    plain: str
    activated: str


Groups = tuple[tuple[str, ...], ...]


def rewrite(network: SpanDeploy, *, activation_bits: int | None = 8) -> SpanNodes:
    """The nodes of `network`, which is left unchanged; equal to it in float, borders included.

    Args:
        network: folded.
        activation_bits: of the integers that its tensors become; None where they become none.
    """
    build = _Build()
    scaled, mixed = _REWRITES[network.config.network](network, build, activation_bits == 8)
    return SpanNodes(network.config, build.nodes, build.convs, scaled=scaled, mixed=mixed).eval()


def _span(network: SpanDeploy, build: _Build, few_bits: bool) -> tuple[Groups, tuple[str, ...]]:
    image, kernel, bias = _normalized(network, build)
    first = build.conv("conv_1", image, kernel, bias)
    one = ends = build.block("block_1", network.block_1, first, first, few_bits=few_bits, first=True)
    for i in range(2, 7):
        block = getattr(network, f"block_{i}")
        ends = build.block(f"block_{i}", block, ends.out, ends.plain, few_bits=few_bits)
    cat = network.conv_cat
    slices = torch.split(cat.weight, network.config.feature_channels, dim=1)
    nothing = torch.zeros(cat.out_channels).double()
    near = chain_pointwise_last(kernel, bias, slices[0].double(), nothing)
    far = _merged(network.conv_2, slices[1], cat.bias)
    parts = [
        build.conv("conv_cat.2", one.out, slices[2], None),
        build.conv("conv_cat.3", ends.activated, slices[3], None),
    ]
    if few_bits:
        joined = build.add("conv_cat.0_1.inputs", "concat", image, ends.out)
        both = torch.cat([near[0], far[0]], dim=1), near[1] + far[1]
        parts.append(build.conv("conv_cat.0_1", joined, *both))
    else:
        parts += [build.conv("conv_cat.0", image, *near), build.conv("conv_cat.1", ends.out, *far)]
    mixed = _summed(build, parts)
    _output(build, mixed[-1], network.upsampler[0], leaning=network.config.in_channels if few_bits else 0)
    residual = (first, "block_1.c3_r.scaled", "block_1.sum", "block_1")
    return (("block_1.attention", "block_1"), residual) if few_bits else _BOTH_ACTIVATED, mixed


def _spanf(network: SpanDeploy, build: _Build, few_bits: bool) -> tuple[Groups, tuple[str, ...]]:
    cat, width = network.conv_cat, network.config.feature_channels
    one = ends = build.block("block_1", network.block_1, IMAGE, IMAGE, few_bits=few_bits, first=True)
    for i in range(2, 6):
        block = getattr(network, f"block_{i}")
        ends = build.block(f"block_{i}", block, ends.out, ends.plain, few_bits=few_bits)
    slices = torch.split(cat.weight, [network.conv_near.out_channels, width, width], dim=1)
    parts = [
        build.conv("conv_cat.1", ends.out, slices[1], cat.bias),
        build.conv("conv_cat.0", IMAGE, _near(network, slices[0]), None),
        build.conv("conv_cat.2", one.out, slices[2], None),
    ]
    mixed = _summed(build, parts)
    _output(build, mixed[-1], network.conv_2, leaning=network.config.in_channels if few_bits else 0)
    return (("block_1.c3_r",),) if few_bits else _BOTH_ACTIVATED, mixed


_REWRITES = {"span": _span, "spanf": _spanf}
_ACTIVATED = ("block_1.c1_r", "block_1.c1_r.silu")
_BOTH_ACTIVATED = (_ACTIVATED, ("block_1.c2_r", "block_1.c2_r.silu"))


def _normalized(network: SpanDeploy, build: _Build) -> tuple[str, Tensor, Tensor]:
    """The first convolution's input, kernel and bias after the rewrite `mask`, float64."""
    config, conv = network.config, network.conv_1
    assert conv.bias is not None
    weight, bias = conv.weight.double(), conv.bias.double()
    mask = build.with_ones(MASK, config.in_channels)
    mean = torch.zeros(config.in_channels, dtype=torch.float64)
    if config.normalize:
        weight, mean = weight * config.img_range, torch.tensor(config.rgb_mean, dtype=torch.float64)
    return mask, torch.cat([weight, -torch.einsum("ocuv,c->ouv", weight, mean)[:, None]], dim=1), bias


def _merged(conv: nn.Conv2d, point: Tensor, shift: Tensor | None) -> tuple[Tensor, Tensor]:
    """Kernel and bias of `conv` followed by the 1x1 kernel `point` and `shift`, float64."""
    assert conv.bias is not None and shift is not None
    return chain_pointwise_last(conv.weight.double(), conv.bias.double(), point.double(), shift.double())


def _near(network: SpanDeploy, point: Tensor) -> Tensor:
    """The kernel on the image of SPAN-F's `conv_near` followed by the 1x1 kernel `point`, float64."""
    dense = _dense(network.conv_near)
    nothing = [torch.zeros(len(kernel), dtype=torch.float64) for kernel in (dense, point)]
    return chain_pointwise_last(dense, nothing[0], point.double(), nothing[1])[0]


def _dense(conv: nn.Conv2d) -> Tensor:
    """The kernel of a grouped convolution as one of all channels, float64."""
    out, per_group, k, _ = conv.weight.shape
    dense = torch.zeros(out, per_group * conv.groups, k, k, dtype=torch.float64)
    rows = out // conv.groups
    for group in range(conv.groups):
        at, columns = (
            slice(group * rows, (group + 1) * rows),
            slice(group * per_group, (group + 1) * per_group),
        )
        dense[at, columns] = conv.weight[at].double()
    return dense


def _summed(build: _Build, parts: list[str]) -> tuple[str, ...]:
    """Adds the parts one by one; the names of all tensors on the way, the sum last."""
    names, total = list(parts), parts[0]
    for i, part in enumerate(parts[1:], start=1):
        total = build.add("conv_cat" if i == len(parts) - 1 else f"conv_cat.sum_{i}", "add", total, part)
        names.append(total)
    return tuple(names)


def _output(build: _Build, source: str, conv: nn.Module, *, leaning: int = 0) -> None:
    """The last convolution, which also reads as many channels of the image, and the pixel shuffle."""
    assert isinstance(conv, nn.Conv2d)
    if leaning:
        out, _, k, _ = conv.weight.shape
        nothing = conv.weight.new_zeros(out, leaning + 1, k, k)
        joined = build.add("output.inputs", "concat", build.with_ones(OUTPUT_MASK, leaning), source)
        made = build.conv("output", joined, torch.cat([nothing, conv.weight], dim=1), conv.bias)
    else:
        made = build.copy("output", source, conv)
    build.add(UPSCALED, "pixel_shuffle", made)
