"""The folded network in PyTorch: the reference for every other runtime."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from quantize.quantized import QuantizedSpan
from quantize.simulation import simulate

from ..runner import FloatImage, require_image


class Simulation(nn.Module):
    """A quantized network as PyTorch computes it: integer arithmetic in float, see `quantize.simulate`."""

    def __init__(self, quantized: QuantizedSpan) -> None:
        super().__init__()
        self.quantized = quantized

    def forward(self, lr_nchw: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] to (N, C, s*H, s*W)."""
        return simulate(self.quantized, lr_nchw)


class TorchRunner:
    """A network in PyTorch's eager mode, CPU, float32. Any size goes unless one is pinned.

    `is_simulation` says that its time is not that of what it computes.
    """

    runtime = "torch"

    def __init__(
        self,
        network: nn.Module,
        *,
        channels: int,
        scale: int,
        threads: int,
        input_hw: tuple[int, int] | None = None,
    ) -> None:
        self.network = network
        self.is_simulation = isinstance(network, Simulation)
        self.channels = channels
        self.scale = scale
        self.threads = threads
        self.input_hw = input_hw

    def run(self, image: FloatImage) -> FloatImage:
        """Upscale one image; see `Runner.run`."""
        self.load(image)
        self.invoke()
        return np.ascontiguousarray(self._sr_nchw[0].numpy().transpose(1, 2, 0))

    def load(self, image: FloatImage) -> None:
        """Put an image where `invoke` finds it."""
        require_image(image, channels=self.channels, input_hw=self.input_hw)
        self._lr_nchw = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32))

    def invoke(self) -> None:
        """Run on the loaded image."""
        with torch.inference_mode(), torch_threads(self.threads):
            self._sr_nchw: torch.Tensor = self.network(self._lr_nchw)


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """PyTorch's thread count inside the block; it is global, so it is put back afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
