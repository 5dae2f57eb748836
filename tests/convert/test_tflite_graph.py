import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from tflite_support import SIZE, random_network, run_tflite, run_torch, snr_db

from convert import tflite_graph as rewrites
from convert.tflite import tflite_by_litert
from convert.tflite_graph import ConversionError, Graph
from edge_eval.tolerances import limit

UPSCALE = 3


@pytest.fixture(scope="module")
def network():
    return random_network(upscale=UPSCALE)


@pytest.fixture(scope="module")
def exported(network):
    return tflite_by_litert(network)


def names(graph):
    return [graph.name_of(op) for op in graph.ops]


def filters(network):
    return {name: conv.weight.numpy() for name, conv in network.convolutions().items()}


def test_what_the_converter_gives_needs_the_rewrites(exported, network):
    graph = Graph.read(exported)
    assert {"TRANSPOSE", "RESHAPE"} <= set(names(graph))
    with pytest.raises(
        ConversionError, match=r"the converter left \d+ TRANSPOSE, \d+ RESHAPE, 0 DEPTH_TO_SPACE"
    ):
        rewrites.require_clean(graph, convolutions=len(filters(network)), upscale=UPSCALE)
    with pytest.raises(ConversionError, match="more than 3 convolutions"):
        rewrites.require_clean(graph, convolutions=3, upscale=UPSCALE)


def test_the_channel_order_is_that_of_the_two_shuffles():
    import torch

    for upscale, colours in ((1, 3), (2, 3), (4, 1), (5, 2)):
        channels = colours * upscale**2
        lr = torch.arange(channels * 6.0).reshape(1, channels, 2, 3)
        torch_way = torch.nn.functional.pixel_shuffle(lr, upscale)[0].permute(1, 2, 0)
        nhwc = lr[0].permute(1, 2, 0)[..., rewrites.tflite_channel_order(channels, upscale)].numpy()
        tflite_way = nhwc.reshape(2, 3, upscale, upscale, colours).transpose(0, 2, 1, 3, 4)
        np.testing.assert_array_equal(
            tflite_way.reshape(2 * upscale, 3 * upscale, colours), torch_way.numpy()
        )


def test_merge_pixel_shuffle_gives_the_same_picture(exported, network, tmp_path):
    graph = Graph.read(exported)
    rewrites.merge_pixel_shuffle(graph, upscale=UPSCALE)
    assert names(graph)[-2:] == ["CONV_2D", "DEPTH_TO_SPACE"]
    path = tmp_path / "x.tflite"
    path.write_bytes(graph.serialize())
    image = np.random.default_rng(0).random((*SIZE, 3), dtype=np.float32)
    assert snr_db(run_tflite(path, image), run_torch(network, image)) > limit("small_network_fp32")


def test_without_the_channel_order_the_picture_is_wrong(exported, network, tmp_path, monkeypatch):
    monkeypatch.setattr(rewrites, "tflite_channel_order", lambda channels, upscale: np.arange(channels))
    graph = Graph.read(exported)
    rewrites.merge_pixel_shuffle(graph, upscale=UPSCALE)
    path = tmp_path / "x.tflite"
    path.write_bytes(graph.serialize())
    image = np.random.default_rng(0).random((*SIZE, 3), dtype=np.float32)
    assert snr_db(run_tflite(path, image), run_torch(network, image)) < limit("small_network_wrong")


def test_a_chain_that_is_no_pixel_shuffle_is_refused(exported):
    graph = Graph.read(exported)
    last = [op for op in graph.ops if graph.name_of(op) == "TRANSPOSE"][1]
    order = graph.constant(int(last.inputs[1]))
    graph.set_constant(int(last.inputs[1]), order[[1, 0, *range(2, len(order))]])
    with pytest.raises(ConversionError, match="not a pixel shuffle by 3"):
        rewrites.merge_pixel_shuffle(graph, upscale=UPSCALE)


def test_another_upscale_is_refused(exported):
    with pytest.raises(ConversionError, match="not a pixel shuffle by 1"):
        rewrites.merge_pixel_shuffle(Graph.read(exported), upscale=1)


def test_per_channel_scales_move_with_their_channels(exported):
    graph = Graph.read(exported)
    last = list(graph.convolutions())[-1]
    record = graph.tensor(int(last.inputs[1]))
    count = record.shape[0]
    record.quantization = schema.QuantizationParametersT()
    record.quantization.scale, record.quantization.zeroPoint = np.arange(count), np.zeros(count, np.int64)
    rewrites.merge_pixel_shuffle(graph, upscale=UPSCALE)
    np.testing.assert_array_equal(record.quantization.scale, rewrites.tflite_channel_order(count, UPSCALE))


def test_set_size_changes_every_computed_tensor(exported):
    graph = Graph.read(exported)
    rewrites.merge_pixel_shuffle(graph, upscale=UPSCALE)
    rewrites.set_size(graph, size=(7, 9), upscale=UPSCALE)
    computed = [int(op.outputs[0]) for op in graph.ops]
    assert {tuple(graph.tensor(i).shape[:3]) for i in computed[:-1]} == {(1, 7, 9)}
    assert tuple(graph.tensor(computed[-1]).shape) == (1, 21, 27, 3)
    assert tuple(graph.tensor(int(graph.sub.inputs[0])).shape) == (1, 7, 9, 3)


def test_set_size_refuses_what_is_no_image(exported):
    graph = Graph.read(exported)
    graph.tensor(int(graph.ops[3].outputs[0])).shape = [1, 5]
    with pytest.raises(ConversionError, match="is no image"):
        rewrites.set_size(graph, size=(7, 9), upscale=UPSCALE)


def test_name_layers_refuses_another_networks_filters(exported, network):
    others = {
        **filters(network),
        "conv_1": filters(network)["conv_1"] * np.linspace(1, 9, 8).reshape(-1, 1, 1, 1),
    }
    with pytest.raises(ConversionError, match=r"a filter \(O, I, kh, kw\) \(8, 3, 3, 3\) is none"):
        rewrites.name_layers(Graph.read(exported), others)


def test_serializing_drops_what_nothing_uses(exported):
    graph = Graph.read(exported)
    before = len(graph.sub.tensors)
    graph.add_tensor("unused", "float32", [1])
    rewrites.merge_pixel_shuffle(graph, upscale=UPSCALE)
    again = Graph.read(graph.serialize())
    used = {int(i) for op in again.ops for i in (*op.inputs, *op.outputs)}
    assert used == set(range(len(again.sub.tensors))) and len(used) < before
    assert sorted({op.opcodeIndex for op in again.ops}) == list(range(len(again.model.operatorCodes)))
    assert {t.buffer for t in again.sub.tensors} | {m.buffer for m in again.model.metadata} | {0} == set(
        range(len(again.model.buffers))
    )


def test_sign_refuses_two_outputs(exported):
    graph = Graph.read(exported)
    graph.sub.outputs = [int(graph.sub.outputs[0]), 1]
    with pytest.raises(ConversionError, match="2 tensors where one 'upscaled' was expected"):
        rewrites.sign(graph, input_name="image", output_name="upscaled")


def test_attach_replaces_its_own_entry_only(exported):
    graph = Graph.read(exported)
    rewrites.attach(graph, key="span_edge", text="a")
    rewrites.attach(graph, key="span_edge", text="ü")
    entries = {entry.name: graph.model.buffers[entry.buffer].data for entry in graph.model.metadata}
    assert bytes(entries[b"span_edge"]).decode() == "ü"
    assert b"min_runtime_version" in entries and len(entries) == len(graph.model.metadata)
