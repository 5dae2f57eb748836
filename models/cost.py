"""What a network costs: multiply-accumulates and parameters, layer by layer."""

from dataclasses import dataclass

import torch

from .config import SpanConfig
from .deploy import SpanDeploy


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """One convolution of the folded network.

    Attributes:
        name: its name in `SpanDeploy`.
        kernel: height and width.
        in_channels: channels in.
        out_channels: channels out.
        groups: 1, or the number of channels in where it is depthwise.
        macs: multiply-accumulates per LR pixel.
        parameters: weights and biases.
    """

    name: str
    kernel: tuple[int, int]
    in_channels: int
    out_channels: int
    groups: int
    macs: int
    parameters: int


def layer_costs(network: SpanConfig | SpanDeploy) -> tuple[LayerCost, ...]:
    """The cost of every convolution of the folded network, in the order of the data."""
    if isinstance(network, SpanConfig):
        with torch.device("meta"):
            network = SpanDeploy(network)
    return tuple(
        LayerCost(
            name=name,
            kernel=(conv.kernel_size[0], conv.kernel_size[1]),
            in_channels=conv.in_channels,
            out_channels=conv.out_channels,
            groups=conv.groups,
            macs=conv.weight.numel(),
            parameters=sum(parameter.numel() for parameter in conv.parameters()),
        )
        for name, conv in network.convolutions().items()
    )


def count_macs(network: SpanConfig | SpanDeploy) -> int:
    """Multiply-accumulates of all convolutions per LR pixel; times H*W for an image.

    Every convolution runs at low resolution, so it takes as many as it has weights.
    """
    return sum(layer.macs for layer in layer_costs(network))


def count_parameters(network: SpanConfig | SpanDeploy) -> int:
    """Weights and biases of the folded network."""
    return sum(layer.parameters for layer in layer_costs(network))
