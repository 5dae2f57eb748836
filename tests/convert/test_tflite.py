import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from tflite_support import SIZE, SOURCE, random_network, run_tflite, run_torch, snr_db

from convert import METADATA_KEY, sidecar_path, tflite_dtypes, tflite_ops, to_tflite
from convert import tflite_graph as rewrites
from convert.tflite import FLOAT_RECIPES
from convert.tflite_file import ALIGNMENT, open_model
from convert.tflite_graph import FORBIDDEN_OPS, Graph
from edge_eval.tolerances import limit
from models import InputError

GREY = {"in_channels": 1, "out_channels": 1, "rgb_mean": (0.44,)}
SPANF = {"network": "spanf", "normalize": False}
NETWORKS = {
    "span x2": {},
    "span x1": {"upscale": 1},
    "span x3": {"upscale": 3},
    "span x5 grey": {"upscale": 5, **GREY},
    "span x2, not normalized": {"normalize": False},
    "spanf x4": {**SPANF, "upscale": 4},
}


def image(h: int = 12, w: int = 16, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(1).random((h, w, channels), dtype=np.float32)


@pytest.fixture(params=NETWORKS.values(), ids=NETWORKS.keys())
def config(request):
    return request.param


@pytest.mark.parametrize("hw", [SIZE, (1, 1), (13, 7)], ids=str)
def test_the_file_gives_what_the_network_gives_at_any_size(converted, config, hw):
    network, artifact = converted(**config)
    x = image(*hw, network.config.in_channels)
    assert snr_db(run_tflite(artifact.path, x), run_torch(network, x)) > limit("small_network_fp32")


def test_the_file_holds_only_what_the_network_needs(converted, config):
    network, artifact = converted(**config)
    ops = tflite_ops(artifact.path)
    assert ops.get("DEPTH_TO_SPACE", 0) == (network.config.upscale > 1)
    assert not set(ops) & set(FORBIDDEN_OPS)
    assert ops["CONV_2D"] + ops.get("DEPTHWISE_CONV_2D", 0) == len(network.convolutions())
    normalization = int(network.config.normalize)
    blocks = ops["ADD"]
    assert ops["SUB"] == blocks + normalization, "the factor of the image is in the first filter"
    assert set(tflite_dtypes(artifact.path)) == {"float32"}


def test_names_shapes_and_signature(converted):
    network, artifact = converted()
    graph = Graph.read(artifact.path.read_bytes())
    (signature,) = graph.model.signatureDefs
    assert signature.signatureKey == b"serving_default"
    (given,), (got,) = signature.inputs, signature.outputs
    assert [given.name, got.name] == [b"image", b"upscaled"]
    assert [int(given.tensorIndex), int(got.tensorIndex)] == [
        int(graph.sub.inputs[0]),
        int(graph.sub.outputs[0]),
    ]
    assert list(graph.tensor(given.tensorIndex).shape) == [1, *SIZE, 3] == list(artifact.info.input.shape)
    assert list(graph.tensor(got.tensorIndex).shape) == [1, 2 * SIZE[0], 2 * SIZE[1], 3]
    assert tuple(graph.tensor(got.tensorIndex).shape) == artifact.info.output.shape
    names = {tensor.name.decode() for tensor in graph.sub.tensors}
    assert {"image", "upscaled", *network.convolutions()} <= names
    assert len(names) == len(graph.sub.tensors)


def test_every_layer_is_found_under_its_own_name(converted):
    network, artifact = converted(**SPANF, upscale=4)
    graph = Graph.read(artifact.path.read_bytes())
    by_name = {tensor.name.decode(): i for i, tensor in enumerate(graph.sub.tensors)}
    for name, conv in network.convolutions().items():
        stored = graph.constant(by_name[f"{name}/filter"])
        weight = conv.weight.detach().numpy()
        moved = weight.transpose(1, 2, 3, 0) if conv.groups > 1 else weight.transpose(0, 2, 3, 1)
        if name == "conv_2":
            moved = moved[rewrites.tflite_channel_order(len(moved), 4)]
        np.testing.assert_allclose(stored, moved, rtol=limit("stored_weights"))


def test_metadata_stands_inside_and_beside(converted):
    network, artifact = converted()
    assert artifact.info.config == network.config
    assert artifact.info.source == SOURCE
    assert artifact.info.input.dtype == "float32"
    assert artifact.info.versions["litert-torch"]
    assert sidecar_path(artifact.path).is_file()
    assert METADATA_KEY.encode() in artifact.path.read_bytes()


@pytest.mark.parametrize("kernels", ["AUTO", "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "BUILTIN_REF"])
@pytest.mark.parametrize("recipe", ["fp32", "fp16"])
def test_every_set_of_kernels_runs_every_recipe(converted, recipe, kernels):
    network, artifact = converted(recipe=recipe)
    x = image()
    assert snr_db(run_tflite(artifact.path, x, kernels), run_torch(network, x)) > limit(
        f"small_network_{recipe}"
    )


def test_fp16_halves_the_filters_only(converted):
    network, artifact = converted(recipe="fp16")
    count = len(network.convolutions())
    assert tflite_ops(artifact.path)["DEQUANTIZE"] == count
    assert tflite_dtypes(artifact.path)["float16"] == count
    assert artifact.info.input.dtype == artifact.info.output.dtype == "float32"
    assert artifact.size_bytes < converted()[1].size_bytes


def test_fp16_refuses_weights_beyond_its_range(tmp_path):
    network = random_network()
    network.conv_1.weight.mul_(1e5)
    with pytest.raises(
        InputError, match=r"conv_1/filter holds weights beyond float16's 65504; use the recipe fp32"
    ):
        to_tflite(network, recipe="fp16", size=SIZE, source=SOURCE, out=tmp_path / "x.tflite")
    assert list(tmp_path.iterdir()) == []


def test_buffers_are_aligned(converted):
    path = converted()[1].path
    data, model = path.read_bytes(), open_model(path)
    starts = []
    for i in range(model.BuffersLength()):
        if model.Buffers(i).DataLength() > 64:
            starts.append(data.index(model.Buffers(i).DataAsNumpy().tobytes()))
    assert len(starts) > 20
    assert all(start % ALIGNMENT == 0 for start in starts)


def test_the_network_is_left_unchanged(tmp_path):
    network = random_network().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    to_tflite(network, recipe="fp32", size=SIZE, source=SOURCE, out=tmp_path / "x.tflite")
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_conversion_says_how_far_it_is_and_nothing_else(tmp_path, capfd):
    seen = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        to_tflite(
            random_network(),
            recipe="fp32",
            size=SIZE,
            source=SOURCE,
            out=tmp_path / "x.tflite",
            progress=lambda stage, done, total, detail="": seen.append((done, total)),
        )
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert capfd.readouterr() == ("", "")


REFUSALS = {
    "unknown recipe": ({"recipe": "int4"}, "there is no recipe 'int4'; the recipes are fp32, fp16"),
    "integer recipe": (
        {"recipe": "w8a8"},
        "needs a quantized network and a float one was given; quantize it",
    ),
    "Core ML recipe": ({"recipe": "pal4"}, "recipe 'pal4' is not made for TFLite; it is for coreml"),
    "unknown backend": (
        {"backend": "onnx"},
        "backend 'onnx' is unknown; the backends are litert, tensorflow",
    ),
    "zero height": ({"size": (0, 16)}, r"size \(0, 16\) is not two whole numbers of pixels from 1 up"),
    "negative width": ({"size": (16, -1)}, r"size \(16, -1\) is not"),
    "half a pixel": ({"size": (16, 1.5)}, r"size \(16, 1.5\) is not"),
    "three sizes": ({"size": (1, 2, 3)}, r"size \(1, 2, 3\) is not"),
    "suffix": ({"out": Path("x.onnx")}, r"x\.onnx: a TFLite file's name ends in \.tflite"),
}


@pytest.mark.parametrize(("wrong", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_what_cannot_be_asked_for_is_refused(tmp_path, wrong, message):
    asked = {"recipe": "fp32", "size": SIZE, "source": SOURCE, "out": tmp_path / "x.tflite", **wrong}
    with pytest.raises(InputError, match=message) as refusal:
        to_tflite(random_network(), **asked)
    assert "\n" not in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_refused_before_any_work(tmp_path):
    out = tmp_path / "x.tflite"
    out.write_text("mine")
    seen = []
    with pytest.raises(InputError, match="exists already; give --overwrite"):
        to_tflite(
            random_network(),
            recipe="fp32",
            size=SIZE,
            source=SOURCE,
            out=out,
            progress=lambda *step: seen.append(step),
        )
    assert out.read_text() == "mine" and seen == []


def test_float_recipes_are_rows_of_the_table():
    from quantize.recipe import RECIPES

    assert set(FLOAT_RECIPES) == {
        row.name for row in RECIPES.values() if row.weight_bits is None and "tflite" in row.formats
    }
