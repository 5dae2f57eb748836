"""What a convolution's weights are trained as: the weights themselves, or the branches of a Conv3XC.

Both give the weights in integer steps of their output channel. The branches are folded on every call, so that
a step costs the products of small matrices beside one convolution per layer.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from models.blocks import GAIN
from models.reparam import add_pointwise, chain_pointwise_first, chain_pointwise_last

TrainedName = Literal["folded", "branches"]


class Folded(nn.Module):
    """The weights themselves."""

    def __init__(self, units: Tensor) -> None:
        super().__init__()
        self.direct = nn.Parameter(units)

    def forward(self) -> Tensor:
        """(O, I, k, k)."""
        return self.direct


class Branches(nn.Module):
    """The branches of a Conv3XC, 1x1 -> k x k -> 1x1 beside a 1x1, and a direct k x k beside both.

    A folded checkpoint no longer has its branches, so new ones are made: random, as large as they are in
    training from scratch, and the direct kernel starts as what they do not make. Their sum is exact then.

    Args:
        units: (O, I, k, k), k odd: where training starts.
        seed: of the random branches.
    """

    def __init__(self, units: Tensor, *, seed: int) -> None:
        super().__init__()
        out, into, k, _ = units.shape
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(shape, generator=generator) * shape[1] ** -0.5)

        self.first = draw(GAIN * into, into, 1, 1)
        self.middle = draw(GAIN * out, GAIN * into, k, k)
        self.last = draw(out, GAIN * out, 1, 1)
        self.skip = draw(out, into, 1, 1)
        self.direct = nn.Parameter(torch.zeros_like(units))
        with torch.no_grad():
            self.direct.copy_(units - self())

    def forward(self) -> Tensor:
        """(O, I, k, k); the branches have no biases, the layer's own is trained directly."""
        nothing = self.middle.new_zeros(self.middle.shape[0])
        with torch.autocast(self.direct.device.type, enabled=False):
            kernel, bias = chain_pointwise_last(self.middle, nothing, self.last, nothing[: len(self.last)])
            kernel, bias = chain_pointwise_first(kernel, bias, self.first, nothing.new_zeros(len(self.first)))
            kernel, _ = add_pointwise(kernel, bias, self.skip, bias)
        return kernel + self.direct


def trained_as(name: TrainedName, units: Tensor, *, seed: int) -> Folded | Branches:
    """The parameters of one convolution; 1x1 kernels have no branches in the network either.

    Args:
        name: row of the two ways.
        units: (O, I, k, k), weights in integer steps.
        seed: of random branches.
    """
    if name == "folded" or units.shape[-1] == 1:
        return Folded(units)
    return Branches(units, seed=seed)
