"""The exported graph computes what the simulation computes, and states a spec for every tensor."""

import numpy as np
import pytest
import torch

from models import SpanDeploy
from quantize import quantize_ptq, simulate
from quantize.quantizer import to_pt2e


@pytest.mark.parametrize("recipe", ["w8", "w8a8", "w8a16", "w8a8_mixed"])
def test_pt2e_graph_equals_the_simulation(recipe: str, network: SpanDeploy, frames: list[np.ndarray]) -> None:
    quantized = quantize_ptq(network, recipe=recipe, images=frames, effort="smoke")
    lr = torch.from_numpy(frames[1]).permute(2, 0, 1)[None] / 255
    graph = to_pt2e(quantized, (40, 36))
    with torch.no_grad():
        difference = (graph(lr) - simulate(quantized, lr)).abs()
    assert difference.max() <= 2.01 / 255
    assert difference.mean() < 0.02 / 255


def test_every_tensor_of_w8a8_is_integer(network: SpanDeploy, frames: list[np.ndarray]) -> None:
    quantized = quantize_ptq(network, recipe="w8a8", images=frames, effort="smoke")
    assert set(quantized.activations) == {"image", *(node.name for node in quantized.network.nodes)}
    graph = to_pt2e(quantized, (40, 36))
    computing = [n for n in graph.graph.nodes if n.op == "call_function" and "quantize" not in str(n.target)]
    computing = [n for n in computing if "getitem" not in str(n.target)]
    assert len(computing) == len(quantized.network.nodes)
    for node in computing:
        assert all("quantize_per_tensor" in str(user.target) for user in node.users)


def test_a_wrong_scale_is_seen(network: SpanDeploy, frames: list[np.ndarray]) -> None:
    from dataclasses import replace

    quantized = quantize_ptq(network, recipe="w8a8", images=frames, effort="smoke")
    name = "conv_cat"
    wrong = replace(quantized.activations[name], scale=quantized.activations[name].scale / 8)
    other = replace(quantized, activations={**quantized.activations, name: wrong})
    lr = torch.from_numpy(frames[1]).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        assert (to_pt2e(other, (40, 36))(lr) - simulate(quantized, lr)).abs().mean() > 0.02 / 255
