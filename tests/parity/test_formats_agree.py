"""TFLite and Core ML files of one quantized checkpoint: the same pixels, and the simulation's quality."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from convert import Sizes, Source, to_coreml, to_tflite
from edge_eval import metrics
from edge_eval.datasets import bundled_photographs, open_dataset
from edge_eval.runner import to_frame, to_image
from edge_eval.runtimes.table import open_runner
from edge_eval.tolerances import limit
from models import load_checkpoint, reparameterize
from quantize import quantize_ptq, simulate

pytestmark = pytest.mark.slow

NETWORK = "spanx4_ch48_deploy.pth"
SOURCE = Source(name=NETWORK, sha256="0" * 64)
RUNS = {
    "xnnpack": ("w8a8.tflite", "tflite"),
    "plain kernels": ("w8a8.tflite", "tflite-plain"),
    "core ml float16": ("float16.mlpackage", "mil"),
    "core ml float32": ("float32.mlpackage", "mil"),
}
"""Files and where they run."""


def test_formats_agree(tmp_path: Path, shared_weights: Path, shared_images: Path) -> None:
    frames = [sample.lr for sample in bundled_photographs("calibration", scale=4)]
    network = reparameterize(load_checkpoint(shared_weights / NETWORK).network)
    quantized = quantize_ptq(network, recipe="w8a8", images=frames)
    to_tflite(quantized, recipe="w8a8", size=(128, 128), source=SOURCE, out=tmp_path / "w8a8.tflite")
    for bits in (16, 32):
        sizes, out = Sizes.between((48, 48), (512, 512)), tmp_path / f"float{bits}.mlpackage"
        to_coreml(quantized, recipe="w8a8", sizes=sizes, source=SOURCE, out=out, float_bits=bits)
    pairs = [*itertools.combinations(["simulation", *RUNS], 2)]
    quality: dict[str, list[float]] = {}
    apart: dict[tuple[str, str], list[float]] = {}
    for sample in open_dataset(shared_images / "Set5", scale=4):
        image = to_image(sample.lr)
        simulated = simulate(quantized, torch.from_numpy(image).permute(2, 0, 1)[None])[0]
        outputs = {"simulation": to_frame(simulated.permute(1, 2, 0).numpy())}
        for name, (file, runtime) in RUNS.items():
            hw = sample.lr.shape[:2]
            runner = open_runner(tmp_path / file, runtime=runtime, threads=2, input_hw=(hw[0], hw[1]))
            outputs[name] = to_frame(runner.run(image))
        assert sample.hr is not None
        for name, output in outputs.items():
            quality.setdefault(name, []).append(metrics.psnr_y_db(output, sample.hr, border=4) or np.inf)
        for one, other in pairs:
            figure = metrics.psnr_rgb_db(outputs[one], outputs[other], border=0)
            apart.setdefault((one, other), []).append(np.inf if figure is None else figure)
    agreed = {pair: float(np.mean(figures)) for pair, figures in apart.items()}
    means = {name: float(np.mean(figures)) for name, figures in quality.items()}
    for (one, other), figure in agreed.items():
        print(f"{one} and {other}: {figure:.2f} dB")
    print(", ".join(f"{name} {mean:.3f} dB" for name, mean in means.items()))
    assert agreed["xnnpack", "core ml float32"] >= limit("formats_agree")
    assert agreed["simulation", "xnnpack"] == np.inf, "the same bytes"
    assert all(abs(mean - means["simulation"]) <= limit("formats_as_good") for mean in means.values())
