"""Where a quantized network's error comes from: every tensor of it held against the float network's."""

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

    The rewriting before quantization multiplies some tensors by a factor per channel, or mixes their
    channels by a matrix, the image's with a channel of ones, and takes from `conv_cat` what a pixel alone
    tells of it. That is no error: it is fitted by least squares and put on the float network's tensors too,
    which takes a little of the error as well.

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
    rewriting = _Rewriting(nodes)
    expected: dict[str, Tensor] = {}
    found: list[NodeError] = []

    def keep(name: str, value: "Tensor") -> "Tensor":
        expected[name] = value
        return value

    def compare(name: str, value: "Tensor") -> None:
        op = nodes.op_of(name)
        if op is not None:
            aim = rewriting.of(name, expected, value)
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
    """Which tensors the rewriting may have changed, and how."""

    def __init__(self, nodes: "SpanNodes") -> None:
        from quantize.rewrite import MASKS, OUTPUT_MASK

        self.nodes = nodes
        self.scaled = {name for group in nodes.scaled for name in group}
        self.mixed = {*nodes.mixed, *MASKS}
        self.image = OUTPUT_MASK

    def of(self, name: str, expected: "Mapping[str, Tensor]", value: "Tensor") -> "Tensor":
        """The float network's tensor, with the channels that `value` has after the rewriting."""
        import torch

        plain = expected[name]
        if name in self.nodes.joined():
            parts = self.nodes.parts(name).items()
            return torch.cat([self.of(source, expected, value[:, at]) for source, at in parts], dim=1)
        if name in self.nodes.mixed and self.image in self.nodes.tensors():
            plain = torch.cat([plain, expected[self.image]], dim=1)
        if name in self.mixed:
            return _mixed(plain, value)
        if name in self.scaled:
            energy = plain.square().sum((0, 2, 3), keepdim=True)
            return plain * ((value * plain).sum((0, 2, 3), keepdim=True) / energy.clamp_min(1e-30))
        return plain


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
