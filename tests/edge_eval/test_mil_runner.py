"""ML Programs in the emulator, behind the runner that every command uses."""

from pathlib import Path

import numpy as np
import pytest

from convert.artifact import Artifact, Source
from convert.coreml import to_coreml
from convert.coreml_sizes import Sizes
from edge_eval.latency import count_ops
from edge_eval.metrics import drift_psnr_db
from edge_eval.mil import Feature
from edge_eval.runner import to_image
from edge_eval.runtimes.sizes import fitting_hw
from edge_eval.runtimes.table import default_runtime, open_runner
from edge_eval.tiling import run_tiled
from edge_eval.tolerances import limit
from models import SpanDeploy
from models.errors import InputError

SOURCE = Source(name="random", sha256="0" * 64)

pytestmark = pytest.mark.skipif(
    default_runtime("coreml") != "mil", reason="on a Mac, Core ML itself is tested"
)


@pytest.fixture(scope="module")
def packages(network: SpanDeploy, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    folder = tmp_path_factory.mktemp("coreml")
    rows = {
        "fixed image": (Sizes.fixed(48, 56), "image", "fp32"),
        "ranged tensor": (Sizes.between((24, 24), (96, 96)), "tensor", "fp32"),
        "listed image": (Sizes.among([(48, 56), (70, 61)]), "image", "fp16"),
    }
    return {
        name: to_coreml(
            network,
            recipe=recipe,
            sizes=sizes,
            source=SOURCE,
            out=folder / f"{name.replace(' ', '_')}.mlpackage",
            io=io,  # type: ignore[arg-type]
        )
        for name, (sizes, io, recipe) in rows.items()
    }


def expected(network: SpanDeploy, image: np.ndarray, *, clipped: bool) -> np.ndarray:
    output = open_runner(network, threads=1).run(image)
    return np.clip(output, 0, 1) if clipped else output


def test_tensors_in_and_out(packages: dict[str, Artifact], network: SpanDeploy, image: np.ndarray) -> None:
    runner = open_runner(packages["ranged tensor"], threads=1)
    assert (runner.runtime, runner.scale, runner.input_hw) == ("mil", 2, None)
    drift = drift_psnr_db(runner.run(image), expected(network, image, clipped=False))
    assert drift is None or drift > limit("float_drift_fp32")


def test_images_in_tiles_and_before_rounding(
    packages: dict[str, Artifact], network: SpanDeploy, image: np.ndarray
) -> None:
    runner = open_runner(packages["fixed image"], threads=1)
    assert runner.input_hw == (48, 56)
    output = run_tiled(runner, image, radius=network.receptive_radius)
    drift = drift_psnr_db(output, expected(network, image, clipped=True))
    assert drift is None or drift > limit("float_drift_fp32")
    assert np.abs(output * 255 - np.rint(output * 255)).max() > 0.1


def test_enumerated_sizes_in_float16(
    packages: dict[str, Artifact], network: SpanDeploy, image: np.ndarray
) -> None:
    runner = open_runner(packages["listed image"], threads=1)
    drift = drift_psnr_db(runner.run(image), expected(network, image, clipped=True))
    assert drift is not None and limit("float_drift_fp16") - 15 < drift < limit("float_drift_fp32")
    with pytest.raises(InputError, match=r"takes one of .*48 x 56"):
        runner.run(to_image(np.zeros((50, 50, 3), np.uint8)))


@pytest.mark.parametrize("name", ["listed image", "ranged tensor"])
def test_sizes_that_are_not_taken_go_in_tiles(
    packages: dict[str, Artifact], network: SpanDeploy, image: np.ndarray, name: str
) -> None:
    runner = open_runner(packages[name], threads=1)
    larger = np.ascontiguousarray(np.tile(image, (2, 1, 1))[:101, :60])
    output = run_tiled(runner, larger, radius=network.receptive_radius)
    drift = drift_psnr_db(output, expected(network, larger, clipped=name == "listed image"))
    assert drift is None or drift > limit("float_drift_fp16") - 15


def test_the_size_that_fits() -> None:
    listed = Feature(
        name="i", kind="image", dtype="uint8", color="RGB", shape=(8, 8), sizes=((8, 8), (16, 8), (16, 16))
    )
    assert fitting_hw(listed, (20, 20)) == (16, 16)
    assert fitting_hw(listed, (20, 9)) == (16, 8)
    assert fitting_hw(listed, (4, 40)) == (8, 8)
    ranges = ((1, 1), (3, 3), (8, 32), (8, None))
    ranged = Feature(name="i", kind="tensor", dtype="float32", color=None, shape=(1, 3, 8, 8), ranges=ranges)
    assert fitting_hw(ranged, (50, 50)) == (32, 50)
    assert fitting_hw(ranged, (4, 9)) == (8, 9)


def test_sizes_that_a_file_does_not_allow(packages: dict[str, Artifact]) -> None:
    with pytest.raises(InputError, match=r"does not go at 20x20 \(HxW\); it takes 48 x 56"):
        open_runner(packages["fixed image"], input_hw=(20, 20))
    assert open_runner(packages["ranged tensor"], input_hw=(30, 40)).input_hw == (30, 40)
    with pytest.raises(InputError, match=r"takes 30x40 pixels \(HxW\) only"):
        open_runner(packages["ranged tensor"], input_hw=(30, 40)).run(np.zeros((31, 40, 3), np.float32))


def test_ops_are_counted(packages: dict[str, Artifact], network: SpanDeploy) -> None:
    assert count_ops(packages["fixed image"].path)["conv"] <= len(network.convolutions())


def test_what_is_no_package(tmp_path: Path) -> None:
    (tmp_path / "a.mlpackage").mkdir()
    with pytest.raises(InputError, match="has no Manifest.json"):
        open_runner(tmp_path / "a.mlpackage")
