"""Error by layer: none without rounding, whatever the rewriting did to channels; blame where it belongs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from edge_eval.layer_errors import CROP_SIDE, layer_errors
from models import SpanDeploy
from quantize import silu, split
from quantize.balance import lean_on_image, scale_channels
from quantize.graph import SpanNodes
from quantize.quantized import QParams, QuantizedSpan, QWeight, plain_conv
from quantize.ranges import observe
from quantize.rewrite import rewrite
from quantize.silu import FormName


@pytest.fixture
def frame() -> np.ndarray:
    """A noisy picture, larger than what is run."""
    return np.random.default_rng(0).integers(0, 256, (CROP_SIDE + 8, 40, 3), dtype=np.uint8)


@pytest.fixture
def unrounded(network: SpanDeploy) -> QuantizedSpan:
    """Nothing is rounded, but channels are rescaled, and some of the image passes `conv_cat` by."""
    nodes = rewrite(network)
    with torch.no_grad():
        lean_on_image(
            nodes, torch.rand(nodes.channels("conv_cat"), 4, generator=torch.Generator().manual_seed(4))
        )
        for group in nodes.scaled:
            conv = next(node for node in nodes.nodes if node.name in group and node.op == "conv2d")
            channels = nodes.conv(conv.name).out_channels
            scale_channels(nodes, group, torch.linspace(0.5, 2.0, channels))
    return as_it_is(nodes)


def as_it_is(nodes: SpanNodes) -> QuantizedSpan:
    """The network as a quantized one in which nothing is rounded."""
    weights = {}
    for name in nodes.conv_names():
        conv = nodes.conv(name)
        assert conv.bias is not None
        weights[name] = QWeight(
            values=conv.weight.detach(), scale=torch.ones(conv.out_channels), bias=conv.bias.detach()
        )
        nodes.convs[name.replace(".", "__")] = plain_conv(weights[name], conv.groups)
    return QuantizedSpan(
        config=nodes.config, recipe="w8a8", method="ptq", network=nodes, weights=weights, activations={}
    )


def test_rescaled_channels_are_no_error(
    network: SpanDeploy, unrounded: QuantizedSpan, frame: np.ndarray
) -> None:
    errors = layer_errors(network, unrounded, frame, artifact="a", image="i")
    assert [node.name for node in errors.nodes] == [node.name for node in unrounded.network.nodes]
    assert max(node.relative_error for node in errors.nodes) < 1e-8
    assert (errors.artifact, errors.recipe, errors.image) == ("a", "w8a8", "i")
    assert errors.input_hw == (CROP_SIDE, 40)


@pytest.mark.parametrize("form", ["halves", "quarters", "twin", "tanh"])
def test_groups_and_their_order_are_no_error(form: FormName, network: SpanDeploy, frame: np.ndarray) -> None:
    nodes = rewrite(network)
    crop = torch.from_numpy(frame[:24, :24].transpose(2, 0, 1)[None] / 255).float()
    samples = observe(nodes, crop, probes=1)
    made = nodes
    for one in silu.silus(nodes):
        made = silu.with_form(made, one, silu.forms_of(samples[one.conv], samples[one.name])[form][1])
    for attention in split.attentions(made):
        made = split.with_groups(made, attention, samples)
    assert any(node.op == "group" and node.inputs == ("block_1.c3_r",) for node in made.nodes)
    errors = layer_errors(network, as_it_is(made), frame, artifact="a", image="i")
    assert [node.name for node in errors.nodes] == [node.name for node in made.nodes]
    assert max(node.relative_error for node in errors.nodes) < 1e-8


def test_the_tensor_that_is_rounded_is_the_first_with_an_error(
    network: SpanDeploy, unrounded: QuantizedSpan, frame: np.ndarray
) -> None:
    coarse = replace(unrounded, activations={"block_3": QParams(scale=0.2, zero_point=0)})
    nodes = layer_errors(network, coarse, frame, artifact="a", image="i").nodes
    wrong = [node.name for node in nodes if node.relative_error > 1e-6]
    assert wrong[0] == "block_3"
    assert wrong[1] == "block_4.c1_r"


def test_the_error_is_the_squared_one_over_the_variance(
    network: SpanDeploy, unrounded: QuantizedSpan, frame: np.ndarray
) -> None:
    step = 0.25
    coarse = replace(unrounded, activations={"upscaled": QParams(scale=step, zero_point=0)})
    last = layer_errors(network, coarse, frame, artifact="a", image="i").nodes[-1]
    top = (frame.shape[0] - CROP_SIDE) // 2
    crop = frame[top : top + CROP_SIDE]
    with torch.no_grad():
        output = network(torch.from_numpy(crop.transpose(2, 0, 1)[None] / 255).float())
    rounded = torch.round(output / step) * step
    variance = output.var((0, 2, 3), correction=0).mean()
    assert last.relative_error == pytest.approx(
        float((rounded - output).square().mean() / variance), rel=0.02
    )
