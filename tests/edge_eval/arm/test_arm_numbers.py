"""TFLite files on emulated Arm cores against this computer's XNNPACK; needs `span-edge prepare-aarch64`.

What may differ, and why:

- Integer files must give the same bytes, on every core, with or without dot product. XNNPACK's integer
  kernels accumulate exactly in 32 bits; the rescaling to 8 bits multiplies in float32 and rounds half to even
  on both architectures.
- Float files differ in the last bits: a kernel for another vector width adds in another order. After rounding
  to 8 bits that moves a few pixels, which lie on the border between two levels, by one.
"""

from pathlib import Path

import numpy as np
import pytest

from convert import to_tflite
from convert.artifact import Source
from edge_eval.arm.compare import compare_cores
from edge_eval.runner import FloatImage, to_frame
from edge_eval.runtimes.table import RUNTIMES, open_runner
from edge_eval.tolerances import limit
from models import SpanDeploy
from quantize import RECIPES, quantize_ptq

pytestmark = pytest.mark.slow

CORES = [name for name in RUNTIMES if name.startswith("tflite-aarch64")]
SIZE = (24, 32)
ON_TFLITE = [name for name, row in RECIPES.items() if "tflite" in row.formats]


@pytest.fixture(params=CORES)
def core(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    reason = RUNTIMES[name].unavailable()
    if reason:
        pytest.skip(reason)
    return name


@pytest.fixture(scope="module")
def picture(image: FloatImage) -> FloatImage:
    return np.ascontiguousarray(image[: SIZE[0], : SIZE[1]])


@pytest.fixture(scope="module", params=ON_TFLITE)
def recipe_file(
    request: pytest.FixtureRequest,
    network: SpanDeploy,
    image: FloatImage,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The network by each recipe that TFLite has; quantized with the least effort."""
    recipe: str = request.param
    out = tmp_path_factory.mktemp("recipe") / f"{recipe}.tflite"
    source = Source(name="random", sha256="0" * 64)
    if recipe in ("fp32", "fp16"):
        return to_tflite(network, recipe=recipe, size=SIZE, source=source, out=out).path
    frames = [to_frame(image), to_frame(image[::-1].copy())]
    quantized = quantize_ptq(network, recipe=recipe, images=frames, effort="smoke")
    return to_tflite(quantized, recipe=recipe, size=SIZE, source=source, out=out).path


def test_every_recipe_on_every_core(core: str, recipe_file: Path, picture: FloatImage) -> None:
    (result,) = compare_cores(recipe_file, picture, runtimes=[core])
    print(result)
    assert result.explained, result
    largest = float(np.abs(open_runner(recipe_file, runtime="tflite", threads=1).run(picture)).max())
    assert result.largest <= limit("arm_float") * largest, result


def test_integer_files_give_the_same_bytes(core: str, tflite_uint8: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (16, 24, 3)).astype(np.float32) / np.float32(255)
    expected = open_runner(tflite_uint8, runtime="tflite", threads=1).run(pixels)
    assert len(np.unique(expected)) > 50
    runner = open_runner(tflite_uint8, runtime=core, threads=1)
    assert runner.delegated
    np.testing.assert_array_equal(runner.run(pixels), expected)
    pixels[0, 0] = 1 - pixels[0, 0]
    assert not np.array_equal(runner.run(pixels), expected)
