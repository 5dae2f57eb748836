"""Small networks, folded, with random weights of a trained network's kind, and a few noisy frames."""

import numpy as np
import pytest
import torch

from models import SpanConfig, SpanDeploy

CONFIGS = {
    "span": SpanConfig(feature_channels=8, concat_channels=6, upscale=2),
    "spanf": SpanConfig(network="spanf", feature_channels=8, concat_channels=8, upscale=2, normalize=False),
}


@pytest.fixture(params=sorted(CONFIGS))
def network(request: pytest.FixtureRequest) -> SpanDeploy:
    """Every network of the table, small, with outputs in the pixels' range."""
    return small_network(request.param)


def small_network(name: str, *, seed: int = 0) -> SpanDeploy:
    torch.manual_seed(seed)
    network = SpanDeploy(CONFIGS[name]).eval().requires_grad_(False)
    if CONFIGS[name].normalize:
        network.conv_1.weight /= 40
    last = network.upsampler[0] if name == "span" else network.conv_2
    last.bias += 0.5
    return network


@pytest.fixture
def frames() -> list[np.ndarray]:
    """Smooth coloured noise, like photographs in its spectrum: (40, 36, 3) uint8."""
    random = np.random.default_rng(0)
    return [_frame(random) for _ in range(4)]


def _frame(random: np.random.Generator) -> np.ndarray:
    coarse = torch.from_numpy(random.random((1, 3, 10, 9))).float()
    smooth = torch.nn.functional.interpolate(coarse, size=(40, 36), mode="bicubic")
    noisy = smooth + 0.05 * torch.from_numpy(random.standard_normal((1, 3, 40, 36))).float()
    return (noisy[0].clamp(0, 1) * 255).round().permute(1, 2, 0).numpy().astype(np.uint8)
