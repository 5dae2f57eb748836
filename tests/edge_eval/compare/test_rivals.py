"""Other tools: what is made of the float network where they are installed, and what is said where not."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from convert.artifact import Source
from edge_eval.compare import RIVALS, Judge, Material, calibration_tiles, prepare, rivals
from edge_eval.datasets import Dataset, open_dataset
from edge_eval.latency import count_ops, file_bytes
from edge_eval.metrics import drift_psnr_db
from edge_eval.runtimes.table import RUNTIMES, open_runner
from edge_eval.sweep import Sweep, run_sweep
from edge_eval.timed_file import TimedFile
from edge_eval.tolerances import limit
from models import SpanDeploy
from models.checkpoint import save_checkpoint
from models.cost import count_macs
from models.errors import InputError

FLOAT = ("torch", "onnxruntime", "openvino")
INTEGER = {"onnxruntime-int8": "QuantizeLinear", "openvino-int8": "FakeQuantize"}
SLOW = ("openvino-int8",)


@pytest.fixture(scope="module")
def tiles() -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(3)
    coarse = random.integers(0, 256, (3, 6, 7, 3), dtype=np.uint8)
    return tuple(coarse.repeat(6, 1).repeat(6, 2))


@pytest.fixture(scope="module")
def material(
    network: SpanDeploy, tiles: tuple[np.ndarray, ...], tmp_path_factory: pytest.TempPathFactory
) -> Material:
    folder = tmp_path_factory.mktemp("material")
    checkpoint = folder / "net.safetensors"
    save_checkpoint(network, checkpoint)
    return Material(
        network=network,
        source=Source(name="net", sha256="0" * 64),
        checkpoint=checkpoint,
        tiles=tiles,
        folder=folder,
    )


def made(name: str, material: Material) -> TimedFile:
    """The file of a rival; the test is skipped where its packages are missing."""
    (file,) = prepare([name], material)
    if file.reason:
        pytest.skip(file.reason)
    return file


def outputs(file: TimedFile, network: SpanDeploy, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The file's output and the float network's, both brought to a largest value of 1."""
    expected = open_runner(network, threads=1).run(image)
    output = open_runner(file.path, runtime=file.runtime, threads=1).run(image)
    most = np.abs(expected).max()
    return output / most, expected / most


def test_every_rival_names_a_runtime_and_what_it_needs() -> None:
    for name, rival in RIVALS.items():
        assert rival.runtime in RUNTIMES, name
        assert rival.what and rival.precision in ("fp32", "bf16", "int8"), name
        assert rival.why_missing() is None or "install span-edge[compare]" in (rival.why_missing() or "")


@pytest.mark.parametrize("name", [name for name in FLOAT if name != "torch"])
def test_float_files_give_the_networks_pixels(name: str, material: Material, image: np.ndarray) -> None:
    file = made(name, material)
    drift = drift_psnr_db(*outputs(file, material.network, image))
    assert drift is None or drift > limit("float_drift_fp32")
    smaller = np.ascontiguousarray(image[:30, :44])
    drift = drift_psnr_db(*outputs(file, material.network, smaller))
    assert drift is None or drift > limit("float_drift_fp32")
    assert file.macs_per_pixel == {"fp32": count_macs(material.network)}


def test_torch_is_the_checkpoint_itself(material: Material) -> None:
    (file,) = prepare(["torch"], material)
    assert (file.path, file.runtime, file.compared) == (material.checkpoint, "torch", "torch")


def test_torch_gets_the_normalization_that_was_given(
    material: Material, tmp_path: Path, image: np.ndarray
) -> None:
    plain = tmp_path / "plain.pth"
    torch.save({"params": material.network.state_dict()}, plain)
    (file,) = prepare(["torch"], replace(material, checkpoint=plain, folder=tmp_path))
    assert file.path != plain
    output, expected = outputs(file, material.network, image)
    np.testing.assert_array_equal(output, expected)


def test_openvino_computes_in_bfloat16_if_the_cpu_can(material: Material, image: np.ndarray) -> None:
    file = made("openvino-bf16", material)
    try:
        drift = drift_psnr_db(*outputs(file, material.network, image))
    except InputError as error:
        assert "which has no bfloat16; take the runtime openvino" in str(error)
        pytest.skip(str(error))
    assert drift is not None and drift < limit("float_drift_fp32")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in INTEGER]
)
def test_integer_files_hold_integers(name: str, material: Material, image: np.ndarray) -> None:
    file = made(name, material)
    assert count_ops(file.path)[INTEGER[name]] > 5
    output, expected = outputs(file, material.network, image)
    drift = drift_psnr_db(output, expected)
    assert drift is not None and 15 < drift < limit("float_drift_fp32")
    assert file.macs_per_pixel == {"int8": count_macs(material.network)}


def test_the_straight_integer_tflite_file(material: Material, image: np.ndarray) -> None:
    file = made("ai-edge-quantizer", material)
    assert count_ops(file.path)["CONCATENATION"] == 1
    assert not file.is_straight_float and file.runtime == "tflite"
    output, expected = outputs(file, material.network, image)
    drift = drift_psnr_db(output, expected)
    assert drift is not None and 15 < drift < limit("float_drift_fp32")


@pytest.mark.parametrize("name", [name for name, rival in RIVALS.items() if rival.requires])
def test_a_missing_package_is_a_row_that_says_what_to_install(
    name: str, material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rivals, "find_spec", lambda package: None)
    (file,) = prepare([name], material)
    wanted = ", ".join(RIVALS[name].requires)
    assert file.reason == f"{wanted} not installed; install span-edge[compare], or leave it out"
    there = prepare(["torch"], material)
    sweep = Sweep(sizes=((16, 16),), threads=(1,), runs=1, warmup=0, floor=False)
    monkeypatch.setattr("edge_eval.sweep.probe_fresh", lambda *asked: {})
    row, _ = run_sweep([file, *there], sweep).latencies
    assert (row.reason, row.compared, row.median_ms) == (file.reason, name, None)


def test_unknown_names_are_refused(material: Material) -> None:
    with pytest.raises(InputError, match="mnn is nothing to compare with; there are torch, onnxruntime,"):
        prepare(["torch", "mnn"], material)


def test_telemetry_is_off() -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; install span-edge[compare]")
    from edge_eval.runtimes.onnx_runtime import _session

    with pytest.raises(InputError):
        _session(Path("none.onnx"), 1)
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


class TestOnnxFiles:
    @pytest.fixture(autouse=True)
    def _installed(self) -> None:
        for package in ("onnx", "onnxruntime"):
            pytest.importorskip(package, reason=f"{package} is not installed; install span-edge[compare]")

    def test_broken_files_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "a.onnx").write_bytes(b"hello")
        with pytest.raises(InputError, match=r"a\.onnx cannot be run by onnxruntime: "):
            open_runner(tmp_path / "a.onnx", threads=1)
        with pytest.raises(InputError, match=r"a\.onnx is no ONNX file"):
            count_ops(tmp_path / "a.onnx")

    def test_files_of_one_size_take_no_other(self, network: SpanDeploy, tmp_path: Path) -> None:
        example = torch.zeros(1, 3, 16, 24)
        torch.onnx.export(network, (example,), str(tmp_path / "a.onnx"), dynamo=False, opset_version=17)
        runner = open_runner(tmp_path / "a.onnx", threads=1)
        assert runner.input_hw == (16, 24) and runner.scale == 2
        with pytest.raises(InputError, match=r"does not go at 20x20 \(HxW\); it was made for 16x24 only"):
            open_runner(tmp_path / "a.onnx", threads=1, input_hw=(20, 20))

    def test_files_that_are_no_upscalers(self, tmp_path: Path) -> None:
        flat = torch.nn.Linear(4, 4)
        torch.onnx.export(flat, (torch.zeros(1, 4),), str(tmp_path / "flat.onnx"), dynamo=False)
        with pytest.raises(InputError, match=r"its input is \(1, 4\); one image \(1, 1 or 3, H, W\) is"):
            open_runner(tmp_path / "flat.onnx", threads=1)


class TestOpenVinoGraphs:
    @pytest.fixture(autouse=True)
    def _installed(self) -> None:
        pytest.importorskip("openvino", reason="openvino is not installed; install span-edge[compare]")

    def test_broken_graphs_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "a.xml").write_text("hello")
        with pytest.raises(InputError, match=r"a\.xml cannot be run by openvino: "):
            open_runner(tmp_path / "a.xml", threads=1)

    def test_the_size_of_a_graph_includes_its_weights(self, material: Material) -> None:
        path = made("openvino", material).path
        assert file_bytes(path) == path.stat().st_size + path.with_suffix(".bin").stat().st_size
        assert count_ops(path)["Convolution"] == 22


def dataset(folder: Path, sizes: dict[str, tuple[int, int]]) -> Dataset:
    from PIL import Image

    for number, (name, (height, width)) in enumerate(sizes.items()):
        pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return open_dataset(folder, scale=2)


def test_tiles_are_of_one_size_and_cover_every_image(tmp_path: Path) -> None:
    images = dataset(tmp_path, {"a": (40, 60), "b": (50, 48)})
    tiles = calibration_tiles(images)
    assert {tile.shape for tile in tiles} == {(20, 24, 3)}
    for sample in images:
        covered = np.zeros(sample.lr.shape[:2], bool)
        for top in range(sample.lr.shape[0] - 19):
            for left in range(sample.lr.shape[1] - 23):
                crop = sample.lr[top : top + 20, left : left + 24]
                if any(np.array_equal(crop, tile) for tile in tiles):
                    covered[top : top + 20, left : left + 24] = True
        assert covered.all(), sample.name
    assert len(calibration_tiles(images, most=3)) <= 3 < len(tiles)


def test_the_judge_finds_no_drop_in_the_network_itself_and_one_in_a_worse(
    network: SpanDeploy, material: Material, tmp_path: Path
) -> None:
    images = dataset(tmp_path, {"a": (48, 60)})
    judge = Judge(network, images, threads=1)
    same = judge.quality(material.checkpoint, "torch")
    assert same["drop_db"] == 0 and same["images"] == 1 and same["psnr_y_db"] == same["float_psnr_y_db"]
    worse = SpanDeploy(network.config)
    worse.load_state_dict(network.state_dict())
    with torch.no_grad():
        worse.conv_cat.weight[0, 0] *= 3
    save_checkpoint(worse, tmp_path / "worse.safetensors")
    assert judge.quality(tmp_path / "worse.safetensors", "torch")["drop_db"] != 0
