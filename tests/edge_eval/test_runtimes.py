"""Every runtime behind one call: same pixels, and a reason for every refusal."""

from pathlib import Path

import numpy as np
import pytest
import torch

from convert.artifact import Artifact
from edge_eval.metrics import drift_psnr_db
from edge_eval.runtimes import table
from edge_eval.runtimes.table import RUNTIMES, default_runtime, kind_of, open_runner
from edge_eval.tolerances import limit
from models import SpanDeploy
from models.errors import InputError

TFLITE = [name for name, row in RUNTIMES.items() if row.kind == "tflite" and not row.is_emulator]
DELEGATED = {
    "tflite": True,
    "tflite-compiled": True,
    "tensorflow": True,
    "tflite-plain": False,
    "tflite-reference": False,
}


def here(runtime: str) -> str:
    reason = RUNTIMES[runtime].unavailable()
    if reason:
        pytest.skip(reason)
    return runtime


def relative_db(output: np.ndarray, expected: np.ndarray) -> float:
    """Drift on outputs brought to a largest value of 1, for random networks have any range."""
    most = np.abs(expected).max()
    drift = drift_psnr_db(output / most, expected / most)
    return np.inf if drift is None else drift


def test_torch_is_the_network(network: SpanDeploy, image: np.ndarray) -> None:
    runner = open_runner(network, threads=1)
    with torch.no_grad():
        expected = network(torch.from_numpy(image.transpose(2, 0, 1).copy())[None])[0].numpy()
    np.testing.assert_array_equal(runner.run(image), expected.transpose(1, 2, 0))
    assert (runner.runtime, runner.scale, runner.input_hw) == ("torch", 2, None)


def test_torch_puts_the_thread_count_back(network: SpanDeploy) -> None:
    before = torch.get_num_threads()
    open_runner(network, threads=before + 1).run(np.zeros((24, 24, 3), np.float32))
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("runtime", TFLITE)
def test_tflite_runtimes_give_the_networks_pixels(
    runtime: str, network: SpanDeploy, tflite_float: Artifact, image: np.ndarray
) -> None:
    runner = open_runner(tflite_float, runtime=here(runtime), threads=1)
    assert (runner.runtime, runner.scale, runner.input_hw) == (runtime, 2, None)
    expected = open_runner(network, threads=1).run(image)
    assert relative_db(runner.run(image), expected) > limit("float_drift_fp32")
    smaller = np.ascontiguousarray(image[:30, :44])
    expected = open_runner(network, threads=1).run(smaller)
    assert relative_db(runner.run(smaller), expected) > limit("float_drift_fp32")


def test_another_networks_pixels_are_noticed(
    network: SpanDeploy, tflite_float: Artifact, image: np.ndarray
) -> None:
    wrong = SpanDeploy(network.config).eval().requires_grad_(False)
    wrong.load_state_dict(network.state_dict())
    wrong.conv_cat.weight[0, 0] *= 1.01
    drift = relative_db(
        open_runner(tflite_float, threads=1).run(image), open_runner(wrong, threads=1).run(image)
    )
    assert drift < limit("float_drift_fp32")


@pytest.mark.parametrize("runtime", TFLITE)
def test_delegation_is_what_the_runtime_says(runtime: str, tflite_float: Artifact) -> None:
    runner = open_runner(tflite_float, runtime=here(runtime), threads=1)
    assert runner.delegated is DELEGATED[runtime]
    if runner.delegated:
        assert runner.outside == ()
    else:
        assert runner.delegates == 0 and "CONV_2D" in runner.outside


def test_compiled_models_say_only_whether_all_is_delegated(tflite_uint8: Path) -> None:
    assert open_runner(tflite_uint8, runtime="tflite", threads=1).outside == ("QUANTIZE", "QUANTIZE")
    compiled = open_runner(tflite_uint8, runtime="tflite-compiled", threads=1)
    assert compiled.outside is None and compiled.delegated
    image = np.random.default_rng(4).integers(0, 256, (20, 28, 3)).astype(np.float32) / np.float32(255)
    expected = open_runner(tflite_uint8, runtime="tflite", threads=1).run(image)
    np.testing.assert_array_equal(compiled.run(image), expected)


def test_uint8_files_take_and_give_pixels(tflite_uint8: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    frame = np.random.default_rng(1).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    interpreter = Interpreter(str(tflite_uint8))
    interpreter.allocate_tensors()
    given, got = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero_point = given["quantization"]
    assert scale == pytest.approx(1 / 255, rel=1e-3) and zero_point == 0
    interpreter.set_tensor(given["index"], frame[None])
    interpreter.invoke()
    out_scale, out_zero = got["quantization"]
    expected = (interpreter.get_tensor(got["index"])[0].astype(np.float64) - out_zero) * out_scale
    output = open_runner(tflite_uint8, threads=1).run(frame.astype(np.float32) * np.float32(scale))
    assert output.dtype == np.float32 and output.shape == (32, 48, 3)
    np.testing.assert_allclose(output, expected, atol=1e-6)
    assert len(np.unique(output)) > 50


def test_uint8_files_go_at_other_sizes(tflite_uint8: Path) -> None:
    runner = open_runner(tflite_uint8, threads=1)
    assert runner.input_hw is None and runner.native_hw == (16, 24)
    assert runner.run(np.full((30, 18, 3), 0.5, np.float32)).shape == (60, 36, 3)


def test_a_pinned_size_is_the_only_one(tflite_float: Artifact, network: SpanDeploy) -> None:
    for model in (tflite_float, network):
        runner = open_runner(model, threads=1, input_hw=(20, 32))
        assert runner.input_hw == (20, 32)
        assert runner.run(np.zeros((20, 32, 3), np.float32)).shape == (40, 64, 3)
        with pytest.raises(
            InputError, match=r"takes 20x32 pixels \(HxW\) only, and the image has 20x33; run it in"
        ):
            runner.run(np.zeros((20, 33, 3), np.float32))


@pytest.mark.parametrize("shape", [(20, 32), (20, 32, 1), (20, 32, 4), (0, 32, 3)])
def test_images_of_other_channels_are_refused(tflite_float: Artifact, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"the network takes images of \(H, W, 3\), not of"):
        open_runner(tflite_float, threads=1).run(np.zeros(shape, np.float32))


def test_a_file_that_takes_only_its_own_size(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")

    @tf.function(input_signature=[tf.TensorSpec((1, 16, 24, 3))])
    def fixed(image: object) -> object:
        return tf.repeat(tf.repeat(tf.reshape(image, (1, 16, 24, 3)), 2, 1), 2, 2)

    converter = tf.lite.TFLiteConverter.from_concrete_functions([fixed.get_concrete_function()])
    (tmp_path / "a.tflite").write_bytes(converter.convert())
    runner = open_runner(tmp_path / "a.tflite", threads=1)
    assert runner.input_hw == (16, 24)
    picture = np.random.default_rng(0).random((16, 24, 3)).astype(np.float32)
    np.testing.assert_array_equal(runner.run(picture), picture.repeat(2, 0).repeat(2, 1))
    with pytest.raises(InputError, match=r"does not go at 20x20 \(HxW\)|only networks that enlarge both"):
        open_runner(tmp_path / "a.tflite", threads=1, input_hw=(20, 20))


def test_files_that_are_no_upscalers(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")

    def written(name: str, function: object, shape: tuple[int, ...]) -> Path:
        concrete = tf.function(function, input_signature=[tf.TensorSpec(shape)]).get_concrete_function()
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
        (tmp_path / name).write_bytes(converter.convert())
        return tmp_path / name

    halved = written("half.tflite", lambda x: x[:, ::2, ::2], (1, 16, 16, 3))
    with pytest.raises(InputError, match=r"makes 8x8 pixels \(HxW\) of 16x16; only networks that enlarge"):
        open_runner(halved)
    flat = written("flat.tflite", lambda x: x * 2, (1, 16))
    with pytest.raises(InputError, match=r"flat\.tflite: .*\(1, 16\).*one .*\(1, H, W, 1 or 3\) is accepted"):
        open_runner(flat)


def test_refusals_of_open_runner(tmp_path: Path, tflite_float: Artifact, network: SpanDeploy) -> None:
    path = tflite_float.path
    with pytest.raises(InputError, match="there is no runtime 'onnx'; there are torch, tflite, tflite-plain"):
        open_runner(path, runtime="onnx")
    with pytest.raises(
        InputError, match="runtime torch runs checkpoint files, and this is a tflite file; use tflite,"
    ):
        open_runner(path, runtime="torch")
    with pytest.raises(
        InputError, match="runtime tflite runs tflite files, and this is a checkpoint file; use torch"
    ):
        open_runner(network, runtime="tflite")
    with pytest.raises(
        InputError, match=r"none\.tflite does not exist; give a checkpoint, one of .*, a \.tflite file"
    ):
        open_runner(tmp_path / "none.tflite")
    with pytest.raises(InputError, match="0 threads cannot run anything; give 1 or more"):
        open_runner(path, threads=0)


def test_broken_files_are_refused(tmp_path: Path, tflite_float: Artifact) -> None:
    whole = tflite_float.path.read_bytes()
    for name, data in (("text", b"hello"), ("empty", b""), ("cut", whole[: len(whole) // 3])):
        broken = tmp_path / f"{name}.tflite"
        broken.write_bytes(data)
        with pytest.raises(InputError, match=rf"{name}\.tflite cannot be run by"):
            open_runner(broken, threads=1)


def test_unavailable_runtimes_say_why(
    monkeypatch: pytest.MonkeyPatch, tflite_float: Artifact, tmp_path: Path
) -> None:
    monkeypatch.setattr(table, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="tensorflow is not available here: .*install span-edge.tensorflow"):
        open_runner(tflite_float, runtime="tensorflow")
    monkeypatch.setattr(table.sys, "platform", "linux")
    with pytest.raises(
        InputError, match="coreml is not available here: Core ML runs on macOS only .*--runtime mil"
    ):
        open_runner(tmp_path / "a.mlpackage", runtime="coreml")
    assert default_runtime("coreml") == "mil"
    monkeypatch.setattr(table.sys, "platform", "darwin")
    assert default_runtime("coreml") == "coreml"


def test_a_kind_that_nothing_here_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="nothing here runs onnx files; runtime onnxruntime: onnxruntime is"):
        default_runtime("onnx")


def test_kinds_by_suffix() -> None:
    assert kind_of("a.TFLITE") == "tflite"
    assert kind_of(Path("a.mlpackage")) == "coreml"
    assert kind_of("a.pth") == kind_of("a.safetensors") == "checkpoint"
