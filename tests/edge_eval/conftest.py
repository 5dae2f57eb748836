"""One small random network, as PyTorch, as TFLite files and as ML Programs."""

from pathlib import Path

import numpy as np
import pytest
import torch

from convert import to_tflite
from convert.artifact import Artifact, Source
from models import SpanConfig, SpanDeploy

SIZE = (48, 56)
SOURCE = Source(name="random", sha256="0" * 64)


@pytest.fixture(scope="session")
def network() -> SpanDeploy:
    """A folded SPAN x2 with 8 channels whose far corners of the receptive field still matter."""
    torch.manual_seed(11)
    deploy = SpanDeploy(SpanConfig(feature_channels=8, concat_channels=6, upscale=2, img_range=1.0))
    for conv in deploy.convolutions().values():
        torch.nn.init.normal_(conv.weight, std=1.4 / float(conv.weight[0].numel()) ** 0.5)
        torch.nn.init.normal_(conv.bias, std=0.1)
    return deploy.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def tflite_float(network: SpanDeploy, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The network as float32 TFLite."""
    out = tmp_path_factory.mktemp("float") / "float.tflite"
    return to_tflite(network, recipe="fp32", size=SIZE, source=SOURCE, out=out)


@pytest.fixture(scope="session")
def tflite_uint8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An integer TFLite file, `uint8` in and out, x2, made for 16x24; not from a network of ours."""
    tf = pytest.importorskip("tensorflow", reason="the optional tensorflow makes the integer test file")
    rng = np.random.default_rng(2)
    kernel = tf.constant(rng.normal(0, 0.15, (3, 3, 3, 12)), tf.float32)

    @tf.function(input_signature=[tf.TensorSpec((1, 16, 24, 3))])
    def upscale(image: object) -> object:
        return tf.nn.depth_to_space(tf.nn.relu6(tf.nn.conv2d(image, kernel, 1, "SAME") + 0.3), 2)

    converter = tf.lite.TFLiteConverter.from_concrete_functions([upscale.get_concrete_function()])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    samples = rng.random((8, 1, 16, 24, 3)).astype(np.float32)
    samples[0], samples[1] = 0, 1
    converter.representative_dataset = lambda: ([sample] for sample in samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    path = tmp_path_factory.mktemp("uint8") / "uint8.tflite"
    path.write_bytes(converter.convert())
    return path


@pytest.fixture(scope="session")
def image() -> np.ndarray:
    """Smooth shapes with noise, (70, 61, 3) in [0, 1], at exact multiples of 1/255."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:70, 0:61]
    waves = [np.sin(x / a + y / b) for a, b in ((3, 7), (5, 4), (9, 11))]
    levels = np.clip(127 + 90 * np.stack(waves, 2) + rng.normal(0, 12, (70, 61, 3)), 0, 255)
    return np.rint(levels).astype(np.float32) / np.float32(255)
