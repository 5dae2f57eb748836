"""TFLite files on emulated Arm cores against this computer's XNNPACK; needs `span-edge prepare-aarch64`.

What may differ, and why:

- Integer files must give the same bytes, on every core, with or without dot product. XNNPACK's integer
  kernels accumulate exactly in 32 bits; the rescaling to 8 bits multiplies in float32 and rounds half to even
  on both architectures.
- Float files differ in the last bits: a kernel for another vector width adds in another order. After rounding
  to 8 bits that moves a few pixels, which lie on the border between two levels, by one.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from convert import to_tflite
from convert.artifact import Source
from edge_eval.runner import FloatImage
from edge_eval.runtimes.table import RUNTIMES, open_runner
from edge_eval.tolerances import limit
from models import SpanDeploy

pytestmark = pytest.mark.slow

CORES = [name for name in RUNTIMES if name.startswith("tflite-aarch64")]
FLOAT_RECIPES = ("fp32", "fp16")
SIZE = (24, 32)


@pytest.fixture(params=CORES)
def core(request: pytest.FixtureRequest) -> Iterator[str]:
    name: str = request.param
    reason = RUNTIMES[name].unavailable()
    if reason:
        pytest.skip(reason)
    yield name


@pytest.fixture(scope="module")
def picture(image: FloatImage) -> FloatImage:
    return np.ascontiguousarray(image[: SIZE[0], : SIZE[1]])


@pytest.fixture(scope="module", params=FLOAT_RECIPES)
def float_file(
    request: pytest.FixtureRequest, network: SpanDeploy, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("recipe") / f"{request.param}.tflite"
    source = Source(name="random", sha256="0" * 64)
    return to_tflite(network, recipe=request.param, size=SIZE, source=source, out=out).path


def test_integer_files_give_the_same_bytes(core: str, tflite_uint8: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (16, 24, 3)).astype(np.float32) / np.float32(255)
    expected = open_runner(tflite_uint8, runtime="tflite", threads=1).run(pixels)
    assert len(np.unique(expected)) > 50
    runner = open_runner(tflite_uint8, runtime=core, threads=1)
    assert runner.delegated
    np.testing.assert_array_equal(runner.run(pixels), expected)
    pixels[0, 0] = 1 - pixels[0, 0]
    assert not np.array_equal(runner.run(pixels), expected)


def test_float_files_differ_in_the_last_bits(core: str, float_file: Path, picture: FloatImage) -> None:
    expected = open_runner(float_file, runtime="tflite", threads=1).run(picture)
    got = open_runner(float_file, runtime=core, threads=1).run(picture)
    largest = np.abs(expected).max()
    assert np.abs(got - expected).max() <= limit("arm_float") * largest
