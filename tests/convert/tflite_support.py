"""Small networks with known random weights, and what runs their files."""

from pathlib import Path

import numpy as np
import torch

from convert import Source
from models import SpanConfig, SpanDeploy

SOURCE = Source(name="random", sha256="0" * 64)
SIZE = (12, 16)


def random_network(**config: object) -> SpanDeploy:
    """A folded network with random weights, small enough to convert in seconds."""
    torch.manual_seed(3)
    settings = {"feature_channels": 8, "concat_channels": 6, "upscale": 2, **config}
    network = SpanDeploy(SpanConfig(**settings)).eval().requires_grad_(False)  # type: ignore[arg-type]
    for conv in network.convolutions().values():
        conv.weight.mul_(1.7)
    return network


def run_tflite(path: Path, image: np.ndarray, kernels: str = "AUTO") -> np.ndarray:
    """One (H, W, C) image through a TFLite file at the image's own size, by the named set of kernels."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(str(path), experimental_op_resolver_type=OpResolverType[kernels], num_threads=1)
    (given,) = interpreter.get_input_details()
    interpreter.resize_tensor_input(given["index"], [1, *image.shape])
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], image[None])
    interpreter.invoke()
    (got,) = interpreter.get_output_details()
    return interpreter.get_tensor(got["index"])[0]


def run_torch(network: torch.nn.Module, image: np.ndarray) -> np.ndarray:
    """One (H, W, C) image in [0, 1] through a network."""
    lr = torch.from_numpy(image.transpose(2, 0, 1)[None].copy())
    with torch.no_grad():
        return network(lr)[0].numpy().transpose(1, 2, 0)


def snr_db(got: np.ndarray, expected: np.ndarray) -> float:
    """How much stronger what was expected is than the error, in decibels."""
    error = np.square(got.astype(np.float64) - expected).mean()
    return float(10 * np.log10(np.square(expected.astype(np.float64)).mean() / error))
