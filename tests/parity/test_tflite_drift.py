"""Float TFLite files of the shared checkpoints against PyTorch, on real images, before rounding."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from convert import Source, to_tflite
from edge_eval.tolerances import limit
from models import Checkpoint, SpanDeploy, load_checkpoint, reparameterize

CHECKPOINTS = {
    "spanx4_ch48_deploy": "Set14/baboon.png",
    "spanx2_ch48_deploy": "Set5/butterfly.png",
    "ntire2025_team46_span_ch28": "Set5/butterfly.png",
    "ntire2025_team24_spanf_ch32": "Set14/baboon.png",
}
AT_LEAST_DB = {recipe: limit(f"float_drift_{recipe}") for recipe in ("fp32", "fp16")}


@pytest.fixture(scope="module", params=CHECKPOINTS.items(), ids=CHECKPOINTS.keys())
def loaded(request, shared_weights, shared_images):
    name, image = request.param
    checkpoint = load_checkpoint(shared_weights / f"{name}.pth")
    network = (
        checkpoint.network
        if isinstance(checkpoint.network, SpanDeploy)
        else reparameterize(checkpoint.network)
    )
    pixels = np.asarray(Image.open(shared_images / image).convert("RGB"))[60:108, 40:104]
    return checkpoint, network, pixels.astype(np.float32) / 255


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drift")

    def make(checkpoint: Checkpoint, network: SpanDeploy, recipe: str) -> Path:
        source = Source(name=checkpoint.name, sha256=checkpoint.sha256)
        out = folder / f"{checkpoint.name}_{recipe}.tflite"
        if not out.exists():
            to_tflite(network, recipe=recipe, size=(48, 64), source=source, out=out)
        return out

    return make


def drift_psnr_db(network: SpanDeploy, path: Path, image: np.ndarray, kernels: str) -> float:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(str(path), experimental_op_resolver_type=OpResolverType[kernels], num_threads=1)
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], [1, *image.shape])
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
    interpreter.invoke()
    got = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0].astype(np.float64)
    with torch.no_grad():
        expected = (
            network(torch.from_numpy(image.transpose(2, 0, 1)[None].copy()))[0].numpy().transpose(1, 2, 0)
        )
    return float(-10 * np.log10(np.square(got - expected).mean()))


@pytest.mark.parametrize("hw", [(48, 64), (37, 41)], ids=str)
@pytest.mark.parametrize("kernels", ["AUTO", "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "BUILTIN_REF"])
@pytest.mark.parametrize("recipe", AT_LEAST_DB)
def test_drift(loaded, files, recipe, kernels, hw):
    checkpoint, network, image = loaded
    path = files(checkpoint, network, recipe)
    drift = drift_psnr_db(network, path, image[: hw[0], : hw[1]], kernels)
    print(f"{checkpoint.name} {recipe} {kernels} {hw}: {drift:.1f} dB")
    assert drift >= AT_LEAST_DB[recipe]


def test_a_wrong_mean_is_seen(loaded, files):
    checkpoint, network, image = loaded
    path = files(checkpoint, network, "fp32")
    wrong = image + np.float32(1e-4)
    assert drift_psnr_db(network, path, image, "AUTO") > AT_LEAST_DB["fp32"]
    with torch.no_grad():
        moved = network(torch.from_numpy(wrong.transpose(2, 0, 1)[None].copy()))
        kept = network(torch.from_numpy(image.transpose(2, 0, 1)[None].copy()))
    assert -10 * torch.log10((moved - kept).square().mean()) < AT_LEAST_DB["fp32"]
