"""Small SPAN-like networks as packages, by the ordinary converter."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mil_programs import save_program
from torch import nn
from torch.nn import functional as F


class SmallSpan(nn.Module):
    """The folded SPAN's operations at a small size: two blocks, 8 channels, upscale 2."""

    def __init__(self, channels: int = 8, blocks: int = 2, upscale: int = 2, colors: int = 3) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.conv_1 = nn.Conv2d(colors, channels, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(3))
            for _ in range(blocks)
        )
        self.conv_2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_cat = nn.Conv2d(4 * channels, channels, 1)
        self.upsampler = nn.Conv2d(channels, colors * upscale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(upscale)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight.data *= 2.5  # so that the signal stays as large as the biases
        self.register_buffer("mean", torch.full((1, colors, 1, 1), 0.4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.conv_1((x - self.mean) * 2)
        out, kept = first, []
        for a, b, c in self.blocks:
            inner = F.silu(a(out))
            kept.append(inner)
            third = c(F.silu(b(inner)))
            out = (third + out) * (torch.sigmoid(third) - 0.5)
        joined = torch.cat([first, self.conv_2(out), kept[0], kept[-1]], dim=1)
        return self.shuffle(self.upsampler(self.conv_cat(joined)))


class PixelsOut(nn.Module):
    """A network on [0, 1] whose output is clipped and scaled to 0..255."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.clamp(self.inner(x) * 255, 0, 255)


def convert(network: nn.Module, path: Path, *, example: torch.Tensor, **options: Any) -> Path:
    """Convert by tracing; `options` go to `coremltools.convert`."""
    import coremltools as ct

    settings = {
        "outputs": [ct.TensorType("upscaled")],
        "minimum_deployment_target": ct.target.iOS17,
        **options,
    }
    traced = torch.jit.trace(network.eval(), example)
    ct.convert(traced, convert_to="mlprogram", skip_model_load=True, **settings).save(str(path))
    return path


def small_network(path: Path, *, precision: str = "FLOAT16", **options: Any) -> Path:
    """`SmallSpan` at 16x20."""
    import coremltools as ct

    settings = {"inputs": [ct.TensorType("image", shape=(1, 3, 16, 20))], **options}
    return convert(
        SmallSpan(),
        path,
        example=torch.rand(1, 3, 16, 20),
        compute_precision=getattr(ct.precision, precision),
        **settings,
    )


def constant_program(path: Path, values: dict[str, np.ndarray]) -> Path:
    """A program that returns nothing of use and keeps each value as `kept_<name>`."""
    import coremltools as ct
    from coremltools.converters.mil import Builder as mb

    @mb.program(input_specs=[mb.TensorSpec((3,))], opset_version=ct.target.iOS17)
    def program(one):
        for name, value in values.items():
            mb.identity(x=mb.const(val=value), name=f"kept_{name}")
        return mb.identity(x=one, name="done")

    return save_program(program, path, "CoreML7")
