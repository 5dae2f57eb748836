"""The networks that can be loaded, folded, quantized and converted: one row each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from . import span_graph, spanf_graph
from .blocks import Conv3
from .config import Dimensions, NetworkName, SpanConfig


@dataclass(frozen=True, kw_only=True)
class Network:
    """One architecture.

    Attributes:
        title: its name for people.
        telltale: the part that no other network here has, by which its checkpoints are recognised.
        layers: the named parts for a config, the 3x3 convolutions made by a factory.
        forward: the joined parts on a normalized image.
        dimensions: the sizes, from weight shapes under folded names.
        normalizes: whether it subtracts a mean and scales the image, unless a `no_norm` marker says not to.
        parallel: convolutions beside the longest path, which do not add to the receptive field.
    """

    title: str
    telltale: str
    layers: Callable[[SpanConfig, Conv3], dict[str, nn.Module]]
    forward: Callable[[Mapping[str, nn.Module], Tensor], Tensor]
    dimensions: Callable[[Mapping[str, tuple[int, ...]]], Dimensions]
    normalizes: bool
    parallel: tuple[str, ...] = ()


NETWORKS: dict[NetworkName, Network] = {
    "span": Network(
        title="SPAN",
        telltale="upsampler.0",
        layers=span_graph.layers,
        forward=span_graph.forward,
        dimensions=span_graph.dimensions,
        normalizes=True,
    ),
    "spanf": Network(
        title="SPAN-F",
        telltale="conv_near",
        layers=spanf_graph.layers,
        forward=spanf_graph.forward,
        dimensions=spanf_graph.dimensions,
        normalizes=False,
        parallel=("conv_near",),
    ),
}
"""Every network. A new one is a file with `layers`, `forward` and `dimensions`, a name, and a row here."""
