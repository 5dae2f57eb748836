"""The graph that is quantized: the network as a flat list of operations, one per integer kernel.

Every operation is one TFLite kernel and one MIL operation, and every one has one output tensor, named as the
operation. The same list is run in float, observed, simulated in integers, trained, exported and converted,
so that there is one place where the order of operations and the names of tensors are decided.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.config import SpanConfig

OpName = Literal[
    "conv2d",
    "sigmoid",
    "center",
    "tanh",
    "plus_one",
    "times",
    "mul",
    "add",
    "concat",
    "group",
    "pixel_shuffle",
]

IMAGE = "image"
"""The graph's input tensor: (N, C, H, W) in [0, 1]."""

UPSCALED = "upscaled"
"""The graph's output tensor: (N, C_out, s*H, s*W), nominally [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """One operation.

    Attributes:
        name: its name, and its output tensor's.
        op: `conv2d` (stride 1, zero padding of half the kernel, with bias, weights under the node's name),
            `sigmoid`, `center` (minus 0.5), `tanh`, `plus_one`, `times` (the number `factor`), `mul`, `add`
            (of two tensors of one shape), `concat` (over channels), `group` (one of `of` equal groups of
            consecutive channels), `pixel_shuffle` (by the config's upscale, PyTorch's channel order).
        inputs: names of tensors.
        factor: of `times`; 1 for all others.
        number: of a `group`, from 0.
        of: how many groups there are.
    """

    name: str
    op: OpName
    inputs: tuple[str, ...]
    factor: float = 1.0
    number: int = 0
    of: int = 1


WeightOf = Callable[[str], tuple[Tensor, Tensor]]
TensorHook = Callable[[str, Tensor], Tensor]
Compute = Callable[[Node, list[Tensor]], Tensor]


class SpanNodes(nn.Module):
    """A network as nodes, runnable in float; it shares nothing with the network it was made from.

    Attributes:
        config: the network's hyper-parameters.
        nodes: operations in an order in which they can run; the last one's tensor is `UPSCALED`.
        convs: the convolutions, under `key(name)`.
        scaled: groups of tensors that may be multiplied by one factor per channel, the same for a group, if
            the convolutions around them take it back.
        mixed: tensors that may be multiplied by one matrix over channels, likewise.
    """

    def __init__(
        self,
        config: SpanConfig,
        nodes: Iterable[Node],
        convs: Mapping[str, nn.Conv2d],
        *,
        scaled: tuple[tuple[str, ...], ...] = (),
        mixed: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.scaled, self.mixed = scaled, mixed
        self.config = config
        self.nodes = tuple(nodes)
        self.convs = nn.ModuleDict({key(name): conv for name, conv in convs.items()})

    def conv(self, name: str) -> nn.Conv2d:
        """The convolution of the node `name`."""
        module = self.convs[key(name)]
        assert isinstance(module, nn.Conv2d)
        return module

    def conv_names(self) -> tuple[str, ...]:
        """The convolutions' names, in the order in which they run."""
        return tuple(node.name for node in self.nodes if node.op == "conv2d")

    def tensors(self) -> tuple[str, ...]:
        """The names of all tensors, the image's first."""
        return (IMAGE, *(node.name for node in self.nodes))

    def input_of(self, name: str) -> str:
        """The first tensor that the node `name` reads."""
        return next(node.inputs[0] for node in self.nodes if node.name == name)

    def op_of(self, tensor: str) -> OpName | None:
        """The operation that makes `tensor`; None for the image."""
        return next((node.op for node in self.nodes if node.name == tensor), None)

    def consumers(self, tensor: str) -> tuple[Node, ...]:
        """The nodes that read `tensor`."""
        return tuple(node for node in self.nodes if tensor in node.inputs)

    def joined(self) -> Mapping[str, tuple[str, ...]]:
        """By the name of every `concat`: the tensors that it joins."""
        return {node.name: node.inputs for node in self.nodes if node.op == "concat"}

    def grouped(self) -> Mapping[str, tuple[Node, ...]]:
        """By tensor: the groups of its channels, in their order."""
        found: dict[str, tuple[Node, ...]] = {}
        for node in sorted((node for node in self.nodes if node.op == "group"), key=lambda node: node.number):
            found[node.inputs[0]] = (*found.get(node.inputs[0], ()), node)
        return found

    def parts(self, tensor: str) -> Mapping[str, slice]:
        """Which channels of `tensor` come from where: all from itself, or from what a `concat` joins."""
        places, start = {}, 0
        for name in self.joined().get(tensor, (tensor,)):
            places[name] = slice(start, start + self.channels(name))
            start += self.channels(name)
        return places

    def channels(self, tensor: str) -> int:
        """Channels of `tensor`."""
        if tensor == IMAGE:
            return self.config.in_channels
        node = next(node for node in self.nodes if node.name == tensor)
        match node.op:
            case "conv2d":
                return self.conv(tensor).out_channels
            case "concat":
                return sum(self.channels(name) for name in node.inputs)
            case "group":
                return self.channels(node.inputs[0]) // node.of
            case "pixel_shuffle":
                return self.channels(node.inputs[0]) // self.config.upscale**2
        return self.channels(node.inputs[0])

    def forward(self, lr_nchw: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] -> (N, C_out, s*H, s*W), unclipped."""
        return self.run(lr_nchw)

    def run(
        self,
        lr_nchw: Tensor,
        *,
        compute: Compute | None = None,
        tensor: TensorHook | None = None,
    ) -> Tensor:
        """Run the nodes, with what they compute and their tensors replaced on the way.

        Args:
            lr_nchw: (N, C, H, W) in [0, 1].
            compute: makes a node's tensor of its inputs; `self.compute` by default.
            tensor: gets every tensor, the image included, by name, as soon as it exists; what it returns is
                used.
        """
        seen, compute = tensor or _unchanged, compute or self.compute
        left = {name: len(self.consumers(name)) for name in self.tensors()}
        values = {IMAGE: seen(IMAGE, lr_nchw)}
        for node in self.nodes:
            given = [values[name] for name in node.inputs]
            values[node.name] = seen(node.name, compute(node, given))
            for name in node.inputs:
                left[name] -= 1
                if left[name] == 0:
                    del values[name]
        return values[UPSCALED]

    def _weight(self, name: str) -> tuple[Tensor, Tensor]:
        conv = self.conv(name)
        assert conv.bias is not None
        return conv.weight, conv.bias

    def convolve(self, node: Node, given: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
        """The convolution of the node, (N, C, H, W) -> (N, C_out, H, W), with weights of any kind."""
        groups = self.conv(node.name).groups
        return functional.conv2d(given, kernel, bias, padding=kernel.shape[-1] // 2, groups=groups)

    def compute(self, node: Node, given: list[Tensor], *, weight: WeightOf | None = None) -> Tensor:
        """A node's tensor of its inputs, in float.

        Args:
            node: one of `nodes`.
            given: its inputs, each (N, C, H, W).
            weight: gives the kernel and bias of a convolution by its name; its own by default.
        """
        match node.op:
            case "conv2d":
                out = self.convolve(node, given[0], *(weight or self._weight)(node.name))
            case "sigmoid":
                out = given[0].sigmoid()
            case "center":
                out = given[0] - 0.5
            case "tanh":
                out = given[0].tanh()
            case "plus_one":
                out = given[0] + 1
            case "times":
                out = given[0] * node.factor
            case "mul":
                out = given[0] * given[1]
            case "add":
                out = given[0] + given[1]
            case "concat":
                out = torch.cat(given, dim=1)
            case "group":
                size = given[0].shape[1] // node.of
                out = given[0][:, node.number * size : (node.number + 1) * size]
            case "pixel_shuffle":
                out = functional.pixel_shuffle(given[0], self.config.upscale)
        return out


def are_whole(groups: Sequence[Node]) -> bool:
    """Whether groups of a tensor's channels, in order, are all there, and once."""
    expected = [(number, groups[0].of) for number in range(groups[0].of)]
    return [(node.number, node.of) for node in groups] == expected


def key(name: str) -> str:
    """A node's name as a module name: dots are not allowed in those."""
    return name.replace(".", "__")


def _unchanged(_name: str, value: Tensor) -> Tensor:
    return value
