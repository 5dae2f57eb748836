"""Where a quantized network's error comes from: every tensor of it held against the float network's."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .runner import Frame

if TYPE_CHECKING:
    from torch import Tensor

    from models.deploy import SpanDeploy
    from quantize.graph import SpanNodes
    from quantize.quantized import QuantizedSpan

GROUP_NUMBER = re.compile(r"\.\d+(?=\.|$)")
"""What a group of channels has in its name."""

REARRANGED = ("block_", "conv_1")
"""How the names of tensors begin whose channels may have other factors, another order, or groups."""

CROP_SIDE = 96
"""Side of the part of an image that is run, in input pixels."""


@dataclass(frozen=True, kw_only=True)
class NodeError:
    """One operation's output.

    Attributes:
        name: of the node.
        op: what it does, as `quantize.graph.Node` names it.
        relative_error: mean squared error over the variance of the float network's tensor (of each channel
            about its mean). Rounding of all nodes before is in it.
    """

    name: str
    op: str
    relative_error: float


@dataclass(frozen=True, kw_only=True)
class LayerErrors:
    """Every operation of one quantized network, in the order in which they run.

    Attributes:
        artifact: name of the quantized checkpoint.
        recipe: row of `RECIPES`.
        image: on which picture.
        input_hw: (H, W) of the part that was run, in input pixels.
        nodes: the operations.
    """

    artifact: str
    recipe: str
    image: str
    input_hw: tuple[int, int]
    nodes: tuple[NodeError, ...]

    def to_json(self) -> dict[str, Any]:
        """An entry of `layer_errors` of `run.json`."""
        return asdict(self)


def layer_errors(
    network: "SpanDeploy", quantized: "QuantizedSpan", frame: Frame, *, artifact: str, image: str
) -> LayerErrors:
    """The error of every tensor of a quantized network, simulated in PyTorch, on the middle of one picture.

    What comes before rounding multiplies tensors of the blocks by a factor per channel, puts their channels
    in another order and in groups, mixes those of others by a matrix, the image's with a channel of ones, and
    takes from `conv_cat` what a pixel alone tells of it. That is no error: it is found by correlation and
    least squares and put on the float network's tensors too, which takes a little of the error as well.

    Args:
        network: the folded float network.
        quantized: what became of it.
        frame: (H, W, C), the low-resolution picture.
        artifact: recorded as it is, as is `image`.
        image: its name.
    """
    import torch

    from quantize.recipe import recipe_named
    from quantize.rewrite import rewrite
    from quantize.simulation import simulate

    crop = _middle(frame)
    lr = torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1)[None])).float() / 255
    nodes = rewrite(network, activation_bits=recipe_named(quantized.recipe).activation_bits)
    expected: dict[str, Tensor] = {}
    rewriting = _Rewriting(nodes, quantized.network, expected)
    found: list[NodeError] = []

    def keep(name: str, value: "Tensor") -> "Tensor":
        expected[name] = value
        return value

    def compare(name: str, value: "Tensor") -> None:
        op, aim = quantized.network.op_of(name), rewriting.of(name, value)
        if op is not None:
            found.append(NodeError(name=name, op=op, relative_error=_relative(value, aim)))

    with torch.no_grad():
        nodes.run(lr, tensor=keep)
        simulate(quantized, lr, seen=compare)
    return LayerErrors(
        artifact=artifact,
        recipe=quantized.recipe,
        image=image,
        input_hw=(crop.shape[0], crop.shape[1]),
        nodes=tuple(found),
    )


def _middle(frame: Frame) -> Frame:
    height, width = (min(side, CROP_SIDE) for side in frame.shape[:2])
    top, left = (frame.shape[0] - height) // 2, (frame.shape[1] - width) // 2
    return frame[top : top + height, left : left + width]


class _Rewriting:
    """What the float network's tensors are once they have the channels of the quantized network's.

    Attributes:
        nodes: the float network, rewritten only.
        made: the quantized network's nodes.
        expected: the float network's tensors.
        aims: the same with the other's channels, by the other's names.
        scaled: tensors of the quantized network that may have a factor per channel.
    """

    def __init__(self, nodes: "SpanNodes", made: "SpanNodes", expected: "Mapping[str, Tensor]") -> None:
        from quantize.rewrite import MASKS, OUTPUT_MASK, TWIN

        self.nodes, self.made, self.expected = nodes, made, expected
        self.mixed = {*nodes.mixed, *MASKS}
        twins = {node.inputs[0] for node in made.nodes if node.name.endswith(TWIN)}
        products = {node.name for node in made.nodes if node.op == "mul" and node.inputs[0] in twins}
        grouped = made.grouped().keys()
        self.scaled = {name for group in nodes.scaled for name in group} | twins | products | grouped
        self.image = OUTPUT_MASK
        self.aims: dict[str, Tensor] = {}

    def of(self, name: str, value: "Tensor") -> "Tensor":
        """What a tensor of the quantized network would be without rounding, as near as `value` tells."""
        self.aims[name] = self._of(name, value)
        return self.aims[name]

    def _of(self, name: str, value: "Tensor") -> "Tensor":
        import torch

        node = next((node for node in self.made.nodes if node.name == name), None)
        known = name if name in self.expected else GROUP_NUMBER.sub("", name)
        if node is not None and (node.op == "concat" or node.op != self.nodes.op_of(known)):
            return self.made.compute(node, [self.aims[source] for source in node.inputs])
        plain = self.expected[known]
        if name in self.nodes.mixed and self.image in self.nodes.tensors():
            plain = torch.cat([plain, self.expected[self.image]], dim=1)
        if name in self.mixed:
            return _mixed(plain, value)
        if not name.startswith(REARRANGED):
            return plain
        return _matched(plain, value, factors=name in self.scaled or name not in self.expected)


def _matched(plain: "Tensor", value: "Tensor", *, factors: bool) -> "Tensor":
    """For every channel of `value` the one of `plain` that it correlates with most, times the best factor."""
    ours, theirs = (one.double().transpose(0, 1).flatten(1) for one in (value, plain))
    products, power = ours @ theirs.T, theirs.square().sum(1).clamp_min(1e-30)
    best = (products.square() / power).argmax(1)
    if not factors:
        return plain[:, best]
    found = products.gather(1, best[:, None])[:, 0] / power[best]
    return plain[:, best] * found.to(plain.dtype).view(1, -1, 1, 1)


def _mixed(plain: "Tensor", value: "Tensor") -> "Tensor":
    """`plain` times the matrix over channels that comes nearest to `value`."""
    import torch

    given, wanted = (tensor.double().transpose(0, 1).flatten(1).T for tensor in (plain, value))
    matrix = torch.linalg.lstsq(given, wanted, driver="gelsd").solution
    return torch.einsum("nihw,io->nohw", plain.double(), matrix).to(plain.dtype)


def _relative(value: "Tensor", aim: "Tensor") -> float:
    """Mean squared error over the variance of `aim`; over its power where it does not vary."""
    variance = (aim - aim.mean((0, 2, 3), keepdim=True)).square().mean()
    signal = float(variance) or float(aim.square().mean()) or 1.0
    return float((value - aim).square().mean()) / signal
