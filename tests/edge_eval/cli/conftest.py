"""A small random network as a file, two small images, and the command line run in this process."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click.testing
import numpy as np
import pytest
import torch
from PIL import Image

from convert.artifact import Artifact, sidecar_path
from convert.formats import read_artifact
from edge_eval.cli import span_edge
from models import Span, SpanConfig
from models.checkpoint import save_checkpoint

Invoke = Callable[..., click.testing.Result]

SIZE = (48, 44)
"""Low-resolution size that files are made for; one image is larger, one smaller."""


@pytest.fixture(scope="session")
def invoke() -> Invoke:
    """`span-edge` with arguments, in this process."""

    def call(*arguments: object) -> click.testing.Result:
        return click.testing.CliRunner().invoke(span_edge, [str(argument) for argument in arguments])

    return call


@pytest.fixture(scope="session")
def network_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a small random SPAN x2, whose output stays near [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    network = Span(SpanConfig(feature_channels=8, concat_channels=8, upscale=2, img_range=1.0))
    with torch.no_grad():
        for parameter in network.parameters():
            spread = parameter[0].numel() ** -0.5 if parameter.ndim == 4 else 0.05
            parameter.normal_(0.0, 0.5 * spread, generator=generator)
    path = tmp_path_factory.mktemp("network") / "small.safetensors"
    save_checkpoint(network.eval(), path)
    return path


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two images: 112x104 and 40x36 (HxW)."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for name, (height, width) in {"large": (112, 104), "small": (40, 36)}.items():
        coarse = Image.fromarray(random.integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8))
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="session")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two images to calibrate on, 72x64, none of them in `images`."""
    folder = tmp_path_factory.mktemp("calibration")
    random = np.random.default_rng(5)
    for name in ("a", "b"):
        coarse = Image.fromarray(random.integers(0, 256, (18, 16, 3), dtype=np.uint8))
        coarse.resize((64, 72), Image.Resampling.BICUBIC).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="session", autouse=True)
def quick_search() -> Iterator[None]:
    """The search of quantization takes two steps."""
    from quantize.ptq import EFFORTS

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(EFFORTS, "fast", EFFORTS["smoke"])
        yield


@pytest.fixture(scope="session")
def finished_run(
    invoke: Invoke,
    network_file: Path,
    images: Path,
    calibration: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, click.testing.Result]:
    """The folder that `span-edge run` wrote with its default recipes and formats, and what it said."""
    out = tmp_path_factory.mktemp("run") / "out"
    size = f"{SIZE[0]}x{SIZE[1]}"
    data = ("--data", images, "--calibration", calibration)
    result = invoke("run", network_file, *data, "--size", size, "--out", out, "--runs", 2, "--threads", 1)
    return out, result


@pytest.fixture(scope="session")
def quantized_file(finished_run: tuple[Path, click.testing.Result]) -> Path:
    """A small quantized checkpoint, `w8a8`."""
    return finished_run[0] / "small_w8a8.safetensors"


@pytest.fixture(scope="session")
def integer_file(finished_run: tuple[Path, click.testing.Result]) -> Path:
    """The TFLite file made of it."""
    return finished_run[0] / "small_w8a8.tflite"


@pytest.fixture(scope="session")
def tflite_file(finished_run: tuple[Path, click.testing.Result]) -> Path:
    """A small TFLite file."""
    return finished_run[0] / "small_fp16.tflite"


@pytest.fixture(scope="session")
def coreml_file(finished_run: tuple[Path, click.testing.Result]) -> Path:
    """A small Core ML package of one fixed size."""
    return finished_run[0] / "small_fp16.mlpackage"


@pytest.fixture
def load() -> Callable[[Path], Any]:
    """A JSON file's content."""

    def read(path: Path) -> Any:
        return json.loads(path.read_text(encoding="utf-8"))

    return read


@pytest.fixture
def prebuilt(tflite_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Conversion to TFLite gives the file that was made once, in no time."""

    def copied(network: object, *, out: Path, overwrite: bool = False, **_: object) -> Artifact:
        shutil.copy(tflite_file, out)
        shutil.copy(sidecar_path(tflite_file), sidecar_path(out))
        return read_artifact(out)

    monkeypatch.setattr("convert.tflite.to_tflite", copied)
