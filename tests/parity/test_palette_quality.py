"""Palettized Core ML files of the official x4 network against the float network, on real images."""

import numpy as np
import pytest
import torch
from PIL import Image

from convert import Sizes, Source, to_coreml
from edge_eval.mil import Machine, load_program
from edge_eval.resize import imresize
from models import load_checkpoint, reparameterize

IMAGES = ("Set5/baby.png", "Set5/butterfly.png", "Set14/monarch.png", "Set14/ppt3.png", "Set14/man.png")
SIDE = 64
MOST_DROP_DB = {"pal8": 0.05, "pal6": 0.15, "pal4": 1.5}
"""Mean PSNR drop over the crops. Measured: 0.0, 0.02 and 0.4; plain k-means: 0.3, 7 and 14."""

pytestmark = pytest.mark.slow


def psnr_db(frame, reference):
    return float(20 * np.log10(255) - 10 * np.log10(np.square(frame.astype(np.float64) - reference).mean()))


@pytest.mark.parametrize("recipe", MOST_DROP_DB)
def test_palettes_keep_the_picture(tmp_path, shared_weights, shared_images, recipe):
    checkpoint = load_checkpoint(shared_weights / "spanx4_ch48_deploy.pth")
    network = reparameterize(checkpoint.network)
    artifact = to_coreml(
        network,
        recipe=recipe,
        sizes=Sizes.fixed(SIDE, SIDE),
        source=Source(name=checkpoint.name, sha256=checkpoint.sha256),
        out=tmp_path / "x.mlpackage",
    )
    machine = Machine(load_program(artifact.path))
    drops = {}
    for name in IMAGES:
        hr = np.asarray(Image.open(shared_images / name).convert("RGB"))[: 4 * SIDE, : 4 * SIDE]
        lr = np.rint(imresize(hr.astype(np.float64), 1 / 4)).clip(0, 255).astype(np.uint8)
        with torch.no_grad():
            upscaled = network(torch.from_numpy(lr.transpose(2, 0, 1)[None] / np.float32(255)))
        exact = np.rint(upscaled[0].numpy().transpose(1, 2, 0).clip(0, 1) * 255)
        drops[name] = psnr_db(exact, hr) - psnr_db(machine.run({"image": lr})["upscaled"], hr)
    print(recipe, {name: round(drop, 3) for name, drop in drops.items()})
    assert np.mean(list(drops.values())) < MOST_DROP_DB[recipe]
