from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tflite_support import (
    SIZE,
    SOURCE,
    psnr_db,
    quantized_in_groups,
    quantized_network,
    quantized_simply,
    random_network,
    run_tflite,
    run_torch,
    snr_db,
)

from convert import read_artifact, tflite_dtypes, tflite_ops, to_tflite, xnnpack_delegation
from convert.tflite_file import open_model
from convert.tflite_graph import FORBIDDEN_OPS, ConversionError, Graph
from convert.tflite_nodes import EMITTERS, FIXED_SIGMOID, graph_of
from edge_eval.tolerances import limit
from models import InputError, SpanDeploy, load_checkpoint, reparameterize
from quantize.graph import Node, SpanNodes
from quantize.quantized import QParams, QuantizedSpan
from quantize.simulation import simulate

SPANF = {"network": "spanf", "normalize": False, "upscale": 4}
GREY = {"in_channels": 1, "out_channels": 1, "rgb_mean": (0.44,)}
CONFIGS = {
    "span x2": {},
    "span x1": {"upscale": 1},
    "span x3 grey": {"upscale": 3, **GREY},
    "spanf x4": SPANF,
}
KERNELS = ("AUTO", "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "BUILTIN_REF")
MIXED = ("block_2.c1_r", "block_2.c1_r.gate")


def frame(h: int = 12, w: int = 16, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (h, w, channels)).astype(np.uint8)


def simulated(quantized: QuantizedSpan, image: np.ndarray) -> np.ndarray:
    """What the network is simulated to give for a frame: [0, 1], (H, W, C)."""
    lr = torch.from_numpy(image.transpose(2, 0, 1)[None] / np.float32(255))
    return simulate(quantized, lr)[0].numpy().transpose(1, 2, 0)


def converted_to(folder: Path, quantized: QuantizedSpan, size: tuple[int, int] = SIZE) -> Path:
    out = folder / f"{quantized.recipe}.tflite"
    to_tflite(quantized, recipe=quantized.recipe, size=size, source=SOURCE, out=out, overwrite=True)
    return out


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS.keys())
def config(request):
    return request.param


@pytest.mark.parametrize("hw", [SIZE, (1, 1), (9, 7)], ids=str)
@pytest.mark.parametrize("float_nodes", [(), MIXED], ids=["w8a8", "w8a8_mixed"])
def test_xnnpack_computes_what_was_simulated(tmp_path, config, float_nodes, hw):
    recipe = "w8a8_mixed" if float_nodes else "w8a8"
    quantized = quantized_network(recipe, float_nodes=float_nodes, **config)
    image = frame(*hw, quantized.config.in_channels)
    got = run_tflite(converted_to(tmp_path, quantized), image)
    expected = np.rint(simulated(quantized, image) * 255)
    assert got.dtype == np.uint8
    if float_nodes:
        assert np.mean(got != expected) < limit("integer_ties"), "but for ties, which floating point decides"
    else:
        assert np.array_equal(got, expected)
    assert hw == (1, 1) or expected.std() > 20


@pytest.mark.parametrize("form", ["quarters", "twin", "tanh"])
def test_splits_are_computed_as_simulated(tmp_path, config, form, monkeypatch):
    quantized = quantized_in_groups(monkeypatch, form=form, **config)
    path = converted_to(tmp_path, quantized)
    image = frame(9, 7, quantized.config.in_channels)
    expected = np.rint(simulated(quantized, image) * 255)
    assert np.array_equal(run_tflite(path, image), expected)
    assert expected.std() > 5
    ops = tflite_ops(path)
    assert (ops["CONCATENATION"] >= 10) == (ops.get("SPLIT", 0) >= 10) == (form == "quarters")
    assert (ops.get("DEPTHWISE_CONV_2D", 0) >= 10) == (form == "twin")
    assert (ops.get("TANH", 0) >= 10) == (form == "tanh") or form == "quarters"
    delegation = xnnpack_delegation(path)
    assert (delegation.partitions, delegation.left) == (1, {"QUANTIZE": 2})


def test_a_group_alone_in_floating_point_has_a_split_of_its_own(tmp_path, monkeypatch):
    quantized = quantized_in_groups(monkeypatch, form="quarters")
    mixed = replace(quantized, recipe="w8a8_mixed", float_nodes=("block_2.c1_r.1",))
    path = converted_to(tmp_path, mixed)
    image = frame(9, 7)
    assert np.array_equal(run_tflite(path, image), np.rint(simulated(quantized, image) * 255))
    whole = converted_to(tmp_path / "whole", quantized)
    ops = tflite_ops(path)
    assert (ops["DEQUANTIZE"], ops["SPLIT"]) == (1, tflite_ops(whole)["SPLIT"] + 1)
    for kernels in KERNELS:
        wrong = run_tflite(path, image, kernels) != run_tflite(whole, image, kernels)
        assert np.mean(wrong) < limit("integer_ties")


def test_groups_that_are_not_all_there_are_refused(monkeypatch):
    quantized = quantized_in_groups(monkeypatch, form="quarters")
    nodes = quantized.network.nodes
    broken = [replace(n, of=8) if n.op == "group" and n.inputs == ("block_2.c1_r",) else n for n in nodes]
    quantized.network.nodes = tuple(broken)
    with pytest.raises(ConversionError, match="not all 8 groups of block_2.c1_r are there"):
        graph_of(quantized, size=SIZE)


@pytest.mark.parametrize("kernels", KERNELS)
def test_weight_only_files_compute_in_float_everywhere(tmp_path, config, kernels):
    quantized = quantized_network("w8", **config)
    image = frame(channels=quantized.config.in_channels)
    got = run_tflite(converted_to(tmp_path, quantized), image / np.float32(255), kernels)
    assert got.dtype == np.float32
    assert snr_db(got, simulated(quantized, image)) > limit("small_network_fp32")


@pytest.mark.parametrize("kernels", KERNELS)
def test_sixteen_bit_files_follow_the_simulation_everywhere(tmp_path, config, kernels):
    quantized = quantized_network("w8a16", **config)
    image = frame(channels=quantized.config.in_channels)
    got = run_tflite(converted_to(tmp_path, quantized), image, kernels)
    expected = np.rint(np.clip(simulated(quantized, image), 0, 1) * 255)
    assert np.abs(got.astype(int) - expected).max() <= limit("w8a16_levels")


@pytest.mark.parametrize("kernels", KERNELS[1:])
def test_plain_kernels_run_it_too(tmp_path, kernels):
    """Their convolutions round twice, and a step is amplified: only the noise's size is compared."""
    quantized = quantized_network("w8a8", **SPANF)
    image = frame(24, 24)
    got = run_tflite(converted_to(tmp_path, quantized), image, kernels) / 255
    with torch.no_grad():
        lr = torch.from_numpy(image.transpose(2, 0, 1)[None] / np.float32(255))
        exact = quantized.network(lr)[0].numpy().transpose(1, 2, 0).clip(0, 1)
    noise = np.square(simulated(quantized, image) - exact).mean()
    assert np.square(got - exact).mean() < limit("plain_kernel_noise") * noise


def test_integer_files_hold_integers_only(tmp_path, config):
    quantized = quantized_network("w8a8", **config)
    path = converted_to(tmp_path, quantized)
    ops = tflite_ops(path)
    assert set(tflite_dtypes(path)) == {"int8", "int32", "uint8"}
    assert tflite_dtypes(path)["uint8"] == 2
    assert not set(ops) & {*FORBIDDEN_OPS, "DEQUANTIZE"}
    assert ops["QUANTIZE"] == 2, "one at each edge, between uint8 and int8"
    assert ops.get("DEPTH_TO_SPACE", 0) == (quantized.config.upscale > 1)
    assert ops["CONV_2D"] + ops.get("DEPTHWISE_CONV_2D", 0) == len(quantized.weights)


def test_xnnpack_takes_all_but_the_edges_in_one_part(tmp_path, config):
    delegation = xnnpack_delegation(converted_to(tmp_path, quantized_network("w8a8", **config)))
    assert delegation.partitions == 1
    assert delegation.left == {"QUANTIZE": 2}
    assert "CONV_2D" in delegation.taken


def test_xnnpack_leaves_what_it_cannot_take(tmp_path):
    quantized = quantized_network("w8a16")
    delegation = xnnpack_delegation(converted_to(tmp_path, quantized))
    ops = tflite_ops(tmp_path / "w8a16.tflite")
    assert delegation.left["CONV_2D"] == ops["CONV_2D"]
    assert delegation.taken == {"DEPTH_TO_SPACE": 1}


def test_float_files_are_taken_whole(converted):
    for recipe in ("fp32", "fp16"):
        delegation = xnnpack_delegation(converted(recipe=recipe)[1].path)
        assert (delegation.partitions, delegation.left) == (1, {})


def test_the_edges_are_displayable_frames(tmp_path):
    quantized = quantized_network("w8a8")
    path = converted_to(tmp_path, quantized)
    artifact = read_artifact(path)
    for spec, hw in ((artifact.info.input, SIZE), (artifact.info.output, (2 * SIZE[0], 2 * SIZE[1]))):
        assert (spec.dtype, spec.pixel_scale, spec.shape) == ("uint8", 1 / 255, (1, *hw, 3))
    graph = Graph.read(path.read_bytes())
    for index in (*graph.sub.inputs, *graph.sub.outputs):
        assert graph.scale_of(int(index)) == (float(np.float32(1 / 255)), 0)
    names = {graph.tensor(i).name.decode() for i in range(len(graph.sub.tensors))}
    assert {"image", "upscaled", *(n.name for n in quantized.network.nodes)} <= names
    assert artifact.info.backend == "nodes"


def test_weight_only_files_take_and_give_floats(tmp_path):
    info = read_artifact(converted_to(tmp_path, quantized_network("w8"))).info
    assert (info.input.dtype, info.output.dtype, info.input.pixel_scale) == ("float32", "float32", 1.0)


def test_scales_and_integers_are_those_of_the_quantized_network(tmp_path):
    quantized = quantized_network("w8a8", **SPANF)
    graph = graph_of(quantized, size=SIZE)
    at = {graph.tensor(i).name.decode(): i for i in range(len(graph.sub.tensors))}
    for name, qparams in quantized.activations.items():
        if name not in ("image", "upscaled"):
            assert graph.scale_of(at[name]) == (float(np.float32(qparams.scale)), qparams.zero_point)
    for name, weight in quantized.weights.items():
        assert graph.constant(at[f"{name}/filter"]).dtype == np.int8
        if quantized.network.conv(name).groups == 1 and name != "output":
            stored = graph.constant(at[f"{name}/filter"]).transpose(0, 3, 1, 2)
            np.testing.assert_array_equal(stored, weight.values.numpy())


def test_a_concat_brings_its_sources_to_one_scale():
    quantized = quantized_network("w8a8")
    nodes = [
        Node(name="a", op="sigmoid", inputs=("image",)),
        Node(name="joined", op="concat", inputs=("image", "a")),
        Node(name="upscaled", op="center", inputs=("joined",)),
    ]
    network = SpanNodes(quantized.config, nodes, {})
    scales = {
        "image": QParams(scale=1 / 255, zero_point=-128),
        "a": QParams(scale=1 / 256, zero_point=-128),
        "joined": QParams(scale=1 / 256, zero_point=-128),
        "upscaled": QParams(scale=1 / 255, zero_point=-128),
    }
    graph = graph_of(replace(quantized, network=network, weights={}, activations=scales), size=SIZE)
    names = [graph.name_of(op) for op in graph.ops]
    assert names == ["QUANTIZE", "LOGISTIC", "QUANTIZE", "CONCATENATION", "SUB", "QUANTIZE"]


def test_every_node_has_a_kernel():
    from typing import get_args

    from quantize.graph import OpName

    assert set(EMITTERS) == set(get_args(OpName))


def test_a_sigmoid_at_another_scale_is_refused():
    quantized = quantized_network("w8a8")
    gate = next(n.name for n in quantized.network.nodes if n.op == "sigmoid")
    wrong = {**quantized.activations, gate: QParams(scale=1 / 200, zero_point=-128)}
    with pytest.raises(ConversionError, match=f"{gate}: LOGISTIC's scale and zero point are"):
        graph_of(replace(quantized, activations=wrong), size=SIZE)
    assert FIXED_SIGMOID["int8"] == (1 / 256, -128)


def test_a_one_that_is_no_whole_number_of_steps_is_refused(monkeypatch):
    quantized = quantized_in_groups(monkeypatch, form="tanh")
    node = next(n for n in quantized.network.nodes if n.op == "plus_one")
    wrong = {**quantized.activations, node.inputs[0]: QParams(scale=1 / 150.5, zero_point=22)}
    with pytest.raises(ConversionError, match=f"{node.name}: 1 is not a whole number of steps"):
        graph_of(replace(quantized, activations=wrong), size=SIZE)


def test_a_tensor_without_a_scale_is_refused_where_all_are_integers():
    quantized = quantized_network("w8a8")
    rest = {name: q for name, q in quantized.activations.items() if name != "block_3.sum"}
    with pytest.raises(ConversionError, match=r"w8a8: no scale for block_3\.sum"):
        graph_of(replace(quantized, activations=rest), size=SIZE)


def test_a_bias_beyond_its_grid_is_refused():
    quantized = quantized_network("w8a8")
    name = "block_1.c1_r"
    weight = replace(quantized.weights[name], bias=torch.full_like(quantized.weights[name].bias, 1e9))
    with pytest.raises(ConversionError, match=r"block_1\.c1_r: a bias of 1e\+09 does not fit its grid"):
        graph_of(replace(quantized, weights={**quantized.weights, name: weight}), size=SIZE)


def test_groups_of_several_channels_are_refused():
    quantized = quantized_network("w8a8")
    quantized.network.conv("block_1.c2_r").groups = 2
    with pytest.raises(ConversionError, match=r"block_1\.c2_r: 2 groups of 8 channels have no kernel"):
        graph_of(quantized, size=SIZE)


def test_a_wrong_scale_is_seen(tmp_path):
    quantized = quantized_network("w8a8")
    image, name = frame(), "output"
    weight = quantized.weights[name]
    wrong = replace(
        quantized, weights={**quantized.weights, name: replace(weight, scale=weight.scale * 1.02)}
    )
    expected = np.rint(simulated(quantized, image) * 255)
    assert np.mean(run_tflite(converted_to(tmp_path, wrong), image) != expected) > limit("integer_wrong")


REFUSALS = {
    "another recipe": ({"recipe": "w8a16"}, "'w8a16' was asked for and the network was quantized by 'w8a8'"),
    "float recipe": ({"recipe": "fp16"}, "'fp16' was asked for and the network was quantized by 'w8a8'"),
    "a backend": (
        {"recipe": "w8a8", "backend": "tensorflow"},
        "backend 'tensorflow' converts float networks only",
    ),
}


@pytest.mark.parametrize(("wrong", "message"), REFUSALS.values(), ids=REFUSALS.keys())
def test_what_does_not_fit_the_quantized_network_is_refused(tmp_path, wrong, message):
    with pytest.raises(InputError, match=message):
        to_tflite(quantized_network("w8a8"), size=SIZE, source=SOURCE, out=tmp_path / "x.tflite", **wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_float_network_has_no_integers(tmp_path):
    with pytest.raises(InputError, match="needs a quantized network"):
        to_tflite(random_network(), recipe="w8", size=SIZE, source=SOURCE, out=tmp_path / "x.tflite")


def test_the_written_file_is_valid(tmp_path):
    assert open_model(converted_to(tmp_path, quantized_network("w8a8"))).SubgraphsLength() == 1


@pytest.fixture(
    scope="module",
    params=[
        "spanx4_ch48_deploy",
        "spanx2_ch48_deploy",
        "ntire2025_team46_span_ch28",
        "ntire2025_team24_spanf_ch32",
    ],
)
def real(request, shared_weights, shared_images):
    """A real network, its simplest quantization, and a crop of a real photograph."""
    network = load_checkpoint(shared_weights / f"{request.param}.pth").network
    network = network if isinstance(network, SpanDeploy) else reparameterize(network)
    pixels = np.asarray(Image.open(shared_images / "Set14" / "baboon.png").convert("RGB"))[60:108, 40:104]
    lr = torch.from_numpy(pixels.transpose(2, 0, 1)[None] / np.float32(255))
    return network, quantized_simply(network, lr), pixels


@pytest.mark.parametrize("kernels", KERNELS)
def test_real_networks_lose_no_more_in_the_file_than_in_the_simulation(tmp_path, real, kernels):
    """One rounding that falls the other way is amplified, but the noise that all kernels have stays the same.

    XNNPACK differs from exact arithmetic in one element of a million, plain kernels in one of two hundred.
    """
    network, quantized, pixels = real
    got = run_tflite(converted_to(tmp_path, quantized, pixels.shape[:2]), pixels, kernels) / 255
    expected = simulated(quantized, pixels)
    exact = run_torch(network, pixels / np.float32(255)).clip(0, 1)
    print(
        f"{kernels}: file {psnr_db(got, exact):.2f} dB, simulation {psnr_db(expected, exact):.2f} dB,",
        end=" ",
    )
    print(f"between them {psnr_db(got, expected):.1f} dB")
    assert psnr_db(got, expected) > limit(
        "file_as_simulated_xnnpack" if kernels == "AUTO" else "file_as_simulated_plain"
    )
    assert abs(psnr_db(got, exact) - psnr_db(expected, exact)) < limit("file_as_good_as_simulated")


def test_the_same_network_gives_the_same_bytes(tmp_path):
    files = [converted_to(tmp_path / name, quantized_network("w8a8")).read_bytes() for name in ("one", "two")]
    assert files[0] == files[1]


def test_xnnpack_takes_real_networks_in_one_part_too(tmp_path, real):
    """Its kernels refuse ratios of scales beyond some powers of two; real weights and ranges stay within."""
    delegation = xnnpack_delegation(converted_to(tmp_path, real[1]))
    assert (delegation.partitions, delegation.left) == (1, {"QUANTIZE": 2})
