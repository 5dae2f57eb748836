"""Areas of pure red, green or magenta keep their colour in integers, though photographs hold few of them."""

from pathlib import Path

import pytest
import torch

from edge_eval.datasets import bundled_photographs
from edge_eval.tolerances import limit
from models import load_checkpoint, reparameterize
from quantize import balance, quantize_ptq, simulate

pytestmark = pytest.mark.slow

NETWORKS = (
    "spanx4_ch48_deploy.pth",
    "spanx2_ch48_deploy.pth",
    "ntire2025_team46_span_ch28.pth",
    "ntire2025_team24_spanf_ch32.pth",
)


def errors(path: Path) -> torch.Tensor:
    """Squared error of each pure colour, in 8-bit levels, away from the border: (8,)."""
    checkpoint = load_checkpoint(path)
    network, scale = reparameterize(checkpoint.network), checkpoint.config.upscale
    frames = [sample.lr for sample in bundled_photographs("calibration", scale=scale)]
    made = quantize_ptq(network, recipe="w8a8", images=frames)
    colours = balance.pure_colours(3)
    inside = slice(scale * colours.shape[2] // 3, 2 * scale * colours.shape[2] // 3)
    with torch.no_grad():
        difference = (simulate(made, colours) - network(colours).clamp(0, 1))[..., inside, inside]
    found = (255 * difference).square().mean((1, 2, 3))
    print(path.name, [round(value, 1) for value in found.tolist()])
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_pure_colours_stay(shared_weights: Path, name: str) -> None:
    assert errors(shared_weights / name).max() < limit("pure_colours")


def test_a_mixture_from_photographs_alone_clips_them(
    shared_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(balance, "COLOURS_SHARE", 0.0)
    assert errors(shared_weights / NETWORKS[0]).max() > 2 * limit("pure_colours")
