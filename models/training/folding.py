"""Training in the branches of Conv3XC at the price of the folded network: the fold is part of the graph."""

import torch
from torch import Tensor, nn

from ..deploy import SpanDeploy
from ..reparam import folded_state
from ..span import Span


class FoldedSpan(nn.Module):
    """A `Span` that folds itself on every call and runs as plain convolutions, gradients flowing through.

    Output and gradients equal those of the training form up to rounding, since the fold is exact; a step
    costs one 3x3 convolution per layer and the products of small matrices instead of five convolutions at
    twice the channels.

    Attributes:
        span: the network that is trained; its parameters are this module's only ones.
    """

    def __init__(self, span: Span) -> None:
        super().__init__()
        self.span = span
        with torch.device("meta"):
            # In a tuple, so that the skeleton's parameters are not this module's.
            self._graph = (SpanDeploy(span.config),)

    def forward(self, lr_nchw: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] -> (N, C_out, s*H, s*W), unclipped.

        Under autocast the fold stays in the parameters' own precision.
        """
        with torch.autocast(lr_nchw.device.type, enabled=False):
            state = folded_state(self.span)
        upscaled: Tensor = torch.func.functional_call(
            self._graph[0], {**state, "mean": self.span.mean}, (lr_nchw,)
        )
        return upscaled
