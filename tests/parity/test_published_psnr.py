"""Official weights give the published PSNR-Y: it guards loader, network, reduction and metric at once."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from edge_eval.metrics import psnr_y_db
from edge_eval.resize import downscale, modcrop
from edge_eval.runner import Frame, to_frame, to_image
from edge_eval.tolerances import PUBLISHED_PSNR_Y_DB, limit
from models import SpanDeploy, load_checkpoint, reparameterize

PUBLISHED_DB = {
    (dataset, scale): published_db
    for scale, row in PUBLISHED_PSNR_Y_DB.items()
    for dataset, published_db in row.items()
}


def upscaled(network: SpanDeploy, frame: Frame) -> Frame:
    batch = torch.from_numpy(to_image(frame)).permute(2, 0, 1)[None]
    with torch.no_grad():
        return to_frame(network(batch)[0].permute(1, 2, 0).numpy())


def mean_psnr_y_db(network: SpanDeploy, folder: Path, scale: int) -> float:
    values = []
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in {".png", ".jpg"}):
        truth = modcrop(np.asarray(Image.open(path).convert("RGB")), scale)
        value = psnr_y_db(upscaled(network, downscale(truth, scale)), truth, border=scale)
        assert value is not None
        values.append(value)
    return float(np.mean(values))


@pytest.mark.parametrize(
    ("dataset", "scale"),
    [
        pytest.param(dataset, scale, marks=() if dataset == "Set5" else pytest.mark.slow)
        for dataset, scale in PUBLISHED_DB
    ],
)
def test_published_psnr(shared_weights: Path, shared_images: Path, dataset: str, scale: int) -> None:
    checkpoint = load_checkpoint(shared_weights / f"spanx{scale}_ch48_deploy.pth")
    found = mean_psnr_y_db(reparameterize(checkpoint.network), shared_images / dataset, scale)
    print(f"{dataset} x{scale}: {found:.4f} dB, published {PUBLISHED_DB[dataset, scale]:.2f} dB")
    assert abs(found - PUBLISHED_DB[dataset, scale]) <= limit("published_psnr_y")


def test_a_wrong_normalization_is_seen(shared_weights: Path, shared_images: Path) -> None:
    """Negative control: the mean of other training images costs far more than the tolerance."""
    checkpoint = load_checkpoint(shared_weights / "spanx4_ch48_deploy.pth", rgb_mean=(0.5, 0.5, 0.5))
    found = mean_psnr_y_db(reparameterize(checkpoint.network), shared_images / "Set5", 4)
    assert abs(found - PUBLISHED_DB["Set5", 4]) > 2 * limit("published_psnr_y")
