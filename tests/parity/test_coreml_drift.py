"""Float Core ML files of the shared checkpoints against PyTorch, on real images, before rounding."""

import platform
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from convert import Sizes, Source, to_coreml
from edge_eval.mil import Machine, load_program
from edge_eval.tolerances import limit
from models import load_checkpoint, reparameterize

CROPS = {
    "Set5/butterfly.png": (20, 50),
    "Set14/baboon.png": (60, 40),
    "Set14/ppt3.png": (100, 60),
}
SIZE = (48, 64)
CHECKPOINTS = (
    "spanx4_ch48_deploy",
    "spanx2_ch48_deploy",
    "ntire2025_team46_span_ch28",
    "ntire2025_team24_spanf_ch32",
)
AT_LEAST_DB = {recipe: limit(f"float_drift_{recipe}") for recipe in ("fp32", "fp16")}


@pytest.fixture(scope="module", params=CHECKPOINTS)
def loaded(request, shared_weights):
    checkpoint = load_checkpoint(shared_weights / f"{request.param}.pth")
    return checkpoint, reparameterize(checkpoint.network)


@pytest.fixture(scope="module")
def crops(shared_images):
    """Frames (48, 64, 3) `uint8` of three images at full resolution."""
    pixels = {name: np.asarray(Image.open(shared_images / name).convert("RGB")) for name in CROPS}
    return {
        name: np.ascontiguousarray(pixels[name][y : y + SIZE[0], x : x + SIZE[1]])
        for name, (y, x) in CROPS.items()
    }


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("coreml-drift")

    def make(loaded, recipe, io):
        checkpoint, network = loaded
        out = folder / f"{checkpoint.name}_{recipe}_{io}.mlpackage"
        if not out.exists():
            source = Source(name=checkpoint.name, sha256=checkpoint.sha256)
            to_coreml(network, recipe=recipe, sizes=Sizes.fixed(*SIZE), source=source, out=out, io=io)
        return out

    return make


def drift_psnr_db(network, machine, pixels, io):
    """PSNR between the package's and PyTorch's outputs in [0, 1], for images after clipping."""
    lr = torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy()).float() / 255
    with torch.no_grad():
        reference = network(lr).numpy()
    given = pixels if io == "image" else lr.numpy()
    got = machine.run({"image": given}, raw=True)["upscaled"].astype(np.float64)
    if io == "image":
        got, reference = got / 255, reference.clip(0, 1)
    return float(-10 * np.log10(np.square(got - reference).mean()))


@pytest.mark.parametrize("io", ["image", "tensor"])
@pytest.mark.parametrize("recipe", AT_LEAST_DB)
def test_drift(loaded, packages, crops, recipe, io):
    machine = Machine(load_program(packages(loaded, recipe, io)))
    drift = {name: drift_psnr_db(loaded[1], machine, pixels, io) for name, pixels in crops.items()}
    print(loaded[0].name, recipe, io, {name: round(db, 1) for name, db in drift.items()})
    assert min(drift.values()) >= AT_LEAST_DB[recipe]


def test_the_official_x4_program_is_minimal(packages, shared_weights):
    checkpoint = load_checkpoint(shared_weights / "spanx4_ch48_deploy.pth")
    program = load_program(packages((checkpoint, reparameterize(checkpoint.network)), "fp16", "image"))
    assert Counter(op.kind for op in program.operations if op.kind != "const") == {
        **{"sub": 1, "cast": 2, "conv": 22, "silu": 12, "add": 6, "scaled_tanh": 6, "mul": 6},
        **{"concat": 1, "pixel_shuffle": 1, "clip": 1},
    }


def test_a_slightly_wrong_network_is_seen(loaded, packages, crops):
    machine = Machine(load_program(packages(loaded, "fp16", "image")))
    wrong = reparameterize(loaded[1])
    wrong.block_1.c1_r.bias.add_(0.2)
    assert min(drift_psnr_db(wrong, machine, pixels, "image") for pixels in crops.values()) < 65


@pytest.mark.skipif(platform.system() != "Darwin", reason="Core ML itself runs on macOS only")
@pytest.mark.parametrize("recipe", AT_LEAST_DB)
def test_the_emulator_agrees_with_core_ml(loaded, packages, crops, recipe):
    from edge_eval import open_runner

    path = packages(loaded, recipe, "tensor")
    mac, emulated = open_runner(path, runtime="coreml"), open_runner(path, runtime="mil")
    for pixels in crops.values():
        image = pixels.astype(np.float32) / np.float32(255)
        error = np.square(mac.run(image).astype(np.float64) - emulated.run(image)).mean()
        assert -10 * np.log10(error) >= AT_LEAST_DB["fp16"]
