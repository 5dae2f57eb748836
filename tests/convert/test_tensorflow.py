import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from tflite_support import SIZE, SOURCE, random_network, run_tflite, run_torch, snr_db

from convert import tensorflow as backend
from convert import tflite_ops, to_saved_model, to_tflite
from convert.tflite_graph import ConversionError
from edge_eval.tolerances import limit
from models import InputError

needs_tensorflow = pytest.mark.skipif(
    find_spec("tensorflow") is None, reason="the extra [tensorflow] is not installed"
)

CONFIGS = {
    "span x2": {},
    "span x1": {"upscale": 1},
    "spanf x4": {"network": "spanf", "normalize": False, "upscale": 4},
}


@needs_tensorflow
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_both_backends_give_the_same_operations_and_pictures(converted, config):
    network, by_litert = converted(**config)
    _, by_tensorflow = converted(backend="tensorflow", **config)
    assert (by_litert.info.backend, by_tensorflow.info.backend) == ("litert", "tensorflow")
    print(f"{'operation':20}{'litert':>8}{'tensorflow':>12}")
    ours, theirs = tflite_ops(by_litert.path), tflite_ops(by_tensorflow.path)
    for name in sorted({*ours, *theirs}):
        print(f"{name:20}{ours.get(name, 0):8}{theirs.get(name, 0):12}")
    assert ours == theirs
    image = np.random.default_rng(2).random((15, 11, network.config.in_channels), dtype=np.float32)
    one, other = run_tflite(by_litert.path, image), run_tflite(by_tensorflow.path, image)
    assert np.abs(one - other).max() <= limit("backends_agree") * np.abs(one).max()
    assert snr_db(other, run_torch(network, image)) > limit("small_network_fp32")


@needs_tensorflow
def test_both_backends_take_fp16(converted):
    _, by_litert = converted(recipe="fp16")
    _, by_tensorflow = converted(recipe="fp16", backend="tensorflow")
    assert tflite_ops(by_litert.path) == tflite_ops(by_tensorflow.path)


@needs_tensorflow
def test_the_saved_model_takes_any_size(tmp_path):
    import tensorflow as tf

    network = random_network(upscale=3)
    folder = to_saved_model(network, out=tmp_path / "saved")
    upscale = tf.saved_model.load(str(folder)).signatures["serving_default"]
    for hw in ((5, 9), (12, 4)):
        image = np.random.default_rng(2).random((*hw, 3), dtype=np.float32)
        got = upscale(image=tf.constant(image[None]))
        assert list(got) == ["upscaled"]
        assert snr_db(got["upscaled"].numpy()[0], run_torch(network, image)) > limit("small_network_fp32")
    with pytest.raises(InputError, match="saved exists already; give --overwrite"):
        to_saved_model(network, out=tmp_path / "saved")


@needs_tensorflow
def test_a_saved_model_comes_with_the_file_on_request(tmp_path):
    given = {"recipe": "fp32", "size": SIZE, "source": SOURCE, "saved_model": tmp_path / "saved"}
    with pytest.raises(InputError, match="is made by the backend 'tensorflow', and 'litert' was asked"):
        to_tflite(random_network(), out=tmp_path / "x.tflite", **given)
    assert list(tmp_path.iterdir()) == []
    to_tflite(random_network(), out=tmp_path / "x.tflite", backend="tensorflow", **given)
    assert (tmp_path / "saved" / "saved_model.pb").is_file()
    with pytest.raises(InputError, match="saved exists already; give --overwrite"):
        to_tflite(random_network(), out=tmp_path / "y.tflite", backend="tensorflow", **given)
    assert not (tmp_path / "y.tflite").exists()


def test_without_tensorflow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    monkeypatch.setattr(backend, "find_spec", lambda name: None)
    out = tmp_path / "x.tflite"
    with pytest.raises(
        InputError, match=r"not installed; install the extra: pip install 'span-edge\[tensorflow\]'"
    ):
        to_tflite(random_network(), recipe="fp32", size=SIZE, source=SOURCE, out=out, backend="tensorflow")
    with pytest.raises(InputError, match="TensorFlow is not installed"):
        to_saved_model(random_network(), out=tmp_path / "saved")
    assert list(tmp_path.iterdir()) == []


@needs_tensorflow
def test_an_operation_without_a_row_is_named():
    network = random_network()
    network.upsampler[1] = torch.nn.Upsample(scale_factor=2)
    with pytest.raises(ConversionError, match=r"no row in convert\.tensorflow\.BUILDERS for aten\.upsample"):
        backend.tflite_by_tensorflow(network)
